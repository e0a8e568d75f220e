"""python-fido2's own tests of authenticators, through a private pcscd and the daemon."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from host_tools.control import ControlError
from host_tools.testing import Scratch, ScratchToken
from tests.interop.fido2_device_suite import LEFT_OUT, ONLY_HID, PASSED, check, run
from tests.interop.pcscd import DOORS, readers
from tests.interop.processes import Process

_GLANCE = 0.02
_CONTROL = [sys.executable, "-P", "-m", "host_tools.cli", "control", "run", "--pico"]


@contextmanager
def fingers(home: Scratch, token: ScratchToken) -> Iterator[None]:
    """Somebody who puts a finger on the sensor whenever a command waits for one."""
    over = threading.Event()

    def work() -> None:
        with home.control() as client:
            while not over.wait(_GLANCE):
                # Nobody waits for one, or the token was pulled.
                with suppress(ControlError):
                    client.call("finger.present", token=token.serial, finger="index")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("kind", DOORS)
def test_the_device_tests_pass_in_a_reader(
    kind: str, home: Scratch, token: ScratchToken, tmp_path: Path
) -> None:
    door = DOORS[kind](home, "fido2")
    with (
        readers(home, door, [token.serial]) as there,
        Process([*_CONTROL, f"6={token.serial}"], there.environment) as control,
        fingers(home, token),
    ):
        url = control.wait_for(r"at (http://[0-9.:]+); ")[1]
        there.client().call("wait_for", there.name(), True)
        options = ("--reader", there.name(), "--controller", url)
        outcomes = run(tmp_path, *options, environment=there.environment)
    check(outcomes, PASSED - len(ONLY_HID), {**LEFT_OUT, **ONLY_HID})
