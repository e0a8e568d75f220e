"""Frames between the PKCS#11 library and the server, as bytes; no sockets and no state.

All integers are little-endian. A frame is a u32 length and that many bytes of body.

First frame of a connection: "KLY1", u32 protocol version, application id (16 bytes, zeros for a
new application). Answer: u32 return value, application id.

A call is u32 function number and its arguments in the table's order; the answer is u64 return
value and, where that is CKR_OK, the outputs in the same order.

    bytes        u32 length (0xFFFFFFFF = NULL pointer), the bytes
    ulong        u64;  bool  u8;  label  32 bytes
    mechanism    u64 type, u8 form: 0 nothing | 1 bytes | 2 the structure's fields in order
    template     u32 count, and for each attribute u64 type, bytes
    attributes   u32 count, and for each u64 type, u64 capacity (all ones = NULL pointer)
                 → u32 count, and for each u8 form: 0 unavailable | 1 u64 length | 2 bytes
    buffer       u64 capacity → u8 form: 1 u64 length | 2 bytes
    list         u64 capacity → u8 form: 1 u64 count | 2 u32 count, u64 items
    find         u64 most → u32 count, u64 items;  filled  u64 length → bytes
    struct       its fields: text padded with blanks, version two bytes, ulong u64

CKR_BUFFER_TOO_SMALL is followed by u64 needed. `attributes` are also sent with
CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID and CKR_BUFFER_TOO_SMALL.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pkcs11_module import types
from pkcs11_module._constants import (
    CKR_ATTRIBUTE_SENSITIVE,
    CKR_ATTRIBUTE_TYPE_INVALID,
    CKR_BUFFER_TOO_SMALL,
    CKR_OK,
)
from pkcs11_module._functions import FUNCTIONS, PARAMETERS, STRUCTS
from pkcs11_module.model import Argument, Field, FunctionSpec, Kind, Parameter
from pkcs11_module.types import (
    UNAVAILABLE,
    Attribute,
    AttributeRequest,
    Buffer,
    Length,
    Mechanism,
    MechanismParameter,
)

MAGIC: Final = b"KLY1"
VERSION: Final = 1
ID_SIZE: Final = 16
HELLO_SIZE: Final = len(MAGIC) + 4 + ID_SIZE
FRAME_MAX: Final = 16 * 1024 * 1024
LABEL_SIZE: Final = 32
NULL_LENGTH: Final = 0xFFFF_FFFF
NULL_CAPACITY: Final = 0xFFFF_FFFF_FFFF_FFFF
ATTRIBUTE_ANSWERS: Final = frozenset(
    {CKR_OK, CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID, CKR_BUFFER_TOO_SMALL}
)

_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")


class ProtocolError(Exception):
    """The bytes are not this protocol: the connection must be closed."""


class Reader:
    """Takes values off the front of a body; raises ProtocolError where the bytes run out."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        start = self.at
        self.at = start + size
        if self.at > len(self.data):
            raise ProtocolError("the frame is shorter than its contents")
        return self.data[start : self.at]

    def u8(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def bytes_or_null(self) -> bytes | None:
        size = self.u32()
        return None if size == NULL_LENGTH else self.take(size)

    def capacity(self) -> int | None:
        value = self.u64()
        return None if value == NULL_CAPACITY else value

    def count(self, least: int) -> int:
        """A number of items of at least `least` bytes each, checked before any is read."""
        number = self.u32()
        if number * least > len(self.data) - self.at:
            raise ProtocolError("the frame is shorter than its contents")
        return number

    def end(self) -> None:
        if self.at != len(self.data):
            raise ProtocolError("the frame is longer than its contents")


def frame(body: bytes) -> bytes:
    """The body behind its length."""
    return _U32.pack(len(body)) + body


def _read_bool(reader: Reader) -> bool:
    return reader.u8() != 0


def _read_template(reader: Reader) -> tuple[Attribute, ...]:
    count = reader.count(12)
    return tuple(Attribute(reader.u64(), reader.bytes_or_null()) for _ in range(count))


def _read_requests(reader: Reader) -> tuple[AttributeRequest, ...]:
    count = reader.count(16)
    return tuple(AttributeRequest(reader.u64(), reader.capacity()) for _ in range(count))


def _read_label(reader: Reader) -> bytes:
    return reader.take(LABEL_SIZE)


def _read_buffer(reader: Reader) -> Buffer:
    return Buffer(reader.capacity())


def _read_mechanism(reader: Reader) -> Mechanism:
    kind = reader.u64()
    form = reader.u8()
    if form == 0:
        return Mechanism(kind)
    if form == 1:
        return Mechanism(kind, reader.bytes_or_null())
    parameter = _PARAMETERS.get(kind)
    if form != 2 or parameter is None:
        raise ProtocolError("this mechanism has no structured parameter")
    return Mechanism(kind, _read_parameter(reader, parameter))


def _read_parameter(reader: Reader, parameter: Parameter) -> MechanismParameter:
    maker: Callable[..., MechanismParameter] = getattr(types, parameter.python)
    return maker(*(_READERS[kind](reader) for kind, _ in parameter.fields))


_PARAMETERS: Final = {kind: entry for entry in PARAMETERS for kind in entry.mechanisms}

_READERS: Final[dict[Kind, Callable[[Reader], object]]] = {
    Kind.SESSION: Reader.u64,
    Kind.ULONG: Reader.u64,
    Kind.BOOL: _read_bool,
    Kind.BYTES: Reader.bytes_or_null,
    Kind.LABEL: _read_label,
    Kind.MECHANISM: _read_mechanism,
    Kind.TEMPLATE: _read_template,
    Kind.ATTRIBUTES: _read_requests,
    Kind.BUFFER: _read_buffer,
    Kind.LIST: _read_buffer,
    Kind.FIND: Reader.u64,
    Kind.FILLED: Reader.u64,
}


def _write_bytes(value: bytes) -> bytes:
    return _U32.pack(len(value)) + value


def _write_items(items: Sequence[int]) -> bytes:
    return struct.pack(f"<I{len(items)}Q", len(items), *items)


def _write_ulong(value: Any, _given: Any, _argument: Argument) -> bytes:
    return _U64.pack(value)


def _write_buffer(value: Any, given: Any, _argument: Argument) -> bytes:
    if isinstance(value, Length):
        return b"\x01" + _U64.pack(value.value)
    if given.capacity is None:
        return b"\x01" + _U64.pack(len(value))
    if len(value) > given.capacity:
        raise ValueError("the output is longer than the caller's buffer")
    return b"\x02" + (_write_items(value) if isinstance(value, list) else _write_bytes(value))


def _write_found(value: Any, given: Any, _argument: Argument) -> bytes:
    if len(value) > given:
        raise ValueError("more objects than were asked for")
    return _write_items(value)


def _write_filled(value: Any, given: Any, _argument: Argument) -> bytes:
    if len(value) != given:
        raise ValueError("not as many bytes as were asked for")
    return _write_bytes(value)


def _write_struct(value: Any, _given: Any, argument: Argument) -> bytes:
    fields = STRUCTS[argument.struct]
    return b"".join(_write_field(field, item) for field, item in zip(fields, value, strict=True))


def _write_field(field: Field, value: Any) -> bytes:
    if field.kind is Kind.TEXT:
        return pad(value, field.size)
    return bytes(value) if field.kind is Kind.VERSION else _U64.pack(value)


def pad(text: str, size: int) -> bytes:
    """UTF-8 in exactly `size` bytes, cut between characters or padded with blanks (2.40 3.1)."""
    whole = text.encode()[:size].decode(errors="ignore").encode()
    return whole.ljust(size)


def _write_attributes(value: Any, given: Any) -> tuple[int, bytes]:
    """`(rv, values)` of C_GetAttributeValue; a value that does not fit is told as such."""
    rv, values = value
    parts = [_U32.pack(len(given))]
    for request, item in zip(given, values, strict=True):
        answer = request.fill(item) if isinstance(item, bytes) else item
        if answer is UNAVAILABLE:
            parts.append(b"\x00")
            if rv == CKR_OK:
                rv = CKR_BUFFER_TOO_SMALL
        elif isinstance(answer, Length):
            parts.append(b"\x01" + _U64.pack(answer.value))
        else:
            parts.append(b"\x02" + _write_bytes(answer))
    return rv, b"".join(parts)


_WRITERS: Final[dict[Kind, Callable[[Any, Any, Argument], bytes]]] = {
    Kind.ULONG_OUT: _write_ulong,
    Kind.SESSION_OUT: _write_ulong,
    Kind.BUFFER: _write_buffer,
    Kind.LIST: _write_buffer,
    Kind.FIND: _write_found,
    Kind.FILLED: _write_filled,
    Kind.STRUCT: _write_struct,
}


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one function's call is read and its answer written.

    An output stands beside the place of the argument that bounds it, -1 where none does.
    """

    spec: FunctionSpec
    readers: tuple[Callable[[Reader], object], ...]
    writers: tuple[tuple[Argument, int, Callable[[Any, Any, Argument], bytes]], ...]
    attributes: int


def _plan(spec: FunctionSpec) -> _Plan:
    inputs = [argument for argument in spec.arguments if argument.kind in _READERS]
    kinds = [argument.kind for argument in inputs]
    return _Plan(
        spec,
        tuple(_READERS[kind] for kind in kinds),
        tuple(
            (
                argument,
                inputs.index(argument) if argument in inputs else -1,
                _WRITERS[argument.kind],
            )
            for argument in spec.arguments
            if argument.kind in _WRITERS
        ),
        kinds.index(Kind.ATTRIBUTES) if Kind.ATTRIBUTES in kinds else -1,
    )


_PLANS: Final = tuple(map(_plan, FUNCTIONS))


def read_call(body: bytes) -> tuple[FunctionSpec, list[Any]]:
    """The function a body calls and its arguments as `types` values; raises ProtocolError."""
    reader = Reader(body)
    number = reader.u32()
    if number >= len(_PLANS):
        raise ProtocolError("no such function")
    plan = _PLANS[number]
    args: list[Any] = [read(reader) for read in plan.readers]
    reader.end()
    return plan.spec, args


def write_answer(spec: FunctionSpec, args: Sequence[Any], value: Any) -> bytes:
    """The body that answers a call that returned `value`.

    Raises ValueError, TypeError or struct.error where `value` is not what the table promises.
    """
    plan = _PLANS[spec.number]
    if plan.attributes >= 0:
        rv, answer = _write_attributes(value, args[plan.attributes])
        return _U64.pack(rv) + (answer if rv in ATTRIBUTE_ANSWERS else b"")
    if not plan.writers:
        if value is not None:
            raise ValueError("a value where the function has no output")
        return _OK
    values = value if len(plan.writers) > 1 else (value,)
    answers = (
        write(item, args[bound] if bound >= 0 else None, argument)
        for (argument, bound, write), item in zip(plan.writers, values, strict=True)
    )
    return _OK + b"".join(answers)


_OK: Final = _U64.pack(CKR_OK)


def write_error(rv: int, needed: int | None = None) -> bytes:
    """The body of an answer without outputs; `needed` belongs to CKR_BUFFER_TOO_SMALL."""
    return _U64.pack(rv) + (b"" if needed is None else _U64.pack(needed))


def read_hello(body: bytes) -> tuple[int, bytes]:
    """Protocol version and application id of a first frame; raises ProtocolError."""
    if len(body) != HELLO_SIZE or not body.startswith(MAGIC):
        raise ProtocolError("the first frame is not a greeting")
    version = int.from_bytes(body[4:8], "little")
    return version, body[8:]


def write_hello_answer(rv: int, ident: bytes) -> bytes:
    """The body that answers a greeting."""
    return _U32.pack(rv) + ident
