"""From the table of functions: the calls of the fuzzer in C, and the inputs it begins with."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from pkcs11_module import wire
from pkcs11_module._constants import (
    CKA_ID,
    CKA_LABEL,
    CKA_WRAP_TEMPLATE,
    CKG_NO_GENERATE,
    CKM_AES_GCM,
    CKR_BUFFER_TOO_SMALL,
    CKR_OK,
    CKR_PIN_INCORRECT,
)
from pkcs11_module._functions import FUNCTIONS, STRUCTS
from pkcs11_module.model import Argument, Field, FunctionSpec, Kind
from pkcs11_module.types import (
    AttributeRequest,
    Buffer,
    GcmMessageParams,
    Length,
    Mechanism,
    MessageOutput,
)

SERVED: Final = [spec for spec in FUNCTIONS if not spec.local]

_SPAN: Final = ("struct span {0} = any_span();", "{0}.data, {0}.size")
_PLACE: Final = ("void *{0} = any_place(sizeof(CK_ULONG));", "{0}")
_ROOM: Final = ("struct room {0} = any_buffer(1);", "{0}.data, {0}.size")
_MECHANISM: Final = ("CK_MECHANISM *{0} = any_mechanism();", "{0}")
_OF_MESSAGES: Final = ("CK_MECHANISM *{0} = any_message_mechanism();", "{0}")
_MESSAGE: Final = ("struct span {0} = any_message();", "{0}.data, {0}.size")
_ULONG: Final = ("CK_ULONG {0} = any_ulong();", "{0}")

_C: Final[dict[Kind, tuple[str, str]]] = {
    Kind.SESSION: _ULONG,
    Kind.ULONG: _ULONG,
    Kind.BOOL: ("CK_BBOOL {0} = (CK_BBOOL)any_ulong();", "{0}"),
    Kind.BYTES: _SPAN,
    Kind.OPTIONAL: _SPAN,
    Kind.LABEL: ("CK_BYTE *{0} = any_label();", "{0}"),
    Kind.MECHANISM: _MECHANISM,
    Kind.INIT: _MECHANISM,
    Kind.MESSAGE: _MESSAGE,
    Kind.MESSAGE_IN: _MESSAGE,
    Kind.MESSAGE_INIT: _OF_MESSAGES,
    Kind.WRAPPING: _OF_MESSAGES,
    Kind.UNWRAPPING: _OF_MESSAGES,
    Kind.TEMPLATE: ("struct attributes {0} = any_template();", "{0}.items, {0}.count"),
    Kind.ATTRIBUTES: ("struct attributes {0} = any_request();", "{0}.items, {0}.count"),
    Kind.ULONG_OUT: _PLACE,
    Kind.SESSION_OUT: _PLACE,
    Kind.MADE: _PLACE,
    Kind.BUFFER: _ROOM,
    Kind.LAST: _ROOM,
    Kind.LIST: (
        "struct room {0} = any_buffer(sizeof(CK_ULONG));",
        "(CK_ULONG *){0}.data, {0}.size",
    ),
    Kind.FIND: (
        "struct span {0} = any_items(); CK_ULONG *{0}_count = any_place(sizeof(CK_ULONG));",
        "(CK_ULONG *){0}.data, {0}.size, {0}_count",
    ),
    Kind.FILLED: _SPAN,
    Kind.STRUCT: ("{1} *{0} = any_place(sizeof({1}));", "{0}"),
    Kind.IGNORED: ("void *{0} = NULL;", "{0}"),
    Kind.NULL: ("void *{0} = any_reserved();", "{0}"),
}
"""For every kind of argument: what is declared in C, and what is passed."""


def source() -> str:
    """A C file with a call of every function that the daemon answers."""
    lines = ['#include "fuzz.h"', ""]
    for spec in SERVED:
        lines += [f"static void call_{spec.number}(void)", "{", *_body(spec), "}", ""]
    names = ", ".join(f"call_{spec.number}" for spec in SERVED)
    lines.append(f"void (*const CALLS[])(void) = {{{names}}};")
    lines.append("const size_t CALL_COUNT = sizeof CALLS / sizeof CALLS[0];")
    return "\n".join(lines) + "\n"


def _body(spec: FunctionSpec) -> Iterator[str]:
    passed = []
    for number, argument in enumerate(spec.arguments):
        declared, used = _C[argument.kind]
        yield "    " + declared.format(f"a{number}", argument.struct)
        passed.append(used.format(f"a{number}"))
    yield f"    {spec.name}({', '.join(passed)});"


# What arrives of a call whose choices are all zero, and what is answered to it.

_GCM: Final = GcmMessageParams(bytes(32), 1, CKG_NO_GENERATE, bytes(16), 128)
_BACK: Final = MessageOutput(bytes(range(12)), bytes(range(16)))
_ASKED: Final = (AttributeRequest(CKA_ID, 32),) * 3


def _zero(entry: Field) -> object:
    if entry.kind is Kind.VERSION:
        return (1, 2)
    if entry.kind is Kind.OCTETS:
        return bytes(entry.size)
    return "text" if entry.kind is Kind.TEXT else 7


_ANSWERS: Final[dict[Kind, tuple[object, Callable[[Argument], object]]]] = {
    Kind.ULONG_OUT: (None, lambda _: 5),
    Kind.SESSION_OUT: (None, lambda _: 5),
    Kind.MADE: (None, lambda _: 5),
    Kind.BUFFER: (Buffer(32), lambda _: b"output"),
    Kind.LAST: (Buffer(32), lambda _: b"output"),
    Kind.LIST: (Buffer(8), lambda _: [1, 2, 3]),
    Kind.FIND: (8, lambda _: [1, 2, 3]),
    Kind.FILLED: (32, lambda _: bytes(32)),
    Kind.STRUCT: (
        None,
        lambda argument: tuple(
            _zero(field) for field in STRUCTS[argument.struct] if field.kind is not Kind.SIZE
        ),
    ),
    Kind.ATTRIBUTES: (_ASKED, lambda _: (CKR_OK, [b"\x01", Length(4), bytes(32)])),
    Kind.MESSAGE: (_GCM, lambda _: _BACK),
    Kind.WRAPPING: (Mechanism(CKM_AES_GCM, _GCM), lambda _: _BACK),
}


def _answer(spec: FunctionSpec) -> bytes:
    """The body that answers the well-formed call of a function."""
    plan = wire.PLANS[spec.number]
    inputs = [argument for argument in spec.arguments if argument.kind not in _PLACES]
    args = [_ANSWERS.get(argument.kind, (None, None))[0] for argument in inputs]
    values: list[Any] = [
        _ANSWERS[argument.kind][1](argument)
        for argument in spec.arguments
        if argument.kind in _ANSWERS
    ]
    return wire.write_answer(plan, args, values[0] if len(values) == 1 else tuple(values) or None)


_PLACES: Final = {
    Kind.ULONG_OUT,
    Kind.SESSION_OUT,
    Kind.MADE,
    Kind.STRUCT,
    Kind.IGNORED,
    Kind.NULL,
}


def seed(number: int, body: bytes, choices: bytes = b"", piece: int = 0) -> bytes:
    """An input of the fuzzer: the place of a call among SERVED, what it is answered, its choices.

    The answer comes in pieces of so many bytes, 0 = at once.
    """
    frame = wire.frame(body)
    return struct.pack("<HHB", number, len(frame), piece) + frame + choices


_NESTED_CHOICES: Final = bytes((0, 0, 1, 2, 0, 1, 0, 0, 2, 0))
"""C_GetAttributeValue of one template, with room for three attributes of 32 bytes."""


_OK: Final = struct.pack("<Q", CKR_OK)


def seeds() -> Iterator[tuple[str, bytes]]:
    """Names and inputs: every function answered well, in pieces, by an error, by a length."""
    for number, spec in enumerate(SERVED):
        good = _answer(spec)
        yield f"{spec.name}-good", seed(number, good)
        yield f"{spec.name}-pieces", seed(number, good, piece=3)
        yield f"{spec.name}-error", seed(number, wire.write_error(CKR_PIN_INCORRECT))
        short = wire.write_error(CKR_BUFFER_TOO_SMALL, 4096)
        yield f"{spec.name}-short", seed(number, short)
        yield f"{spec.name}-long", seed(number, _OK + struct.pack("<BI", 2, 99) + bytes(99))
        yield f"{spec.name}-endless", seed(number, _OK + struct.pack("<BI", 2, 2**32 - 1))
        yield f"{spec.name}-arguments", seed(number, good, bytes(range(200)))
        if spec.name == "C_GetAttributeValue":
            item = struct.pack("<QBI", CKA_LABEL, 2, 3) + b"key"
            unknown = struct.pack("<QB", CKA_WRAP_TEMPLATE, 0)
            nested = struct.pack("<IBI", 1, 3, 2) + item + unknown
            yield f"{spec.name}-nested", seed(number, _OK + nested, _NESTED_CHOICES)
            confused = struct.pack("<IBI", 3, 3, 1) + item
            yield f"{spec.name}-confused", seed(number, _OK + confused)
            large = struct.pack("<IBI", 3, 2, 99) + bytes(99)
            yield f"{spec.name}-large", seed(number, _OK + large)
