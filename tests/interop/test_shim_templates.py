"""Templates within templates through the C interface: every pointer and length is checked first."""

from __future__ import annotations

import ctypes
import itertools
import struct
from collections.abc import Callable
from ctypes import byref, c_ulong
from typing import Any, Final

import pytest

from host_tools.cryptoki import Cryptoki, Session, Template
from host_tools.cryptoki_types import CkAttribute
from pkcs11_module import wire
from pkcs11_module._constants import (
    CK_UNAVAILABLE_INFORMATION,
    CKA_ALLOWED_MECHANISMS,
    CKA_ID,
    CKA_LABEL,
    CKR_ARGUMENTS_BAD,
    CKR_BUFFER_TOO_SMALL,
    CKR_DEVICE_ERROR,
    CKR_HOST_MEMORY,
    CKR_OK,
)
from pkcs11_module._functions import NESTED
from pkcs11_module.types import Attribute, AttributeRequest
from tests.interop.fake_daemon import Recorder
from tests.interop.liar import Liar

SIZE: Final = ctypes.sizeof(CkAttribute)
OUTER: Final = min(NESTED)


class Kept(CkAttribute):
    """An attribute that keeps alive what its pointer leads to."""

    kept: object = None


def label(data: bytes) -> CkAttribute:
    """A plain attribute."""
    buffer = ctypes.create_string_buffer(data, len(data))
    attribute = Kept(CKA_LABEL, ctypes.addressof(buffer), len(data))
    attribute.kept = buffer
    return attribute


def template(*attributes: CkAttribute, kind: int = OUTER) -> CkAttribute:
    """An attribute whose value is a template of these."""
    array = (CkAttribute * len(attributes))(*attributes)
    attribute = Kept(kind, ctypes.addressof(array), ctypes.sizeof(array))
    attribute.kept = (array, attributes)
    return attribute


def nested(depth: int) -> CkAttribute:
    attribute = label(b"deep")
    for _ in range(depth):
        attribute = template(attribute)
    return attribute


def circle() -> CkAttribute:
    """A template that contains itself."""
    attribute = CkAttribute(OUTER, 0, SIZE)
    attribute.pValue = ctypes.addressof(attribute)
    return attribute


def create(library: Cryptoki, attribute: CkAttribute) -> int:
    return library.raw["C_CreateObject"](1, byref(attribute), 1, byref(c_ulong()))


def created(recorder: Recorder) -> Any:
    """The only attribute of the only call."""
    ((_, args),) = recorder.calls
    attributes: Any = args[1]
    (attribute,) = attributes
    return attribute


def ask(library: Cryptoki, attribute: CkAttribute) -> int:
    return library.raw["C_GetAttributeValue"](1, 1, byref(attribute), 1)


@pytest.mark.parametrize("kind", sorted(NESTED))
def test_every_nested_type_arrives_as_attributes(
    kind: int, library: Cryptoki, recorder: Recorder
) -> None:
    library.initialize()
    recorder.answer = 1
    assert create(library, template(label(b"key"), label(b""), kind=kind)) == CKR_OK
    inner = (Attribute(CKA_LABEL, b"key"), Attribute(CKA_LABEL, b""))
    assert recorder.calls == [("C_CreateObject", (1, (Attribute(kind, None, inner),)))]


def test_client_builds_templates_in_templates_that_live_as_long_as_the_call(
    library: Cryptoki, recorder: Recorder
) -> None:
    library.initialize()
    recorder.answer = 1
    given: Template = {
        CKA_LABEL: "outer",
        OUTER: {CKA_LABEL: "inner", CKA_ALLOWED_MECHANISMS: [1, 2]},
    }
    Session(library, 1).create(given)
    numbers = bytes((c_ulong * 2)(1, 2))
    inner = (Attribute(CKA_LABEL, b"inner"), Attribute(CKA_ALLOWED_MECHANISMS, numbers))
    arrived = (Attribute(CKA_LABEL, b"outer"), Attribute(OUTER, None, inner))
    assert recorder.calls == [("C_CreateObject", (1, arrived))]


def test_empty_templates_and_null_pointers_are_told_apart(
    library: Cryptoki, recorder: Recorder
) -> None:
    library.initialize()
    recorder.answer = 1
    empty = template(label(b"unseen"))
    empty.ulValueLen = 0
    for attribute, arrives in (
        (empty, Attribute(OUTER, None, ())),
        (CkAttribute(OUTER, None, 0), Attribute(OUTER, None)),
    ):
        recorder.calls.clear()
        assert create(library, attribute) == CKR_OK
        assert recorder.calls == [("C_CreateObject", (1, (arrives,)))]


def test_allowed_mechanisms_are_plain_numbers(library: Cryptoki, recorder: Recorder) -> None:
    library.initialize()
    recorder.answer = 1
    numbers = (c_ulong * 2)(1, 0x1041)
    attribute = CkAttribute(CKA_ALLOWED_MECHANISMS, ctypes.addressof(numbers), 16)
    assert create(library, attribute) == CKR_OK
    assert created(recorder) == Attribute(CKA_ALLOWED_MECHANISMS, bytes(numbers))


def test_arrays_inside_values_may_lie_unaligned(library: Cryptoki, recorder: Recorder) -> None:
    library.initialize()
    recorder.answer = 1
    inner = label(b"key")
    memory = ctypes.create_string_buffer(b"\x00" + bytes(inner), SIZE + 1)
    attribute = CkAttribute(OUTER, ctypes.addressof(memory) + 1, SIZE)
    assert create(library, attribute) == CKR_OK
    assert created(recorder).nested == (Attribute(CKA_LABEL, b"key"),)


def _with(value: int | None, length: int) -> Callable[[], CkAttribute]:
    return lambda: CkAttribute(OUTER, value, length)


def _inside(pointer: int | None, length: int) -> Callable[[], CkAttribute]:
    return lambda: template(label(b"good"), CkAttribute(CKA_LABEL, pointer, length))


BAD: Final[dict[str, Callable[[], CkAttribute]]] = {
    "null pointer": _with(None, SIZE),
    "half an attribute": lambda: _cut(template(label(b"one"), label(b"two")), SIZE + 8),
    "less than one attribute": lambda: _cut(template(label(b"one")), 1),
    "wild length": lambda: _cut(template(label(b"one")), 2**64 - 16),
    "endless": lambda: _cut(template(label(b"one")), 2**64 - 1),
    "too many": lambda: _cut(template(label(b"one")), SIZE * 65537),
    "null pointer inside": _inside(None, 1),
    "null pointer of a template inside": lambda: template(CkAttribute(OUTER, None, SIZE)),
    "too deep": lambda: nested(wire.NESTING_MAX + 1),
    "circle": circle,
}


def _cut(attribute: CkAttribute, length: int) -> CkAttribute:
    attribute.ulValueLen = length
    return attribute


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_bad_templates_inside_templates_are_refused_before_anything_is_sent(
    bad: Callable[[], CkAttribute], library: Cryptoki, recorder: Recorder
) -> None:
    library.initialize()
    assert create(library, bad()) == CKR_ARGUMENTS_BAD
    assert recorder.calls == []


def test_lengths_are_refused_by_their_sum_too(library: Cryptoki, recorder: Recorder) -> None:
    library.initialize()
    large = label(bytes(wire.FRAME_MAX // 4))
    assert create(library, template(*[large] * 4)) == CKR_HOST_MEMORY
    endless = template(_cut(label(b"short"), wire.FRAME_MAX * 4))
    assert create(library, endless) == CKR_HOST_MEMORY
    assert recorder.calls == []


def test_many_templates_that_are_one_and_the_same_end_in_a_refusal(
    library: Cryptoki, recorder: Recorder
) -> None:
    library.initialize()
    tree = label(b"leaf")
    for _ in range(wire.NESTING_MAX):
        tree = template(*[tree] * 200)
    assert create(library, tree) == CKR_HOST_MEMORY
    assert recorder.calls == []


def test_the_deepest_nesting_works_both_ways(library: Cryptoki, recorder: Recorder) -> None:
    library.initialize()
    recorder.answer = 1
    assert create(library, nested(wire.NESTING_MAX)) == CKR_OK
    arrived = created(recorder)
    for _ in range(wire.NESTING_MAX):
        (arrived,) = arrived.nested
    assert arrived == Attribute(CKA_LABEL, b"deep")
    rooms = nested(wire.NESTING_MAX)
    value = (Attribute(CKA_LABEL, b"DEEP"),)
    for _ in range(wire.NESTING_MAX - 1):
        value = (Attribute(OUTER, None, value),)
    recorder.answer = (CKR_OK, [value])
    assert ask(library, rooms) == CKR_OK
    deepest = rooms
    for _ in range(wire.NESTING_MAX):
        deepest = CkAttribute.from_address(deepest.pValue)
    assert ctypes.string_at(deepest.pValue, deepest.ulValueLen) == b"DEEP"


@pytest.mark.parametrize(
    "bad", [nested(wire.NESTING_MAX + 1), circle(), _cut(template(label(b"")), 2**64 - SIZE)]
)
def test_bad_places_for_templates_are_refused_before_anything_is_sent(
    bad: CkAttribute, library: Cryptoki, recorder: Recorder
) -> None:
    library.initialize()
    assert ask(library, bad) == CKR_ARGUMENTS_BAD
    assert recorder.calls == []


TEMPLATE: Final = (Attribute(CKA_ID, b"\x01\x02"), Attribute(CKA_LABEL, b"key"))


def test_length_of_a_template_is_that_of_its_array(library: Cryptoki, recorder: Recorder) -> None:
    library.initialize()
    recorder.answer = (CKR_OK, [TEMPLATE])
    query = CkAttribute(OUTER, None, 7)
    assert ask(library, query) == CKR_OK
    assert query.ulValueLen == 2 * SIZE
    assert recorder.calls == [("C_GetAttributeValue", (1, 1, (AttributeRequest(OUTER, None),)))]


def test_array_that_is_too_short_is_told_as_such(library: Cryptoki, recorder: Recorder) -> None:
    library.initialize()
    recorder.answer = (CKR_OK, [TEMPLATE])
    short = template(label(b"room"))
    assert ask(library, short) == CKR_BUFFER_TOO_SMALL
    assert short.ulValueLen == CK_UNAVAILABLE_INFORMATION


def test_places_inside_follow_the_rules_of_places_outside(
    library: Cryptoki, recorder: Recorder
) -> None:
    """Types are told, a length is asked for by NULL, and what does not fit has none."""
    library.initialize()
    recorder.answer = (CKR_OK, [(*TEMPLATE, Attribute(CKA_LABEL, b"third"))])
    asked = template(CkAttribute(0, None, 0), label(b"12"), label(b"12345"), label(b"untouched"))
    assert ask(library, asked) == CKR_BUFFER_TOO_SMALL
    assert asked.ulValueLen == 3 * SIZE
    inner = (CkAttribute * 4).from_address(asked.pValue)
    assert [(one.type, one.ulValueLen) for one in inner] == [
        (CKA_ID, 2),
        (CKA_LABEL, CK_UNAVAILABLE_INFORMATION),
        (CKA_LABEL, 5),
        (CKA_LABEL, 9),
    ]
    assert ctypes.string_at(inner[2].pValue, 5) == b"third"


def test_a_template_inside_does_not_go_into_a_place_for_bytes(
    library: Cryptoki, recorder: Recorder
) -> None:
    library.initialize()
    recorder.answer = (CKR_OK, [(Attribute(OUTER, None, TEMPLATE),)])
    asked = template(label(bytes(200)))
    assert ask(library, asked) == CKR_BUFFER_TOO_SMALL
    inner = CkAttribute.from_address(asked.pValue)
    assert (inner.type, inner.ulValueLen) == (OUTER, CK_UNAVAILABLE_INFORMATION)
    assert ctypes.string_at(inner.pValue, 200) == bytes(200)


OK: Final = struct.pack("<QI", CKR_OK, 1)
PLAIN_FORM: Final = struct.pack("<BI", 2, SIZE) + bytes(SIZE)
ONE: Final = struct.pack("<BI", 3, 1)
LIES: Final = {
    "template for bytes": (CKA_LABEL, OK + ONE + struct.pack("<QB", CKA_ID, 0)),
    "bytes for a template": (OUTER, OK + PLAIN_FORM),
    "more attributes than room": (OUTER, OK + struct.pack("<BI", 3, 2) + bytes(18)),
    "endless attributes": (OUTER, OK + struct.pack("<BI", 3, 2**32 - 1) + bytes(18)),
    "attribute cut off": (OUTER, OK + ONE + bytes(4)),
    "template inside for bytes": (OUTER, OK + ONE + struct.pack("<Q", OUTER) + ONE + bytes(9)),
    "bytes inside for a template": (OUTER, OK + ONE + struct.pack("<Q", OUTER) + PLAIN_FORM),
    "unknown form inside": (OUTER, OK + ONE + struct.pack("<QB", CKA_ID, 4)),
}


@pytest.mark.parametrize(("kind", "lie"), LIES.values(), ids=LIES.keys())
def test_a_daemon_that_lies_about_templates_moves_no_pointer(
    kind: int, lie: bytes, library: Cryptoki, liar: Liar
) -> None:
    library.initialize()
    liar.answer = wire.frame(lie)
    inner = label(bytes(SIZE))
    asked = template(inner, kind=kind)
    before = bytes(CkAttribute.from_address(asked.pValue))
    assert ask(library, asked) == CKR_DEVICE_ERROR
    assert bytes(CkAttribute.from_address(asked.pValue)) == before


def test_every_pair_of_asked_and_stored_kinds_is_told_without_a_defect() -> None:
    """What AttributeRequest.fill gives where the caller's array does not know what it will hold."""
    two = (Attribute(CKA_ID, b"x"), Attribute(CKA_ID, b"y"))
    stored: list[bytes | tuple[Attribute, ...]] = [b"xy", two]
    requests = (
        AttributeRequest(OUTER, None),
        AttributeRequest(OUTER, 2),
        AttributeRequest(OUTER, 2, (AttributeRequest(0, 1), AttributeRequest(0, 1))),
    )
    pairs = itertools.product(requests, stored)
    told = [type(place.fill(value)).__name__ for place, value in pairs]
    assert told == ["Length", "Length", "bytes", "_Mark", "_Mark", "NestedAnswer"]
