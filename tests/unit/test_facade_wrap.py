"""C_WrapKey and C_UnwrapKey: known answers of every mechanism."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

from pkcs11_module import _constants as ck
from pkcs11_module.types import AesCtrParams, GcmParams, Mechanism
from tests.unit.facade_rig import Client, template
from tests.unit.facade_secrets import make, value
from tests.unit.facade_wraps import (
    AES,
    GENERIC,
    IV,
    KEK,
    KEY_WRAP,
    KWP,
    NONCE,
    OAEP,
    SECRET,
    expected_cbc,
    not_unwrapped,
    not_wrapped,
    session_pair,
    unwrap,
    wrap,
)


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
