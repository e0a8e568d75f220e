"""The server side of the PKCS#11 protocol with an application that only remembers and answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from pkcs11_module import wire
from pkcs11_module._constants import CKR_DEVICE_REMOVED
from pkcs11_module.server import ApplicationRegistry, RpcConnection
from pkcs11_module.types import Pkcs11Error
from tests import rpc_frames as frames

SESSION: Final = 3
KEY: Final = 9


class Recorder:
    """Remembers its calls and answers them all alike."""

    def __init__(self, answer: Callable[[], object] = lambda: None) -> None:
        self.answer = answer
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.refusals: list[tuple[str, int]] = []
        self.closed = threading.Event()

    def call(self, name: str, *args: object) -> object:
        self.calls.append((name, args))
        return self.answer()

    def refused(self, name: str, session: int) -> None:
        self.refusals.append((name, session))

    def close(self) -> None:
        self.closed.set()


def greeted(application: Recorder) -> RpcConnection:
    connection = RpcConnection(ApplicationRegistry(lambda: application))
    connection.receive(frames.GREETING)
    return connection


def ask(answer: object, name: str, *arguments: bytes) -> tuple[int, bytes]:
    """What a function answers whose implementation returns or raises `answer`."""

    def give() -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    connection = greeted(Recorder(give))
    (reply,) = connection.receive(wire.frame(frames.call(name, *arguments)))
    return frames.answer(reply)


def received(name: str, *arguments: bytes) -> tuple[Any, ...]:
    """The Python values a call arrives with; every answer is CKR_DEVICE_REMOVED."""

    def refuse() -> object:
        raise Pkcs11Error(CKR_DEVICE_REMOVED)

    application = Recorder(refuse)
    connection = greeted(application)
    connection.receive(wire.frame(frames.call(name, *arguments)))
    ((called, args),) = application.calls
    assert called == name
    return args
