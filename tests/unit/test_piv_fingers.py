"""On-card comparison in the PIV application: fingers, temporary PINs and the policies of keys."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from apdu.codec import Command
from apdu.model import SW
from apdu.transport import CardRemoved
from host_tools.conformance import finger_commands
from host_tools.conformance import piv_commands as piv
from host_tools.testing.faults import Cut, Moment, PowerCut
from tests import finger_cards, piv_cards
from tests.finger_cards import INDEX, STRANGER, THUMB, Desk, step
from token_fw.apps.piv.matched import TEMPORARY_PIN_SECONDS
from token_fw.card import Interface
from token_fw.finger_sensor import ScriptedSensor
from token_fw.pin import PinRef

pytestmark = pytest.mark.usefixtures("cheap_hash")

DIGEST = bytes(range(32))
USE = piv.use(piv.AUTHENTICATION, piv.P256, DIGEST)
DENIED = SW.SECURITY_STATUS_NOT_SATISFIED
LONG = 20


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.enrol(THUMB, PinRef.PIV)
    return made


def holder(desk: Desk, policy: int) -> piv_cards.Client:
    """A client that has proven nothing, with a key of that policy."""
    made = desk.piv()
    made.prove()
    made.make_key(piv.AUTHENTICATION, pin=policy)
    return made


def match(desk: Desk, client: piv_cards.Client, finger: bytes = THUMB) -> int:
    desk.sensor.script([step(finger)])
    return client.status(piv.match())


@pytest.mark.parametrize(
    ("policy", "uses"),
    [
        (piv.MATCH_ONCE, [SW.NO_ERROR, SW.NO_ERROR]),
        (piv.MATCH_ALWAYS, [SW.NO_ERROR, DENIED]),
        (piv.ONCE, [DENIED, DENIED]),
        (piv.ALWAYS, [DENIED, DENIED]),
        (piv.NEVER, [SW.NO_ERROR, SW.NO_ERROR]),
    ],
)
def test_a_finger_opens_the_keys_whose_policy_has_it(
    desk: Desk, policy: int, uses: list[int]
) -> None:
    client = holder(desk, policy)
    if policy != piv.NEVER:
        assert client.status(USE) == DENIED
    assert match(desk, client) == SW.NO_ERROR
    assert [client.status(USE), client.status(USE)] == uses


@pytest.mark.parametrize("policy", [piv.MATCH_ONCE, piv.MATCH_ALWAYS])
def test_the_pin_opens_them_as_well(desk: Desk, policy: int) -> None:
    client = holder(desk, policy)
    client.log_in()
    assert client.status(USE) == SW.NO_ERROR
    assert client.status(USE) == (DENIED if policy == piv.MATCH_ALWAYS else SW.NO_ERROR)
    assert client.metadata(piv.AUTHENTICATION)[piv.POLICIES][0] == policy


def test_a_finger_opens_no_data_object(desk: Desk) -> None:
    client = holder(desk, piv.MATCH_ONCE)
    client.ok(piv.put_data(piv.PRINTED, b"somebody"))
    assert match(desk, client) == SW.NO_ERROR
    assert client.status(piv.get_data(piv.PRINTED)) == DENIED


def test_three_wrong_fingers_block_and_the_pin_unblocks(desk: Desk) -> None:
    client = holder(desk, piv.MATCH_ONCE)
    assert [match(desk, client, INDEX) for _ in range(3)] == [0x63C2, 0x63C1, 0x63C0]
    assert client.status(piv.match()) == SW.AUTHENTICATION_METHOD_BLOCKED
    assert client.status(piv.finger_status()) == SW.AUTHENTICATION_METHOD_BLOCKED
    assert client.status(piv.verify(piv_cards.WRONG)) == 0x63C2
    assert client.metadata(piv.FINGER)[piv.RETRIES] == b"\x00"
    client.log_in()
    assert client.metadata(piv.FINGER)[piv.RETRIES] == b"\x03"
    assert match(desk, client) == SW.NO_ERROR


def test_a_wrong_finger_ends_the_match_where_it_was_made(desk: Desk) -> None:
    client, other = holder(desk, piv.MATCH_ONCE), desk.piv()
    assert match(desk, client) == match(desk, other) == SW.NO_ERROR
    assert match(desk, client, STRANGER) == 0x63C2
    assert client.status(USE) == DENIED
    assert other.status(USE) == SW.NO_ERROR
    assert other.status(piv.finger_status()) == SW.NO_ERROR
    other.ok(piv.log_out())
    assert other.status(piv.finger_status()) == 0x63C2


def test_a_new_pin_ends_every_match(desk: Desk) -> None:
    client = holder(desk, piv.MATCH_ONCE)
    assert match(desk, client) == SW.NO_ERROR
    desk.piv().ok(piv.change(piv.REF_PIN, piv_cards.PIN, piv_cards.NEW_PIN))
    assert client.status(USE) == DENIED


def test_nobody_puts_a_finger_on_the_sensor_in_time() -> None:
    desk = Desk(ScriptedSensor(patience=0))
    desk.enrol(THUMB, PinRef.PIV)
    client = desk.piv()
    assert client.status(piv.match()) == SW.ENTRY_TIMED_OUT
    assert client.metadata(piv.FINGER)[piv.RETRIES] == b"\x03"


def test_a_finger_that_stands_for_another_pin_is_a_wrong_one(desk: Desk) -> None:
    desk.enrol(INDEX, PinRef.USER)
    assert match(desk, desk.piv(), INDEX) == 0x63C2


def test_without_fingers_or_without_a_sensor() -> None:
    client = Desk().piv()
    # Clients take whoever has metadata of 96 for a card of another kind.
    assert client.status(piv.metadata(piv.FINGER)) == SW.REFERENCED_DATA_NOT_FOUND
    for command in (piv.match(), piv.match_for_temporary_pin(), piv.finger_status()):
        assert client.status(command) == SW.REFERENCE_DATA_NOT_USABLE
    bare = piv_cards.managed()
    for command in (piv.match(), piv.finger_status(), piv.metadata(piv.FINGER)):
        assert bare.status(command) == SW.REFERENCED_DATA_NOT_FOUND
    refused = piv.generate(piv.AUTHENTICATION, piv.P256, pin=piv.MATCH_ONCE)
    assert bare.status(refused) == SW.INCORRECT_DATA


@pytest.mark.parametrize(
    ("data", "p1", "status"),
    [
        ("04 00", 0x00, SW.INCORRECT_DATA),
        ("03 01 00", 0x00, SW.INCORRECT_DATA),
        ("01 08 0000000000000000", 0x00, SW.INCORRECT_DATA),
        ("02 00 03 00", 0x00, SW.INCORRECT_DATA),
        ("03", 0x00, SW.INCORRECT_DATA),
        ("", 0xFF, SW.INCORRECT_P1P2),
    ],
)
def test_malformed_commands_ask_for_no_finger(desk: Desk, data: str, p1: int, status: int) -> None:
    desk.sensor.script([step(STRANGER)])
    command = Command(0x00, 0x20, p1, piv.FINGER, bytes.fromhex(data))
    assert desk.piv().status(command) == status
    assert desk.sensor.forget() == 1


# The temporary PIN


def temporary(desk: Desk, client: piv_cards.Client) -> bytes:
    desk.sensor.script([step(THUMB)])
    value = client.ok(piv.match_for_temporary_pin())
    assert len(value) == 16
    return value


def has_temporary(client: piv_cards.Client) -> bool:
    return client.metadata(piv.FINGER)[0x08] == b"\x01"


def test_a_temporary_pin_stands_for_further_matches(desk: Desk) -> None:
    client = holder(desk, piv.MATCH_ALWAYS)
    value = temporary(desk, client)
    assert client.status(USE) == SW.NO_ERROR
    assert has_temporary(client)
    for _ in range(2):
        client.ok(piv.temporary_pin(value))
        assert [client.status(USE), client.status(USE)] == [SW.NO_ERROR, DENIED]


def test_a_wrong_temporary_pin_ends_the_right_one_and_costs_no_try(desk: Desk) -> None:
    client = holder(desk, piv.MATCH_ALWAYS)
    value = temporary(desk, client)
    assert client.status(piv.temporary_pin(bytes(16))) == 0x63C0
    assert not has_temporary(client)
    assert client.status(piv.temporary_pin(value)) == 0x63C0
    assert client.metadata(piv.FINGER)[piv.RETRIES] == b"\x03"
    assert client.status(USE) == DENIED


@pytest.mark.parametrize(
    "end", ["wrong finger", "wrong PIN", "new PIN", "time", "selected again", "log out", "power"]
)
def test_a_temporary_pin_dies(desk: Desk, end: str) -> None:
    client, other = holder(desk, piv.MATCH_ALWAYS), desk.piv()
    value = temporary(desk, client)
    if end == "wrong finger":
        assert match(desk, other, STRANGER) == 0x63C2
    elif end == "wrong PIN":
        other.status(piv.verify(piv_cards.WRONG))
    elif end == "new PIN":
        other.ok(piv.change(piv.REF_PIN, piv_cards.PIN, piv_cards.NEW_PIN))
    elif end == "time":
        desk.now += TEMPORARY_PIN_SECONDS + 0.1
    elif end == "selected again":
        client = piv_cards.Client(client.transport)
    elif end == "log out":
        client.ok(piv.log_out())
    else:
        client = desk.powered_again().piv()
    assert not has_temporary(client)
    assert client.status(piv.temporary_pin(value)) == 0x63C0


def test_with_its_finger_go_a_match_and_its_temporary_pin(desk: Desk) -> None:
    desk.enrol(INDEX, PinRef.PIV)
    client = holder(desk, piv.MATCH_ONCE)
    value = temporary(desk, client)
    assert client.status(USE) == SW.NO_ERROR
    fingers = desk.fingerprints(PinRef.PIV)
    fingers.ok(finger_commands.remove(min(fingers.fingers())))
    assert client.status(USE) == DENIED
    assert not has_temporary(client)
    assert client.status(piv.temporary_pin(value)) == 0x63C0
    assert match(desk, client) == 0x63C2
    assert match(desk, client, INDEX) == SW.NO_ERROR


def test_a_temporary_pin_is_for_its_interface_and_in_time(desk: Desk) -> None:
    client = holder(desk, piv.MATCH_ALWAYS)
    value = temporary(desk, client)
    assert desk.piv().status(piv.temporary_pin(value)) == 0x63C0
    desk.now += TEMPORARY_PIN_SECONDS
    client.ok(piv.temporary_pin(value))


# Power and the others


@pytest.mark.parametrize(
    ("finger", "cut", "left"),
    [
        (THUMB, Cut(Moment.BEFORE_COMMIT, 1), 3),
        (THUMB, Cut(Moment.AFTER_COMMIT, 1), 2),
        (THUMB, Cut(Moment.BEFORE_COMMIT, 2), 2),
        (THUMB, Cut(Moment.AFTER_COMMIT, 2), 3),
        (STRANGER, Cut(Moment.BEFORE_COMMIT, 1), 3),
        (STRANGER, Cut(Moment.AFTER_COMMIT, 1), 2),
    ],
)
def test_a_cut_at_any_commit_gives_no_try_back(finger: bytes, cut: Cut, left: int) -> None:
    desk = Desk()
    desk.enrol(THUMB, PinRef.PIV)
    client = desk.piv()
    desk.store.arm(cut)
    desk.sensor.script([step(finger)])
    with pytest.raises(PowerCut):
        client.status(piv.match())
    assert desk.powered_again().piv().metadata(piv.FINGER)[piv.RETRIES] == bytes((left,))


def test_others_use_the_card_while_a_finger_is_waited_for(desk: Desk) -> None:
    client, other = holder(desk, piv.MATCH_ONCE), desk.piv()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.status, piv.match())
        assert desk.sensor.awaited(LONG)
        other.log_in()
        other.use(piv.AUTHENTICATION, piv.P256, DIGEST)
        assert not answer.done()
        desk.sensor.present(finger_cards.sample(THUMB))
        assert answer.result(LONG) == SW.NO_ERROR


@pytest.mark.parametrize("end", ["the interface", "the card"])
def test_a_wait_for_a_finger_ends_with(end: str, desk: Desk) -> None:
    client = desk.piv()
    interface = client.transport
    assert isinstance(interface, Interface)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.status, piv.match())
        assert desk.sensor.awaited(LONG)
        (interface if end == "the interface" else desk.card).close()
        if end == "the interface":
            assert answer.result(LONG) == SW.ENTRY_CANCELLED
        else:
            with pytest.raises(CardRemoved):
                answer.result(LONG)
    assert not desk.sensor.present(finger_cards.sample(THUMB))


def test_a_reset_of_the_application_forgets_its_fingers(desk: Desk) -> None:
    client = holder(desk, piv.MATCH_ONCE)
    for _ in range(3):
        client.status(piv.verify(piv_cards.WRONG))
        client.status(piv.unblock(piv_cards.WRONG, piv_cards.NEW_PIN))
    client.ok(piv.reset())
    assert client.status(piv.metadata(piv.FINGER)) == SW.REFERENCED_DATA_NOT_FOUND
    assert desk.piv().status(piv.match()) == SW.REFERENCE_DATA_NOT_USABLE
