"""For every kind of argument: C values to pass, what the application must see, what comes back."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterable, Iterator
from ctypes import byref, c_ulong, c_void_p
from dataclasses import dataclass, field
from typing import Any, Final

from host_tools.cryptoki import pss
from host_tools.cryptoki_types import CK_STRUCTS, CkAttribute, CkMechanism, GcmMessageParameter
from pkcs11_module._constants import (
    CKA_ID,
    CKA_LABEL,
    CKA_MODULUS,
    CKA_UNWRAP_TEMPLATE,
    CKA_WRAP_TEMPLATE,
    CKM_AES_GCM,
    CKM_RSA_PKCS_PSS,
    CKM_SHA256,
    CKR_OK,
    CKR_VENDOR_DEFINED,
)
from pkcs11_module._functions import FUNCTIONS, STRUCTS
from pkcs11_module.model import Argument, Field, FunctionSpec, Kind
from pkcs11_module.types import (
    Attribute,
    AttributeRequest,
    Buffer,
    GcmMessageParams,
    Length,
    Mechanism,
    MessageOutput,
    RsaPkcsPssParams,
)

SERVED: Final = [spec for spec in FUNCTIONS if not spec.local]
SESSION: Final = 1
NUMBER: Final = 0x1122_3344_5566_7788
CANARY: Final = 0xA5
UNTOUCHED: Final = CKR_VENDOR_DEFINED


@dataclass
class Sample:
    """One argument: `pointers` are the places of the C values that must not be NULL.

    `lengths` are those of lengths, each behind its pointer, that may not be endless.
    """

    values: tuple[Any, ...]
    arrives: tuple[object, ...] = ()
    answers: tuple[object, ...] = ()
    check: Callable[[], None] = lambda: None
    pointers: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()
    kept: list[object] = field(default_factory=list)


def _plain(value: object, arrives: object = None) -> Sample:
    return Sample((value,), (value if arrives is None else arrives,))


def _bytes(_: Argument) -> Sample:
    data = b"some bytes"
    return Sample((data, len(data)), (data,), pointers=(0,), lengths=(1,))


def _label(_: Argument) -> Sample:
    label = b"Work".ljust(32)
    return Sample((label,), (label,), pointers=(0,))


def _mechanism(_: Argument) -> Sample:
    parameter = ctypes.create_string_buffer(pss(CKM_SHA256, 2, 32), 24)
    raw = CkMechanism(CKM_RSA_PKCS_PSS, ctypes.addressof(parameter), 24)
    arrives = Mechanism(CKM_RSA_PKCS_PSS, RsaPkcsPssParams(CKM_SHA256, 2, 32))
    return Sample((byref(raw),), (arrives,), pointers=(0,), kept=[parameter, raw])


def _without_pointers(sample: Sample) -> Sample:
    """The same argument, of a kind that allows NULL."""
    sample.pointers = ()
    return sample


@dataclass
class _Message:
    """CK_GCM_MESSAGE_PARAMS with places for a nonce of 12 bytes and a tag of 15."""

    iv: Any = field(default_factory=lambda: (ctypes.c_ubyte * 13)(*[CANARY] * 13))
    tag: Any = field(default_factory=lambda: (ctypes.c_ubyte * 16)(*[CANARY] * 16))

    def __post_init__(self) -> None:
        iv, tag = ctypes.addressof(self.iv), ctypes.addressof(self.tag)
        self.raw = GcmMessageParameter(iv, 12, 32, 1, tag, 120)
        self.size = ctypes.sizeof(self.raw)
        self.mechanism = CkMechanism(CKM_AES_GCM, ctypes.addressof(self.raw), self.size)

    def arrives(self, read: bool) -> GcmMessageParams:
        """Of a tag's place that is only written to, zeros arrive."""
        return GcmMessageParams(bytes(self.iv)[:12], 32, 1, bytes([CANARY * read] * 15), 120)

    def sample(self, values: tuple[Any, ...], arrives: object, written: bool) -> Sample:
        kept = [self, self.iv, self.tag]
        if not written:
            return Sample(values, (arrives,), kept=kept)
        output = MessageOutput(b"made by toke", b"fifteen bytes..")
        return Sample(values, (arrives,), (output,), self.check, kept=kept)

    def check(self) -> None:
        assert bytes(self.iv) == b"made by toke" + bytes([CANARY])
        assert bytes(self.tag) == b"fifteen bytes.." + bytes([CANARY])


def _message(argument: Argument) -> Sample:
    message, written = _Message(), argument.kind is Kind.MESSAGE
    values = (byref(message.raw), message.size)
    sample = message.sample(values, message.arrives(read=not written), written)
    sample.lengths = (1,)
    return sample


def _message_mechanism(argument: Argument) -> Sample:
    message, read = _Message(), argument.kind is Kind.UNWRAPPING
    arrives = Mechanism(CKM_AES_GCM, message.arrives(read))
    sample = message.sample((byref(message.mechanism),), arrives, argument.kind is Kind.WRAPPING)
    sample.pointers = () if argument.kind is Kind.MESSAGE_INIT else (0,)
    return sample


def _template(_: Argument) -> Sample:
    label = ctypes.create_string_buffer(b"key", 3)
    named = CkAttribute(CKA_LABEL, ctypes.addressof(label), 3)
    inner = (CkAttribute * 2)(CkAttribute(CKA_UNWRAP_TEMPLATE, None, 0), named)
    raw = (CkAttribute * 3)(
        named,
        CkAttribute(CKA_ID, None, 0),
        CkAttribute(CKA_WRAP_TEMPLATE, ctypes.addressof(inner), ctypes.sizeof(inner)),
    )
    nested = (Attribute(CKA_UNWRAP_TEMPLATE, None), Attribute(CKA_LABEL, b"key"))
    arrives = (
        Attribute(CKA_LABEL, b"key"),
        Attribute(CKA_ID, None),
        Attribute(CKA_WRAP_TEMPLATE, None, nested),
    )
    return Sample((raw, 3), (arrives,), pointers=(0,), lengths=(1,), kept=[label, inner])


def _attributes(_: Argument) -> Sample:
    room = (ctypes.c_ubyte * 8)(*[CANARY] * 8)
    small = (ctypes.c_ubyte * 4)(*[CANARY] * 4)
    inner = (CkAttribute * 3)(CkAttribute(0, ctypes.addressof(small), 3))
    raw = (CkAttribute * 3)(
        CkAttribute(CKA_ID, ctypes.addressof(room), 7),
        CkAttribute(CKA_MODULUS, None, 0),
        CkAttribute(CKA_WRAP_TEMPLATE, ctypes.addressof(inner), ctypes.sizeof(inner)),
    )
    size = ctypes.sizeof(CkAttribute)

    def check() -> None:
        assert bytes(room) == b"\x01\x02" + bytes([CANARY] * 6)
        assert bytes(small) == b"\x09" + bytes([CANARY] * 3)
        assert [item.ulValueLen for item in raw] == [2, 256, 2 * size]
        told = [(item.type, item.ulValueLen) for item in inner]
        assert told == [(CKA_ID, 1), (CKA_UNWRAP_TEMPLATE, size), (0, 0)]

    places = (AttributeRequest(0, 3), AttributeRequest(0, None), AttributeRequest(0, None))
    deepest = (Attribute(CKA_ID, b"\x01"),)
    template = (Attribute(CKA_ID, b"\x09"), Attribute(CKA_UNWRAP_TEMPLATE, None, deepest))
    requests = (
        AttributeRequest(CKA_ID, 7),
        AttributeRequest(CKA_MODULUS, None),
        AttributeRequest(CKA_WRAP_TEMPLATE, 3, places),
    )
    return Sample(
        (raw, 3),
        (requests,),
        ((CKR_OK, [b"\x01\x02", Length(256), template]),),
        check,
        pointers=(0,),
        lengths=(1,),
        kept=[room, small, inner],
    )


_handles = itertools.count(100)


def _ulong_out(argument: Argument) -> Sample:
    place, value = c_ulong(UNTOUCHED), next(_handles)

    def check() -> None:
        assert place.value == value, argument.members

    return Sample((byref(place),), (), (value,), check, pointers=(0,), kept=[place])


def _buffer(_: Argument) -> Sample:
    room, size = (ctypes.c_ubyte * 16)(*[CANARY] * 16), c_ulong(15)

    def check() -> None:
        assert size.value == 6
        assert bytes(room) == b"output" + bytes([CANARY] * 10)

    return Sample((room, byref(size)), (Buffer(15),), (b"output",), check, (1,), kept=[room, size])


def _ulongs(count: int) -> Any:
    return (c_ulong * count)(*[UNTOUCHED] * count)


def _list(_: Argument) -> Sample:
    room, size = _ulongs(4), c_ulong(3)

    def check() -> None:
        assert size.value == 2
        assert list(room) == [NUMBER, 6, UNTOUCHED, UNTOUCHED]

    return Sample((room, byref(size)), (Buffer(3),), ([NUMBER, 6],), check, (1,), kept=[room, size])


def _find(_: Argument) -> Sample:
    room, found = _ulongs(4), c_ulong(UNTOUCHED)

    def check() -> None:
        assert found.value == 2
        assert list(room) == [8, 9, UNTOUCHED, UNTOUCHED]

    return Sample((room, 3, byref(found)), (3,), ([8, 9],), check, (0, 2), kept=[room, found])


def _filled(_: Argument) -> Sample:
    room = (ctypes.c_ubyte * 8)(*[CANARY] * 8)

    def check() -> None:
        assert bytes(room) == b"random!" + bytes([CANARY])

    return Sample((room, 7), (7,), (b"random!",), check, (0,), (1,), kept=[room])


def _field_value(entry: Field, number: int) -> object:
    if entry.kind is Kind.TEXT:
        return f"text {number}"
    if entry.kind is Kind.OCTETS:
        return bytes([number] * entry.size)
    return (number, 1) if entry.kind is Kind.VERSION else NUMBER + number


def _struct(argument: Argument) -> Sample:
    raw = CK_STRUCTS[argument.struct]()
    fields = [entry for entry in STRUCTS[argument.struct] if entry.kind is not Kind.SIZE]
    sizes = [entry for entry in STRUCTS[argument.struct] if entry.kind is Kind.SIZE]
    for entry in sizes:
        setattr(raw, entry.name, ctypes.sizeof(raw))
    values = tuple(_field_value(entry, number) for number, entry in enumerate(fields))

    def check() -> None:
        for entry, value in zip(fields, values, strict=True):
            got = getattr(raw, entry.name)
            if isinstance(value, str):
                assert bytes(got) == value.encode().ljust(entry.size)
            elif isinstance(value, bytes):
                assert bytes(got) == value
            elif isinstance(value, tuple):
                assert (got.major, got.minor) == value
            else:
                assert got == value

    return Sample((byref(raw),), (), (values,), check, pointers=(0,), kept=[raw])


_SAMPLES: Final[dict[Kind, Callable[[Argument], Sample]]] = {
    Kind.SESSION: lambda _: _plain(SESSION),
    Kind.ULONG: lambda _: _plain(NUMBER),
    Kind.BOOL: lambda _: _plain(1, True),
    Kind.BYTES: _bytes,
    Kind.OPTIONAL: lambda argument: _without_pointers(_bytes(argument)),
    Kind.LABEL: _label,
    Kind.MECHANISM: _mechanism,
    Kind.INIT: lambda argument: _without_pointers(_mechanism(argument)),
    Kind.MESSAGE: _message,
    Kind.MESSAGE_IN: _message,
    Kind.MESSAGE_INIT: _message_mechanism,
    Kind.WRAPPING: _message_mechanism,
    Kind.UNWRAPPING: _message_mechanism,
    Kind.TEMPLATE: _template,
    Kind.ATTRIBUTES: _attributes,
    Kind.ULONG_OUT: _ulong_out,
    Kind.SESSION_OUT: _ulong_out,
    Kind.MADE: _ulong_out,
    Kind.BUFFER: _buffer,
    Kind.LAST: lambda argument: _without_pointers(_buffer(argument)),
    Kind.LIST: _list,
    Kind.FIND: _find,
    Kind.FILLED: _filled,
    Kind.STRUCT: _struct,
    Kind.IGNORED: lambda _: Sample((c_void_p(0xDEAD0000),)),
    Kind.NULL: lambda _: Sample((None,)),
}


@dataclass
class SampleCall:
    """A complete call of one function."""

    spec: FunctionSpec
    samples: list[Sample]

    @property
    def values(self) -> list[Any]:
        return [value for sample in self.samples for value in sample.values]

    @property
    def arrives(self) -> tuple[object, ...]:
        return tuple(value for sample in self.samples for value in sample.arrives)

    @property
    def answer(self) -> object:
        answers = [value for sample in self.samples for value in sample.answers]
        return answers[0] if len(answers) == 1 else tuple(answers) or None

    def check(self) -> None:
        for sample in self.samples:
            sample.check()

    def places(self, which: Callable[[Sample], Iterable[int]]) -> Iterator[int]:
        """Positions among `values` of what `which` picks from each sample."""
        start = 0
        for sample in self.samples:
            yield from (start + place for place in which(sample))
            start += len(sample.values)


def sample_call(spec: FunctionSpec) -> SampleCall:
    """A well-formed call, with fresh places for its outputs."""
    return SampleCall(spec, [_SAMPLES[argument.kind](argument) for argument in spec.arguments])
