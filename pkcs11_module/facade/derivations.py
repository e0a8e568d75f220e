"""How the key derivation mechanisms compute the bytes of a new key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pkcs11_module import _constants as ck
from pkcs11_module.facade.attributes import number
from pkcs11_module.facade.base_keys import Base, invalid, stays
from pkcs11_module.facade.keys import point_of
from pkcs11_module.mechanisms.parameters import by_hash, hash_of
from pkcs11_module.types import (
    AesCbcEncryptDataParams,
    Des3CbcEncryptDataParams,
    Ecdh1DeriveParams,
    Gostr3410DeriveParams,
    HkdfParams,
    KdfTreeGostParams,
    KeyDerivationStringData,
    Pkcs11Error,
)
from token_fw.crypto import Cbc, CryptoError, Ecb, Hash, KeyKind, digest
from token_fw.crypto.gost import kdf as gost_kdf
from token_fw.crypto.gost.keg import keg_keys, keg_number
from token_fw.crypto.kdf import hkdf_expand, hkdf_extract, x963

_Keys = tuple[Base, ...]
Compute = Callable[[_Keys, Any, int | None], bytes]


def _no_others(_parameter: object) -> tuple[int, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Derivation:
    """A mechanism of C_DeriveKey.

    `compute` gets the keys, base key first, the mechanism's parameter and the length in bytes
    that the template asks for, None where it leaves it open. What it gives may be longer.
    `others` finds the handles of further keys in the parameter. `passes_on`: the new key is as
    sensitive as those it is made of, and no more extractable. `from_end`: of a longer result the
    last bytes are taken, not the first. `too_short` is the return value where it is not enough.
    """

    compute: Compute
    others: Callable[[Any], tuple[int, ...]] = _no_others
    passes_on: bool = False
    from_end: bool = False
    too_short: int = ck.CKR_TEMPLATE_INCONSISTENT


_KDFS: Final[dict[int, Hash | None]] = {ck.CKD_NULL: None, **by_hash("CKD_{}_KDF")}


def _needed(length: int | None) -> int:
    """The length that the mechanism does not decide; raises Pkcs11Error."""
    if length is None:
        raise Pkcs11Error(ck.CKR_TEMPLATE_INCOMPLETE, "CKA_VALUE_LEN")
    return length


def _agree(keys: _Keys, parameter: Ecdh1DeriveParams, length: int | None) -> bytes:
    """ECDH, X25519 and X448 (PKCS#11 3.1 6.3.18)."""
    if parameter.kdf not in _KDFS:
        raise invalid("the key derivation function is not supported")
    hash_, shared = _KDFS[parameter.kdf], parameter.shared_data or b""
    if hash_ is None and shared:
        raise invalid("CKD_NULL takes no shared data")
    try:
        point = point_of(keys[0].spec, parameter.public_data or b"")
    except CryptoError:
        raise invalid("the public data is no point of the curve") from None
    if hash_ is None:
        return keys[0].agree(point)
    wanted = _needed(length)
    return x963(hash_, keys[0].agree(point), shared, wanted)


def _key_handle(parameter: bytes) -> tuple[int, ...]:
    return (number(parameter),)


def _concatenate_key(keys: _Keys, _parameter: bytes, _length: int | None) -> bytes:
    return keys[0].value() + keys[1].value()


def _append(keys: _Keys, parameter: KeyDerivationStringData, _length: int | None) -> bytes:
    return keys[0].value() + (parameter.data or b"")


def _prepend(keys: _Keys, parameter: KeyDerivationStringData, _length: int | None) -> bytes:
    return (parameter.data or b"") + keys[0].value()


def _xor(keys: _Keys, parameter: KeyDerivationStringData, _length: int | None) -> bytes:
    """As long as the shorter of the two."""
    return bytes(a ^ b for a, b in zip(keys[0].value(), parameter.data or b"", strict=False))


def _extract(keys: _Keys, parameter: bytes, length: int | None) -> bytes:
    """Bits from a position on, around the end where it comes to that (3.1 6.43.7)."""
    first, wanted = number(parameter), _needed(length)
    value = keys[0].value()
    bits = 8 * len(value)
    if first >= bits:
        raise invalid("the key has no such bit")
    whole = int.from_bytes(value, "big")
    turned = (whole << first | whole >> (bits - first)) & (1 << bits) - 1
    return turned.to_bytes(len(value), "big")[:wanted]


def _digest(hash_: Hash) -> Derivation:
    def compute(keys: _Keys, _parameter: bytes | None, _length: int | None) -> bytes:
        return digest.compute(hash_, keys[0].value())

    return Derivation(compute)


def _encrypt_ecb(keys: _Keys, parameter: KeyDerivationStringData, _length: int | None) -> bytes:
    """The cryptogram of the data in the parameter (3.1 6.15)."""
    return keys[0].encrypt(Ecb(), parameter.data or b"")


def _encrypt_cbc(
    keys: _Keys, parameter: AesCbcEncryptDataParams | Des3CbcEncryptDataParams, _length: int | None
) -> bytes:
    return keys[0].encrypt(Cbc(parameter.iv), parameter.data or b"")


def _salt_handle(parameter: HkdfParams) -> tuple[int, ...]:
    from_key = parameter.extract and parameter.salt_type == ck.CKF_HKDF_SALT_KEY
    return (parameter.salt_key,) if from_key else ()


def _hkdf(keys: _Keys, parameter: HkdfParams, length: int | None) -> bytes:
    """HKDF-Extract, HKDF-Expand, or one after the other (RFC 5869, 3.1 6.62.3)."""
    hash_ = hash_of(parameter.prf_hash)
    if not parameter.extract and not parameter.expand:
        raise invalid("neither to extract nor to expand")
    wanted = _needed(length) if parameter.expand else hash_.size
    if wanted > 255 * hash_.size:
        raise Pkcs11Error(ck.CKR_TEMPLATE_INCONSISTENT, "HKDF does not give as many bytes")
    info = parameter.info or b""
    if not parameter.extract and stays(keys[0].target):
        return keys[0].expand(hash_, info, wanted)
    value = keys[0].value()
    if parameter.extract:
        value = hkdf_extract(hash_, _salt(keys, parameter), value)
    return hkdf_expand(hash_, value, info, wanted) if parameter.expand else value


def _salt(keys: _Keys, parameter: HkdfParams) -> bytes | None:
    if parameter.salt_type == ck.CKF_HKDF_SALT_KEY:
        return keys[1].value()
    if parameter.salt_type == ck.CKF_HKDF_SALT_DATA:
        return parameter.salt or b""
    if parameter.salt_type == ck.CKF_HKDF_SALT_NULL:
        return None
    raise invalid("the type of salt is not known")


_KEK: Final = 32
_KEK_LABEL: Final = bytes.fromhex("26BDB878")
"""The label of KDF_GOSTR3411_2012_256 in the example of RFC 7836 4.4; the seed is the UKM."""


def _vko(size: int) -> Compute:
    """VKO_GOSTR3410_2012_256 or _512 (RFC 7836 4.3), and what the KDF makes of the former."""

    def compute(keys: _Keys, parameter: Gostr3410DeriveParams, _length: int | None) -> bytes:
        ukm = parameter.ukm or b""
        diversified = parameter.kdf == ck.CKD_KDF_GOSTR3411_2012_256 and size == _KEK
        if parameter.kdf != ck.CKD_NULL and not diversified:
            raise invalid("the key derivation function is not supported")
        if not any(ukm):
            raise invalid("the UKM is missing or zero")
        agreed = keys[0].vko(parameter.public_data or b"", ukm, size)
        return gost_kdf.kdf(agreed, _KEK_LABEL, ukm) if diversified else agreed

    return compute


def _keg(keys: _Keys, parameter: Ecdh1DeriveParams, _length: int | None) -> bytes:
    """KEG (RFC 9189 8.3.1): the two keys of KExp15; the UKM stands in the place of shared data."""
    ukm = parameter.shared_data or b""
    is_short = keys[0].spec.kind is KeyKind.GOST_256
    if parameter.kdf != ck.CKD_NULL or not _KEG_UKM + (8 if is_short else 0) <= len(ukm) <= _KEK:
        raise invalid("the key derivation function, or the length of the UKM")
    number = keg_number(ukm).to_bytes(_KEG_UKM, "little")
    agreed = keys[0].vko(parameter.public_data or b"", number, _KEK if is_short else 2 * _KEK)
    return keg_keys(agreed, ukm)


_KEG_UKM: Final = 16


def _kdf_tree(keys: _Keys, parameter: KdfTreeGostParams, length: int | None) -> bytes:
    """KDF_TREE_GOSTR3411_2012_256 (RFC 7836 4.5): the key's bytes begin at an offset."""
    end, offset = parameter.length, parameter.offset
    if offset >= end or end > _LONGEST_TREE:
        raise invalid("the offset or the length")
    if length is not None and length > end - offset:
        raise Pkcs11Error(ck.CKR_TEMPLATE_INCONSISTENT, "the mechanism does not give as many bytes")
    label, seed = parameter.label or b"", parameter.seed or b""
    try:
        made = gost_kdf.kdf_tree(keys[0].value(), label, seed, end, parameter.counter_size)
    except CryptoError:
        raise invalid("the length of the counter") from None
    return made[offset:]


_LONGEST_TREE: Final = 1 << 16
_ECDH: Final = Derivation(_agree, from_end=True)
_ENCRYPT_ECB: Final = Derivation(_encrypt_ecb, too_short=ck.CKR_MECHANISM_PARAM_INVALID)
_ENCRYPT_CBC: Final = Derivation(_encrypt_cbc, too_short=ck.CKR_MECHANISM_PARAM_INVALID)
_HKDF: Final = Derivation(_hkdf, others=_salt_handle)

DERIVATIONS: Final[dict[int, Derivation]] = {
    ck.CKM_ECDH1_DERIVE: _ECDH,
    # The curves that there are have the cofactor 1.
    ck.CKM_ECDH1_COFACTOR_DERIVE: _ECDH,
    ck.CKM_CONCATENATE_BASE_AND_KEY: Derivation(
        _concatenate_key, others=_key_handle, passes_on=True
    ),
    ck.CKM_CONCATENATE_BASE_AND_DATA: Derivation(_append, passes_on=True),
    ck.CKM_CONCATENATE_DATA_AND_BASE: Derivation(_prepend, passes_on=True),
    ck.CKM_XOR_BASE_AND_DATA: Derivation(_xor, passes_on=True),
    ck.CKM_EXTRACT_KEY_FROM_KEY: Derivation(_extract, passes_on=True),
    **{mechanism: _digest(hash_) for mechanism, hash_ in by_hash("CKM_{}_KEY_DERIVATION").items()},
    ck.CKM_AES_ECB_ENCRYPT_DATA: _ENCRYPT_ECB,
    ck.CKM_AES_CBC_ENCRYPT_DATA: _ENCRYPT_CBC,
    ck.CKM_DES3_ECB_ENCRYPT_DATA: _ENCRYPT_ECB,
    ck.CKM_DES3_CBC_ENCRYPT_DATA: _ENCRYPT_CBC,
    ck.CKM_GOSTR3410_12_DERIVE: Derivation(_vko(_KEK)),
    ck.CKM_VKO_GOSTR3410_2012_512: Derivation(_vko(2 * _KEK)),
    ck.CKM_KDF_TREE_GOSTR3411_2012_256: Derivation(_kdf_tree),
    ck.CKM_GOST_KEG: Derivation(_keg),
    ck.CKM_HKDF_DERIVE: _HKDF,
    ck.CKM_HKDF_DATA: _HKDF,
}
"""Every mechanism of C_DeriveKey."""
