"""MGM, the multilinear Galois mode of 64 and 128 bit blocks (RFC 9058, R 1323565.1.026-2019)."""

from __future__ import annotations

import hmac
from typing import Final

from token_fw.crypto.errors import DataLength, DecryptionFailed
from token_fw.crypto.gost.keystream import KeyedBlocks, Keystream
from token_fw.crypto.running import Gathered, Running
from token_fw.crypto.schemes import Mgm

_SMALLEST_TAG: Final = 4
_TAPS: Final = {64: (0, 1, 3, 4), 128: (0, 1, 2, 7)}
"""The exponents of the field's polynomial below its highest (RFC 9058 3)."""


def _spread(number: int, bits: int) -> int:
    """Every bit in a byte of its own."""
    return int.from_bytes(format(number, f"0{bits}b").encode()) & int.from_bytes(b"\1" * bits)


def _times(one: int, other: int, bits: int) -> int:
    """The product in GF(2^bits).

    Of the spread numbers an ordinary product adds up what meets in each byte, 128 at most.
    """
    sums = _spread(one, bits) * _spread(other, bits) & int.from_bytes(b"\1" * (2 * bits))
    digits = (sums | int.from_bytes(b"0" * (2 * bits))).to_bytes(2 * bits)
    product = int(digits, 2)
    while high := product >> bits:
        product &= (1 << bits) - 1
        for tap in _TAPS[bits]:
            product ^= high << tap
    return product


class _Sum:
    """The code in progress: blocks, each times an encrypted counter whose left half counts."""

    __slots__ = ("_cipher", "_counter", "_sum")

    def __init__(self, cipher: KeyedBlocks, nonce: int) -> None:
        self._cipher = cipher
        self._counter = cipher.encrypt(nonce | 1 << 8 * cipher.block_size - 1)
        self._sum = 0

    def add(self, data: bytes) -> None:
        """Add data that is filled up with zeros to whole blocks."""
        size = self._cipher.block_size
        half = 4 * size
        for start in range(0, len(data), size):
            block = int.from_bytes(data[start : start + size].ljust(size, b"\0"))
            self._sum ^= _times(self._cipher.encrypt(self._counter), block, 8 * size)
            left, right = self._counter >> half, self._counter & (1 << half) - 1
            self._counter = (left + 1 & (1 << half) - 1) << half | right

    def tag(self, aad: int, data: int) -> bytes:
        """Give the tag for so many bytes of each, as long as a block."""
        size = self._cipher.block_size
        self.add((8 * aad).to_bytes(size // 2) + (8 * data).to_bytes(size // 2))
        return self._cipher.encrypt(self._sum).to_bytes(size)


class _State:
    """A message in progress: `seal` and `open` take it in parts, `tag` ends it."""

    __slots__ = ("_aad", "_longest", "_size", "_stream", "_sum", "_total", "_waiting")

    def __init__(self, cipher: KeyedBlocks, scheme: Mgm) -> None:
        self._size = cipher.block_size
        self._longest = (1 << 4 * self._size) // 8 - 1
        self._aad, self._total = len(scheme.aad), 0
        self._count(b"")
        nonce = int.from_bytes(scheme.nonce)
        self._stream = Keystream(cipher, cipher.encrypt(nonce))
        self._sum = _Sum(cipher, nonce)
        self._sum.add(scheme.aad)
        self._waiting = b""

    def seal(self, data: bytes) -> bytes:
        """Encrypt."""
        self._count(data)
        result = self._stream.add(data)
        self._authenticate(result)
        return result

    def open(self, data: bytes) -> bytes:
        """Decrypt what is not yet proved to be whole."""
        self._count(data)
        self._authenticate(data)
        return self._stream.add(data)

    def _count(self, data: bytes) -> None:
        self._total += len(data)
        if max(self._total, self._aad) > self._longest:
            raise DataLength(f"the data has at most {self._longest} bytes")

    def _authenticate(self, data: bytes) -> None:
        data = self._waiting + data
        whole = len(data) - len(data) % self._size
        self._sum.add(data[:whole])
        self._waiting = data[whole:]

    def tag(self) -> bytes:
        """Give the tag, as long as a block."""
        if not self._total + self._aad:
            raise DataLength("there is nothing to authenticate")
        self._sum.add(self._waiting)
        return self._sum.tag(self._aad, self._total)


class _Encryption(Running):
    __slots__ = ("_state", "_tag_size")

    def __init__(self, state: _State, tag_size: int) -> None:
        self._state = state
        self._tag_size = tag_size

    def update(self, data: bytes) -> bytes:
        return self._state.seal(data)

    def finish(self) -> bytes:
        return self._state.tag()[: self._tag_size]


def start_mgm(cipher: KeyedBlocks, scheme: Mgm, encrypts: bool) -> Running:
    """Start MGM; a decryption gives nothing before `finish`. Raises DataLength."""
    size = cipher.block_size
    tag_size = scheme.tag_size or size
    if len(scheme.nonce) != size or scheme.nonce[0] & 0x80:
        raise DataLength(f"the nonce has {size} bytes, and its first bit is 0")
    if not _SMALLEST_TAG <= tag_size <= size:
        raise DataLength(f"a tag has {_SMALLEST_TAG} to {size} bytes")

    def decrypt(data: bytes) -> bytes:
        if len(data) < tag_size:
            raise DataLength("the cryptogram is shorter than its tag")
        state = _State(cipher, scheme)
        plain = state.open(data[:-tag_size])
        if not hmac.compare_digest(state.tag()[:tag_size], data[-tag_size:]):
            raise DecryptionFailed("the cryptogram could not be decrypted")
        return plain

    return _Encryption(_State(cipher, scheme), tag_size) if encrypts else Gathered(decrypt)
