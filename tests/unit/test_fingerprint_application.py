"""The fingerprint application: who may enrol, name, see and remove fingers, and for which PINs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from apdu.codec import Command
from apdu.model import SW
from host_tools.conformance import finger_commands as finger
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from host_tools.testing.faults import Cut, Moment, PowerCut
from tests import cards, finger_cards, piv_cards
from tests.finger_cards import INDEX, STRANGER, THUMB, Desk, step
from token_fw.env import Sample, SampleStatus
from token_fw.finger_sensor import ScriptedSensor, Step
from token_fw.fingerprint import MAX_TEMPLATES, SAMPLES
from token_fw.pin import PinRef

pytestmark = pytest.mark.usefixtures("cheap_hash")

USER, PIV = PinRef.USER, PinRef.PIV
DENIED = SW.SECURITY_STATUS_NOT_SATISFIED
LONG = 20


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_finger_is_enrolled_sample_by_sample(desk: Desk) -> None:
    client = desk.fingerprints(USER)
    assert client.ok(finger.begin("right thumb")) == bytes((SAMPLES,))
    desk.sensor.script(
        [
            step(THUMB),
            Step(Sample(THUMB, SampleStatus.TOO_LEFT)),
            step(INDEX),
            step(THUMB),
            step(THUMB),
            step(THUMB),
        ]
    )
    assert [client.ok(finger.capture()).hex(" ") for _ in range(6)] == [
        "00 03",
        "03 03",
        "0a 03",
        "00 02",
        "00 01",
        "00 00 01",
    ]
    assert client.fingers() == {b"\x01": "right thumb"}
    assert client.status(finger.capture()) == SW.CONDITIONS_NOT_SATISFIED


def test_whoever_has_proven_no_pin_does_nothing(desk: Desk) -> None:
    ident = desk.enrol(THUMB, USER)
    client = finger_cards.Client(desk.card.connect())
    for command in (
        finger.begin(),
        finger.capture(),
        finger.cancel(),
        finger.get_fingers(),
        finger.rename(ident, "mine"),
        finger.remove(ident),
    ):
        assert client.status(command) == DENIED


def test_a_pin_that_was_never_set_or_used_enrols_nothing() -> None:
    bench = cards.Bench()
    client = finger_cards.Client(bench.connect())
    assert client.status(finger.verify(USER, cards.USER_PIN)) == SW.REFERENCE_DATA_NOT_USABLE
    assert client.status(finger.verify(PIV, piv_cards.PIN)) == SW.REFERENCED_DATA_NOT_FOUND
    for other in (PinRef.SO, PinRef.PUK):
        assert client.status(finger.verify(other, b"12345678")) == SW.INCORRECT_P1P2


def test_a_wrong_pin_spends_its_try_and_logs_out(desk: Desk) -> None:
    client = desk.fingerprints(USER)
    assert client.status(finger.verify(USER, b"000000")) == 0x63C2
    assert client.status(finger.get_fingers()) == DENIED
    assert cards.tries_left(desk.pki(), USER) == 2


def test_a_finger_is_seen_and_removed_by_whom_it_stands_for(desk: Desk) -> None:
    both = desk.enrol(THUMB, USER, PIV, name="thumb")
    alone = desk.enrol(INDEX, PIV, name="index")
    user = desk.fingerprints(USER)
    assert user.fingers() == {both: "thumb"}
    for command in (finger.remove(alone), finger.rename(alone, "mine")):
        assert user.status(command) == SW.REFERENCED_DATA_NOT_FOUND
    user.ok(finger.rename(both, "big one"))
    user.ok(finger.remove(both))
    assert user.fingers() == {}
    assert desk.fingerprints(PIV).fingers() == {both: "big one", alone: "index"}
    desk.fingerprints(PIV).ok(finger.remove(both))
    assert desk.fingerprints(USER, PIV).fingers() == {alone: "index"}


def test_there_is_room_for_five(desk: Desk) -> None:
    for number in range(MAX_TEMPLATES):
        desk.enrol(bytes((number,)), USER)
    assert desk.fingerprints(USER).status(finger.begin()) == SW.NOT_ENOUGH_MEMORY


def test_a_bad_name_is_refused(desk: Desk) -> None:
    client = desk.fingerprints(USER)
    assert client.status(finger.begin("x" * 65)) == SW.INCORRECT_DATA
    assert client.status(Command(0x80, 0x50, 0x00, 0x00, b"\xff")) == SW.INCORRECT_DATA


@pytest.mark.parametrize("end", ["time", "cancel", "selected again", "another", "new PIN"])
def test_an_enrolment_ends(end: str) -> None:
    desk = Desk(ScriptedSensor(patience=0) if end == "time" else ScriptedSensor())
    client, other = desk.fingerprints(USER), desk.fingerprints(USER)
    client.ok(finger.begin())
    if end == "time":
        assert client.status(finger.capture()) == SW.ENTRY_TIMED_OUT
    elif end == "cancel":
        client.ok(finger.cancel())
    elif end == "selected again":
        client = finger_cards.Client(client.transport)
        client.prove(USER)
    elif end == "another":
        other.ok(finger.begin())
        # This one's end is nothing to the other.
        client.ok(finger.cancel())
        desk.sensor.script([step(THUMB)])
        assert other.ok(finger.capture()) == b"\x00\x03"
    else:
        desk.pki().ok(pki.change(pki.USER, cards.USER_PIN, b"another"))
        assert client.status(finger.capture()) == DENIED
        client.ok(finger.verify(USER, b"another"))
        desk.sensor.script([step(THUMB)])
        assert client.ok(finger.capture()) == b"\x00\x03"
        return
    desk.sensor.script([step(THUMB)])
    assert client.status(finger.capture()) == SW.CONDITIONS_NOT_SATISFIED


def test_a_pin_that_is_changed_during_a_capture_ends_the_enrolment(desk: Desk) -> None:
    client = desk.fingerprints(USER)
    client.ok(finger.begin())
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.status, finger.capture())
        assert desk.sensor.awaited(LONG)
        desk.pki().ok(pki.change(pki.USER, cards.USER_PIN, b"another"))
        desk.sensor.present(finger_cards.sample(THUMB))
        assert answer.result(LONG) == DENIED
    client.ok(finger.verify(USER, b"another"))
    assert client.status(finger.capture()) == SW.CONDITIONS_NOT_SATISFIED


@pytest.mark.parametrize("moment", [Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT])
def test_a_cut_at_the_last_sample_keeps_the_finger_or_nothing(moment: Moment, desk: Desk) -> None:
    client = desk.fingerprints(USER)
    client.ok(finger.begin("thumb"))
    desk.sensor.script([step(THUMB)] * SAMPLES)
    for _ in range(SAMPLES - 1):
        client.ok(finger.capture())
    assert desk.powered_again().fingerprints(USER).fingers() == {}
    desk.store.arm(Cut(moment, 1))
    with pytest.raises(PowerCut):
        client.send(finger.capture())
    kept = {b"\x01": "thumb"} if moment is Moment.AFTER_COMMIT else {}
    assert desk.powered_again().fingerprints(USER).fingers() == kept


# The PKI application


def test_a_finger_logs_in_where_a_pin_would_be_entered(desk: Desk) -> None:
    assert not told(desk)
    desk.enrol(THUMB, USER)
    assert told(desk) == bytes((1, 3, 3))
    client = desk.pki()
    desk.sensor.script([step(STRANGER), step(THUMB)])
    assert client.status(pki.verify_on_token(USER)) == 0x63C2
    assert told(desk) == bytes((1, 2, 3))
    client.ok(pki.verify_on_token(USER))
    cards.make_key(client, 0)
    assert client.status(pki.verify_on_token(PinRef.SO)) == SW.CONDITIONS_NOT_SATISFIED


def told(desk: Desk) -> bytes:
    """What the card information says of fingers: how many, tries left and at most."""
    information = desk.pki().ok(pki.get_data(0x04))
    place = information.find(b"\x89\x03")
    return information[place + 2 : place + 5] if place >= 0 else b""


def test_three_wrong_fingers_of_three_applications_are_one_count(desk: Desk) -> None:
    desk.enrol(THUMB, USER, PIV)
    pki_client, piv_client = desk.pki(), desk.piv()
    desk.sensor.script([step(STRANGER)] * 3)
    assert pki_client.status(pki.verify_on_token(USER)) == 0x63C2
    assert piv_client.status(piv.match()) == 0x63C1
    assert pki_client.status(pki.verify_on_token(USER)) == 0x63C0
    assert piv_client.status(piv.match()) == SW.AUTHENTICATION_METHOD_BLOCKED
    assert pki_client.status(pki.verify_on_token(USER)) == SW.AUTHENTICATION_METHOD_BLOCKED
    assert told(desk.powered_again()) == bytes((1, 0, 3))
    pki_client.log_in()
    desk.sensor.script([step(THUMB)] * 2)
    piv_client.ok(piv.match())
    pki_client.ok(pki.verify_on_token(USER))


def test_a_wrong_finger_logs_out_and_costs_no_try_of_the_pin(desk: Desk) -> None:
    desk.enrol(THUMB, USER)
    client = desk.pki()
    client.log_in()
    desk.sensor.script([step(STRANGER)])
    assert client.status(pki.verify_on_token(USER)) == 0x63C2
    assert client.status(pki.verify(USER)) == 0x63C3


def test_a_blocked_pin_is_opened_by_no_finger(desk: Desk) -> None:
    desk.enrol(THUMB, USER)
    client = desk.pki()
    for _ in range(3):
        client.status(pki.verify(USER, b"000000"))
    desk.sensor.script([step(THUMB)])
    assert client.status(pki.verify_on_token(USER)) == SW.AUTHENTICATION_METHOD_BLOCKED
    assert desk.sensor.forget() == 1


def test_a_finger_is_consent_to_one_use_of_a_key(desk: Desk) -> None:
    desk.enrol(THUMB, USER)
    client = desk.pki()
    client.log_in()
    cards.make_key(client, 0, pki.EC, pki.attributes(0x01, pki.ALWAYS_AUTHENTICATE))
    client.ok(pki.mse(pki.SIGN, pki.ECDSA, 0))
    desk.sensor.script([step(THUMB)])
    client.ok(pki.verify_on_token(USER))
    assert client.status(pki.sign(bytes(32))) == SW.NO_ERROR
    assert client.status(pki.sign(bytes(32))) == DENIED


def test_a_token_that_is_initialised_anew_forgets_the_fingers_of_its_user(desk: Desk) -> None:
    desk.enrol(THUMB, USER, PIV)
    client = desk.pki()
    client.ok(pki.initialize(cards.SO_PIN))
    client.ok(pki.reset_by_so(cards.USER_PIN))
    assert not told(desk)
    assert desk.fingerprints(USER).fingers() == {}
    assert len(desk.fingerprints(PIV).fingers()) == 1
