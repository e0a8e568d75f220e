"""Tokens in readers of a real pcscd, through our driver and through vpcd, used by real programs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from apdu.codec import Command
from apdu.model import SW
from host_tools.conformance import pki_commands as pki
from host_tools.testing import Scratch, ScratchToken
from tests import cards
from tests.conftest import program
from tests.interop.consumers import call
from tests.interop.pcsc_client import PcscClient, PcscError
from tests.interop.pcscd import IfdDoor, Pcscd, ReaderDoor, Readers, readers
from tests.interop.processes import Process
from tests.interop.test_slot_events import threads
from token_fw.card import ATR

Connect = Callable[..., PcscClient]


@pytest.fixture
def tokens(home: Scratch) -> list[ScratchToken]:
    """Two tokens, in the slots 0 and 1."""
    return [home.create_token(label) for label in ("Work", "Home")]


@pytest.fixture
def there(home: Scratch, reader_door: ReaderDoor, tokens: list[ScratchToken]) -> Iterator[Readers]:
    """Both tokens in a pcscd, through each of the doors."""
    with readers(home, reader_door, [token.serial for token in tokens]) as found:
        yield found


@pytest.fixture
def client(there: Readers) -> Connect:
    """Makes another program that has connected to the card of a slot."""
    return there.connect


def test_pcsc_scan_sees_readers_cards_and_atr(there: Readers, client: Connect) -> None:
    client(0), client(1)
    with Process([program("pcsc_scan", "pcsc-tools"), "-n", "-c"], there.pcscd.environment) as scan:
        for slot in range(2):
            scan.wait_for(
                f"{there.name(slot)}\n(.*\n)*?.*Card inserted.*\n.*ATR: {ATR.hex(' ').upper()}"
            )


def test_opensc_tool_prints_the_atr_and_the_driver_it_chose(
    there: Readers, client: Connect
) -> None:
    client(0)
    command = [program("opensc-tool", "opensc"), "--reader", there.name(0), "--atr", "--name"]
    said = call(command, there.pcscd.environment).stdout.splitlines()
    assert said == [ATR.hex(":"), "Javacard with IsoApplet"]


def test_a_program_reads_the_token_through_its_reader(
    client: Connect, tokens: list[ScratchToken]
) -> None:
    for slot, token in enumerate(tokens):
        connected = client(slot)
        assert connected.call("atr") == ATR.hex()
        assert cards.serial(cards.Client(connected)).hex() == token.serial


@pytest.mark.parametrize(("offered", "agreed"), [(1, 1), (2, 2), (3, 2)])
def test_both_protocols_carry_the_same_commands(
    there: Readers, client: Connect, offered: int, agreed: int
) -> None:
    connected = client(0)
    connected.call("disconnect", True)
    assert connected.call("connect", there.name(0), offered) == agreed
    assert cards.lifecycle(cards.Client(connected)) == 5


def test_random_numbers_fill_the_longest_response(client: Connect) -> None:
    connected = client(0)
    cards.Client(connected)
    assert len(connected.transceive(pki.challenge(65533).encode())) == 65535


def test_the_longest_command_is_carried_and_answered(client: Connect) -> None:
    connected = client(0)
    cards.Client(connected)
    longest = Command(0x00, 0x84, 0x00, 0x00, bytes(65528)).encode()
    assert len(longest) == 65535
    assert connected.transceive(longest) == SW.WRONG_LENGTH.to_bytes(2, "big")


@pytest.mark.parametrize(
    "command",
    [
        "ff",
        "00a4",
        "00a404",
        "00a404000c",
        "00a4040005f276a2",
        "00a404000000",
        "00" * 300,
        "ff" * 9,
    ],
)
def test_a_malformed_command_gets_a_status_word_and_costs_nothing(
    client: Connect, command: str
) -> None:
    connected = client(0)
    card = cards.Client(connected)
    card.log_in(pin=b"481516")
    answer = connected.transceive(bytes.fromhex(command))
    assert len(answer) == 2
    assert answer[0] in {0x67, 0x6A, 0x6B, 0x6D, 0x6E, 0x6F, 0x68}
    assert answer != b"\x6f\0"
    assert card.status(pki.verify(pki.USER)) == SW.NO_ERROR


@pytest.mark.parametrize("command", [b"\x00", b"\x01", b"\x02", b"\x04"])
def test_a_command_of_one_byte_holds_up_no_reader(
    there: Readers, client: Connect, command: bytes
) -> None:
    connected, other = client(0), client(1)
    with suppress(PcscError):
        connected.transceive(command)
    assert cards.lifecycle(cards.Client(other)) == 5
    connected.call("disconnect")
    connected.call("wait_for", there.name(0), True)
    assert cards.lifecycle(cards.Client(client(0))) == 5


@pytest.mark.parametrize("size", [0, 65549, 1 << 20])
def test_what_pcscd_does_not_carry_costs_nothing(client: Connect, size: int) -> None:
    connected = client(0)
    card = cards.Client(connected)
    card.log_in(pin=b"481516")
    with pytest.raises(PcscError, match=r"INVALID_PARAMETER|INSUFFICIENT_BUFFER"):
        connected.transceive(bytes(size))
    assert card.status(pki.verify(pki.USER)) == SW.NO_ERROR


@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
def test_a_reset_loses_selection_and_pin(client: Connect, cold: bool) -> None:
    connected = client(0)
    cards.Client(connected).log_in(pin=b"481516")
    connected.call("reconnect", cold)
    assert connected.transceive(pki.get_data(1).encode())[:1] != b"\x90"
    assert cards.Client(connected).status(pki.verify(pki.USER)) == 0x63C3


def test_a_card_that_was_unpowered_has_forgotten_its_pin(there: Readers, client: Connect) -> None:
    connected = client(0)
    cards.Client(connected).log_in(pin=b"481516")
    connected.call("disconnect", True)
    connected.call("connect", there.name(0))
    assert cards.Client(connected).status(pki.verify(pki.USER)) == 0x63C3


def test_operations_of_seconds_neither_time_out_nor_drop_the_card(client: Connect) -> None:
    connected = client(0)
    card = cards.Client(connected)
    card.log_in(pin=b"481516")
    for reference in range(2):
        card.ok(pki.mse(pki.GENERATE, pki.RSA_4096, reference))
        answer = card.ok(pki.generate())
        assert len(pki.public_objects(answer)[0x81]) == 512
    assert card.status(pki.verify(pki.USER)) == SW.NO_ERROR


def test_a_reader_whose_card_works_holds_up_no_other(client: Connect) -> None:
    busy, other = client(0), client(1)
    card = cards.Client(busy)
    card.log_in(pin=b"481516")
    card.ok(pki.mse(pki.GENERATE, pki.RSA_4096, 0))
    busy.send("transmit", pki.generate().encode().hex())
    for _ in range(20):
        assert cards.lifecycle(cards.Client(other)) == 5
    assert cards.lifecycle(cards.Client(client(1))) == 5
    assert busy.answer().endswith("9000")


def test_insertion_and_removal_reach_a_program_that_waits(
    there: Readers, client: Connect, tokens: list[ScratchToken]
) -> None:
    waiting, other = client(0), client(1)
    waiting.call("disconnect")
    for state, present in (("remove", False), ("insert", True)):
        waiting.send("wait_for", there.name(0), present)
        with there.home.control() as control:
            control.call(f"token.{state}", token=tokens[0].serial)
        assert waiting.answer() == (ATR.hex() if present else "")
        assert cards.lifecycle(cards.Client(other)) == 5


def test_a_command_to_a_removed_token_fails_and_the_next_token_is_not_logged_in(
    there: Readers, client: Connect, tokens: list[ScratchToken]
) -> None:
    connected = client(0)
    cards.Client(connected).log_in(pin=tokens[0].pin.encode())
    with there.home.control() as control:
        control.call("token.remove", token=tokens[0].serial)
        connected.call("wait_for", there.name(0), False)
        with pytest.raises(PcscError):
            connected.transceive(pki.verify(pki.USER).encode())
        control.call("token.insert", token=tokens[0].serial)
    connected.call("wait_for", there.name(0), True)
    connected.call("connect", there.name(0))
    assert cards.Client(connected).status(pki.verify(pki.USER)) == 0x63C3


def test_two_programs_with_transactions_never_get_each_others_answers(client: Connect) -> None:
    first, second = client(0), client(0)
    select = pki.select_application().encode().hex()
    absent = Command(0x00, 0xA4, 0x04, 0x00, b"\xa0\0\0\3\x08", 256).encode().hex()
    ours = [select, pki.get_data(1).encode().hex()]
    theirs = [absent, pki.challenge(8).encode().hex()]
    first.send("in_transactions", ours, 200)
    second.send("in_transactions", [theirs[0], select], 200)
    [answers] = first.answer()
    assert answers == ["0005039000", "01002f9000"]
    assert second.answer() == [["6a82", "0005039000"]]


def test_what_one_program_resets_the_other_learns(client: Connect) -> None:
    first, second = client(0), client(0)
    cards.Client(first)
    second.call("reconnect")
    with pytest.raises(PcscError, match="SCARD_W_RESET_CARD"):
        first.transceive(pki.get_data(1).encode())
    first.call("acknowledge")
    assert cards.lifecycle(cards.Client(first)) == 5


def test_a_restarted_pcscd_finds_the_tokens_again(there: Readers, client: Connect) -> None:
    cards.Client(client(0)).log_in(pin=b"481516")
    there.pcscd.kill()
    there.pcscd.start()
    for slot in range(2):
        card = cards.Client(client(slot))
        assert card.status(pki.verify(pki.USER)) == 0x63C3


def test_a_killed_daemon_empties_the_readers_and_the_next_one_fills_them(
    there: Readers, client: Connect
) -> None:
    connected, waiting = client(0), client(1)
    cards.Client(connected).log_in(pin=b"481516")
    assert there.home.kill_daemon() is not None
    waiting.call("wait_for", there.name(1), False)
    with pytest.raises(PcscError):
        connected.transceive(pki.verify(pki.USER).encode())
    with there.home.control() as control:
        assert control.call("status")["tokens"] == 2
    card = cards.Client(client(0))
    assert card.status(pki.verify(pki.USER)) == 0x63C3


def test_a_daemon_killed_in_the_middle_of_a_command_ends_it(
    there: Readers, client: Connect
) -> None:
    connected = client(0)
    card = cards.Client(connected)
    card.log_in(pin=b"481516")
    card.ok(pki.mse(pki.GENERATE, pki.RSA_4096, 0))
    connected.send("transmit", pki.generate().encode().hex())
    there.home.kill_daemon()
    with suppress(PcscError):
        # vpcd knows no other way to say that the card has gone.
        assert connected.answer() == ""


def test_pcscd_ends_when_it_is_asked_to(there: Readers, client: Connect) -> None:
    cards.Client(client(0))
    assert there.pcscd.stop() == 0


def test_the_trace_shows_what_comes_through_a_reader(
    there: Readers, client: Connect, tokens: list[ScratchToken]
) -> None:
    connected = client(0)
    with there.home.control() as control:
        lines = control.trace(tokens[0].serial)
        cards.Client(connected).log_in(pin=tokens[0].pin.encode())
        seen = [next(lines) for _ in range(4)]
    assert "SELECT" in seen[0]
    assert any("VERIFY" in line for line in seen)
    assert tokens[0].pin.encode().hex() not in "".join(seen).lower()


def test_a_stopped_daemon_holds_up_its_own_readers_alone(
    home: Scratch, token: ScratchToken
) -> None:
    """Two homes in one pcscd: the daemon of one is stopped by SIGSTOP."""
    with Scratch() as second:
        second.create_token("Home")
        files = [IfdDoor(one).reader_file([0]) for one in (home, second)]
        names = [f"Klyuch slot 0 {number:02X} 00" for number in range(2)]
        pid = home.home.daemon_pid()
        assert pid is not None
        with Pcscd("\n".join(files)) as pcscd, ExitStack() as stack:
            clients = [stack.enter_context(PcscClient(pcscd.environment)) for _ in range(3)]
            for client, name in zip(clients, (*names, names[1]), strict=True):
                client.call("establish")
                client.call("wait_for", name, True)
                client.call("connect", name)
            stuck, other, late = clients
            cards.Client(stuck)
            os.kill(pid, signal.SIGSTOP)
            try:
                stuck.send("transmit", pki.get_data(1).encode().hex())
                for one in (other, late):
                    assert cards.lifecycle(cards.Client(one)) == 5
                assert late.call("readers") == names
            finally:
                os.kill(pid, signal.SIGCONT)
            assert stuck.answer() == "01002f9000"


def test_sixteen_readers_are_there_and_each_shows_its_own_token(home: Scratch) -> None:
    serials = []
    for _ in range(16):
        with home.control() as control:
            serials.append(str(control.call("token.create", blank=True)["serial"]))
    door = IfdDoor(home)
    with readers(home, door, serials) as there:
        for slot, serial in enumerate(serials):
            assert cards.serial(cards.Client(there.connect(slot))).hex() == serial


def test_nothing_wakes_pcscd_or_the_daemon_while_no_card_moves(
    home: Scratch, token: ScratchToken
) -> None:
    with readers(home, IfdDoor(home), [token.serial]) as there:
        client = there.connect()
        with home.control() as control:
            control.call("token.remove", token=token.serial)
        client.call("wait_for", there.name(), False)
        pid = home.home.daemon_pid()
        assert pid is not None
        client.send("wait_for", there.name(), True)
        time.sleep(0.5)
        before = threads(there.pcscd.pid), threads(pid)
        time.sleep(0.4)
        assert (threads(there.pcscd.pid), threads(pid)) == before
        with home.control() as control:
            control.call("token.insert", token=token.serial)
        assert client.answer() == ATR.hex()
