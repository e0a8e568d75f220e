"""p11-kit lists the library and serves it to others; GnuTLS uses the keys on the token."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from hatch_build import compiler
from host_tools.testing import Run, Scratch
from host_tools.testing.application import RemoteApplication
from host_tools.testing.worker import Refused
from tests.conftest import program
from tests.interop.consumers import KINDS, SUBJECT, Owner, call, shared_object
from tests.interop.processes import Process
from tests.interop.sites import Site, Visit

MESSAGE: Final = b"p11-kit was here\n"
_GONE: Final = r"CKR_(DEVICE_REMOVED|DEVICE_ERROR|SESSION_HANDLE_INVALID)"
_CERTIFICATE: Final = 'cn = "Ann Lee"\nexpiration_days = 9\nca\ncert_signing_key\n'


class Person:
    """A user whose p11-kit is configured for the library, with GnuTLS on top of it."""

    def __init__(self, owner: Owner, module: Path) -> None:
        self.folder: Final = owner.folder
        self.token: Final = f"pkcs11:token={owner.token.label}"
        modules = owner.folder / "pkcs11" / "modules"
        modules.mkdir(parents=True)
        (modules / "klyuch.module").write_text(f"module: {module}\n")
        self.environment: Final = {
            "XDG_CONFIG_HOME": str(owner.folder),
            "GNUTLS_PIN": owner.token.pin,
            **(self._not_root() if os.getuid() == 0 else {}),
        }

    def _not_root(self) -> dict[str, str]:
        """Root's own configuration would be passed over."""
        library = self.folder / "not_root.so"
        source = Path(__file__).parent / "native" / "not_root.c"
        call([*compiler(), "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source], {})
        return {"LD_PRELOAD": str(library)}

    def key(self, kind: str = "private") -> str:
        """The URI (RFC 7512) of an object."""
        return f"{self.token};object=login;type={kind}"

    def p11_kit(self, *arguments: str) -> str:
        return call([program("p11-kit", "p11-kit"), *arguments], self.environment).stdout

    def p11tool(self, *arguments: str) -> str:
        """What it printed, on both streams."""
        tool = program("p11tool", "gnutls-bin")
        done = call([tool, "--batch", *arguments], self.environment)
        return done.stdout + done.stderr

    def certtool(self, *arguments: str | Path) -> None:
        template = self.folder / "template"
        template.write_text(_CERTIFICATE)
        tool = program("certtool", "gnutls-bin")
        call([tool, "--template", template, *arguments], self.environment)


@pytest.fixture
def person(owner: Owner, home: Scratch) -> Person:
    return Person(owner, home.library)


def test_the_configured_library_is_listed_with_its_token(person: Person, owner: Owner) -> None:
    said = person.p11_kit("list-modules")
    section = re.search(r"^klyuch: .*\n((?: .*\n)+)", said, re.MULTILINE)
    assert section, said
    for line in (
        "library-manufacturer: Klyuch",
        f"token: {owner.token.label}",
        f"serial-number: {owner.token.serial}",
        "user-pin-initialized",
        "token-initialized",
    ):
        assert line in section.group(1), said
    assert f"token={owner.token.label}" in person.p11tool("--list-token-urls")


@pytest.mark.parametrize("kind", KINDS)
def test_gnutls_lists_keys_and_certificates(person: Person, owner: Owner, kind: str) -> None:
    owner.make_key(kind)
    owner.certify()
    public = person.p11tool("--list-all", person.token)
    assert [f";type={one}" in public for one in ("public", "cert", "private")] == [1, 1, 0]
    everything = person.p11tool("--list-all", "--login", person.token)
    assert [f";type={one}" in everything for one in ("public", "cert", "private")] == [1, 1, 1]
    keys = person.p11tool("--list-privkeys", "--login", person.token)
    assert keys.count("URL:") == 1
    assert "CKA_NEVER_EXTRACTABLE; CKA_SENSITIVE" in keys
    assert "BEGIN CERTIFICATE" in person.p11tool("--export", person.key("cert"))


@pytest.mark.parametrize(
    ("kind", "algorithms"), [("RSA-2048", ("RSA", "RSA-PSS")), ("P-256", ("ECDSA",))]
)
def test_gnutls_signs(person: Person, owner: Owner, kind: str, algorithms: tuple[str, ...]) -> None:
    owner.make_key(kind)
    for algorithm in algorithms:
        pss = ("--sign-params", algorithm) if algorithm == "RSA-PSS" else ()
        said = person.p11tool("--login", "--test-sign", *pss, person.key())
        assert f"Signing using {algorithm}-SHA256... ok" in said
        assert "Verifying against public key in the token... ok" in said


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_gnutls_makes_keys(person: Person, kind: str) -> None:
    person.p11tool("--login", "--generate-privkey", kind, "--label", "login", person.token)
    said = person.p11tool("--login", "--test-sign", person.key())
    assert "Verifying against public key in the token... ok" in said


@pytest.mark.parametrize("kind", KINDS)
def test_certtool_signs_certificates(person: Person, owner: Owner, openssl: Run, kind: str) -> None:
    owner.make_key(kind)
    own, request, issued = (owner.folder / name for name in ("own.pem", "other.csr", "other.pem"))
    key = ("--load-privkey", person.key(), "--load-pubkey", person.key("public"))
    person.certtool("--generate-self-signed", *key, "--outfile", own)
    openssl("verify", "-CAfile", own, own)
    options = ("-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    other = ("-keyout", owner.folder / "other.key", "-subj", "/CN=Bob", "-out", request)
    openssl("req", *options, *other)
    issuer = ("--load-ca-privkey", person.key(), "--load-ca-certificate", own)
    issue = ("--generate-certificate", "--load-request", request, *issuer)
    person.certtool(*issue, "--outfile", issued)
    openssl("verify", "-partial_chain", "-trusted", own, issued)


@pytest.mark.parametrize("kind", KINDS)
def test_gnutls_shows_a_server_the_client_certificate(
    person: Person, owner: Owner, kind: str
) -> None:
    owner.make_key(kind)
    owner.certify()
    with Site(owner.authority, ssl.TLSVersion.TLSv1_3, closed=True) as site:
        host, port = site.url.removeprefix("https://").strip("/").split(":")
        command = (program("gnutls-cli", "gnutls-bin"), "--x509cafile", owner.authority.certificate)
        key = ("--x509keyfile", person.key(), "--x509certfile", person.key("cert"))
        request = "GET / HTTP/1.0\r\n\r\n"
        # The server closes without a farewell, which gnutls-cli counts as an error.
        arguments = (*command, *key, "-p", port, host)
        done = call(arguments, person.environment, stdin=request, code=1)
    assert "HTTP/1.0 200 OK" in done.stdout
    assert site.visits == [Visit(SUBJECT, "TLSv1.3")]


@pytest.fixture
def remote(owner: Owner, home: Scratch, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """p11-kit's client library; it finds the server, which has ours."""
    address = owner.folder / "p11-kit"
    served = ("--provider", home.library, f"pkcs11:token={owner.token.label}")
    command = (program("p11-kit", "p11-kit"), "server", "--foreground", "--name", address, *served)
    monkeypatch.setenv("P11_KIT_SERVER_ADDRESS", f"unix:path={address}")
    with Process(command, os.environ) as server:
        server.wait_for("P11_KIT_SERVER_PID=")
        yield shared_object("p11-kit-client.so", "pkcs11", "p11-kit-modules")


@pytest.mark.parametrize("kind", KINDS)
def test_a_served_token_signs(
    remote: Path, person: Person, owner: Owner, openssl: Run, kind: str
) -> None:
    owner.make_key(kind)
    public, digest, signature = (owner.folder / name for name in ("public", "digest", "signature"))
    public.write_text(person.p11tool("--export-pubkey", "--login", person.key()))
    digest.write_bytes(hashlib.sha256(MESSAGE).digest())

    tool = (program("pkcs11-tool", "opensc"), "--module", remote, "--login", "--pin", "env:PIN")
    # p11-kit 0.24 passes on only mechanisms that it knows: SHA256-ECDSA is none of them.
    mechanism = ("RSA-PKCS-PSS", "--hash-algorithm", "SHA256") if kind == "RSA-2048" else ("ECDSA",)
    sign = ("--sign", "--id", "01", "--signature-format", "openssl", "-i", digest, "-o", signature)
    call([*tool, *sign, "-m", *mechanism], {"PIN": owner.token.pin})
    verify = ("pkeyutl", "-verify", "-pubin", "-inkey", public, "-pkeyopt", "digest:sha256")
    pss = ("-pkeyopt", "rsa_padding_mode:pss") if kind == "RSA-2048" else ()
    openssl(*verify, *pss, "-in", digest, "-sigfile", signature)


def test_a_client_of_the_server_outlives_our_daemon(
    remote: Path, owner: Owner, home: Scratch
) -> None:
    owner.make_key("P-256")
    with RemoteApplication(remote) as client:
        (slot,) = client.call("slots")
        client.call("open", slot)
        client.call("login", owner.token.pin)
        assert client.call("sign", "login")

        home.kill_daemon()
        with pytest.raises(Refused, match=_GONE):
            client.call("sign", "login")
        client.call("open", slot)
        client.call("login", owner.token.pin)
        assert client.call("sign", "login")
