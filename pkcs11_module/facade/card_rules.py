"""What the card is told that a key may do, by the attributes of its object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pkcs11_module import _constants as ck
from pkcs11_module.cards.card_keys import (
    POLICY_ALWAYS_AUTHENTICATE,
    POLICY_EXPORT,
    USAGE_DECRYPT,
    USAGE_DERIVE,
    USAGE_ENCRYPT,
    USAGE_MAC,
    USAGE_SIGN,
    USAGE_UNWRAP,
    USAGE_WRAP,
)
from pkcs11_module.facade.attributes import TRUE
from token_fw.crypto import KeyKind, KeySpec

_DERIVING: Final = frozenset({KeyKind.AES, KeyKind.DES3})
_BLOCK: Final = _DERIVING | {KeyKind.KUZNYECHIK, KeyKind.MAGMA}
_TWIN: Final = frozenset({KeyKind.KUZNYECHIK_TWIN, KeyKind.MAGMA_TWIN})
_GOST: Final = frozenset({KeyKind.GOST_256, KeyKind.GOST_512})
_CARD_USAGE: Final[tuple[tuple[int, int, frozenset[KeyKind]], ...]] = (
    (
        ck.CKA_SIGN,
        USAGE_SIGN,
        _GOST | {KeyKind.RSA, KeyKind.EC, KeyKind.ED25519, KeyKind.ED448, KeyKind.ML_DSA},
    ),
    (ck.CKA_SIGN_RECOVER, USAGE_SIGN, frozenset({KeyKind.RSA})),
    (ck.CKA_DECRYPT, USAGE_DECRYPT, _BLOCK | {KeyKind.RSA}),
    (ck.CKA_UNWRAP, USAGE_UNWRAP, _BLOCK | _TWIN | {KeyKind.RSA}),
    (ck.CKA_DECAPSULATE, USAGE_DECRYPT, frozenset({KeyKind.ML_KEM})),
    (
        ck.CKA_DERIVE,
        USAGE_DERIVE,
        _GOST | {KeyKind.EC, KeyKind.X25519, KeyKind.X448, KeyKind.GENERIC},
    ),
    # These derive by enciphering what the application gives.
    (ck.CKA_DERIVE, USAGE_DERIVE | USAGE_ENCRYPT, _DERIVING),
    (ck.CKA_ENCRYPT, USAGE_ENCRYPT, _BLOCK),
    (ck.CKA_WRAP, USAGE_WRAP, _BLOCK | _TWIN),
    (ck.CKA_SIGN, USAGE_MAC, _BLOCK | {KeyKind.GENERIC}),
    (ck.CKA_VERIFY, USAGE_MAC, _BLOCK | {KeyKind.GENERIC}),
)
"""Attribute, what it lets the card do, and for which kinds of key."""


def card_usage(full: Mapping[int, bytes], spec: KeySpec) -> int:
    """Usage flags of the card for a key; what the kind of key cannot do is left out."""
    usage = 0
    for name, flag, kinds in _CARD_USAGE:
        if full.get(name) == TRUE and spec.kind in kinds:
            usage |= flag
    return usage


def card_policy(full: Mapping[int, bytes]) -> int:
    """Policy flags of the card for a private or secret key."""
    policy = POLICY_ALWAYS_AUTHENTICATE if full.get(ck.CKA_ALWAYS_AUTHENTICATE) == TRUE else 0
    return policy | (POLICY_EXPORT if full[ck.CKA_EXTRACTABLE] == TRUE else 0)
