"""What the tests with other people's programs share: certified keys, and programs that may fail."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from host_tools.testing import Command, ScratchToken
from tests.interop.certificates import Authority

KINDS: Final = ("RSA-2048", "P-256")
SUBJECT: Final = "CN=Ann Lee,O=Acme"
_FOLDERS: Final = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
_PATIENCE: Final = 60.0


def shared_object(name: str, folder: str, package: str) -> Path:
    """A shared object in a folder whose name begins so; a missing one is a failure, no skip."""
    for root in map(Path, _FOLDERS):
        for path in sorted(root.rglob(f"{folder}*/{name}")):
            return path
    pytest.fail(f"{folder}/{name} is missing: apt-get install {package}")


def call(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    code: int = 0,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end in this process's environment and the one given.

    An exit code other than `code` is an AssertionError that shows what was printed.
    """
    done = subprocess.run(
        [*map(str, command)],
        input=stdin,
        capture_output=True,
        env={**os.environ, **environment},
        text=True,
        errors="replace",
        timeout=_PATIENCE,
        check=False,
    )
    said = f"{command[0]}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.returncode == code, said
    return done


class Owner:
    """Somebody with a token: makes keys on it and has them certified."""

    def __init__(self, command: Command, token: ScratchToken, folder: Path) -> None:
        self._command = command
        self.token: Final = token
        self.folder: Final = folder
        self.pin_file: Final = folder / "pin"
        self.pin_file.write_text(token.pin)
        self.authority: Final = Authority(folder)

    def run(self, *arguments: str | Path) -> str:
        """Our command line with the user PIN; gives what it printed."""
        return str(self._command(*arguments, KLYUCH_PIN=self.token.pin).stdout)

    def make_key(self, kind: str, label: str = "login", ident: str = "01") -> None:
        """A key of that kind, made by the token."""
        self.run("key", "generate", kind, "--label", label, "--id", ident)

    def certify(self, label: str = "login") -> Path:
        """A certificate of the authority for a key, put on the token as well; gives its file."""
        request, certificate = self.folder / f"{label}.csr", self.folder / f"{label}.pem"
        self.run("cert", "request", label, "--subject", SUBJECT, "-o", request)
        certificate.write_bytes(self.authority.sign(request.read_bytes()))
        self.run("cert", "import", certificate)
        return certificate

    def tries_left(self) -> int:
        """Of the user PIN."""
        pins = json.loads(self.run("pin", "status", "--json"))
        (tries,) = [pin["tries_left"] for pin in pins if pin["name"] == "user"]
        return int(tries)
