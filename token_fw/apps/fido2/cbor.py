"""CTAP2 canonical CBOR (CTAP 2.1 8): what the decoder takes is exactly what the encoder writes.

Integers from -2^64 to 2^64-1 in the shortest form, byte strings, UTF-8 texts, arrays and maps of
definite length, false, true and null; floating-point numbers as they were read, of any width. Maps
have integers, byte strings or texts for keys, each once and in order. No tags, at most 4 levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 4
"""How many arrays and maps may be in one another, the outermost counted."""

_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_SIMPLE_VALUES: dict[int, bool | None] = {20: False, 21: True, 22: None}
_FLOAT_SIZES = {25: 2, 26: 4, 27: 8}
_SIMPLE_INFOS = {value: info for info, value in _SIMPLE_VALUES.items()}
_FIRST_LONG, _LAST_LONG = 24, 27


class CborError(ValueError):
    """The bytes are not one canonical item; the message never holds them."""


@dataclass(frozen=True, slots=True)
class Float:
    """A floating-point number, which nothing here reckons with: its encoding, 3, 5 or 9 bytes."""

    encoded: bytes


def decode(data: bytes) -> Any:
    """The value of one item that fills `data`.

    An int, bytes, str, list, dict, bool, Float or None. Raises CborError.
    """
    value, end = _item(data, 0, MAX_DEPTH)
    if end != len(data):
        raise CborError("bytes follow the item")
    return value


def encode(value: object) -> bytes:
    """The canonical encoding of int, bytes, str, lists, tuples, mappings, bool, Float and None.

    Raises TypeError for anything else, OverflowError for an integer out of range.
    """
    match value:
        case bool() | None:
            return bytes((_SIMPLE << 5 | _SIMPLE_INFOS[value],))
        case int():
            return _head(_UINT, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
        case bytes() | str():
            major, content = (
                (_BYTES, value) if isinstance(value, bytes) else (_TEXT, value.encode())
            )
            return _head(major, len(content)) + content
        case Mapping():
            pairs = sorted((_order(key := encode(name)), key, name) for name in value)
            members = (key + encode(value[name]) for _, key, name in pairs)
            return _head(_MAP, len(pairs)) + b"".join(members)
        case Float():
            return value.encoded
        case list() | tuple():
            return _head(_ARRAY, len(value)) + b"".join(map(encode, value))
    raise TypeError(f"{type(value).__name__} has no encoding here")


def _order(key: bytes) -> tuple[int, int, bytes]:
    """By what map keys are sorted: major type, then length, then bytes."""
    return key[0] >> 5, len(key), key


def _head(major: int, argument: int) -> bytes:
    if argument < _FIRST_LONG:
        return bytes((major << 5 | argument,))
    for power in range(4):
        if argument < 1 << (8 << power):
            first = bytes((major << 5 | _FIRST_LONG + power,))
            return first + argument.to_bytes(1 << power, "big")
    raise OverflowError("the integer has more than 64 bits")


def _item(data: bytes, start: int, depth: int) -> tuple[Any, int]:
    """The item that begins at `start`, and where it ends."""
    if start >= len(data):
        raise CborError("the item is cut off")
    major, info = data[start] >> 5, data[start] & 0x1F
    if major == _SIMPLE:
        return _simple(data, start, info)
    if major == _TAG:
        raise CborError("there are no tags")
    argument, at = _argument(data, start + 1, info)
    if major in {_UINT, _NEGATIVE}:
        return (argument if major == _UINT else -1 - argument), at
    if major in {_BYTES, _TEXT}:
        return _string(major, data, at, argument)
    if not depth:
        raise CborError("there are too many levels")
    if argument > len(data) - at:
        raise CborError("the item is cut off")
    return (_array if major == _ARRAY else _map)(data, at, argument, depth - 1)


def _argument(data: bytes, at: int, info: int) -> tuple[int, int]:
    if info < _FIRST_LONG:
        return info, at
    if info > _LAST_LONG:
        raise CborError("the length is indefinite or reserved")
    size = 1 << (info - _FIRST_LONG)
    field = data[at : at + size]
    if len(field) < size:
        raise CborError("the item is cut off")
    argument = int.from_bytes(field, "big")
    least = _FIRST_LONG if size == 1 else 1 << (4 * size)
    if argument < least:
        raise CborError("the integer is not in its shortest form")
    return argument, at + size


def _simple(data: bytes, start: int, info: int) -> tuple[bool | Float | None, int]:
    if info in _SIMPLE_VALUES:
        return _SIMPLE_VALUES[info], start + 1
    if info not in _FLOAT_SIZES:
        raise CborError("the simple value is not known")
    end = start + 1 + _FLOAT_SIZES[info]
    if end > len(data):
        raise CborError("the item is cut off")
    return Float(data[start:end]), end


def _string(major: int, data: bytes, at: int, length: int) -> tuple[bytes | str, int]:
    value = data[at : at + length]
    if len(value) < length:
        raise CborError("the item is cut off")
    if major == _BYTES:
        return value, at + length
    try:
        return value.decode(), at + length
    except UnicodeDecodeError:
        raise CborError("the text is not UTF-8") from None


def _array(data: bytes, at: int, count: int, depth: int) -> tuple[list[Any], int]:
    values = []
    for _ in range(count):
        value, at = _item(data, at, depth)
        values.append(value)
    return values, at


def _map(data: bytes, at: int, count: int, depth: int) -> tuple[dict[Any, Any], int]:
    values = {}
    last: tuple[int, int, bytes] | None = None
    for _ in range(count):
        key, end = _item(data, at, depth)
        order = _order(data[at:end])
        if order[0] > _TEXT:
            raise CborError("the key of a map is no integer and no string")
        if last is not None and order <= last:
            raise CborError("the keys of a map are not in order, or one is there twice")
        last = order
        values[key], at = _item(data, end, depth)
    return values, at
