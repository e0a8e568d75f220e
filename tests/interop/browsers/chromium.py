"""Chromium on a screen of its own, driven by ChromeDriver; its PIN window is answered by keys."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Final, Self

from tests.conftest import program
from tests.interop.browsers.browser import PageError
from tests.interop.browsers.person import Person
from tests.interop.browsers.webdriver import WebDriver, WebDriverError
from tests.interop.certificates import ADDRESS
from tests.interop.processes import PATIENCE, Process

_PIN_WINDOW: Final = "^Unlock Security Device$"
_TICK: Final = 0.05
_FLAGS: Final = (
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-breakpad",
    "--no-first-run",
    "--no-default-browser-check",
    # Nothing leaves the machine: no services of its own, and no name is ever resolved.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {ADDRESS}",
)
_PREFERENCES: Final = {
    # What the policy AutoSelectCertificateForUrls sets for every user of a machine.
    "profile.managed_auto_select_certificate_for_urls": [
        f'{{"pattern": "https://{ADDRESS}", "filter": {{}}}}'
    ],
    # Each page is one connection.
    "net.network_prediction_options": 2,
}


class Chromium:
    """A `Browser`."""

    # It shakes hands up to six times for one page, and asks before each.
    most_prompts = (9, 6)

    def __init__(self, person: Person) -> None:
        self._driver = program("chromedriver", "chromium-driver")
        self._screen = program("Xvfb", "xvfb")
        # Its sandbox does not work for root.
        root = ["--no-sandbox"] if os.getuid() == 0 else []
        self._options = {
            "binary": program("chromium", "chromium"),
            "args": [*_FLAGS, f"--user-data-dir={person.home / 'profile'}", *root],
            "prefs": _PREFERENCES,
        }
        self._environment = person.environment
        person.make_database(person.home / ".pki" / "nssdb")

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            command = (self._screen, "-displayfd", "1", "-nolisten", "tcp")
            screen = stack.enter_context(Process(command, self._environment))
            # It complains first of displays that others took.
            number = screen.wait_for(r"(?m)^(\d+)\n")[1]
            environment = {**self._environment, "DISPLAY": f":{number}"}
            driver = stack.enter_context(Process((self._driver, "--port=0"), environment))
            port = driver.wait_for(r"started successfully on port (\d+)")[1]
            capabilities: dict[str, object] = {"goog:chromeOptions": self._options}
            session = WebDriver(int(port), PATIENCE, capabilities)
            self._session = stack.enter_context(session)
            self._windows = stack.enter_context(_PinWindows(environment))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    @property
    def prompts(self) -> list[str]:
        return list(self._windows.seen.values())

    def enter(self, *pins: str) -> None:
        self._windows.pins = list(pins)

    def open(self, url: str) -> str:
        try:
            self._session.call("url", url=url)
        except WebDriverError as error:
            raise PageError(str(error)) from error
        # Not every error page makes ChromeDriver refuse.
        subject = self._run("return document.getElementById('subject')?.textContent;")
        if subject is None:
            raise PageError(self._run("return document.body.innerText;"))
        return str(subject)

    def _run(self, script: str) -> Any:
        return self._session.call("execute/sync", script=script, args=[])


class _PinWindows:
    """Watches a screen for PIN windows and answers each: `pins` in turn, then Escape.

    `seen` has the titles by the windows' numbers, which do not come twice.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._xdotool = program("xdotool", "xdotool")
        self._environment = environment
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.seen: dict[str, str] = {}
        self.pins: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_TICK):
            found = self._run("search", "--onlyvisible", "--name", _PIN_WINDOW).split()
            for window in found:
                if window not in self.seen:
                    self._answer(window)

    def _answer(self, window: str) -> None:
        self.seen[window] = self._run("getwindowname", window).strip()
        pin = self.pins.pop(0) if self.pins else None
        focus = ("windowfocus", "--sync", window)
        if pin is None:
            self._run(*focus, "key", "Escape")
        else:
            self._run(*focus, "type", "--file", "-", text=pin)
            self._run(*focus, "key", "Return")

    def _run(self, *arguments: str, text: str = "") -> str:
        """What xdotool prints; it fails where a window is not there or has just gone."""
        return subprocess.run(
            [self._xdotool, *arguments],
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            text=True,
            timeout=PATIENCE,
            check=False,
        ).stdout
