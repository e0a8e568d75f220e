"""Secret keys and shared secrets by real programs: pkcs11-tool, python-pkcs11; OpenSSL judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import KDF, MGF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.mechanisms import MLDSAParameterSet, MLKEMParameterSet
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from host_tools.testing import Run, Scratch, ScratchToken

MESSAGE = b"as secret as it gets"
IV = "000102030405060708090a0b0c0d0e0f"
Tool = Callable[..., str]


@pytest.fixture
def user(pkcs11_tool: Run, token: ScratchToken) -> Tool:
    """pkcs11-tool, logged in as the user."""

    def run(*arguments: str | Path, code: int = 0) -> str:
        login = ("--login", "--pin", token.pin, "--token-label", token.label)
        return pkcs11_tool(*login, *map(str, arguments), code=code).stdout

    return run


@pytest.fixture
def session(home: Scratch, token: ScratchToken) -> Iterator[Any]:
    """A session of the user; the library is loaded once a process, and finalised each time."""
    library = pkcs11.lib(str(home.library))
    try:
        card = library.get_token(token_label=token.label)
        with card.open(rw=True, user_pin=token.pin) as session:
            yield session
    finally:
        library.finalize()


def tool_key(user: Tool, folder: Path, ident: str, key_type: str) -> str:
    """A new key that tells its value, in hexadecimal digits."""
    user("--keygen", "--key-type", key_type, "--id", ident, "--extractable", "--usage-wrap")
    path = folder / f"{ident}.key"
    user("--read-object", "--type", "secrkey", "--id", ident, "--output-file", path)
    return path.read_bytes().hex()


@pytest.mark.parametrize(
    ("key_type", "shown", "length"),
    [
        ("AES:16", "AES length 16", 16),
        ("AES:32", "AES length 32", 32),
        ("DES3:24", "DES3", 24),
        ("GENERIC:20", "Generic secret length 20", 20),
    ],
)
def test_pkcs11_tool_makes_keys(
    user: Tool, tmp_path: Path, key_type: str, shown: str, length: int
) -> None:
    assert len(tool_key(user, tmp_path, "31", key_type)) == 2 * length
    assert f"Secret Key Object; {shown}\n" in user("--list-objects", "--type", "secrkey")
    user("--keygen", "--key-type", key_type, "--id", "32", "--sensitive")
    path = tmp_path / "told"
    user("--read-object", "--type", "secrkey", "--id", "32", "--output-file", path, code=1)


def test_pkcs11_tool_encrypts_as_openssl_does(user: Tool, openssl: Run, tmp_path: Path) -> None:
    key = tool_key(user, tmp_path, "33", "AES:32")
    plain, cryptogram = tmp_path / "plain", tmp_path / "cryptogram"
    plain.write_bytes(MESSAGE)
    how = ("-m", "AES-CBC-PAD", "--id", "33", "--iv", IV)
    user("--encrypt", *how, "--input-file", plain, "--output-file", cryptogram)
    judged = tmp_path / "judged"
    openssl("enc", "-d", "-aes-256-cbc", "-K", key, "-iv", IV, "-in", cryptogram, "-out", judged)
    assert judged.read_bytes() == MESSAGE
    back = tmp_path / "back"
    user("--decrypt", *how, "--input-file", cryptogram, "--output-file", back)
    assert back.read_bytes() == MESSAGE


@pytest.mark.parametrize(
    ("mechanism", "cipher", "iv", "no_padding"),
    [
        ("AES-KEY-WRAP", "-id-aes128-wrap", "A6A6A6A6A6A6A6A6", False),
        ("AES-CBC-PAD", "-aes-128-cbc", IV, False),
        ("AES-CBC", "-aes-128-cbc", IV, True),
        ("AES-ECB", "-aes-128-ecb", "", True),
    ],
)
def test_pkcs11_tool_wraps_what_openssl_unwraps(
    user: Tool,
    openssl: Run,
    tmp_path: Path,
    *,
    mechanism: str,
    cipher: str,
    iv: str,
    no_padding: bool,
) -> None:
    kek, key = (
        tool_key(user, tmp_path, "34", "AES:16"),
        tool_key(user, tmp_path, "35", "AES:32"),
    )
    wrapped, judged = tmp_path / "wrapped", tmp_path / "judged"
    how = ("-m", mechanism, "--id", "34", *(("--iv", iv) if "CBC" in mechanism else ()))
    user("--wrap", *how, "--application-id", "35", "--output-file", wrapped)
    with_iv = ("-iv", iv) if iv else ()
    fill = ("-nopad",) if no_padding else ()
    openssl("enc", "-d", cipher, "-K", kek, *with_iv, *fill, "-in", wrapped, "-out", judged)
    assert judged.read_bytes().hex() == key
    user(
        "--unwrap",
        *how,
        "--input-file",
        wrapped,
        "--key-type",
        "AES:32",
        "--application-id",
        "36",
        "--extractable",
    )
    again = tmp_path / "again"
    user("--read-object", "--type", "secrkey", "--id", "36", "--output-file", again)
    assert again.read_bytes().hex() == key


def test_pkcs11_tool_unwraps_what_openssl_encrypted_with_rsa(
    user: Tool, openssl: Run, tmp_path: Path
) -> None:
    user("--keypairgen", "--key-type", "rsa:2048", "--id", "37", "--usage-wrap")
    public, wrapped, plain = tmp_path / "public", tmp_path / "wrapped", tmp_path / "plain"
    user("--read-object", "--type", "pubkey", "--id", "37", "--output-file", public)
    plain.write_bytes(bytes(range(32)))
    openssl(
        *("pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", public),
        *("-in", plain, "-out", wrapped),
    )
    user(
        *("--unwrap", "-m", "RSA-PKCS", "--id", "37", "--input-file", wrapped),
        *("--key-type", "AES:32", "--application-id", "38", "--extractable"),
    )
    told = tmp_path / "told"
    user("--read-object", "--type", "secrkey", "--id", "38", "--output-file", told)
    assert told.read_bytes() == bytes(range(32))


@pytest.mark.parametrize("as_der", [True, False])
@pytest.mark.parametrize("curve", ["prime256v1", "secp384r1", "secp521r1"])
def test_pkcs11_tool_and_openssl_share_a_secret(
    user: Tool,
    openssl: Run,
    session: Any,
    tmp_path: Path,
    *,
    curve: str,
    as_der: bool,
) -> None:
    user("--keypairgen", "--key-type", f"EC:{curve}", "--id", "39", "--usage-derive")
    token_public = tmp_path / "token.der"
    found = session.get_key(ObjectClass.PUBLIC_KEY, id=b"\x39")
    token_public.write_bytes(encode_ec_public_key(found))
    mine, public = tmp_path / "mine.pem", tmp_path / "public.der"
    openssl("ecparam", "-name", curve, "-genkey", "-noout", "-out", mine)
    openssl("ec", "-in", mine, "-pubout", "-outform", "DER", "-out", public)
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    how = ("--derive-pass-der",) if as_der else ()
    user(
        *("--derive", *how, "-m", "ECDH1-DERIVE", "--id", "39"),
        *("--input-file", public, "--output-file", theirs),
    )
    openssl(
        *("pkeyutl", "-derive", "-inkey", mine, "-peerform", "DER", "-peerkey", token_public),
        *("-out", ours),
    )
    assert theirs.read_bytes() == ours.read_bytes()


# python-pkcs11


TOLD = {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True}


@pytest.mark.parametrize("store", [True, False])
def test_python_pkcs11_encrypts_and_wraps_with_aes(session: Any, store: bool) -> None:
    kek = session.generate_key(KeyType.AES, 256, label="kek", store=store)
    key = session.generate_key(KeyType.AES, 128, store=store, template=TOLD)
    iv = session.generate_random(128)
    cryptogram = key.encrypt(MESSAGE, mechanism_param=iv)
    assert key.decrypt(cryptogram, mechanism_param=iv) == MESSAGE
    wrapped = kek.wrap_key(key)
    again = kek.unwrap_key(ObjectClass.SECRET_KEY, KeyType.AES, wrapped, template=TOLD)
    assert again[Attribute.VALUE] == key[Attribute.VALUE]
    assert again.decrypt(cryptogram, mechanism_param=iv) == MESSAGE
    sealed = session.generate_key(
        KeyType.AES, 128, store=store, template={Attribute.EXTRACTABLE: False}
    )
    with pytest.raises(pkcs11.KeyUnextractable):
        kek.wrap_key(sealed)


def test_python_pkcs11_wraps_with_rsa_and_triple_des(session: Any) -> None:
    public, private = session.generate_keypair(KeyType.RSA, 2048, store=True)
    key = session.generate_key(KeyType.DES3, template=TOLD)
    parameter = (Mechanism.SHA256, MGF.SHA256, None)
    wrapped = public.wrap_key(key, mechanism_param=parameter)
    again = private.unwrap_key(
        ObjectClass.SECRET_KEY, KeyType.DES3, wrapped, mechanism_param=parameter, template=TOLD
    )
    assert again[Attribute.VALUE] == key[Attribute.VALUE]
    inner = session.generate_key(KeyType.DES2, template=TOLD)
    outer = again.unwrap_key(
        ObjectClass.SECRET_KEY, KeyType.DES2, key.wrap_key(inner), template=TOLD
    )
    assert outer[Attribute.VALUE] == inner[Attribute.VALUE]


@pytest.mark.parametrize("store", [True, False])
def test_python_pkcs11_agrees_with_another_on_a_key(session: Any, store: bool) -> None:
    parameters = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
    )
    public, private = parameters.generate_keypair(
        store=store, capabilities=MechanismFlag.DERIVE | MechanismFlag.SIGN
    )
    mine = ec.generate_private_key(ec.SECP256R1())
    theirs = serialization.load_der_public_key(encode_ec_public_key(public))
    assert isinstance(theirs, ec.EllipticCurvePublicKey)
    shared = mine.exchange(ec.ECDH(), theirs)
    point = mine.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    key = private.derive_key(
        KeyType.AES, 128, mechanism_param=(KDF.NULL, None, point), template=TOLD
    )
    assert key[Attribute.VALUE] == shared[16:]


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("level", [MLKEMParameterSet.ML_KEM_768, MLKEMParameterSet.ML_KEM_1024])
def test_python_pkcs11_encapsulates(session: Any, level: MLKEMParameterSet, store: bool) -> None:
    public, private = session.generate_keypair(
        KeyType.ML_KEM, store=store, public_template={Attribute.PARAMETER_SET: level}
    )
    ciphertext, mine = public.encapsulate_key(KeyType.AES, 256, template=TOLD)
    theirs = private.decapsulate_key(ciphertext, KeyType.AES, 256, template=TOLD)
    assert mine[Attribute.VALUE] == theirs[Attribute.VALUE]
    assert len(mine[Attribute.VALUE]) == 32


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize(
    "level", [MLDSAParameterSet.ML_DSA_44, MLDSAParameterSet.ML_DSA_65, MLDSAParameterSet.ML_DSA_87]
)
def test_python_pkcs11_signs_with_ml_dsa(
    session: Any, level: MLDSAParameterSet, store: bool
) -> None:
    public, private = session.generate_keypair(
        KeyType.ML_DSA, store=store, public_template={Attribute.PARAMETER_SET: level}
    )
    signature = private.sign(MESSAGE)
    assert public.verify(MESSAGE, signature)
    assert not public.verify(MESSAGE + b"!", signature)
