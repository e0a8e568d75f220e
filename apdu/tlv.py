"""BER-TLV data objects (ISO/IEC 7816-4:2020, 6.3), strictly: one encoding for each object.

Lengths are definite, in the fewest bytes and within the data; tags have one to three bytes in
the fewest bytes and are numbers (0x84, 0x7F49). A tag field never begins with 00, hence padding is
an error too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class TlvError(ValueError):
    """The bytes are no well-formed data objects. The message never holds a value."""


@dataclass(frozen=True, slots=True, repr=False)
class Tlv:
    """One data object: its tag as a number, its value field as bytes."""

    tag: int
    value: bytes

    @property
    def constructed(self) -> bool:
        """Whether the value field holds data objects (bit 6 of the tag's first byte)."""
        return _constructed(self.tag)

    def __repr__(self) -> str:
        # The value may be a PIN or a part of a private key: only its size is shown.
        return f"Tlv({self.tag:02X}, {len(self.value)} bytes)"


def parse(data: bytes) -> tuple[Tlv, ...]:
    """Read data objects that fill `data`, one after the other; empty data has none.

    Raises TlvError at the first malformed one.
    """
    items = []
    position = 0
    size = len(data)
    while position < size:
        tag, start, end = _header(data, position, size)
        items.append(Tlv(tag, bytes(data[start:end])))
        position = end
    return tuple(items)


def parse_one(data: bytes) -> tuple[Tlv, int]:
    """Read the first data object; returns it and the number of bytes it took.

    Raises TlvError when there is none or it is malformed; what follows is not looked at.
    """
    tag, start, end = _header(data, 0, len(data))
    return Tlv(tag, bytes(data[start:end])), end


def encode(tag: int, value: bytes) -> bytes:
    """The wire form of one data object; raises TlvError when `tag` is no valid tag field."""
    size = len(value)
    if tag < 0x100:
        if tag <= 0 or tag & 0x1F == 0x1F:
            raise TlvError(f"{tag:02X} is no tag")
        if size < 0x80:
            return bytes((tag, size)) + value
        return bytes((tag,)) + _length(size) + value
    _check_long_tag(tag)
    return tag.to_bytes((tag.bit_length() + 7) // 8, "big") + _length(size) + value


def find(items: Iterable[Tlv], tag: int) -> bytes | None:
    """The value of the first object with that tag, or None."""
    for item in items:
        if item.tag == tag:
            return item.value
    return None


def to_dict(items: Iterable[Tlv]) -> dict[int, bytes]:
    """Values by tag; raises TlvError when a tag occurs twice."""
    values: dict[int, bytes] = {}
    for item in items:
        if item.tag in values:
            raise TlvError(f"tag {item.tag:02X} occurs twice")
        values[item.tag] = item.value
    return values


def _header(data: bytes, position: int, size: int) -> tuple[int, int, int]:
    """Tag, start and end of the value of the object at `position` of `size` bytes."""
    try:
        tag = data[position]
        position += 1
        if tag & 0x1F == 0x1F:
            tag, position = _long_tag(data, position, tag)
        elif tag == 0:
            raise TlvError("a tag field does not begin with 00")
        length = data[position]
    except IndexError:
        raise TlvError("a tag or length field is cut short") from None
    position += 1
    if length >= 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4:
            raise TlvError(f"tag {tag:02X} has the invalid length byte {length:02X}")
        field = data[position : position + count]
        length = int.from_bytes(field, "big")
        if len(field) < count:
            raise TlvError(f"the length of tag {tag:02X} is cut short")
        if length < 0x80 or length >> 8 * (count - 1) == 0:
            raise TlvError(f"the length of tag {tag:02X} is not in the fewest bytes")
        position += count
    end = position + length
    if end > size:
        raise TlvError(f"the value of tag {tag:02X} is cut short")
    return tag, position, end


def _long_tag(data: bytes, position: int, first: int) -> tuple[int, int]:
    """The tag of two or three bytes that begins with `first`, and the position after it."""
    second = data[position]
    if second < 0x80:
        if second < 0x1F:
            raise TlvError("a tag is not in the fewest bytes")
        return first << 8 | second, position + 1
    third = data[position + 1]
    if second == 0x80 or third >= 0x80:
        raise TlvError("a tag has more than three bytes, or is not in the fewest bytes")
    return first << 16 | second << 8 | third, position + 2


def _check_long_tag(tag: int) -> None:
    """Raises TlvError unless the number is a valid tag field of two or three bytes."""
    if tag <= 0xFFFF:
        valid = (tag >> 8) & 0x1F == 0x1F and 0x1F <= tag & 0xFF < 0x80
    else:
        valid = (
            tag <= 0xFFFFFF
            and (tag >> 16) & 0x1F == 0x1F
            and (tag >> 8) & 0xFF > 0x80
            and tag & 0xFF < 0x80
        )
    if not valid:
        raise TlvError(f"{tag:02X} is no tag")


def _length(size: int) -> bytes:
    """The length field in the fewest bytes."""
    if size < 0x80:
        return bytes((size,))
    count = (size.bit_length() + 7) // 8
    return bytes((0x80 | count,)) + size.to_bytes(count, "big")


def _constructed(tag: int) -> bool:
    while tag > 0xFF:
        tag >>= 8
    return bool(tag & 0x20)
