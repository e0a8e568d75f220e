"""Commands on PINs, and INITIALIZE, which the SO PIN allows."""

from __future__ import annotations

from token_fw.apps.pki.commands import ChangePin, Initialize, ResetPin, Verify
from token_fw.apps.pki.files import MF
from token_fw.apps.pki.session import PkiSession
from token_fw.errors import ConditionsNotSatisfied, PinNotInitialised
from token_fw.pin import PinRef
from token_fw.state import Lifecycle


def verify(session: PkiSession, command: Verify) -> bytes:
    """Check a PIN, log out, or ask: then the answer is the state of the PIN."""
    ref = command.ref
    if command.log_out:
        session.pins.discard(ref)
    elif command.value is None:
        session.pins.ask(ref)
    else:
        session.pins.check(ref, command.value)
        session.core.transaction.after(lambda: session.verified(ref))
    return b""


def verify_on_token(session: PkiSession, ref: PinRef) -> bytes:
    """Check a finger that stands for the PIN, or the PIN as the user enters it on the token.

    Where it cannot be right nobody is asked: with the sensor blocked, a finger counts no more.
    """
    matcher = session.core.matcher
    session.pins.usable(ref)
    if matcher.ready(ref):
        session.match(ref)
    elif session.core.path is None and matcher.templates(ref):
        matcher.usable(ref)
    else:
        session.pins.check(ref, session.ask(ref))
    session.core.transaction.after(lambda: session.verified(ref))
    return b""


def change_reference_data(session: PkiSession, command: ChangePin) -> bytes:
    """The interface stays as verified as it was; all others are no more."""
    if command.old is None:
        return _set_on_blank_card(session, command.ref, command.new)
    if session.pins.change(command.ref, command.old, command.new):
        session.core.transaction.after(lambda: session.pins.add(command.ref))
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
        session.pins.check(PinRef.SO, command.puk)
    pins.set(PinRef.USER, command.new)
    return b""


def initialize(session: PkiSession, command: Initialize) -> bytes:
    """Erase the token and make it anew; the SO PIN has to match unless the card is blank."""
    core = session.core
    if core.token.lifecycle is Lifecycle.CREATION:
        core.pins.rule(PinRef.SO).check(command.so_pin)
    else:
        session.pins.check(PinRef.SO, command.so_pin)
    core.files.clear()
    core.keys.clear()
    core.pins.clear(PinRef.USER)
    core.matcher.forget(PinRef.USER)
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
