"""``klyuch sign`` and ``klyuch verify`` beside ``openssl cms`` and, for EdDSA, GnuTLS."""

import json
import resource
import subprocess
import sys
from base64 import b64encode, encodebytes
from pathlib import Path

import pytest
from asn1crypto import pem
from asn1crypto.cms import ContentInfo
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from host_tools.cli.failures import Exit
from host_tools.testing import Command, Run, Scratch, ScratchToken
from tests.conftest import program
from tests.interop import signers

PIN = {"KLYUCH_PIN": "481516"}
KINDS = ["RSA-2048", "P-256", "P-384", "P-521", "Ed25519"]


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    file = tmp_path / "letter.txt"
    file.write_text("Dear Bob\n")
    return file


def certified(command: Command, kind: str, folder: Path) -> Path:
    """A key of the token with a certificate of its own; the file with that."""
    command("key", "generate", kind, "--label", kind, **PIN)
    command("cert", "request", kind, "--subject", f"CN={kind}", "--self-signed", **PIN)
    file = folder / f"{kind}.pem"
    command("cert", "export", kind, "--out", file)
    return file


def judge(
    openssl: Run, kind: str, signature: Path, content: Path, trusted: Path, *, code: int
) -> str:
    """What OpenSSL says of a detached signature in DER; its CMS has no Ed25519, GnuTLS has."""
    if kind != "Ed25519":
        return openssl(
            "cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", signature,
            "-content", content, "-CAfile", trusted, code=4 if code else 0,
        ).stderr  # fmt: skip
    told = subprocess.run(
        [
            program("certtool", "gnutls-bin"), "--p7-verify", "--inder", "--infile", signature,
            "--load-data", content, "--load-ca-certificate", trusted,
        ],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert told.returncode == code, told.stdout + told.stderr
    return told.stdout + told.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_others_verify_what_a_key_of_the_token_signs(
    *, command: Command, token: ScratchToken, openssl: Run, letter: Path, kind: str
) -> None:
    assert token.label
    trusted = certified(command, kind, letter.parent)
    signature = letter.with_name("letter.txt.p7s")
    told = command("sign", letter, "--json", **PIN).stdout
    assert json.loads(told) == {
        "file": str(letter),
        "signature": str(signature),
        "signer": f"CN={kind}",
    }
    said = judge(openssl, kind, signature, letter, trusted, code=0)
    assert "CAdES Verification successful" in said or "Signature status: ok" in said
    command("verify", letter, "--trust", trusted)
    command("verify", letter, signature, "--trust", trusted)
    command("verify", signature, "--trust", trusted)

    letter.write_text("Dear Eve\n")
    judge(openssl, kind, signature, letter, trusted, code=1)
    refused = command("verify", letter, "--trust", trusted, code=Exit.TAMPERED.value)
    assert "The content is not the one that was signed." in refused.stderr
    letter.write_text("Dear Bob\n")
    damaged = bytearray(signature.read_bytes())
    damaged[-1] ^= 1  # the last byte of the signature's value
    signature.write_bytes(damaged)
    judge(openssl, kind, signature, letter, trusted, code=1)
    command("verify", letter, "--trust", trusted, code=Exit.BAD_SIGNATURE.value)


def test_openssl_finds_the_parts_of_an_ed448_signature_right(
    command: Command, token: ScratchToken, openssl: Run, letter: Path
) -> None:
    """No program here has CMS with Ed448: RFC 8419 2.3 and 3.1 ask for SHAKE256 with 64 bytes."""
    assert token.label
    trusted = certified(command, "Ed448", letter.parent)
    command("sign", letter, **PIN)
    signed = ContentInfo.load(letter.with_name("letter.txt.p7s").read_bytes())["content"]
    (info,) = signed["signer_infos"]
    attributes = {one["type"].native: one["values"][0].native for one in info["signed_attrs"]}
    digest = openssl("dgst", "-shake256", "-xoflen", "64", "-r", letter).stdout.split()[0]
    assert attributes["message_digest"].hex() == digest
    public, message, value = (letter.with_name(one) for one in ("public", "message", "value"))
    openssl("x509", "-in", trusted, "-pubkey", "-noout", "-out", public)
    message.write_bytes(info["signed_attrs"].untag().dump())
    value.write_bytes(info["signature"].native)
    openssl(
        "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", message,
        "-sigfile", value,
    )  # fmt: skip
    command("verify", letter, "--trust", trusted)
    letter.write_text("Dear Eve\n")
    command("verify", letter, "--trust", trusted, code=Exit.TAMPERED.value)


@pytest.mark.parametrize("kind", ["RSA-2048", "P-256"])
@pytest.mark.parametrize("form", ["DER", "PEM"])
def test_a_signature_with_its_content_in_it(
    *, command: Command, token: ScratchToken, openssl: Run, letter: Path, kind: str, form: str
) -> None:
    assert token.label
    trusted = certified(command, kind, letter.parent)
    command("sign", letter, "--attached", *(["--pem"] if form == "PEM" else []), **PIN)
    signature, there = letter.with_name("letter.txt.p7m"), letter.with_name("there.txt")
    options = ("-inform", form, "-in", signature, "-CAfile", trusted, "-out", there)
    openssl("cms", "-verify", "-cades", "-binary", *options)
    assert there.read_bytes() == letter.read_bytes()
    here = letter.with_name("here.txt")
    command("verify", signature, "--trust", trusted, "--out", here)
    assert here.read_bytes() == letter.read_bytes()
    command("verify", signature, "--trust", trusted, "--out", here, code=Exit.CONFLICT.value)
    refused = command("verify", letter, signature, "--trust", trusted, code=Exit.USAGE.value)
    assert "has its content in it" in refused.stderr

    content = signature.read_bytes()
    der = pem.unarmor(content)[2] if form == "PEM" else content
    signature.write_bytes(der.replace(b"Dear Bob", b"Dear Eve"))
    openssl("cms", "-verify", "-binary", "-inform", "DER", *options[2:], code=4)
    unread = letter.with_name("unread.txt")
    command("verify", signature, "--trust", trusted, "--out", unread, code=Exit.TAMPERED.value)
    assert not unread.exists()


MAKING = {
    "RSA": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "P-256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "P-521": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"),
}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("RSA", ("-cades",)),
        ("RSA", ("-cades", "-md", "sha512")),
        ("RSA", ("-keyopt", "rsa_padding_mode:pss")),
        ("RSA", ("-keyid",)),
        ("RSA", ("-noattr",)),
        ("P-256", ("-cades",)),
        ("P-256", ("-cades", "-md", "sha384")),
        ("P-521", ("-cades", "-md", "sha512")),
        ("P-256", ("-cades", "-nodetach")),
        ("P-256", ("-cades", "-nodetach", "-stream")),
    ],
)
def test_what_openssl_signs_holds_until_it_is_touched(
    *, command: Command, openssl: Run, letter: Path, kind: str, options: tuple[str, ...]
) -> None:
    key, trusted, signature = (letter.with_name(one) for one in ("key", "trusted", "s.p7s"))
    openssl("genpkey", *MAKING[kind], "-out", key)
    openssl("req", "-x509", "-new", "-key", key, "-subj", "/CN=Ann", "-out", trusted)
    openssl(
        "cms", "-sign", "-binary", "-in", letter, "-signer", trusted, "-inkey", key,
        "-outform", "DER", "-out", signature, *options,
    )  # fmt: skip
    place = [signature] if "-nodetach" in options else [letter, signature]
    told = command("verify", *place, "--trust", trusted, "--json").stdout
    (one,) = json.loads(told)["signatures"]
    assert one["form"] == ("CAdES-BES" if "-cades" in options else "CMS")
    damaged = bytearray(signature.read_bytes().replace(b"Dear Bob", b"Dear Eve"))
    code = Exit.TAMPERED
    if "-nodetach" not in options:
        damaged[-1] ^= 1
        code = Exit.BAD_SIGNATURE
    signature.write_bytes(damaged)
    command("verify", *place, "--trust", trusted, code=code.value)


def test_sha_1_proves_nothing(command: Command, openssl: Run, letter: Path) -> None:
    key, trusted, signature = (letter.with_name(one) for one in ("key", "trusted", "s.p7s"))
    openssl("genpkey", *MAKING["RSA"], "-out", key)
    openssl("req", "-x509", "-new", "-key", key, "-subj", "/CN=Ann", "-out", trusted)
    openssl(
        "cms", "-sign", "-binary", "-in", letter, "-signer", trusted, "-inkey", key,
        "-outform", "DER", "-out", signature, "-md", "sha1",
    )  # fmt: skip
    refused = command(
        "verify", letter, signature, "--trust", trusted, code=Exit.BAD_SIGNATURE.value
    )
    assert "Signatures with sha1 prove nothing any more." in refused.stderr


def test_two_sign_the_same_letter(
    command: Command, token: ScratchToken, openssl: Run, letter: Path
) -> None:
    assert token.label
    first = certified(command, "P-256", letter.parent)
    second = signers.holder("Bob").write(letter.with_name("bob.key"))
    command("sign", letter, **PIN)
    signature = letter.with_name("letter.txt.p7s")
    refused = command("sign", letter, **PIN, code=Exit.CONFLICT.value)
    assert f"--add {signature}" in refused.stderr
    by_file = ("--key-file", second, "--cert", second.with_suffix(".pem"))
    command("sign", letter, "--add", signature, *by_file)
    both = letter.with_name("both.pem")
    both.write_bytes(first.read_bytes() + second.with_suffix(".pem").read_bytes())
    judge(openssl, "P-256", signature, letter, both, code=0)
    told = command("verify", letter, "--trust", both, "--json").stdout
    assert {one["signer"] for one in json.loads(told)["signatures"]} == {"CN=P-256", "CN=Bob"}
    refused = command("verify", letter, "--trust", first, code=Exit.UNTRUSTED.value)
    assert "The root CN=Bob is not trusted." in refused.stderr

    letter.write_text("Dear Eve\n")
    before = signature.read_bytes()
    refused = command("sign", letter, "--add", signature, *by_file, code=Exit.TAMPERED.value)
    assert "is not what the signatures in" in refused.stderr
    assert signature.read_bytes() == before


def test_one_joins_a_signature_of_openssl_with_the_letter_in_it(
    command: Command, openssl: Run, letter: Path
) -> None:
    ann = signers.holder("Ann").write(letter.with_name("ann.key"))
    bob = signers.holder("Bob").write(letter.with_name("bob.key"))
    signature, joined = letter.with_name("letter.p7m"), letter.with_name("joined.p7m")
    openssl(
        "cms", "-sign", "-cades", "-binary", "-nodetach", "-stream", "-in", letter,
        "-signer", ann.with_suffix(".pem"), "-inkey", ann, "-outform", "PEM", "-out", signature,
    )  # fmt: skip
    by_bob = ("--key-file", bob, "--cert", bob.with_suffix(".pem"))
    command("sign", letter, "--add", signature, "--out", joined, *by_bob)
    both = letter.with_name("both.pem")
    both.write_bytes(b"".join(one.with_suffix(".pem").read_bytes() for one in (ann, bob)))
    openssl("cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", joined, "-CAfile", both)
    command("verify", joined, "--trust", both)


def test_a_certificate_put_in_place_of_the_signers(
    command: Command, openssl: Run, letter: Path
) -> None:
    """The same key, name and number, but another certificate: the attribute tells."""
    ann = signers.holder("Ann")
    ann.write(letter.with_name("ann.key"))
    options = ("--key-file", letter.with_name("ann.key"), "--cert", letter.with_name("ann.pem"))
    command("sign", letter, *options)
    own, new = encoded(ann.certificate), b""
    while len(new) != len(own):  # a signature by ECDSA has one of several lengths
        other = signers.holder(
            "Ann", key=ann.key.public_key(), number=ann.certificate.serial_number
        ).certificate
        new = encoded(other)
    signature, trusted = letter.with_name("letter.txt.p7s"), letter.with_name("ann.pem")
    command("verify", letter, "--trust", trusted)
    der = signature.read_bytes()
    assert own in der
    signature.write_bytes(der.replace(own, new))
    trusted.write_bytes(signers.pem(x509.load_der_x509_certificate(new)))
    refused = command("verify", letter, "--trust", trusted, code=Exit.CERTIFICATE_MISMATCH.value)
    assert "The signature was made for another certificate" in refused.stderr
    said = judge(openssl, "P-256", signature, letter, trusted, code=1)
    assert "CAdES Verification failure" in said


def test_attributes_that_were_signed_do_not_pass_for_a_content(
    command: Command, letter: Path
) -> None:
    """The signature of a letter is also one of the bytes of its attributes, whoever has it."""
    ann = signers.holder("Ann").write(letter.with_name("ann.key"))
    trusted = ann.with_suffix(".pem")
    command("sign", letter, "--key-file", ann, "--cert", trusted)
    signature = letter.with_name("letter.txt.p7s")
    whole = ContentInfo.load(signature.read_bytes())
    (info,) = whole["content"]["signer_infos"]
    forged = letter.with_name("forged.bin")
    forged.write_bytes(info["signed_attrs"].untag().dump())
    del info["signed_attrs"]
    signature.write_bytes(whole.dump(force=True))
    refused = command("verify", forged, signature, "--trust", trusted, code=Exit.MALFORMED.value)
    assert "A signature of such a content needs signed attributes." in refused.stderr


def encoded(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def test_a_large_file_is_signed_and_verified_without_being_held(
    home: Scratch, letter: Path
) -> None:
    """In an address space that has no room for the file."""
    assert home.path.is_dir()
    key = signers.holder("Ann").write(letter.with_name("ann.key"))
    large = letter.with_name("large.bin")
    with large.open("wb") as file:
        file.truncate(400 << 20)

    def run(*arguments: str | Path) -> None:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "host_tools.cli", *map(str, arguments)],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    run("sign", large, "--key-file", key, "--cert", key.with_suffix(".pem"))
    run("verify", large, "--trust", key.with_suffix(".pem"))


@pytest.mark.parametrize("form", ["opaque", "clear", "base64", "base64 in one line"])
def test_a_signature_in_another_wrapping_is_read(
    command: Command, openssl: Run, letter: Path, form: str
) -> None:
    """As mail has it, which is what OpenSSL writes by itself, and as services give it."""
    key = signers.holder("Ann").write(letter.with_name("ann.key"))
    trusted, out = key.with_suffix(".pem"), letter.with_name("wrapped")
    made = ("cms", "-sign", "-binary", "-in", letter, "-signer", trusted, "-inkey", key)
    if form.startswith("base64"):
        openssl(*made, "-outform", "DER", "-out", out)
        armour = b64encode if form.endswith("line") else encodebytes
        out.write_bytes(armour(out.read_bytes()))
    else:
        openssl(*made, *(["-nodetach"] if form == "opaque" else []), "-out", out)
        assert out.read_bytes().startswith(b"MIME-Version: 1.0")
    files = (out,) if form == "opaque" else (letter, out)
    command("verify", *files, "--trust", trusted)
    letter.write_text("Dear Eve\n")
    if form != "opaque":
        command("verify", *files, "--trust", trusted, code=Exit.TAMPERED.value)


def test_a_message_without_a_signature_says_so(command: Command, letter: Path) -> None:
    letter.write_text("Content-Type: text/plain\n\nDear Bob\n")
    refused = command("verify", letter, code=Exit.MALFORMED.value)
    assert "This is a message (MIME), and there is no CMS signature in it." in refused.stderr
