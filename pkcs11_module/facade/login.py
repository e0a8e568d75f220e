"""Login, logout and PINs (PKCS#11 2.40 5.5, 5.6); tries and values are the card's business."""

from __future__ import annotations

from apdu.model import SW, StatusWordError
from pkcs11_module import _constants as ck
from pkcs11_module.cards.card import PinInfo, TokenCard
from pkcs11_module.cards.pkcs15 import SO_PIN, USER_PIN
from pkcs11_module.facade.application import refusal
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.sessions import PIN_REFERENCES, Session
from pkcs11_module.types import Pkcs11Error

_MAX_PIN = 64


@session_function("C_Login")
def login(session: Session, user: int, pin: bytes | None) -> None:
    """C_Login; raises Pkcs11Error."""
    slot = session.slot
    if user == ck.CKU_CONTEXT_SPECIFIC:
        _log_in_for_one_use(session, pin)
        return
    if user not in PIN_REFERENCES:
        raise Pkcs11Error(ck.CKR_USER_TYPE_INVALID)
    if slot.user == user:
        raise Pkcs11Error(ck.CKR_USER_ALREADY_LOGGED_IN)
    if slot.user is not None:
        raise Pkcs11Error(ck.CKR_USER_ANOTHER_ALREADY_LOGGED_IN)
    if user == ck.CKU_SO and not all(known.writable for known in slot.sessions.values()):
        raise Pkcs11Error(ck.CKR_SESSION_READ_ONLY_EXISTS)
    verify(slot.card, PIN_REFERENCES[user], pin)
    slot.user = user


def _log_in_for_one_use(session: Session, pin: bytes | None) -> None:
    """The operation that waits for it is one with a key that is always authenticated."""
    waiting = [
        operation
        for kind in ("sign", "decrypt")
        if (operation := session.operations.get(kind)) is not None and operation.needs_consent
    ]
    if not waiting:
        raise Pkcs11Error(ck.CKR_OPERATION_NOT_INITIALIZED)
    try:
        verify(session.slot.card, USER_PIN, pin)
    except Pkcs11Error:
        # Whoever enters a wrong value is logged out by the card.
        session.slot.check_login()
        raise
    for operation in waiting:
        operation.consent = True


@session_function("C_Logout")
def logout(session: Session) -> None:
    """C_Logout; raises Pkcs11Error (CKR_USER_NOT_LOGGED_IN)."""
    if session.slot.user is None:
        raise Pkcs11Error(ck.CKR_USER_NOT_LOGGED_IN)
    session.slot.log_out()


@session_function("C_InitPIN")
def init_pin(session: Session, pin: bytes | None) -> None:
    """C_InitPIN: the SO gives the user PIN a value, whatever state it is in."""
    if session.slot.user != ck.CKU_SO:
        raise Pkcs11Error(ck.CKR_USER_NOT_LOGGED_IN)
    card = session.slot.card
    new = _new_value(card.info().pins[USER_PIN], pin)
    try:
        card.set_user_pin(new)
    except StatusWordError as error:
        raise _new_value_refusal(error) from error


@session_function("C_SetPIN")
def set_pin(session: Session, old: bytes | None, new: bytes | None) -> None:
    """C_SetPIN: of the SO where the SO is logged in, else of the user."""
    session.need_writable()
    if old is None:
        raise Pkcs11Error(ck.CKR_ARGUMENTS_BAD)
    card = session.slot.card
    reference = SO_PIN if session.slot.user == ck.CKU_SO else USER_PIN
    state = card.info().pins[reference]
    value = _new_value(state, new)
    _check_form(state, old)
    try:
        card.change_pin(reference, old, value)
    except StatusWordError as error:
        session.slot.check_login()
        raise _new_value_refusal(error) from error


def verify(card: TokenCard, reference: int, pin: bytes | None) -> None:
    """Have the card check a PIN; raises Pkcs11Error (CKR_PIN_INCORRECT, CKR_PIN_LOCKED, …)."""
    if pin is None:
        # Without a pointer the PIN would be entered on the token itself, which has no keys.
        raise Pkcs11Error(ck.CKR_ARGUMENTS_BAD)
    if not 1 <= len(pin) <= _MAX_PIN:
        _check_form(card.info().pins[reference], pin)
    try:
        card.verify(reference, pin)
    except StatusWordError as error:
        raise refusal(error) from error


def _check_form(state: PinInfo, pin: bytes) -> None:
    """A value that no command carries is wrong, but costs no try; raises Pkcs11Error."""
    if not state.initialised:
        raise Pkcs11Error(ck.CKR_USER_PIN_NOT_INITIALIZED)
    if not state.tries_left:
        raise Pkcs11Error(ck.CKR_PIN_LOCKED)
    if not 1 <= len(pin) <= _MAX_PIN:
        raise Pkcs11Error(ck.CKR_PIN_INCORRECT)


def _new_value(state: PinInfo, pin: bytes | None) -> bytes:
    if pin is None:
        raise Pkcs11Error(ck.CKR_ARGUMENTS_BAD)
    # Commands are padded with 00, which the card takes off again.
    length = len(pin.rstrip(b"\0"))
    if not state.min_length <= length <= state.max_length or len(pin) > _MAX_PIN:
        raise Pkcs11Error(ck.CKR_PIN_LEN_RANGE)
    if length != len(pin):
        raise Pkcs11Error(ck.CKR_PIN_INVALID)
    return pin


def check_new_so_pin(state: PinInfo, pin: bytes, *, blank: bool) -> None:
    """What C_InitToken takes: a new value on a blank token, else the value; raises Pkcs11Error."""
    if blank:
        _new_value(state, pin)
    else:
        _check_form(state, pin)


def _new_value_refusal(error: StatusWordError) -> Pkcs11Error:
    if error.sw == SW.INCORRECT_DATA:
        return Pkcs11Error(ck.CKR_PIN_INVALID, "the policy does not allow that PIN")
    return refusal(error)
