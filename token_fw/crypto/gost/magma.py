"""Magma, the block cipher of 64 bits of GOST R 34.12-2015 5 (RFC 8891).

A block is a number: its first byte is the most significant. Table look-ups depend on the key, so
that this is not constant-time.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import ClassVar, Final

_MASK: Final = 0xFFFFFFFF
_PI: Final = (
    (12, 4, 6, 2, 10, 5, 11, 9, 14, 8, 13, 7, 0, 3, 15, 1),
    (6, 8, 2, 3, 9, 10, 5, 12, 1, 14, 4, 7, 11, 13, 0, 15),
    (11, 3, 5, 8, 2, 15, 10, 13, 14, 1, 7, 4, 12, 9, 6, 0),
    (12, 8, 2, 1, 13, 4, 15, 6, 7, 0, 10, 5, 3, 14, 9, 11),
    (7, 15, 5, 10, 8, 1, 6, 13, 0, 9, 3, 14, 11, 4, 2, 12),
    (5, 13, 15, 6, 9, 2, 12, 10, 11, 7, 8, 1, 4, 3, 14, 0),
    (8, 14, 2, 5, 6, 9, 1, 12, 15, 4, 11, 0, 13, 10, 3, 7),
    (1, 7, 14, 13, 0, 5, 8, 3, 4, 15, 10, 6, 9, 12, 11, 2),
)
"""Pi'_0 to Pi'_7 (5.1.1), for the least significant four bits first."""


@cache
def _tables() -> tuple[list[int], ...]:
    """For each byte of a half, the most significant first: both substitutions, turned by 11."""
    tables = []
    for lowest in (24, 16, 8, 0):
        low, high = _PI[lowest // 4], _PI[lowest // 4 + 1]
        placed = ((high[value >> 4] << 4 | low[value & 15]) << lowest for value in range(256))
        tables.append([part << 11 & _MASK | part >> 21 for part in placed])
    return tuple(tables)


class Magma:
    """A key of 32 bytes, ready for use."""

    __slots__ = ("_backward", "_forward")

    block_size: ClassVar[int] = 8

    def __init__(self, key: bytes) -> None:
        parts = struct.unpack(">8I", key)
        # 5.3: three times in order, once the other way; for decryption the reverse of it.
        self._forward = parts * 3 + parts[::-1]
        self._backward = self._forward[::-1]

    def encrypt(self, block: int) -> int:
        """Encrypt a block (5.4.1)."""
        return _rounds(block, self._forward)

    def decrypt(self, block: int) -> int:
        """Decrypt a block (5.4.2)."""
        return _rounds(block, self._backward)


def _rounds(block: int, keys: tuple[int, ...]) -> int:
    first, second, third, fourth = _tables()
    high, low = block >> 32, block & _MASK
    for key in keys:
        _, b1, b2, b3, b4 = (low + key).to_bytes(5, "big")
        high, low = low, high ^ first[b1] ^ second[b2] ^ third[b3] ^ fourth[b4]
    return low << 32 | high
