"""VERIFY of a finger: on-card comparison, as a YubiKey Bio of the same firmware has it."""

from __future__ import annotations

from token_fw.apps.piv.commands import FingerStep, VerifyFinger
from token_fw.apps.piv.session import PivSession
from token_fw.errors import FingerMismatch, PinNotVerified, ReferencedDataNotFound, WrongPin
from token_fw.pin import PinRef


def verify(session: PivSession, command: VerifyFinger) -> bytes:
    """Compare a finger or a temporary PIN, or ask: then the answer is the state of the sensor.

    Raises ReferencedDataNotFound without a sensor, NoFinger, FingersBlocked, FingerMismatch, and
    what the sensor raises.
    """
    if session.core.matcher.sensor is None:
        raise ReferencedDataNotFound("there is no fingerprint sensor")
    return _STEPS[command.step](session, command.value)


def _ask(session: PivSession, _: bytes) -> bytes:
    left = session.core.matcher.usable(PinRef.PIV)
    if not session.finger.holds():
        raise PinNotVerified(left)
    return b""


def _match(session: PivSession, _: bytes) -> bytes:
    _compare(session)
    session.core.transaction.after(session.matched)
    return b""


def _match_for_temporary_pin(session: PivSession, _: bytes) -> bytes:
    _compare(session)
    session.core.transaction.after(session.matched)
    return session.finger.make_temporary_pin()


def _compare(session: PivSession) -> None:
    matcher = session.core.matcher
    matcher.usable(PinRef.PIV)
    assert matcher.sensor is not None
    sample = session.capture(matcher.sensor)
    try:
        matcher.match(sample, PinRef.PIV)
    except FingerMismatch:
        session.finger.drop()
        raise


def _temporary_pin(session: PivSession, value: bytes) -> bytes:
    """It is good for one interface and its time; a wrong one costs no try, but the right one."""
    if not session.finger.is_temporary_pin(value):
        session.finger.drop()
        raise WrongPin(0)
    session.core.transaction.after(session.matched)
    return b""


_STEPS = {
    FingerStep.ASK: _ask,
    FingerStep.TEMPORARY_PIN: _temporary_pin,
    FingerStep.MATCH_FOR_TEMPORARY_PIN: _match_for_temporary_pin,
    FingerStep.MATCH: _match,
}
