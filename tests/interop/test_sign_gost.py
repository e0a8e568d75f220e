"""GOST signatures of files beside ``openssl cms`` with the gost engine: every parameter set."""

import json
from pathlib import Path

import pytest

from host_tools.cli.failures import Exit
from host_tools.testing import Command, Run, Scratch, ScratchToken
from tests.interop.test_sign_openssl import PIN, certified
from tests.interop.test_sign_pdf import document

SETS = {
    **{f"256-{name}": ("gost2012_256", name) for name in ("A", "B", "C", "XA", "XB")},
    **{f"256-{name}": ("gost2012_256", name) for name in ("TCA", "TCB", "TCC", "TCD")},
    **{f"512-{name}": ("gost2012_512", name) for name in ("A", "B", "C")},
}
ENGINE = ("-engine", "gost")


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    file = tmp_path / "letter.txt"
    file.write_text("Уважаемый Иван Иванович!\n")
    return file


def signer(openssl: Run, folder: Path, parameter_set: str, name: str = "ann") -> tuple[Path, Path]:
    """A key and its own certificate, by OpenSSL."""
    kind, short = SETS[parameter_set]
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    openssl("genpkey", *ENGINE, "-algorithm", kind, "-pkeyopt", f"paramset:{short}", "-out", key)
    openssl(
        "req", "-x509", *ENGINE, "-new", "-key", key, "-utf8", "-subj", f"/CN={name}",
        "-out", certificate,
    )  # fmt: skip
    return key, certificate


@pytest.mark.parametrize("parameter_set", SETS)
def test_both_verify_what_the_other_signs_and_refuse_what_was_touched(
    command: Command, openssl: Run, letter: Path, parameter_set: str
) -> None:
    key, certificate = signer(openssl, letter.parent, parameter_set)
    ours, theirs = letter.with_name("letter.txt.p7s"), letter.with_name("theirs.p7s")
    judge = (
        "cms", "-verify", *ENGINE, "-cades", "-binary", "-inform", "DER", "-content", letter,
        "-CAfile", certificate,
    )  # fmt: skip
    command("sign", letter, "--key-file", key, "--cert", certificate)
    said = openssl(*judge, "-in", ours).stderr
    assert "CAdES Verification successful" in said
    openssl(
        "cms", "-sign", *ENGINE, "-cades", "-binary", "-in", letter, "-signer", certificate,
        "-inkey", key, "-outform", "DER", "-out", theirs,
    )  # fmt: skip
    for signature in (ours, theirs):
        told = command("verify", letter, signature, "--trust", certificate, "--json").stdout
        (one,) = json.loads(told)["signatures"]
        assert one["algorithm"] == f"streebog{parameter_set[:3]}_gostr3410"
        assert one["form"] == "CAdES-BES"
    before = letter.read_text()
    letter.write_text("Уважаемая Анна Ивановна!\n")
    for signature in (ours, theirs):
        openssl(*judge, "-in", signature, code=4)
        command("verify", letter, signature, "--trust", certificate, code=Exit.TAMPERED.value)
    letter.write_text(before)
    for signature in (ours, theirs):
        damaged = bytearray(signature.read_bytes())
        damaged[-1] ^= 1
        signature.write_bytes(damaged)
        openssl(*judge, "-in", signature, code=4)
        command("verify", letter, signature, "--trust", certificate, code=Exit.BAD_SIGNATURE.value)


@pytest.mark.parametrize("kind", ["CryptoPro-A", "tc26-256-A", "tc26-512-B"])
def test_a_gost_key_of_the_token_signs(
    *, command: Command, token: ScratchToken, openssl: Run, letter: Path, kind: str
) -> None:
    assert token.label
    certificate = certified(command, kind, letter.parent)
    command("sign", letter, **PIN)
    command("verify", letter, "--trust", certificate)
    judge = (
        "cms", "-verify", *ENGINE, "-cades", "-binary", "-inform", "DER", "-content", letter,
        "-in", letter.with_name("letter.txt.p7s"), "-CAfile", certificate,
    )  # fmt: skip
    openssl(*judge)
    letter.write_text("Уважаемая Анна Ивановна!\n")
    openssl(*judge, code=4)
    command("verify", letter, "--trust", certificate, code=Exit.TAMPERED.value)


def test_a_gost_and_an_rsa_key_sign_the_same_letter(
    command: Command, openssl: Run, letter: Path
) -> None:
    key, certificate = signer(openssl, letter.parent, "512-A")
    other, theirs = letter.with_name("rsa.key"), letter.with_name("rsa.pem")
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", other)
    openssl("req", "-x509", "-new", "-key", other, "-subj", "/CN=Bob", "-out", theirs)
    signature = letter.with_name("letter.txt.p7m")
    command("sign", letter, "--attached", "--key-file", key, "--cert", certificate)
    command("sign", letter, "--add", signature, "--key-file", other, "--cert", theirs)
    both = letter.with_name("both.pem")
    both.write_bytes(certificate.read_bytes() + theirs.read_bytes())
    openssl(
        "cms", "-verify", *ENGINE, "-cades", "-binary", "-inform", "DER", "-in", signature,
        "-CAfile", both, "-out", letter.with_name("there.txt"),
    )  # fmt: skip
    told = command("verify", signature, "--trust", both, "--json").stdout
    found = {one["signer"]: one["algorithm"] for one in json.loads(told)["signatures"]}
    assert found == {"CN=ann": "streebog512_gostr3410", "CN=Bob": "sha256_rsa"}


def test_a_gost_authority_of_the_home_is_trusted_until_it_revokes(
    command: Command, home: Scratch, openssl: Run, letter: Path
) -> None:
    """From the authority to the signature: all by klyuch, with OpenSSL as the judge."""
    folder = letter.parent
    secret = {"KLYUCH_PASSPHRASE": "barley and rye"}
    root, key, asked = folder / "root.pem", folder / "ann.key", folder / "ann.csr"
    command(
        "cert", "ca", "create", "УЦ", "--subject", "CN=УЦ,C=RU", "--type", "CryptoPro-A",
        "--out", root, **secret,
    )  # fmt: skip
    openssl("genpkey", *ENGINE, "-algorithm", "gost2012_256", "-pkeyopt", "paramset:A", "-out", key)
    openssl("req", *ENGINE, "-new", "-key", key, "-utf8", "-subj", "/C=RU/CN=Анна", "-out", asked)
    certificate = folder / "ann.pem"
    command(
        "cert", "ca", "issue", "УЦ", asked, "--profile", "signing", "--out", certificate, **secret
    )
    command("sign", letter, "--key-file", key, "--cert", certificate, "--cert", root)
    command("verify", letter)
    openssl(
        "cms", "-verify", *ENGINE, "-cades", "-binary", "-inform", "DER",
        "-in", letter.with_name("letter.txt.p7s"), "-content", letter, "-CAfile", root,
    )  # fmt: skip
    crl = folder / "one.crl"
    command("cert", "ca", "crl", "УЦ", "--out", crl, **secret)
    command("verify", letter, "--crl", crl, "--require-revocation")
    issued = json.loads(command("cert", "ca", "show", "УЦ", "--json").stdout)["issued"]
    command("cert", "ca", "revoke", "УЦ", issued[0]["serial"], "--reason", "superseded")
    command("cert", "ca", "crl", "УЦ", "--out", crl, "--force", **secret)
    refused = command("verify", letter, "--crl", crl, code=Exit.REVOKED.value)
    assert "was revoked on" in refused.stderr
    assert "(superseded), says CRL." in refused.stderr
    damaged = home.path / "ca" / "Damaged"
    damaged.mkdir()
    told = command("verify", letter)
    assert "The files of the CA Damaged are damaged. It is passed over." in told.stderr


def test_openssl_verifies_a_gost_signature_out_of_a_document(
    command: Command, openssl: Run, tmp_path: Path
) -> None:
    """Poppler knows no GOST: the signature and the bytes it covers are taken out here."""
    key, certificate = signer(openssl, tmp_path, "256-A")
    paper, signed = tmp_path / "paper.pdf", tmp_path / "paper.signed.pdf"
    paper.write_bytes(document())
    command("sign", paper, "--pdf", "--key-file", key, "--cert", certificate)
    told = command("verify", signed, "--pdf", "--trust", certificate, "--json").stdout
    (one,) = json.loads(told)["signatures"]
    assert (one["algorithm"], one["form"]) == ("streebog256_gostr3410", "CAdES-BES")
    whole = signed.read_bytes()
    start = whole.index(b"/Contents <") + len(b"/Contents ")
    end = whole.index(b">", start) + 1
    covered, signature = tmp_path / "covered", tmp_path / "taken.p7s"
    covered.write_bytes(whole[:start] + whole[end:])
    signature.write_bytes(bytes.fromhex(whole[start + 1 : end - 1].decode()))
    openssl(
        "cms", "-verify", *ENGINE, "-cades", "-binary", "-inform", "DER", "-in", signature,
        "-content", covered, "-CAfile", certificate, "-out", tmp_path / "out",
    )  # fmt: skip
    signed.write_bytes(whole.replace(b"100 roubles", b"900 roubles"))
    command("verify", signed, "--pdf", "--trust", certificate, code=Exit.TAMPERED.value)
