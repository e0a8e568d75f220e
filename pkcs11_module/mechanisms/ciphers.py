"""Encryption mechanisms as plans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pkcs11_module import _constants as ck
from pkcs11_module.mechanisms.parameters import algorithm, card_hash, hash_of, mask_of
from pkcs11_module.types import (
    AesCtrParams,
    GcmParams,
    Mechanism,
    Pkcs11Error,
    RsaPkcsOaepParams,
)
from token_fw.crypto import (
    Cbc,
    CipherScheme,
    Ctr,
    CtrAcpkm,
    Ecb,
    Gcm,
    KExp15,
    KeyWrap,
    KeyWrapPadded,
    Mgm,
    RsaOaep,
    RsaPkcs1,
    RsaRaw,
    SymmetricScheme,
)

GCM_IV_SIZES: Final = range(8, 129)
GCM_TAG_SIZES: Final = frozenset({4, 8, 12, 13, 14, 15, 16})
"""Lengths in bytes of the nonces and the tags (SP 800-38D 5.2.1)."""


@dataclass(frozen=True, slots=True)
class CipherPlan:
    """What encrypting or decrypting with a mechanism and its parameter comes down to.

    `padded`: with the padding of RFC 5652 6.3, which the scheme itself does not have.
    """

    scheme: CipherScheme | SymmetricScheme
    padded: bool = False

    @property
    def environment(self) -> bytes:
        """The MSE data objects for the card, without the key's."""
        return environment(self.scheme)


def cipher(mechanism: Mechanism) -> CipherPlan:
    """The plan of a mechanism that `check` found to encrypt, decrypt, wrap or unwrap.

    Raises Pkcs11Error (CKR_MECHANISM_PARAM_INVALID).
    """
    return _FIXED.get(mechanism.type) or _MAKERS[mechanism.type](mechanism)


def environment(scheme: CipherScheme | SymmetricScheme) -> bytes:
    """The MSE data objects that make a card run the scheme, without the key's."""
    objects: list[tuple[int, bytes]] = []
    match scheme:
        case RsaOaep():
            objects = [(0xC1, card_hash(scheme.hash)), (0xC2, card_hash(scheme.mgf_hash))]
            if scheme.label:
                objects.append((0xC4, scheme.label))
        case Cbc():
            objects = [(0xC6, scheme.iv)]
        case Ctr():
            objects = [(0xC6, scheme.block), (0xC7, bytes((scheme.bits,)))]
        case Gcm():
            objects = [(0xC6, scheme.iv), (0xC8, scheme.aad), (0xC9, bytes((scheme.tag_size,)))]
        case CtrAcpkm():
            objects = [(0xC6, scheme.iv), (0xCB, scheme.section.to_bytes(4, "big"))]
        case Mgm():
            objects = [(0xC6, scheme.nonce), (0xC8, scheme.aad), (0xC9, bytes((scheme.tag_size,)))]
        case KExp15():
            objects = [(0xC6, scheme.iv)]
        case _:
            pass
    return algorithm(_CODES[type(scheme)], *objects)


_CODES: Final[dict[type, int]] = {
    RsaRaw: 0x10,
    RsaPkcs1: 0x11,
    RsaOaep: 0x13,
    Ecb: 0x41,
    Cbc: 0x42,
    Ctr: 0x44,
    Gcm: 0x45,
    KeyWrap: 0x46,
    KeyWrapPadded: 0x47,
    CtrAcpkm: 0x48,
    Mgm: 0x49,
    KExp15: 0x4A,
}


def _oaep(mechanism: Mechanism) -> CipherPlan:
    parameter = mechanism.parameter
    assert isinstance(parameter, RsaPkcsOaepParams)
    label = parameter.source_data or b""
    # Callers without a label leave the source 0 as often as they name it.
    if parameter.source != ck.CKZ_DATA_SPECIFIED and (parameter.source or label):
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the source of the label is not known")
    return CipherPlan(RsaOaep(hash_of(parameter.hash_alg), mask_of(parameter.mgf), label))


def _cbc(mechanism: Mechanism) -> CipherPlan:
    assert isinstance(mechanism.parameter, bytes)
    padded = mechanism.type in (ck.CKM_AES_CBC_PAD, ck.CKM_DES3_CBC_PAD)
    return CipherPlan(Cbc(mechanism.parameter), padded)


def _ctr(mechanism: Mechanism) -> CipherPlan:
    parameter = mechanism.parameter
    assert isinstance(parameter, AesCtrParams)
    if not 1 <= parameter.counter_bits <= 128:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "1 to 128 bits count")
    return CipherPlan(Ctr(parameter.counter_block, parameter.counter_bits))


def _gcm(mechanism: Mechanism) -> CipherPlan:
    parameter = mechanism.parameter
    assert isinstance(parameter, GcmParams)
    return CipherPlan(gcm(parameter.iv or b"", parameter.aad or b"", parameter.tag_bits))


def gcm(iv: bytes, aad: bytes, tag_bits: int) -> Gcm:
    """The scheme with a nonce and a tag of allowed lengths; raises Pkcs11Error.

    The return value is CKR_MECHANISM_PARAM_INVALID.
    """
    size, rest = divmod(tag_bits, 8)
    if rest or size not in GCM_TAG_SIZES or len(iv) not in GCM_IV_SIZES:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the length of the nonce or of the tag")
    return Gcm(iv, aad, size)


def _ctr_acpkm(mechanism: Mechanism) -> CipherPlan:
    """The section is told in bits; the key never changes with a section of none."""
    assert isinstance(mechanism.parameter, bytes)
    bits, iv = int.from_bytes(mechanism.parameter[:4], "big"), mechanism.parameter[4:]
    if bits % (16 * len(iv)):
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "a section is not whole blocks")
    return CipherPlan(CtrAcpkm(iv, bits // 8))


def _mgm(mechanism: Mechanism) -> CipherPlan:
    """A nonce as long as a block, whose first bit is 0; a tag of 4 bytes to a block."""
    parameter, block = mechanism.parameter, _MGM_BLOCKS[mechanism.type]
    assert isinstance(parameter, GcmParams)
    nonce, (size, rest) = parameter.iv or b"", divmod(parameter.tag_bits, 8)
    if len(nonce) != block or nonce[0] & 0x80 or rest or not _MGM_TAG <= size <= block:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the nonce or the length of the tag")
    return CipherPlan(Mgm(nonce, parameter.aad or b"", size))


def _kexp15(mechanism: Mechanism) -> CipherPlan:
    assert isinstance(mechanism.parameter, bytes)
    return CipherPlan(KExp15(mechanism.parameter))


_MGM_BLOCKS: Final = {ck.CKM_KUZNYECHIK_MGM: 16, ck.CKM_MAGMA_MGM: 8}
_MGM_TAG: Final = 4
_FIXED: Final[dict[int, CipherPlan]] = {
    ck.CKM_RSA_PKCS: CipherPlan(RsaPkcs1()),
    ck.CKM_RSA_X_509: CipherPlan(RsaRaw()),
    ck.CKM_AES_ECB: CipherPlan(Ecb()),
    ck.CKM_DES3_ECB: CipherPlan(Ecb()),
    ck.CKM_KUZNYECHIK_ECB: CipherPlan(Ecb()),
    ck.CKM_MAGMA_ECB: CipherPlan(Ecb()),
    ck.CKM_AES_KEY_WRAP: CipherPlan(KeyWrap()),
    # Not that of RFC 5649, which other libraries take it for: PKCS#7 before RFC 3394 (3.1 6.16).
    ck.CKM_AES_KEY_WRAP_PAD: CipherPlan(KeyWrap(), padded=True),
    ck.CKM_AES_KEY_WRAP_KWP: CipherPlan(KeyWrapPadded()),
}
_MAKERS: Final[dict[int, Callable[[Mechanism], CipherPlan]]] = {
    ck.CKM_RSA_PKCS_OAEP: _oaep,
    **dict.fromkeys(
        (ck.CKM_AES_CBC, ck.CKM_AES_CBC_PAD, ck.CKM_DES3_CBC, ck.CKM_DES3_CBC_PAD), _cbc
    ),
    ck.CKM_AES_CTR: _ctr,
    **dict.fromkeys((ck.CKM_KUZNYECHIK_CTR_ACPKM, ck.CKM_MAGMA_CTR_ACPKM), _ctr_acpkm),
    **dict.fromkeys(_MGM_BLOCKS, _mgm),
    **dict.fromkeys((ck.CKM_KUZNYECHIK_KEXP_15_WRAP, ck.CKM_MAGMA_KEXP_15_WRAP), _kexp15),
    ck.CKM_AES_GCM: _gcm,
}
