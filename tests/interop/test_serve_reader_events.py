"""`klyuch serve --reader` while cards, pcscd and other programs come and go."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from host_tools.cryptoki import Cryptoki, CryptokiError
from host_tools.testing import Run, Scratch
from host_tools.testing.application import RemoteApplication
from host_tools.testing.worker import Refused
from pkcs11_module import _constants as ck
from tests import cards, piv_cards
from tests.interop.pcscd import IfdDoor, readers
from tests.interop.processes import Process
from tests.interop.served_reader import SERVE, SLOT, Served
from tests.interop.vpcd_card import READER, VpcdCard, VpcdReader

ENDED = {"CKR_DEVICE_REMOVED", "CKR_SESSION_HANDLE_INVALID"}


@pytest.fixture
def program(pki_reader: Served) -> Iterator[RemoteApplication]:
    """A program with a session, logged in, that has made a key."""
    with RemoteApplication() as made:
        begin(made, pki_reader)
        made.call("generate", "P-256", "key")
        yield made


def begin(program: RemoteApplication, shown: Served) -> None:
    """Open a session and log in."""
    program.call("open", SLOT)
    program.call("login", shown.token.pin)


def answer_of(program: RemoteApplication) -> str:
    """The answer to the oldest request, by name."""
    try:
        program.answer()
    except Refused as refused:
        return str(refused)
    return "CKR_OK"


def ask(program: RemoteApplication, name: str, *arguments: object) -> str:
    program.send(name, *arguments)
    return answer_of(program)


def wait_until_present(program: RemoteApplication, present: bool) -> None:
    """Sleep in C_WaitForSlotEvent until the card is there, or is not."""
    while program.call("token_present") != present:
        assert program.call("wait_for_event") == SLOT


def test_a_card_that_is_pulled_and_put_in_again_is_seen(
    pki_reader: Served, program: RemoteApplication
) -> None:
    program.send("wait_for_event")
    pki_reader.move("remove")
    assert program.answer() == SLOT
    assert not program.call("token_present")
    assert program.call("slots") == []
    assert ask(program, "sign", "key") == "CKR_DEVICE_REMOVED"
    assert ask(program, "open", SLOT) == "CKR_TOKEN_NOT_PRESENT"
    pki_reader.move("insert")
    wait_until_present(program, True)
    assert ask(program, "sign", "key") == "CKR_SESSION_HANDLE_INVALID"
    begin(program, pki_reader)
    assert program.call("sign", "key")


def test_another_card_is_not_taken_for_the_one_before(
    pki_reader: Served, program: RemoteApplication
) -> None:
    pki_reader.move("remove")
    pki_reader.move("insert")
    said = {ask(program, "state") for _ in range(3)}
    wait_until_present(program, True)
    assert said <= {*ENDED, "CKR_OK"}
    assert ask(program, "state") in ENDED
    begin(program, pki_reader)
    assert program.call("sign", "key")


@pytest.mark.parametrize("called_meanwhile", [True, False])
def test_a_restarted_pcscd_is_found_again(
    pki_reader: Served, program: RemoteApplication, called_meanwhile: bool
) -> None:
    pki_reader.there.pcscd.kill()
    if called_meanwhile:
        assert ask(program, "sign", "key") == "CKR_DEVICE_REMOVED"
        assert ask(program, "open", SLOT) == "CKR_TOKEN_NOT_PRESENT"
    pki_reader.there.pcscd.start()
    if not called_meanwhile:
        wait_until_present(program, False)
    wait_until_present(program, True)
    assert ask(program, "sign", "key") in ENDED
    begin(program, pki_reader)
    assert program.call("sign", "key")


def test_pcscd_that_is_killed_in_the_middle_of_a_call_ends_it(
    pki_reader: Served, program: RemoteApplication
) -> None:
    program.send("generate", "RSA-4096", "orphan")
    pki_reader.there.pcscd.kill()
    assert answer_of(program) == "CKR_DEVICE_REMOVED"
    pki_reader.there.pcscd.start()
    wait_until_present(program, True)
    begin(program, pki_reader)
    assert program.call("sign", "key")


def test_a_card_that_another_program_keeps_holds_up_nobody_else(
    home: Scratch, pki_reader: Served, program: RemoteApplication
) -> None:
    own = home.create_token("Own")
    keeping = pki_reader.there.connect()
    keeping.call("begin")
    program.send("sign", "key")
    with RemoteApplication() as other:
        assert other.call("slots") == [own.slot, SLOT]
        other.call("open", own.slot)
        other.call("login", own.pin)
        other.call("generate", "P-256", "own")
        assert other.call("sign", "own")
        other.send("wait_for_event")
        with home.control() as control:
            control.call("token.remove", token=own.serial)
        assert other.answer() == own.slot
    keeping.call("end")
    assert program.answer()


def test_two_slots_may_show_two_applications_of_one_card(home: Scratch) -> None:
    with Scratch() as far:
        token = far.create_token("Work")
        with readers(far, IfdDoor(far, "all"), [token.serial]) as there:
            there.client().call("wait_for", there.name(), True)
            both = ["--reader", there.name(), "--app", "piv", "--reader", "klyuch", "--app", "pki"]
            with serving(home, there.pcscd.environment, *both), Cryptoki() as library:
                assert library.slots() == [SLOT, SLOT + 1]
                labels = [library.token_info(slot).label for slot in (SLOT, SLOT + 1, SLOT)]
                assert labels == ["PIV", "Work", "PIV"]


@contextmanager
def serving(home: Scratch, environment: dict[str, str], *options: str) -> Iterator[None]:
    """The daemon of that home, with these options."""
    here = {**home.environment, **environment}
    with Process([*SERVE, *options], here) as daemon:
        daemon.wait_for("Ctrl")
        yield


def refusal(*call: object) -> str:
    function, *arguments = call
    assert callable(function)
    with pytest.raises(CryptokiError) as refused:
        function(*arguments)
    return refused.value.name


def test_a_reader_without_a_card_is_an_empty_slot(home: Scratch) -> None:
    with VpcdReader() as reader:
        options = ("--reader", READER)
        with serving(home, reader.environment, *options), Cryptoki() as library:
            assert library.slots(present=False) == [SLOT]
            assert library.slots() == []
            assert library.slot_info(SLOT).description == READER
            for call in (library.token_info, library.open_session, library.mechanisms):
                assert refusal(call, SLOT) == "CKR_TOKEN_NOT_PRESENT"


@pytest.fixture
def piv_alone() -> Iterator[VpcdReader]:
    """A card that has no application but PIV, in a reader."""
    card = cards.Bench().card.connect("piv")
    with VpcdReader() as reader, VpcdCard(reader, card) as inserted:
        inserted.wait_until_seen()
        yield reader


def test_a_card_without_the_application_is_not_recognized(
    home: Scratch, piv_alone: VpcdReader
) -> None:
    options = ("--reader", READER, "--app", "pki")
    with serving(home, piv_alone.environment, *options), Cryptoki() as library:
        assert library.slots() == [SLOT]
        for call in (library.token_info, library.open_session):
            assert refusal(call, SLOT) == "CKR_TOKEN_NOT_RECOGNIZED"


def test_the_application_that_a_card_has_is_shown(home: Scratch, piv_alone: VpcdReader) -> None:
    with (
        serving(home, piv_alone.environment, "--reader", READER),
        Cryptoki() as library,
        library.open_session(SLOT) as session,
    ):
        assert library.token_info(SLOT).label == "PIV"
        session.login(ck.CKU_USER, piv_cards.PIN)


def test_a_reader_that_is_not_there_is_named_with_those_that_are(klyuch: Run) -> None:
    with VpcdReader() as reader:
        options = ("--reader", "Absent", "--detached")
        said = klyuch("serve", *options, code=5, **reader.environment).stderr
        assert "There is no reader 'Absent'; there are: " in said
        assert READER in said


def test_without_a_running_pcscd_it_is_said_how_to_start_it(klyuch: Run, home: Scratch) -> None:
    nowhere = {"PCSCLITE_CSOCK_NAME": str(home.path / "nowhere")}
    said = klyuch("serve", "--reader", "any", code=6, **nowhere).stderr
    assert "systemctl start pcscd.socket" in said


def test_without_pyscard_it_is_said_how_to_get_it(home: Scratch) -> None:
    script = "import sys; sys.modules['smartcard'] = None; from host_tools.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, "serve", "--reader", "any"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert home.path.is_dir()
    assert done.returncode == 1
    assert f"Install it: {sys.executable} -m pip install 'pyscard>=" in done.stderr


@pytest.mark.parametrize(
    "options",
    [["--app", "pki"], ["--reader", "a", "--reader", "b", *["--app", "pki"] * 3]],
)
def test_applications_without_their_readers_are_a_mistake(klyuch: Run, options: list[str]) -> None:
    assert "once for each --reader" in klyuch("serve", *options, code=2).stderr


def test_readers_are_shown_by_a_daemon_in_the_background_until_it_ends(
    home: Scratch, klyuch: Run
) -> None:
    with VpcdReader() as reader:
        klyuch("serve", "--detached", "--reader", "reader 00 00", **reader.environment)
        with Cryptoki() as library:
            assert library.slots(present=False) == [SLOT]
        klyuch("stop")
        with Cryptoki() as library:
            assert library.slots(present=False) == []
    assert home.path.is_dir()


def test_the_sessions_of_a_card_end_when_it_is_pulled_in_the_middle_of_an_operation(
    pki_reader: Served,
) -> None:
    with Cryptoki() as library:
        session = library.open_session(SLOT)
        session.login(ck.CKU_USER, pki_reader.token.pin.encode())
        pki_reader.move("remove")
        said = refusal(session.random, 1000)
        assert said == "CKR_DEVICE_REMOVED"
