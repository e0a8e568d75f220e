"""Signatures of the wider mechanisms, and message authentication codes, wherever the key is."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives import cmac, hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers import algorithms

from pkcs11_module import _constants as ck
from pkcs11_module.facade.attributes import ulong
from pkcs11_module.types import (
    Buffer,
    Length,
    Mechanism,
    RsaPkcsOaepParams,
    RsaPkcsPssParams,
    SignAdditionalContext,
)
from tests.unit.facade_rig import P256, ROOM, Client, Rig, Value, template

SHA3 = {
    "SHA3_224": hashes.SHA3_224(),
    "SHA3_256": hashes.SHA3_256(),
    "SHA3_384": hashes.SHA3_384(),
    "SHA3_512": hashes.SHA3_512(),
}
HASHES = {
    "SHA_1": "sha1",
    "SHA224": "sha224",
    "SHA256": "sha256",
    "SHA384": "sha384",
    "SHA512": "sha512",
    "SHA3_224": "sha3_224",
    "SHA3_256": "sha3_256",
    "SHA3_384": "sha3_384",
    "SHA3_512": "sha3_512",
}
MESSAGE = b"message"
SECRET = bytes(range(32))
anywhere = pytest.mark.parametrize("on_token", [False, True], ids=["session", "token"])


@pytest.fixture(scope="module")
def client() -> Client:
    return Rig().initialised()


@pytest.fixture
def session(client: Client) -> int:
    client("C_CloseAllSessions", 1)
    return client.user()


def pair(client: Client, session: int, on_token: bool, mechanism: int, **public: Value) -> Any:
    recovers = mechanism == ck.CKM_RSA_PKCS_KEY_PAIR_GEN
    return client(
        "C_GenerateKeyPair",
        session,
        Mechanism(mechanism),
        template(TOKEN=on_token, **public, **({"VERIFY_RECOVER": True} if recovers else {})),
        template(TOKEN=on_token, **({"SIGN_RECOVER": True} if recovers else {})),
    )


def rsa_pair(client: Client, session: int, on_token: bool) -> Any:
    return pair(client, session, on_token, ck.CKM_RSA_PKCS_KEY_PAIR_GEN, MODULUS_BITS=2048)


def secret(client: Client, session: int, on_token: bool, key_type: int, value: bytes) -> int:
    handle: int = client(
        "C_CreateObject",
        session,
        template(
            CLASS=ck.CKO_SECRET_KEY,
            KEY_TYPE=key_type,
            VALUE=value,
            TOKEN=on_token,
            SIGN=True,
            VERIFY=True,
        ),
    )
    return handle


def published(client: Client, session: int, handle: int) -> Any:
    (spki,) = client.get(session, handle, "PUBLIC_KEY_INFO")
    return serialization.load_der_public_key(spki)


def sign(client: Client, session: int, mechanism: Mechanism, key: int, data: bytes) -> bytes:
    """A signature in one part; in many it verifies, and a changed one does not."""
    client("C_SignInit", session, mechanism, key)
    asked = client("C_Sign", session, data, Buffer(None)).value
    made: bytes = client("C_Sign", session, data, Buffer(asked))
    assert len(made) == asked
    return made


def verify(client: Client, session: int, mechanism: Mechanism, key: int, made: bytes) -> None:
    """In one part, in many, and with the signature first; and a changed signature is refused."""
    client("C_VerifyInit", session, mechanism, key)
    client("C_Verify", session, MESSAGE, made)
    client("C_VerifyInit", session, mechanism, key)
    client("C_VerifyUpdate", session, MESSAGE[:3])
    client("C_VerifyUpdate", session, MESSAGE[3:])
    client("C_VerifyFinal", session, made)
    client("C_VerifySignatureInit", session, mechanism, key, made)
    client("C_VerifySignature", session, MESSAGE)
    client("C_VerifySignatureInit", session, mechanism, key, made)
    client("C_VerifySignatureUpdate", session, MESSAGE[:1])
    client("C_VerifySignatureUpdate", session, MESSAGE[1:])
    client("C_VerifySignatureFinal", session)
    for wrong, error in (
        (bytes((made[0] ^ 1,)) + made[1:], "CKR_SIGNATURE_INVALID"),
        (made[:-1], "CKR_SIGNATURE_LEN_RANGE"),
    ):
        client("C_VerifyInit", session, mechanism, key)
        assert client.fails("C_Verify", session, MESSAGE, wrong) == error
        client("C_VerifySignatureInit", session, mechanism, key, wrong)
        assert client.fails("C_VerifySignature", session, MESSAGE) == error


@anywhere
def test_rsa_with_sha3(client: Client, session: int, on_token: bool) -> None:
    public, private = rsa_pair(client, session, on_token)
    key = published(client, session, public)
    assert isinstance(key, rsa.RSAPublicKey)
    for name, chosen in SHA3.items():
        digest = hashlib.new(HASHES[name], MESSAGE).digest()
        hashed = Mechanism(getattr(ck, f"CKM_{name}_RSA_PKCS"))
        made = sign(client, session, hashed, private, MESSAGE)
        verify(client, session, hashed, public, made)
        assert key.recover_data_from_signature(made, padding.PKCS1v15(), None).endswith(digest)
        parameter = RsaPkcsPssParams(
            getattr(ck, f"CKM_{name}"), getattr(ck, f"CKG_MGF1_{name}"), chosen.digest_size
        )
        pss = Mechanism(getattr(ck, f"CKM_{name}_RSA_PKCS_PSS"), parameter)
        made = sign(client, session, pss, private, MESSAGE)
        verify(client, session, pss, public, made)
        key.verify(made, MESSAGE, padding.PSS(padding.MGF1(chosen), chosen.digest_size), chosen)


@anywhere
def test_ecdsa_with_sha3(client: Client, session: int, on_token: bool) -> None:
    public, private = pair(client, session, on_token, ck.CKM_EC_KEY_PAIR_GEN, EC_PARAMS=P256)
    key = published(client, session, public)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    for name, chosen in SHA3.items():
        mechanism = Mechanism(getattr(ck, f"CKM_ECDSA_{name}"))
        made = sign(client, session, mechanism, private, MESSAGE)
        verify(client, session, mechanism, public, made)
        r, s = (int.from_bytes(half, "big") for half in (made[:32], made[32:]))
        key.verify(utils.encode_dss_signature(r, s), MESSAGE, ec.ECDSA(chosen))


ML_DSA: dict[int, tuple[Any, int]] = {
    ck.CKP_ML_DSA_44: (mldsa.MLDSA44PublicKey, 2420),
    ck.CKP_ML_DSA_65: (mldsa.MLDSA65PublicKey, 3309),
    ck.CKP_ML_DSA_87: (mldsa.MLDSA87PublicKey, 4627),
}


@anywhere
@pytest.mark.parametrize("parameters", ML_DSA)
def test_ml_dsa(client: Client, session: int, parameters: int, on_token: bool) -> None:
    public, private = pair(
        client, session, on_token, ck.CKM_ML_DSA_KEY_PAIR_GEN, PARAMETER_SET=parameters
    )
    kind, size = ML_DSA[parameters]
    (raw,) = client.get(session, public, "VALUE")
    key = kind.from_public_bytes(raw)
    mechanism = Mechanism(ck.CKM_ML_DSA)
    for context in (None, b"", b"a context"):
        if context is not None:
            hedged = SignAdditionalContext(ck.CKH_HEDGE_REQUIRED, context)
            mechanism = Mechanism(ck.CKM_ML_DSA, hedged)
        made = sign(client, session, mechanism, private, MESSAGE)
        assert len(made) == size
        verify(client, session, mechanism, public, made)
        key.verify(made, MESSAGE, context or None)
    client("C_SignInit", session, mechanism, private)
    client("C_SignUpdate", session, MESSAGE[:2])
    client("C_SignUpdate", session, MESSAGE[2:])
    verify(client, session, mechanism, public, client("C_SignFinal", session, ROOM))
    for wrong in (
        SignAdditionalContext(ck.CKH_DETERMINISTIC_REQUIRED, None),
        SignAdditionalContext(ck.CKH_HEDGE_PREFERRED, bytes(256)),
    ):
        refusal = client.fails("C_SignInit", session, Mechanism(ck.CKM_ML_DSA, wrong), private)
        assert refusal == "CKR_MECHANISM_PARAM_INVALID"


@anywhere
def test_raw_rsa(client: Client, session: int, on_token: bool) -> None:
    public, private = rsa_pair(client, session, on_token)
    raw = Mechanism(ck.CKM_RSA_X_509)
    numbers = published(client, session, public).public_numbers()
    for data in (b"\x01\x02\x03", b"\0" * 255 + b"\x09", b"\x7f" + bytes(255)):
        made = sign(client, session, raw, private, data)
        number = pow(int.from_bytes(made, "big"), numbers.e, numbers.n)
        assert number == int.from_bytes(data, "big")
        client("C_VerifyInit", session, raw, public)
        client("C_Verify", session, data, made)
        client("C_VerifyInit", session, raw, public)
        assert client.fails("C_Verify", session, data + b"\1", made) == (
            "CKR_SIGNATURE_INVALID" if len(data) < 256 else "CKR_DATA_LEN_RANGE"
        )
        client("C_EncryptInit", session, raw, public)
        cryptogram = client("C_Encrypt", session, data, ROOM)
        client("C_DecryptInit", session, raw, private)
        assert client("C_Decrypt", session, cryptogram, ROOM) == data.rjust(256, b"\0")
    too_great = numbers.n.to_bytes(256, "big")
    client("C_SignInit", session, raw, private)
    assert client.fails("C_Sign", session, too_great, ROOM) == "CKR_DATA_INVALID"
    client("C_SignInit", session, raw, private)
    assert client.fails("C_Sign", session, bytes(257), ROOM) == "CKR_DATA_LEN_RANGE"
    client("C_DecryptInit", session, raw, private)
    refusal = client.fails("C_Decrypt", session, too_great, ROOM)
    assert refusal == "CKR_ENCRYPTED_DATA_INVALID"


@anywhere
@pytest.mark.parametrize("mechanism", [ck.CKM_RSA_PKCS, ck.CKM_RSA_X_509])
def test_data_is_recovered_from_a_signature(
    client: Client, session: int, mechanism: int, on_token: bool
) -> None:
    public, private = rsa_pair(client, session, on_token)
    asked = Mechanism(mechanism)
    client("C_SignRecoverInit", session, asked, private)
    assert client("C_SignRecover", session, MESSAGE, Buffer(None)) == Length(256)
    made = client("C_SignRecover", session, MESSAGE, Buffer(256))
    data = MESSAGE if mechanism == ck.CKM_RSA_PKCS else MESSAGE.rjust(256, b"\0")
    client("C_VerifyRecoverInit", session, asked, public)
    assert client("C_VerifyRecover", session, made, Buffer(None)) == Length(len(data))
    assert client.fails("C_VerifyRecover", session, made, Buffer(3)) == "CKR_BUFFER_TOO_SMALL"
    assert client("C_VerifyRecover", session, made, Buffer(len(data))) == data
    wrong = b"\xff" * 256
    for signature, error in (
        (made[1:], "CKR_SIGNATURE_LEN_RANGE"),
        (wrong, "CKR_SIGNATURE_INVALID"),
    ):
        client("C_VerifyRecoverInit", session, asked, public)
        # A wrong signature comes before a short buffer.
        assert client.fails("C_VerifyRecover", session, signature, Buffer(0)) == error
    hashed = Mechanism(ck.CKM_SHA256_RSA_PKCS)
    refusal = client.fails("C_SignRecoverInit", session, hashed, private)
    assert refusal == "CKR_MECHANISM_INVALID"
    refusal = client.fails("C_VerifyRecoverInit", session, asked, private)
    assert refusal == "CKR_KEY_TYPE_INCONSISTENT"


@anywhere
@pytest.mark.parametrize(("hash_", "mask"), [("SHA3_256", "SHA3_256"), ("SHA256", "SHA1")])
def test_oaep_with_any_hashes(
    client: Client, session: int, hash_: str, mask: str, on_token: bool
) -> None:
    public, private = rsa_pair(client, session, on_token)
    parameter = RsaPkcsOaepParams(
        getattr(ck, f"CKM_{hash_}"),
        getattr(ck, f"CKG_MGF1_{mask}"),
        ck.CKZ_DATA_SPECIFIED,
        b"label",
    )
    mechanism = Mechanism(ck.CKM_RSA_PKCS_OAEP, parameter)
    client("C_EncryptInit", session, mechanism, public)
    cryptogram = client("C_Encrypt", session, MESSAGE, ROOM)
    client("C_DecryptInit", session, mechanism, private)
    assert client("C_Decrypt", session, cryptogram, ROOM) == MESSAGE
    client("C_EncryptInit", session, mechanism, public)
    assert client.fails("C_Encrypt", session, bytes(191), ROOM) == "CKR_DATA_LEN_RANGE"
    client("C_DecryptInit", session, mechanism, private)
    refusal = client.fails("C_Decrypt", session, cryptogram[::-1], ROOM)
    assert refusal == "CKR_ENCRYPTED_DATA_INVALID"


@anywhere
@pytest.mark.parametrize("name", HASHES)
def test_hmac(client: Client, session: int, name: str, on_token: bool) -> None:
    key = secret(client, session, on_token, ck.CKK_GENERIC_SECRET, SECRET)
    mechanism = Mechanism(getattr(ck, f"CKM_{name}_HMAC"))
    made = sign(client, session, mechanism, key, MESSAGE)
    assert made == hmac.digest(SECRET, MESSAGE, HASHES[name])
    verify(client, session, mechanism, key, made)
    general = getattr(ck, f"CKM_{name}_HMAC_GENERAL")
    short = sign(client, session, Mechanism(general, ulong(5)), key, MESSAGE)
    assert short == made[:5]
    verify(client, session, Mechanism(general, ulong(5)), key, short)
    own = secret(client, session, on_token, getattr(ck, f"CKK_{name}_HMAC"), SECRET)
    assert sign(client, session, mechanism, own, MESSAGE) == made
    for wrong in (ulong(0), ulong(len(made) + 1), b"\x05", None):
        refusal = client.fails("C_SignInit", session, Mechanism(general, wrong), key)
        assert refusal == "CKR_MECHANISM_PARAM_INVALID"
    aes = secret(client, session, on_token, ck.CKK_AES, SECRET)
    assert client.fails("C_SignInit", session, mechanism, aes) == "CKR_KEY_TYPE_INCONSISTENT"


@anywhere
def test_cmac(client: Client, session: int, on_token: bool) -> None:
    key = secret(client, session, on_token, ck.CKK_AES, SECRET)
    other = cmac.CMAC(algorithms.AES(SECRET))
    other.update(MESSAGE)
    expected = other.finalize()
    mechanism = Mechanism(ck.CKM_AES_CMAC)
    assert sign(client, session, mechanism, key, MESSAGE) == expected
    verify(client, session, mechanism, key, expected)
    general = Mechanism(ck.CKM_AES_CMAC_GENERAL, ulong(4))
    assert sign(client, session, general, key, MESSAGE) == expected[:4]
    refusal = client.fails(
        "C_SignInit", session, Mechanism(ck.CKM_AES_CMAC_GENERAL, ulong(17)), key
    )
    assert refusal == "CKR_MECHANISM_PARAM_INVALID"
    odd = bytes.fromhex("01020407080b0d0e1013151619191a1c")
    triple = secret(client, session, on_token, ck.CKK_DES2, odd)
    made = sign(client, session, Mechanism(ck.CKM_DES3_CMAC), triple, MESSAGE)
    assert len(made) == 8
    verify(client, session, Mechanism(ck.CKM_DES3_CMAC), triple, made)


def test_a_code_of_long_data_streams_in_the_session_and_is_limited_on_the_card(
    client: Client, session: int
) -> None:
    mechanism = Mechanism(ck.CKM_SHA256_HMAC)
    here = secret(client, session, False, ck.CKK_GENERIC_SECRET, SECRET)
    there = secret(client, session, True, ck.CKK_GENERIC_SECRET, SECRET)
    parts = [bytes(60_000), bytes(5536)]
    expected = hmac.digest(SECRET, b"".join(parts), "sha256")
    for key in (here, there):
        client("C_SignInit", session, mechanism, key)
        for part in parts:
            client("C_SignUpdate", session, part)
        assert client("C_SignFinal", session, ROOM) == expected
    client("C_SignInit", session, mechanism, there)
    client("C_SignUpdate", session, bytes(1 << 16))
    assert client.fails("C_SignUpdate", session, b"x") == "CKR_DATA_LEN_RANGE"
    client("C_SignInit", session, mechanism, here)
    client("C_SignUpdate", session, bytes(1 << 17))
    assert client("C_SignFinal", session, ROOM) == hmac.digest(SECRET, bytes(1 << 17), "sha256")
