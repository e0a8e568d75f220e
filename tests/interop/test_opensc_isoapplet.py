"""Stock OpenSC takes the card for an IsoApplet: its tools and its PKCS#11 module read and write it.

What it writes our library reads, and the reverse; openssl judges the signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from host_tools.testing import Command, Run, Scratch, ScratchToken
from tests.conftest import program
from tests.interop.consumers import call, shared_object
from tests.interop.pcscd import ReaderDoor, Readers, readers

PIN, PUK = "481516", "2342310823423108"
MESSAGE = "a letter to Bob\n"
SIGNING = {"rsa": ("SHA256-RSA-PKCS", "-sha256"), "ec": ("ECDSA-SHA1", "-sha1")}
"""Of each kind of key, what OpenSC 0.23 signs by through IsoApplet's version 0."""


class OpenSC:
    """OpenSC's programs on the card in the first reader, and ours on the same token."""

    def __init__(self, there: Readers, folder: Path, openssl: Run, command: Command) -> None:
        self._there = there
        self._folder = folder
        self._openssl = openssl
        self._command = command
        self._module = shared_object("opensc-pkcs11.so", "", "opensc-pkcs11")
        self._message = folder / "message"
        self._message.write_text(MESSAGE)

    def run(self, tool: str, *arguments: str | Path, code: int = 0) -> str:
        """What one of the programs prints."""
        words = [program(tool, "opensc"), *arguments]
        done = call(words, self._there.environment, code=code)
        return done.stdout + done.stderr

    def init(self, *arguments: str | Path) -> str:
        return self.run("pkcs15-init", *arguments, "--pin", PIN)

    def pkcs11(self, *arguments: str | Path, code: int = 0, pin: str = PIN) -> str:
        """pkcs11-tool with OpenSC's module."""
        login = ("--login", "--pin", pin)
        return self.run("pkcs11-tool", "--module", self._module, *login, *arguments, code=code)

    def ours(self, *arguments: str | Path) -> str:
        """Our command line on the same token."""
        return str(self._command(*arguments, KLYUCH_PIN=PIN).stdout)

    def check_signature(self, kind: str, ident: str) -> None:
        """Sign through OpenSC's module; openssl verifies with the public key that OpenSC read."""
        mechanism, hashed = SIGNING[kind]
        signature, public = self._folder / "signature", self._folder / "public"
        how = ("--mechanism", mechanism, "--signature-format", "openssl")
        self.pkcs11("--sign", "--id", ident, *how, "-i", self._message, "-o", signature)
        self.run("pkcs15-tool", "--read-public-key", ident, "-o", public)
        self._verify(hashed, public, signature)

    def check_our_signature(self, ident: str, mechanism: str = "ECDSA-SHA256") -> None:
        """Sign through our library; openssl verifies with the public key that OpenSC read."""
        signature, public = self._folder / "signature", self._folder / "public"
        how = ("--mechanism", mechanism, "--signature-format", "openssl", "--id", ident)
        module = self._there.home.library
        login = ("--login", "--pin", PIN, "--sign")
        files = ("-i", self._message, "-o", signature)
        self.run("pkcs11-tool", "--module", module, *login, *how, *files)
        self.run("pkcs15-tool", "--read-public-key", ident, "-o", public)
        self._verify("-sha256", public, signature)

    def _verify(self, hashed: str, public: Path, signature: Path) -> None:
        said = self._openssl(
            "dgst", hashed, "-verify", public, "-signature", signature, self._message
        )
        assert said.stdout == "Verified OK\n"

    def certificate(self) -> Path:
        """A certificate of somebody, made by openssl."""
        path = self._folder / "certificate.pem"
        key = ("-newkey", "rsa:2048", "-nodes", "-keyout", self._folder / "key.pem")
        self._openssl("req", "-x509", *key, "-subj", "/CN=Ann Lee", "-out", path)
        return path


@pytest.fixture
def before(
    home: Scratch, reader_door: ReaderDoor, tmp_path: Path, openssl: Run, command: Command
) -> Callable[[str], AbstractContextManager[OpenSC]]:
    """Puts OpenSC before the token of a serial number."""

    @contextmanager
    def put(serial: str) -> Iterator[OpenSC]:
        with readers(home, reader_door, [serial]) as there:
            there.client().call("wait_for", there.name(), True)
            yield OpenSC(there, tmp_path, openssl, command)

    return put


@pytest.fixture
def blank(
    home: Scratch, before: Callable[[str], AbstractContextManager[OpenSC]]
) -> Iterator[OpenSC]:
    """OpenSC before a blank token, as from the factory."""
    with home.control() as control:
        made = control.call("token.create", blank=True)
    with before(str(made["serial"])) as opensc:
        yield opensc


@pytest.fixture
def initialised(
    token: ScratchToken, before: Callable[[str], AbstractContextManager[OpenSC]]
) -> Iterator[OpenSC]:
    """OpenSC before a token that our own library has initialised."""
    with before(token.serial) as opensc:
        yield opensc


def create(opensc: OpenSC) -> None:
    """Have OpenSC make the PKCS#15 structure, with one PIN and its PUK."""
    how = ("--create-pkcs15", "--profile", "pkcs15+onepin", "--puk", PUK)
    opensc.init(*how, "--label", "Made by OpenSC")


def test_opensc_names_the_driver_and_dumps_a_token_of_ours(initialised: OpenSC) -> None:
    assert "Javacard with IsoApplet" in initialised.run("opensc-tool", "--name")
    shown = initialised.run("pkcs15-tool", "--dump")
    assert "PKCS#15 Card [Work]" in shown
    assert "PIN [User PIN]" in shown


def test_what_opensc_makes_of_a_blank_token_our_library_reads_and_uses(blank: OpenSC) -> None:
    create(blank)
    keys = {"01": "rsa/2048", "02": "ec/prime256v1", "03": "ec/secp384r1"}
    for ident, kind in keys.items():
        blank.init("--generate-key", kind, "--auth-id", "01", "--id", ident, "--label", f"k{ident}")
    certified = ("--auth-id", "01", "--id", "01", "--label", "Ann")
    blank.init("--store-certificate", blank.certificate(), *certified)
    for kind, ident in (("rsa", "01"), ("ec", "02"), ("ec", "03")):
        blank.check_signature(kind, ident)
    listed = blank.ours("key", "list")
    for ident, kind in (("01", "RSA-2048"), ("02", "P-256"), ("03", "P-384")):
        assert f"{ident}   {kind}" in listed
    assert "CN=Ann Lee" in blank.ours("cert", "list")
    assert "Made by OpenSC" in blank.ours("token", "list")
    for ident in ("02", "03"):
        blank.check_our_signature(ident)
    blank.check_our_signature("01", "SHA256-RSA-PKCS")


def test_opensc_wants_a_puk_of_16_characters_and_erases_nothing(blank: OpenSC) -> None:
    how = ("--create-pkcs15", "--profile", "pkcs15+onepin", "--pin", PIN, "--label", "Short")
    for puk in (PUK[:8], PUK[:15], PUK + "1"):
        assert "Wrong length" in blank.run("pkcs15-init", *how, "--puk", puk, code=1)
    create(blank)
    assert "Not supported" in blank.run("pkcs15-init", "--erase-card", code=1)
    assert "Made by OpenSC" in blank.ours("token", "list")


def test_what_our_library_makes_opensc_reads_and_uses(initialised: OpenSC) -> None:
    for ident, kind in (("0a", "RSA-2048"), ("0b", "P-256"), ("0c", "P-384")):
        initialised.ours("key", "generate", kind, "--label", kind, "--id", ident)
    initialised.ours("cert", "request", "RSA-2048", "--subject", "CN=Ann Lee", "--self-signed")
    objects = initialised.pkcs11("--list-objects")
    for label in ("RSA-2048", "P-256", "P-384", "CN=Ann Lee"):
        assert label in objects
    for kind, ident in (("rsa", "0a"), ("ec", "0b"), ("ec", "0c")):
        initialised.check_signature(kind, ident)


@pytest.mark.parametrize("kind", ["rsa:2048", "EC:prime256v1"])
def test_opensc_and_our_library_add_keys_to_one_token_by_turns(
    initialised: OpenSC, kind: str
) -> None:
    initialised.ours("key", "generate", "P-256", "--label", "first", "--id", "01")
    initialised.pkcs11("--keypairgen", "--key-type", kind, "--id", "02", "--label", "second")
    initialised.ours("key", "generate", "P-256", "--label", "third", "--id", "03")
    initialised.pkcs11("--keypairgen", "--key-type", kind, "--id", "04", "--label", "fourth")
    objects, listed = initialised.pkcs11("--list-objects"), initialised.ours("key", "list")
    for label in ("first", "second", "third", "fourth"):
        assert f"label:      {label}" in objects
        assert f" {label} " in listed
    for ident in ("02", "04"):
        initialised.check_signature(kind.partition(":")[0].lower(), ident)
    for ident in ("01", "03"):
        initialised.check_signature("ec", ident)
        initialised.check_our_signature(ident)


def test_opensc_passes_its_own_tests(initialised: OpenSC) -> None:
    initialised.ours("key", "generate", "RSA-2048", "--label", "rsa", "--id", "01")
    assert "No errors" in initialised.pkcs11("--test")


def test_a_locked_pin_is_shown_as_locked_and_unblocked_by_its_puk(blank: OpenSC) -> None:
    create(blank)
    wrong = [blank.pkcs11("--list-objects", pin="0000", code=1) for _ in range(3)]
    assert all("CKR_PIN_INCORRECT" in said for said in wrong)
    assert "CKR_PIN_LOCKED" in blank.pkcs11("--list-objects", code=1)
    assert "LOCKED" in blank.ours("pin", "status")
    new = ("--new-pin", PIN, "--puk", PUK)
    blank.run("pkcs15-tool", "--unblock-pin", "--auth-id", "01", *new)
    assert "Made by OpenSC" in blank.pkcs11("--list-token-slots")


def test_a_pin_changed_by_opensc_is_changed_for_our_library(initialised: OpenSC) -> None:
    changed = ("--pin", PIN, "--new-pin", "16234248")
    initialised.run("pkcs15-tool", "--change-pin", "--auth-id", "01", *changed)
    assert "CKR_PIN_INCORRECT" in initialised.pkcs11("--list-objects", code=1)
    back = ("--pin", "16234248", "--new-pin", PIN)
    initialised.run("pkcs15-tool", "--change-pin", "--auth-id", "01", *back)
    initialised.ours("key", "generate", "P-256", "--label", "after")
