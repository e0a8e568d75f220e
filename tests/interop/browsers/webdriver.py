"""A client of WebDriver (W3C), as ChromeDriver serves it: JSON over HTTP, on loopback."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any, Final, Self


class WebDriverError(Exception):
    """The driver refused a command; the text is its own."""


class WebDriver:
    """A session with these capabilities; a context manager that ends it, and the browser with it.

    Methods raise WebDriverError, and OSError where the driver is gone. `patience` bounds the wait
    for each answer, in seconds.
    """

    def __init__(self, port: int, patience: float, capabilities: dict[str, object]) -> None:
        self._connection: Final = HTTPConnection("127.0.0.1", port, timeout=patience)
        self._capabilities = capabilities
        self._session = ""

    def __enter__(self) -> Self:
        wanted = {"alwaysMatch": self._capabilities}
        self._session = self._request("POST", "/session", capabilities=wanted)["sessionId"]
        return self

    def __exit__(self, *_: object) -> None:
        self._request("DELETE", f"/session/{self._session}")
        self._connection.close()

    def call(self, command: str, **parameters: object) -> Any:
        """The result of a command such as `url`."""
        return self._request("POST", f"/session/{self._session}/{command}", **parameters)

    def _request(self, method: str, path: str, **parameters: object) -> Any:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        self._connection.request(method, path, json.dumps(parameters).encode(), headers)
        answer = self._connection.getresponse()
        value = json.loads(answer.read())["value"]
        if answer.status != 200:
            raise WebDriverError(value["message"])
        return value
