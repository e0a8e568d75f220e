"""Which function lists of the library a program takes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tests.conftest import program
from tests.interop.processes import run


class Tap:
    """A library that stands before ours, made in a folder; needs `environment` where it is used."""

    def __init__(self, folder: Path, behind: Path) -> None:
        self.library: Final = folder / "tap.so"
        self._log = folder / "tap.log"
        self.environment: Final = {"TAP_LIBRARY": str(behind), "TAP_LOG": str(self._log)}
        source = Path(__file__).with_name("tap.c")
        flags = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")
        run([program("cc", "gcc"), *flags, "-o", self.library, source], os.environ)

    def lists(self) -> list[tuple[int, int]]:
        """The versions of the lists that were given out, in that order."""
        lines = self._log.read_text().split()
        return [(int(major), int(minor)) for major, _, minor in (x.partition(".") for x in lines)]
