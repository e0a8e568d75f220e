"""Commands on PINs, and INITIALIZE, which the SO PIN allows."""

from __future__ import annotations

from token_fw.apps.pki.commands import ChangePin, Initialize, ResetPin, Verify
from token_fw.apps.pki.files import MF
from token_fw.apps.pki.session import PkiSession
from token_fw.errors import (
    ConditionsNotSatisfied,
    PinBlocked,
    PinNotInitialised,
    PinNotVerified,
    WrongPin,
)
from token_fw.pin import PinRef
from token_fw.state import Lifecycle


def verify(session: PkiSession, command: Verify) -> bytes:
    """Check a PIN, log out, or ask: then the answer is the state of the PIN."""
    ref = command.ref
    if command.log_out:
        session.log_out(ref)
    elif command.value is None:
        _ask(session, ref)
    else:
        _check(session, ref, command.value)
        session.core.transaction.after(lambda: session.verified(ref))
    return b""


def verify_on_token(session: PkiSession, ref: PinRef) -> bytes:
    """Check a PIN that the user enters on the token; where it cannot be right nobody is asked."""
    _usable(session, ref)
    value = session.ask(ref)
    _check(session, ref, value)
    session.core.transaction.after(lambda: session.verified(ref))
    return b""


def change_reference_data(session: PkiSession, command: ChangePin) -> bytes:
    """The interface stays as verified as it was; all others are no more."""
    if command.old is None:
        return _set_on_blank_card(session, command.ref, command.new)
    pins = session.core.pins
    pins.rule(command.ref).check(command.new)
    was_verified = session.is_verified(command.ref)
    _check(session, command.ref, command.old)
    pins.set(command.ref, command.new)
    if was_verified:
        session.core.transaction.after(lambda: session.keep_verified(command.ref))
    return b""


def reset_retry_counter(session: PkiSession, command: ResetPin) -> bytes:
    """No interface has the user PIN verified afterwards, nor the SO PIN by this alone.

    With the SO PIN in the command, a user PIN that was never set stays so: PinNotInitialised.
    """
    pins = session.core.pins
    pins.rule(PinRef.USER).check(command.new)
    if command.puk is not None:
        if not pins.record(PinRef.USER).initialised:
            raise PinNotInitialised("the user PIN was never set")
        _check(session, PinRef.SO, command.puk)
    pins.set(PinRef.USER, command.new)
    return b""


def initialize(session: PkiSession, command: Initialize) -> bytes:
    """Erase the token and make it anew; the SO PIN has to match unless the card is blank."""
    core = session.core
    if core.token.lifecycle is Lifecycle.CREATION:
        core.pins.rule(PinRef.SO).check(command.so_pin)
    else:
        _check(session, PinRef.SO, command.so_pin)
    core.files.clear()
    core.keys.clear()
    core.pins.clear(PinRef.USER)
    core.pins.set(PinRef.SO, command.so_pin)
    for file in command.files:
        parent = core.files.find(MF + file.parent)
        core.files.create(parent, file.template, file.content)
    core.token.make_operational()
    core.transaction.after(lambda: _initialized(session))
    return b""


def _initialized(session: PkiSession) -> None:
    session.select(session.core.files.find(MF))
    session.environments.clear()
    session.verified(PinRef.SO)


def _ask(session: PkiSession, ref: PinRef) -> None:
    """Raises what the state of the PIN is; verified is no error."""
    if not session.is_verified(ref):
        raise PinNotVerified(_usable(session, ref))


def _usable(session: PkiSession, ref: PinRef) -> int:
    """The tries left; raises PinNotInitialised or PinBlocked."""
    record = session.core.pins.record(ref)
    if not record.initialised:
        raise PinNotInitialised("the PIN has no value yet")
    if not record.tries_left:
        raise PinBlocked("no try is left")
    return record.tries_left


def _check(session: PkiSession, ref: PinRef, value: bytes) -> None:
    """Compare; whoever enters a wrong value is logged out."""
    try:
        session.core.pins.check(ref, value)
    except (WrongPin, PinBlocked):
        session.log_out(ref)
        raise


def _set_on_blank_card(session: PkiSession, ref: PinRef, value: bytes) -> bytes:
    """The SO PIN first, then the user PIN, which makes the card operational."""
    core = session.core
    if core.token.lifecycle is not Lifecycle.CREATION:
        raise ConditionsNotSatisfied("the card is not blank")
    if ref is PinRef.USER and not core.pins.record(PinRef.SO).initialised:
        raise ConditionsNotSatisfied("the SO PIN is set first")
    core.pins.rule(ref).check(value)
    core.pins.set(ref, value)
    if ref is PinRef.USER:
        core.token.make_operational()
    return b""
