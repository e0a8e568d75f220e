"""OpenSSL's pkcs11 engine, and curl with it, use keys that live on the token."""

from __future__ import annotations

import ssl
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from host_tools.testing import Scratch
from tests.conftest import program
from tests.interop.consumers import KINDS, SUBJECT, Owner, call, shared_object
from tests.interop.sites import Site, Visit

MESSAGE: Final = "an engine was here\n"
VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_CONFIGURATION: Final = """
openssl_conf = init
[init]
engines = engines
[engines]
pkcs11 = pkcs11
[pkcs11]
engine_id = pkcs11
dynamic_path = {engine}
MODULE_PATH = {module}
init = 0
[req]
distinguished_name = nothing
[nothing]
"""


class Engine:
    """OpenSSL that knows the engine and the library, run in the owner's folder."""

    def __init__(self, owner: Owner, module: Path) -> None:
        self._folder = owner.folder
        self._label = owner.token.label
        configuration = owner.folder / "openssl.cnf"
        engine = shared_object("pkcs11.so", "engines-", "libengine-pkcs11-openssl")
        configuration.write_text(_CONFIGURATION.format(engine=engine, module=module))
        self.environment: Final = {"OPENSSL_CONF": str(configuration)}
        self.message: Final = owner.folder / "message.txt"
        self.message.write_text(MESSAGE)

    def key(self, label: str = "login", pin_file: Path | None = None) -> str:
        """The URI (RFC 7512) of a private key; the PIN comes from a file, to be in no command."""
        pin = pin_file or self._folder / "pin"
        return f"pkcs11:token={self._label};object={label};type=private;pin-source=file:{pin}"

    def public(self, kind: str = "public", label: str = "login") -> str:
        return f"pkcs11:token={self._label};object={label};type={kind}"

    def path(self, name: str) -> Path:
        return self._folder / name

    def openssl(self, *arguments: str | Path, code: int = 0) -> str:
        """With the engine where the arguments ask for it; gives what it printed."""
        done = call([program("openssl", "openssl"), *arguments], self.environment, code=code)
        return done.stdout + done.stderr

    def use(self, job: str, *arguments: str | Path, code: int = 0) -> str:
        """OpenSSL with the engine; the key is named by an option of the job."""
        return self.openssl(job, "-engine", "pkcs11", "-keyform", "engine", *arguments, code=code)

    def judge(self, *arguments: str | Path) -> str:
        """OpenSSL on its own, which knows nothing of the token."""
        return call([program("openssl", "openssl"), *arguments], {}).stdout


@pytest.fixture
def engine(owner: Owner, home: Scratch) -> Engine:
    return Engine(owner, home.library)


def _public_key(engine: Engine) -> Path:
    """The public key as the engine reads it from the token, without a PIN."""
    path = engine.path("public.pem")
    options = ("-engine", "pkcs11", "-inform", "engine", "-pubin", "-pubout", "-out", path)
    engine.openssl("pkey", *options, "-in", engine.public())
    return path


PSS: Final = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-1")


@pytest.mark.parametrize(
    ("kind", "paddings"), [("RSA-2048", ((), PSS)), ("P-256", ((),)), ("P-384", ((),))]
)
def test_messages_are_signed(
    engine: Engine, owner: Owner, kind: str, paddings: tuple[tuple[str, ...], ...]
) -> None:
    owner.make_key(kind)
    public, signature = _public_key(engine), engine.path("signature")
    for digest, options in product(("sha1", "sha256", "sha384", "sha512"), paddings):
        common = (f"-{digest}", *options)
        engine.use("dgst", *common, "-sign", engine.key(), "-out", signature, engine.message)
        check = ("-verify", public, "-signature", signature, engine.message)
        assert "Verified OK" in engine.judge("dgst", *common, *check)


def test_digests_are_signed_and_secrets_decrypted(engine: Engine, owner: Owner) -> None:
    owner.make_key("RSA-2048")
    digest, signature = engine.path("digest"), engine.path("signature")
    secret, back = engine.path("secret"), engine.path("back")
    public = ("-pubin", "-inkey", _public_key(engine))
    engine.judge("dgst", "-sha256", "-binary", "-out", digest, engine.message)
    for options in (
        ("-pkeyopt", "digest:sha256"),
        ("-pkeyopt", "digest:sha256", "-pkeyopt", "rsa_padding_mode:pss"),
    ):
        sign = ("-sign", "-inkey", engine.key(), "-in", digest, "-out", signature)
        engine.use("pkeyutl", *sign, *options)
        engine.judge("pkeyutl", "-verify", *public, "-in", digest, "-sigfile", signature, *options)
    for options in (
        ("-pkeyopt", "rsa_padding_mode:pkcs1"),
        ("-pkeyopt", "rsa_padding_mode:oaep"),
        ("-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"),
    ):
        encrypt = ("-encrypt", *public, "-in", engine.message, "-out", secret)
        engine.judge("pkeyutl", *encrypt, *options)
        decrypt = ("-decrypt", "-inkey", engine.key(), "-in", secret, "-out", back)
        engine.use("pkeyutl", *decrypt, *options)
        assert back.read_text() == MESSAGE


@pytest.mark.parametrize("kind", KINDS)
def test_cms_messages_are_signed_with_the_certificate(
    engine: Engine, owner: Owner, kind: str
) -> None:
    owner.make_key(kind)
    certificate, signed = owner.certify(), engine.path("signed.cms")
    paddings: tuple[tuple[str, ...], ...] = ((),)
    if kind == "RSA-2048":
        paddings += (("-keyopt", "rsa_padding_mode:pss"),)
    for padding in paddings:
        sign = ("-sign", "-nodetach", "-md", "sha256", "-in", engine.message)
        keys = ("-signer", certificate, "-inkey", engine.key())
        engine.use("cms", *sign, *keys, *padding, "-outform", "DER", "-out", signed)
        trust = ("-CAfile", owner.authority.certificate, "-purpose", "any")
        verify = ("-verify", "-inform", "DER", "-in", signed, *trust)
        assert engine.judge("cms", *verify).split() == MESSAGE.split()


def test_cms_messages_are_decrypted(engine: Engine, owner: Owner) -> None:
    owner.make_key("RSA-2048")
    certificate, sealed = owner.certify(), engine.path("sealed.cms")
    paddings: tuple[tuple[str, ...], ...] = ((), ("-keyopt", "rsa_padding_mode:oaep"))
    for padding in paddings:
        encrypt = ("-encrypt", "-aes256", "-in", engine.message, "-outform", "DER", "-out", sealed)
        engine.judge("cms", *encrypt, "-recip", certificate, *padding)
        decrypt = ("-decrypt", "-inform", "DER", "-in", sealed, "-recip", certificate)
        assert MESSAGE.strip() in engine.use("cms", *decrypt, "-inkey", engine.key())


@pytest.mark.parametrize("kind", KINDS)
def test_requests_and_certificates_are_signed(engine: Engine, owner: Owner, kind: str) -> None:
    owner.make_key(kind)
    request, certificate = engine.path("request.pem"), engine.path("certificate.pem")
    subject = ("-new", "-subj", "/CN=Ann Lee", "-key", engine.key())
    engine.use("req", *subject, "-out", request)
    assert "verify OK" in engine.openssl("req", "-in", request, "-noout", "-verify")
    engine.use("req", *subject, "-x509", "-days", "9", "-out", certificate)
    engine.judge("verify", "-CAfile", certificate, certificate)
    own = engine.judge("x509", "-in", certificate, "-noout", "-pubkey")
    assert own == _public_key(engine).read_text()


def _curl(engine: Engine, owner: Owner, site: Site, version: str, code: int = 0) -> str:
    """What curl is shown, with the token's key and its certificate."""
    number = version.removeprefix("TLSv")
    command = (program("curl", "curl"), "--silent", "--show-error", "--max-time", "30")
    tls = ("--cacert", owner.authority.certificate, f"--tlsv{number}", "--tls-max", number)
    key = ("--engine", "pkcs11", "--key-type", "ENG", "--key", engine.key())
    certificate = ("--cert-type", "ENG", "--cert", engine.public("cert"))
    done = call([*command, *tls, *key, *certificate, site.url], engine.environment, code=code)
    return done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_curl_shows_a_server_the_client_certificate(
    engine: Engine, owner: Owner, kind: str, version: str
) -> None:
    owner.make_key(kind)
    owner.certify()
    with Site(owner.authority, VERSIONS[version], closed=True) as site:
        for _ in range(2):
            assert SUBJECT in _curl(engine, owner, site, version)
    assert site.visits == [Visit(SUBJECT, version)] * 2


def test_a_wrong_pin_is_an_error_and_spends_one_try_an_attempt(
    engine: Engine, owner: Owner
) -> None:
    owner.make_key("P-256")
    owner.certify()
    signature = engine.path("signature")
    owner.pin_file.write_text("000000")
    sign = ("-sha256", "-sign", engine.key(), "-out", signature, engine.message)
    engine.use("dgst", *sign, code=1)
    assert owner.tries_left() == 2
    with Site(owner.authority, VERSIONS["TLSv1.3"], closed=True) as site:
        _curl(engine, owner, site, "TLSv1.3", code=58)
    assert not site.visits
    assert owner.tries_left() == 1
    owner.pin_file.write_text(owner.token.pin)
    engine.use("dgst", *sign)
    assert owner.tries_left() == 3
