"""A token, an authority, a person with a browser: all made for one test."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from host_tools.testing import Command, Scratch, ScratchToken
from tests.interop.browsers.browser import Browser
from tests.interop.browsers.chromium import Chromium
from tests.interop.browsers.firefox import Firefox
from tests.interop.browsers.person import Person
from tests.interop.certificates import Authority

SUBJECT: Final = "CN=Ann Lee,O=Acme"


class Logins:
    """Counts the PINs that reached a token, as the trace of its APDUs shows them."""

    # Nobody else asks for a challenge of so many bytes: it ends what was sent so far.
    _MARK: Final = "00840000F7"
    _MARK_LINE: Final = re.compile(r"→ 00 84 00 00 .* Le 247$")
    _LOGIN_LINE: Final = re.compile(r"→ 00 20 00 01 +VERIFY +masked")

    def __init__(self, home: Scratch, token: ScratchToken) -> None:
        self._home = home
        self._token = token
        self._count = 0
        self._watch = home.control()
        self._lines = self._watch.trace(token.label)

    def count(self) -> int:
        """How many there were since this was made; the token must be in its slot."""
        with self._home.control() as control:
            control.call("apdu", token=self._token.label, commands=[self._MARK])
        for line in self._lines:
            self._count += bool(self._LOGIN_LINE.search(line))
            if self._MARK_LINE.search(line):
                break
        return self._count

    def close(self) -> None:
        self._watch.close()


class Card:
    """The token with a key that was generated on it and a certificate of the authority."""

    def __init__(
        self, command: Command, token: ScratchToken, authority: Authority, folder: Path
    ) -> None:
        self._command = command
        self._token = token
        self._authority = authority
        self._folder = folder

    def make_key(self, kind: str) -> None:
        """A key of that kind, made by the token, and its certificate for SUBJECT."""
        pin = {"KLYUCH_PIN": self._token.pin}
        request, certificate = self._folder / "login.csr", self._folder / "login.pem"
        self._command("key", "generate", kind, "--label", "login", **pin)
        self._command("cert", "request", "login", "--subject", SUBJECT, "-o", request, **pin)
        certificate.write_bytes(self._authority.sign(request.read_bytes()))
        self._command("cert", "import", certificate, **pin)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: browsers put sockets there."""
    with tempfile.TemporaryDirectory(prefix="klyuch-") as path:
        yield Path(path)


@pytest.fixture
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture
def card(command: Command, token: ScratchToken, authority: Authority, folder: Path) -> Card:
    return Card(command, token, authority, folder)


@pytest.fixture
def logins(home: Scratch, token: ScratchToken) -> Iterator[Logins]:
    counter = Logins(home, token)
    yield counter
    counter.close()


@pytest.fixture
def person(folder: Path, home: Scratch, authority: Authority) -> Person:
    return Person(folder, home.environment, home.library, authority.certificate)


@pytest.fixture(params=[Firefox, Chromium])
def kind_of_browser(request: pytest.FixtureRequest) -> type[Browser]:
    kind: type[Browser] = request.param
    return kind
