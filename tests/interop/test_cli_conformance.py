"""`klyuch conformance run` on a token of the daemon and on a card in a reader."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from apdu.codec import Command as Apdu
from apdu.codec import Response
from apdu.model import SW
from host_tools.conformance import pki_commands as pki
from host_tools.testing import Command, Run, Scratch, ScratchToken
from tests import cards, piv_cards
from tests.interop.processes import PATIENCE
from tests.interop.vpcd_card import READER, VpcdCard, VpcdReader
from tests.vectors.examined import (
    INITIALIZE,
    EmulatedCard,
    RefusesToInitialize,
    TakesAnyClass,
    TakesAnyP2,
)

KLYUCH = (sys.executable, "-P", "-m", "host_tools.cli")


def secrets(token: ScratchToken) -> dict[str, str]:
    return {"KLYUCH_PIN": token.pin, "KLYUCH_SO_PIN": token.so_pin}


def test_a_token_passes_and_stays_as_it_is(command: Command, token: ScratchToken) -> None:
    command("key", "generate", "P-256", "--label", "mail", KLYUCH_PIN=token.pin)
    report = json.loads(command("conformance", "run", "--json").output)
    assert report["sound"]
    assert report["counts"]["failed"] == 0
    assert {check["verdict"] for check in report["checks"]} == {"passed", "skipped"}
    assert "mail" in command("key", "list", KLYUCH_PIN=token.pin).output


def test_a_destructive_examination_passes_and_leaves_the_token_with_its_pins(
    command: Command, token: ScratchToken
) -> None:
    arguments = ("conformance", "run", "--token", "Work", "--destructive", "--yes", "--json")
    result = command(*arguments, **secrets(token))
    report = json.loads(result.stdout)
    assert report["counts"]["failed"] == report["counts"]["skipped"] == 0
    assert "the card is erased and made blank" in result.stderr
    command("key", "generate", "P-256", "--label", "mail", "--token", "Work", KLYUCH_PIN=token.pin)


def test_a_blank_token_is_given_the_pins_for_the_examination_and_left_blank(
    command: Command,
) -> None:
    command("token", "create", "--blank")
    before = command("token", "show", "0", "--json").output
    arguments = ("conformance", "run", "--token", "0", "--destructive", "--yes", "--json")
    pins = {"KLYUCH_PIN": "481516", "KLYUCH_SO_PIN": "23423108"}
    result = command(*arguments, **pins)
    report = json.loads(result.stdout)
    assert report["counts"]["failed"] == report["counts"]["skipped"] == 0
    assert "it is left blank" in result.stderr
    assert json.loads(command("token", "show", "0", "--json").output)["initialised"] is False
    assert command("token", "show", "0", "--json").output == before


def test_a_destructive_examination_leaves_the_tries_and_the_policy_of_the_pins(
    command: Command, home: Scratch
) -> None:
    rules = {"pin_policy": "strict6", "user_tries": 5, "so_tries": 7}
    token = home.create_token("Own", pin="735194", so_pin="82736455", **rules)
    before = command("token", "show", "Own", "--json").output
    arguments = ("conformance", "run", "--token", "Own", "--destructive", "--yes", "--json")
    report = json.loads(command(*arguments, **secrets(token)).stdout)
    assert report["counts"]["failed"] == report["counts"]["skipped"] == 0
    assert command("token", "show", "Own", "--json").output == before
    assert "strict6" in before


PIV_SECRETS = {
    "KLYUCH_PIN": piv_cards.PIN.decode(),
    "KLYUCH_PUK": piv_cards.PUK.decode(),
    "KLYUCH_MANAGEMENT_KEY": piv_cards.MANAGEMENT_KEY.hex(),
}
PIV = ("conformance", "run", "--app", "piv", "--yes", "--json")


def test_the_piv_application_of_a_token_passes_and_leaves_the_other_alone(
    command: Command, token: ScratchToken
) -> None:
    command("key", "generate", "P-256", "--label", "mail", KLYUCH_PIN=token.pin)
    assert json.loads(command(*PIV).stdout)["sound"]
    result = command(*PIV, "--destructive", **PIV_SECRETS)
    report = json.loads(result.stdout)
    assert report["counts"]["failed"] == report["counts"]["skipped"] == 0
    assert "wrong values of the PUK" in result.stderr
    assert "mail" in command("key", "list", KLYUCH_PIN=token.pin).output


def test_the_piv_secrets_may_come_from_files_and_have_to_be_ones(
    command: Command, token: ScratchToken, tmp_path: Path
) -> None:
    options: list[str | Path] = []
    names = {"pin": "KLYUCH_PIN", "puk": "KLYUCH_PUK", "management-key": "KLYUCH_MANAGEMENT_KEY"}
    for name, variable in names.items():
        (tmp_path / name).write_text(PIV_SECRETS[variable])
        options += [f"--{name}-file", tmp_path / name]
    assert json.loads(command(*PIV, "--destructive", *options).stdout)["sound"]
    (tmp_path / "management-key").write_text("0102")
    assert "hexadecimal" in command(*PIV, "--destructive", *options, code=2).stderr
    (tmp_path / "management-key").write_text("00" * 24)
    refused = command(*PIV, "--destructive", *options, code=3).stderr
    assert "the management key" in refused
    assert "Nothing was changed" in refused


def test_the_piv_application_in_a_reader_is_examined(klyuch: Run) -> None:
    with VpcdReader() as reader, VpcdCard(reader, EmulatedCard()) as card:
        card.wait_until_seen()
        arguments = (*PIV, "--reader", READER, "--destructive")
        report = json.loads(klyuch(*arguments, **reader.environment, **PIV_SECRETS).stdout)
    assert report["counts"]["failed"] == 0


def test_nothing_is_destroyed_without_a_yes(command: Command, token: ScratchToken) -> None:
    command("key", "generate", "P-256", "--label", "mail", KLYUCH_PIN=token.pin)
    result = command("conformance", "run", "--destructive", code=1, stdin="n\n", **secrets(token))
    assert "spend tries" in result.stderr
    assert "mail" in command("key", "list", KLYUCH_PIN=token.pin).output


def test_a_wrong_pin_ends_a_destructive_examination_after_one_try(
    command: Command, token: ScratchToken
) -> None:
    command("key", "generate", "P-256", "--label", "mail", KLYUCH_PIN=token.pin)
    wrong = {"KLYUCH_PIN": token.pin, "KLYUCH_SO_PIN": "99999999"}
    result = command("conformance", "run", "--destructive", "--yes", code=3, **wrong)
    assert "the so PIN" in result.stderr
    assert "One try was spent, nothing else was changed" in result.stderr
    pins = json.loads(command("pin", "status", "--json").output)
    assert [pin["tries_left"] for pin in pins] == [3, 9]
    assert "mail" in command("key", "list", KLYUCH_PIN=token.pin).output


def test_a_wrong_pin_that_locks_itself_is_told_to_be_locked(
    command: Command, token: ScratchToken
) -> None:
    wrong = {**PIV_SECRETS, "KLYUCH_PIN": "999999"}
    for code, hint in (
        (3, "One try was spent"),
        (3, "One try was spent"),
        (4, "It is locked; nothing else was changed"),
        (4, "It is locked; nothing else was changed"),
    ):
        told = command(*PIV, "--destructive", code=code, **wrong).stderr
        assert hint in told


def test_a_pin_that_the_vectors_take_for_wrong_is_refused(
    command: Command, token: ScratchToken
) -> None:
    pins = {"KLYUCH_PIN": "000000", "KLYUCH_SO_PIN": token.so_pin}
    result = command("conformance", "run", "--destructive", "--yes", code=2, **pins)
    assert "the user PIN" in result.stderr


def test_the_reports_tell_what_was_sent_expected_and_got(
    command: Command, token: ScratchToken, tmp_path: Path
) -> None:
    page, document = tmp_path / "report.html", tmp_path / "report.json"
    command("conformance", "run", "--html", page, "--output", document)
    checks = json.loads(document.read_text(encoding="utf-8"))["checks"]
    passed = [check for check in checks if check["verdict"] == "passed"]
    assert all(check["expected"] and check["got"] and check["clause"] for check in passed)
    html = page.read_text(encoding="utf-8")
    assert "VERIFY" in html
    assert "ISO/IEC 7816-4:2013 11.5.6" in html
    assert "http" not in html


@pytest.mark.parametrize("option", ["--html", "--output"])
@pytest.mark.parametrize("path", ["missing/report", "a file/report"])
def test_a_report_that_cannot_be_written_is_refused_before_the_examination(
    command: Command, token: ScratchToken, tmp_path: Path, option: str, path: str
) -> None:
    (tmp_path / "a file").touch()
    refused = command("conformance", "run", option, tmp_path / path, code=2)
    assert "cannot be written" in refused.stderr
    assert "passed" not in refused.stdout


def test_a_card_in_a_reader_is_examined(klyuch: Run) -> None:
    interface = cards.operational().connect()
    with VpcdReader() as pcscd, VpcdCard(pcscd, interface) as card:
        card.wait_until_seen()
        pins = {"KLYUCH_PIN": cards.USER_PIN.decode(), "KLYUCH_SO_PIN": cards.SO_PIN.decode()}
        arguments = ("conformance", "run", "--reader", READER, "--destructive", "--yes", "--json")
        done = klyuch(*arguments, **pcscd.environment, **pins)
    report = json.loads(done.stdout)
    assert "made operational" in done.stderr
    assert "made blank" not in done.stderr
    assert report["counts"]["failed"] == 0
    reasons = {check["reason"] for check in report["checks"]} - {""}
    assert reasons == {
        "no command makes a card blank again",
        "no command unlocks the so PIN again",
    }


def test_an_application_that_the_card_lacks_is_told_with_those_it_has(klyuch: Run) -> None:
    for shown, app, told in (
        ("piv", "pki", "no PKI application.*--app piv"),
        ("pki", "piv", "no PIV application.*--app pki"),
        ("management", "piv", "no PIV application.*none that can be examined"),
    ):
        interface = cards.operational().card.connect(shown)
        with VpcdReader() as pcscd, VpcdCard(pcscd, interface) as card:
            card.wait_until_seen()
            # It is told before any PIN is asked for.
            arguments = ("conformance", "run", "--reader", READER, "--app", app, "--destructive")
            refused = klyuch(*arguments, code=2, **pcscd.environment)
        assert re.search(told, refused.stderr, re.DOTALL)
        assert refused.stdout == ""


@pytest.mark.parametrize(("broken", "clause"), [(TakesAnyClass, "5.4.1"), (TakesAnyP2, "11.5.6")])
def test_a_broken_card_in_a_reader_is_told_with_its_clauses(
    klyuch: Run, broken: type[EmulatedCard], clause: str
) -> None:
    with VpcdReader() as reader, VpcdCard(reader, broken()) as card:
        card.wait_until_seen()
        arguments = ("conformance", "run", "--reader", "reader 00 00")
        done = klyuch(*arguments, code=1, **reader.environment)
    assert "What differs" in done.stdout
    assert f"ISO/IEC 7816-4:2013 {clause}" in done.stdout


def test_a_card_that_cannot_be_left_as_it_was_is_said_to_be_so(klyuch: Run) -> None:
    with VpcdReader() as reader, VpcdCard(reader, RefusesToInitialize()) as card:
        card.wait_until_seen()
        pins = {"KLYUCH_PIN": cards.USER_PIN.decode(), "KLYUCH_SO_PIN": cards.SO_PIN.decode()}
        arguments = ("conformance", "run", "--reader", READER, "--destructive", "--yes")
        done = klyuch(*arguments, code=1, **reader.environment, **pins)
    assert "could not be left with its PINs" in done.stderr
    assert "INITIALIZE" in done.stdout


class ErasedCard(EmulatedCard):
    """Tells when it is erased."""

    def __init__(self) -> None:
        super().__init__()
        self.erased = threading.Event()

    def answer(self, command: Apdu) -> Response:
        response = self.soundly(command)
        if command.ins == INITIALIZE and response.sw == SW.NO_ERROR:
            self.erased.set()
        return response


@contextmanager
def started(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """A program whose output can be read; a test that fails does not wait for its end."""
    with subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def while_it_is_erased(
    home: Scratch, output: Path
) -> Iterator[tuple[ErasedCard, VpcdCard, subprocess.Popen[str]]]:
    """A destructive examination of a card in a reader, which was erased a moment ago."""
    pins = {"KLYUCH_PIN": cards.USER_PIN.decode(), "KLYUCH_SO_PIN": cards.SO_PIN.decode()}
    emulated = ErasedCard()
    with VpcdReader() as reader, VpcdCard(reader, emulated) as card:
        card.wait_until_seen()
        arguments = (*KLYUCH, "conformance", "run", "--reader", READER, "--destructive", "--yes")
        environment = {**os.environ, **home.environment, **reader.environment, **pins}
        with started((*arguments, "--output", str(output)), environment) as process:
            assert emulated.erased.wait(PATIENCE)
            yield emulated, card, process


def test_a_card_whose_examination_is_interrupted_is_left_with_its_pins(
    home: Scratch, tmp_path: Path
) -> None:
    output = tmp_path / "report.json"
    with while_it_is_erased(home, output) as (card, _, process):
        process.send_signal(signal.SIGINT)
        printed, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "Interrupted" in told
    assert "is left with the PINs" in told
    assert "passed" in printed
    report = json.loads(output.read_text(encoding="utf-8"))
    assert report["interrupted"]
    client = card.bench.client()
    client.log_in()
    client.log_in(pki.SO)


def until_done(home: Scratch, serial: str, asked: str, process: subprocess.Popen[str]) -> None:
    """Wait until the token has done this command, which fails where its program ends before."""
    with home.control() as client:
        lines = client.trace(serial)

        def end_with_it() -> None:
            process.wait()
            # What was waited for may have come.
            with suppress(OSError):
                client.interrupt()

        threading.Thread(target=end_with_it, daemon=True).start()
        for command, answer in pairwise(lines):
            if asked in command and "← 9000" in answer:
                return
    pytest.fail(f"{asked} was not done")


@pytest.mark.parametrize(
    ("app", "erasing"), [("pki", "80 FA 00 00  INITIALIZE"), ("piv", "00 FB 00 00  RESET")]
)
def test_a_token_whose_examination_is_interrupted_is_left_with_its_pins_and_their_tries(
    home: Scratch, command: Command, tmp_path: Path, app: str, erasing: str
) -> None:
    output = tmp_path / "report.json"
    token = home.create_token("Own", user_tries=5, so_tries=7)
    before = command("pin", "status", "--json").output
    given = {**secrets(token), **(PIV_SECRETS if app == "piv" else {})}
    arguments = (*KLYUCH, "conformance", "run", "--app", app, "--destructive", "--yes")
    environment = {**os.environ, **home.environment, **given}
    with started((*arguments, "--output", str(output)), environment) as process:
        until_done(home, token.serial, erasing, process)
        process.send_signal(signal.SIGINT)
        printed, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "Interrupted: the report ends here" in told
    assert "is left with the PINs" in told
    assert "passed" in printed
    report = json.loads(output.read_text(encoding="utf-8"))
    assert report["interrupted"]
    assert report["counts"]["failed"] == 0
    assert report["counts"]["passed"]
    assert command("pin", "status", "--json").output == before
    if app == "piv":
        assert json.loads(command(*PIV).stdout)["sound"]
    command("key", "generate", "P-256", "--label", "mail", KLYUCH_PIN=token.pin)


def test_what_was_found_before_a_card_was_pulled_out_is_reported(
    home: Scratch, tmp_path: Path
) -> None:
    output = tmp_path / "report.json"
    with while_it_is_erased(home, output) as (_, card, process):
        card.pull()
        printed, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "could not be left with its PINs" in told
    assert "initialise it" in told
    assert "What differs" in printed
    *before, last = json.loads(output.read_text(encoding="utf-8"))["checks"]
    assert last["verdict"] == "failed"
    assert any(check["verdict"] == "passed" for check in before)


def test_a_reader_that_is_not_there_is_told_with_those_that_are(klyuch: Run) -> None:
    with VpcdReader() as pcscd, VpcdCard(pcscd, cards.operational().connect()) as card:
        card.wait_until_seen()
        missing = klyuch("conformance", "run", "--reader", "Acme", code=5, **pcscd.environment)
        assert READER in missing.stderr
        empty = READER.replace("00 00", "00 01")
        vacant = klyuch("conformance", "run", "--reader", empty, code=9, **pcscd.environment)
        assert "No card" in vacant.stderr
