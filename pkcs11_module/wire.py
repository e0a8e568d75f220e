"""Frames between the PKCS#11 library and the server, as bytes; no sockets and no state.

All integers are little-endian. A frame is a u32 length and that many bytes of body.

First frame of a connection: "KLY1", u32 protocol version, application id (16 bytes, zeros for a
new application). Answer: u32 return value, application id.

A call is u32 function number and its arguments in the table's order; the answer is u64 return
value and, where that is CKR_OK, the outputs in the same order.

A call that the library refuses by itself, for a NULL pointer say, is not sent. Where an error of
the function changes an operation (rules.toml), u32 function number | 0x80000000, u64 session is
sent instead, and the answer is u64 CKR_OK; a session that is not open is left alone.

    bytes        u32 length (0xFFFFFFFF = NULL pointer), the bytes; optional alike
    ulong        u64;  bool  u8;  label  32 bytes
    mechanism    u64 type, u8 form: 0 nothing | 1 bytes | 2 the structure's fields in order |
                 3 NULL instead of a mechanism (init only, type 0)
    template     u32 count, and for each attribute u64 type, bytes (a template where the type says
                 so, with the same mark of a NULL pointer in its count)
    attributes   u32 count, and for each u64 type, u64 capacity (all ones = NULL pointer), or
                 attributes again where the type says so
                 → u32 count, and for each u8 form: 0 unavailable | 1 u64 length | 2 bytes |
                 3 attributes, each behind its u64 type
    message      u8 form: 0 nothing | 1 bytes | 2 the structure's fields → what is written back:
                 bytes for the nonce, bytes for the tag
    buffer       u64 capacity → u8 form: 1 u64 length | 2 bytes
    last         u8: 0 = not asked for → 0; 1, buffer → as buffer
    made         → u64
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
from functools import lru_cache, partial
from typing import Any, Final

from pkcs11_module import flat, types
from pkcs11_module._constants import (
    CKR_ATTRIBUTE_SENSITIVE,
    CKR_ATTRIBUTE_TYPE_INVALID,
    CKR_BUFFER_TOO_SMALL,
    CKR_OK,
)
from pkcs11_module._functions import FUNCTIONS, MESSAGE, NESTED, PARAMETERS
from pkcs11_module.model import Argument, Field, FunctionSpec, Kind, Parameter
from pkcs11_module.types import Attribute, AttributeRequest, Buffer, Mechanism
from pkcs11_module.wire_outputs import WRITERS, Write, write_attributes

MAGIC: Final = b"KLY1"
VERSION: Final = 3
ID_SIZE: Final = 16
HELLO_SIZE: Final = len(MAGIC) + 4 + ID_SIZE
FRAME_MAX: Final = 16 * 1024 * 1024
LABEL_SIZE: Final = 32
NULL_LENGTH: Final = 0xFFFF_FFFF
NULL_CAPACITY: Final = 0xFFFF_FFFF_FFFF_FFFF
REFUSED: Final = 0x8000_0000
"""In a function's number: the library refused the call of it."""
NESTING_MAX: Final = 4
"""Templates within templates that the library sends at most."""
ATTRIBUTE_ANSWERS: Final = frozenset(
    {CKR_OK, CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID, CKR_BUFFER_TOO_SMALL}
)

_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_TYPE_SIZE: Final = struct.Struct("<QI")
_TYPE_CAPACITY: Final = struct.Struct("<QQ")


class ProtocolError(Exception):
    """The bytes are not this protocol: the connection must be closed."""


def frame(body: bytes) -> bytes:
    """The body behind its length."""
    return _U32.pack(len(body)) + body


# A reader takes a body and the place where its value begins; it gives the value and the
# place behind it. Integers that are cut off raise struct.error, which `read_call` translates.

Read = Callable[[bytes, int], tuple[Any, int]]


def _short() -> ProtocolError:
    return ProtocolError("the frame is shorter than its contents")


def _read_u64(body: bytes, at: int) -> tuple[int, int]:
    return _U64.unpack_from(body, at)[0], at + 8


def _read_bool(body: bytes, at: int) -> tuple[bool, int]:
    value, at = _read_raw(1, body, at)
    return value != b"\x00", at


def _read_raw(size: int, body: bytes, at: int) -> tuple[bytes, int]:
    end = at + size
    if end > len(body):
        raise _short()
    return body[at:end], end


def _read_bytes(body: bytes, at: int) -> tuple[bytes | None, int]:
    size = _U32.unpack_from(body, at)[0]
    at += 4
    if size == NULL_LENGTH:
        return None, at
    end = at + size
    if end > len(body):
        raise _short()
    return body[at:end], end


def _read_count(least: int, body: bytes, at: int) -> tuple[int, int]:
    """A number of items of at least `least` bytes each, checked before any is read."""
    count = _U32.unpack_from(body, at)[0]
    at += 4
    if count * least > len(body) - at:
        raise _short()
    return count, at


def _read_template(body: bytes, at: int, depth: int = 0) -> tuple[tuple[Attribute, ...], int]:
    count, at = _read_count(12, body, at)
    items = []
    for _ in range(count):
        kind, size = _TYPE_SIZE.unpack_from(body, at)
        if size == NULL_LENGTH:
            at += 12
            items.append(Attribute(kind, None))
        elif kind in NESTED:
            nested, at = _read_template(body, at + 8, _deeper(depth))
            items.append(Attribute(kind, None, nested))
        else:
            value, at = _read_raw(size, body, at + 12)
            items.append(Attribute(kind, value))
    return tuple(items), at


def _read_requests(
    body: bytes, at: int, depth: int = 0
) -> tuple[tuple[AttributeRequest, ...], int]:
    count, at = _read_count(12, body, at)
    items = []
    for _ in range(count):
        kind, size = _TYPE_SIZE.unpack_from(body, at)
        if kind not in NESTED:
            items.append(_request(*_TYPE_CAPACITY.unpack_from(body, at)))
            at += 16
        elif size == NULL_LENGTH:
            items.append(AttributeRequest(kind, None))
            at += 12
        else:
            nested, at = _read_requests(body, at + 8, _deeper(depth))
            items.append(AttributeRequest(kind, len(nested), nested))
    return tuple(items), at


def _deeper(depth: int) -> int:
    if depth == NESTING_MAX:
        raise ProtocolError("templates are nested too deep")
    return depth + 1


@lru_cache(maxsize=1024)
def _request(kind: int, capacity: int) -> AttributeRequest:
    return AttributeRequest(kind, None if capacity == NULL_CAPACITY else capacity)


@lru_cache(maxsize=1024)
def _buffer(capacity: int) -> Buffer:
    return Buffer(None if capacity == NULL_CAPACITY else capacity)


def _read_buffer(body: bytes, at: int) -> tuple[Buffer, int]:
    return _buffer(_U64.unpack_from(body, at)[0]), at + 8


def _read_last(body: bytes, at: int) -> tuple[Buffer | None, int]:
    asked, at = _read_bool(body, at)
    return _read_buffer(body, at) if asked else (None, at)


_FORM: Final = struct.Struct("<QB")
_NOTHING, _BYTES, _FIELDS, _NO_MECHANISM = range(4)


def _read_mechanism(
    structures: dict[int, Parameter], init: bool, body: bytes, at: int
) -> tuple[Mechanism | None, int]:
    kind, form = _FORM.unpack_from(body, at)
    at += 9
    if form == _NOTHING:
        return _plain_mechanism(kind), at
    if form == _NO_MECHANISM and init and kind == 0:
        return None, at
    parameter, at = _read_parameter(structures.get(kind), form, body, at)
    return Mechanism(kind, parameter), at


@lru_cache(maxsize=256)
def _plain_mechanism(kind: int) -> Mechanism:
    return Mechanism(kind)


def _read_message(body: bytes, at: int) -> tuple[Any, int]:
    form, at = _read_raw(1, body, at)
    return _read_parameter(MESSAGE, form[0], body, at)


def _read_parameter(
    structure: Parameter | None, form: int, body: bytes, at: int
) -> tuple[Any, int]:
    if form == _NOTHING:
        return None, at
    if form == _BYTES:
        data, at = _read_bytes(body, at)
        # What cannot be read stays bytes, which the checks refuse.
        made = flat.read(structure, data or b"") if structure and structure.flat else None
        return made or data, at
    if form != _FIELDS or structure is None:
        raise ProtocolError("this mechanism has no such parameter")
    values = []
    for read in _FIELD_READERS[structure.struct]:
        value, at = read(body, at)
        values.append(value)
    return getattr(types, structure.python)(*values), at


_STRUCTURES: Final = {kind: entry for entry in PARAMETERS for kind in entry.mechanisms}
_MESSAGES: Final = _STRUCTURES | dict.fromkeys(MESSAGE.mechanisms, MESSAGE)

_READERS: Final[dict[Kind, Read]] = {
    Kind.SESSION: _read_u64,
    Kind.ULONG: _read_u64,
    Kind.BOOL: _read_bool,
    Kind.BYTES: _read_bytes,
    Kind.OPTIONAL: _read_bytes,
    Kind.BITS: _read_bytes,
    Kind.LABEL: partial(_read_raw, LABEL_SIZE),
    Kind.MECHANISM: partial(_read_mechanism, _STRUCTURES, False),
    Kind.INIT: partial(_read_mechanism, _STRUCTURES, True),
    Kind.MESSAGE: _read_message,
    Kind.MESSAGE_IN: _read_message,
    Kind.MESSAGE_INIT: partial(_read_mechanism, _MESSAGES, True),
    Kind.WRAPPING: partial(_read_mechanism, _MESSAGES, False),
    Kind.UNWRAPPING: partial(_read_mechanism, _MESSAGES, False),
    Kind.TEMPLATE: _read_template,
    Kind.ATTRIBUTES: _read_requests,
    Kind.BUFFER: _read_buffer,
    Kind.LAST: _read_last,
    Kind.LIST: _read_buffer,
    Kind.FIND: _read_u64,
    Kind.FILLED: _read_u64,
}


def _field_reader(field: Field) -> Read:
    return partial(_read_raw, field.size) if field.kind is Kind.ARRAY else _READERS[field.kind]


_FIELD_READERS: Final = {
    entry.struct: tuple(map(_field_reader, entry.fields)) for entry in (*PARAMETERS, MESSAGE)
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How one function's call is read and its answer written.

    `head` is the function's number and the integers that its arguments begin with. An output
    stands beside the place of the argument that bounds it, -1 where none does. A call that the
    library refused, and one of a `local` function, is not `served`: no handler runs.
    """

    spec: FunctionSpec
    head: struct.Struct
    readers: tuple[Read, ...]
    writers: tuple[tuple[Argument, int, Write], ...]
    attributes: int
    served: bool


def _plan(spec: FunctionSpec) -> Plan:
    inputs = [argument for argument in spec.arguments if argument.kind in _READERS]
    readers = [_READERS[argument.kind] for argument in inputs]
    integers = 0
    while integers < len(readers) and readers[integers] is _read_u64:
        integers += 1
    kinds = [argument.kind for argument in inputs]
    return Plan(
        spec,
        struct.Struct(f"<4x{integers}Q"),
        tuple(readers[integers:]),
        tuple(
            (
                argument,
                inputs.index(argument) if argument in inputs else -1,
                WRITERS[argument.kind],
            )
            for argument in spec.arguments
            if argument.kind in WRITERS
        ),
        kinds.index(Kind.ATTRIBUTES) if Kind.ATTRIBUTES in kinds else -1,
        not spec.local,
    )


PLANS: Final = tuple(map(_plan, FUNCTIONS))
_REFUSALS: Final = {
    REFUSED | spec.number: Plan(spec, struct.Struct("<4xQ"), (), (), -1, served=False)
    for spec in FUNCTIONS
    if spec.ends
}


def _refusal(number: int) -> Plan:
    plan = _REFUSALS.get(number)
    if plan is None:
        raise ProtocolError("no such function")
    return plan


def read_call(body: bytes) -> tuple[Plan, list[Any]]:
    """How the function that a body calls is answered, and its arguments as `types` values.

    Of a call that the library refused, the session is the only argument.

    Raises ProtocolError.
    """
    try:
        number = _U32.unpack_from(body)[0]
        plan = PLANS[number] if number < len(PLANS) else _refusal(number)
        args = list(plan.head.unpack_from(body))
        at = plan.head.size
        for read in plan.readers:
            value, at = read(body, at)
            args.append(value)
    except struct.error:
        raise _short() from None
    if at != len(body):
        raise ProtocolError("the frame is longer than its contents")
    return plan, args


def write_answer(plan: Plan, args: Sequence[Any], value: Any) -> bytes:
    """The body that answers a call that returned `value`.

    Raises ValueError, TypeError or struct.error where `value` is not what the table promises.
    """
    writers = plan.writers
    if len(writers) == 1:
        argument, bound, write = writers[0]
        return _OK + write(value, args[bound] if bound >= 0 else None, argument)
    if plan.attributes >= 0:
        rv, answer = write_attributes(value, args[plan.attributes])
        return _U64.pack(rv) + (answer if rv in ATTRIBUTE_ANSWERS else b"")
    if not writers:
        if value is not None:
            raise ValueError("a value where the function has no output")
        return _OK
    return _OK + b"".join(
        write(item, args[bound] if bound >= 0 else None, argument)
        for (argument, bound, write), item in zip(writers, value, strict=True)
    )


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
