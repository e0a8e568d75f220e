"""What stands in the parameters of mechanisms, and in the security environment of a card."""

from __future__ import annotations

import sys
from typing import Final

from apdu import tlv
from pkcs11_module import _constants as ck
from pkcs11_module.types import Mechanism, Pkcs11Error
from token_fw.crypto import Hash, encode_oid

HASHES: Final[dict[str, Hash]] = {
    "SHA_1": Hash.SHA1,
    "SHA224": Hash.SHA224,
    "SHA256": Hash.SHA256,
    "SHA384": Hash.SHA384,
    "SHA512": Hash.SHA512,
    "SHA3_224": Hash.SHA3_224,
    "SHA3_256": Hash.SHA3_256,
    "SHA3_384": Hash.SHA3_384,
    "SHA3_512": Hash.SHA3_512,
}
"""Hash functions by their part of the names of mechanisms; in most of them SHA-1 is SHA1."""


def by_hash(pattern: str, sha1: str = "SHA1") -> dict[int, Hash]:
    """The constants of a family, "CKM_{}_RSA_PKCS" for example, with their hash functions.

    `sha1` is what SHA-1 is called in the family.
    """
    return {
        getattr(ck, pattern.format(sha1 if hash_ is Hash.SHA1 else name)): hash_
        for name, hash_ in HASHES.items()
    }


_DIGESTS: Final = by_hash("CKM_{}", "SHA_1")
_STREEBOG: Final = {
    ck.CKM_GOSTR3411_12_256: Hash.STREEBOG256,
    ck.CKM_GOSTR3411_12_512: Hash.STREEBOG512,
}
HASH_IDENTIFIERS: Final = {
    Hash.STREEBOG256: encode_oid("1.2.643.7.1.1.2.2"),
    Hash.STREEBOG512: encode_oid("1.2.643.7.1.1.2.3"),
}
"""Hash functions that a parameter or an attribute names by an identifier, in DER (RFC 9215 3)."""
_MASKS: Final = by_hash("CKG_MGF1_{}")
_CARD_HASH: Final[dict[Hash, int]] = {hash_: code for code, hash_ in enumerate(Hash, start=1)}


def hash_of(mechanism: int) -> Hash:
    """The hash function a parameter names; raises Pkcs11Error (CKR_MECHANISM_PARAM_INVALID)."""
    hash_ = _DIGESTS.get(mechanism)
    if hash_ is None:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the hash function is not supported")
    return hash_


def mask_of(function: int) -> Hash:
    """The hash function of a mask generation function; raises as `hash_of`."""
    hash_ = _MASKS.get(function)
    if hash_ is None:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the mask function is not supported")
    return hash_


def digest_of(mechanism: Mechanism) -> Hash:
    """The hash function of a digest mechanism; raises as `check_identifier`."""
    hash_ = _STREEBOG.get(mechanism.type)
    if hash_ is None:
        return _DIGESTS[mechanism.type]
    check_identifier(mechanism, hash_)
    return hash_


def check_identifier(mechanism: Mechanism, hash_: Hash) -> None:
    """Whether a parameter that may name the hash function names that one.

    Raises Pkcs11Error (CKR_MECHANISM_PARAM_INVALID).
    """
    if mechanism.parameter and mechanism.parameter != HASH_IDENTIFIERS[hash_]:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the hash is not the mechanism's")


def length_in(mechanism: Mechanism, longest: int) -> int:
    """The length in bytes in a CK_MAC_GENERAL_PARAMS, 1 to `longest`; raises Pkcs11Error."""
    parameter = mechanism.parameter
    assert isinstance(parameter, bytes)
    length = int.from_bytes(parameter, sys.byteorder)
    if not 1 <= length <= longest:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the length of the code")
    return length


def algorithm(code: int, *objects: tuple[int, bytes]) -> bytes:
    """MSE data objects: the algorithm reference, and others by tag and value."""
    return tlv.encode(0x80, bytes((code,))) + b"".join(tlv.encode(*item) for item in objects)


def card_hash(hash_: Hash) -> bytes:
    """A hash function as the card names it."""
    return bytes((_CARD_HASH[hash_],))
