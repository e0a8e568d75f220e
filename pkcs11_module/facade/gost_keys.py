"""Keys of GOST R 34.10-2012 as attributes: identifiers of parameter sets, little-endian numbers.

CKA_GOSTR3410_PARAMS is one of the sets of RFC 7836 and RFC 4357. CKA_GOSTR3411_PARAMS is Streebog
of the key's size. CKA_GOST28147_PARAMS is kept for whoever asks, and used by nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apdu import tlv
from apdu.tlv import TlvError
from pkcs11_module import _constants as ck
from pkcs11_module.cards import der
from pkcs11_module.mechanisms.parameters import HASH_IDENTIFIERS
from pkcs11_module.types import Pkcs11Error
from token_fw.crypto import (
    GOST_SIZES,
    GostPrivateKey,
    GostPublicKey,
    Hash,
    KeyKind,
    KeySpec,
    Unsupported,
    encode_oid,
    gost_private,
    gost_public,
)

KINDS: Final = {ck.CKK_GOSTR3410: KeyKind.GOST_256, ck.CKK_GOSTR3410_512: KeyKind.GOST_512}
"""Key type to the kind of key."""
_HASHES: Final = {KeyKind.GOST_256: Hash.STREEBOG256, KeyKind.GOST_512: Hash.STREEBOG512}
_CIPHER_SETS: Final = frozenset(
    encode_oid(oid)
    for oid in (
        "1.2.643.7.1.2.5.1.1",
        "1.2.643.2.2.31.1",
        "1.2.643.2.2.31.2",
        "1.2.643.2.2.31.3",
        "1.2.643.2.2.31.4",
    )
)
"""Parameter sets of GOST 28147-89: that of TC26 (RFC 7836 C), CryptoPro A to D (RFC 4357 11.2)."""


def spec_of(parameters: bytes, key_type: int) -> KeySpec:
    """The kind of key that CKA_GOSTR3410_PARAMS names.

    Raises Pkcs11Error: CKR_ATTRIBUTE_VALUE_INVALID for what is no identifier,
    CKR_DOMAIN_PARAMS_INVALID for a parameter set that is not known or is of the other key type.
    """
    _check_identifier(parameters)
    try:
        spec = KeySpec.from_oid_der(parameters)
    except Unsupported:
        spec = None
    if spec is None or spec.kind is not KINDS[key_type]:
        raise Pkcs11Error(ck.CKR_DOMAIN_PARAMS_INVALID, "CKA_GOSTR3410_PARAMS")
    return spec


def check(given: Mapping[int, bytes], key_type: int) -> None:
    """Whether the parameter sets that a template names are known; raises as `spec_of`."""
    if ck.CKA_GOSTR3410_PARAMS in given:
        spec_of(given[ck.CKA_GOSTR3410_PARAMS], key_type)
    cipher = given.get(ck.CKA_GOST28147_PARAMS)
    if cipher is not None:
        _check_identifier(cipher)
        if cipher not in _CIPHER_SETS:
            raise Pkcs11Error(ck.CKR_DOMAIN_PARAMS_INVALID, "CKA_GOST28147_PARAMS")


def _check_identifier(value: bytes) -> None:
    try:
        item, used = tlv.parse_one(value)
        if item.tag == der.OBJECT_IDENTIFIER and used == len(value) and der.oid(item.value):
            return
    except (TlvError, ValueError):
        pass
    raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "not an object identifier")


def parameters(spec: KeySpec) -> dict[int, bytes]:
    """CKA_GOSTR3410_PARAMS and CKA_GOSTR3411_PARAMS of such a key."""
    return {
        ck.CKA_GOSTR3410_PARAMS: spec.oid_der,
        ck.CKA_GOSTR3411_PARAMS: HASH_IDENTIFIERS[_HASHES[spec.kind]],
    }


def public_attributes(key: GostPublicKey) -> dict[int, bytes]:
    """The parameter sets, and the point in CKA_VALUE: X || Y, 64 or 128 bytes."""
    return parameters(key.spec) | {ck.CKA_VALUE: key.point}


def public_key(full: Mapping[int, bytes], key_type: int) -> GostPublicKey:
    """The key in the attributes of a public key; raises Pkcs11Error, CryptoError."""
    spec = spec_of(full[ck.CKA_GOSTR3410_PARAMS], key_type)
    return gost_public(spec.curve, full[ck.CKA_VALUE])


def private_key(full: Mapping[int, bytes], key_type: int) -> GostPrivateKey:
    """The key in the attributes of a private key; raises Pkcs11Error, CryptoError."""
    spec = spec_of(full[ck.CKA_GOSTR3410_PARAMS], key_type)
    return gost_private(spec.curve, number(full, spec))


def number(full: Mapping[int, bytes], spec: KeySpec) -> bytes:
    """The private number, big-endian as our algorithms and the card have it.

    Raises Pkcs11Error (CKR_ATTRIBUTE_VALUE_INVALID) where CKA_VALUE is not as long as it has to be.
    """
    value = full[ck.CKA_VALUE]
    if len(value) != GOST_SIZES[spec.kind]:
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE")
    return value[::-1]


def secret_attributes(key: GostPrivateKey) -> dict[int, bytes]:
    """CKA_VALUE of a private key: the number, 32 or 64 bytes."""
    return {ck.CKA_VALUE: key.d[::-1]}
