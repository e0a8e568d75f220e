"""Keys as attributes, as keys of `token_fw.crypto`, and as what a card imports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apdu import tlv
from apdu.tlv import TlvError
from pkcs11_module import _constants as ck
from pkcs11_module.cards import der
from pkcs11_module.cards.card_keys import KeyMaterial
from pkcs11_module.cards.der import Fields
from pkcs11_module.facade import gost_keys
from pkcs11_module.facade.attributes import number, rules, ulong
from pkcs11_module.types import Pkcs11Error
from token_fw.crypto import (
    EDWARDS_SIZES,
    CryptoError,
    EcPublicKey,
    EdwardsPublicKey,
    GostPrivateKey,
    GostPublicKey,
    InvalidKey,
    KeyKind,
    KeySpec,
    MlDsaPrivateKey,
    MlDsaPublicKey,
    MlKemPrivateKey,
    MlKemPublicKey,
    PrivateKey,
    PublicKey,
    RsaPublicKey,
    Unsupported,
    curve_of,
    ec_private,
    ec_public,
    edwards_private,
    edwards_public,
    load_public,
    ml_dsa_private,
    ml_dsa_public,
    ml_kem_private,
    ml_kem_public,
    rsa_primes,
    rsa_private,
    rsa_public,
)

_RSA_SECRETS: Final = (
    ck.CKA_PRIVATE_EXPONENT,
    ck.CKA_PRIME_1,
    ck.CKA_PRIME_2,
    ck.CKA_EXPONENT_1,
    ck.CKA_EXPONENT_2,
    ck.CKA_COEFFICIENT,
)
KEY_TYPES: Final[dict[KeyKind, int]] = {
    KeyKind.RSA: ck.CKK_RSA,
    KeyKind.EC: ck.CKK_EC,
    KeyKind.ED25519: ck.CKK_EC_EDWARDS,
    KeyKind.X25519: ck.CKK_EC_MONTGOMERY,
    KeyKind.ED448: ck.CKK_EC_EDWARDS,
    KeyKind.X448: ck.CKK_EC_MONTGOMERY,
    KeyKind.ML_DSA: ck.CKK_ML_DSA,
    KeyKind.ML_KEM: ck.CKK_ML_KEM,
    **{kind: key_type for key_type, kind in gost_keys.KINDS.items()},
}
"""Kind of key pair to its CKK_ number."""
GENERATION: Final[dict[int, int]] = {
    ck.CKK_RSA: ck.CKM_RSA_PKCS_KEY_PAIR_GEN,
    ck.CKK_EC: ck.CKM_EC_KEY_PAIR_GEN,
    ck.CKK_EC_EDWARDS: ck.CKM_EC_EDWARDS_KEY_PAIR_GEN,
    ck.CKK_EC_MONTGOMERY: ck.CKM_EC_MONTGOMERY_KEY_PAIR_GEN,
    ck.CKK_ML_DSA: ck.CKM_ML_DSA_KEY_PAIR_GEN,
    ck.CKK_ML_KEM: ck.CKM_ML_KEM_KEY_PAIR_GEN,
    ck.CKK_GOSTR3410: ck.CKM_GOSTR3410_KEY_PAIR_GEN,
    ck.CKK_GOSTR3410_512: ck.CKM_GOSTR3410_512_KEY_PAIR_GEN,
}
"""Key type to the mechanism that makes such pairs."""
PARAMETER_SETS: Final[dict[int, dict[int, KeySpec]]] = {
    ck.CKK_ML_DSA: {
        ck.CKP_ML_DSA_44: KeySpec.ml_dsa(44),
        ck.CKP_ML_DSA_65: KeySpec.ml_dsa(65),
        ck.CKP_ML_DSA_87: KeySpec.ml_dsa(87),
    },
    ck.CKK_ML_KEM: {
        ck.CKP_ML_KEM_768: KeySpec.ml_kem(768),
        ck.CKP_ML_KEM_1024: KeySpec.ml_kem(1024),
    },
}
"""Key type to what its CKA_PARAMETER_SET stands for."""
_SET_NUMBERS: Final = {
    spec: number for sets in PARAMETER_SETS.values() for number, spec in sets.items()
}
CURVE_TYPES: Final = frozenset({ck.CKK_EC, ck.CKK_EC_EDWARDS, ck.CKK_EC_MONTGOMERY})
_CURVE_NAMES: Final = {
    b"edwards25519": KeySpec.ED25519,
    b"curve25519": KeySpec.X25519,
    b"edwards448": KeySpec.ED448,
    b"curve448": KeySpec.X448,
}
_NUMBERS: Final = (ck.CKA_MODULUS, ck.CKA_PUBLIC_EXPONENT)
PUBLIC_EXPONENT: Final = b"\x01\x00\x01"


def curve_spec(parameters: bytes, key_type: int) -> KeySpec:
    """The kind of key that CKA_EC_PARAMS names: an identifier or a PrintableString.

    Raises Pkcs11Error: CKR_CURVE_NOT_SUPPORTED, or CKR_ATTRIBUTE_VALUE_INVALID for malformed ones.
    """
    try:
        item, used = tlv.parse_one(parameters)
        if used != len(parameters):
            raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_EC_PARAMS")
        if item.tag == der.PRINTABLE_STRING:
            spec = _CURVE_NAMES.get(item.value)
        else:
            spec = KeySpec.from_oid_der(parameters)
    except TlvError:
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_EC_PARAMS") from None
    except Unsupported:
        spec = None
    if spec is None or KEY_TYPES[spec.kind] != key_type:
        raise Pkcs11Error(ck.CKR_CURVE_NOT_SUPPORTED)
    return spec


def set_spec(parameter_set: bytes, key_type: int) -> KeySpec:
    """The kind of key that CKA_PARAMETER_SET names.

    Raises Pkcs11Error (CKR_PARAMETER_SET_NOT_SUPPORTED).
    """
    spec = PARAMETER_SETS[key_type].get(number(parameter_set))
    if spec is None:
        raise Pkcs11Error(ck.CKR_PARAMETER_SET_NOT_SUPPORTED)
    return spec


def set_attributes(spec: KeySpec) -> dict[int, bytes]:
    """What names the parameter set of an ML-DSA, ML-KEM or GOST key, nothing for other kinds."""
    if KEY_TYPES[spec.kind] in gost_keys.KINDS:
        return gost_keys.parameters(spec)
    found = _SET_NUMBERS.get(spec)
    return {} if found is None else {ck.CKA_PARAMETER_SET: ulong(found)}


def normalised(given: Mapping[int, bytes], key_type: int) -> dict[int, bytes]:
    """A key's template with numbers, curve and point in the one form in which they are kept.

    Numbers lose leading zeros, the curve becomes an identifier, the point an OCTET STRING.
    Raises Pkcs11Error.
    """
    if key_type in gost_keys.KINDS:
        gost_keys.check(given, key_type)
    kept = dict(given)
    for name in _NUMBERS:
        if name in kept:
            kept[name] = kept[name].lstrip(b"\0")
    if ck.CKA_EC_PARAMS in kept and key_type in CURVE_TYPES:
        spec = curve_spec(kept[ck.CKA_EC_PARAMS], key_type)
        kept[ck.CKA_EC_PARAMS] = spec.oid_der
        if ck.CKA_EC_POINT in kept:
            kept[ck.CKA_EC_POINT] = _wrapped_point(spec, kept[ck.CKA_EC_POINT])
    return kept


def _wrapped_point(spec: KeySpec, point: bytes) -> bytes:
    size = EDWARDS_SIZES.get(spec.kind) or 1 + 2 * curve_of(spec).size
    if len(point) == size:
        return tlv.encode(der.OCTET_STRING, point)
    return point


def point_of(spec: KeySpec, data: bytes) -> bytes:
    """A peer's point, uncompressed, from its raw form or a DER OCTET STRING (CKA_EC_POINT).

    Raises InvalidKey for what is no point of the curve.
    """
    try:
        return _public_point(spec, data)
    except InvalidKey:
        inner = contents(data, der.OCTET_STRING)
        if inner is None:
            raise
        return _public_point(spec, inner)


def _public_point(spec: KeySpec, raw: bytes) -> bytes:
    if spec.kind is KeyKind.EC:
        return ec_public(spec.curve, raw).point
    return edwards_public(spec.kind, raw).point


def contents(value: bytes, tag: int) -> bytes | None:
    """What is in a value that is one DER object of that tag, None for any other value."""
    try:
        item, used = tlv.parse_one(value)
    except TlvError:
        return None
    return item.value if item.tag == tag and used == len(value) else None


def is_sequence(value: bytes) -> bool:
    """Whether the value is one DER SEQUENCE, as a Name is."""
    return contents(value, der.SEQUENCE) is not None


def public_attributes(key: PublicKey) -> dict[int, bytes]:
    """What a public key itself says, and the SPKI.

    That is CKA_MODULUS … of RSA, CKA_EC_PARAMS and CKA_EC_POINT of curves, CKA_PARAMETER_SET and
    CKA_VALUE of ML-DSA and ML-KEM, and those of GOST as `gost_keys` has them.

    The point is a DER OCTET STRING for every curve: PKCS#11 3.1 has Edwards points raw, but
    pkcs11-tool (OpenSC 0.23) reads only the wrapped form.
    """
    common = {ck.CKA_PUBLIC_KEY_INFO: key.to_spki()}
    if isinstance(key, RsaPublicKey):
        return common | {
            ck.CKA_MODULUS: key.modulus,
            ck.CKA_MODULUS_BITS: ulong(key.spec.bits),
            ck.CKA_PUBLIC_EXPONENT: key.exponent,
        }
    if isinstance(key, MlDsaPublicKey | MlKemPublicKey):
        return common | set_attributes(key.spec) | {ck.CKA_VALUE: key.raw}
    if isinstance(key, GostPublicKey):
        return common | gost_keys.public_attributes(key)
    assert isinstance(key, EcPublicKey | EdwardsPublicKey)
    return common | {
        ck.CKA_EC_PARAMS: key.spec.oid_der,
        ck.CKA_EC_POINT: tlv.encode(der.OCTET_STRING, key.point),
    }


def own_attributes(attributes: Mapping[int, bytes], key: PublicKey) -> dict[int, bytes]:
    """What a public key says, as far as it belongs to that public or private key's attributes."""
    known = rules(number(attributes[ck.CKA_CLASS]), number(attributes[ck.CKA_KEY_TYPE]))
    return {
        name: value
        for name, value in public_attributes(key).items()
        if name in known and not known[name].secret
    }


def public_key(full: Mapping[int, bytes]) -> PublicKey:
    """The key in the attributes of a public key; raises Pkcs11Error where they make none."""
    key_type = number(full[ck.CKA_KEY_TYPE])
    try:
        if key_type == ck.CKK_RSA:
            return rsa_public(full[ck.CKA_MODULUS], full[ck.CKA_PUBLIC_EXPONENT])
        if key_type in PARAMETER_SETS:
            spec = set_spec(full[ck.CKA_PARAMETER_SET], key_type)
            from_raw = ml_dsa_public if key_type == ck.CKK_ML_DSA else ml_kem_public
            return from_raw(spec.level, full[ck.CKA_VALUE])
        if key_type in gost_keys.KINDS:
            return gost_keys.public_key(full, key_type)
        spec = curve_spec(full[ck.CKA_EC_PARAMS], key_type)
        point = contents(full[ck.CKA_EC_POINT], der.OCTET_STRING)
        if point is None:
            raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_EC_POINT")
        if spec.kind is KeyKind.EC:
            return ec_public(spec.curve, point)
        return edwards_public(spec.kind, point)
    except CryptoError:
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "not a public key") from None


def private_key(full: Mapping[int, bytes]) -> PrivateKey:
    """The key in the attributes of a private key; raises Pkcs11Error where they make none."""
    key_type = number(full[ck.CKA_KEY_TYPE])
    try:
        if key_type == ck.CKK_RSA:
            p, q, dp, dq, qinv = _crt(full)
            return rsa_private(p, q, dp, dq, qinv, e=full.get(ck.CKA_PUBLIC_EXPONENT))
        if key_type in PARAMETER_SETS:
            spec = set_spec(full[ck.CKA_PARAMETER_SET], key_type)
            from_seed = ml_dsa_private if key_type == ck.CKK_ML_DSA else ml_kem_private
            return from_seed(spec.level, full[ck.CKA_SEED])
        if key_type in gost_keys.KINDS:
            return gost_keys.private_key(full, key_type)
        spec = curve_spec(full[ck.CKA_EC_PARAMS], key_type)
        if spec.kind is KeyKind.EC:
            return ec_private(spec.curve, full[ck.CKA_VALUE])
        return edwards_private(spec.kind, full[ck.CKA_VALUE])
    except CryptoError:
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "not a private key") from None


def key_material(full: Mapping[int, bytes]) -> KeyMaterial:
    """The same as what a card imports; the card checks that it is a key. Raises Pkcs11Error."""
    key_type = number(full[ck.CKA_KEY_TYPE])
    if key_type in PARAMETER_SETS:
        return KeyMaterial(
            set_spec(full[ck.CKA_PARAMETER_SET], key_type), {0x88: full[ck.CKA_SEED]}
        )
    if key_type in gost_keys.KINDS:
        spec = gost_keys.spec_of(full[ck.CKA_GOSTR3410_PARAMS], key_type)
        return KeyMaterial(spec, {0x88: gost_keys.number(full, spec)})
    if key_type in CURVE_TYPES:
        spec = curve_spec(full[ck.CKA_EC_PARAMS], key_type)
        return KeyMaterial(spec, {0x88: full[ck.CKA_VALUE]})
    bits = int.from_bytes(full[ck.CKA_MODULUS], "big").bit_length()
    _check_exponent(full)
    objects = dict(zip((0x92, 0x93, 0x95, 0x96, 0x94), _crt(full), strict=True))
    if full.get(ck.CKA_PUBLIC_EXPONENT):
        objects[0x91] = full[ck.CKA_PUBLIC_EXPONENT]
    return KeyMaterial(KeySpec.rsa(bits), objects)


def _check_exponent(full: Mapping[int, bytes]) -> None:
    """Keys of the token have the public exponent 65537; raises Pkcs11Error."""
    d = int.from_bytes(full[ck.CKA_PRIVATE_EXPONENT], "big")
    given = full.get(ck.CKA_PUBLIC_EXPONENT, PUBLIC_EXPONENT)
    p, q = (int.from_bytes(full[name], "big") for name in (ck.CKA_PRIME_1, ck.CKA_PRIME_2))
    product = d * int.from_bytes(PUBLIC_EXPONENT, "big")
    if given != PUBLIC_EXPONENT or product % (p - 1 or 1) != 1 or product % (q - 1 or 1) != 1:
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "the public exponent is not 65537")


def _crt(full: Mapping[int, bytes]) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """p, q, the two exponents and the coefficient; the last three follow where they are absent."""
    p, q = _primes(full)
    d = int.from_bytes(full[ck.CKA_PRIVATE_EXPONENT], "big")
    if p < 3 or q < 3 or p == q or p * q != int.from_bytes(full[ck.CKA_MODULUS], "big"):
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "the modulus is not the primes' product")
    try:
        derived = (d % (p - 1), d % (q - 1), pow(q, -1, p))
    except ValueError:
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "the primes share a factor") from None
    names = (ck.CKA_EXPONENT_1, ck.CKA_EXPONENT_2, ck.CKA_COEFFICIENT)
    dp, dq, qinv = (
        full.get(name) or _bytes(value) for name, value in zip(names, derived, strict=True)
    )
    return _bytes(p), _bytes(q), dp, dq, qinv


def _primes(full: Mapping[int, bytes]) -> tuple[int, int]:
    """The primes, which need not be given (3.1 6.1.3); raises CryptoError where there are none."""
    modulus = full[ck.CKA_MODULUS]
    first, second = full.get(ck.CKA_PRIME_1), full.get(ck.CKA_PRIME_2)
    if first is None and second is None:
        exponent = full.get(ck.CKA_PUBLIC_EXPONENT) or PUBLIC_EXPONENT
        first, second = rsa_primes(modulus, exponent, full[ck.CKA_PRIVATE_EXPONENT])
    product = int.from_bytes(modulus, "big")
    p, q = (int.from_bytes(prime or b"", "big") for prime in (first, second))
    return (
        product // (q or 1) if first is None else p,
        product // (p or 1) if second is None else q,
    )


def _bytes(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def secret_attributes(key: PrivateKey) -> dict[int, bytes]:
    """The secret attributes of a private key."""
    if isinstance(key, MlDsaPrivateKey | MlKemPrivateKey):
        return {ck.CKA_SEED: key.seed}
    if isinstance(key, GostPrivateKey):
        return gost_keys.secret_attributes(key)
    # PrivateKeyInfo (RFC 5958 2): version, algorithm, and the key in an OCTET STRING.
    info = Fields(tlv.parse(key.to_pkcs8())[0].value)
    info.need(der.INTEGER)
    info.need(der.SEQUENCE)
    private = tlv.parse(info.need(der.OCTET_STRING))[0].value
    if key.spec.kind is KeyKind.RSA:
        # RSAPrivateKey (RFC 8017 A.1.2): version, modulus, public exponent, and these.
        numbers = [der.integer(item.value) for item in tlv.parse(private)]
        return dict(zip(_RSA_SECRETS, map(_bytes, numbers[3:]), strict=True))
    if key.spec.kind is KeyKind.EC:
        # ECPrivateKey (RFC 5915 3): version, and the number as long as the order.
        fields = Fields(private)
        fields.need(der.INTEGER)
        return {ck.CKA_VALUE: fields.need(der.OCTET_STRING)}
    return {ck.CKA_VALUE: private}


def write_public_key(key: PublicKey) -> bytes:
    """What a file holds of a key: an RSAPublicKey, as OpenSC wants it, and an SPKI of any other."""
    if not isinstance(key, RsaPublicKey):
        return key.to_spki()
    numbers = (key.modulus, key.exponent)
    return der.sequence(*(der.encode_integer(int.from_bytes(one, "big")) for one in numbers))


def read_public_key(content: bytes, spec: KeySpec | None) -> PublicKey:
    """The key in a file: an SPKI, an RSAPublicKey, or a bare point where the curve is known.

    Whatever follows it in the file is fill. Raises CryptoError or ValueError for anything else.
    """
    item, used = tlv.parse_one(content)
    if item.tag == der.SEQUENCE:
        fields = Fields(item.value)
        if fields.peek() == der.INTEGER:
            return rsa_public(fields.need(der.INTEGER).lstrip(b"\0"), fields.need(der.INTEGER))
        return load_public(content[:used])
    if spec is None or item.tag != der.OCTET_STRING:
        raise ValueError("not a public key")
    if spec.kind is KeyKind.EC:
        return ec_public(spec.curve, item.value)
    return edwards_public(spec.kind, item.value)
