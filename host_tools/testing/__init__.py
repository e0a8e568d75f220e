"""The test kit: throw-away homes with a daemon of their own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from host_tools.closing import Closing
from host_tools.control import ControlClient, is_daemon
from host_tools.cryptoki import LIBRARY
from host_tools.fingers import FingerClient
from host_tools.home import Home
from host_tools.token_transport import TokenTransport

PIV_PIN = "123456"
"""The PIN of PIV as it leaves the factory."""

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]
"""A fixture that runs a program with the given arguments and checks its exit code."""

Command: TypeAlias = Callable[..., Any]
"""A fixture that runs a command of ours in this process; gives its click.testing.Result."""


@dataclass(frozen=True, slots=True)
class ScratchToken:
    """A token made for a test, with what is needed to use it."""

    label: str
    serial: str
    slot: int
    pin: str
    so_pin: str


class Scratch(Closing):
    """A home folder in a short temporary path, deleted at the end together with its daemon.

    ``below`` puts the home into a folder further down. ``environment`` is what a process needs to
    find it; this process's own is left alone.
    """

    def __init__(self, below: str = "") -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="klyuch-"))
        self.home = Home(self._folder / below)
        self.environment = {"KLYUCH_HOME": str(self.home.path)}
        command = Path(sys.executable).with_name("klyuch")
        if command.exists():
            self.environment["KLYUCH_DAEMON"] = str(command)

    @property
    def path(self) -> Path:
        return self.home.path

    @property
    def library(self) -> Path:
        """The PKCS#11 library of this installation."""
        return LIBRARY

    def control(self) -> ControlClient:
        """A connection to the daemon, which is started where none runs."""
        return ControlClient(self.home)

    def create_token(
        self, label: str, *, pin: str = "481516", so_pin: str = "23423108", **options: object
    ) -> ScratchToken:
        """An initialised token with both PINs set."""
        with self.control() as control:
            made = control.call("token.create", label=label, pin=pin, so_pin=so_pin, **options)
        return ScratchToken(label, str(made["serial"]), int(str(made["slot"])), pin, so_pin)

    def enrol_finger(self, token: ScratchToken, finger: str, application: str = "pki") -> int:
        """Enrol a finger for the PIN of an application, PIV's being the factory's; its number."""
        pin = token.pin if application == "pki" else PIV_PIN
        with self.control() as control:
            client = FingerClient(TokenTransport(control, token.serial))
            client.prove(application, pin)
            remaining = client.begin(finger)
            self.script_fingers(token, *[finger] * remaining)
            *_, last = (client.capture() for _ in range(remaining))
        assert last.number is not None, f"the finger is {last.status}"
        return last.number

    def script_fingers(self, token: ScratchToken, *fingers: str | None) -> None:
        """Have these fingers, or none, come when one is asked for."""
        steps = [{"absent": True} if one is None else {"finger": one} for one in fingers]
        with self.control() as control:
            control.call("finger.script", token=token.serial, steps=steps)

    def touch(self, token: ScratchToken) -> None:
        """Touch a token as soon as it waits for that."""
        with self.control() as control:
            control.call("touch.await", token=token.serial)
            control.call("touch.give", token=token.serial)

    def kill_daemon(self) -> int | None:
        """End the daemon by SIGKILL and wait until it is gone; its process id, None if none ran."""
        pid = self.home.daemon_pid()
        if pid is None or not is_daemon(pid):
            return None
        os.kill(pid, signal.SIGKILL)
        while is_daemon(pid):
            time.sleep(0.001)
        return pid

    def close(self) -> None:
        self.kill_daemon()
        shutil.rmtree(self._folder, ignore_errors=True)
