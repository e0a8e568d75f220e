"""C_WrapKey and C_UnwrapKey of private keys, as PKCS #8."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pkcs11_module import _constants as ck
from pkcs11_module.types import Mechanism
from tests.unit.facade_rig import ED448, ED25519, P256, X448, Client, Value, template
from tests.unit.facade_secrets import make, tells
from tests.unit.facade_wraps import (
    IV,
    KEK,
    KEY_WRAP,
    KWP,
    not_unwrapped,
    not_wrapped,
    session_pair,
    unwrap,
    wrap,
)

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
