"""OpenSC's pkcs11-tool uses the token; OpenSSL judges what it signed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from asn1crypto.algos import DSASignature

from host_tools import objects
from host_tools.cryptoki import Cryptoki, Template
from host_tools.testing import Run, Scratch, ScratchToken
from pkcs11_module import _constants as ck

MESSAGE = b"pkcs11-tool was here\n"
Tool = Callable[..., str]


@pytest.fixture
def user(pkcs11_tool: Run, token: ScratchToken) -> Tool:
    """pkcs11-tool, logged in as the user."""

    def run(*arguments: str | Path, code: int = 0) -> str:
        login = ("--login", "--pin", token.pin, "--token-label", token.label)
        return pkcs11_tool(*login, *map(str, arguments), code=code).stdout

    return run


@pytest.fixture
def message(tmp_path: Path) -> Path:
    path = tmp_path / "message.bin"
    path.write_bytes(MESSAGE)
    return path


def _public_key(token: ScratchToken, ident: str, folder: Path) -> Path:
    """The public key in DER, by the attributes the token shows.

    `--read-object` of OpenSC 0.23 makes no file of an EC key with OpenSSL 3 (OpenSC issue 3200).
    """
    path = folder / f"{ident}.pub"
    with Cryptoki() as library, library.open_session(token.slot) as session:
        wanted: Template = {ck.CKA_CLASS: ck.CKO_PUBLIC_KEY, ck.CKA_ID: bytes.fromhex(ident)}
        (handle,) = session.find(wanted)
        path.write_bytes(objects.public_key(session, handle).to_spki())
    return path


def test_info_slots_tokens_mechanisms_objects(
    pkcs11_tool: Run, klyuch: Run, home: Scratch, token: ScratchToken
) -> None:
    klyuch("token", "create", "--blank")
    library = klyuch("module").stdout.strip()
    assert library == str(home.library)
    assert "Cryptoki version 3.2" in pkcs11_tool("-I").stdout
    slots = pkcs11_tool("-L").stdout
    assert re.search(r"token label +: Work", slots)
    assert "uninitialized" in slots
    assert "token initialized" in pkcs11_tool("-T").stdout
    mechanisms = pkcs11_tool("-M").stdout
    for name in ("RSA-PKCS", "SHA256-RSA-PKCS", "RSA-PKCS-PSS", "ECDSA", "EDDSA"):
        assert re.search(rf"^  {name},", mechanisms, re.MULTILINE), mechanisms
    assert pkcs11_tool("-O").stdout == ""


def test_init_token_init_pin_change_pin(pkcs11_tool: Run, home: Scratch) -> None:
    with home.control() as control:
        control.call("token.create", blank=True)
    pkcs11_tool("--init-token", "--label", "Mine", "--so-pin", "87654321", "--slot-index", "0")
    so = ("--login", "--login-type", "so", "--so-pin", "87654321")
    pkcs11_tool(*so, "--init-pin", "--new-pin", "1234567")
    pkcs11_tool("--login", "--pin", "1234567", "--change-pin", "--new-pin", "7654321")
    assert "CKR_PIN_INCORRECT" in pkcs11_tool("--login", "--pin", "1234567", "-O", code=1).stderr
    pkcs11_tool("--login", "--pin", "7654321", "-O")
    pkcs11_tool("--init-token", "--label", "Again", "--so-pin", "87654321", "--slot-index", "0")
    assert re.search(r"token label +: Again", pkcs11_tool("-L").stdout)
    assert (
        "CKR_PIN_INCORRECT"
        in pkcs11_tool(
            "--init-token", "--label", "No", "--so-pin", "11111111", "--slot-index", "0", code=1
        ).stderr
    )


RSA_SIGNATURES = [
    # mechanism of pkcs11-tool, further options, what is signed, how OpenSSL verifies it
    ("RSA-PKCS", [], "message", ["pkeyutl", "-verify"]),
    ("SHA256-RSA-PKCS", [], "message", ["dgst", "-sha256"]),
    (
        "RSA-PKCS-PSS",
        ["--hash-algorithm", "SHA256", "--mgf", "MGF1-SHA256"],
        "digest",
        ["dgst", "-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"],
    ),
    (
        "SHA256-RSA-PKCS-PSS",
        [],
        "message",
        ["dgst", "-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"],
    ),
]


def test_rsa_keys_sign_and_decrypt(
    *,
    user: Tool,
    pkcs11_tool: Run,
    openssl: Run,
    message: Path,
    token: ScratchToken,
    tmp_path: Path,
) -> None:
    user("--keypairgen", "--key-type", "rsa:2048", "--id", "01", "--label", "rsa")
    der = tmp_path / "rsa.der"
    pkcs11_tool("--read-object", "--type", "pubkey", "--id", "01", "-o", str(der))
    public = _public_key(token, "01", tmp_path)
    assert openssl("rsa", "-pubin", "-inform", "DER", "-in", der).stdout == (
        openssl("rsa", "-pubin", "-inform", "DER", "-in", public).stdout
    )
    inkey = ("-pubin", "-keyform", "DER", "-inkey", public)
    digest, signature = tmp_path / "digest.bin", tmp_path / "signature.bin"
    openssl("dgst", "-sha256", "-binary", "-out", digest, message)
    for mechanism, options, source, verify in RSA_SIGNATURES:
        data = {"message": message, "digest": digest}[source]
        user("--sign", "-m", mechanism, *options, "--id", "01", "-i", data, "-o", signature)
        if verify[0] == "dgst":
            openssl(*verify, "-keyform", "DER", "-verify", public, "-signature", signature, message)
        else:
            openssl(*verify, *inkey, "-sigfile", signature, "-in", data)
    secret, back = tmp_path / "secret.bin", tmp_path / "back.txt"
    for mechanism, padding in (("RSA-PKCS", "pkcs1"), ("RSA-PKCS-OAEP", "oaep")):
        openssl(
            *("pkeyutl", "-encrypt", *inkey, "-in", message, "-out", secret),
            *("-pkeyopt", f"rsa_padding_mode:{padding}"),
            *(("-pkeyopt", "rsa_oaep_md:sha256") if padding == "oaep" else ()),
        )
        oaep = ("--hash-algorithm", "SHA256", "--mgf", "MGF1-SHA256") if padding == "oaep" else ()
        user("--decrypt", "-m", mechanism, *oaep, "--id", "01", "-i", secret, "-o", back)
        assert back.read_bytes() == MESSAGE


@pytest.mark.parametrize(
    ("curve", "digest"), [("EC:prime256v1", "-sha256"), ("EC:secp384r1", "-sha384")]
)
def test_ec_keys_sign(
    *,
    user: Tool,
    openssl: Run,
    message: Path,
    token: ScratchToken,
    tmp_path: Path,
    curve: str,
    digest: str,
) -> None:
    user("--keypairgen", "--key-type", curve, "--id", "02", "--label", "ec")
    public = _public_key(token, "02", tmp_path)
    hashed, signature = tmp_path / "digest.bin", tmp_path / "signature.bin"
    openssl("dgst", digest, "-binary", "-out", hashed, message)
    verify = ("-keyform", "DER", "-verify", public)
    common = ("--sign", "-m", "ECDSA", "--id", "02", "-i", hashed, "-o", signature)
    user(*common, "--signature-format", "openssl")
    openssl("dgst", digest, *verify, "-signature", signature, message)
    user(*common)
    signature.write_bytes(DSASignature.from_p1363(signature.read_bytes()).dump())
    openssl("dgst", digest, *verify, "-signature", signature, message)


def test_edwards_key_signs(
    user: Tool, token: ScratchToken, openssl: Run, message: Path, tmp_path: Path
) -> None:
    user("--keypairgen", "--key-type", "EC:edwards25519", "--id", "03", "--label", "ed")
    signature = tmp_path / "signature.bin"
    user("--sign", "-m", "EDDSA", "--id", "03", "-i", message, "-o", signature)
    public = ("-pubin", "-keyform", "DER", "-inkey", _public_key(token, "03", tmp_path))
    openssl("pkeyutl", "-verify", "-rawin", *public, "-sigfile", signature, "-in", message)


def test_objects_are_written_read_and_deleted(
    user: Tool, pkcs11_tool: Run, openssl: Run, message: Path, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.der", tmp_path / "cert.der"
    openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Imported", "-days", "9"),
        *("-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"),
    )
    openssl("x509", "-in", tmp_path / "cert.pem", "-outform", "DER", "-out", certificate)
    openssl("rsa", "-in", tmp_path / "key.pem", "-outform", "DER", "-out", key)
    named = ("--id", "0a", "--label", "imported")
    user("--write-object", certificate, "--type", "cert", *named)
    user("--write-object", key, "--type", "privkey", "--usage-sign", *named)
    user("--write-object", message, "--type", "data", "--label", "note", "--application-label", "x")
    shown = user("-O")
    for kind in ("Certificate Object", "Private Key Object", "Data object"):
        assert kind in shown

    back = tmp_path / "back"
    pkcs11_tool("--read-object", "--type", "cert", "--id", "0a", "-o", str(back))
    assert back.read_bytes() == certificate.read_bytes()
    user("--read-object", "--type", "data", "--label", "note", "-o", back)
    assert back.read_bytes() == MESSAGE

    signature = tmp_path / "signature.bin"
    user("--sign", "-m", "SHA256-RSA-PKCS", "--id", "0a", "-i", message, "-o", signature)
    public = tmp_path / "cert.pub"
    public.write_text(openssl("x509", "-in", tmp_path / "cert.pem", "-noout", "-pubkey").stdout)
    openssl("dgst", "-sha256", "-verify", public, "-signature", signature, message)

    user("--delete-object", "--type", "cert", "--id", "0a")
    user("--delete-object", "--type", "privkey", "--id", "0a")
    user("--delete-object", "--type", "data", "--label", "note")
    assert user("-O") == ""


def test_pin_tries_fall_to_locked_and_the_so_unblocks(
    pkcs11_tool: Run, token: ScratchToken
) -> None:
    def flags() -> str:
        line = re.search(r"token flags +: (.*)", pkcs11_tool("-L").stdout)
        assert line is not None
        return line.group(1)

    def log_in(pin: str) -> str:
        return pkcs11_tool("--login", "--pin", pin, "-O", code=1).stderr

    assert "PIN" not in flags().replace("PIN initialized", "")
    assert "CKR_PIN_INCORRECT" in log_in("000000")
    assert "user PIN count low" in flags()
    assert "CKR_PIN_INCORRECT" in log_in("000000")
    assert "final user PIN try" in flags()
    assert "CKR_PIN_LOCKED" in log_in("000000")
    assert "user PIN locked" in flags()
    assert "CKR_PIN_LOCKED" in log_in(token.pin)

    so = ("--login", "--login-type", "so", "--so-pin", token.so_pin)
    pkcs11_tool(*so, "--init-pin", "--new-pin", "271828")
    assert "PIN" not in flags().replace("PIN initialized", "")
    pkcs11_tool("--login", "--pin", "271828", "-O")
