"""The table from a function's name to its handler, and the rules every call of one obeys.

Every module with handlers fills the table in; `functions` says which. What a function demands of a
session and of its operations stands in spec/pkcs11/rules.toml and is checked here alone:
a handler runs only where its function may be called, and says nothing of states.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from apdu.model import SW, StatusWordError
from apdu.transport import TransportError
from pkcs11_module import _constants as ck
from pkcs11_module._rules import OPERATIONS, RULES
from pkcs11_module.rulebook import Login, Rule, State, Use
from pkcs11_module.types import BufferTooSmall, Length, Pkcs11Error

if TYPE_CHECKING:
    from pkcs11_module.facade.application import Application
    from pkcs11_module.facade.operations import ActiveOperation
    from pkcs11_module.facade.sessions import Session

P = ParamSpec("P")
R = TypeVar("R")
Op = TypeVar("Op", bound="ActiveOperation")
Other = TypeVar("Other", bound="ActiveOperation")
_Call = Callable[..., Any]

HANDLERS: Final[dict[str, Callable[..., Any]]] = {}
_LOGGED_IN: Final[dict[Login, frozenset[int]]] = {
    Login.USER: frozenset({ck.CKU_USER}),
    Login.SO: frozenset({ck.CKU_SO}),
    Login.ANY: frozenset({ck.CKU_USER, ck.CKU_SO}),
}


def function(
    name: str,
) -> Callable[[Callable[Concatenate[Application, P], R]], Callable[Concatenate[Application, P], R]]:
    """Register a handler that takes the application and the function's arguments."""
    assert not RULES[name].session

    def register(
        handler: Callable[Concatenate[Application, P], R],
    ) -> Callable[Concatenate[Application, P], R]:
        HANDLERS[name] = handler
        return handler

    return register


def session_function(
    name: str,
) -> Callable[[Callable[Concatenate[Session, P], R]], Callable[Concatenate[Session, P], R]]:
    """Register a handler of a session: it gets the session itself, with its slot locked."""
    rule = RULES[name]
    assert rule.session
    assert not rule.begins
    assert not rule.uses

    def register(
        handler: Callable[Concatenate[Session, P], R],
    ) -> Callable[Concatenate[Session, P], R]:
        _register(name, _demanding(rule, handler))
        return handler

    return register


def begin_function(
    name: str,
) -> Callable[[Callable[Concatenate[Session, P], Op]], Callable[Concatenate[Session, P], Op]]:
    """Register a handler that begins an operation: it gets the session and gives the operation.

    Without a mechanism (the first argument) it is not called: that ends the operation.
    """
    rule = RULES[name]
    assert rule.begins

    def register(
        handler: Callable[Concatenate[Session, P], Op],
    ) -> Callable[Concatenate[Session, P], Op]:
        _register(name, _beginning(rule, handler))
        return handler

    return register


def operation_function(
    name: str,
) -> Callable[[Callable[Concatenate[Op, P], R]], Callable[Concatenate[Op, P], R]]:
    """Register a handler that continues an operation: it gets the operation."""
    rule = RULES[name]
    assert len(rule.uses) == 1

    def register(handler: Callable[Concatenate[Op, P], R]) -> Callable[Concatenate[Op, P], R]:
        _register(name, _continuing(rule.uses, handler))
        return handler

    return register


def dual_function(
    name: str,
) -> Callable[[Callable[Concatenate[Op, Other, P], R]], Callable[Concatenate[Op, Other, P], R]]:
    """Register a handler that continues two operations, in the order of the table."""
    rule = RULES[name]
    assert len(rule.uses) == 2

    def register(
        handler: Callable[Concatenate[Op, Other, P], R],
    ) -> Callable[Concatenate[Op, Other, P], R]:
        _register(name, _continuing(rule.uses, handler))
        return handler

    return register


def _register(name: str, call: _Call) -> None:
    def run(application: Application, handle: int, *args: object) -> object:
        session = application.session(handle)
        slot = session.slot
        with slot.lock:
            if session.closed:
                raise Pkcs11Error(ck.CKR_SESSION_HANDLE_INVALID)
            try:
                return call(session, *args)
            except StatusWordError as error:
                if error.sw == SW.SECURITY_STATUS_NOT_SATISFIED:
                    slot.check_login()
                raise
            except TransportError:
                slot.lost_contact()
                raise

    HANDLERS[name] = run


def end_refused(application: Application, name: str, handle: int) -> None:
    """Do what an error of that function does to the session's operations.

    Raises Pkcs11Error as `Application.session`.
    """
    session = application.session(handle)
    with session.slot.lock:
        _settle(session, RULES[name].uses)


def _demanding(rule: Rule, handler: _Call) -> _Call:
    """The handler behind what it demands of the session; itself where that is nothing."""
    if not (rule.login or rule.writable or rule.needs or rule.clears):
        return handler
    users = _LOGGED_IN[rule.login] if rule.login else None

    def call(session: Session, *args: object) -> object:
        if users is not None and session.slot.user not in users:
            raise Pkcs11Error(ck.CKR_USER_NOT_LOGGED_IN)
        if rule.writable:
            session.need_writable()
        if rule.needs and rule.needs.isdisjoint(session.operations):
            raise Pkcs11Error(ck.CKR_OPERATION_NOT_INITIALIZED)
        answer = handler(session, *args)
        if rule.clears:
            session.operations.clear()
        return answer

    return call


def _beginning(rule: Rule, handler: _Call) -> _Call:
    kind = rule.begins
    beside = OPERATIONS[kind].beside

    def call(session: Session, *args: object) -> None:
        operations = session.operations
        if args[0] is None:
            if operations.pop(kind, None) is None:
                raise Pkcs11Error(ck.CKR_ARGUMENTS_BAD)
            return
        if operations and not beside.issuperset(operations):
            raise Pkcs11Error(ck.CKR_OPERATION_ACTIVE)
        operations[kind] = handler(session, *args)

    return call


def _continuing(uses: tuple[Use, ...], handler: _Call) -> _Call:
    def call(session: Session, *args: object) -> object:
        taken = []
        for use in uses:
            operation = session.operations.get(use.kind)
            state = State.NONE if operation is None else operation.state
            if state in use.refused:
                _settle(session, uses)
                raise Pkcs11Error(use.refused[state])
            taken.append(operation)
        try:
            answer = handler(*taken, *args)
        except BufferTooSmall:
            raise
        except (Pkcs11Error, StatusWordError, TransportError):
            _settle(session, uses)
            raise
        if not _is_length(answer):
            for use in uses:
                last = use.last is not None and args[-1] not in (None, 0)
                session.move(use.kind, use.last if last else use.next)
        return answer

    return call


def _settle(session: Session, uses: tuple[Use, ...]) -> None:
    for use in uses:
        session.move(use.kind, use.error)


def _is_length(answer: object) -> bool:
    """Whether the answer only tells how long the output would be."""
    if type(answer) is tuple and answer:
        answer = answer[-1]
    return type(answer) is Length
