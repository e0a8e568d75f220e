"""Sessions: their states, and the operations that are active in them (PKCS#11 2.40 5.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pkcs11_module import _constants as ck
from pkcs11_module.cards import pkcs15
from pkcs11_module.facade.registry import function, session_function
from pkcs11_module.types import Pkcs11Error

if TYPE_CHECKING:
    from pkcs11_module.facade.application import Application, Slot

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
    kind: "find", "sign", "verify", "digest", "encrypt", "decrypt".
    """

    def __init__(self, slot: Slot, *, handle: int, writable: bool, generation: int) -> None:
        self.slot: Final = slot
        self.handle: Final = handle
        self.writable: Final = writable
        self.generation: Final = generation
        self.closed = False
        self.removed = False
        self.operations: dict[str, Any] = {}

    @property
    def state(self) -> int:
        """CKS_ state."""
        states = _READ_WRITE_STATES if self.writable else _READ_ONLY_STATES
        return states[self.slot.user]

    def begin(self, kind: str) -> None:
        """Check that no operation of that kind is active; raises Pkcs11Error."""
        if kind in self.operations:
            raise Pkcs11Error(ck.CKR_OPERATION_ACTIVE)

    def operation(self, kind: str) -> Any:
        """The active operation of that kind; raises Pkcs11Error."""
        operation = self.operations.get(kind)
        if operation is None:
            raise Pkcs11Error(ck.CKR_OPERATION_NOT_INITIALIZED)
        return operation

    def end(self, kind: str) -> None:
        """End the operation of that kind, if one is active."""
        self.operations.pop(kind, None)

    def end_private_operations(self) -> None:
        """End what was begun with a private key: its user has logged out."""
        for kind in ("sign", "decrypt"):
            self.end(kind)

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
        card = slot.card
        if not writable and slot.user == ck.CKU_SO:
            raise Pkcs11Error(ck.CKR_SESSION_READ_WRITE_SO_EXISTS)
        if not card.info().operational:
            raise Pkcs11Error(ck.CKR_TOKEN_NOT_RECOGNIZED, "the token is not initialised")
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


PIN_REFERENCES: Final = {ck.CKU_USER: pkcs15.USER_PIN, ck.CKU_SO: pkcs15.SO_PIN}
"""User type to the card's PIN reference."""


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
