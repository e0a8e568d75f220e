"""A client of Marionette, Firefox's remote control: each message is its length, a colon and JSON.

A command is [0, number, name, parameters], its answer [1, number, error or null, result].
"""

from __future__ import annotations

import json
import socket
from typing import Any, Final, Self


class MarionetteError(Exception):
    """Firefox refused a command; the text is its own."""


class Marionette:
    """A session; a context manager. Methods raise MarionetteError, and OSError where it is gone.

    `patience` bounds the wait for each answer, in seconds.
    """

    def __init__(self, port: int, patience: float) -> None:
        self._socket: Final = socket.create_connection(("127.0.0.1", port), patience)
        self._stream: Final = self._socket.makefile("rb")
        self._number = 0

    def __enter__(self) -> Self:
        self._read()
        self.call("WebDriver:NewSession", capabilities={})
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._socket.close()

    def call(self, name: str, **parameters: object) -> Any:
        """The result of a command; what is a single value comes without its wrapping."""
        self._number += 1
        message = json.dumps([0, self._number, name, parameters]).encode()
        self._socket.sendall(b"%d:%b" % (len(message), message))
        _, number, error, result = self._read()
        assert number == self._number
        if error is not None:
            raise MarionetteError(error["message"])
        return result["value"] if isinstance(result, dict) and [*result] == ["value"] else result

    def run_privileged(self, script: str, *arguments: object) -> Any:
        """What a script returns that runs in the browser's own window."""
        self.call("Marionette:SetContext", value="chrome")
        try:
            return self.call("WebDriver:ExecuteScript", script=script, args=arguments, sandbox=None)
        finally:
            self.call("Marionette:SetContext", value="content")

    def _read(self) -> Any:
        size = b""
        while not size.endswith(b":"):
            digit = self._stream.read(1)
            if not digit:
                raise ConnectionError("Firefox has closed the connection")
            size += digit
        return json.loads(self._stream.read(int(size[:-1])))
