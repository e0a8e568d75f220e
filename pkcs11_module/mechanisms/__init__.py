"""Mechanisms: what C_GetMechanismInfo tells of them, and what an operation with one comes down to.

Signatures and ciphers are plans: a scheme of `token_fw.crypto`, which the middleware runs for keys
of the session, and the MSE data objects that make a card do the same with a key of its own.
"""

from pkcs11_module.mechanisms.checks import (
    MECHANISMS,
    check,
    check_key,
    check_size,
    mechanism_list,
)
from pkcs11_module.mechanisms.ciphers import CipherPlan, cipher
from pkcs11_module.mechanisms.parameters import digest_of, hash_of, mask_of
from pkcs11_module.mechanisms.signatures import SignaturePlan, signature
from pkcs11_module.rulebook import Capability, Function

__all__ = [
    "MECHANISMS",
    "Capability",
    "CipherPlan",
    "Function",
    "SignaturePlan",
    "check",
    "check_key",
    "check_size",
    "cipher",
    "digest_of",
    "hash_of",
    "mask_of",
    "mechanism_list",
    "signature",
]
