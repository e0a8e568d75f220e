"""Sessions: their states, and the operations that are active in them (PKCS#11 2.40 5.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pkcs11_module import _constants as ck
from pkcs11_module._rules import OPERATIONS
from pkcs11_module.facade.login_rules import Call
from pkcs11_module.facade.registry import function, session_function
from pkcs11_module.rulebook import State
from pkcs11_module.types import Pkcs11Error

if TYPE_CHECKING:
    from pkcs11_module.facade.application import Application
    from pkcs11_module.facade.operations import ActiveOperation
    from pkcs11_module.facade.slot import AnyObject, Slot

_READ_ONLY_STATES: Final = {
    None: ck.CKS_RO_PUBLIC_SESSION,
    ck.CKU_USER: ck.CKS_RO_USER_FUNCTIONS,
}
_READ_WRITE_STATES: Final = {
    None: ck.CKS_RW_PUBLIC_SESSION,
    ck.CKU_USER: ck.CKS_RW_USER_FUNCTIONS,
    ck.CKU_SO: ck.CKS_RW_SO_FUNCTIONS,
}


class Session:
    """A session of an application with the token in a slot.

    `closed` ends it, `removed` because the token was pulled. `operations` are the active ones by
    the kinds of spec/pkcs11/rules.toml.
    """

    def __init__(self, slot: Slot, *, handle: int, writable: bool, generation: int) -> None:
        self.slot: Final = slot
        self.handle: Final = handle
        self.writable: Final = writable
        self.generation: Final = generation
        self.closed = False
        self.removed = False
        self.operations: dict[str, ActiveOperation] = {}
        self.nonce_counters: dict[tuple[AnyObject, int, int], int] = {}
        """What CKG_GENERATE_COUNTER has come to, by key, free bits and the rest of the nonce."""

    @property
    def state(self) -> int:
        """CKS_ state."""
        states = _READ_WRITE_STATES if self.writable else _READ_ONLY_STATES
        return states[self.slot.current_user()]

    def move(self, kind: str, state: State | None) -> None:
        """Bring the active operation of that kind, if any, into a state; None changes nothing."""
        if state is State.NONE:
            self.operations.pop(kind, None)
        elif state is not None and (operation := self.operations.get(kind)) is not None:
            operation.state = state

    def end_private_operations(self) -> None:
        """End what the rules say that a login carried: the user has logged out."""
        for kind, operation in list(self.operations.items()):
            rule = OPERATIONS[kind]
            if rule.logout_ends or (rule.private_ends and operation.private):
                del self.operations[kind]

    def need_writable(self) -> None:
        """Raises Pkcs11Error (CKR_SESSION_READ_ONLY) in a read-only session."""
        if not self.writable:
            raise Pkcs11Error(ck.CKR_SESSION_READ_ONLY)

    def need_user(self) -> None:
        """Raises Pkcs11Error (CKR_USER_NOT_LOGGED_IN) unless the user is logged in."""
        if self.slot.user != ck.CKU_USER:
            raise Pkcs11Error(ck.CKR_USER_NOT_LOGGED_IN)


@function("C_OpenSession")
def open_session(application: Application, slot_id: int, flags: int) -> int:
    """C_OpenSession; the callback and its argument stay in the caller's process."""
    slot = application.slot(slot_id)
    if not flags & ck.CKF_SERIAL_SESSION:
        raise Pkcs11Error(ck.CKR_SESSION_PARALLEL_NOT_SUPPORTED)
    writable = bool(flags & ck.CKF_RW_SESSION)
    with slot.lock:
        # A token that is gone takes its login with it.
        slot.notice_removal()
        Call(function="C_OpenSession", slot=slot, kind="rw" if writable else "ro").check()
        session = Session(
            slot,
            handle=application.next_handle(),
            writable=writable,
            generation=slot.generation,
        )
        slot.begin(session)
    application.add_session(session)
    return session.handle


@session_function("C_CloseSession")
def close_session(session: Session) -> None:
    """C_CloseSession: the last session of an application to close logs it out."""
    session.slot.application.remove_session(session)
    session.slot.end(session)


@function("C_CloseAllSessions")
def close_all_sessions(application: Application, slot_id: int) -> None:
    """C_CloseAllSessions: those of this application."""
    slot = application.slot(slot_id)
    with slot.lock:
        slot.notice_removal()
        for session in list(slot.sessions.values()):
            close_session(session)


@session_function("C_GetSessionInfo")
def get_session_info(session: Session) -> tuple[int, int, int, int]:
    """C_GetSessionInfo: slot, CKS_ state, flags, device error."""
    flags = ck.CKF_SERIAL_SESSION | (ck.CKF_RW_SESSION if session.writable else 0)
    return session.slot.reader.slot_id, session.state, flags, 0


@session_function("C_SessionCancel")
def session_cancel(session: Session, flags: int) -> None:
    """C_SessionCancel: flags of operations that are not active are ignored (3.0 5.6.8)."""
    for kind in list(session.operations):
        if OPERATIONS[kind].cancel & flags:
            del session.operations[kind]


@session_function("C_GetSessionValidationFlags")
def get_session_validation_flags(_session: Session, kind: int) -> int:
    """C_GetSessionValidationFlags: the token has no validation objects (3.2 5.6.10)."""
    if kind != ck.CKS_LAST_VALIDATION_OK:
        raise Pkcs11Error(ck.CKR_ARGUMENTS_BAD)
    return 0
