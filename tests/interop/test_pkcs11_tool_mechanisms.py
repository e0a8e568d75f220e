"""Every mechanism that pkcs11-tool can drive gives what OpenSSL expects of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from host_tools import objects
from host_tools.cryptoki import Cryptoki, Template
from host_tools.testing import Run
from pkcs11_module import _constants as ck
from tests.interop.consumers import Owner

HASHES: Final[Mapping[str, str]] = {
    # in the names of mechanisms: at OpenSSL
    "SHA1": "sha1",
    "SHA224": "sha224",
    "SHA256": "sha256",
    "SHA384": "sha384",
    "SHA512": "sha512",
    "SHA3-224": "sha3-224",
    "SHA3-256": "sha3-256",
    "SHA3-384": "sha3-384",
    "SHA3-512": "sha3-512",
}
MESSAGE: Final = bytes(range(64))
IV: Final = "000102030405060708090a0b0c0d0e0f"
PSS: Final = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest")
KWP: Final = "mechtype-0x210B"

RSA, EC, EDWARDS, AES, GENERIC, DES3 = "11", "12", "13", "14", "15", "16"
PAIRS: Final = {RSA: "rsa:2048", EC: "EC:prime256v1", EDWARDS: "EC:edwards25519"}
SECRETS: Final = {AES: "AES:16", GENERIC: "GENERIC:32", DES3: "DES3:24"}

RSA_HASHED: Final = {f"{name}-RSA-PKCS": (dgst, ()) for name, dgst in HASHES.items()} | {
    f"{name}-RSA-PKCS-PSS": (dgst, PSS) for name, dgst in HASHES.items()
}
ECDSA_HASHED: Final = {f"ECDSA-{name}": (dgst, ()) for name, dgst in HASHES.items()}
DIGESTS: Final = {name.replace("SHA1", "SHA-1"): dgst for name, dgst in HASHES.items()}
HMACS: Final = {f"{name}-HMAC": dgst for name, dgst in DIGESTS.items()}
CIPHERS: Final = {"AES-ECB": "aes-128-ecb", "AES-CBC": "aes-128-cbc", "AES-CBC-PAD": "aes-128-cbc"}
WRAPPINGS: Final = {
    # mechanism: key, cipher of OpenSSL, its initialisation vector
    "AES-ECB": (AES, "aes-128-ecb", ""),
    "AES-CBC": (AES, "aes-128-cbc", IV),
    "AES-CBC-PAD": (AES, "aes-128-cbc", IV),
    "AES-KEY-WRAP": (AES, "id-aes128-wrap", "A6A6A6A6A6A6A6A6"),
    KWP: (AES, "id-aes128-wrap-pad", "A65959A6"),
    "DES3-ECB": (DES3, "des-ede3", ""),
}
AGREEMENTS: Final = ("ECDH1-DERIVE", "ECDH1-COFACTOR-DERIVE")

DRIVEN: Final[Mapping[str, set[str]]] = {
    "sign": {"RSA-PKCS", "RSA-X-509", "RSA-PKCS-PSS", "ECDSA", "EDDSA"}
    | RSA_HASHED.keys()
    | ECDSA_HASHED.keys()
    | HMACS.keys(),
    "decrypt": {"RSA-PKCS", "RSA-X-509", "RSA-PKCS-OAEP", *CIPHERS},
    "digest": set(DIGESTS),
    "wrap": set(WRAPPINGS),
    "derive": set(AGREEMENTS),
}
_GOST: Final = "GOSTR34.*|mechtype-0xD4321.*"
_OF_SECRET_KEYS: Final = r"(AES|DES3)-CMAC|mechtype-0x(108B|137)"
NOT_DRIVEN: Final[Mapping[str, Mapping[str, str]]] = {
    "sign": {
        _OF_SECRET_KEYS: "of secret keys, it takes those for HMAC only",
        r"SHA-1-HMAC-GENERAL|mechtype-0x2[567BCD][27]": "it gives no parameter (a length)",
        "mechtype-0x1D": "it knows no keys of ML-DSA",
        _GOST: "test_gost_pkcs11_tool.py, test_gost_pykcs11.py",
    },
    "decrypt": {
        "AES-(CTR|GCM)": "it gives no such parameter",
        f"AES-KEY-WRAP|mechtype-0x210[AB]|DES3-.*|{_GOST}": "it knows three ciphers only",
    },
    "digest": {_GOST: "test_gost_pkcs11_tool.py"},
    "wrap": {
        "RSA-PKCS|RSA-X-509": "only the token can undo it: test_secret_keys.py",
        "RSA-PKCS-OAEP|AES-(CTR|GCM)|DES3-CBC(-PAD)?": "it gives no such parameter",
        _GOST: "it gives no such parameter, or knows no such keys",
        "mechtype-0x210A": "OpenSSL does not know it: CKM_AES_KEY_WRAP_PAD of PKCS#11 2.40",
    },
    "derive": {r"(?!ECDH1-).*": "it derives by agreement only"},
}
Tool = Callable[..., str]


@pytest.fixture
def tool(owner: Owner, pkcs11_tool: Run) -> Tool:
    """pkcs11-tool, logged in; a name of its own making goes in as the number it is."""

    def run(*arguments: str | Path, code: int = 0) -> str:
        plain = [str(one).removeprefix("mechtype-") for one in arguments]
        done = pkcs11_tool("--login", "--pin", owner.token.pin, *plain, code=code)
        return done.stdout + done.stderr

    return run


class Files:
    """The files of a test, by name; `message` is there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.write("message", MESSAGE)

    def __getitem__(self, name: str) -> Path:
        return self._folder / name

    def write(self, name: str, content: bytes) -> Path:
        self[name].write_bytes(content)
        return self[name]


@pytest.fixture
def files(owner: Owner) -> Files:
    return Files(owner.folder)


def make_pair(tool: Tool, owner: Owner, files: Files, ident: str, *usage: str) -> Path:
    """A key pair on the token; the public key in a file."""
    tool("--keypairgen", "--key-type", PAIRS[ident], "--id", ident, *usage)
    with Cryptoki() as library, library.open_session(owner.token.slot) as session:
        wanted: Template = {ck.CKA_CLASS: ck.CKO_PUBLIC_KEY, ck.CKA_ID: bytes.fromhex(ident)}
        (handle,) = session.find(wanted)
        return files.write("public", objects.public_key(session, handle).to_spki())


def make_secret(tool: Tool, files: Files, ident: str) -> str:
    """A secret key on the token that tells its value, in hexadecimal digits."""
    usage = ("--usage-sign", "--usage-decrypt", "--usage-wrap", "--extractable")
    tool("--keygen", "--key-type", SECRETS[ident], "--id", ident, *usage)
    tool("--read-object", "--type", "secrkey", "--id", ident, "-o", files["value"])
    return files["value"].read_bytes().hex()


def sign(tool: Tool, files: Files, ident: str, mechanism: str, name: str, *how: str) -> Path:
    """Sign a file; the tool then finds the signature good, and bad for another file."""
    common = ("-m", mechanism, "--id", ident, *how)
    tool("--sign", *common, "-i", files[name], "-o", files["signature"])
    check = ("--verify", *common, "--signature-file", files["signature"], "-i")
    assert "Signature is valid" in tool(*check, files[name])
    content = files[name].read_bytes()
    changed = files.write("changed", content[:-1] + bytes([content[-1] ^ 1]))
    assert "Invalid signature" in tool(*check, changed)
    return files["signature"]


def test_every_listed_mechanism_is_driven_or_explained(pkcs11_tool: Run, owner: Owner) -> None:
    lines = pkcs11_tool("--token-label", owner.token.label, "-M").stdout.splitlines()[1:]
    listed = [(line.split(",")[0].strip(), line.strip().split(", ")) for line in lines]
    for function, driven in DRIVEN.items():
        rest = {name for name, flags in listed if function in flags} - driven
        assert driven <= {name for name, flags in listed if function in flags}
        explained = "|".join(f"({pattern})" for pattern in NOT_DRIVEN[function])
        assert [name for name in rest if not re.fullmatch(explained, name)] == []


def test_rsa_signs(tool: Tool, owner: Owner, files: Files, openssl: Run) -> None:
    public = make_pair(tool, owner, files, RSA)
    key = ("-keyform", "DER")
    for mechanism, (digest, options) in RSA_HASHED.items():
        signature = sign(tool, files, RSA, mechanism, "message")
        check = (*options, "-verify", public, "-signature", signature)
        openssl("dgst", f"-{digest}", *key, *check, files["message"])

    inkey = ("-pubin", *key, "-inkey", public)
    signature = sign(tool, files, RSA, "RSA-PKCS", "message")
    openssl("pkeyutl", "-verify", *inkey, "-in", files["message"], "-sigfile", signature)

    block = files.write("block", b"\0" + bytes(range(255)))
    signature = sign(tool, files, RSA, "RSA-X-509", "block")
    raw = ("-pkeyopt", "rsa_padding_mode:none", "-out", files["recovered"])
    openssl("pkeyutl", "-verifyrecover", *inkey, "-in", signature, *raw)
    assert files["recovered"].read_bytes() == block.read_bytes()


@pytest.mark.parametrize("name", ["SHA224", "SHA256", "SHA384", "SHA512"])
def test_rsa_signs_digests_by_pss(
    tool: Tool, owner: Owner, files: Files, openssl: Run, name: str
) -> None:
    public = make_pair(tool, owner, files, RSA)
    openssl("dgst", f"-{HASHES[name]}", "-binary", "-out", files["digest"], files["message"])
    how = ("--hash-algorithm", name, "--mgf", f"MGF1-{name}")
    signature = sign(tool, files, RSA, "RSA-PKCS-PSS", "digest", *how)
    check = (*PSS, "-keyform", "DER", "-verify", public, "-signature", signature)
    openssl("dgst", f"-{HASHES[name]}", *check, files["message"])


def test_ecdsa_and_eddsa_sign(tool: Tool, owner: Owner, files: Files, openssl: Run) -> None:
    public = make_pair(tool, owner, files, EC)
    der = ("--signature-format", "openssl")
    key = ("-keyform", "DER", "-verify", public)
    for mechanism, (digest, _) in ECDSA_HASHED.items():
        signature = sign(tool, files, EC, mechanism, "message", *der)
        openssl("dgst", f"-{digest}", *key, "-signature", signature, files["message"])
    openssl("dgst", "-sha256", "-binary", "-out", files["digest"], files["message"])
    signature = sign(tool, files, EC, "ECDSA", "digest", *der)
    openssl("dgst", "-sha256", *key, "-signature", signature, files["message"])

    public = make_pair(tool, owner, files, EDWARDS)
    signature = sign(tool, files, EDWARDS, "EDDSA", "message")
    inkey = ("-pubin", "-keyform", "DER", "-inkey", public)
    check = ("-rawin", "-in", files["message"], "-sigfile", signature)
    openssl("pkeyutl", "-verify", *inkey, *check)


def test_hmac_and_digests(tool: Tool, files: Files, openssl: Run) -> None:
    value = make_secret(tool, files, GENERIC)
    for mechanism, digest in HMACS.items():
        signature = sign(tool, files, GENERIC, mechanism, "message")
        hmac = ("-mac", "HMAC", "-macopt", f"hexkey:{value}", "-binary", "-out", files["mac"])
        openssl("dgst", f"-{digest}", *hmac, files["message"])
        assert signature.read_bytes() == files["mac"].read_bytes()
    for mechanism, digest in DIGESTS.items():
        tool("--hash", "-m", mechanism, "-i", files["message"], "-o", files["theirs"])
        openssl("dgst", f"-{digest}", "-binary", "-out", files["judged"], files["message"])
        assert files["theirs"].read_bytes() == files["judged"].read_bytes()


@pytest.mark.parametrize("mechanism", CIPHERS)
def test_aes_encrypts_and_decrypts(tool: Tool, files: Files, openssl: Run, mechanism: str) -> None:
    value = make_secret(tool, files, AES)
    # Longer than what the tool passes on at a time.
    files.write("message", MESSAGE * 100 + (b"end" if mechanism == "AES-CBC-PAD" else b""))
    iv = () if mechanism == "AES-ECB" else ("--iv", IV)
    how = ("-m", mechanism, "--id", AES, *iv)
    tool("--encrypt", *how, "-i", files["message"], "-o", files["secret"])
    vector = ("-iv", IV) if iv else ()
    fill = () if mechanism == "AES-CBC-PAD" else ("-nopad",)
    decrypt = ("-d", f"-{CIPHERS[mechanism]}", "-K", value, *vector, *fill)
    openssl("enc", *decrypt, "-in", files["secret"], "-out", files["judged"])
    assert files["judged"].read_bytes() == files["message"].read_bytes()
    tool("--decrypt", *how, "-i", files["secret"], "-o", files["back"])
    assert files["back"].read_bytes() == files["message"].read_bytes()


def test_rsa_decrypts(tool: Tool, owner: Owner, files: Files, openssl: Run) -> None:
    public = make_pair(tool, owner, files, RSA)
    block = files.write("block", b"\0" + bytes(range(255)))
    for mechanism, padding, name in (
        ("RSA-PKCS", ("rsa_padding_mode:pkcs1",), "message"),
        ("RSA-PKCS-OAEP", ("rsa_padding_mode:oaep", "rsa_oaep_md:sha256"), "message"),
        ("RSA-X-509", ("rsa_padding_mode:none",), "block"),
    ):
        options = [word for one in padding for word in ("-pkeyopt", one)]
        key = ("-pubin", "-keyform", "DER", "-inkey", public)
        openssl("pkeyutl", "-encrypt", *key, *options, "-in", files[name], "-out", files["secret"])
        oaep = ("--hash-algorithm", "SHA256") if "oaep" in padding[0] else ()
        how = ("-m", mechanism, "--id", RSA, *oaep)
        tool("--decrypt", *how, "-i", files["secret"], "-o", files["back"])
        assert files["back"].read_bytes() == files[name].read_bytes()
    assert block.stat().st_size == 256


@pytest.mark.parametrize("mechanism", WRAPPINGS)
def test_secret_keys_are_wrapped(tool: Tool, files: Files, openssl: Run, mechanism: str) -> None:
    ident, cipher, vector = WRAPPINGS[mechanism]
    value, wrapped = make_secret(tool, files, ident), make_secret(tool, files, GENERIC)
    iv = ("--iv", IV) if vector == IV else ()
    wrap = ("--wrap", "-m", mechanism, "--id", ident, "--application-id", GENERIC, *iv)
    tool(*wrap, "-o", files["wrapped"])
    fill = ("-nopad",) if mechanism in ("AES-ECB", "AES-CBC", "DES3-ECB") else ()
    with_iv = ("-iv", vector) if vector else ()
    unwrap = ("-d", f"-{cipher}", "-K", value, *with_iv, *fill)
    openssl("enc", *unwrap, "-in", files["wrapped"], "-out", files["judged"])
    assert files["judged"].read_bytes().hex() == wrapped


@pytest.mark.parametrize("mechanism", AGREEMENTS)
def test_secrets_are_agreed_on(
    tool: Tool, owner: Owner, files: Files, openssl: Run, mechanism: str
) -> None:
    token = make_pair(tool, owner, files, EC, "--usage-derive")
    own, public = files["own.pem"], files["own.der"]
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", own)
    openssl("ec", "-in", own, "-pubout", "-outform", "DER", "-out", public)
    derive = ("--derive", "-m", mechanism, "--id", EC, "-i", public, "-o", files["theirs"])
    tool(*derive)
    peer = ("-inkey", own, "-peerform", "DER", "-peerkey", token)
    openssl("pkeyutl", "-derive", *peer, "-out", files["ours"])
    assert files["theirs"].read_bytes() == files["ours"].read_bytes()
