"""Outputs of PKCS#11 functions as bytes, in the layout that `pkcs11_module.wire` describes.

A writer takes what the function returned for an output, the argument that bounds it (None where
none does), and the output's place in the table. It raises ValueError, TypeError or struct.error
where the value is not what the table promises or not as large as the caller has room for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from pkcs11_module._constants import CKR_BUFFER_TOO_SMALL, CKR_OK
from pkcs11_module._functions import STRUCTS
from pkcs11_module.model import Argument, Field, Kind
from pkcs11_module.types import (
    UNAVAILABLE,
    AttributeAnswer,
    GcmMessageParams,
    Length,
    Mechanism,
    MessageOutput,
    NestedAnswer,
)

_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_LENGTH: Final = struct.Struct("<BQ")
_DATA: Final = struct.Struct("<BI")
_NO_BYTES: Final = b"\xff\xff\xff\xff"


def _write_bytes(value: bytes) -> bytes:
    return _U32.pack(len(value)) + value


def _write_items(items: Sequence[int]) -> bytes:
    return struct.pack(f"<I{len(items)}Q", len(items), *items)


def _write_ulong(value: Any, _given: Any, _argument: Argument) -> bytes:
    return _U64.pack(value)


def _write_buffer(value: Any, given: Any, _argument: Argument) -> bytes:
    if isinstance(value, Length):
        return _LENGTH.pack(1, value.value)
    if given.capacity is None:
        return _LENGTH.pack(1, len(value))
    if len(value) > given.capacity:
        raise ValueError("the output is longer than the caller's buffer")
    if isinstance(value, list):
        return b"\x02" + _write_items(value)
    return b"".join((_DATA.pack(2, len(value)), value))


def _write_last(value: Any, given: Any, argument: Argument) -> bytes:
    if given is not None:
        return _write_buffer(value, given, argument)
    if value is not None:
        raise ValueError("an output that was not asked for")
    return b"\x00"


def _write_found(value: Any, given: Any, _argument: Argument) -> bytes:
    if len(value) > given:
        raise ValueError("more objects than were asked for")
    return _write_items(value)


def _write_filled(value: Any, given: Any, _argument: Argument) -> bytes:
    if len(value) != given:
        raise ValueError("not as many bytes as were asked for")
    return _write_bytes(value)


def _write_message(value: Any, given: Any, _argument: Argument) -> bytes:
    """What goes back into a message's parameter, never longer than what was there."""
    parameter = given.parameter if isinstance(given, Mechanism) else given
    if not isinstance(value, MessageOutput):
        raise TypeError("what is written back is a MessageOutput")
    iv = tag = None
    if isinstance(parameter, GcmMessageParams):
        iv, tag = parameter.iv, parameter.tag
    return _written_back(value.iv, iv) + _written_back(value.tag, tag)


def _written_back(value: bytes | None, room: bytes | None) -> bytes:
    if value is None:
        return _NO_BYTES
    if len(value) > len(room or b""):
        raise ValueError("more than the message's parameter has room for")
    return _write_bytes(value)


def _write_struct(value: Any, _given: Any, argument: Argument) -> bytes:
    fields, numbers = _STRUCT_FIELDS[argument.struct]
    if numbers is not None:
        return numbers.pack(*value)
    return b"".join(_write_field(field, item) for field, item in zip(fields, value, strict=True))


def _write_field(field: Field, value: Any) -> bytes:
    if field.kind is Kind.TEXT:
        return pad(value, field.size)
    if field.kind is Kind.OCTETS:
        if len(value) != field.size:
            raise ValueError("not as many octets as the field has")
        return bytes(value)
    return bytes(value) if field.kind is Kind.VERSION else _U64.pack(value)


def _numbers(fields: Sequence[Field]) -> struct.Struct | None:
    """How to write a structure of nothing but numbers at once."""
    kinds = {field.kind for field in fields}
    return struct.Struct(f"<{len(fields)}Q") if kinds == {Kind.ULONG} else None


def _sent(name: str) -> tuple[Field, ...]:
    """The fields of a structure that travel: its size is the library's own matter."""
    return tuple(field for field in STRUCTS[name] if field.kind is not Kind.SIZE)


_STRUCT_FIELDS: Final = {name: (_sent(name), _numbers(_sent(name))) for name in STRUCTS}


def pad(text: str, size: int) -> bytes:
    """UTF-8 in exactly `size` bytes, cut between characters or padded with blanks (2.40 3.1)."""
    whole = text.encode()[:size].decode(errors="ignore").encode()
    return whole.ljust(size)


def write_attributes(value: Any, given: Any) -> tuple[int, bytes]:
    """`(rv, values)` of C_GetAttributeValue; a value that does not fit is told as such."""
    rv, values = value
    parts = [_U32.pack(len(given))]
    short = False
    for request, item in zip(given, values, strict=True):
        answer = request.fill(item) if isinstance(item, bytes | tuple) else item
        short |= _write_answer(answer, parts)
    return (CKR_BUFFER_TOO_SMALL if short and rv == CKR_OK else rv), b"".join(parts)


def _write_answer(answer: AttributeAnswer, parts: list[bytes]) -> bool:
    """Write one attribute's answer; gives whether something of it is unavailable."""
    if answer is UNAVAILABLE:
        parts.append(b"\x00")
        return True
    if isinstance(answer, Length):
        parts.append(_LENGTH.pack(1, answer.value))
        return False
    if not isinstance(answer, NestedAnswer):
        parts.append(_DATA.pack(2, len(answer)))
        parts.append(answer)
        return False
    parts.append(_DATA.pack(3, len(answer.items)))
    short = False
    for kind, item in answer.items:
        parts.append(_U64.pack(kind))
        short |= _write_answer(item, parts)
    return short


Write = Callable[[Any, Any, Argument], bytes]

WRITERS: Final[dict[Kind, Write]] = {
    Kind.ULONG_OUT: _write_ulong,
    Kind.SESSION_OUT: _write_ulong,
    Kind.MADE: _write_ulong,
    Kind.BUFFER: _write_buffer,
    Kind.LAST: _write_last,
    Kind.LIST: _write_buffer,
    Kind.FIND: _write_found,
    Kind.FILLED: _write_filled,
    Kind.STRUCT: _write_struct,
    Kind.MESSAGE: _write_message,
    Kind.WRAPPING: _write_message,
}
