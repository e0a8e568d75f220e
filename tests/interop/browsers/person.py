"""Whose browser it is: a home folder, an environment and NSS databases, all throw-away."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.conftest import program
from tests.interop.processes import run

_MODULE: Final = "Klyuch"


class Person:
    """A user whose home is in `folder`; `environment` leaves the real home and desktop alone."""

    def __init__(self, folder: Path, extra: Mapping[str, str], module: Path, authority: Path):
        self.home: Final = folder / "home"
        temporary = folder / "tmp"
        for path in (self.home, temporary):
            path.mkdir()
        kept = ("PATH", "PYTHONPATH")
        self.environment: Final[Mapping[str, str]] = {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "HOME": str(self.home),
            "TMPDIR": str(temporary),
            "LANG": "C.UTF-8",
            # No message bus is there, and none is to be started.
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",
            "NO_AT_BRIDGE": "1",
            **extra,
        }
        self._module = module
        self._authority = authority

    def make_database(self, folder: Path) -> None:
        """Make an NSS database in a folder; it trusts the authority and knows the module."""
        folder.mkdir(parents=True)
        certutil = (program("certutil", "libnss3-tools"), "-d", f"sql:{folder}")
        trust = ("-n", "authority", "-t", "C,,", "-i", self._authority)
        run([*certutil, "-N", "--empty-password"], self.environment)
        run([*certutil, "-A", *trust], self.environment)
        self._modutil(folder, "-force", "-add", _MODULE, "-libfile", str(self._module))

    def _modutil(self, folder: Path, *arguments: str) -> str:
        modutil = program("modutil", "libnss3-tools")
        return run([modutil, "-dbdir", f"sql:{folder}", *arguments], self.environment)
