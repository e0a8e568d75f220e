"""`klyuch trace`, `record` and `replay`, on tokens of the daemon and on cards in a reader."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from host_tools.testing import Command, Run, Scratch, ScratchToken
from tests import cards, piv_cards
from tests.interop.processes import PATIENCE
from tests.interop.vpcd_card import READER, VpcdCard, VpcdReader

KLYUCH = (sys.executable, "-P", "-m", "host_tools.cli")
GENERATE = (*KLYUCH, "key", "generate", "P-256", "--label", "mail", "--token")
SELECT = f"00 A4 04 00 0C {pki.PKI.aid.hex(' ')}"
SCRIPT = f"""
reset                   # as after insertion
{SELECT}
00 20 00 01             # is the user PIN verified?
00 CA 01 04 00          # the card about itself
00 84 00 00 08          # random bytes
"""


@pytest.fixture
def spare(home: Scratch) -> ScratchToken:
    """Another token with the same PINs."""
    return home.create_token("Spare")


@pytest.fixture
def recording(klyuch: Run, token: ScratchToken, tmp_path: Path) -> Path:
    """How a key is made on the token, by another program."""
    path = tmp_path / "session.klog"
    done = klyuch(
        "record", "--token", "Work", "-o", str(path), *GENERATE, "Work", KLYUCH_PIN=token.pin
    )
    assert "exchanges" in done.stdout
    return path


def test_a_program_is_recorded_without_its_pin(recording: Path, token: ScratchToken) -> None:
    text = recording.read_text(encoding="utf-8")
    assert "GENERATE ASYMMETRIC KEY PAIR" in text
    assert token.pin.encode().hex() not in text
    assert recording.stat().st_mode & 0o777 == 0o600
    head, *entries = map(json.loads, text.splitlines())
    assert (head["card"], head["version"]) == ("Work", 1)
    times = [entry["at"] for entry in entries]
    assert times == sorted(times)
    assert times[0] >= 0
    assert {entry["door"] for entry in entries} == set(range(1 + entries[-1]["door"]))


def test_what_was_recorded_happens_to_another_token(
    command: Command, recording: Path, spare: ScratchToken
) -> None:
    arguments = ("replay", recording, "--token", "Spare", "--yes", "--json")
    report = json.loads(command(*arguments, KLYUCH_PIN=spare.pin).stdout)
    # EF.TokenInfo, where label and serial number differ, is read by the daemon alone.
    assert report["counts"]["different"] == report["counts"]["skipped"] == 0
    assert "mail" in command("key", "list", "--token", "Spare", KLYUCH_PIN=spare.pin).output


def test_the_bytes_that_differ_are_shown(
    command: Command, token: ScratchToken, tmp_path: Path
) -> None:
    script, recording = tmp_path / "script.txt", tmp_path / "tries.klog"
    script.write_text("00 A4 04 00 0C F2 76 A2 88 BC FB A6 9D 34 F3 10 01\n00 CA 01 04 00\n")
    command("record", "--token", token.serial, "-o", recording, "--script", script)
    *before, last = recording.read_text().splitlines()
    entry = json.loads(last)
    whole = bytearray.fromhex(entry["response"])
    # The tries that are left of a PIN.
    place = whole.index(b"\x83\x01") + 2
    tries = {whole[place], 99}
    whole[place] = 99
    changed = json.dumps(entry | {"response": whole.hex()})
    recording.write_text("\n".join((*before, changed, "")))
    replay = ("replay", recording, "--token", token.serial)
    shown = command(*replay, code=1).stdout
    assert all(f"[{one:02X}]" in shown for one in tries)
    report = json.loads(command(*replay, "--json", code=1).stdout)
    assert [item["difference"] for item in report["exchanges"]] == [
        None,
        {"recorded": whole[:-2].hex(), "answered": entry["response"][:-4], "offset": place},
    ]


def test_a_recording_does_not_steer_the_terminal(
    command: Command, recording: Path, spare: ScratchToken
) -> None:
    first, rest = recording.read_text(encoding="utf-8").split("\n", 1)
    card = "Work\x1b]0;owned\x07\x9b31m"
    recording.write_text(f"{json.dumps(json.loads(first) | {'card': card})}\n{rest}")
    arguments = ("replay", recording, "--token", spare.serial, "--yes")
    for options in ((), ("--json",)):
        shown = command(*arguments, *options, code=1).output
        assert "owned" in shown
        assert not {"\x1b", "\x07", "\x9b"} & set(shown)


def test_nothing_is_changed_without_a_yes(
    command: Command, recording: Path, spare: ScratchToken
) -> None:
    pin = {"KLYUCH_PIN": spare.pin}
    result = command("replay", recording, "--token", "Spare", code=1, stdin="n\n", **pin)
    assert "GENERATE ASYMMETRIC KEY PAIR" in result.stderr
    assert "mail" not in command("key", "list", "--token", "Spare", **pin).output


def test_without_the_pin_the_login_is_named_as_skipped(
    command: Command, recording: Path, spare: ScratchToken
) -> None:
    shown = command("replay", recording, "--token", "Spare", "--yes", code=1).output
    assert "VERIFY" in shown
    assert "not given" in shown


def test_a_recording_is_never_written_over(command: Command, recording: Path) -> None:
    before = recording.read_bytes()
    command("record", "--token", "Work", "-o", recording, "true", code=7)
    assert recording.read_bytes() == before


def test_a_program_that_fails_fails_the_recording(
    klyuch: Run, token: ScratchToken, tmp_path: Path
) -> None:
    done = klyuch("record", "-o", str(tmp_path / "one.klog"), "false", code=1)
    assert "exit code 1" in done.stderr
    unmade = tmp_path / "two.klog"
    missing = klyuch("record", "-o", str(unmade), "no-such-program", code=2)
    assert "no-such-program" in missing.stderr
    assert not unmade.exists()


def test_a_trace_shows_what_a_program_sends(klyuch: Run, token: ScratchToken) -> None:
    done = klyuch("trace", "--token", "Work", *GENERATE, "Work", KLYUCH_PIN=token.pin)
    assert "VERIFY  masked" in done.stdout
    assert "GENERATE ASYMMETRIC KEY PAIR" in done.stdout
    listing = (*KLYUCH, "key", "list", "--token", "Work")
    shown = klyuch("trace", "--json", "--token", "Work", *listing, KLYUCH_PIN=token.pin)
    assert "mail" in shown.stderr
    told = [json.loads(line) for line in shown.stdout.splitlines()]
    (login,) = [item for item in told if item["command"] == "VERIFY" and item["masked"]]
    assert [login[name] for name in ("cla", "ins", "p1", "lc", "data")] == [
        *("00", "20", "00"),
        *(None, None),
    ]
    assert (login["application"], login["token"]) == ("pki", token.serial)
    assert (login["sw"], login["sw_name"], login["cause"]) == ("9000", "NO_ERROR", None)
    assert token.pin.encode().hex() not in shown.stdout
    assert all(item["seconds"] >= 0 for item in told)
    times = [datetime.fromisoformat(item["time"]) for item in told]
    assert timedelta() <= datetime.now(UTC) - times[-1] < timedelta(minutes=1)
    assert times == sorted(times)


def test_what_pulls_the_token_out_is_traced_to_its_end(
    klyuch: Run, token: ScratchToken, spare: ScratchToken
) -> None:
    pull = ("token", "remove", "Work")
    assert "removed" in klyuch("trace", *KLYUCH, *pull).stdout
    assert "removed" in klyuch("trace", *KLYUCH, "token", "remove", "Spare").stdout
    klyuch("token", "insert", "Work")
    assert "removed" in klyuch("trace", "--token", "Work", *KLYUCH, *pull).stdout


def test_a_script_is_recorded_from_a_reader_and_played_to_a_token(
    klyuch: Run, token: ScratchToken, tmp_path: Path
) -> None:
    path = str(tmp_path / "session.klog")
    with VpcdReader() as pcscd, VpcdCard(pcscd, cards.operational().connect()) as card:
        card.wait_until_seen()
        arguments = ("record", "--reader", READER, "-o", path, "--script", "-", "--json")
        done = klyuch(*arguments, stdin=SCRIPT, **pcscd.environment)
        assert json.loads(done.stdout)["entries"] == 5
        played = klyuch("replay", path, "--reader", READER, "--json", **pcscd.environment)
        assert json.loads(played.stdout)["counts"] == {"same": 4, "different": 0, "skipped": 0}
    assert "4 same, 0 different" in klyuch("replay", path, "--token", "Work").stdout


def test_a_recording_of_piv_keeps_no_pin_and_gets_it_for_its_replay(
    klyuch: Run, token: ScratchToken, tmp_path: Path
) -> None:
    path = tmp_path / "session.klog"
    pin = {"KLYUCH_PIN": piv_cards.PIN.decode()}
    commands = (pki.select_application(piv.SPEC), piv.verify(piv_cards.PIN), piv.get_version())
    script = "\n".join(command.encode().hex() for command in commands)
    record = ("record", "--token", "Work", "--app", "piv", "-o", str(path), "--script", "-")
    klyuch(*record, stdin=script)
    assert piv_cards.PIN.hex() not in path.read_text(encoding="utf-8")
    assert "GET VERSION" in path.read_text(encoding="utf-8")
    assert "3 same" in klyuch("replay", str(path), "--token", "Work", **pin).stdout
    assert "1 skipped" in klyuch("replay", str(path), "--token", "Work").stdout


def test_what_pcsc_cannot_show_is_said(klyuch: Run, tmp_path: Path) -> None:
    with VpcdReader() as pcscd, VpcdCard(pcscd, cards.operational().connect()) as card:
        card.wait_until_seen()
        path = str(tmp_path / "session.klog")
        arguments = ("record", "--reader", READER, "-o", path)
        assert "--script" in klyuch(*arguments, code=2, **pcscd.environment).stderr
        refused = klyuch(
            *arguments, "--script", "-", code=2, stdin="00 A4\nhello\n", **pcscd.environment
        )
        assert "Line 2" in refused.stderr


def test_a_recording_that_was_cut_short_is_played_as_far_as_it_goes(
    command: Command, recording: Path, spare: ScratchToken, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.klog"
    head, select, *_ = recording.read_text(encoding="utf-8").splitlines(keepends=True)
    cut.write_text(head + select + select[:20], encoding="utf-8")
    played = command("replay", cut, "--token", "Spare")
    assert "1 same, 0 different" in played.output
    assert "cut short" in played.stderr


def test_a_replay_that_compares_nothing_fails(
    command: Command, recording: Path, spare: ScratchToken, tmp_path: Path
) -> None:
    no_door = command("replay", recording, "--token", "Spare", "--door", "7", code=2)
    assert "door 7" in no_door.stderr
    assert "[0" in no_door.stderr
    lines = recording.read_text(encoding="utf-8").splitlines(keepends=True)
    empty, masked = tmp_path / "empty.klog", tmp_path / "masked.klog"
    empty.write_text(lines[0], encoding="utf-8")
    assert "no exchanges" in command("replay", empty, "--token", "Spare", code=2).stderr
    masked.write_text(
        lines[0] + next(line for line in lines if '"VERIFY"' in line and "masked" in line),
        encoding="utf-8",
    )
    skipped = command("replay", masked, "--token", "Spare", code=1)
    assert "1 skipped" in skipped.output
    assert "Nothing was compared" in skipped.stderr


def test_a_script_that_is_no_text_is_refused(
    command: Command, token: ScratchToken, tmp_path: Path
) -> None:
    script, output = tmp_path / "script", tmp_path / "session.klog"
    script.write_bytes(bytes(range(0x80, 0xA0)))
    arguments = ("record", "--token", "Work", "-o", output, "--script", script)
    assert "no text" in command(*arguments, code=2).stderr
    assert not output.exists()


def test_what_is_no_recording_cannot_be_played(
    command: Command, token: ScratchToken, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.klog"
    bad.write_text("{}\n")
    assert "no recording" in command("replay", bad, "--token", "Work", code=2).stderr


def test_a_recording_without_a_program_goes_on_until_it_is_interrupted(
    command: Command, token: ScratchToken, tmp_path: Path
) -> None:
    path = tmp_path / "session.klog"
    arguments = [*KLYUCH, "record", "--token", "Work", "-o", str(path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        while not path.exists() or len(path.read_text(encoding="utf-8").splitlines()) < 2:
            command("key", "list", "--token", "Work", KLYUCH_PIN=token.pin)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "exchanges" in printed
