"""Secret keys: their types and lengths, and what templates say of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pkcs11_module import _constants as ck
from pkcs11_module.attribute_model import Form
from pkcs11_module.facade.attributes import checked, number
from pkcs11_module.mechanisms.parameters import by_hash
from pkcs11_module.types import Pkcs11Error
from token_fw.crypto import (
    MAX_GENERIC_BYTES,
    KeyKind,
    KeySpec,
    SecretKey,
    secret_key,
    with_odd_parity,
)

KINDS: Final[dict[int, KeyKind]] = {
    ck.CKK_AES: KeyKind.AES,
    ck.CKK_DES2: KeyKind.DES3,
    ck.CKK_DES3: KeyKind.DES3,
    ck.CKK_GENERIC_SECRET: KeyKind.GENERIC,
    ck.CKK_HKDF: KeyKind.GENERIC,
    ck.CKK_KUZNYECHIK: KeyKind.KUZNYECHIK,
    ck.CKK_MAGMA: KeyKind.MAGMA,
    ck.CKK_KUZNYECHIK_TWIN_KEY: KeyKind.KUZNYECHIK_TWIN,
    ck.CKK_MAGMA_TWIN_KEY: KeyKind.MAGMA_TWIN,
    **dict.fromkeys(by_hash("CKK_{}_HMAC", "SHA_1"), KeyKind.GENERIC),
}
"""CKK_ number of a secret key to what the algorithms know it as."""
LENGTHS: Final = {
    ck.CKK_DES2: 16,
    ck.CKK_DES3: 24,
    ck.CKK_KUZNYECHIK: 32,
    ck.CKK_MAGMA: 32,
    ck.CKK_KUZNYECHIK_TWIN_KEY: 64,
    ck.CKK_MAGMA_TWIN_KEY: 64,
}
"""Key types whose values all have one length, in bytes; CKA_VALUE_LEN is no attribute of theirs."""

_AES_LENGTHS: Final = (16, 24, 32)


def type_in(given: Mapping[int, bytes]) -> int:
    """The type of key that a template names, generic where it names none; raises Pkcs11Error."""
    named = given.get(ck.CKA_KEY_TYPE)
    return ck.CKK_GENERIC_SECRET if named is None else number(checked(Form.ULONG, named))


def length_in(given: Mapping[int, bytes], key_type: int) -> int | None:
    """How long a template wants the value to be, in bytes; None where it does not say.

    Raises Pkcs11Error: CKR_ATTRIBUTE_VALUE_INVALID for a malformed CKA_VALUE_LEN,
    CKR_TEMPLATE_INCONSISTENT for one that the key type does not have.
    """
    fixed = LENGTHS.get(key_type)
    told = given.get(ck.CKA_VALUE_LEN)
    if told is None:
        return fixed
    length = number(checked(Form.ULONG, told))
    if fixed not in (None, length):
        raise Pkcs11Error(ck.CKR_TEMPLATE_INCONSISTENT, "CKA_VALUE_LEN")
    return length


def without_length(given: Mapping[int, bytes], key_type: int) -> dict[int, bytes]:
    """A template that `length_in` has looked at, without a CKA_VALUE_LEN that is no attribute."""
    return {
        name: value
        for name, value in given.items()
        if name != ck.CKA_VALUE_LEN or key_type not in LENGTHS
    }


def lengths_of(key_type: int) -> tuple[int, ...] | range:
    """The lengths in bytes that values of a key type may have."""
    fixed = LENGTHS.get(key_type)
    if fixed is not None:
        return (fixed,)
    return _AES_LENGTHS if key_type == ck.CKK_AES else range(1, MAX_GENERIC_BYTES + 1)


def spec_of(key_type: int, length: int, refusal: int) -> KeySpec:
    """The kind of a key with a value of `length` bytes; raises Pkcs11Error (`refusal`)."""
    kind = KINDS.get(key_type)
    if kind is None:
        raise Pkcs11Error(ck.CKR_TEMPLATE_INCONSISTENT, "not a type of secret key")
    if length not in lengths_of(key_type):
        raise Pkcs11Error(refusal, "no key of that type has that length")
    return KeySpec.secret(kind, 8 * length)


def key_of(key_type: int, value: bytes, refusal: int) -> SecretKey:
    """The key with that value.

    Raises Pkcs11Error (`refusal`) where the type has no such length, or the parity bits of a DES
    key are wrong (3.1 6.18.4).
    """
    spec = spec_of(key_type, len(value), refusal)
    if spec.kind is KeyKind.DES3 and value != with_odd_parity(value):
        raise Pkcs11Error(refusal, "the parity bits of the key are wrong")
    return secret_key(spec, value)


def derived_key(key_type: int, value: bytes) -> SecretKey:
    """The key of bytes that were computed, the parity bits of a DES key being set (3.1 6.43.3).

    Raises Pkcs11Error (CKR_TEMPLATE_INCONSISTENT) where the type has no such length.
    """
    spec = spec_of(key_type, len(value), ck.CKR_TEMPLATE_INCONSISTENT)
    return secret_key(spec, with_odd_parity(value) if spec.kind is KeyKind.DES3 else value)
