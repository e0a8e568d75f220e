"""What the modes of Kuznyechik and Magma are made of: keyed blocks and numbered blocks."""

from __future__ import annotations

from typing import ClassVar, Final, Protocol

from token_fw.crypto.errors import DataLength

KEY_SIZE: Final = 32
_D: Final = bytes(range(0x80, 0xA0))
"""What is encrypted to the key of the next section (R 1323565.1.017-2018 4.1, RFC 8645 6.2.1)."""


class KeyedBlocks(Protocol):
    """A cipher with its key of 32 bytes; blocks are numbers, their first byte the highest."""

    block_size: ClassVar[int]

    def __init__(self, key: bytes) -> None: ...
    def encrypt(self, block: int) -> int: ...
    def decrypt(self, block: int) -> int: ...


def next_key(cipher: KeyedBlocks) -> bytes:
    """ACPKM: the key of the section after one with this key."""
    size = cipher.block_size
    parts = (_D[start : start + size] for start in range(0, KEY_SIZE, size))
    return b"".join(cipher.encrypt(int.from_bytes(part)).to_bytes(size) for part in parts)


class Keystream:
    """Encrypted counters, of which the right half counts modulo its size; added to data.

    With a `section` of bytes, whole blocks, the key changes after each.
    """

    __slots__ = ("_cipher", "_counter", "_left", "_position", "_section", "_spare")

    def __init__(self, cipher: KeyedBlocks, counter: int, section: int = 0) -> None:
        self._cipher = cipher
        self._counter = counter
        self._section = section
        self._position = 0
        self._left = cipher.block_size << 4 * cipher.block_size
        self._spare = b""

    def add(self, data: bytes) -> bytes:
        """Encrypt or decrypt the next bytes. Raises DataLength where all counters are used up."""
        size = len(data)
        if size > self._left:
            raise DataLength("the counter would come to a value a second time")
        self._left -= size
        stream = self._spare
        if size > len(stream):
            stream += self._blocks(size - len(stream))
        self._spare = stream[size:]
        return (int.from_bytes(data) ^ int.from_bytes(stream[:size])).to_bytes(size)

    def _blocks(self, count: int) -> bytes:
        """So many bytes of the stream, filled up to whole blocks."""
        size, half = self._cipher.block_size, 4 * self._cipher.block_size
        left, right = self._counter >> half << half, self._counter & (1 << half) - 1
        parts = []
        for _ in range(-(-count // size)):
            if self._section and self._position == self._section:
                self._cipher = type(self._cipher)(next_key(self._cipher))
                self._position = 0
            parts.append(self._cipher.encrypt(left | right).to_bytes(size))
            right = right + 1 & (1 << half) - 1
            self._position += size
        self._counter = left | right
        return b"".join(parts)
