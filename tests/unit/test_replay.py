"""A recording played to another card: what means the same, what differs, what is skipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import pytest

from apdu.codec import Command, Response
from apdu.model import APPLICATIONS, SW
from apdu.recording import Entry, Mask, Recorder
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from host_tools.replay import Outcome, Player, Replayed, changing
from host_tools.replay_answers import Difference
from tests import cards, piv_cards
from token_fw.factory import Profile

PKI = APPLICATIONS["pki"]
PINS = {"user": cards.USER_PIN.decode(), "so": cards.SO_PIN.decode()}
SIGNING: Sequence[Command] = (
    pki.select_application(),
    pki.verify(pki.USER, cards.USER_PIN),
    pki.mse(pki.GENERATE, pki.EC, 1),
    pki.generate(pki.p256()),
    pki.mse(pki.SIGN, pki.ECDSA, 1),
    pki.sign(bytes(32)),
    pki.challenge(8),
    pki.get_data(0x02),
    pki.get_data(0x04),
)


def recorded(*commands: Command) -> list[Entry]:
    entries: list[Entry] = []
    recorder = Recorder(cards.operational().connect(), entries.append, Mask(PKI))
    for command in commands:
        recorder.transceive(command.encode())
    return entries


def play(
    entries: list[Entry], bench: cards.Bench | None = None, pins: dict[str, str] = PINS
) -> list[Replayed]:
    other = bench or cards.operational(Profile(b"ANOTHER1"))
    return list(Player("pki", other.connect, pins).play(entries))


def test_another_sound_card_does_the_same_though_its_bytes_differ() -> None:
    played = play(recorded(*SIGNING))
    assert [item for item in played if item.outcome is not Outcome.SAME] == []
    assert len(played) == len(SIGNING)


def test_a_card_with_other_tries_differs_in_its_information() -> None:
    other = cards.operational(Profile(b"ANOTHER1", user_tries=5))
    entries = recorded(*SIGNING)
    (item,) = [item for item in play(entries, other) if item.outcome is Outcome.DIFFERENT]
    assert item.name == "GET DATA"
    # The serial number stands before, and differs from card to card.
    place = int(item.reason.removeprefix("from byte "))
    assert item.difference is not None
    assert item.difference.offset == place
    both = [
        bytes.fromhex(data or "") for data in (item.difference.recorded, item.difference.answered)
    ]
    assert both[0] == entries[-1].response[:-2]
    for data, told, tries in zip(both, item.told, (3, 5), strict=True):
        around = f"{data[place - 4 : place].hex(' ').upper()} [{tries:02X}] {data[place + 1]:02X}"
        assert data[place] == tries
        assert told.startswith(f"9000 done, {len(data)} bytes: … {around}")


class Says:
    """A card that answers every command with the same."""

    def __init__(self, data: bytes, sw: int = SW.NO_ERROR) -> None:
        self._response = Response(sw, data).encode()

    def transceive(self, _command: bytes) -> bytes:
        return self._response

    def reset(self) -> bytes:
        return b""


def compared(command: Command, recorded: Says, other: Says) -> Replayed:
    entries: list[Entry] = []
    Recorder(recorded, entries.append, Mask(PKI)).transceive(command.encode())
    (item,) = Player("pki", lambda: other, {}).play(entries)
    return item


def test_an_answer_that_is_longer_differs_from_where_the_other_ends() -> None:
    read = pki.read_short(0)
    item = compared(read, Says(bytes(range(12))), Says(bytes(range(20))))
    assert item.difference == Difference(bytes(range(12)).hex(), bytes(range(20)).hex(), 12)
    assert item.reason == "from byte 12"
    assert item.told == (
        "9000 done, 12 bytes: … 08 09 0A 0B []",
        "9000 done, 20 bytes: … 08 09 0A 0B [0C] 0D 0E 0F 10 11 12 13",
    )


def test_what_is_secret_in_an_answer_is_not_shown_where_it_differs() -> None:
    secret, other = b"\xa5" * 32, b"\x5a" * 16
    item = compared(pki.get_secret(1), Says(secret), Says(other))
    assert (item.outcome, item.difference) == (Outcome.DIFFERENT, Difference(None, None))
    assert item.told == ("9000 done, 32 bytes", "9000 done, 16 bytes")
    assert not {secret.hex(), other.hex()} & set(str(asdict(item)).split("'"))


def test_answers_that_differ_in_their_status_word_alone_have_no_data_to_show() -> None:
    read = pki.read_short(0)
    item = compared(read, Says(b""), Says(b"", SW.FILE_NOT_FOUND))
    assert (item.outcome, item.difference) == (Outcome.DIFFERENT, None)
    item = compared(read, Says(b"data"), Says(b"", SW.FILE_NOT_FOUND))
    assert item.difference == Difference(b"data".hex(), "")
    assert (item.told[0], item.reason) == ("9000 done, 4 bytes", "")


def test_without_its_pin_a_login_is_skipped_and_what_needs_it_differs() -> None:
    played = {item.name: item for item in play(recorded(*SIGNING), pins={})}
    assert played["VERIFY"].outcome is Outcome.SKIPPED
    assert "not given" in played["VERIFY"].reason
    assert played["GENERATE ASYMMETRIC KEY PAIR"].answered.startswith("6982")


def test_a_wrong_pin_is_sent_once() -> None:
    other = cards.operational()
    entries = recorded(pki.select_application(), *[pki.verify(pki.USER, cards.USER_PIN)] * 3)
    outcomes = [item.outcome for item in play(entries, other, {"user": "99999999"})]
    assert outcomes == [Outcome.SAME, Outcome.DIFFERENT, Outcome.SKIPPED, Outcome.SKIPPED]
    assert cards.tries_left(other.client(), pki.USER) == 2


@pytest.mark.parametrize("last_try", [False, True])
def test_the_last_try_of_a_pin_is_spent_only_with_leave(last_try: bool) -> None:
    other = cards.operational()
    for _ in range(2):
        other.client().send(pki.verify(pki.USER, b"99999999"))
    entries = recorded(*SIGNING[:2])
    pins = {"user": "99999999"}
    [_, login] = Player("pki", other.connect, pins, last_try=last_try).play(entries)
    assert login.outcome is (Outcome.DIFFERENT if last_try else Outcome.SKIPPED)
    assert last_try or login.reason == "its PIN has but one try left: give --last-try"
    assert cards.tries_left(other.client(), pki.USER) == (0 if last_try else 1)


def test_a_try_that_was_wrong_is_not_made_again() -> None:
    other = cards.operational()
    entries = recorded(pki.select_application(), pki.verify(pki.USER, b"99999999"))
    played = play(entries, other)
    assert played[-1].outcome is Outcome.SKIPPED
    assert "spend a try" in played[-1].reason
    assert cards.tries_left(other.client(), pki.USER) == 3


def test_a_command_with_masked_data_is_skipped_by_name() -> None:
    entries = recorded(pki.select_application(), pki.initialize(cards.SO_PIN))
    played = play(entries)
    assert (played[-1].name, played[-1].outcome) == ("INITIALIZE", Outcome.SKIPPED)


def test_each_way_to_the_card_has_its_own_login() -> None:
    bench = cards.operational()
    entries: list[Entry] = []
    for door, commands in enumerate((SIGNING[:2], SIGNING[:1])):
        recorder = Recorder(bench.connect(), entries.append, Mask(PKI), door)
        for command in commands:
            recorder.transceive(command.encode())
    Recorder(bench.connect(), entries.append, Mask(PKI), 2).was_reset()
    other = bench.connect()
    recorder = Recorder(other, entries.append, Mask(PKI), 1)
    other.transceive(pki.select_application().encode())
    recorder.transceive(pki.verify(pki.USER).encode())
    assert {item.outcome for item in play(entries)} == {Outcome.SAME}


def test_a_replay_follows_select_and_logs_in_to_its_own_application_alone() -> None:
    select, verify = pki.select_application(piv.SPEC), piv.verify(piv_cards.PIN)
    entries = recorded(*SIGNING[:2], select, verify, piv.get_data(piv.DISCOVERY), piv.get_version())
    outcomes = {item.number: item.outcome for item in play(entries)}
    assert outcomes == dict.fromkeys((1, 2, 3, 5, 6), Outcome.SAME) | {4: Outcome.SKIPPED}
    [_, _, _, skipped, *_] = play(entries)
    assert skipped.reason == "a PIN of PIV is masked: a recording with --app piv gets it"
    other = cards.operational(Profile(b"ANOTHER1"))
    [*_, login] = Player("piv", other.connect, {"pin": piv_cards.PIN.decode()}).play(
        recorded(select, verify)
    )
    assert login.outcome is Outcome.SAME


def test_what_changes_the_card_is_named_by_the_application_that_is_selected() -> None:
    select = pki.select_application(piv.SPEC)
    harmless = (select, piv.get_data(piv.CHUID), piv.metadata(piv.REF_PIN), piv.attest(0x9A))
    assert changing("pki", recorded(*harmless)) == []
    assert changing("pki", recorded(select, piv.move(0xFF, 0x9A))) == ["MOVE KEY"]


def test_what_changes_the_card_is_known_beforehand() -> None:
    assert changing("pki", recorded(*SIGNING)) == ["GENERATE ASYMMETRIC KEY PAIR"]
    assert changing("pki", recorded(pki.select_application(), pki.verify(pki.USER))) == []
