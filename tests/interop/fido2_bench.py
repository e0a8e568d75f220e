"""A pytest plugin in the process of python-fido2's own tests: the token they find, and its user.

The tests drive the user by HTTP, as they do a robot that touches a real token and takes its power:
GET /usbN/touch/on and off, /usbN/power/on and off.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from host_tools.testing.fido import FidoKey
from token_fw.env import Sample

ADDRESS = "KLYUCH_BENCH_ADDRESS"
_FINGER = Sample(b"the index finger")
_GLANCE = 0.02


class Robot:
    """Somebody who holds a finger on the token's button while told to, and on its sensor always."""

    def __init__(self, key: FidoKey) -> None:
        self._key = key
        self._touches = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="robot", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._over.wait(_GLANCE):
            if self._touches.is_set():
                self._key.touch.give()
            self._key.sensor.present(_FINGER)

    def do(self, what: str) -> bool:
        """Whether it knows that."""
        works: dict[str, Callable[[], None]] = {
            "touch/on": self._touches.set,
            "touch/off": self._touches.clear,
            "power/on": self._key.plug,
            "power/off": self._key.unplug,
        }
        work = works.get(what)
        if work is not None:
            work()
        return work is not None

    def end(self) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def served(robot: Robot, port: int) -> Iterator[None]:
    """The robot, told by HTTP what to do."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/" or robot.do(self.path.partition("/usb6/")[2])
            self.send_response(200 if known else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


_STACK = ExitStack()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Before the tests are imported, which keep what they find in fido2.hid."""
    key = _STACK.enter_context(FidoKey())
    _STACK.enter_context(key.found())
    robot = Robot(key)
    _STACK.callback(robot.end)
    _STACK.enter_context(served(robot, int(os.environ[ADDRESS])))


def pytest_unconfigure() -> None:
    _STACK.close()
