"""Kuznyechik, the block cipher of 128 bits of GOST R 34.12-2015 4 (RFC 7801).

A block is a number: its first byte is the most significant. Table look-ups depend on the key, so
that this is not constant-time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from operator import getitem, xor
from typing import ClassVar, Final

from token_fw.crypto.gost.streebog import PI

_BLOCK: Final = 16
_PI_INVERSE: Final = bytes(PI.index(value) for value in range(256))
_FIELD: Final = 0x1C3
"""x^8 + x^7 + x^6 + x + 1, over which R multiplies."""

_LINEAR: Final = (148, 32, 133, 16, 194, 192, 1, 251, 1, 192, 194, 16, 133, 32, 148, 1)
"""What the bytes of a block are multiplied with in R, the first byte first (4.1.2)."""


def _times(one: int, other: int) -> int:
    product = 0
    for bit in range(8):
        if other >> bit & 1:
            product ^= one << bit
    for bit in range(14, 7, -1):
        if product >> bit & 1:
            product ^= _FIELD << bit - 8
    return product


_Table = list[list[int]]


def _products() -> _Table:
    """For each byte of a block and each value of it, what it is multiplied to in R."""
    rows = {factor: [_times(factor, value) for value in range(256)] for factor in set(_LINEAR)}
    return [rows[factor] for factor in _LINEAR]


def _sum(products: _Table, block: int) -> int:
    return reduce(xor, map(getitem, products, block.to_bytes(_BLOCK, "big")))


def _step(products: _Table, block: int) -> int:
    """R (4.2): the sum of all bytes comes in at the front, the last byte drops out."""
    return _sum(products, block) << 120 | block >> 8


def _step_back(products: _Table, block: int) -> int:
    """The inverse of R: the byte that dropped out is what completes the sum."""
    turned = block << 8 & (1 << 128) - 1 | block >> 120
    return turned & ~0xFF | _sum(products, turned)


def _combined(bits: Sequence[int], substitution: bytes) -> _Table:
    """For each byte of a block and each value of it, its share in the linear image of its S.

    `bits` has the images of the 128 blocks with one bit, the least significant first.
    """
    tables = []
    for lowest in range(120, -8, -8):
        images = [0] * 256
        for value in range(1, 256):
            rest = value & value - 1
            images[value] = images[rest] ^ bits[lowest + (value ^ rest).bit_length() - 1]
        tables.append([images[value] for value in substitution])
    return tables


def _substituted(block: int, table: bytes) -> int:
    return int.from_bytes(block.to_bytes(_BLOCK, "big").translate(table), "big")


@dataclass(frozen=True, slots=True)
class _Tables:
    """S and L in one look-up a byte, the same for the inverses, and the constants of the keys."""

    forward: _Table
    backward: _Table
    constants: tuple[int, ...]


@cache
def _tables() -> _Tables:
    products = _products()
    forward, backward = [], []
    for bit in range(128):
        image = before = 1 << bit
        for _ in range(_BLOCK):
            image, before = _step(products, image), _step_back(products, before)
        forward.append(image)
        backward.append(before)
    images = _combined(forward, bytes(range(256)))
    constants = tuple(_rounds(images, (0,), 0, number) for number in range(1, 33))
    return _Tables(_combined(forward, PI), _combined(backward, _PI_INVERSE), constants)


def _rounds(tables: _Table, keys: Iterable[int], last: int, block: int) -> int:
    """Add a key and look up, for every key; then add the last one."""
    # Unrolled: half the time of a loop over the bytes.
    t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, ta, tb, tc, td, te, tf = tables
    for key in keys:
        b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, ba, bb, bc, bd, be, bf = (block ^ key).to_bytes(
            _BLOCK, "big"
        )
        block = (
            (t0[b0] ^ t1[b1] ^ t2[b2] ^ t3[b3] ^ t4[b4] ^ t5[b5] ^ t6[b6] ^ t7[b7])
            ^ (t8[b8] ^ t9[b9] ^ ta[ba] ^ tb[bb] ^ tc[bc] ^ td[bd] ^ te[be] ^ tf[bf])
        )  # fmt: skip
    return block ^ last


def _round_keys(value: bytes, tables: _Tables) -> Iterable[int]:
    """The ten round keys (4.4): after each eight steps of a Feistel network, its two halves."""
    one, other = int.from_bytes(value[:16], "big"), int.from_bytes(value[16:], "big")
    yield from (one, other)
    for number, constant in enumerate(tables.constants, start=1):
        one, other = _rounds(tables.forward, (constant,), other, one), one
        if number % 8 == 0:
            yield from (one, other)


class Kuznyechik:
    """A key of 32 bytes, ready for use."""

    __slots__ = ("_backward", "_backward_keys", "_first", "_forward", "_keys", "_last")

    block_size: ClassVar[int] = _BLOCK

    def __init__(self, key: bytes) -> None:
        tables = _tables()
        self._forward, self._backward = tables.forward, tables.backward
        self._first, *middle, self._last = _round_keys(key, tables)
        self._keys = (self._first, *middle)
        # Going back, L comes before the key is added: the keys go through it too.
        later = (self._last, *reversed(middle))
        self._backward_keys = (
            0,
            *(_rounds(self._backward, (0,), 0, _substituted(number, PI)) for number in later),
        )

    def encrypt(self, block: int) -> int:
        """Encrypt a block (4.5.1)."""
        return _rounds(self._forward, self._keys, self._last, block)

    def decrypt(self, block: int) -> int:
        """Decrypt a block (4.5.2)."""
        *keys, last = self._backward_keys
        block = _rounds(self._backward, keys, last, _substituted(block, PI))
        return _substituted(block, _PI_INVERSE) ^ self._first
