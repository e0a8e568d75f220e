"""Keys at work: generation, signatures, verification, decryption, digests, and their states."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, utils

from pkcs11_module import _constants as ck
from pkcs11_module.types import (
    Buffer,
    BufferTooSmall,
    EddsaParams,
    Length,
    Mechanism,
    MechanismParameter,
    RsaPkcsOaepParams,
    RsaPkcsPssParams,
)
from tests.unit.facade_rig import (
    ED448,
    ED25519,
    P256,
    ROOM,
    USER_PIN,
    X448,
    X25519,
    Client,
    Value,
    template,
)
from tests.unit.facade_samples import rsa_private_key

P384 = bytes.fromhex("06052B81040022")
P521 = bytes.fromhex("06052B81040023")
PSS = RsaPkcsPssParams(ck.CKM_SHA256, ck.CKG_MGF1_SHA256, 32)
DIGEST = hashlib.sha256(b"message").digest()
DIGEST_INFO = bytes.fromhex("3031300D060960864801650304020105000420") + DIGEST


def generate(
    client: Client,
    session: int,
    mechanism: int,
    public: dict[str, Value],
    private: dict[str, Value] | None = None,
) -> tuple[int, int]:
    answer: tuple[int, int] = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(mechanism),
        template(**{"TOKEN": True, **public}),
        template(**{"TOKEN": True, **(private or {})}),
    )
    return answer


RSA_PAIR: tuple[int, dict[str, Value]] = (
    ck.CKM_RSA_PKCS_KEY_PAIR_GEN,
    {"MODULUS_BITS": 2048, "PUBLIC_EXPONENT": b"\x01\x00\x01"},
)
EC_PAIR: tuple[int, dict[str, Value]] = (ck.CKM_EC_KEY_PAIR_GEN, {"EC_PARAMS": P256})
ED_PAIR: tuple[int, dict[str, Value]] = (ck.CKM_EC_EDWARDS_KEY_PAIR_GEN, {"EC_PARAMS": ED25519})
ED448_PAIR: tuple[int, dict[str, Value]] = (ck.CKM_EC_EDWARDS_KEY_PAIR_GEN, {"EC_PARAMS": ED448})


def published(client: Client, session: int, handle: int) -> object:
    """The public key of an object as cryptography has it."""
    (spki,) = client.get(session, handle, "PUBLIC_KEY_INFO")
    return serialization.load_der_public_key(spki)


@pytest.mark.parametrize("on_token", [True, False])
@pytest.mark.parametrize(
    ("mechanism", "public", "size"),
    [
        (*RSA_PAIR, 2048),
        (*EC_PAIR, 256),
        (ck.CKM_EC_KEY_PAIR_GEN, {"EC_PARAMS": P384}, 384),
        (ck.CKM_EC_KEY_PAIR_GEN, {"EC_PARAMS": P521}, 521),
        (*ED_PAIR, 0),
        (ck.CKM_EC_EDWARDS_KEY_PAIR_GEN, {"EC_PARAMS": b"\x13\x0cedwards25519"}, 0),
        (ck.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, {"EC_PARAMS": X25519}, 0),
        (*ED448_PAIR, 0),
        (ck.CKM_EC_EDWARDS_KEY_PAIR_GEN, {"EC_PARAMS": b"\x13\x0aedwards448"}, 0),
        (ck.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, {"EC_PARAMS": X448}, 0),
        (ck.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, {"EC_PARAMS": b"\x13\x08curve448"}, 0),
    ],
)
def test_pairs_of_every_kind(
    client: Client, mechanism: int, public: dict[str, Value], size: int, on_token: bool
) -> None:
    session = client.user()
    where: dict[str, Value] = {"TOKEN": on_token, "ID": b"pair"}
    pair = generate(client, session, mechanism, {**public, **where}, where)
    assert client.find(session, ID=b"pair") == sorted(pair, key=client.find(session).index)
    told = published(client, session, pair[0])
    assert told == published(client, session, pair[1])
    if size:
        assert isinstance(told, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
        assert told.key_size == size
    names = ("LOCAL", "SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "PRIVATE", "TOKEN")
    assert client.get(session, pair[1], *names) == [b"\x01"] * 5 + [bytes((on_token,))]
    assert client.get(session, pair[1], "EXTRACTABLE") == [b"\x00"]
    assert client.get(session, pair[0], "LOCAL", "PRIVATE") == [b"\x01", b"\x00"]
    (made_by,) = client.get(session, pair[0], "KEY_GEN_MECHANISM")
    assert int.from_bytes(made_by, "little") == mechanism


@pytest.mark.parametrize(("public", "private"), [(True, False), (False, True)])
def test_the_halves_of_a_pair_may_live_in_different_places(
    client: Client, session: int, public: bool, private: bool
) -> None:
    pair = generate(
        client, session, EC_PAIR[0], {**EC_PAIR[1], "TOKEN": public}, {"TOKEN": private}
    )
    signature = client.sign(session, ck.CKM_ECDSA, pair[1], DIGEST)
    assert client.verifies(session, ck.CKM_ECDSA, pair[0], DIGEST, signature)
    client("C_CloseAllSessions", 1)
    session = client.user()
    assert len(client.find(session)) == 1


@pytest.mark.parametrize(
    ("mechanism", "public", "private", "error"),
    [
        (ck.CKM_AES_KEY_GEN, {}, {}, "CKR_MECHANISM_INVALID"),
        (ck.CKM_RSA_PKCS_KEY_PAIR_GEN, {}, {}, "CKR_TEMPLATE_INCOMPLETE"),
        (RSA_PAIR[0], {"MODULUS_BITS": 1024}, {}, "CKR_KEY_SIZE_RANGE"),
        (
            RSA_PAIR[0],
            {"MODULUS_BITS": 2048, "PUBLIC_EXPONENT": b"\x03"},
            {},
            "CKR_ATTRIBUTE_VALUE_INVALID",
        ),
        (EC_PAIR[0], {}, {}, "CKR_TEMPLATE_INCOMPLETE"),
        (EC_PAIR[0], {"EC_PARAMS": ED25519}, {}, "CKR_CURVE_NOT_SUPPORTED"),
        (ED_PAIR[0], {"EC_PARAMS": X448}, {}, "CKR_CURVE_NOT_SUPPORTED"),
        (EC_PAIR[0], {"EC_PARAMS": b"\x06\x05\x2b\x81\x04\x00\x0a"}, {}, "CKR_CURVE_NOT_SUPPORTED"),
        (*EC_PAIR, {"SENSITIVE": False}, "CKR_TEMPLATE_INCONSISTENT"),
        (*EC_PAIR, {"EXTRACTABLE": True}, "CKR_TEMPLATE_INCONSISTENT"),
        (*EC_PAIR, {"CLASS": ck.CKO_PUBLIC_KEY}, "CKR_TEMPLATE_INCONSISTENT"),
        (*EC_PAIR, {"KEY_TYPE": ck.CKK_RSA}, "CKR_TEMPLATE_INCONSISTENT"),
        (*EC_PAIR, {"VALUE": bytes(32)}, "CKR_TEMPLATE_INCONSISTENT"),
        (*EC_PAIR, {"LOCAL": True}, "CKR_ATTRIBUTE_READ_ONLY"),
        (*EC_PAIR, {"APPLICATION": b"x"}, "CKR_ATTRIBUTE_TYPE_INVALID"),
    ],
)
def test_pairs_that_are_refused(
    client: Client,
    mechanism: int,
    public: dict[str, Value],
    private: dict[str, Value],
    error: str,
) -> None:
    session = client.user()
    refusal = client.fails(
        "C_GenerateKeyPair",
        session,
        Mechanism(mechanism),
        template(**{"TOKEN": True, **public}),
        template(**{"TOKEN": True, **private}),
    )
    assert refusal == error
    assert client.find(session) == []


def sign(client: Client, session: int, mechanism: Mechanism, key: int, data: bytes) -> bytes:
    client("C_SignInit", session, mechanism, key)
    return bytes(client("C_Sign", session, data, ROOM))


SHA = {
    "SHA1": hashes.SHA1(),
    "SHA224": hashes.SHA224(),
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}


@pytest.mark.parametrize("on_token", [True, False])
def test_rsa_signatures_verify_elsewhere_and_here(
    client: Client, session: int, on_token: bool
) -> None:
    where: dict[str, Value] = {"TOKEN": on_token}
    public, private = generate(client, session, RSA_PAIR[0], {**RSA_PAIR[1], **where}, where)
    key = published(client, session, public)
    assert isinstance(key, rsa.RSAPublicKey)
    raw = sign(client, session, Mechanism(ck.CKM_RSA_PKCS), private, DIGEST_INFO)
    key.verify(raw, b"message", padding.PKCS1v15(), hashes.SHA256())
    for name, chosen in SHA.items():
        named = {"SHA1": "SHA_1"}.get(name, name)
        mechanism = Mechanism(getattr(ck, f"CKM_{name}_RSA_PKCS"))
        signature = sign(client, session, mechanism, private, b"message")
        key.verify(signature, b"message", padding.PKCS1v15(), chosen)
        parameter = RsaPkcsPssParams(
            getattr(ck, f"CKM_{named}"), getattr(ck, f"CKG_MGF1_{name}"), 20
        )
        pss = Mechanism(getattr(ck, f"CKM_{name}_RSA_PKCS_PSS"), parameter)
        signature = sign(client, session, pss, private, b"message")
        key.verify(signature, b"message", padding.PSS(padding.MGF1(chosen), 20), chosen)
        client("C_VerifyInit", session, pss, public)
        client("C_VerifyUpdate", session, b"mess")
        client("C_VerifyUpdate", session, b"age")
        client("C_VerifyFinal", session, signature)
    of_digest = sign(client, session, Mechanism(ck.CKM_RSA_PKCS_PSS, PSS), private, DIGEST)
    pss_padding = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    key.verify(of_digest, b"message", pss_padding, hashes.SHA256())


@pytest.mark.parametrize("on_token", [True, False])
@pytest.mark.parametrize("curve", [P256, P384, P521])
def test_ecdsa_signatures_verify_elsewhere_and_here(
    client: Client, session: int, curve: bytes, on_token: bool
) -> None:
    where: dict[str, Value] = {"TOKEN": on_token}
    public, private = generate(client, session, EC_PAIR[0], {"EC_PARAMS": curve, **where}, where)
    key = published(client, session, public)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    half = (key.key_size + 7) // 8
    for name, chosen in SHA.items():
        mechanism = Mechanism(getattr(ck, f"CKM_ECDSA_{name}"))
        signature = sign(client, session, mechanism, private, b"message")
        assert len(signature) == 2 * half
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        key.verify(utils.encode_dss_signature(r, s), b"message", ec.ECDSA(chosen))
        digest = hashes.Hash(chosen)
        digest.update(b"message")
        # What CKM_ECDSA gets is the digest, however long.
        data = digest.finalize()
        assert client.verifies(session, ck.CKM_ECDSA, public, data, signature)
        again = client.sign(session, ck.CKM_ECDSA, private, data)
        client("C_VerifyInit", session, mechanism, public)
        client("C_Verify", session, b"message", again)


@pytest.mark.parametrize("on_token", [True, False])
@pytest.mark.parametrize("size", [0, 1, 5000, 1 << 16])
@pytest.mark.parametrize(("pair", "length"), [(ED_PAIR, 64), (ED448_PAIR, 114)])
def test_edwards_keys_sign_messages_whole_or_in_parts(
    *,
    client: Client,
    session: int,
    pair: tuple[int, dict[str, Value]],
    length: int,
    on_token: bool,
    size: int,
) -> None:
    where: dict[str, Value] = {"TOKEN": on_token}
    public, private = generate(client, session, pair[0], {**pair[1], **where}, where)
    key = published(client, session, public)
    assert isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)
    message = bytes(index % 251 for index in range(size))
    whole = sign(
        client, session, Mechanism(ck.CKM_EDDSA, EddsaParams(False, None)), private, message
    )
    key.verify(whole, message)
    client("C_SignInit", session, Mechanism(ck.CKM_EDDSA), private)
    client("C_SignUpdate", session, message[:1000])
    client("C_SignUpdate", session, message[1000:])
    assert client("C_SignFinal", session, Buffer(None)) == Length(length)
    assert client("C_SignFinal", session, ROOM) == whole
    assert client.verifies(session, ck.CKM_EDDSA, public, message, whole)
    client("C_VerifyInit", session, Mechanism(ck.CKM_EDDSA), public)
    refusal = client.fails("C_Verify", session, message, whole[:-1])
    assert refusal == "CKR_SIGNATURE_LEN_RANGE"


def test_a_message_too_long_for_ed25519_is_refused(client: Client, session: int) -> None:
    _, private = generate(client, session, *ED_PAIR)
    client("C_SignInit", session, Mechanism(ck.CKM_EDDSA), private)
    refusal = client.fails("C_Sign", session, bytes((1 << 16) + 1), ROOM)
    assert refusal == "CKR_DATA_LEN_RANGE"
    assert client.fails("C_SignFinal", session, ROOM) == "CKR_OPERATION_NOT_INITIALIZED"


def test_a_size_query_and_a_short_buffer_keep_the_operation(client: Client, session: int) -> None:
    public, private = generate(client, session, *EC_PAIR)
    client("C_SignInit", session, Mechanism(ck.CKM_ECDSA), private)
    assert client("C_Sign", session, DIGEST, Buffer(None)) == Length(64)
    with pytest.raises(BufferTooSmall) as raised:
        client("C_Sign", session, DIGEST, Buffer(63))
    assert raised.value.length == 64
    signature = client("C_Sign", session, DIGEST, Buffer(64))
    assert client.verifies(session, ck.CKM_ECDSA, public, DIGEST, signature)
    assert client.fails("C_Sign", session, DIGEST, ROOM) == "CKR_OPERATION_NOT_INITIALIZED"
    client("C_SignInit", session, Mechanism(ck.CKM_ECDSA_SHA256), private)
    client("C_SignUpdate", session, b"message")
    assert client("C_SignFinal", session, Buffer(None)) == Length(64)
    with pytest.raises(BufferTooSmall):
        client("C_SignFinal", session, Buffer(0))
    signature = client("C_SignFinal", session, ROOM)
    assert client.verifies(session, ck.CKM_ECDSA, public, DIGEST, signature)


def test_one_part_and_many_parts_do_not_mix(client: Client, session: int) -> None:
    public, private = generate(client, session, *EC_PAIR)
    mechanism = Mechanism(ck.CKM_ECDSA_SHA256)
    client("C_SignInit", session, mechanism, private)
    assert client.fails("C_SignInit", session, mechanism, private) == "CKR_OPERATION_ACTIVE"
    client("C_SignUpdate", session, b"part")
    assert client.fails("C_Sign", session, b"message", ROOM) == "CKR_OPERATION_ACTIVE"
    assert client.fails("C_SignFinal", session, ROOM) == "CKR_OPERATION_NOT_INITIALIZED"
    client("C_VerifyInit", session, mechanism, public)
    client("C_VerifyUpdate", session, b"part")
    assert client.fails("C_Verify", session, b"message", bytes(64)) == "CKR_OPERATION_ACTIVE"
    refusal = client.fails("C_VerifyFinal", session, bytes(64))
    assert refusal == "CKR_OPERATION_NOT_INITIALIZED"
    client("C_SignInit", session, Mechanism(ck.CKM_ECDSA), private)
    assert client.fails("C_SignUpdate", session, b"part") == "CKR_FUNCTION_NOT_SUPPORTED"
    for name, args in (("C_SignUpdate", (b"",)), ("C_Verify", (b"", b"")), ("C_Sign", (b"", ROOM))):
        assert client.fails(name, session, *args) == "CKR_OPERATION_NOT_INITIALIZED"


@pytest.mark.parametrize(
    ("mechanism", "length", "error"),
    [
        (Mechanism(ck.CKM_RSA_PKCS), 246, "CKR_DATA_LEN_RANGE"),
        (Mechanism(ck.CKM_RSA_PKCS_PSS, PSS), 31, "CKR_DATA_LEN_RANGE"),
        (Mechanism(ck.CKM_RSA_PKCS_PSS, PSS), 33, "CKR_DATA_LEN_RANGE"),
    ],
)
def test_data_of_the_wrong_length_ends_the_operation(
    client: Client, session: int, mechanism: Mechanism, length: int, error: str
) -> None:
    _, private = generate(client, session, *RSA_PAIR)
    client("C_SignInit", session, mechanism, private)
    assert client.fails("C_Sign", session, bytes(length), ROOM) == error
    assert client.fails("C_Sign", session, bytes(32), ROOM) == "CKR_OPERATION_NOT_INITIALIZED"


@pytest.mark.parametrize(
    ("mechanism", "parameter", "error"),
    [
        (ck.CKM_AES_ECB, None, "CKR_MECHANISM_INVALID"),
        (ck.CKM_RSA_PKCS, b"x", "CKR_MECHANISM_PARAM_INVALID"),
        (ck.CKM_RSA_PKCS_PSS, None, "CKR_MECHANISM_PARAM_INVALID"),
        (ck.CKM_SHA384_RSA_PKCS_PSS, PSS, "CKR_MECHANISM_PARAM_INVALID"),
        (
            ck.CKM_RSA_PKCS_PSS,
            RsaPkcsPssParams(ck.CKM_MD5, ck.CKG_MGF1_SHA1, 20),
            "CKR_MECHANISM_PARAM_INVALID",
        ),
        (
            ck.CKM_RSA_PKCS_PSS,
            RsaPkcsPssParams(ck.CKM_SHA256, 99, 20),
            "CKR_MECHANISM_PARAM_INVALID",
        ),
        (
            ck.CKM_RSA_PKCS_PSS,
            RsaPkcsPssParams(ck.CKM_SHA256, ck.CKG_MGF1_SHA256, 223),
            "CKR_KEY_SIZE_RANGE",
        ),
        (
            ck.CKM_RSA_PKCS_PSS,
            RsaPkcsPssParams(ck.CKM_SHA256, ck.CKG_MGF1_SHA256, 2**64 - 1),
            "CKR_MECHANISM_PARAM_INVALID",
        ),
        (ck.CKM_ECDSA, None, "CKR_KEY_TYPE_INCONSISTENT"),
        (ck.CKM_EDDSA, EddsaParams(True, None), "CKR_MECHANISM_PARAM_INVALID"),
        (ck.CKM_EDDSA, EddsaParams(False, b"context"), "CKR_MECHANISM_PARAM_INVALID"),
    ],
)
def test_mechanisms_and_parameters_are_checked_at_init(
    client: Client,
    session: int,
    mechanism: int,
    parameter: MechanismParameter | bytes | None,
    error: str,
) -> None:
    key = client("C_CreateObject", session, template(**rsa_private_key()))
    asked = Mechanism(mechanism, parameter)
    assert client.fails("C_SignInit", session, asked, key) == error
    assert client.fails("C_Sign", session, b"", ROOM) == "CKR_OPERATION_NOT_INITIALIZED"


def test_keys_are_used_only_for_what_they_are(client: Client, session: int) -> None:
    public, private = generate(client, session, *EC_PAIR, {"SIGN": False})
    ecdsa = Mechanism(ck.CKM_ECDSA)
    refusal = client.fails("C_SignInit", session, ecdsa, private)
    assert refusal == "CKR_KEY_FUNCTION_NOT_PERMITTED"
    assert client.fails("C_SignInit", session, ecdsa, public) == "CKR_KEY_TYPE_INCONSISTENT"
    assert client.fails("C_VerifyInit", session, ecdsa, private) == "CKR_KEY_TYPE_INCONSISTENT"
    data = client("C_CreateObject", session, template(CLASS=ck.CKO_DATA))
    for handle in (0, data, 2**64 - 1):
        assert client.fails("C_SignInit", session, ecdsa, handle) == "CKR_KEY_HANDLE_INVALID"
    assert client.fails("C_SignInit", session, None, private) == "CKR_ARGUMENTS_BAD"


def test_signatures_of_the_wrong_length_and_value(client: Client, session: int) -> None:
    public, private = generate(client, session, *EC_PAIR)
    ecdsa = Mechanism(ck.CKM_ECDSA)
    signature = client.sign(session, ck.CKM_ECDSA, private, DIGEST)
    for wrong, error in (
        (signature[:-1], "CKR_SIGNATURE_LEN_RANGE"),
        (signature[::-1], "CKR_SIGNATURE_INVALID"),
        (bytes(64), "CKR_SIGNATURE_INVALID"),
    ):
        client("C_VerifyInit", session, ecdsa, public)
        assert client.fails("C_Verify", session, DIGEST, wrong) == error
        refusal = client.fails("C_Verify", session, DIGEST, signature)
        assert refusal == "CKR_OPERATION_NOT_INITIALIZED"


def test_a_key_that_always_authenticates_asks_for_every_use(client: Client, session: int) -> None:
    _, private = generate(client, session, *EC_PAIR, {"ALWAYS_AUTHENTICATE": True})
    ecdsa = Mechanism(ck.CKM_ECDSA)
    refusal = client.fails("C_Login", session, ck.CKU_CONTEXT_SPECIFIC, USER_PIN)
    assert refusal == "CKR_OPERATION_NOT_INITIALIZED"
    for _ in range(2):
        client("C_SignInit", session, ecdsa, private)
        assert client("C_Sign", session, DIGEST, Buffer(None)) == Length(64)
        assert client.fails("C_Sign", session, DIGEST, ROOM) == "CKR_USER_NOT_LOGGED_IN"
        client("C_SignInit", session, ecdsa, private)
        refusal = client.fails("C_Login", session, ck.CKU_CONTEXT_SPECIFIC, b"wrong")
        assert refusal == "CKR_PIN_INCORRECT"
        client("C_Login", session, ck.CKU_CONTEXT_SPECIFIC, USER_PIN)
        assert len(client("C_Sign", session, DIGEST, ROOM)) == 64
    assert client.get(session, private, "ALWAYS_AUTHENTICATE") == [b"\x01"]


OAEP = RsaPkcsOaepParams(ck.CKM_SHA256, ck.CKG_MGF1_SHA256, ck.CKZ_DATA_SPECIFIED, b"label")
OAEP_SHA1 = RsaPkcsOaepParams(ck.CKM_SHA_1, ck.CKG_MGF1_SHA1, 0, None)


@pytest.mark.parametrize("on_token", [True, False])
@pytest.mark.parametrize(
    "mechanism",
    [
        Mechanism(ck.CKM_RSA_PKCS),
        Mechanism(ck.CKM_RSA_PKCS_OAEP, OAEP),
        Mechanism(ck.CKM_RSA_PKCS_OAEP, OAEP_SHA1),
    ],
)
def test_what_is_encrypted_here_is_decrypted_with_the_key(
    client: Client, session: int, mechanism: Mechanism, on_token: bool
) -> None:
    where: dict[str, Value] = {"TOKEN": on_token}
    public, private = generate(client, session, RSA_PAIR[0], {**RSA_PAIR[1], **where}, where)
    client("C_EncryptInit", session, mechanism, public)
    assert client("C_Encrypt", session, b"secret", Buffer(None)) == Length(256)
    cryptogram = client("C_Encrypt", session, b"secret", Buffer(256))
    client("C_DecryptInit", session, mechanism, private)
    assert client("C_Decrypt", session, cryptogram, Buffer(None)) == Length(256)
    with pytest.raises(BufferTooSmall) as raised:
        client("C_Decrypt", session, cryptogram, Buffer(5))
    assert raised.value.length == 6
    assert client("C_Decrypt", session, cryptogram, Buffer(6)) == b"secret"
    client("C_DecryptInit", session, mechanism, private)
    refusal = client.fails("C_Decrypt", session, cryptogram[1:], ROOM)
    assert refusal == "CKR_ENCRYPTED_DATA_LEN_RANGE"
    assert client.fails("C_Decrypt", session, cryptogram, ROOM) == "CKR_OPERATION_NOT_INITIALIZED"
    client("C_EncryptInit", session, mechanism, public)
    assert client.fails("C_Encrypt", session, bytes(256), ROOM) == "CKR_DATA_LEN_RANGE"
    client("C_DecryptInit", session, mechanism, private)
    refusal = client.fails("C_DecryptUpdate", session, cryptogram, ROOM)
    assert refusal == "CKR_FUNCTION_NOT_SUPPORTED"


def test_a_cryptogram_for_another_label_is_refused(client: Client, session: int) -> None:
    public, private = generate(client, session, *RSA_PAIR)
    client("C_EncryptInit", session, Mechanism(ck.CKM_RSA_PKCS_OAEP, OAEP), public)
    cryptogram = client("C_Encrypt", session, b"secret", ROOM)
    client("C_DecryptInit", session, Mechanism(ck.CKM_RSA_PKCS_OAEP, OAEP_SHA1), private)
    refusal = client.fails("C_Decrypt", session, cryptogram, ROOM)
    assert refusal == "CKR_ENCRYPTED_DATA_INVALID"


def test_imported_keys_sign_on_the_card(client: Client, session: int) -> None:
    values = rsa_private_key()
    client("C_CreateObject", session, template(**{**values, "TOKEN": True}))
    (private,) = client.find(session, CLASS=ck.CKO_PRIVATE_KEY)
    signature = sign(client, session, Mechanism(ck.CKM_SHA256_RSA_PKCS), private, b"message")
    key = published(client, session, private)
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(signature, b"message", padding.PKCS1v15(), hashes.SHA256())
    told = client.get(session, private, "LOCAL", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE")
    assert told == [b"\x00"] * 3


def test_a_key_that_another_application_destroyed_is_gone(client: Client, session: int) -> None:
    _, private = generate(client, session, *EC_PAIR)
    other = Client(client.application.module.application())
    other_session = other.user()
    (theirs,) = other.find(other_session, CLASS=ck.CKO_PRIVATE_KEY)
    other("C_SignInit", other_session, Mechanism(ck.CKM_ECDSA), theirs)
    client("C_DestroyObject", session, private)
    assert other.fails("C_Sign", other_session, DIGEST, ROOM) == "CKR_KEY_HANDLE_INVALID"
    refusal = other.fails("C_SignInit", other_session, Mechanism(ck.CKM_ECDSA), theirs)
    assert refusal == "CKR_KEY_HANDLE_INVALID"
