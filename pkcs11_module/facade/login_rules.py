"""Calls of C_Login and its like, as the rules of spec/pkcs11/logins.toml see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from pkcs11_module import _constants as ck
from pkcs11_module._logins import REFUSALS
from pkcs11_module.cards.pkcs15 import SO_PIN, USER_PIN
from pkcs11_module.rulebook import Fact
from pkcs11_module.types import Pkcs11Error

if TYPE_CHECKING:
    from pkcs11_module.cards.card_info import CardInfo
    from pkcs11_module.facade.operations import ActiveOperation
    from pkcs11_module.facade.sessions import Session
    from pkcs11_module.facade.slot import Slot

PIN_REFERENCES: Final = {ck.CKU_USER: USER_PIN, ck.CKU_SO: SO_PIN}
"""User type to the card's PIN reference."""

USER_TYPES: Final = {ck.CKU_USER: "user", ck.CKU_SO: "so", ck.CKU_CONTEXT_SPECIFIC: "context"}
"""User type to its name in the rules."""

_MAX_PIN: Final = 64


# Not slotted: what the card tells is kept in the instance.
@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of one function.

    `kind` is the user type or the kind of session that it asks for, `reference` that of the PIN
    that it is about, `pin` is compared with it and `new` replaces it, `named`: a user's name.
    """

    function: str
    slot: Slot
    session: Session | None = None
    kind: str = ""
    named: bool = False
    reference: int = USER_PIN
    pin: bytes | None = None
    new: bytes = b""

    @cached_property
    def info(self) -> CardInfo:
        """What the card tells of itself, asked once and only where a rule needs it."""
        return self.slot.card.info()

    def check(self) -> None:
        """Raises Pkcs11Error with what the first rule that fits gives, if there is one."""
        for refusal in REFUSALS:
            if self.function in refusal.functions and all(
                _FACTS[fact](self) in values for fact, values in refusal.when.items()
            ):
                raise Pkcs11Error(refusal.gives)


def waiting_operation(session: Session | None) -> ActiveOperation | None:
    """The one that needs the user's consent; there is never more than one in a session."""
    operations = session.operations.values() if session else ()
    return next((operation for operation in operations if operation.needs_consent), None)


def _user(call: Call) -> str:
    user = call.slot.current_user()
    return "nobody" if user is None else USER_TYPES[user]


def _open(call: Call) -> str:
    return "rw" if all(known.writable for known in call.slot.sessions.values()) else "ro"


def _pin(call: Call) -> str:
    if call.pin is None:
        return "none"
    return "carried" if 1 <= len(call.pin) <= _MAX_PIN else "uncarried"


def _new(call: Call) -> str:
    state = call.info.pins[call.reference]
    length = len(call.new.rstrip(b"\0"))
    if not state.min_length <= length <= state.max_length or len(call.new) > _MAX_PIN:
        return "length"
    return "good" if length == len(call.new) else "padded"


def _state(call: Call) -> str:
    state = call.info.pins[call.reference]
    if not state.initialised:
        return "unset"
    return "ready" if state.tries_left else "locked"


_FACTS: Final[dict[Fact, Callable[[Call], str]]] = {
    Fact.AS: lambda call: call.kind,
    Fact.NAME: lambda call: "given" if call.named else "none",
    Fact.USER: _user,
    Fact.OPEN: _open,
    Fact.HELD: lambda call: "yes" if call.slot.token.sessions else "no",
    Fact.OPERATION: lambda call: "waiting" if waiting_operation(call.session) else "none",
    Fact.PATH: lambda call: "yes" if call.info.has_path(call.reference) else "no",
    Fact.TOKEN: lambda call: "made" if call.info.operational else "blank",
    Fact.PIN: _pin,
    Fact.NEW: _new,
    Fact.STATE: _state,
}
