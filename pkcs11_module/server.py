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
from collections.abc import Callable, Iterator
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
_HEAD: Final = 4
"""Bytes of a frame's length."""


class ApplicationRegistry:
    """The applications that live, by their secret id. Thread-safe.

    `changed` is called after every call that may have changed more than operations of its session,
    before it is answered.
    """

    def __init__(
        self, factory: Callable[[], Application], changed: Callable[[], None] = lambda: None
    ) -> None:
        self._factory = factory
        self.changed = changed
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
        """Take bytes from the peer, run the calls they complete, give what to send back at once.

        Blocks as long as the calls do. Raises ProtocolError where the bytes are not the
        protocol; the connection must then be closed, and answers of earlier calls are void.
        """
        whole = not self._pending and self._ident is not None
        bodies = self._cut(data) if whole else self._gather(data)
        # Together: who sent several calls at once waits for all of them.
        answers = b"".join([wire.frame(self._answer(body)) for body in bodies])
        return [answers] if answers else []

    def left(self) -> None:
        """The peer has left: what may wait for long comes by no anchor, whose end wakes it."""

    def closed(self) -> None:
        """The connection has ended; with the anchor ends the application."""
        if self._anchor and self._ident is not None:
            self._applications.end(self._ident)

    def _cut(self, data: bytes) -> Iterator[bytes]:
        """The bodies of the frames in the data: most often a peer sends whole ones and waits."""
        at, end = 0, len(data)
        while end - at >= _HEAD:
            body = at + _HEAD
            size = int.from_bytes(data[at:body], "little")
            if size > end - body or size > wire.FRAME_MAX:
                break
            at = body + size
            yield data[body:at]
        if at < end:
            yield from self._gather(data[at:])

    def _gather(self, data: bytes) -> Iterator[bytes]:
        """The bodies of the frames that the data completes."""
        pending = self._pending
        pending += data
        while len(pending) >= _HEAD:
            end = _HEAD + int.from_bytes(pending[:_HEAD], "little")
            if end - _HEAD > (wire.HELLO_SIZE if self._ident is None else wire.FRAME_MAX):
                raise ProtocolError("the frame is too long")
            if len(pending) < end:
                return
            body = bytes(pending[_HEAD:end])
            # Requests carry PINs: what was read does not linger in the buffer.
            pending[:end] = bytes(end)
            del pending[:end]
            yield body

    def _answer(self, body: bytes) -> bytes:
        if self._ident is None:
            return self._greet(body)
        plan, args = wire.read_call(body)
        if not plan.served and plan.spec.local:
            return self._answer_local(plan.spec.name)
        application = self._applications.get(self._ident)
        if application is None:
            return wire.write_error(CKR_CRYPTOKI_NOT_INITIALIZED)
        if not plan.served:
            return _refused(application, plan, args)
        if plan.spec.calm:
            return _run(application, plan, args)
        try:
            return _run(application, plan, args)
        finally:
            self._applications.changed()

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
