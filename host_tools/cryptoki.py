"""A client of the PKCS#11 library through its C interface, as any program would use it.

Handles and CKR_/CKA_/CKM_ numbers are plain ints; see `pkcs11_module._constants`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from ctypes import byref, c_ulong, c_void_p, cast
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import pkcs11_module
from host_tools.cryptoki_types import (
    CK_STRUCTS,
    CkAttribute,
    CkInitializeArgs,
    CkVersion,
    LibraryInfo,
    MechanismInfo,
    SessionInfo,
    SlotInfo,
    TokenInfo,
    argument_types,
    field_value,
)
from host_tools.cryptoki_values import (
    GcmMessage,
    Mechanism,
    Template,
    encode,
    gcm,
    mechanism_of,
    oaep,
    pss,
    template_of,
    ulong,
)
from pkcs11_module._constants import (
    CK_UNAVAILABLE_INFORMATION,
    CKF_END_OF_MESSAGE,
    CKF_OS_LOCKING_OK,
    CKF_RW_SESSION,
    CKF_SERIAL_SESSION,
    CKR_ATTRIBUTE_SENSITIVE,
    CKR_ATTRIBUTE_TYPE_INVALID,
    CKR_NAMES,
    CKR_OK,
    CKR_SIGNATURE_INVALID,
    CKR_SIGNATURE_LEN_RANGE,
    CKU_CONTEXT_SPECIFIC,
)
from pkcs11_module._functions import FUNCTIONS, STRUCTS

__all__ = [
    "LIBRARY",
    "Cryptoki",
    "CryptokiError",
    "GcmMessage",
    "Mechanism",
    "Session",
    "Template",
    "encode",
    "gcm",
    "oaep",
    "pss",
    "ulong",
]

LIBRARY: Final = Path(pkcs11_module.__file__).with_name("libklyuch-pkcs11.so")

_FIND_BATCH: Final = 64
_WRONG: Final = (CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE)
_Struct = TypeVar("_Struct")


class CryptokiError(Exception):
    """A function gave a return value other than CKR_OK."""

    def __init__(self, rv: int, function: str) -> None:
        self.rv: Final = rv
        self.name: Final = CKR_NAMES.get(rv, f"0x{rv:08X}")
        self.function: Final = function
        super().__init__(f"{function}: {self.name}")


def _known(attribute: CkAttribute) -> bool:
    return bool(attribute.ulValueLen != CK_UNAVAILABLE_INFORMATION)


class _FunctionList(ctypes.Structure):
    """CK_FUNCTION_LIST of version 2.40 (4.6)."""

    _fields_ = (
        ("version", CkVersion),
        ("functions", c_void_p * sum(spec.since <= (2, 40) for spec in FUNCTIONS)),
    )


class Cryptoki:
    """The library, loaded; between `initialize` and `finalize` it is one application.

    Raises CryptokiError from every method but `__init__`, which raises OSError. `raw` has the
    functions that the library has: one of version 2.40 lacks those that came later.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path: Final = path or LIBRARY
        self.library: Final = ctypes.CDLL(str(self.path))
        self.raw: Final[dict[str, Callable[..., int]]] = {}
        listed = ctypes.POINTER(_FunctionList)()
        self.library.C_GetFunctionList(byref(listed))
        for spec in FUNCTIONS:
            made = ctypes.CFUNCTYPE(c_ulong, *argument_types(spec.arguments))
            if hasattr(self.library, spec.name):
                self.raw[spec.name] = made((spec.name, self.library))
            elif spec.number < len(listed.contents.functions):
                # C_GetFunctionList is the only symbol that every library exports.
                self.raw[spec.name] = made(listed.contents.functions[spec.number])

    def call(self, name: str, *args: object, allowed: Iterable[int] = ()) -> int:
        """Call a C function and give its return value, CKR_OK or one of `allowed`."""
        rv = self.raw[name](*args)
        if rv != CKR_OK and rv not in allowed:
            raise CryptokiError(rv, name)
        return rv

    def initialize(self) -> None:
        """C_Initialize for a program with threads."""
        self.call("C_Initialize", byref(CkInitializeArgs(flags=CKF_OS_LOCKING_OK)))

    def finalize(self) -> None:
        """C_Finalize."""
        self.call("C_Finalize", None)

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finalize()

    def struct(
        self, made: Callable[..., _Struct], struct: str, name: str, *args: object
    ) -> _Struct:
        """Call a function whose last argument is an output structure."""
        raw = CK_STRUCTS[struct]()
        self.call(name, *args, byref(raw))
        return made(*(field_value(field, getattr(raw, field.name)) for field in STRUCTS[struct]))

    def _ulongs(self, name: str, *args: object) -> list[int]:
        count = c_ulong()
        self.call(name, *args, None, byref(count))
        items = (c_ulong * count.value)()
        self.call(name, *args, items, byref(count))
        return list(items[: count.value])

    def info(self) -> LibraryInfo:
        return self.struct(LibraryInfo, "CK_INFO", "C_GetInfo")

    def slots(self, present: bool = True) -> list[int]:
        return self._ulongs("C_GetSlotList", present)

    def slot_info(self, slot: int) -> SlotInfo:
        return self.struct(SlotInfo, "CK_SLOT_INFO", "C_GetSlotInfo", slot)

    def token_info(self, slot: int) -> TokenInfo:
        return self.struct(TokenInfo, "CK_TOKEN_INFO", "C_GetTokenInfo", slot)

    def mechanisms(self, slot: int) -> list[int]:
        return self._ulongs("C_GetMechanismList", slot)

    def mechanism_info(self, slot: int, mechanism: int) -> MechanismInfo:
        return self.struct(
            MechanismInfo, "CK_MECHANISM_INFO", "C_GetMechanismInfo", slot, mechanism
        )

    def wait_for_slot_event(self, flags: int = 0) -> int:
        """The slot where a token came or went; blocks unless the flags are CKF_DONT_BLOCK."""
        slot = c_ulong()
        self.call("C_WaitForSlotEvent", flags, byref(slot), None)
        return slot.value

    def init_token(self, slot: int, so_pin: bytes, label: str) -> None:
        padded = label.encode().ljust(32)
        if len(padded) > 32:
            raise ValueError("a token's label has at most 32 bytes")
        self.call("C_InitToken", slot, so_pin, len(so_pin), padded)

    def close_all_sessions(self, slot: int) -> None:
        self.call("C_CloseAllSessions", slot)

    def open_session(self, slot: int, rw: bool = True) -> Session:
        handle = c_ulong()
        flags = CKF_SERIAL_SESSION | (CKF_RW_SESSION if rw else 0)
        self.call("C_OpenSession", slot, flags, None, None, byref(handle))
        return Session(self, handle.value)


class Session:
    """One session; a context manager that closes it."""

    def __init__(self, library: Cryptoki, handle: int) -> None:
        self.library: Final = library
        self.handle: Final = handle

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A session that died with its daemon must not hide what ended the block.
        if error is None:
            self.close()
        else:
            self.library.raw["C_CloseSession"](self.handle)

    def call(self, name: str, *args: object, allowed: Iterable[int] = ()) -> int:
        """Call a C function whose first argument is this session."""
        return self.library.call(name, self.handle, *args, allowed=allowed)

    def close(self) -> None:
        self.call("C_CloseSession")

    def info(self) -> SessionInfo:
        return self.library.struct(SessionInfo, "CK_SESSION_INFO", "C_GetSessionInfo", self.handle)

    def login(self, user_type: int, pin: bytes | None) -> None:
        """C_Login; no PIN where the token has a path of its own to ask for it."""
        self.call("C_Login", user_type, pin, len(pin or b""))

    def logout(self) -> None:
        self.call("C_Logout")

    def init_pin(self, pin: bytes) -> None:
        self.call("C_InitPIN", pin, len(pin))

    def set_pin(self, old: bytes, new: bytes) -> None:
        self.call("C_SetPIN", old, len(old), new, len(new))

    def find(self, template: Template | None = None) -> list[int]:
        """Handles of all objects that have the template's attributes."""
        self.call("C_FindObjectsInit", *template_of(template or {}))
        found: list[int] = []
        try:
            while True:
                batch, count = (c_ulong * _FIND_BATCH)(), c_ulong()
                self.call("C_FindObjects", batch, _FIND_BATCH, byref(count))
                found += batch[: count.value]
                if count.value < _FIND_BATCH:
                    return found
        finally:
            self.library.raw["C_FindObjectsFinal"](self.handle)

    def attributes(self, handle: int, *types: int) -> dict[int, bytes | None]:
        """Attribute values; None where the object has none or does not show it."""
        missing = (CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_SENSITIVE)
        items = (CkAttribute * len(types))(*(CkAttribute(kind) for kind in types))
        self.call("C_GetAttributeValue", handle, items, len(items), allowed=missing)
        buffers = [
            None
            if not _known(item)
            # An empty value still takes a pointer: NULL would ask for the length again.
            else ctypes.create_string_buffer(item.ulValueLen + 1)
            for item in items
        ]
        for item, buffer in zip(items, buffers, strict=True):
            item.pValue = None if buffer is None else cast(buffer, c_void_p)
        self.call("C_GetAttributeValue", handle, items, len(items), allowed=missing)
        return {
            item.type: buffer.raw[: item.ulValueLen] if buffer and _known(item) else None
            for item, buffer in zip(items, buffers, strict=True)
        }

    def template(self, handle: int, kind: int) -> dict[int, bytes] | None:
        """The flat template that is the value of an attribute; None where the object has none."""
        outer = CkAttribute(kind)
        missing = (CKR_ATTRIBUTE_TYPE_INVALID,)
        self.call("C_GetAttributeValue", handle, byref(outer), 1, allowed=missing)
        if not _known(outer):
            return None
        size = outer.ulValueLen
        inner = (CkAttribute * (size // ctypes.sizeof(CkAttribute)))()
        outer.pValue = cast(inner, c_void_p)
        self.call("C_GetAttributeValue", handle, byref(outer), 1)
        buffers = [ctypes.create_string_buffer(one.ulValueLen + 1) for one in inner]
        for one, buffer in zip(inner, buffers, strict=True):
            one.pValue = cast(buffer, c_void_p)
        outer.ulValueLen = size
        self.call("C_GetAttributeValue", handle, byref(outer), 1)
        return {
            one.type: buffer.raw[: one.ulValueLen]
            for one, buffer in zip(inner, buffers, strict=True)
        }

    def create(self, template: Template) -> int:
        """C_CreateObject; gives the handle."""
        return self._ulong("C_CreateObject", *template_of(template))

    def copy(self, handle: int, template: Template) -> int:
        """C_CopyObject; gives the copy's handle."""
        return self._ulong("C_CopyObject", handle, *template_of(template))

    def set_attributes(self, handle: int, template: Template) -> None:
        self.call("C_SetAttributeValue", handle, *template_of(template))

    def destroy(self, handle: int) -> None:
        self.call("C_DestroyObject", handle)

    def generate_key_pair(
        self, mechanism: Mechanism, public: Template, private: Template
    ) -> tuple[int, int]:
        """Handles of the public and of the private key."""
        first, second = c_ulong(), c_ulong()
        self.call(
            "C_GenerateKeyPair",
            mechanism_of(mechanism),
            *template_of(public),
            *template_of(private),
            byref(first),
            byref(second),
        )
        return first.value, second.value

    def _ulong(self, name: str, *args: object) -> int:
        """Call a function that ends in the place of a CK_ULONG, most often a new handle."""
        value = c_ulong()
        self.call(name, *args, byref(value))
        return value.value

    def generate_key(self, mechanism: Mechanism, template: Template) -> int:
        return self._ulong("C_GenerateKey", mechanism_of(mechanism), *template_of(template))

    def derive(self, mechanism: Mechanism, key: int, template: Template) -> int:
        return self._ulong("C_DeriveKey", mechanism_of(mechanism), key, *template_of(template))

    def wrap(self, mechanism: Mechanism, wrapping: int, key: int) -> bytes:
        return self.output("C_WrapKey", mechanism_of(mechanism), wrapping, key)

    def unwrap(
        self, mechanism: Mechanism, unwrapping: int, wrapped: bytes, template: Template
    ) -> int:
        data = (wrapped, len(wrapped))
        return self._ulong(
            "C_UnwrapKey", mechanism_of(mechanism), unwrapping, *data, *template_of(template)
        )

    def wrap_authenticated(
        self, mechanism: Mechanism, wrapping: int, key: int, aad: bytes = b""
    ) -> bytes:
        """C_WrapKeyAuthenticated; nonce and tag come back in the mechanism's parameter."""
        made = mechanism_of(mechanism)
        return self.output("C_WrapKeyAuthenticated", made, wrapping, key, aad, len(aad))

    def unwrap_authenticated(
        self,
        mechanism: Mechanism,
        unwrapping: int,
        wrapped: bytes,
        template: Template,
        aad: bytes = b"",
    ) -> int:
        data = (wrapped, len(wrapped), *template_of(template), aad, len(aad))
        return self._ulong("C_UnwrapKeyAuthenticated", mechanism_of(mechanism), unwrapping, *data)

    def encapsulate(self, mechanism: Mechanism, key: int, template: Template) -> tuple[bytes, int]:
        """Ciphertext and handle of the new key."""
        made, size, handle = mechanism_of(mechanism), c_ulong(), c_ulong()
        args = (made, key, *template_of(template))
        self.call("C_EncapsulateKey", *args, None, byref(size), None)
        buffer = ctypes.create_string_buffer(size.value)
        self.call("C_EncapsulateKey", *args, buffer, byref(size), byref(handle))
        return buffer.raw[: size.value], handle.value

    def decapsulate(
        self, mechanism: Mechanism, key: int, ciphertext: bytes, template: Template
    ) -> int:
        args = (key, *template_of(template), ciphertext, len(ciphertext))
        return self._ulong("C_DecapsulateKey", mechanism_of(mechanism), *args)

    def output(self, name: str, *args: object) -> bytes:
        """Call a function that ends in an output buffer: ask for the length, then for the data."""
        size = c_ulong()
        self.call(name, *args, None, byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self.call(name, *args, buffer, byref(size))
        return buffer.raw[: size.value]

    def sign(self, mechanism: Mechanism, key: int, data: bytes, pin: bytes | None = None) -> bytes:
        """C_SignInit, C_Sign; between them a login with the PIN, for CKA_ALWAYS_AUTHENTICATE."""
        self.call("C_SignInit", mechanism_of(mechanism), key)
        if pin is not None:
            self.login(CKU_CONTEXT_SPECIFIC, pin)
        return self.output("C_Sign", data, len(data))

    def sign_parts(self, mechanism: Mechanism, key: int, parts: Sequence[bytes]) -> bytes:
        """C_SignInit, C_SignUpdate for every part, C_SignFinal."""
        self.call("C_SignInit", mechanism_of(mechanism), key)
        for part in parts:
            self.call("C_SignUpdate", part, len(part))
        return self.output("C_SignFinal")

    def verify(self, mechanism: Mechanism, key: int, data: bytes, signature: bytes) -> bool:
        """Whether the signature is the key's; raises CryptokiError for any other failure."""
        self.call("C_VerifyInit", mechanism_of(mechanism), key)
        rv = self.call("C_Verify", data, len(data), signature, len(signature), allowed=_WRONG)
        return rv == CKR_OK

    def decrypt(self, mechanism: Mechanism, key: int, data: bytes) -> bytes:
        self.call("C_DecryptInit", mechanism_of(mechanism), key)
        return self.output("C_Decrypt", data, len(data))

    def encrypt(self, mechanism: Mechanism, key: int, data: bytes) -> bytes:
        self.call("C_EncryptInit", mechanism_of(mechanism), key)
        return self.output("C_Encrypt", data, len(data))

    def digest(self, mechanism: Mechanism, data: bytes) -> bytes:
        self.call("C_DigestInit", mechanism_of(mechanism))
        return self.output("C_Digest", data, len(data))

    def random(self, size: int) -> bytes:
        """`size` random bytes from the token."""
        buffer = ctypes.create_string_buffer(size)
        self.call("C_GenerateRandom", buffer, size)
        return buffer.raw

    def crypt_parts(
        self, name: str, mechanism: Mechanism, key: int, parts: Sequence[bytes]
    ) -> bytes:
        """C_EncryptInit, C_EncryptUpdate for every part, C_EncryptFinal; or those of "Decrypt"."""
        self.call(f"C_{name}Init", mechanism_of(mechanism), key)
        done = [self.output(f"C_{name}Update", part, len(part)) for part in parts]
        return b"".join((*done, self.output(f"C_{name}Final")))

    def digest_parts(self, mechanism: Mechanism, parts: Sequence[bytes]) -> bytes:
        self.call("C_DigestInit", mechanism_of(mechanism))
        for part in parts:
            self.call("C_DigestUpdate", part, len(part))
        return self.output("C_DigestFinal")

    def login_user(self, user_type: int, pin: bytes, name: bytes) -> None:
        self.call("C_LoginUser", user_type, pin, len(pin), name, len(name))

    def cancel(self, flags: int) -> None:
        """C_SessionCancel of the operations that CKF_ flags name."""
        self.call("C_SessionCancel", flags)

    def validation_flags(self, kind: int) -> int:
        return self._ulong("C_GetSessionValidationFlags", kind)

    def encrypt_message(self, message: GcmMessage, aad: bytes, data: bytes) -> bytes:
        """C_EncryptMessage between C_MessageEncryptInit and C_MessageEncryptFinal."""
        return self.output("C_EncryptMessage", *message.argument, aad, len(aad), data, len(data))

    def decrypt_message(self, message: GcmMessage, aad: bytes, data: bytes) -> bytes:
        return self.output("C_DecryptMessage", *message.argument, aad, len(aad), data, len(data))

    def message_parts(
        self, name: str, message: GcmMessage, aad: bytes, parts: Sequence[bytes]
    ) -> bytes:
        """C_EncryptMessageBegin and a C_EncryptMessageNext a part; or those of "Decrypt"."""
        self.call(f"C_{name}MessageBegin", *message.argument, aad, len(aad))
        done = b""
        for number, part in enumerate(parts, 1):
            flags = CKF_END_OF_MESSAGE if number == len(parts) else 0
            room, size = ctypes.create_string_buffer(len(part) + 16), c_ulong(len(part) + 16)
            args = (part, len(part), room, byref(size), flags)
            self.call(f"C_{name}MessageNext", *message.argument, *args)
            done += room.raw[: size.value]
        return done

    def sign_message(self, data: bytes) -> bytes:
        """C_SignMessage without a parameter, after C_MessageSignInit."""
        return self.output("C_SignMessage", None, 0, data, len(data))

    def verify_signature(
        self, mechanism: Mechanism, key: int, parts: Sequence[bytes], signature: bytes
    ) -> bool:
        """C_VerifySignatureInit with the signature, then the data in parts."""
        known = (signature, len(signature))
        self.call("C_VerifySignatureInit", mechanism_of(mechanism), key, *known)
        for part in parts:
            self.call("C_VerifySignatureUpdate", part, len(part))
        return self.call("C_VerifySignatureFinal", allowed=_WRONG) == CKR_OK
