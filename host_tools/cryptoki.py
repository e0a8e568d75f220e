"""A client of the PKCS#11 library through its C interface, as any program would use it.

Handles and CKR_/CKA_/CKM_ numbers are plain ints; see `pkcs11_module._constants`.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from ctypes import byref, c_ulong, c_void_p, cast, pointer
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import pkcs11_module
from host_tools.cryptoki_types import (
    CK_STRUCTS,
    CkAttribute,
    CkInitializeArgs,
    CkMechanism,
    LibraryInfo,
    MechanismInfo,
    OaepParameter,
    SessionInfo,
    SlotInfo,
    TokenInfo,
    argument_types,
    field_value,
)
from pkcs11_module._constants import (
    CK_UNAVAILABLE_INFORMATION,
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
    CKZ_DATA_SPECIFIED,
)
from pkcs11_module._functions import FUNCTIONS, STRUCTS

LIBRARY: Final = Path(pkcs11_module.__file__).with_name("libklyuch-pkcs11.so")

Template = Mapping[int, bytes | int | bool | str]
"""Attribute type → value. An int is a CK_ULONG, a bool a CK_BBOOL, a str UTF-8."""

_FIND_BATCH: Final = 64
_Struct = TypeVar("_Struct")


class CryptokiError(Exception):
    """A function gave a return value other than CKR_OK."""

    def __init__(self, rv: int, function: str) -> None:
        self.rv: Final = rv
        self.name: Final = CKR_NAMES.get(rv, f"0x{rv:08X}")
        self.function: Final = function
        super().__init__(f"{function}: {self.name}")


def pss(hash_alg: int, mgf: int, salt_length: int) -> bytes:
    """CK_RSA_PKCS_PSS_PARAMS; the salt's length in bytes."""
    return bytes((c_ulong * 3)(hash_alg, mgf, salt_length))


def oaep(hash_alg: int, mgf: int, label: bytes = b"") -> OaepParameter:
    """CK_RSA_PKCS_OAEP_PARAMS with a label (CKZ_DATA_SPECIFIED)."""
    return OaepParameter(hash_alg, mgf, CKZ_DATA_SPECIFIED, _pointer(label), len(label))


Mechanism = int | tuple[int, bytes | ctypes.Structure]
"""A mechanism's number, or that and its parameter."""


def _mechanism(mechanism: Mechanism) -> CkMechanism:
    kind, parameter = (mechanism, b"") if isinstance(mechanism, int) else mechanism
    if isinstance(parameter, bytes):
        return CkMechanism(kind, _pointer(parameter), len(parameter))
    return CkMechanism(kind, cast(pointer(parameter), c_void_p), ctypes.sizeof(parameter))


def encode(value: bytes | int | bool | str) -> bytes:
    """An attribute's value in its C form."""
    if isinstance(value, bool):
        return bytes([value])
    if isinstance(value, int):
        return value.to_bytes(ctypes.sizeof(c_ulong), sys.byteorder)
    return value.encode() if isinstance(value, str) else value


def ulong(value: bytes) -> int:
    """The number in an attribute that is a CK_ULONG."""
    return int.from_bytes(value, sys.byteorder)


def _pointer(data: bytes) -> c_void_p | None:
    """A pointer to a copy of the bytes, which lives as long as what the pointer is put into."""
    return cast(ctypes.create_string_buffer(data, len(data)), c_void_p) if data else None


def _known(attribute: CkAttribute) -> bool:
    return bool(attribute.ulValueLen != CK_UNAVAILABLE_INFORMATION)


def _template(template: Template) -> tuple[Any, int]:
    values = [(kind, encode(value)) for kind, value in template.items()]
    attributes = [CkAttribute(kind, _pointer(data), len(data)) for kind, data in values]
    return (CkAttribute * len(attributes))(*attributes), len(attributes)


class Cryptoki:
    """The library, loaded; between `initialize` and `finalize` it is one application.

    Raises CryptokiError from every method but `__init__`, which raises OSError.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path: Final = path or LIBRARY
        self.library: Final = ctypes.CDLL(str(self.path))
        self.raw: Final[dict[str, Callable[..., int]]] = {}
        for spec in FUNCTIONS:
            function = getattr(self.library, spec.name)
            function.argtypes = argument_types(spec.arguments)
            function.restype = c_ulong
            self.raw[spec.name] = function

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
        self.call("C_FindObjectsInit", *_template(template or {}))
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

    def create(self, template: Template) -> int:
        """C_CreateObject; gives the handle."""
        handle = c_ulong()
        self.call("C_CreateObject", *_template(template), byref(handle))
        return handle.value

    def copy(self, handle: int, template: Template) -> int:
        """C_CopyObject; gives the copy's handle."""
        copied = c_ulong()
        self.call("C_CopyObject", handle, *_template(template), byref(copied))
        return copied.value

    def set_attributes(self, handle: int, template: Template) -> None:
        self.call("C_SetAttributeValue", handle, *_template(template))

    def destroy(self, handle: int) -> None:
        self.call("C_DestroyObject", handle)

    def generate_key_pair(
        self, mechanism: Mechanism, public: Template, private: Template
    ) -> tuple[int, int]:
        """Handles of the public and of the private key."""
        first, second = c_ulong(), c_ulong()
        self.call(
            "C_GenerateKeyPair",
            byref(_mechanism(mechanism)),
            *_template(public),
            *_template(private),
            byref(first),
            byref(second),
        )
        return first.value, second.value

    def derive(self, mechanism: Mechanism, key: int, template: Template) -> int:
        """C_DeriveKey; gives the new key's handle."""
        handle = c_ulong()
        self.call(
            "C_DeriveKey", byref(_mechanism(mechanism)), key, *_template(template), byref(handle)
        )
        return handle.value

    def output(self, name: str, *args: object) -> bytes:
        """Call a function that ends in an output buffer: ask for the length, then for the data."""
        size = c_ulong()
        self.call(name, *args, None, byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self.call(name, *args, buffer, byref(size))
        return buffer.raw[: size.value]

    def sign(self, mechanism: Mechanism, key: int, data: bytes, pin: bytes | None = None) -> bytes:
        """C_SignInit, C_Sign; between them a login with the PIN, for CKA_ALWAYS_AUTHENTICATE."""
        self.call("C_SignInit", byref(_mechanism(mechanism)), key)
        if pin is not None:
            self.login(CKU_CONTEXT_SPECIFIC, pin)
        return self.output("C_Sign", data, len(data))

    def sign_parts(self, mechanism: Mechanism, key: int, parts: Sequence[bytes]) -> bytes:
        """C_SignInit, C_SignUpdate for every part, C_SignFinal."""
        self.call("C_SignInit", byref(_mechanism(mechanism)), key)
        for part in parts:
            self.call("C_SignUpdate", part, len(part))
        return self.output("C_SignFinal")

    def verify(self, mechanism: Mechanism, key: int, data: bytes, signature: bytes) -> bool:
        """Whether the signature is the key's; raises CryptokiError for any other failure."""
        self.call("C_VerifyInit", byref(_mechanism(mechanism)), key)
        wrong = (CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE)
        rv = self.call("C_Verify", data, len(data), signature, len(signature), allowed=wrong)
        return rv == CKR_OK

    def decrypt(self, mechanism: Mechanism, key: int, data: bytes) -> bytes:
        self.call("C_DecryptInit", byref(_mechanism(mechanism)), key)
        return self.output("C_Decrypt", data, len(data))

    def encrypt(self, mechanism: Mechanism, key: int, data: bytes) -> bytes:
        self.call("C_EncryptInit", byref(_mechanism(mechanism)), key)
        return self.output("C_Encrypt", data, len(data))

    def digest(self, mechanism: Mechanism, data: bytes) -> bytes:
        self.call("C_DigestInit", byref(_mechanism(mechanism)))
        return self.output("C_Digest", data, len(data))

    def random(self, size: int) -> bytes:
        """`size` random bytes from the token."""
        buffer = ctypes.create_string_buffer(size)
        self.call("C_GenerateRandom", buffer, size)
        return buffer.raw
