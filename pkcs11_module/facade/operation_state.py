"""Saving and restoring the state of a digest (PKCS#11 2.40 5.6).

A digest's inner state cannot be taken out of the library that computes it. What is told is a
ticket: the state itself stays with the application that saved it, which alone can restore it, in
any of its sessions with the token, until the token is pulled or many others were saved. The
standard promises nothing across logins and implementations. Every other operation is
CKR_STATE_UNSAVEABLE.
"""

from __future__ import annotations

import secrets
from typing import Final

from pkcs11_module import _constants as ck
from pkcs11_module.facade.digest import DigestOperation
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.types import Buffer, Length, Pkcs11Error

_TICKET_SIZE: Final = 32
_MAX_SAVED: Final = 256


@session_function("C_GetOperationState")
def get_operation_state(session: Session, buffer: Buffer) -> bytes | Length:
    """C_GetOperationState: a digest, on its own."""
    active = [operation for kind, operation in session.operations.items() if kind != "find"]
    operation = active[0]
    if len(active) > 1 or not isinstance(operation, DigestOperation):
        raise Pkcs11Error(ck.CKR_STATE_UNSAVEABLE)
    return buffer.fill(_TICKET_SIZE, lambda: _saved(session, operation))


def _saved(session: Session, operation: DigestOperation) -> bytes:
    ticket = secrets.token_bytes(_TICKET_SIZE)
    states = session.slot.saved_states
    states[ticket] = operation.running.copy(), operation.state
    if len(states) > _MAX_SAVED:
        del states[next(iter(states))]
    return ticket


@session_function("C_SetOperationState")
def set_operation_state(
    session: Session, ticket: bytes | None, encryption_key: int, authentication_key: int
) -> None:
    """C_SetOperationState: what is active in the session makes way for what is restored."""
    saved = session.slot.saved_states.get(ticket or b"")
    if saved is None:
        raise Pkcs11Error(ck.CKR_SAVED_STATE_INVALID)
    if encryption_key or authentication_key:
        raise Pkcs11Error(ck.CKR_KEY_NOT_NEEDED)
    running, state = saved
    operation = DigestOperation(session, running.copy())
    operation.state = state
    session.operations.clear()
    session.operations["digest"] = operation
