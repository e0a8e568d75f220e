"""Login, logout and PINs (PKCS#11 2.40 5.5, 5.6).

What is refused without asking the card stands in spec/pkcs11/logins.toml; tries and values are the
card's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from apdu.model import SW, StatusWordError
from apdu.transport import TransportError
from pkcs11_module import _constants as ck
from pkcs11_module.cards.card import TokenCard
from pkcs11_module.cards.pkcs15 import SO_PIN, USER_PIN
from pkcs11_module.facade.login_rules import PIN_REFERENCES, USER_TYPES, Call, waiting_operation
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.slot import Connection, refusal
from pkcs11_module.types import Pkcs11Error


@session_function("C_Login")
def login(session: Session, user: int, pin: bytes | None) -> None:
    """C_Login; without a PIN, on a token with a path of its own, it waits for the user there.

    While it waits other threads use the slot. Raises Pkcs11Error.
    """
    slot = session.slot
    reference = PIN_REFERENCES.get(user, USER_PIN)
    kind = USER_TYPES.get(user, "other")
    call = Call(
        function="C_Login", slot=slot, session=session, kind=kind, reference=reference, pin=pin
    )
    if user == ck.CKU_CONTEXT_SPECIFIC:
        _log_in_for_one_use(session, call)
        return
    call.check()
    if pin is not None:
        _verify(slot.card, reference, pin)
    else:
        with _connection(session) as connection:
            _wait_for_entry(session, connection, reference)
            call.check()
            slot.adopt(connection)
    slot.user = user


@session_function("C_LoginUser")
def login_user(session: Session, user: int, pin: bytes | None, name: bytes | None) -> None:
    """C_LoginUser: the users of the token have no names, so it is C_Login (3.1 5.6.9)."""
    Call(function="C_LoginUser", slot=session.slot, named=bool(name)).check()
    login(session, user, pin)


def _log_in_for_one_use(session: Session, call: Call) -> None:
    """The operation that waits for it is one with a key that is always authenticated (3.1 4.9).

    A wrong PIN changes neither the operation nor the login, the last try ends the login. The
    consent lies on a connection of its own: no other thread's command uses it up or ends it.
    """
    try:
        call.check()
        operation = waiting_operation(session)
        with _connection(session) as connection:
            if call.pin is not None:
                _verify(connection, USER_PIN, call.pin)
            else:
                _wait_for_entry(session, connection, USER_PIN)
            if operation is None or waiting_operation(session) is not operation:
                raise Pkcs11Error(ck.CKR_OPERATION_NOT_INITIALIZED)
    except Pkcs11Error as error:
        if error.rv == ck.CKR_PIN_LOCKED:
            session.slot.log_out()
        raise
    if operation.consent is not None:
        operation.consent.close()
    operation.consent = connection


@contextmanager
def _connection(session: Session) -> Iterator[Connection]:
    """A connection beside the slot's, whose login it cannot hurt; closed where something fails."""
    connection = session.slot.another()
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


def _wait_for_entry(session: Session, connection: Connection, reference: int) -> None:
    """Have a PIN entered on the token, while the slot is free for others.

    Raises Pkcs11Error: CKR_FUNCTION_CANCELED, CKR_PIN_INCORRECT, CKR_PIN_LOCKED,
    CKR_USER_PIN_NOT_INITIALIZED; where the session ended meanwhile, as `Slot.released`.
    """
    with session.slot.released(session, connection):
        try:
            connection.verify_on_token(reference)
        except (StatusWordError, TransportError) as error:
            raise refusal(error) from error


@session_function("C_Logout")
def logout(session: Session) -> None:
    """C_Logout."""
    session.slot.log_out()


@session_function("C_InitPIN")
def init_pin(session: Session, pin: bytes | None) -> None:
    """C_InitPIN: the SO gives the user PIN a value, whatever state it is in."""
    new = given(pin)
    Call(function="C_InitPIN", slot=session.slot, new=new).check()
    try:
        session.slot.card.set_user_pin(new)
    except StatusWordError as error:
        raise _new_value_refusal(error) from error


@session_function("C_SetPIN")
def set_pin(session: Session, old: bytes | None, new: bytes | None) -> None:
    """C_SetPIN: of the SO where the SO is logged in, else of the user."""
    former, value = given(old), given(new)
    slot = session.slot
    reference = SO_PIN if slot.user == ck.CKU_SO else USER_PIN
    Call(function="C_SetPIN", slot=slot, reference=reference, pin=former, new=value).check()
    # A wrong value would end the login of the connection that it is sent on.
    with _connection(session) as connection:
        try:
            connection.card.change_pin(reference, former, value)
            if slot.user is not None:
                connection.card.verify(reference, value)
        except StatusWordError as error:
            raise _new_value_refusal(error) from error
        if slot.user is None:
            # A PIV card has whoever changes the PIN verified; nobody asked to be logged in.
            connection.close()
        else:
            slot.adopt(connection)


def given(pin: bytes | None) -> bytes:
    """A PIN that has to be there; raises Pkcs11Error (CKR_ARGUMENTS_BAD)."""
    if pin is None:
        raise Pkcs11Error(ck.CKR_ARGUMENTS_BAD)
    return pin


def _verify(card: TokenCard | Connection, reference: int, pin: bytes) -> None:
    """Have the card check a PIN; raises Pkcs11Error (CKR_PIN_INCORRECT, CKR_PIN_LOCKED, …)."""
    try:
        card.verify(reference, pin)
    except StatusWordError as error:
        raise refusal(error) from error


def _new_value_refusal(error: StatusWordError) -> Pkcs11Error:
    if error.sw == SW.INCORRECT_DATA:
        return Pkcs11Error(ck.CKR_PIN_INVALID, "the policy does not allow that PIN")
    return refusal(error)
