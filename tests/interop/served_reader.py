"""A card in a reader of a private pcscd, and a `klyuch serve --reader` that shows it as a slot.

The card is a token of another home, which comes into pcscd through our driver; nothing but pcscd is
between the two.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from host_tools.readers.slots import FIRST_SLOT
from host_tools.testing import Scratch, ScratchToken
from tests.conftest import program
from tests.interop.consumers import call, shared_object
from tests.interop.pcscd import IfdDoor, Readers, readers
from tests.interop.processes import Process

SLOT: Final = FIRST_SLOT
SERVE: Final = [sys.executable, "-P", "-m", "host_tools.cli", "serve"]


@dataclass(frozen=True, slots=True)
class Served:
    """The card, its pcscd, and the home that shows it; `environment` is for programs there."""

    near: Scratch
    far: Scratch
    token: ScratchToken
    there: Readers
    environment: dict[str, str]

    def ours(self, *arguments: str | Path, code: int = 0) -> str:
        """pkcs11-tool with our library, which reaches the card through the reader."""
        return self._pkcs11_tool(self.near.library, *arguments, code=code)

    def openscs(self, *arguments: str | Path, code: int = 0, driver: str = "isoApplet") -> str:
        """pkcs11-tool with OpenSC's own module, which reaches it through the reader as well."""
        module = shared_object("opensc-pkcs11.so", "", "opensc-pkcs11")
        # Left to itself OpenSC takes a card that has both applications for a PIV card.
        settings = self.far.path / "opensc.conf"
        settings.write_text(f"app default {{ card_drivers = {driver}; }}\n")
        return self._pkcs11_tool(module, *arguments, code=code, OPENSC_CONF=str(settings))

    def _pkcs11_tool(
        self, module: Path, *arguments: str | Path, code: int, **environment: str
    ) -> str:
        words = [program("pkcs11-tool", "opensc"), "--module", module, *arguments]
        return call(words, {**self.environment, **environment}, code=code).stdout

    def move(self, change: str) -> None:
        """Have the card pulled ("remove") or put in ("insert")."""
        with self.far.control() as control:
            control.call(f"token.{change}", token=self.token.serial)


@contextmanager
def served(near: Scratch, *options: str, protected_path: bool = False) -> Iterator[Served]:
    """The daemon of that home, run with these options beside the name of the reader.

    `protected_path`: PINs can be entered on the token.
    """
    with Scratch() as far:
        token = far.create_token("Work", protected_path=protected_path)
        with readers(far, IfdDoor(far, "all"), [token.serial]) as there:
            there.client().call("wait_for", there.name(), True)
            environment = {**os.environ, **there.pcscd.environment, **near.environment}
            command = [*SERVE, "--reader", there.name(), *options]
            with Process(command, {**environment, "PYTHONUNBUFFERED": "1"}) as daemon:
                daemon.wait_for("Ctrl")
                yield Served(near, far, token, there, environment)
