"""Login, logout and PINs (PKCS#11 2.40 5.5, 5.6); tries and values are the card's business."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from apdu.model import SW, StatusWordError
from apdu.transport import CardRemoved, TransportError
from pkcs11_module import _constants as ck
from pkcs11_module.cards.card import PinInfo, TokenCard
from pkcs11_module.cards.pkcs15 import SO_PIN, USER_PIN
from pkcs11_module.facade.application import Connection, refusal
from pkcs11_module.facade.operations import ActiveOperation
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.sessions import PIN_REFERENCES, Session
from pkcs11_module.types import Pkcs11Error

_MAX_PIN: Final = 64


@session_function("C_Login")
def login(session: Session, user: int, pin: bytes | None) -> None:
    """C_Login; without a PIN, on a token with a path of its own, it waits for the user there.

    While it waits other threads use the slot. Raises Pkcs11Error.
    """
    if user == ck.CKU_CONTEXT_SPECIFIC:
        _log_in_for_one_use(session, pin)
        return
    if user not in PIN_REFERENCES:
        raise Pkcs11Error(ck.CKR_USER_TYPE_INVALID)
    _check_may_log_in(session, user)
    slot = session.slot
    if pin is not None:
        verify(slot.card, PIN_REFERENCES[user], pin)
    else:
        with _connection(session) as connection:
            _wait_for_entry(session, connection, PIN_REFERENCES[user])
            _check_may_log_in(session, user)
            slot.adopt(connection)
    slot.user = user


@session_function("C_LoginUser")
def login_user(session: Session, user: int, pin: bytes | None, name: bytes | None) -> None:
    """C_LoginUser: the users of the token have no names, so it is C_Login (3.1 5.6.9)."""
    if name:
        raise Pkcs11Error(ck.CKR_USER_TYPE_INVALID, "the token knows no users by name")
    login(session, user, pin)


def _check_may_log_in(session: Session, user: int) -> None:
    slot = session.slot
    if slot.user == user:
        raise Pkcs11Error(ck.CKR_USER_ALREADY_LOGGED_IN)
    if slot.user is not None:
        raise Pkcs11Error(ck.CKR_USER_ANOTHER_ALREADY_LOGGED_IN)
    if user == ck.CKU_SO and not all(known.writable for known in slot.sessions.values()):
        raise Pkcs11Error(ck.CKR_SESSION_READ_ONLY_EXISTS)


def _log_in_for_one_use(session: Session, pin: bytes | None) -> None:
    """The operation that waits for it is one with a key that is always authenticated (3.1 4.9).

    A wrong PIN changes neither the operation nor the login, the last try ends the login. The
    consent lies on a connection of its own: no other thread's command uses it up or ends it.
    """
    operation = _waiting_operation(session)
    slot = session.slot
    with _connection(session) as connection:
        try:
            if pin is not None:
                verify(connection.card, USER_PIN, pin)
            else:
                _wait_for_entry(session, connection, USER_PIN)
                if _waiting_operation(session) is not operation:
                    raise Pkcs11Error(ck.CKR_OPERATION_NOT_INITIALIZED)
        except Pkcs11Error as error:
            if error.rv == ck.CKR_PIN_LOCKED:
                slot.log_out()
            raise
        if operation.consent is not None:
            operation.consent.close()
        operation.consent = connection


def _waiting_operation(session: Session) -> ActiveOperation:
    """The one that needs the user's consent; there is never more than one in a session."""
    for operation in session.operations.values():
        if operation.needs_consent:
            return operation
    raise Pkcs11Error(ck.CKR_OPERATION_NOT_INITIALIZED)


@contextmanager
def _connection(session: Session) -> Iterator[Connection]:
    """A connection beside the slot's, whose login it cannot hurt; closed where something fails."""
    connection = Connection.to(session.slot.reader)
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


def _wait_for_entry(session: Session, connection: Connection, reference: int) -> None:
    """Have a PIN entered on the token, while the slot is free for others.

    Raises Pkcs11Error: CKR_ARGUMENTS_BAD where nothing can be entered, CKR_FUNCTION_CANCELED,
    CKR_PIN_INCORRECT, CKR_PIN_LOCKED, CKR_USER_PIN_NOT_INITIALIZED; where the session ended
    meanwhile, as `Slot.released`.
    """
    card = connection.card
    if not card.info().protected_path:
        raise Pkcs11Error(ck.CKR_ARGUMENTS_BAD, "there is no PIN, and no way to enter one")
    with session.slot.released(session, connection):
        try:
            card.verify_on_token(reference)
        except StatusWordError as error:
            raise refusal(error) from error
        except CardRemoved as error:
            raise Pkcs11Error(ck.CKR_DEVICE_REMOVED) from error
        except TransportError as error:
            raise Pkcs11Error(ck.CKR_DEVICE_ERROR, str(error)) from error


@session_function("C_Logout")
def logout(session: Session) -> None:
    """C_Logout."""
    session.slot.log_out()


@session_function("C_InitPIN")
def init_pin(session: Session, pin: bytes | None) -> None:
    """C_InitPIN: the SO gives the user PIN a value, whatever state it is in."""
    card = session.slot.card
    new = _new_value(card.info().pins[USER_PIN], pin)
    try:
        card.set_user_pin(new)
    except StatusWordError as error:
        raise _new_value_refusal(error) from error


@session_function("C_SetPIN")
def set_pin(session: Session, old: bytes | None, new: bytes | None) -> None:
    """C_SetPIN: of the SO where the SO is logged in, else of the user."""
    if old is None:
        raise Pkcs11Error(ck.CKR_ARGUMENTS_BAD)
    slot = session.slot
    reference = SO_PIN if slot.user == ck.CKU_SO else USER_PIN
    state = slot.card.info().pins[reference]
    value = _new_value(state, new)
    _check_form(state, old)
    # A wrong value would end the login of the connection that it is sent on.
    with _connection(session) as connection:
        try:
            connection.card.change_pin(reference, old, value)
            if slot.user is not None:
                connection.card.verify(reference, value)
        except StatusWordError as error:
            raise _new_value_refusal(error) from error
        slot.adopt(connection)


def verify(card: TokenCard, reference: int, pin: bytes) -> None:
    """Have the card check a PIN; raises Pkcs11Error (CKR_PIN_INCORRECT, CKR_PIN_LOCKED, …)."""
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
