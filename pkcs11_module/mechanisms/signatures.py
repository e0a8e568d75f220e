"""Signature mechanisms and message authentication codes as plans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pkcs11_module import _constants as ck
from pkcs11_module.mechanisms.parameters import (
    algorithm,
    by_hash,
    card_hash,
    check_identifier,
    hash_of,
    length_in,
    mask_of,
)
from pkcs11_module.types import (
    EddsaParams,
    Mechanism,
    Pkcs11Error,
    RsaPkcsPssParams,
    SignAdditionalContext,
)
from token_fw.crypto import (
    Cmac,
    Ecdsa,
    EdDsa,
    Gost3410,
    Hash,
    Hmac,
    MacScheme,
    MlDsa,
    RsaPkcs1,
    RsaPss,
    RsaRaw,
    SignScheme,
    digest_info,
)

_MAX_SALT: Final = 0x3FF
_MAX_CONTEXT: Final = 255


@dataclass(frozen=True, slots=True)
class SignaturePlan:
    """What signing or verifying with a mechanism and its parameter comes down to.

    `environment` are the MSE data objects for the card, without the key's. `hash` is what the
    middleware computes of the data first, None where the data goes in as it is; then `data_size`
    is the length it must have, if any. `as_digest_info`: the digest is wrapped into a DigestInfo.
    """

    scheme: SignScheme | MacScheme
    environment: bytes
    hash: Hash | None = None
    data_size: int | None = None
    as_digest_info: bool = False

    def finish(self, digest: bytes) -> bytes:
        """The input of the scheme for a digest made with `hash`."""
        if self.as_digest_info and self.hash is not None:
            return digest_info(self.hash, digest)
        return digest


_PKCS1: Final = algorithm(0x11)
_ECDSA: Final = algorithm(0x20)
_PSS_HASHED: Final = by_hash("CKM_{}_RSA_PKCS_PSS")
_HMAC: Final = by_hash("CKM_{}_HMAC", "SHA_1")
_HMAC_GENERAL: Final = by_hash("CKM_{}_HMAC_GENERAL", "SHA_1")
_GOST: Final[dict[int, tuple[Hash, bool]]] = {
    ck.CKM_GOSTR3410: (Hash.STREEBOG256, False),
    ck.CKM_GOSTR3410_512: (Hash.STREEBOG512, False),
    ck.CKM_GOSTR3410_WITH_GOSTR3411_12_256: (Hash.STREEBOG256, True),
    ck.CKM_GOSTR3410_WITH_GOSTR3411_12_512: (Hash.STREEBOG512, True),
}
"""Mechanism to its hash, and whether the middleware computes it."""
_GOST_HMAC: Final = {
    ck.CKM_GOSTR3411_12_256_HMAC: Hash.STREEBOG256,
    ck.CKM_GOSTR3411_12_512_HMAC: Hash.STREEBOG512,
}
_BLOCK: Final = {
    ck.CKM_AES_CMAC: 16,
    ck.CKM_AES_CMAC_GENERAL: 16,
    ck.CKM_DES3_CMAC: 8,
    ck.CKM_DES3_CMAC_GENERAL: 8,
}


def _hmac(hash_: Hash, size: int) -> SignaturePlan:
    environment = algorithm(0x51, (0xC1, card_hash(hash_)), (0xC9, bytes((size,))))
    return SignaturePlan(Hmac(hash_, size), environment)


def _cmac(size: int) -> SignaturePlan:
    return SignaturePlan(Cmac(size), algorithm(0x52, (0xC9, bytes((size,)))))


_FIXED: Final[dict[int, SignaturePlan]] = {
    ck.CKM_RSA_PKCS: SignaturePlan(RsaPkcs1(), _PKCS1),
    ck.CKM_RSA_X_509: SignaturePlan(RsaRaw(), algorithm(0x10)),
    **{
        mechanism: SignaturePlan(RsaPkcs1(), _PKCS1, hash_, as_digest_info=True)
        for mechanism, hash_ in by_hash("CKM_{}_RSA_PKCS").items()
    },
    ck.CKM_ECDSA: SignaturePlan(Ecdsa(), _ECDSA),
    **{
        mechanism: SignaturePlan(Ecdsa(), _ECDSA, hash_)
        for mechanism, hash_ in by_hash("CKM_ECDSA_{}").items()
    },
    **{mechanism: _hmac(hash_, hash_.size) for mechanism, hash_ in (_HMAC | _GOST_HMAC).items()},
    ck.CKM_AES_CMAC: _cmac(16),
    ck.CKM_DES3_CMAC: _cmac(8),
    ck.CKM_KUZNYECHIK_MAC: _cmac(16),
    ck.CKM_MAGMA_MAC: _cmac(8),
}
"""Plans of the mechanisms without a parameter."""


def signature(mechanism: Mechanism) -> SignaturePlan:
    """The plan of a mechanism that `check` found to sign, with its parameter.

    Raises Pkcs11Error (CKR_MECHANISM_PARAM_INVALID).
    """
    return _FIXED.get(mechanism.type) or _with_parameter(mechanism)


@lru_cache(maxsize=256)
def _with_parameter(mechanism: Mechanism) -> SignaturePlan:
    return _MAKERS[mechanism.type](mechanism)


def _pss(mechanism: Mechanism) -> SignaturePlan:
    parameter = mechanism.parameter
    assert isinstance(parameter, RsaPkcsPssParams)
    hash_ = _PSS_HASHED.get(mechanism.type)
    named = hash_of(parameter.hash_alg)
    mask = mask_of(parameter.mgf)
    if hash_ not in (None, named):
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the hash is not the mechanism's")
    if parameter.salt_length > _MAX_SALT:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the salt is too long")
    environment = algorithm(
        0x12,
        (0xC1, card_hash(named)),
        (0xC2, card_hash(mask)),
        (0xC3, parameter.salt_length.to_bytes(2, "big")),
    )
    return SignaturePlan(
        RsaPss(named, mask, parameter.salt_length),
        environment,
        hash_,
        data_size=named.size,
    )


def _eddsa(mechanism: Mechanism) -> SignaturePlan:
    parameter = mechanism.parameter
    if isinstance(parameter, EddsaParams) and (parameter.prehash or parameter.context):
        raise Pkcs11Error(
            ck.CKR_MECHANISM_PARAM_INVALID, "only pure EdDSA without a context is supported"
        )
    return SignaturePlan(EdDsa(), algorithm(0x22))


def _ml_dsa(mechanism: Mechanism) -> SignaturePlan:
    parameter = mechanism.parameter
    context = b""
    if isinstance(parameter, SignAdditionalContext):
        if parameter.hedge_variant not in (ck.CKH_HEDGE_PREFERRED, ck.CKH_HEDGE_REQUIRED):
            raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "every signature is hedged")
        context = parameter.context or b""
    if len(context) > _MAX_CONTEXT:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the context is too long")
    environment = algorithm(0x23, *([(0xC5, context)] if context else []))
    return SignaturePlan(MlDsa(context), environment)


def _gost(mechanism: Mechanism) -> SignaturePlan:
    hash_, hashes = _GOST[mechanism.type]
    check_identifier(mechanism, hash_)
    return SignaturePlan(
        Gost3410(), algorithm(0x24), hash_ if hashes else None, data_size=hash_.size
    )


def _hmac_general(mechanism: Mechanism) -> SignaturePlan:
    hash_ = _HMAC_GENERAL[mechanism.type]
    return _hmac(hash_, length_in(mechanism, hash_.size))


def _cmac_general(mechanism: Mechanism) -> SignaturePlan:
    return _cmac(length_in(mechanism, _BLOCK[mechanism.type]))


_MAKERS: Final[dict[int, Callable[[Mechanism], SignaturePlan]]] = {
    ck.CKM_RSA_PKCS_PSS: _pss,
    **dict.fromkeys(_PSS_HASHED, _pss),
    ck.CKM_EDDSA: _eddsa,
    ck.CKM_ML_DSA: _ml_dsa,
    **dict.fromkeys(_GOST, _gost),
    **dict.fromkeys(_HMAC_GENERAL, _hmac_general),
    ck.CKM_AES_CMAC_GENERAL: _cmac_general,
    ck.CKM_DES3_CMAC_GENERAL: _cmac_general,
}
