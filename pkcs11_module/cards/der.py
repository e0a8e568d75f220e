"""The few DER types that PKCS #15 directories are made of (X.690), on top of apdu.tlv."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final

from apdu import tlv
from apdu.tlv import Tlv

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
ENUMERATED: Final = 0x0A
UTF8_STRING: Final = 0x0C
PRINTABLE_STRING: Final = 0x13
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30


class Fields:
    """The components of a SEQUENCE, taken one after the other; optional ones by their tag."""

    def __init__(self, content: bytes) -> None:
        """Raises TlvError where `content` is malformed."""
        self._items = tlv.parse(content)
        self._next = 0

    def take(self, tag: int) -> bytes | None:
        """The content of the next component if it has that tag, else None."""
        if self._next < len(self._items) and self._items[self._next].tag == tag:
            self._next += 1
            return self._items[self._next - 1].value
        return None

    def need(self, tag: int) -> bytes:
        """The content of the next component, which must have that tag; raises ValueError."""
        value = self.take(tag)
        if value is None:
            raise ValueError(f"a component with tag {tag:02X} is missing")
        return value

    def peek(self) -> int | None:
        """The tag of the next component, None at the end."""
        return self._items[self._next].tag if self._next < len(self._items) else None

    def next(self) -> Tlv:
        """The next component, whatever it is; raises ValueError at the end."""
        if self._next >= len(self._items):
            raise ValueError("a component is missing")
        self._next += 1
        return self._items[self._next - 1]

    def rest(self) -> bytes:
        """The components not taken, encoded as they came."""
        return b"".join(tlv.encode(item.tag, item.value) for item in self._items[self._next :])


def integer(content: bytes) -> int:
    """The number in an INTEGER's content; raises ValueError where it is empty."""
    if not content:
        raise ValueError("an INTEGER is empty")
    return int.from_bytes(content, "big", signed=True)


def encode_integer(number: int, tag: int = INTEGER) -> bytes:
    """A number that is not negative."""
    return tlv.encode(tag, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def bits(content: bytes) -> int:
    """A named bit list as a number: bit n of the list is 1 << n."""
    number = 0
    for index, byte in enumerate(content[1:]):
        for bit in range(8):
            if byte & 0x80 >> bit:
                number |= 1 << (8 * index + bit)
    return number


def encode_bits(number: int) -> bytes:
    """A named bit list without trailing zero bits (X.690 11.2.2)."""
    length = number.bit_length()
    content = bytearray((length + 7) // 8)
    for bit in range(length):
        if number >> bit & 1:
            content[bit // 8] |= 0x80 >> bit % 8
    return tlv.encode(BIT_STRING, bytes((-length % 8,)) + bytes(content))


def boolean(content: bytes) -> bool:
    """The truth value in a BOOLEAN's content."""
    return content not in (b"", b"\x00")


def encode_boolean(value: bool, tag: int = BOOLEAN) -> bytes:
    """A truth value."""
    return tlv.encode(tag, b"\xff" if value else b"\x00")


def day(content: bytes) -> date:
    """The date of a GeneralizedTime in UTC; raises ValueError for another form."""
    moment = datetime.strptime(content.decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    return moment.date()


def encode_day(value: date, tag: int = GENERALIZED_TIME) -> bytes:
    """Midnight of a date as GeneralizedTime."""
    text = f"{value.year:04}{value.month:02}{value.day:02}000000Z"
    return tlv.encode(tag, text.encode("ascii"))


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE of parts that are encoded already."""
    return tlv.encode(SEQUENCE, b"".join(parts))


def utf8(text: str, tag: int = UTF8_STRING) -> bytes:
    """A UTF8String."""
    return tlv.encode(tag, text.encode("utf-8"))


def oid(content: bytes) -> str:
    """The dotted form of an OBJECT IDENTIFIER's content; raises ValueError."""
    if not content or content[-1] & 0x80:
        raise ValueError("an OBJECT IDENTIFIER is cut short")
    arcs, arc = [], 0
    for byte in content:
        arc = arc << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(str(number) for number in (first, arcs[0] - 40 * first, *arcs[1:]))
