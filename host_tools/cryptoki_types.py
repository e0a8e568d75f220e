"""Structures of the PKCS#11 C interface for ctypes, and what they tell as Python values."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from ctypes import c_char_p, c_ubyte, c_ulong, c_void_p
from dataclasses import dataclass
from typing import Any, Final

from pkcs11_module._functions import STRUCTS
from pkcs11_module.model import Argument, Field, Kind


class CkAttribute(ctypes.Structure):
    """CK_ATTRIBUTE."""

    _fields_ = (("type", c_ulong), ("pValue", c_void_p), ("ulValueLen", c_ulong))


class CkMechanism(ctypes.Structure):
    """CK_MECHANISM."""

    _fields_ = (("mechanism", c_ulong), ("pParameter", c_void_p), ("ulParameterLen", c_ulong))


class CkInitializeArgs(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS."""

    _fields_ = (
        ("CreateMutex", c_void_p),
        ("DestroyMutex", c_void_p),
        ("LockMutex", c_void_p),
        ("UnlockMutex", c_void_p),
        ("flags", c_ulong),
        ("pReserved", c_void_p),
    )


class CkVersion(ctypes.Structure):
    """CK_VERSION."""

    _fields_ = (("major", c_ubyte), ("minor", c_ubyte))


def _field_type(field: Field) -> Any:
    if field.kind in (Kind.TEXT, Kind.OCTETS):
        return c_ubyte * field.size
    return CkVersion if field.kind is Kind.VERSION else c_ulong


CK_STRUCTS: Final[dict[str, type[ctypes.Structure]]] = {
    name: type(name, (ctypes.Structure,), {"_fields_": [(f.name, _field_type(f)) for f in fields]})
    for name, fields in STRUCTS.items()
}
"""The output structures of the function table, as ctypes."""

_ARGUMENT_TYPES: Final[dict[Kind, tuple[Any, ...]]] = {
    Kind.SESSION: (c_ulong,),
    Kind.ULONG: (c_ulong,),
    Kind.BOOL: (c_ubyte,),
    Kind.BYTES: (c_void_p, c_ulong),
    Kind.OPTIONAL: (c_void_p, c_ulong),
    Kind.LABEL: (c_void_p,),
    Kind.MECHANISM: (c_void_p,),
    Kind.INIT: (c_void_p,),
    Kind.MESSAGE: (c_void_p, c_ulong),
    Kind.MESSAGE_IN: (c_void_p, c_ulong),
    Kind.MESSAGE_INIT: (c_void_p,),
    Kind.WRAPPING: (c_void_p,),
    Kind.UNWRAPPING: (c_void_p,),
    Kind.TEMPLATE: (c_void_p, c_ulong),
    Kind.ATTRIBUTES: (c_void_p, c_ulong),
    Kind.ULONG_OUT: (c_void_p,),
    Kind.SESSION_OUT: (c_void_p,),
    Kind.MADE: (c_void_p,),
    Kind.BUFFER: (c_void_p, c_void_p),
    Kind.LAST: (c_void_p, c_void_p),
    Kind.LIST: (c_void_p, c_void_p),
    Kind.FIND: (c_void_p, c_ulong, c_void_p),
    Kind.FILLED: (c_void_p, c_ulong),
    Kind.STRUCT: (c_void_p,),
    Kind.IGNORED: (c_void_p,),
    Kind.NULL: (c_void_p,),
}


def argument_types(arguments: Iterable[Argument]) -> tuple[Any, ...]:
    """The C types of a function's parameters, in order."""
    return tuple(kind for argument in arguments for kind in _ARGUMENT_TYPES[argument.kind])


@dataclass(frozen=True, slots=True)
class LibraryInfo:
    """CK_INFO; texts without their padding."""

    cryptoki_version: tuple[int, int]
    manufacturer: str
    flags: int
    description: str
    library_version: tuple[int, int]


@dataclass(frozen=True, slots=True)
class SlotInfo:
    """CK_SLOT_INFO; texts without their padding."""

    description: str
    manufacturer: str
    flags: int
    hardware_version: tuple[int, int]
    firmware_version: tuple[int, int]


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """CK_TOKEN_INFO; texts without their padding, PIN lengths in bytes."""

    label: str
    manufacturer: str
    model: str
    serial: str
    flags: int
    max_sessions: int
    sessions: int
    max_rw_sessions: int
    rw_sessions: int
    max_pin: int
    min_pin: int
    total_public_memory: int
    free_public_memory: int
    total_private_memory: int
    free_private_memory: int
    hardware_version: tuple[int, int]
    firmware_version: tuple[int, int]
    utc_time: str


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """CK_SESSION_INFO."""

    slot: int
    state: int
    flags: int
    device_error: int


@dataclass(frozen=True, slots=True)
class MechanismInfo:
    """CK_MECHANISM_INFO; key sizes in the mechanism's own unit."""

    min_key_size: int
    max_key_size: int
    flags: int


class CkInterface(ctypes.Structure):
    """CK_INTERFACE."""

    _fields_ = (("pInterfaceName", c_char_p), ("pFunctionList", c_void_p), ("flags", c_ulong))


class GcmParameter(ctypes.Structure):
    """CK_GCM_PARAMS."""

    _fields_ = (
        ("pIv", c_void_p),
        ("ulIvLen", c_ulong),
        ("ulIvBits", c_ulong),
        ("pAAD", c_void_p),
        ("ulAADLen", c_ulong),
        ("ulTagBits", c_ulong),
    )


class GcmMessageParameter(ctypes.Structure):
    """CK_GCM_MESSAGE_PARAMS."""

    _fields_ = (
        ("pIv", c_void_p),
        ("ulIvLen", c_ulong),
        ("ulIvFixedBits", c_ulong),
        ("ivGenerator", c_ulong),
        ("pTag", c_void_p),
        ("ulTagBits", c_ulong),
    )


class OaepParameter(ctypes.Structure):
    """CK_RSA_PKCS_OAEP_PARAMS."""

    _fields_ = (
        ("hashAlg", c_ulong),
        ("mgf", c_ulong),
        ("source", c_ulong),
        ("pSourceData", c_void_p),
        ("ulSourceDataLen", c_ulong),
    )


def field_value(field: Field, raw: Any) -> object:
    """A structure's field as the value its dataclass holds: texts without their padding."""
    if field.kind is Kind.TEXT:
        return bytes(raw).decode(errors="replace").rstrip(" ")
    if field.kind is Kind.OCTETS:
        return bytes(raw)
    return (raw.major, raw.minor) if field.kind is Kind.VERSION else raw
