"""C_WrapKey, C_UnwrapKey and their authenticated kin: known answers, rules and refusals."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

from pkcs11_module import _constants as ck
from pkcs11_module.types import (
    AesCtrParams,
    Attribute,
    Buffer,
    BufferTooSmall,
    GcmMessageParams,
    GcmParams,
    Length,
    Mechanism,
    MessageOutput,
    RsaPkcsOaepParams,
)
from tests.unit.facade_rig import (
    ED448,
    ED25519,
    P256,
    ROOM,
    SO_PIN,
    USER_PIN,
    X448,
    Client,
    Value,
    template,
)
from tests.unit.facade_secrets import make, tells, value

KEK = bytes(range(32))
SECRET = bytes.fromhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")
IV = bytes(range(16, 32))
NONCE = bytes(range(12))
KEY_WRAP = Mechanism(ck.CKM_AES_KEY_WRAP)
KWP = Mechanism(ck.CKM_AES_KEY_WRAP_KWP)
OAEP = Mechanism(
    ck.CKM_RSA_PKCS_OAEP, RsaPkcsOaepParams(ck.CKM_SHA256, ck.CKG_MGF1_SHA256, 1, b"label")
)
AES: dict[str, Value] = {"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": ck.CKK_AES}
GENERIC: dict[str, Value] = {"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": ck.CKK_GENERIC_SECRET}


def wrap(client: Client, session: int, mechanism: Mechanism, wrapper: int, key: int) -> bytes:
    """The wrapped key, whose length was told before."""
    size = client("C_WrapKey", session, mechanism, wrapper, key, Buffer(None))
    assert isinstance(size, Length)
    with pytest.raises(BufferTooSmall) as raised:
        client("C_WrapKey", session, mechanism, wrapper, key, Buffer(size.value - 1))
    assert raised.value.length == size.value
    wrapped: bytes = client("C_WrapKey", session, mechanism, wrapper, key, Buffer(size.value))
    assert len(wrapped) == size.value
    return wrapped


def not_wrapped(client: Client, session: int, mechanism: Mechanism, wrapper: int, key: int) -> str:
    return client.fails("C_WrapKey", session, mechanism, wrapper, key, ROOM)


def unwrap(
    client: Client,
    session: int,
    mechanism: Mechanism,
    unwrapper: int,
    wrapped: bytes,
    **wanted: Value,
) -> int:
    handle: int = client("C_UnwrapKey", session, mechanism, unwrapper, wrapped, template(**wanted))
    return handle


def not_unwrapped(
    client: Client,
    session: int,
    mechanism: Mechanism,
    unwrapper: int,
    wrapped: bytes,
    **wanted: Value,
) -> str:
    return client.fails("C_UnwrapKey", session, mechanism, unwrapper, wrapped, template(**wanted))


# Known answers


@pytest.mark.parametrize(
    ("kek", "secret", "expected"),
    [
        (KEK[:16], SECRET[:16], "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"),
        (KEK[:24], SECRET[:16], "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D"),
        (KEK, SECRET[:16], "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7"),
        (
            KEK,
            SECRET,
            "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21",
        ),
    ],
)
def test_key_wrap_as_in_rfc_3394(
    client: Client, session: int, *, kek: bytes, secret: bytes, expected: str, on_token: bool
) -> None:
    wrapper = make(client, session, kek, TOKEN=on_token)
    key = make(client, session, secret, TOKEN=on_token, SENSITIVE=True)
    wrapped = wrap(client, session, KEY_WRAP, wrapper, key)
    assert wrapped == bytes.fromhex(expected)
    again = unwrap(client, session, KEY_WRAP, wrapper, wrapped, **AES, TOKEN=on_token)
    assert value(client, session, again) == secret


@pytest.mark.parametrize("size", [15, 16, 20])
def test_key_wrap_with_padding_as_in_pkcs_7(
    client: Client, session: int, size: int, on_token: bool
) -> None:
    mechanism, secret = Mechanism(ck.CKM_AES_KEY_WRAP_PAD), SECRET[:size]
    wrapper = make(client, session, KEK, TOKEN=on_token)
    key = make(client, session, secret, ck.CKK_GENERIC_SECRET, TOKEN=on_token)
    wrapped = wrap(client, session, mechanism, wrapper, key)
    missing = 8 - size % 8
    assert wrapped == keywrap.aes_key_wrap(KEK, secret + bytes((missing,)) * missing)
    again = unwrap(client, session, mechanism, wrapper, wrapped, **GENERIC)
    assert value(client, session, again) == secret
    unpadded = keywrap.aes_key_wrap(KEK, bytes(24))
    refusal = not_unwrapped(client, session, mechanism, wrapper, unpadded, **GENERIC)
    assert refusal == "CKR_WRAPPED_KEY_INVALID"


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (
            "c37b7e6492584340bed12207808941155068f738",
            "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
        ),
        ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
    ],
)
def test_key_wrap_with_padding_as_in_rfc_5649(
    client: Client,
    session: int,
    *,
    secret: str,
    expected: str,
    on_token: bool,
) -> None:
    kek = bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
    wrapper = make(client, session, kek, TOKEN=on_token)
    key = make(client, session, bytes.fromhex(secret), ck.CKK_GENERIC_SECRET, TOKEN=on_token)
    wrapped = wrap(client, session, KWP, wrapper, key)
    assert wrapped.hex() == expected
    again = unwrap(client, session, KWP, wrapper, wrapped, **GENERIC)
    assert value(client, session, again).hex() == secret


def expected_cbc(kek: bytes, data: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(kek), modes.CBC(IV)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def padded(data: bytes) -> bytes:
    padder = PKCS7(128).padder()
    return padder.update(data) + padder.finalize()


@pytest.mark.parametrize("length", [1, 15, 16, 17, 32])
def test_block_ciphers_wrap_what_is_filled_with_zeros_or_padded(
    client: Client, session: int, length: int, *, on_token: bool
) -> None:
    wrapper = make(client, session, KEK, TOKEN=on_token)
    secret = SECRET[::-1][:length]
    key = make(client, session, secret, ck.CKK_GENERIC_SECRET)
    filled = secret + bytes(-length % 16)
    ecb = Cipher(algorithms.AES(KEK), modes.ECB()).encryptor()
    cases = {
        Mechanism(ck.CKM_AES_ECB): ecb.update(filled),
        Mechanism(ck.CKM_AES_CBC, IV): expected_cbc(KEK, filled),
        Mechanism(ck.CKM_AES_CBC_PAD, IV): expected_cbc(KEK, padded(secret)),
    }
    for mechanism, expected in cases.items():
        wrapped = wrap(client, session, mechanism, wrapper, key)
        assert wrapped == expected
        again = unwrap(client, session, mechanism, wrapper, wrapped, **GENERIC, VALUE_LEN=length)
        assert value(client, session, again) == secret


@pytest.mark.parametrize(
    "mechanism",
    [
        Mechanism(ck.CKM_DES3_ECB),
        Mechanism(ck.CKM_DES3_CBC, bytes(8)),
        Mechanism(ck.CKM_DES3_CBC_PAD, bytes(8)),
    ],
)
@pytest.mark.parametrize(("key_type", "length"), [(ck.CKK_DES2, 16), (ck.CKK_DES3, 24)])
def test_triple_des_wraps_and_unwraps(
    client: Client,
    session: int,
    *,
    mechanism: Mechanism,
    key_type: int,
    length: int,
    on_token: bool,
) -> None:
    kek, secret = (
        bytes.fromhex(digits * 8)[:length] for digits in ("0123456789abcdef", "fedcba9876543210")
    )
    wrapper = make(client, session, kek, key_type, TOKEN=on_token)
    key = make(client, session, secret, key_type, TOKEN=on_token)
    wrapped = wrap(client, session, mechanism, wrapper, key)
    again = unwrap(
        client, session, mechanism, wrapper, wrapped, CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=key_type
    )
    assert value(client, session, again) == secret


def test_a_des_key_of_wrong_parity_is_none(client: Client, session: int) -> None:
    unwrapper = make(client, session, KEK)
    wrapped = keywrap.aes_key_wrap(KEK, bytes(24))
    refusal = not_unwrapped(
        client,
        session,
        KEY_WRAP,
        unwrapper,
        wrapped,
        CLASS=ck.CKO_SECRET_KEY,
        KEY_TYPE=ck.CKK_DES3,
    )
    assert refusal == "CKR_WRAPPED_KEY_INVALID"


def test_counter_mode_wraps_any_length(client: Client, session: int, *, on_token: bool) -> None:
    wrapper = make(client, session, KEK, TOKEN=on_token)
    key = make(client, session, SECRET[:7], ck.CKK_GENERIC_SECRET)
    mechanism = Mechanism(ck.CKM_AES_CTR, AesCtrParams(128, IV))
    wrapped = wrap(client, session, mechanism, wrapper, key)
    stream = Cipher(algorithms.AES(KEK), modes.CTR(IV)).encryptor()
    assert wrapped == stream.update(SECRET[:7])
    again = unwrap(client, session, mechanism, wrapper, wrapped, **GENERIC)
    assert value(client, session, again) == SECRET[:7]


def test_gcm_wraps_with_the_tag_behind(client: Client, session: int, *, on_token: bool) -> None:
    wrapper = make(client, session, KEK, TOKEN=on_token)
    key = make(client, session, SECRET)
    mechanism = Mechanism(ck.CKM_AES_GCM, GcmParams(NONCE, 96, b"aad", 128))
    wrapped = wrap(client, session, mechanism, wrapper, key)
    assert wrapped == AESGCM(KEK).encrypt(NONCE, SECRET, b"aad")
    again = unwrap(client, session, mechanism, wrapper, wrapped, **AES)
    assert value(client, session, again) == SECRET
    changed = wrapped[:-1] + bytes((wrapped[-1] ^ 1,))
    refusal = not_unwrapped(client, session, mechanism, wrapper, changed, **AES)
    assert refusal == "CKR_WRAPPED_KEY_INVALID"


# With RSA


@pytest.fixture
def rsa_pair(client: Client, session: int, on_token: bool) -> tuple[int, int]:
    """A public key that wraps and a private one that unwraps."""
    pair: tuple[int, int] = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(ck.CKM_RSA_PKCS_KEY_PAIR_GEN),
        template(MODULUS_BITS=2048, TOKEN=on_token, WRAP=True),
        template(TOKEN=on_token, UNWRAP=True),
    )
    return pair


def rsa_public(client: Client, session: int, handle: int) -> rsa.RSAPublicKey:
    (spki,) = client.get(session, handle, "PUBLIC_KEY_INFO")
    key = serialization.load_der_public_key(spki)
    assert isinstance(key, rsa.RSAPublicKey)
    return key


@pytest.mark.parametrize("mechanism", [Mechanism(ck.CKM_RSA_PKCS), OAEP])
def test_rsa_wraps_secret_keys(
    client: Client, session: int, rsa_pair: tuple[int, int], mechanism: Mechanism
) -> None:
    public, private = rsa_pair
    key = make(client, session, SECRET)
    wrapped = wrap(client, session, mechanism, public, key)
    assert len(wrapped) == 256
    again = unwrap(client, session, mechanism, private, wrapped, **AES)
    assert value(client, session, again) == SECRET
    native = rsa_public(client, session, public)
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    if mechanism is OAEP:
        scheme = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"label")
    theirs = native.encrypt(b"from elsewhere!!", scheme)
    key = unwrap(client, session, mechanism, private, theirs, **AES)
    assert value(client, session, key) == b"from elsewhere!!"
    too_long = make(client, session, bytes(246), ck.CKK_GENERIC_SECRET)
    assert not_wrapped(client, session, mechanism, public, too_long) == "CKR_KEY_SIZE_RANGE"
    _, pair = session_pair(client, session)
    assert not_wrapped(client, session, mechanism, public, pair) == "CKR_KEY_NOT_WRAPPABLE"


def test_raw_rsa_puts_zeros_before_the_key(
    client: Client, session: int, rsa_pair: tuple[int, int]
) -> None:
    public, private = rsa_pair
    raw = Mechanism(ck.CKM_RSA_X_509)
    key = make(client, session, SECRET)
    wrapped = wrap(client, session, raw, public, key)
    numbers = rsa_public(client, session, public).public_numbers()
    assert int.from_bytes(wrapped, "big") == pow(
        int.from_bytes(SECRET, "big"), numbers.e, numbers.n
    )
    again = unwrap(client, session, raw, private, wrapped, **AES, VALUE_LEN=32)
    assert value(client, session, again) == SECRET
    refusal = not_unwrapped(client, session, raw, private, wrapped, **AES)
    assert refusal == "CKR_TEMPLATE_INCOMPLETE"


def test_rsa_cryptograms_that_are_none(
    client: Client, session: int, rsa_pair: tuple[int, int]
) -> None:
    _, private = rsa_pair
    refusal = not_unwrapped(client, session, OAEP, private, bytes(255), **AES)
    assert refusal == "CKR_WRAPPED_KEY_LEN_RANGE"
    refusal = not_unwrapped(client, session, OAEP, private, bytes(255) + b"\2", **AES)
    assert refusal == "CKR_WRAPPED_KEY_INVALID"


# Private keys, as PKCS #8


def session_pair(client: Client, session: int, **private: Value) -> tuple[int, int]:
    pair: tuple[int, int] = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(ck.CKM_EC_KEY_PAIR_GEN),
        template(EC_PARAMS=P256),
        template(**{"SENSITIVE": True, "EXTRACTABLE": True, **private}),
    )
    return pair


PAIRS: dict[str, tuple[int, int, dict[str, Value]]] = {
    "RSA": (ck.CKK_RSA, ck.CKM_RSA_PKCS_KEY_PAIR_GEN, {"MODULUS_BITS": 2048}),
    "P-256": (ck.CKK_EC, ck.CKM_EC_KEY_PAIR_GEN, {"EC_PARAMS": P256}),
    "Ed25519": (ck.CKK_EC_EDWARDS, ck.CKM_EC_EDWARDS_KEY_PAIR_GEN, {"EC_PARAMS": ED25519}),
    "Ed448": (ck.CKK_EC_EDWARDS, ck.CKM_EC_EDWARDS_KEY_PAIR_GEN, {"EC_PARAMS": ED448}),
    "X448": (ck.CKK_EC_MONTGOMERY, ck.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, {"EC_PARAMS": X448}),
    "ML-DSA-65": (
        ck.CKK_ML_DSA,
        ck.CKM_ML_DSA_KEY_PAIR_GEN,
        {"PARAMETER_SET": ck.CKP_ML_DSA_65},
    ),
    "ML-KEM-768": (
        ck.CKK_ML_KEM,
        ck.CKM_ML_KEM_KEY_PAIR_GEN,
        {"PARAMETER_SET": ck.CKP_ML_KEM_768},
    ),
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize(
    "mechanism", [KEY_WRAP, KWP, Mechanism(ck.CKM_AES_CBC_PAD, IV)], ids=["KW", "KWP", "CBC"]
)
def test_private_keys_of_the_session_are_wrapped_and_come_back(
    client: Client, session: int, kind: str, mechanism: Mechanism
) -> None:
    key_type, generation, public = PAIRS[kind]
    wrapper = make(client, session, KEK)
    handles = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(generation),
        template(**public),
        template(EXTRACTABLE=True),
    )
    wrapped = wrap(client, session, mechanism, wrapper, handles[1])
    for on_token in (False, True):
        again = unwrap(
            client,
            session,
            mechanism,
            wrapper,
            wrapped,
            CLASS=ck.CKO_PRIVATE_KEY,
            KEY_TYPE=key_type,
            TOKEN=on_token,
        )
        assert client.get(session, again, "PUBLIC_KEY_INFO") == client.get(
            session, handles[0], "PUBLIC_KEY_INFO"
        )
        names = ("LOCAL", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "SENSITIVE", "EXTRACTABLE")
        told = tells(client, session, again, *names)
        assert told == [False, False, False, True, not on_token]


def test_what_comes_out_for_others_is_pkcs8(client: Client, session: int) -> None:
    wrapper = make(client, session, KEK)
    public, private = session_pair(client, session)
    wrapped = wrap(client, session, KWP, wrapper, private)
    key = serialization.load_der_private_key(
        keywrap.aes_key_unwrap_with_padding(KEK, wrapped), None
    )
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert [spki] == client.get(session, public, "PUBLIC_KEY_INFO")


def test_only_what_is_a_private_key_of_the_type_is_unwrapped_as_one(
    client: Client, session: int
) -> None:
    wrapper = make(client, session, KEK)
    _, private = session_pair(client, session)
    wrapped = wrap(client, session, KWP, wrapper, private)
    rsa_key = {"CLASS": ck.CKO_PRIVATE_KEY, "KEY_TYPE": ck.CKK_RSA}
    ec_key = {"CLASS": ck.CKO_PRIVATE_KEY, "KEY_TYPE": ck.CKK_EC}
    refusal = not_unwrapped(client, session, KWP, wrapper, wrapped, **rsa_key)
    assert refusal == "CKR_WRAPPED_KEY_INVALID"
    for odd in (b"no key", keywrap.aes_key_unwrap_with_padding(KEK, wrapped) + b"\1"):
        other = keywrap.aes_key_wrap_with_padding(KEK, odd)
        refusal = not_unwrapped(client, session, KWP, wrapper, other, **ec_key)
        assert refusal == "CKR_WRAPPED_KEY_INVALID"
    ecb = Mechanism(ck.CKM_AES_ECB)
    assert not_wrapped(client, session, ecb, wrapper, private) == "CKR_KEY_NOT_WRAPPABLE"
    refusal = not_unwrapped(client, session, ecb, wrapper, bytes(64), **ec_key)
    assert refusal == "CKR_TEMPLATE_INCONSISTENT"
    refusal = not_unwrapped(client, session, KWP, wrapper, wrapped, **ec_key, EC_PARAMS=P256)
    assert refusal == "CKR_TEMPLATE_INCONSISTENT"


def test_private_keys_of_the_token_are_never_wrapped(client: Client, session: int) -> None:
    wrapper = make(client, session, KEK)
    _, private = client.make_ec_pair(session)
    for mechanism in (KEY_WRAP, KWP, Mechanism(ck.CKM_AES_CBC_PAD, IV)):
        refusal = not_wrapped(client, session, mechanism, wrapper, private)
        assert refusal == "CKR_KEY_UNEXTRACTABLE"


# What may be wrapped by what


def test_a_key_that_is_not_extractable_stays(
    client: Client, session: int, *, on_token: bool
) -> None:
    wrapper = make(client, session, KEK)
    key = make(client, session, SECRET, EXTRACTABLE=False, TOKEN=on_token)
    assert not_wrapped(client, session, KEY_WRAP, wrapper, key) == "CKR_KEY_UNEXTRACTABLE"
    refusal = client.fails("C_WrapKey", session, KEY_WRAP, wrapper, key, Buffer(None))
    assert refusal == "CKR_KEY_UNEXTRACTABLE"


def test_a_key_that_may_be_wrapped_with_trusted_keys_only(client: Client) -> None:
    session = client.open()
    client("C_Login", session, ck.CKU_SO, SO_PIN)
    trusted = make(client, session, KEK, PRIVATE=False, TRUSTED=True)
    client("C_Logout", session)
    client("C_Login", session, ck.CKU_USER, USER_PIN)
    untrusted = make(client, session, KEK)
    key = make(client, session, SECRET, WRAP_WITH_TRUSTED=True)
    assert not_wrapped(client, session, KEY_WRAP, untrusted, key) == "CKR_KEY_NOT_WRAPPABLE"
    assert len(wrap(client, session, KEY_WRAP, trusted, key)) == 40


def test_a_wrap_template_leaves_other_keys_out(client: Client, session: int) -> None:
    given = template(CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=ck.CKK_AES, VALUE=KEK, WRAP=True)
    nested = (Attribute(ck.CKA_LABEL, b"travels"),)
    wrapper = client(
        "C_CreateObject", session, (*given, Attribute(ck.CKA_WRAP_TEMPLATE, None, nested))
    )
    travels = make(client, session, SECRET, LABEL="travels")
    stays = make(client, session, SECRET, LABEL="stays")
    assert len(wrap(client, session, KEY_WRAP, wrapper, travels)) == 40
    assert not_wrapped(client, session, KEY_WRAP, wrapper, stays) == "CKR_KEY_HANDLE_INVALID"


def test_an_unwrap_template_is_added_or_the_key_refused(client: Client, session: int) -> None:
    given = template(CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=ck.CKK_AES, VALUE=KEK, UNWRAP=True)
    nested = (Attribute(ck.CKA_EXTRACTABLE, b"\0"), Attribute(ck.CKA_LABEL, b"inside"))
    unwrapper = client(
        "C_CreateObject", session, (*given, Attribute(ck.CKA_UNWRAP_TEMPLATE, None, nested))
    )
    wrapped = keywrap.aes_key_wrap(KEK, SECRET)
    key = unwrap(client, session, KEY_WRAP, unwrapper, wrapped, **AES)
    assert client.get(session, key, "EXTRACTABLE", "LABEL") == [b"\0", b"inside"]
    refusal = not_unwrapped(client, session, KEY_WRAP, unwrapper, wrapped, **AES, EXTRACTABLE=True)
    assert refusal == "CKR_TEMPLATE_INCONSISTENT"


def test_handles_and_attributes_of_the_wrapping_key(client: Client, session: int) -> None:
    key = make(client, session, SECRET)
    wrapped = keywrap.aes_key_wrap(KEK, SECRET)
    idle = make(client, session, KEK, WRAP=False, UNWRAP=False)
    generic = make(client, session, KEK, ck.CKK_GENERIC_SECRET)
    other = make(client, session, KEK, ALLOWED_MECHANISMS=ck.CKM_AES_ECB.to_bytes(8, "little"))
    cases = [
        (999, "CKR_WRAPPING_KEY_HANDLE_INVALID", "CKR_UNWRAPPING_KEY_HANDLE_INVALID"),
        (
            generic,
            "CKR_WRAPPING_KEY_TYPE_INCONSISTENT",
            "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT",
        ),
        (idle, "CKR_KEY_FUNCTION_NOT_PERMITTED", "CKR_KEY_FUNCTION_NOT_PERMITTED"),
        (other, "CKR_MECHANISM_INVALID", "CKR_MECHANISM_INVALID"),
    ]
    for handle, wrapping, unwrapping in cases:
        assert not_wrapped(client, session, KEY_WRAP, handle, key) == wrapping
        refusal = not_unwrapped(client, session, KEY_WRAP, handle, wrapped, **AES)
        assert refusal == unwrapping
    wrapper = make(client, session, KEK)
    assert not_wrapped(client, session, KEY_WRAP, wrapper, 999) == "CKR_KEY_HANDLE_INVALID"
    public, _ = session_pair(client, session)
    assert not_wrapped(client, session, KEY_WRAP, wrapper, public) == "CKR_KEY_NOT_WRAPPABLE"
    digest = Mechanism(ck.CKM_SHA256)
    assert not_wrapped(client, session, digest, wrapper, key) == "CKR_MECHANISM_INVALID"
    no_iv = Mechanism(ck.CKM_AES_CBC)
    assert not_wrapped(client, session, no_iv, wrapper, key) == "CKR_MECHANISM_PARAM_INVALID"
    refusal = client.fails("C_WrapKey", session, None, wrapper, key, ROOM)
    assert refusal == "CKR_ARGUMENTS_BAD"
    refusal = client.fails("C_UnwrapKey", session, None, wrapper, wrapped, ())
    assert refusal == "CKR_ARGUMENTS_BAD"


def test_wrapping_with_a_key_of_the_token_is_for_its_user(client: Client) -> None:
    session = client.user()
    make(client, session, KEK, TOKEN=True, PRIVATE=False)
    client("C_Logout", session)
    (wrapper,) = client.find(session, CLASS=ck.CKO_SECRET_KEY)
    key = make(client, session, SECRET, PRIVATE=False)
    assert not_wrapped(client, session, KEY_WRAP, wrapper, key) == "CKR_USER_NOT_LOGGED_IN"
    wrapped = keywrap.aes_key_wrap(KEK, SECRET)
    refusal = not_unwrapped(client, session, KEY_WRAP, wrapper, wrapped, **AES, PRIVATE=False)
    assert refusal == "CKR_USER_NOT_LOGGED_IN"


def test_a_key_too_short_for_key_wrap(client: Client, session: int, *, on_token: bool) -> None:
    wrapper = make(client, session, KEK, TOKEN=on_token)
    key = make(client, session, b"8 bytes!", ck.CKK_GENERIC_SECRET)
    assert not_wrapped(client, session, KEY_WRAP, wrapper, key) == "CKR_KEY_SIZE_RANGE"


# What comes out


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({}, "CKR_TEMPLATE_INCOMPLETE"),
        ({"CLASS": ck.CKO_SECRET_KEY}, "CKR_TEMPLATE_INCOMPLETE"),
        ({"CLASS": ck.CKO_DATA}, "CKR_TEMPLATE_INCONSISTENT"),
        ({"CLASS": ck.CKO_PUBLIC_KEY, "KEY_TYPE": ck.CKK_RSA}, "CKR_TEMPLATE_INCONSISTENT"),
        ({**AES, "KEY_TYPE": ck.CKK_RSA}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({**AES, "VALUE_LEN": 16}, "CKR_WRAPPED_KEY_LEN_RANGE"),
        ({**AES, "VALUE": SECRET}, "CKR_TEMPLATE_INCONSISTENT"),
        ({**AES, "ALWAYS_SENSITIVE": True}, "CKR_ATTRIBUTE_READ_ONLY"),
        ({**AES, "KEY_TYPE": ck.CKK_DES3}, "CKR_WRAPPED_KEY_LEN_RANGE"),
        ({**AES, "KEY_TYPE": ck.CKK_DES3, "VALUE_LEN": 16}, "CKR_TEMPLATE_INCONSISTENT"),
        (GENERIC, "CKR_TEMPLATE_INCOMPLETE"),
        ({**GENERIC, "VALUE_LEN": 24}, "CKR_WRAPPED_KEY_LEN_RANGE"),
        ({**GENERIC, "VALUE_LEN": 33}, "CKR_WRAPPED_KEY_LEN_RANGE"),
    ],
)
def test_a_template_that_does_not_fit_makes_no_key(
    client: Client, session: int, wanted: dict[str, Value], error: str
) -> None:
    unwrapper = make(client, session, KEK)
    wrapped = keywrap.aes_key_wrap(KEK, SECRET)
    assert not_unwrapped(client, session, KEY_WRAP, unwrapper, wrapped, **wanted) == error
    assert client.find(session) == [unwrapper]


def test_zeros_that_fill_are_told_from_the_key_by_its_length(client: Client, session: int) -> None:
    unwrapper = make(client, session, KEK)
    filled = keywrap.aes_key_wrap(KEK, SECRET[:29] + bytes(3))
    key = unwrap(client, session, KEY_WRAP, unwrapper, filled, **GENERIC, VALUE_LEN=29)
    assert value(client, session, key) == SECRET[:29]
    cbc = Mechanism(ck.CKM_AES_CBC, IV)
    # 24 bytes and zeros, or 32 bytes: only the length tells.
    wrapped = expected_cbc(KEK, SECRET)
    assert not_unwrapped(client, session, cbc, unwrapper, wrapped, **AES) == (
        "CKR_TEMPLATE_INCOMPLETE"
    )
    for length in (24, 32):
        key = unwrap(client, session, cbc, unwrapper, wrapped, **AES, VALUE_LEN=length)
        assert value(client, session, key) == SECRET[:length]
    key = unwrap(client, session, cbc, unwrapper, wrapped[:16], **AES)
    assert value(client, session, key) == SECRET[:16]


@pytest.mark.parametrize(
    ("mechanism", "wrapped", "error"),
    [
        (KEY_WRAP, keywrap.aes_key_wrap(KEK[::-1], SECRET), "CKR_WRAPPED_KEY_INVALID"),
        (KEY_WRAP, bytes(23), "CKR_WRAPPED_KEY_LEN_RANGE"),
        (KEY_WRAP, b"", "CKR_WRAPPED_KEY_LEN_RANGE"),
        (KWP, keywrap.aes_key_wrap(KEK, SECRET), "CKR_WRAPPED_KEY_INVALID"),
        (Mechanism(ck.CKM_AES_CBC_PAD, IV), bytes(16), "CKR_WRAPPED_KEY_INVALID"),
        (Mechanism(ck.CKM_AES_CBC_PAD, IV), bytes(15), "CKR_WRAPPED_KEY_LEN_RANGE"),
        (Mechanism(ck.CKM_AES_CBC_PAD, IV), b"", "CKR_WRAPPED_KEY_LEN_RANGE"),
        (Mechanism(ck.CKM_AES_ECB), bytes(20), "CKR_WRAPPED_KEY_LEN_RANGE"),
    ],
)
def test_what_was_not_wrapped_with_the_key(
    client: Client,
    session: int,
    *,
    mechanism: Mechanism,
    wrapped: bytes,
    error: str,
    on_token: bool,
) -> None:
    unwrapper = make(client, session, KEK, TOKEN=on_token)
    assert not_unwrapped(client, session, mechanism, unwrapper, wrapped, **AES) == error
    assert client.find(session) == [unwrapper]


def test_what_an_unwrapped_key_says_of_itself(
    client: Client, session: int, *, on_token: bool
) -> None:
    unwrapper = make(client, session, KEK)
    wrapped = keywrap.aes_key_wrap(KEK, SECRET)
    key = unwrap(client, session, KEY_WRAP, unwrapper, wrapped, **AES, TOKEN=on_token)
    assert tells(client, session, key, "EXTRACTABLE", "TOKEN") == [True, on_token]
    sealed = unwrap(
        client,
        session,
        KEY_WRAP,
        unwrapper,
        wrapped,
        **AES,
        TOKEN=on_token,
        SENSITIVE=True,
        EXTRACTABLE=False,
    )
    names = ("LOCAL", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "SENSITIVE", "EXTRACTABLE")
    assert tells(client, session, sealed, *names) == [False, False, False, True, False]
    made_by, length = client.get(session, sealed, "KEY_GEN_MECHANISM", "VALUE_LEN")
    assert (made_by, length) == (b"\xff" * 8, (32).to_bytes(8, "little"))
    assert client.get(session, sealed, "CHECK_VALUE") == client.get(session, key, "CHECK_VALUE")


def test_unwrapping_onto_the_token_needs_a_writable_session(client: Client) -> None:
    client.user()
    session = client.open(rw=False)
    unwrapper = make(client, session, KEK)
    wrapped = keywrap.aes_key_wrap(KEK, SECRET)
    refusal = not_unwrapped(client, session, KEY_WRAP, unwrapper, wrapped, **AES, TOKEN=True)
    assert refusal == "CKR_SESSION_READ_ONLY"


def test_a_key_that_asks_for_a_login_each_time_does_not_unwrap_without(
    client: Client, session: int
) -> None:
    public, private = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(ck.CKM_RSA_PKCS_KEY_PAIR_GEN),
        template(MODULUS_BITS=2048, WRAP=True),
        template(TOKEN=True, UNWRAP=True, ALWAYS_AUTHENTICATE=True),
    )
    wrapped = wrap(client, session, OAEP, public, make(client, session, SECRET))
    refusal = not_unwrapped(client, session, OAEP, private, wrapped, **AES)
    assert refusal == "CKR_USER_NOT_LOGGED_IN"


# Authenticated


def message(iv: bytes, tag: bytes, generator: int = ck.CKG_NO_GENERATE) -> Mechanism:
    return Mechanism(ck.CKM_AES_GCM, GcmMessageParams(iv, 0, generator, tag, 8 * len(tag)))


def test_an_authenticated_wrap_gives_nonce_and_tag_apart(
    client: Client, session: int, *, on_token: bool
) -> None:
    wrapper = make(client, session, KEK, TOKEN=on_token)
    key = make(client, session, SECRET)
    mechanism = message(bytes(12), bytes(16), ck.CKG_GENERATE)
    asked = client("C_WrapKeyAuthenticated", session, mechanism, wrapper, key, b"aad", Buffer(None))
    assert asked == (MessageOutput(), Length(32))
    output, wrapped = client(
        "C_WrapKeyAuthenticated", session, mechanism, wrapper, key, b"aad", Buffer(32)
    )
    assert AESGCM(KEK).decrypt(output.iv, wrapped + output.tag, b"aad") == SECRET
    with_both = message(output.iv, output.tag)
    again = client(
        "C_UnwrapKeyAuthenticated",
        session,
        with_both,
        wrapper,
        wrapped,
        template(**AES),
        b"aad",
    )
    assert value(client, session, again) == SECRET
    refusal = client.fails(
        "C_UnwrapKeyAuthenticated",
        session,
        with_both,
        wrapper,
        wrapped,
        template(**AES),
        b"other",
    )
    assert refusal == "CKR_WRAPPED_KEY_INVALID"


def test_an_authenticated_wrap_of_a_private_key(client: Client, session: int) -> None:
    wrapper = make(client, session, KEK)
    public, private = session_pair(client, session)
    output, wrapped = client(
        "C_WrapKeyAuthenticated",
        session,
        message(NONCE, bytes(12)),
        wrapper,
        private,
        None,
        ROOM,
    )
    again = client(
        "C_UnwrapKeyAuthenticated",
        session,
        message(NONCE, output.tag),
        wrapper,
        wrapped,
        template(CLASS=ck.CKO_PRIVATE_KEY, KEY_TYPE=ck.CKK_EC),
        None,
    )
    assert client.get(session, again, "EC_POINT") == client.get(session, public, "EC_POINT")


def test_an_authenticated_wrap_obeys_the_same_rules(client: Client, session: int) -> None:
    wrapper = make(client, session, KEK)
    stays = make(client, session, SECRET, EXTRACTABLE=False)
    name, mechanism = "C_WrapKeyAuthenticated", message(NONCE, bytes(16))
    refusal = client.fails(name, session, mechanism, wrapper, stays, None, ROOM)
    assert refusal == "CKR_KEY_UNEXTRACTABLE"
    refusal = client.fails(name, session, KEY_WRAP, wrapper, stays, None, ROOM)
    assert refusal == "CKR_MECHANISM_INVALID"
    key = make(client, session, SECRET)
    short = message(NONCE, b"")
    refusal = client.fails(name, session, short, wrapper, key, None, ROOM)
    assert refusal == "CKR_MECHANISM_PARAM_INVALID"
    plain = Mechanism(ck.CKM_AES_GCM, GcmParams(NONCE, 96, None, 128))
    refusal = client.fails(name, session, plain, wrapper, key, None, ROOM)
    assert refusal == "CKR_MECHANISM_PARAM_INVALID"
