"""Server side of the PKCS#11 library's protocol: bytes in, bytes out, no sockets.

An application is one process between C_Initialize and C_Finalize. Its first connection is its
anchor: when that closes, the application ends. Its other connections attach by the random id
that only the anchor was told, so that a thread which waits never holds up another.
"""

from __future__ import annotations

import logging
import secrets
import threading
import traceback
from collections.abc import Callable
from typing import Any, Final

from pkcs11_module import wire
from pkcs11_module._constants import (
    CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_FUNCTION_NOT_SUPPORTED,
    CKR_GENERAL_ERROR,
    CKR_OK,
)
from pkcs11_module.types import Application, BufferTooSmall, Pkcs11Error
from pkcs11_module.wire import Plan, ProtocolError

__all__ = ["ApplicationRegistry", "ProtocolError", "RpcConnection"]

_LOG: Final = logging.getLogger("klyuch.pkcs11")
_NEW: Final = bytes(wire.ID_SIZE)


class ApplicationRegistry:
    """The applications that live, by their secret id. Thread-safe."""

    def __init__(self, factory: Callable[[], Application]) -> None:
        self._factory = factory
        self._lock = threading.Lock()
        self._applications: dict[bytes, Application] = {}

    def __len__(self) -> int:
        with self._lock:
            return len(self._applications)

    def create(self) -> bytes:
        """Start an application and return its id; raises what the factory raises."""
        application = self._factory()
        ident = secrets.token_bytes(wire.ID_SIZE)
        with self._lock:
            self._applications[ident] = application
        return ident

    def get(self, ident: bytes) -> Application | None:
        """The application of that id, None where it has ended."""
        # Asked for with every call; a single look-up needs no lock.
        return self._applications.get(ident)

    def end(self, ident: bytes) -> None:
        """Close the application of that id; nothing happens where it has ended before."""
        with self._lock:
            application = self._applications.pop(ident, None)
        if application is not None:
            application.close()


class RpcConnection:
    """One connection of a library. Used by one thread at a time; `closed` may come from another."""

    def __init__(self, applications: ApplicationRegistry) -> None:
        self._applications = applications
        self._pending = bytearray()
        self._ident: bytes | None = None
        self._anchor = False

    def receive(self, data: bytes) -> list[bytes]:
        """Take bytes from the peer, run the calls they complete, give the frames to send back.

        Blocks as long as the calls do. Raises ProtocolError where the bytes are not the
        protocol; the connection must then be closed, and answers of earlier calls are void.
        """
        pending = self._pending
        # Most often a peer sends one whole frame and waits: nothing needs to be gathered then.
        if not pending and self._ident is not None and _is_whole(data):
            return [wire.frame(self._answer(data[4:]))]
        pending += data
        answers: list[bytes] = []
        while (body := self._next_body()) is not None:
            answers.append(wire.frame(self._answer(body)))
        return answers

    def closed(self) -> None:
        """The connection has ended; with the anchor ends the application."""
        if self._anchor and self._ident is not None:
            self._applications.end(self._ident)

    def _next_body(self) -> bytes | None:
        pending = self._pending
        if len(pending) < 4:
            return None
        size = int.from_bytes(pending[:4], "little")
        if size > (wire.HELLO_SIZE if self._ident is None else wire.FRAME_MAX):
            raise ProtocolError("the frame is too long")
        if len(pending) < 4 + size:
            return None
        body = bytes(pending[4 : 4 + size])
        # Requests carry PINs: what was read does not linger in the buffer.
        pending[: 4 + size] = bytes(4 + size)
        del pending[: 4 + size]
        return body

    def _answer(self, body: bytes) -> bytes:
        if self._ident is None:
            return self._greet(body)
        plan, args = wire.read_call(body)
        if not plan.served and plan.spec.local:
            return self._answer_local(plan.spec.name)
        application = self._applications.get(self._ident)
        if application is None:
            return wire.write_error(CKR_CRYPTOKI_NOT_INITIALIZED)
        run = _run if plan.served else _refused
        return run(application, plan, args)

    def _answer_local(self, name: str) -> bytes:
        """What the library answers itself is not served, except that an application ends here."""
        if name != "C_Finalize" or self._ident is None:
            return wire.write_error(CKR_FUNCTION_NOT_SUPPORTED)
        self._applications.end(self._ident)
        return wire.write_error(CKR_OK)

    def _greet(self, body: bytes) -> bytes:
        version, ident = wire.read_hello(body)
        if version != wire.VERSION:
            return wire.write_hello_answer(CKR_GENERAL_ERROR, _NEW)
        if ident != _NEW:
            if self._applications.get(ident) is None:
                return wire.write_hello_answer(CKR_CRYPTOKI_NOT_INITIALIZED, _NEW)
            self._ident = ident
            return wire.write_hello_answer(CKR_OK, ident)
        try:
            self._ident = self._applications.create()
        except Pkcs11Error as error:
            return wire.write_hello_answer(error.rv, _NEW)
        except Exception as error:  # noqa: BLE001  a defect must not end the daemon
            _log_defect("C_Initialize", error)
            return wire.write_hello_answer(CKR_GENERAL_ERROR, _NEW)
        self._anchor = True
        return wire.write_hello_answer(CKR_OK, self._ident)


def _is_whole(data: bytes) -> bool:
    """Whether the bytes are exactly one frame that is not too long."""
    size = len(data) - 4
    return 0 <= size <= wire.FRAME_MAX and int.from_bytes(data[:4], "little") == size


def _run(application: Application, plan: Plan, args: list[object]) -> bytes:
    name = plan.spec.name
    try:
        body = wire.write_answer(plan, args, application.call(name, *args))
        if len(body) > wire.FRAME_MAX:
            raise ValueError("the answer is longer than a frame")
    except BufferTooSmall as error:
        return wire.write_error(error.rv, error.length)
    except Pkcs11Error as error:
        return wire.write_error(error.rv)
    except Exception as error:  # noqa: BLE001  a defect must not end the daemon
        _log_defect(name, error)
        return wire.write_error(CKR_GENERAL_ERROR)
    return body


def _refused(application: Application, plan: Plan, args: list[Any]) -> bytes:
    """Tell the application of a call that the library refused."""
    name = plan.spec.name
    try:
        application.refused(name, *args)
    except Exception as error:  # noqa: BLE001  a defect must not end the daemon
        _log_defect(name, error)
        return wire.write_error(CKR_GENERAL_ERROR)
    return wire.write_error(CKR_OK)


def _log_defect(name: str, error: Exception) -> None:
    """Log where a function failed, but not the exception's text: it may quote an argument."""
    places = "".join(traceback.format_tb(error.__traceback__))
    _LOG.error("%s failed: %s\n%s", name, type(error).__name__, places)
