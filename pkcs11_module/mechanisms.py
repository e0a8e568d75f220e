"""Mechanisms: what C_GetMechanismInfo tells of them, and what an operation with one comes down to.

An operation is a scheme of `token_fw.crypto`, which the middleware runs for session keys and
public keys, and the MSE data objects that make a card do the same with a key of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from apdu import tlv
from pkcs11_module import _constants as ck
from pkcs11_module.types import (
    EddsaParams,
    Mechanism,
    Pkcs11Error,
    RsaPkcsOaepParams,
    RsaPkcsPssParams,
)
from token_fw.crypto import (
    Ecdsa,
    EdDsa,
    Hash,
    KeyKind,
    RsaOaep,
    RsaPkcs1,
    RsaPss,
    Scheme,
    digest_info,
)


@dataclass(frozen=True, slots=True)
class MechanismInfo:
    """CK_MECHANISM_INFO; sizes in bits, 0 where a mechanism has none."""

    min_size: int
    max_size: int
    flags: int


@dataclass(frozen=True, slots=True)
class Operation:
    """What signing, verifying or (de)crypting with a mechanism and its parameter comes down to.

    `kind` is the kind of key it takes. `hash` is what the middleware computes of the data first,
    None where the data goes in as it is; then `data_size` is the length it must have, if any.
    `as_digest_info`: the digest is wrapped into a DigestInfo. `environment` are the MSE data
    objects for the card, without the key's.
    """

    kind: KeyKind
    scheme: Scheme
    environment: bytes
    hash: Hash | None = None
    data_size: int | None = None
    as_digest_info: bool = False
    gathers: bool = False
    """Takes the data in parts although it does not hash: they are gathered."""

    def finish(self, digest: bytes) -> bytes:
        """The input of the scheme for a digest made with `hash`."""
        if self.as_digest_info and self.hash is not None:
            return digest_info(self.hash, digest)
        return digest


_DIGESTS: Final[dict[int, Hash]] = {
    ck.CKM_SHA_1: Hash.SHA1,
    ck.CKM_SHA224: Hash.SHA224,
    ck.CKM_SHA256: Hash.SHA256,
    ck.CKM_SHA384: Hash.SHA384,
    ck.CKM_SHA512: Hash.SHA512,
    ck.CKM_SHA3_224: Hash.SHA3_224,
    ck.CKM_SHA3_256: Hash.SHA3_256,
    ck.CKM_SHA3_384: Hash.SHA3_384,
    ck.CKM_SHA3_512: Hash.SHA3_512,
}
_RSA_HASHED: Final[dict[int, Hash]] = {
    ck.CKM_SHA1_RSA_PKCS: Hash.SHA1,
    ck.CKM_SHA224_RSA_PKCS: Hash.SHA224,
    ck.CKM_SHA256_RSA_PKCS: Hash.SHA256,
    ck.CKM_SHA384_RSA_PKCS: Hash.SHA384,
    ck.CKM_SHA512_RSA_PKCS: Hash.SHA512,
}
_PSS_HASHED: Final[dict[int, Hash]] = {
    ck.CKM_SHA1_RSA_PKCS_PSS: Hash.SHA1,
    ck.CKM_SHA224_RSA_PKCS_PSS: Hash.SHA224,
    ck.CKM_SHA256_RSA_PKCS_PSS: Hash.SHA256,
    ck.CKM_SHA384_RSA_PKCS_PSS: Hash.SHA384,
    ck.CKM_SHA512_RSA_PKCS_PSS: Hash.SHA512,
}
_ECDSA_HASHED: Final[dict[int, Hash]] = {
    ck.CKM_ECDSA_SHA1: Hash.SHA1,
    ck.CKM_ECDSA_SHA224: Hash.SHA224,
    ck.CKM_ECDSA_SHA256: Hash.SHA256,
    ck.CKM_ECDSA_SHA384: Hash.SHA384,
    ck.CKM_ECDSA_SHA512: Hash.SHA512,
}
_MGF: Final[dict[int, Hash]] = {
    ck.CKG_MGF1_SHA1: Hash.SHA1,
    ck.CKG_MGF1_SHA224: Hash.SHA224,
    ck.CKG_MGF1_SHA256: Hash.SHA256,
    ck.CKG_MGF1_SHA384: Hash.SHA384,
    ck.CKG_MGF1_SHA512: Hash.SHA512,
}
_SHA1_AND_2: Final = frozenset(_MGF.values())
_CARD_HASH: Final[dict[Hash, int]] = {hash_: code for code, hash_ in enumerate(Hash, start=1)}

_SIGNS: Final = ck.CKF_SIGN | ck.CKF_VERIFY
_CIPHERS: Final = ck.CKF_ENCRYPT | ck.CKF_DECRYPT
_NAMED_PRIME_CURVES: Final = ck.CKF_EC_F_P | ck.CKF_EC_NAMEDCURVE | ck.CKF_EC_UNCOMPRESS
_RSA_SIGNATURE: Final = MechanismInfo(1024, 8192, ck.CKF_HW | _SIGNS)
_RSA_CIPHER: Final = MechanismInfo(1024, 8192, ck.CKF_HW | _CIPHERS)
_ECDSA: Final = MechanismInfo(256, 521, ck.CKF_HW | _SIGNS | _NAMED_PRIME_CURVES)

MECHANISMS: Final[dict[int, MechanismInfo]] = {
    ck.CKM_RSA_PKCS_KEY_PAIR_GEN: MechanismInfo(2048, 4096, ck.CKF_HW | ck.CKF_GENERATE_KEY_PAIR),
    ck.CKM_RSA_PKCS: MechanismInfo(1024, 8192, ck.CKF_HW | _SIGNS | _CIPHERS),
    **dict.fromkeys(_RSA_HASHED, _RSA_SIGNATURE),
    ck.CKM_RSA_PKCS_PSS: _RSA_SIGNATURE,
    **dict.fromkeys(_PSS_HASHED, _RSA_SIGNATURE),
    ck.CKM_RSA_PKCS_OAEP: _RSA_CIPHER,
    ck.CKM_EC_KEY_PAIR_GEN: MechanismInfo(
        256, 521, ck.CKF_HW | ck.CKF_GENERATE_KEY_PAIR | _NAMED_PRIME_CURVES
    ),
    ck.CKM_ECDSA: _ECDSA,
    **dict.fromkeys(_ECDSA_HASHED, _ECDSA),
    ck.CKM_EC_EDWARDS_KEY_PAIR_GEN: MechanismInfo(
        255, 255, ck.CKF_HW | ck.CKF_GENERATE_KEY_PAIR | ck.CKF_EC_NAMEDCURVE
    ),
    ck.CKM_EDDSA: MechanismInfo(255, 255, ck.CKF_HW | _SIGNS | ck.CKF_EC_NAMEDCURVE),
    ck.CKM_EC_MONTGOMERY_KEY_PAIR_GEN: MechanismInfo(
        255, 255, ck.CKF_HW | ck.CKF_GENERATE_KEY_PAIR | ck.CKF_EC_NAMEDCURVE
    ),
    **dict.fromkeys(_DIGESTS, MechanismInfo(0, 0, ck.CKF_DIGEST)),
}
"""Every mechanism of a token, in the order of C_GetMechanismList."""


def digest_of(mechanism: Mechanism) -> Hash:
    """The hash function of a digest mechanism; raises Pkcs11Error."""
    hash_ = _DIGESTS.get(mechanism.type)
    if hash_ is None:
        raise Pkcs11Error(ck.CKR_MECHANISM_INVALID)
    _check_no_parameter(mechanism)
    return hash_


@lru_cache(maxsize=256)
def signature(mechanism: Mechanism) -> Operation:
    """What a signature mechanism with its parameter comes down to.

    Raises Pkcs11Error: CKR_MECHANISM_INVALID or CKR_MECHANISM_PARAM_INVALID.
    """
    kind = mechanism.type
    if kind == ck.CKM_RSA_PKCS or kind in _RSA_HASHED:
        _check_no_parameter(mechanism)
        hash_ = _RSA_HASHED.get(kind)
        environment = _algorithm(0x11)
        return Operation(KeyKind.RSA, RsaPkcs1(), environment, hash_, as_digest_info=bool(hash_))
    if kind == ck.CKM_RSA_PKCS_PSS or kind in _PSS_HASHED:
        return _pss(mechanism, _PSS_HASHED.get(kind))
    if kind == ck.CKM_ECDSA or kind in _ECDSA_HASHED:
        _check_no_parameter(mechanism)
        return Operation(KeyKind.EC, Ecdsa(), _algorithm(0x21), _ECDSA_HASHED.get(kind))
    if kind == ck.CKM_EDDSA:
        _check_pure_eddsa(mechanism)
        return Operation(KeyKind.ED25519, EdDsa(), _algorithm(0x22), gathers=True)
    raise Pkcs11Error(ck.CKR_MECHANISM_INVALID)


@lru_cache(maxsize=256)
def cipher(mechanism: Mechanism) -> Operation:
    """What an encryption mechanism with its parameter comes down to; raises as `signature`."""
    if mechanism.type == ck.CKM_RSA_PKCS:
        _check_no_parameter(mechanism)
        return Operation(KeyKind.RSA, RsaPkcs1(), _algorithm(0x11))
    if mechanism.type == ck.CKM_RSA_PKCS_OAEP:
        return _oaep(mechanism)
    raise Pkcs11Error(ck.CKR_MECHANISM_INVALID)


def _pss(mechanism: Mechanism, hash_: Hash | None) -> Operation:
    parameter = mechanism.parameter
    if not isinstance(parameter, RsaPkcsPssParams):
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "PSS needs its parameters")
    named = _hash(parameter.hash_alg)
    mask = _mask(parameter.mgf)
    if hash_ not in (None, named):
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the hash is not the mechanism's")
    if parameter.salt_length > 0x3FF:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the salt is too long")
    environment = (
        _algorithm(0x12)
        + _hashes(named, mask)
        + tlv.encode(0xC3, parameter.salt_length.to_bytes(2, "big"))
    )
    scheme = RsaPss(named, mask, parameter.salt_length)
    return Operation(KeyKind.RSA, scheme, environment, hash_, data_size=named.size)


def _oaep(mechanism: Mechanism) -> Operation:
    parameter = mechanism.parameter
    if not isinstance(parameter, RsaPkcsOaepParams):
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "OAEP needs its parameters")
    label = parameter.source_data or b""
    # Callers without a label leave the source 0 as often as they name it.
    if parameter.source != ck.CKZ_DATA_SPECIFIED and (parameter.source or label):
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the source of the label is not known")
    named, mask = _hash(parameter.hash_alg), _mask(parameter.mgf)
    environment = _algorithm(0x13) + _hashes(named, mask)
    if label:
        environment += tlv.encode(0xC4, label)
    return Operation(KeyKind.RSA, RsaOaep(named, mask, label), environment)


def _check_no_parameter(mechanism: Mechanism) -> None:
    if mechanism.parameter not in (None, b""):
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the mechanism takes no parameter")


def _check_pure_eddsa(mechanism: Mechanism) -> None:
    parameter = mechanism.parameter
    if isinstance(parameter, EddsaParams):
        if parameter.prehash or parameter.context:
            raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "only pure Ed25519 is supported")
        return
    _check_no_parameter(mechanism)


def _hash(mechanism: int) -> Hash:
    hash_ = _DIGESTS.get(mechanism)
    if hash_ not in _SHA1_AND_2:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the hash function is not supported")
    return hash_


def _mask(function: int) -> Hash:
    hash_ = _MGF.get(function)
    if hash_ is None:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the mask function is not supported")
    return hash_


def _algorithm(code: int) -> bytes:
    return tlv.encode(0x80, bytes((code,)))


def _hashes(hash_: Hash, mask: Hash) -> bytes:
    return tlv.encode(0xC1, bytes((_CARD_HASH[hash_],))) + tlv.encode(
        0xC2, bytes((_CARD_HASH[mask],))
    )
