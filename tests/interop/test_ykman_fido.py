"""ykman fido, a client of the authenticator in a reader."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from host_tools.testing import Scratch, ScratchToken
from tests.interop.pcscd import IfdDoor, readers
from tests.interop.processes import PATIENCE

PIN, NEW_PIN, WRONG = "4815162342", "2342481516", "0000000000"


@pytest.fixture
def ykman(home: Scratch, token: ScratchToken) -> Iterator[Callable[..., str]]:
    """Runs it on the token's reader, which shows all applications; gives what it prints."""
    with readers(home, IfdDoor(home, "all"), [token.serial]) as there:
        there.connect()

        def run(*words: str, code: int = 0) -> str:
            done = subprocess.run(
                [Path(sys.executable).with_name("ykman"), "--reader", there.name(), *words],
                env={**os.environ, **there.environment},
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            assert done.returncode == code, done.stdout + done.stderr
            return done.stdout + done.stderr

        yield run


def test_ykman_shows_the_authenticator_and_sets_its_pin(ykman: Callable[..., str]) -> None:
    assert "Not set" in ykman("fido", "info")
    ykman("fido", "access", "change-pin", "--new-pin", PIN)
    assert "8 attempt(s) remaining" in ykman("fido", "info")
    ykman("fido", "access", "change-pin", "--pin", WRONG, "--new-pin", NEW_PIN, code=1)
    assert "7 attempt(s) remaining" in ykman("fido", "info")
    ykman("fido", "access", "change-pin", "--pin", PIN, "--new-pin", NEW_PIN)
    ykman("fido", "access", "verify-pin", "--pin", NEW_PIN)
    ykman("fido", "credentials", "list", "--pin", NEW_PIN)
    ykman("fido", "fingerprints", "list", "--pin", NEW_PIN)
