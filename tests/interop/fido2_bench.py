"""A pytest plugin in the process of python-fido2's own tests: the token they find, and its user.

The tests drive the user by HTTP, as they do a robot that touches a real token and takes its power:
GET /usbN/touch/on and off, /usbN/power/on and off.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from host_tools.testing.fido import FidoKey
from token_fw.env import Sample

_FINGER = Sample(b"the index finger")
_GLANCE = 0.02


class Robot:
    """Somebody who touches the token and takes its power when told, and always has a finger for it.

    `touch/on` is one touch, as with a hand that is laid on the token.
    """

    def __init__(self, key: FidoKey) -> None:
        self._key = key
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._put_fingers, name="robot", daemon=True)
        self._thread.start()

    def _put_fingers(self) -> None:
        while not self._over.wait(_GLANCE):
            self._key.sensor.present(_FINGER)

    def do(self, what: str) -> bool:
        """Whether it knows that."""
        works: dict[str, Callable[[], None]] = {
            "touch/on": self._key.touch.press,
            "touch/off": self._key.touch.release,
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
def served(robot: Robot) -> Iterator[int]:
    """The robot, told by HTTP what to do; gives the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/" or robot.do(self.path.partition("/usb6/")[2])
            self.send_response(200 if known else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


_KEY = FidoKey()
_STACK = ExitStack()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Before the tests are imported, which keep what they find in fido2.hid."""
    _STACK.enter_context(_KEY)
    _STACK.enter_context(_KEY.found())


def pytest_configure(config: pytest.Config) -> None:
    robot = Robot(_KEY)
    _STACK.callback(robot.end)
    port = _STACK.enter_context(served(robot))
    config.option.controller = f"http://127.0.0.1:{port}"


def pytest_unconfigure() -> None:
    _STACK.close()
