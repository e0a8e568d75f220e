"""yubikit drives the on-card comparison of the PIV application as it drives a YubiKey Bio."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from yubikit.core import InvalidPinError, NotSupportedError
from yubikit.core.smartcard import SW, ApduError
from yubikit.piv import (
    DEFAULT_MANAGEMENT_KEY,
    KEY_TYPE,
    PIN_POLICY,
    SLOT,
    BioMetadata,
    PivSession,
)

from tests import cards
from tests.finger_cards import STRANGER, THUMB, Desk, step
from tests.interop.yubikit_card import Connection
from token_fw.pin import PinRef

PIN = "123456"
MESSAGE = b"to be signed"


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.enrol(THUMB, PinRef.PIV)
    return made


@pytest.fixture(params=[True, False], ids=["extended", "short"])
def piv(request: pytest.FixtureRequest, desk: Desk) -> PivSession:
    made = PivSession(Connection(desk.card.connect(), extended=request.param))
    made.authenticate(DEFAULT_MANAGEMENT_KEY)
    return made


def sign(piv: PivSession) -> bytes:
    return piv.sign(SLOT.SIGNATURE, KEY_TYPE.ECCP256, MESSAGE, hashes.SHA256())


def make_key(piv: PivSession, policy: PIN_POLICY) -> ec.EllipticCurvePublicKey:
    made = piv.generate_key(SLOT.SIGNATURE, KEY_TYPE.ECCP256, pin_policy=policy)
    assert isinstance(made, ec.EllipticCurvePublicKey)
    assert piv.get_slot_metadata(SLOT.SIGNATURE).pin_policy is policy
    return made


@pytest.mark.parametrize("policy", [PIN_POLICY.MATCH_ONCE, PIN_POLICY.MATCH_ALWAYS])
def test_a_key_is_used_after_a_match(desk: Desk, piv: PivSession, policy: PIN_POLICY) -> None:
    public = make_key(piv, policy)
    with pytest.raises(ApduError) as refusal:
        sign(piv)
    assert refusal.value.sw == SW.SECURITY_CONDITION_NOT_SATISFIED
    desk.sensor.script([step(THUMB)])
    assert piv.verify_uv() is None
    public.verify(sign(piv), MESSAGE, ec.ECDSA(hashes.SHA256()))


def test_a_temporary_pin_is_good_for_many_uses(desk: Desk, piv: PivSession) -> None:
    public = make_key(piv, PIN_POLICY.MATCH_ALWAYS)
    desk.sensor.script([step(THUMB)])
    value = piv.verify_uv(temporary_pin=True)
    assert value is not None
    assert piv.get_bio_metadata() == BioMetadata(True, 3, True)
    for _ in range(2):
        piv.verify_temporary_pin(value)
        public.verify(sign(piv), MESSAGE, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidPinError):
        piv.verify_temporary_pin(bytes(16))
    assert piv.get_bio_metadata() == BioMetadata(True, 3, False)
    with pytest.raises(InvalidPinError):
        piv.verify_temporary_pin(value)


def test_wrong_fingers_block_and_the_pin_unblocks(desk: Desk, piv: PivSession) -> None:
    desk.sensor.script([step(STRANGER)] * 3)
    for left in (2, 1, 0):
        with pytest.raises(InvalidPinError) as refusal:
            piv.verify_uv()
        assert refusal.value.attempts_remaining == left
    for check_only in (False, True):
        with pytest.raises(InvalidPinError) as refusal:
            piv.verify_uv(check_only=check_only)
        assert refusal.value.attempts_remaining == 0
    assert piv.get_bio_metadata() == BioMetadata(True, 0, False)
    piv.verify_pin(PIN)
    assert piv.get_bio_metadata() == BioMetadata(True, 3, False)
    with pytest.raises(InvalidPinError) as refusal:
        piv.verify_uv(check_only=True)
    assert refusal.value.attempts_remaining == 3
    desk.sensor.script([step(THUMB)])
    piv.verify_uv()
    piv.verify_uv(check_only=True)


def test_a_card_without_a_sensor_is_no_yubikey_bio() -> None:
    piv = PivSession(Connection(cards.Bench().connect()))
    for call in (piv.get_bio_metadata, piv.verify_uv, lambda: piv.verify_temporary_pin(bytes(16))):
        with pytest.raises(NotSupportedError):
            call()
    piv.authenticate(DEFAULT_MANAGEMENT_KEY)
    with pytest.raises(NotSupportedError):
        piv.generate_key(SLOT.SIGNATURE, KEY_TYPE.ECCP256, pin_policy=PIN_POLICY.MATCH_ONCE)
