"""OpenSC's pkcs11-tool makes and uses GOST keys of the token; OpenSSL's gost engine judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from host_tools.cryptoki import Cryptoki, Session, Template
from host_tools.testing import Run, ScratchToken
from pkcs11_module import _constants as ck
from tests.conftest import program
from tests.interop.consumers import call
from tests.interop.gost_engine import Engine
from token_fw.crypto import Hash, KeySpec, digest, gost_public

MESSAGE: Final = "Подписано ключом, который не покидает токен.\n".encode() * 1000
SETS: Final = {
    # What pkcs11-tool calls a set: its name, and the hash that goes with it.
    "GOSTR3410-2012-256:A": ("tc26-256-A", "12-256"),
    "GOSTR3410-2012-256:B": ("CryptoPro-A", "12-256"),
    "GOSTR3410-2012-256:C": ("CryptoPro-B", "12-256"),
    "GOSTR3410-2012-256:D": ("CryptoPro-C", "12-256"),
    "GOSTR3410-2012-512:A": ("tc26-512-A", "12-512"),
    "GOSTR3410-2012-512:B": ("tc26-512-B", "12-512"),
    "GOSTR3410-2012-512:C": ("tc26-512-C", "12-512"),
}
HASHES: Final = {"12-256": Hash.STREEBOG256, "12-512": Hash.STREEBOG512}
RAW: Final = {"12-256": "GOSTR3410", "12-512": "0xD4321006"}
"""The mechanisms that sign a digest; the tool has no name for the one of 512 bits in its usage."""
ENGINE: Final = {"12-256": "md_gost12_256", "12-512": "md_gost12_512"}
Tool = Callable[..., str]


@pytest.fixture
def user(pkcs11_tool: Run, token: ScratchToken) -> Tool:
    """pkcs11-tool, logged in as the user."""

    def run(*arguments: str | Path) -> str:
        done = pkcs11_tool("--login", "--pin", token.pin, *map(str, arguments))
        return done.stdout + done.stderr

    return run


@pytest.fixture
def session(token: ScratchToken) -> Iterator[Session]:
    with Cryptoki() as library, library.open_session(token.slot) as opened:
        yield opened


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def public_file(session: Session, name: str, folder: Path) -> Path:
    """The public key that the token shows without a login, in DER."""
    wanted: Template = {ck.CKA_CLASS: ck.CKO_PUBLIC_KEY, ck.CKA_TOKEN: True}
    (handle,) = session.find(wanted)
    names = ck.CKA_VALUE, ck.CKA_GOSTR3410_PARAMS
    point, parameters = session.attributes(handle, *names).values()
    assert parameters == KeySpec.gost(name).oid_der
    assert point is not None
    return write(folder / "public.der", gost_public(name, point).to_spki())


def engine_verifies(public: Path, signature: Path, digest_: Path, code: int = 0) -> str:
    """What OpenSSL says of a signature of a digest."""
    command: list[str | Path] = [program("openssl", "openssl"), "pkeyutl", "-verify"]
    command += ["-engine", "gost", "-keyform", "DER", "-pubin", "-inkey", public]
    return call([*command, "-sigfile", signature, "-in", digest_], {}, code=code).stdout


@pytest.mark.parametrize("kind", SETS)
def test_pairs_are_made_and_sign_what_openssl_verifies(
    kind: str, user: Tool, session: Session, tmp_path: Path
) -> None:
    name, suffix = SETS[kind]
    hashed = digest.compute(HASHES[suffix], MESSAGE)
    message, short = write(tmp_path / "message", MESSAGE), write(tmp_path / "digest", hashed)
    signature = tmp_path / "signature"
    told = user("--keypairgen", "--key-type", kind, "--id", "01", "--label", "подпись")
    assert "Key pair generated" in told
    public = public_file(session, name, tmp_path)
    hashing = ("-m", f"GOSTR3410-WITH-GOSTR3411-{suffix}", "-i", message)
    for how in (("-m", RAW[suffix], "-i", short), hashing):
        user("--sign", *how, "--id", "01", "-o", signature)
        assert "Signature Verified Successfully" in engine_verifies(public, signature, short)
    common = (*hashing, "--id", "01")
    assert "Signature is valid" in user("--verify", *common, "--signature-file", signature)
    written = signature.read_bytes()
    write(signature, written[:-1] + bytes((written[-1] ^ 1,)))
    assert "Invalid signature" in user("--verify", *common, "--signature-file", signature)
    assert "Signature Verification Failure" in engine_verifies(public, signature, short, 1)


def test_the_tool_shows_pairs_and_deletes_them(user: Tool) -> None:
    for ident, kind in enumerate(SETS, start=1):
        user("--keypairgen", "--key-type", kind, "--id", f"{ident:02}", "--label", kind)
    shown = user("-O")
    assert shown.count("Private Key Object; GOSTR3410-2012-") == len(SETS)
    assert shown.count("Public Key Object; GOSTR3410-2012-") == len(SETS)
    for ident, kind in enumerate(SETS, start=1):
        assert f"label:      {kind}" in shown
        user("--delete-object", "--type", "privkey", "--id", f"{ident:02}")
        user("--delete-object", "--type", "pubkey", "--id", f"{ident:02}")
    assert "Key Object" not in user("-O")


@pytest.mark.parametrize("suffix", HASHES)
def test_digests_are_those_of_openssl(
    user: Tool, engine: Engine, suffix: str, tmp_path: Path
) -> None:
    message, made = write(tmp_path / "message", MESSAGE), tmp_path / "made"
    user("--hash", "-m", f"GOSTR3411-{suffix}", "-i", message, "-o", made)
    options = (f"-{ENGINE[suffix]}", "-binary")
    assert made.read_bytes() == engine.run("dgst", *options, data=MESSAGE)


def test_the_mechanisms_say_what_they_are_for(user: Tool) -> None:
    shown = {line.split(",")[0].strip(): line for line in user("-M").splitlines()}
    for name in ("GOSTR3410-KEY-PAIR-GEN", "GOSTR3410-512-KEY-PAIR-GEN"):
        assert "generate_key_pair" in shown[name]
    for name in ("GOSTR3410", "GOSTR3410-WITH-GOSTR3411-12-256"):
        assert "sign, verify" in shown[name]
    assert "GOSTR3410-WITH-GOSTR3411" not in shown
