"""DER (X.690) as far as encodings of keys need it that cryptography does not know."""

from __future__ import annotations

from typing import Final

INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OID: Final = 0x06
SEQUENCE: Final = 0x30


def encode(tag: int, *parts: bytes) -> bytes:
    """Give an element with that content (8.1)."""
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content


class Reader:
    """Reads elements one after the other. Raises ValueError where there is no element of DER."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def next_is(self, tag: int) -> bool:
        """Whether there is a further element and it has this tag."""
        return self._data[self._at : self._at + 1] == bytes((tag,))

    def take(self, tag: int) -> bytes:
        """Give the content of the next element, which has to have this tag."""
        if not self.next_is(tag):
            raise ValueError(f"no element of DER with the tag {tag:02X}")
        start = self._at + 2
        length = self._byte(self._at + 1)
        if length >= 0x80:
            size = length & 0x7F
            encoded = self._data[start : start + size]
            length = int.from_bytes(encoded, "big")
            # 10.1: the definite form, as short as can be.
            if length < 0x80 or len(encoded) != size or not encoded[0]:
                raise ValueError("the length of an element is not DER")
            start += size
        self._at = start + length
        if self._at > len(self._data):
            raise ValueError("an element of DER ends too early")
        return self._data[start : self._at]

    def reader(self, tag: int) -> Reader:
        """The same for an element that is made of elements."""
        return Reader(self.take(tag))

    def finish(self) -> None:
        """Check that nothing is left."""
        if self._at != len(self._data):
            raise ValueError("something follows an element of DER")

    def _byte(self, at: int) -> int:
        if at >= len(self._data):
            raise ValueError("an element of DER ends too early")
        return self._data[at]
