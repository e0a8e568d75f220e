"""The table from a function's name to its handler; every module of the facade fills it in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from apdu.model import SW, StatusWordError
from apdu.transport import TransportError
from pkcs11_module._constants import CKR_SESSION_HANDLE_INVALID
from pkcs11_module.types import Pkcs11Error

if TYPE_CHECKING:
    from pkcs11_module.facade.application import Application
    from pkcs11_module.facade.sessions import Session

P = ParamSpec("P")
R = TypeVar("R")

HANDLERS: Final[dict[str, Callable[..., Any]]] = {}


def function(
    name: str,
) -> Callable[[Callable[Concatenate[Application, P], R]], Callable[Concatenate[Application, P], R]]:
    """Register a handler that takes the application and the function's arguments."""

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

    def register(
        handler: Callable[Concatenate[Session, P], R],
    ) -> Callable[Concatenate[Session, P], R]:
        def run(application: Application, handle: int, *args: P.args, **kwargs: P.kwargs) -> R:
            session = application.session(handle)
            with session.slot.lock:
                if session.closed:
                    raise Pkcs11Error(CKR_SESSION_HANDLE_INVALID)
                try:
                    return handler(session, *args, **kwargs)
                except StatusWordError as error:
                    if error.sw == SW.SECURITY_STATUS_NOT_SATISFIED:
                        session.slot.check_login()
                    raise
                except TransportError:
                    session.slot.lost_contact()
                    raise

        HANDLERS[name] = run
        return handler

    return register
