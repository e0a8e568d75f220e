"""Commands on the PIN, the PUK and the management key, and RESET."""

from __future__ import annotations

from token_fw.apps.piv import fingers
from token_fw.apps.piv.commands import ChangePin, ResetPin, SetRetries, Verify, VerifyFinger
from token_fw.apps.piv.factory import DEFAULT_PINS, restore, restore_pin
from token_fw.apps.piv.session import PivSession
from token_fw.apps.piv.slots import ManagementRecord
from token_fw.errors import ConditionsNotSatisfied, WrongPin
from token_fw.pin import PinRef


def verify(session: PivSession, command: Verify | VerifyFinger) -> bytes:
    """Check the PIN or a finger, log out, or ask: then the answer is the state of the PIN."""
    if isinstance(command, VerifyFinger):
        return fingers.verify(session, command)
    if command.log_out:
        session.pins.discard(PinRef.PIV)
        session.finger.drop()
    elif command.value is None:
        session.pins.ask(PinRef.PIV)
    else:
        session.pins.check(PinRef.PIV, command.value)
        session.core.transaction.after(session.verified)
    return b""


def change_reference_data(session: PivSession, command: ChangePin) -> bytes:
    """The PIN is verified on this interface (SP 800-73-4 part 2, 3.2.2), on no other any more."""
    session.pins.change(command.ref, command.old, command.new)
    session.core.transaction.after(lambda: session.pins.add(command.ref))
    return b""


def reset_retry_counter(session: PivSession, command: ResetPin) -> bytes:
    """The interface stays as verified as it was, or is not after a wrong PUK; others are no more.

    SP 800-73-4 part 2, 3.2.3.
    """
    core = session.core
    try:
        session.pins.check(PinRef.PUK, command.puk)
    except WrongPin:
        session.pins.discard(PinRef.PIV)
        raise
    # The right PUK has its tries back even where the new PIN is refused.
    core.transaction.commit()
    core.pins.rule(PinRef.PIV).check(command.new)
    core.pins.set(PinRef.PIV, command.new)
    if session.pins.holds(PinRef.PIV):
        core.transaction.after(lambda: session.pins.add(PinRef.PIV))
    return b""


def set_retries(session: PivSession, command: SetRetries) -> bytes:
    """No interface has the PIN verified afterwards."""
    restore_pin(session.core, PinRef.PIV, command.pin)
    restore_pin(session.core, PinRef.PUK, command.puk)
    return b""


def set_management_key(session: PivSession, record: ManagementRecord) -> bytes:
    """Every other interface has to prove the new key."""
    session.core.management.set(record)
    session.core.transaction.after(session.keep_management)
    return b""


def reset(session: PivSession, _: None) -> bytes:
    """Whoever has blocked both PINs may have the application factory-new."""
    core = session.core
    if any(core.pins.record(ref).tries_left for ref in DEFAULT_PINS):
        raise ConditionsNotSatisfied("the PIN or the PUK is not blocked")
    restore(core)
    core.matcher.forget(PinRef.PIV)
    return b""
