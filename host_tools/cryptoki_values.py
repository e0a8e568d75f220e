"""Arguments of PKCS#11 functions as Python values, and what they are in C."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping, Sequence
from ctypes import byref, c_ulong, c_void_p, cast, pointer
from typing import Any, Final

from host_tools.cryptoki_types import (
    CkAttribute,
    CkMechanism,
    GcmMessageParameter,
    GcmParameter,
    OaepParameter,
)
from pkcs11_module._constants import CKG_NO_GENERATE, CKZ_DATA_SPECIFIED

Value = bytes | int | bool | str | Sequence[int] | Mapping[int, Any]
Template = Mapping[int, Value]
"""Attribute type → value. An int is a CK_ULONG, a bool a CK_BBOOL, a str UTF-8, a sequence an
array of CK_ULONG (CKA_ALLOWED_MECHANISMS), a mapping a template (CKA_WRAP_TEMPLATE and its kin).
"""

Mechanism = int | tuple[int, bytes | ctypes.Structure]
"""A mechanism's number, or that and its parameter."""


def pss(hash_alg: int, mgf: int, salt_length: int) -> bytes:
    """CK_RSA_PKCS_PSS_PARAMS; the salt's length in bytes."""
    return bytes((c_ulong * 3)(hash_alg, mgf, salt_length))


def oaep(hash_alg: int, mgf: int, label: bytes = b"") -> OaepParameter:
    """CK_RSA_PKCS_OAEP_PARAMS with a label (CKZ_DATA_SPECIFIED)."""
    return OaepParameter(hash_alg, mgf, CKZ_DATA_SPECIFIED, _pointer(label), len(label))


def gcm(iv: bytes, aad: bytes = b"", tag_bits: int = 128) -> GcmParameter:
    """CK_GCM_PARAMS."""
    return GcmParameter(_pointer(iv), len(iv), 8 * len(iv), _pointer(aad), len(aad), tag_bits)


class GcmMessage:
    """CK_GCM_MESSAGE_PARAMS with places of its own for the nonce and the tag.

    `iv` and `tag` are what the token wrote there, or what it is to check; `generator` is CKG_.
    """

    def __init__(
        self, iv: bytes, tag: bytes = bytes(16), *, generator: int = CKG_NO_GENERATE, fixed: int = 0
    ) -> None:
        self._iv: Final = ctypes.create_string_buffer(iv, len(iv))
        self._tag: Final = ctypes.create_string_buffer(tag, len(tag))
        self.parameter: Final = GcmMessageParameter(
            cast(self._iv, c_void_p),
            len(iv),
            fixed,
            generator,
            cast(self._tag, c_void_p),
            8 * len(tag),
        )

    @property
    def argument(self) -> tuple[Any, int]:
        """Pointer and length, as the functions of messages take them."""
        return byref(self.parameter), ctypes.sizeof(self.parameter)

    @property
    def iv(self) -> bytes:
        return self._iv.raw

    @property
    def tag(self) -> bytes:
        return self._tag.raw


def mechanism_of(mechanism: Mechanism) -> Any:
    """A pointer to CK_MECHANISM, which keeps alive what it leads to."""
    kind, parameter = (mechanism, b"") if isinstance(mechanism, int) else mechanism
    if isinstance(parameter, bytes):
        return pointer(CkMechanism(kind, _pointer(parameter), len(parameter)))
    size = ctypes.sizeof(parameter)
    return pointer(CkMechanism(kind, cast(pointer(parameter), c_void_p), size))


def encode(value: Value) -> bytes:
    """The C form of an attribute's value that is no template."""
    if isinstance(value, bool):
        return bytes([value])
    if isinstance(value, int):
        return value.to_bytes(ctypes.sizeof(c_ulong), sys.byteorder)
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) else b"".join(map(encode, value))


def ulong(value: bytes) -> int:
    """The number in an attribute that is a CK_ULONG."""
    return int.from_bytes(value, sys.byteorder)


def template_of(template: Template) -> tuple[Any, int]:
    """An array of CK_ATTRIBUTE, which keeps its values alive, and how many they are."""
    attributes = [_attribute(kind, value) for kind, value in template.items()]
    return (CkAttribute * len(attributes))(*attributes), len(attributes)


def _attribute(kind: int, value: Value) -> CkAttribute:
    if isinstance(value, Mapping):
        array, _ = template_of(value)
        return CkAttribute(kind, cast(array, c_void_p), ctypes.sizeof(array))
    data = encode(value)
    return CkAttribute(kind, _pointer(data), len(data))


def _pointer(data: bytes) -> c_void_p | None:
    """A pointer to a copy of the bytes, which lives as long as what the pointer is put into."""
    return cast(ctypes.create_string_buffer(data, len(data)), c_void_p) if data else None
