"""Which module of the facade has the handler of a function; it is loaded at the first call.

Most programs log in, look for a key and sign: what encrypts, wraps or derives is not theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from pkcs11_module.facade.registry import HANDLERS

FUNCTIONS: Final[dict[str, tuple[str, ...]]] = {
    "cipher": (
        "C_EncryptInit",
        "C_Encrypt",
        "C_EncryptUpdate",
        "C_EncryptFinal",
        "C_DecryptInit",
        "C_Decrypt",
        "C_DecryptUpdate",
        "C_DecryptFinal",
    ),
    "copying": ("C_CopyObject",),
    "derive": ("C_DeriveKey",),
    "digest": (
        "C_DigestInit",
        "C_Digest",
        "C_DigestUpdate",
        "C_DigestKey",
        "C_DigestFinal",
    ),
    "dual": (
        "C_DigestEncryptUpdate",
        "C_DecryptDigestUpdate",
        "C_SignEncryptUpdate",
        "C_DecryptVerifyUpdate",
    ),
    "encapsulate": (
        "C_EncapsulateKey",
        "C_DecapsulateKey",
    ),
    "extended": (
        "C_EX_GetTokenInfoExtended",
        "C_EX_GetTokenName",
    ),
    "find": (
        "C_FindObjectsInit",
        "C_FindObjects",
        "C_FindObjectsFinal",
    ),
    "keygen": (
        "C_GenerateKey",
        "C_GenerateKeyPair",
    ),
    "login": (
        "C_InitPIN",
        "C_SetPIN",
        "C_Login",
        "C_Logout",
        "C_LoginUser",
    ),
    "message_signing": (
        "C_MessageSignInit",
        "C_SignMessage",
        "C_SignMessageBegin",
        "C_SignMessageNext",
        "C_MessageSignFinal",
        "C_MessageVerifyInit",
        "C_VerifyMessage",
        "C_VerifyMessageBegin",
        "C_VerifyMessageNext",
        "C_MessageVerifyFinal",
    ),
    "messages": (
        "C_MessageEncryptInit",
        "C_EncryptMessage",
        "C_EncryptMessageBegin",
        "C_EncryptMessageNext",
        "C_MessageEncryptFinal",
        "C_MessageDecryptInit",
        "C_DecryptMessage",
        "C_DecryptMessageBegin",
        "C_DecryptMessageNext",
        "C_MessageDecryptFinal",
    ),
    "objects": (
        "C_CreateObject",
        "C_DestroyObject",
        "C_GetObjectSize",
        "C_GetAttributeValue",
        "C_SetAttributeValue",
    ),
    "operation_state": (
        "C_GetOperationState",
        "C_SetOperationState",
    ),
    "random": (
        "C_SeedRandom",
        "C_GenerateRandom",
    ),
    "sessions": (
        "C_OpenSession",
        "C_CloseSession",
        "C_CloseAllSessions",
        "C_GetSessionInfo",
        "C_SessionCancel",
        "C_GetSessionValidationFlags",
    ),
    "sign": (
        "C_SignInit",
        "C_Sign",
        "C_SignUpdate",
        "C_SignFinal",
        "C_SignRecoverInit",
        "C_SignRecover",
    ),
    "slots": (
        "C_GetInfo",
        "C_GetSlotList",
        "C_GetSlotInfo",
        "C_GetTokenInfo",
        "C_GetMechanismList",
        "C_GetMechanismInfo",
        "C_InitToken",
        "C_WaitForSlotEvent",
    ),
    "verify": (
        "C_VerifyInit",
        "C_Verify",
        "C_VerifyUpdate",
        "C_VerifyFinal",
        "C_VerifyRecoverInit",
        "C_VerifyRecover",
        "C_VerifySignatureInit",
        "C_VerifySignature",
        "C_VerifySignatureUpdate",
        "C_VerifySignatureFinal",
    ),
    "wrap": (
        "C_WrapKey",
        "C_UnwrapKey",
        "C_WrapKeyAuthenticated",
        "C_UnwrapKeyAuthenticated",
    ),
}
"""The functions by the module that has their handlers."""

_MODULES: Final = {name: module for module, names in FUNCTIONS.items() for name in names}
_ready: dict[str, Callable[..., Any]] = {}
"""The handlers whose modules are loaded to the end: those of HANDLERS register one by one."""


def handler(name: str) -> Callable[..., Any] | None:
    """What runs the function of that name; None where there is no such function."""
    found = _ready.get(name)
    if found is None and (module := _MODULES.get(name)) is not None:
        import_module(f"{__package__}.{module}")
        found = _ready[name] = HANDLERS[name]
    return found
