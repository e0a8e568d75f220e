"""Which key ``klyuch sign`` takes, what it refuses, and that it loses nothing."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from host_tools.cli.failures import Exit
from host_tools.testing import Command, ScratchToken
from tests.interop import signers
from tests.interop.signers import DAY, NOW, Holder
from tests.interop.test_sign_openssl import PIN, certified


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    file = tmp_path / "letter.txt"
    file.write_text("Dear Bob\n")
    return file


def test_the_only_certified_key_signs_and_of_several_one_is_named(
    command: Command, token: ScratchToken, letter: Path
) -> None:
    assert token.label
    command("key", "generate", "P-256", "--label", "bare", **PIN)
    refused = command("sign", letter, code=Exit.NOT_FOUND.value, **PIN)
    assert "There is no key with a certificate on the token." in refused.stderr
    refused = command("sign", letter, "--key", "bare", code=Exit.GENERAL.value, **PIN)
    assert "There is no certificate for the key that is to sign." in refused.stderr
    certified(command, "P-384", letter.parent)
    assert "Signed by CN=P-384" in command("sign", letter, **PIN).stdout
    certified(command, "Ed25519", letter.parent)
    out = letter.with_name("second.p7s")
    refused = command("sign", letter, "--out", out, code=Exit.CONFLICT.value, **PIN)
    assert "Several keys can sign: P-384, Ed25519." in refused.stderr
    told = command("sign", letter, "--out", out, "--key", "Ed25519", **PIN).stdout
    assert "Signed by CN=Ed25519" in told


def test_a_key_that_wants_the_pin_at_every_use_signs(
    command: Command, token: ScratchToken, letter: Path
) -> None:
    assert token.label
    command("key", "generate", "P-256", "--label", "careful", "--always-authenticate", **PIN)
    command("cert", "request", "careful", "--subject", "CN=Ann", "--self-signed", **PIN)
    command("cert", "export", "careful", "--out", letter.with_name("ann.pem"))
    command("sign", letter, **PIN)
    command("verify", letter, "--trust", letter.with_name("ann.pem"))


def test_a_wrong_pin_signs_nothing(command: Command, token: ScratchToken, letter: Path) -> None:
    assert token.label
    certified(command, "P-256", letter.parent)
    command("sign", letter, code=Exit.PIN_WRONG.value, KLYUCH_PIN="000000")
    assert not letter.with_name("letter.txt.p7s").exists()


def test_a_key_file_opens_with_its_passphrase(command: Command, letter: Path) -> None:
    ann = signers.holder("Ann")
    key = ann.write(letter.with_name("ann.key"))
    encryption = BestAvailableEncryption(b"barley and rye")
    key.write_bytes(ann.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    options = ("--key-file", key, "--cert", key.with_suffix(".pem"))
    refused = command("sign", letter, *options, code=Exit.USAGE.value)
    assert "KLYUCH_PASSPHRASE" in refused.stderr
    command("sign", letter, *options, KLYUCH_PASSPHRASE="wheat", code=Exit.PIN_WRONG.value)
    secret = letter.with_name("secret")
    secret.write_text("barley and rye\n")
    command("sign", letter, *options, "--passphrase-file", secret)
    command("verify", letter, "--trust", key.with_suffix(".pem"))


def test_the_certificate_of_another_is_not_taken(command: Command, letter: Path) -> None:
    ann = signers.holder("Ann").write(letter.with_name("ann.key"))
    bob = signers.holder("Bob").write(letter.with_name("bob.key"))
    refused = command(
        "sign", letter, "--key-file", ann, "--cert", bob.with_suffix(".pem"),
        code=Exit.GENERAL.value,
    )  # fmt: skip
    assert "There is no certificate for the key that is to sign." in refused.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--key", "mail", "--key-file", "letter.txt"),
        ("--pdf", "--attached"),
        ("--pdf", "--add", "letter.txt"),
        ("--add", "letter.txt", "--attached"),
        ("--cert", "letter.txt", "--key-file", "letter.txt"),
    ],
    ids=" ".join,
)
def test_what_does_not_go_together_is_refused(
    command: Command, letter: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.chdir(letter.parent)
    command("sign", "letter.txt", *options, code=Exit.USAGE.value)
    assert [one.name for one in letter.parent.iterdir()] == ["letter.txt"]


def test_a_signature_does_not_take_the_place_of_its_document(
    command: Command, letter: Path
) -> None:
    ann = signers.holder("Ann")
    key = ann.write(letter.with_name("ann.key"))
    content = letter.read_bytes()
    options = ("--key-file", key, "--cert", key.with_suffix(".pem"), "--out", letter, "--force")
    for more in ((), ("--attached",)):
        refused = command("sign", letter, *options, *more, code=Exit.USAGE.value)
        assert "names the document itself" in refused.stderr
    assert letter.read_bytes() == content


def test_a_folder_that_cannot_be_written_is_told(command: Command, letter: Path) -> None:
    key = signers.holder("Ann").write(letter.with_name("ann.key"))
    options = ("--key-file", key, "--cert", key.with_suffix(".pem"))
    out = letter.with_name("missing") / "letter.p7s"
    refused = command("sign", letter, *options, "--out", out, code=Exit.USAGE.value)
    assert str(out) in refused.stderr


def test_a_detached_signature_finds_its_file_by_name_or_asks_for_it(
    command: Command, letter: Path
) -> None:
    key = signers.holder("Ann").write(letter.with_name("ann.key"))
    trusted = key.with_suffix(".pem")
    out = letter.with_name("else.p7s")
    command("sign", letter, "--key-file", key, "--cert", trusted, "--out", out)
    refused = command("verify", out, "--trust", trusted, code=Exit.USAGE.value)
    assert f"klyuch verify FILE {out}" in refused.stderr
    command("verify", letter, out, "--trust", trusted)
    refused = command("verify", letter, "--trust", trusted, code=Exit.MALFORMED.value)
    assert "no CMS signature" in refused.stderr
    out.rename(letter.with_name("letter.txt.sig"))
    command("verify", letter, "--trust", trusted)


def test_where_a_signature_was_looked_for_is_told(command: Command, letter: Path) -> None:
    refused = command("verify", letter, code=Exit.MALFORMED.value)
    for name in ("letter.txt.p7s", "letter.txt.sig", "letter.txt.sgn"):
        assert name in refused.stderr
    assert f"klyuch verify {letter} SIGNATURE" in refused.stderr
    paper = letter.with_suffix(".pdf")
    paper.write_bytes(b"\n%PDF-1.7\n")
    refused = command("verify", paper, code=Exit.MALFORMED.value)
    assert f"klyuch verify {paper} --pdf" in refused.stderr
    # What is named as a signature, or by the user, is that.
    damaged = letter.with_name("damaged.p7m")
    damaged.write_bytes(b"junk")
    for given in ((damaged,), (letter, damaged)):
        refused = command("verify", *given, code=Exit.MALFORMED.value)
        assert "beside it" not in refused.stderr
        assert "This is no CMS signature, or it is damaged." in refused.stderr


def test_a_file_that_is_cms_and_no_signature_is_told_apart(command: Command, letter: Path) -> None:
    from asn1crypto.cms import ContentInfo

    letter.write_bytes(ContentInfo({"content_type": "data", "content": b"Dear Bob"}).dump())
    refused = command("verify", letter, code=Exit.MALFORMED.value)
    assert "This is CMS, but no signature." in refused.stderr


def again(holder: Holder, **how: Any) -> bytes:
    """Another certificate (PEM) for the key of somebody."""
    made = signers.holder("Other", holder, key=holder.key.public_key(), **how)
    return signers.pem(made.certificate)


USELESS: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"start": NOW - 9 * DAY, "end": NOW - DAY}, "expired on"),
    "not valid yet": ({"start": NOW + DAY, "end": NOW + 90 * DAY}, "is valid only from"),
    "for servers": ({"end": NOW + 90 * DAY, "purpose": signers.SERVER_PURPOSE}, "for server_auth"),
    "for encryption": ({"end": NOW + 90 * DAY, "usages": ("key_encipherment",)}, "for signatures"),
}


@pytest.mark.parametrize("kind", USELESS)
def test_a_certificate_that_no_verifier_takes_is_taken_on_purpose_only(
    command: Command, letter: Path, kind: str
) -> None:
    ann = signers.holder("Ann")
    key = ann.write(letter.with_name("ann.key"))
    how, said = USELESS[kind]
    bad = letter.with_name("bad.pem")
    bad.write_bytes(again(ann, **how))
    given = ("--cert", bad, "--key-file", key)
    refused = command("sign", letter, *given, code=Exit.GENERAL.value).stderr
    assert "No verifier would take the signature." in refused
    assert said in refused
    assert "--any-certificate" in refused
    good = key.with_suffix(".pem")
    assert "Signed by CN=Ann:" in command("sign", letter, *given, "--cert", good).stdout
    command("verify", letter, "--trust", good)
    out = ("--out", letter.with_name("bad.p7s"), "--any-certificate")
    refused = command("sign", letter, *given, "--cert", good, *out, code=1).stderr
    assert "has 2 certificates" in refused
    assert "Signed by CN=Other:" in command("sign", letter, *given, *out).stdout


def test_of_several_good_certificates_that_valid_longest_signs(
    command: Command, letter: Path
) -> None:
    ann = signers.holder("Ann")
    key = ann.write(letter.with_name("ann.key"))
    long = letter.with_name("long.pem")
    long.write_bytes(again(ann, end=NOW + 90 * DAY) + signers.pem(ann.certificate))
    assert "CN=Other" in command("sign", letter, "--key-file", key, "--cert", long).stdout


def test_a_key_that_is_too_short_signs_on_purpose_only(command: Command, letter: Path) -> None:
    short = generate_private_key(65537, 1024)
    key, certificate = letter.with_name("short.key"), letter.with_name("short.pem")
    key.write_bytes(short.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    made = signers.holder("Ann", signers.authority("Root"), key=short.public_key())
    certificate.write_bytes(signers.pem(made.certificate))
    given = ("sign", letter, "--key-file", key, "--cert", certificate)
    refused = command(*given, code=Exit.GENERAL.value)
    assert "Signatures by a key as short as RSA-1024 prove nothing any more." in refused.stderr
    command(*given, "--any-certificate")
    refused = command("verify", letter, "--trust", certificate, code=Exit.BAD_SIGNATURE.value)
    assert "as short as RSA-1024" in refused.stderr
