"""Keys as the card's commands name, make and list them: kinds, rules, data objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from apdu import tlv
from apdu.tlv import TlvError
from apdu.transport import TransportError
from token_fw.crypto import (
    EDWARDS_SIZES,
    GOST_SIZES,
    GOST_SPECS,
    CryptoError,
    KeyKind,
    KeySpec,
    PublicKey,
    curve_of,
    ec_public,
    edwards_public,
    gost_public,
    ml_dsa_public,
    ml_kem_public,
    rsa_public,
)

MAX_REFERENCE: Final = 1023
_KIND_OF_SPEC: Final[dict[KeySpec, int]] = {
    KeySpec.rsa(2048): 0xF3,
    KeySpec.rsa(3072): 0xF4,
    KeySpec.rsa(4096): 0xF5,
    KeySpec.ec("P-256"): 0xEC,
    KeySpec.ec("P-384"): 0xEC,
    KeySpec.ec("P-521"): 0xEC,
    KeySpec.ED25519: 0xED,
    KeySpec.X25519: 0xEE,
    KeySpec.ED448: 0xEA,
    KeySpec.X448: 0xEB,
    KeySpec.ml_dsa(44): 0xE1,
    KeySpec.ml_dsa(65): 0xE2,
    KeySpec.ml_dsa(87): 0xE3,
    KeySpec.ml_kem(768): 0xE5,
    KeySpec.ml_kem(1024): 0xE6,
    **{spec: 0xE8 for spec in GOST_SPECS if spec.kind is KeyKind.GOST_256},
    **{spec: 0xE9 for spec in GOST_SPECS if spec.kind is KeyKind.GOST_512},
}
_KIND_OF_SECRET: Final = {
    KeyKind.AES: 0xF8,
    KeyKind.DES3: 0xF9,
    KeyKind.GENERIC: 0xFA,
    KeyKind.KUZNYECHIK: 0xFB,
    KeyKind.MAGMA: 0xFC,
    KeyKind.KUZNYECHIK_TWIN: 0xFD,
    KeyKind.MAGMA_TWIN: 0xFE,
}
_SECRET_OF_KIND: Final = {kind: secret for secret, kind in _KIND_OF_SECRET.items()}
KEPT: Final = frozenset(_KIND_OF_SPEC)
"""The kinds of key pair that the card makes and keeps."""
_WITH_CURVE: Final = frozenset({KeyKind.EC, KeyKind.GOST_256, KeyKind.GOST_512})
"""Kinds whose keys the card makes on a curve, or of a parameter set, that the command names."""
_SPEC_OF_KIND: Final = {
    kind: spec for spec, kind in _KIND_OF_SPEC.items() if spec.kind not in _WITH_CURVE
}
USAGE_SIGN, USAGE_DECRYPT, USAGE_DERIVE, USAGE_ENCRYPT = 0x01, 0x02, 0x04, 0x08
USAGE_WRAP, USAGE_UNWRAP, USAGE_MAC = 0x10, 0x20, 0x40
POLICY_ALWAYS_AUTHENTICATE, POLICY_EXPORT = 0x01, 0x02


@dataclass(frozen=True, slots=True)
class CardKey:
    """A private or secret key on the card."""

    reference: int
    spec: KeySpec
    usage: int
    policy: int


@dataclass(frozen=True, slots=True, repr=False)
class KeyMaterial:
    """A private key to import, by the tags of PUT DATA.

    RSA: 92 p, 93 q, 94 1/q mod p, 95 and 96 the exponents modulo p - 1 and q - 1, and 91 the
    public exponent if it is known; other kinds: 88, the secret number, the secret bytes (32,
    Ed448 57, X448 56), or the seed of 32 (ML-DSA) or 64 bytes (ML-KEM).
    """

    spec: KeySpec
    objects: Mapping[int, bytes]


def key_reference(reference: int) -> bytes:
    """The data object of a security environment that names a private or secret key."""
    return tlv.encode(0x84, reference.to_bytes(2, "big"))


def kind_code(spec: KeySpec) -> int:
    """The kind of key as MSE SET names it; raises KeyError for one that the card does not keep."""
    return _KIND_OF_SECRET.get(spec.kind) or _KIND_OF_SPEC[spec]


def parse_key_list(answer: bytes) -> dict[int, CardKey]:
    """The private and secret keys by reference, as GET DATA 01 03 lists them.

    Raises TransportError.
    """
    try:
        keys = [_card_key(item.value) for item in tlv.parse(answer)]
    except (TlvError, KeyError, IndexError, CryptoError) as error:
        raise TransportError("the list of keys is malformed") from error
    return {key.reference: key for key in keys}


def _card_key(data: bytes) -> CardKey:
    fields = tlv.to_dict(tlv.parse(data))
    reference = int.from_bytes(fields[0x84], "big")
    return CardKey(reference, _spec(fields), fields[0x9C][0], fields[0x9D][0])


def _spec(fields: Mapping[int, bytes]) -> KeySpec:
    """The kind of key of an entry in the card's list; raises KeyError, IndexError, CryptoError."""
    kind = fields[0x80][0]
    if kind in _SECRET_OF_KIND:
        return KeySpec.secret(_SECRET_OF_KIND[kind], 8 * int.from_bytes(fields[0x81], "big"))
    if 0x06 in fields:
        return KeySpec.from_oid_der(tlv.encode(0x06, fields[0x06]))
    return _SPEC_OF_KIND[kind]


def curve_object(spec: KeySpec) -> bytes:
    """The curve or parameter set by its DER identifier; empty where the kind says it all."""
    return spec.oid_der if spec.kind in _WITH_CURVE else b""


def rules_object(usage: int, policy: int) -> bytes:
    """The data object that says what a new key may do: USAGE_ and POLICY_ flags."""
    inner = tlv.encode(0x80, bytes((usage,))) + tlv.encode(0x81, bytes((policy,)))
    return tlv.encode(0xE2, inner)


def private_template(key: KeyMaterial) -> bytes:
    """The key as PUT DATA takes it: 7F48 for RSA, E0 for the others."""
    inner = b"".join(tlv.encode(tag, value) for tag, value in key.objects.items())
    if key.spec.kind is KeyKind.RSA:
        return tlv.encode(0x7F48, inner)
    return tlv.encode(0xE0, curve_object(key.spec) + inner)


def parse_public_key(spec: KeySpec, answer: bytes) -> PublicKey:
    """The public key data object 7F49 of a key of that kind; raises TransportError."""
    try:
        outer, _ = tlv.parse_one(answer)
        fields = tlv.to_dict(tlv.parse(outer.value))
        if spec.kind is KeyKind.RSA:
            return rsa_public(fields[0x81], fields[0x82])
        return _RAW_PUBLIC[spec.kind](spec, fields[0x86])
    except (TlvError, KeyError, CryptoError) as error:
        raise TransportError("the public key is malformed") from error


def _edwards(spec: KeySpec, raw: bytes) -> PublicKey:
    return edwards_public(spec.kind, raw)


def _gost(spec: KeySpec, point: bytes) -> PublicKey:
    return gost_public(spec.curve, point)


_RAW_PUBLIC: Final[dict[KeyKind, Callable[[KeySpec, bytes], PublicKey]]] = {
    KeyKind.EC: lambda spec, point: ec_public(curve_of(spec).name, point),
    **dict.fromkeys(EDWARDS_SIZES, _edwards),
    KeyKind.ML_DSA: lambda spec, raw: ml_dsa_public(spec.level, raw),
    KeyKind.ML_KEM: lambda spec, raw: ml_kem_public(spec.level, raw),
    **dict.fromkeys(GOST_SIZES, _gost),
}
"""Public keys from the bytes in data object 86."""
