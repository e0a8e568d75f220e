"""One sensor, one matcher, one count of tries: CTAP, PIV and the PKI application together."""

from __future__ import annotations

import pytest
from fido2.ctap2.bio import FPBioEnrollment

from apdu.ctap import CtapCommand, Permission, Status
from apdu.model import SW
from host_tools.conformance import piv_commands as piv
from tests import fido_cards, finger_cards
from tests.fido_platform import Platform, at_desk, status
from tests.finger_cards import STRANGER, THUMB, sample, step
from tests.piv_cards import Finger
from token_fw.fingerprint import MAX_TRIES, SAMPLES
from token_fw.pin import PinRef

pytestmark = pytest.mark.usefixtures("cheap_hash")


class Token:
    """A token whose PINs are all set, with the thumb enrolled for each of them, at three doors."""

    def __init__(self) -> None:
        self.desk = finger_cards.Desk()
        self.desk.enrol(THUMB, PinRef.USER, PinRef.PIV, name="thumb")
        ctap = fido_cards.Desk(sensor=self.desk.sensor, store=self.desk.store)
        ctap.card = self.desk.card
        self.platform: Platform = at_desk(ctap)
        self.piv = self.desk.piv()
        self.enrol()

    def enrol(self) -> bytes:
        """Have the thumb stand for the PIN of FIDO as well."""
        token = self.platform.token(Permission.BE)
        client = FPBioEnrollment(self.platform.client(), self.platform.protocol, token)
        self.desk.sensor.script([step(THUMB)] * SAMPLES)
        context = client.enroll()
        ident = [context.capture() for _ in range(SAMPLES)][-1]
        assert ident is not None
        return ident

    def by_ctap(self, finger: bytes) -> Status:
        self.desk.sensor.script([step(finger)])
        return status(self.platform.uv_token)

    def by_piv(self, finger: bytes) -> int:
        self.desk.sensor.script([step(finger)])
        return self.piv.status(piv.match())

    def tries(self) -> tuple[int, int, int]:
        """As CTAP, PIV and the fingerprint application tell them."""
        told = self.piv.metadata(piv.FINGER)[piv.RETRIES]
        return self.platform.uv_tries(), told[0], self.desk.fingerprints(PinRef.USER).tries()


def test_one_finger_opens_all_three_and_is_one_template() -> None:
    token = Token()
    assert token.by_ctap(THUMB) is Status.CTAP2_OK
    assert token.by_piv(THUMB) == SW.NO_ERROR
    seen = token.desk.fingerprints(PinRef.USER).fingers()
    assert list(seen.values()) == ["thumb"]


def test_wrong_fingers_at_any_door_are_counted_together() -> None:
    token = Token()
    assert token.by_ctap(STRANGER) is Status.CTAP2_ERR_UV_INVALID
    assert token.by_piv(STRANGER) == SW.WRONG_PIN | 1
    assert token.by_ctap(STRANGER) is Status.CTAP2_ERR_UV_BLOCKED
    assert token.by_piv(THUMB) == SW.AUTHENTICATION_METHOD_BLOCKED
    assert token.platform.uv_tries() == 0
    assert token.piv.metadata(piv.FINGER)[piv.RETRIES] == b"\x00"


def test_the_right_pin_of_ctap_gives_the_tries_back_at_every_door() -> None:
    token = Token()
    for _ in range(MAX_TRIES):
        token.by_piv(STRANGER)
    token.platform.pin_token()
    assert token.tries() == (MAX_TRIES,) * 3
    assert token.by_piv(THUMB) == SW.NO_ERROR


def test_the_right_pin_of_another_application_gives_them_back_to_ctap() -> None:
    token = Token()
    for _ in range(MAX_TRIES):
        token.by_ctap(STRANGER)
    token.piv.log_in()
    assert token.tries() == (MAX_TRIES,) * 3
    assert token.by_ctap(THUMB) is Status.CTAP2_OK


def test_a_finger_that_ctap_removes_stands_for_the_other_pins_still() -> None:
    token = Token()
    granted = token.platform.token(Permission.BE)
    client = FPBioEnrollment(token.platform.client(), token.platform.protocol, granted)
    (ident,) = client.enumerate_enrollments()
    client.remove_enrollment(ident)
    assert client.enumerate_enrollments() == {}
    assert token.by_piv(THUMB) == SW.NO_ERROR
    matcher = token.desk.card.authenticator.core.matcher
    assert matcher.match(sample(THUMB), PinRef.USER).opens == {PinRef.USER, PinRef.PIV}


def test_a_reset_of_ctap_lets_nobody_guess_the_finger_of_another_pin() -> None:
    token = Token()
    for _ in range(MAX_TRIES):
        token.by_piv(STRANGER)
    token.desk.card.authenticator.core.presence = Finger()
    token.platform.desk.ask(CtapCommand.RESET)
    assert token.platform.uv_tries() == MAX_TRIES
    assert token.by_piv(THUMB) == SW.AUTHENTICATION_METHOD_BLOCKED
    token.piv.log_in()
    assert token.by_piv(THUMB) == SW.NO_ERROR
