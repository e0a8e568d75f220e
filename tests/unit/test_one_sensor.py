"""CTAP, PIV and PKCS#11 on one token: one sensor, one matcher, one count of wrong fingers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from fido2.ctap import CtapError
from fido2.ctap2.base import Ctap2
from fido2.ctap2.bio import FPBioEnrollment
from fido2.ctap2.pin import ClientPin

from host_tools.conformance import finger_commands, pki_commands
from host_tools.conformance import piv_commands as piv
from pkcs11_module import _constants as ck
from tests import fido_platform, finger_cards, piv_cards
from tests.finger_cards import INDEX, STRANGER, THUMB, step
from tests.unit.facade_rig import USER_PIN, Rig
from token_fw.apps.fido2 import Channel
from token_fw.card import Card
from token_fw.fingerprint import SAMPLES

pytestmark = pytest.mark.usefixtures("cheap_hash")

FIDO_PIN = "a pin of FIDO's"
RP = "example.org"


@dataclass
class Token:
    """A token with PINs of three applications, and a client of each."""

    rig: Rig = field(default_factory=Rig)
    channel: Channel = field(default_factory=Channel)

    def __post_init__(self) -> None:
        self.client = self.rig.initialised()
        self.session = self.client.open()
        self.piv = piv_cards.Client(self.card.connect())
        # What the device asks of a desk is its card and its channel.
        desk: Any = self
        self.ctap = Ctap2(fido_platform.DeskDevice(desk))
        self.pin = ClientPin(self.ctap)
        self.pin.set_pin(FIDO_PIN)

    @property
    def card(self) -> Card:
        assert self.rig.reader.card is not None
        return self.rig.reader.card

    def enrol(self, finger: bytes, *applications: str) -> None:
        """Enrol a finger with the client of each of these."""
        for application in applications:
            self.rig.sensor.script([step(finger)] * SAMPLES)
            if application == "fido":
                self._enrol_for_fido()
            else:
                self._enrol_with_pin(*_PINS[application])

    def _enrol_for_fido(self) -> None:
        permission = ClientPin.PERMISSION.BIO_ENROLL
        token = self.pin.get_pin_token(FIDO_PIN, permission)
        context = FPBioEnrollment(self.ctap, self.pin.protocol, token).enroll()
        assert [context.capture() for _ in range(SAMPLES)][-1]

    def _enrol_with_pin(self, reference: int, value: bytes) -> None:
        client = finger_cards.Client(self.card.connect())
        client.ok(finger_commands.verify(reference, value))
        client.ok(finger_commands.begin())
        for _ in range(SAMPLES):
            client.ok(finger_commands.capture())

    def log_in(self, finger: bytes) -> str:
        """What C_Login answers to that finger."""
        self.rig.sensor.script([step(finger)])
        outcome = self.client.outcome("C_Login", self.session, ck.CKU_USER, None)
        if outcome == "CKR_OK":
            self.client("C_Logout", self.session)
        self.rig.sensor.forget()
        return outcome

    def match(self, finger: bytes) -> int:
        """What VERIFY of PIV answers to it."""
        self.rig.sensor.script([step(finger)])
        status = self.piv.status(piv.match())
        self.rig.sensor.forget()
        return status

    def verify(self, finger: bytes) -> str:
        """What clientPIN answers to it."""
        self.rig.sensor.script([step(finger)])
        try:
            self.pin.get_uv_token(ClientPin.PERMISSION.GET_ASSERTION, RP)
        except CtapError as error:
            return error.code.name
        finally:
            self.rig.sensor.forget()
        return "SUCCESS"

    def tries(self) -> tuple[int, int]:
        """As CTAP and as PIV tell them."""
        return self.pin.get_uv_retries(), self.piv.metadata(piv.FINGER)[piv.RETRIES][0]


_PINS = {"pki": (pki_commands.USER, USER_PIN), "piv": (piv.REF_PIN, piv_cards.PIN)}


@pytest.fixture
def token() -> Token:
    made = Token()
    made.enrol(THUMB, "pki", "piv", "fido")
    return made


def test_a_finger_opens_all_three(token: Token) -> None:
    assert token.log_in(THUMB) == "CKR_OK"
    assert token.match(THUMB) == 0x9000
    assert token.verify(THUMB) == "SUCCESS"


def test_wrong_fingers_at_three_applications_are_one_count(token: Token) -> None:
    assert token.verify(STRANGER) == "UV_INVALID"
    assert token.tries() == (2, 2)
    assert token.match(STRANGER) == 0x63C1
    assert token.tries() == (1, 1)
    assert token.log_in(STRANGER) == "CKR_PIN_LOCKED"
    assert token.tries() == (0, 0)
    assert token.verify(THUMB) == "UV_BLOCKED"
    assert token.match(THUMB) == 0x6983
    assert token.log_in(THUMB) == "CKR_PIN_LOCKED"


@pytest.mark.parametrize("unblocks", ["pki", "piv", "fido"])
def test_the_pin_of_either_unblocks_for_all(token: Token, unblocks: str) -> None:
    for _ in range(3):
        token.match(STRANGER)
    assert token.tries() == (0, 0)
    if unblocks == "pki":
        token.client("C_Login", token.session, ck.CKU_USER, USER_PIN)
        token.client("C_Logout", token.session)
    elif unblocks == "piv":
        token.piv.log_in()
    else:
        token.pin.get_pin_token(FIDO_PIN, ClientPin.PERMISSION.BIO_ENROLL)
    assert token.tries() == (3, 3)
    assert token.log_in(THUMB) == "CKR_OK"
    assert token.match(THUMB) == 0x9000
    assert token.verify(THUMB) == "SUCCESS"


def test_a_finger_opens_only_what_it_was_enrolled_for(token: Token) -> None:
    token.enrol(INDEX, "fido")
    assert token.verify(INDEX) == "SUCCESS"
    assert token.log_in(INDEX) == "CKR_PIN_INCORRECT"
    assert token.match(INDEX) == 0x63C1
