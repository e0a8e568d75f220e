"""HMAC over Streebog (RFC 7836 4.1) and the key derivations that rest on it.

Lengths are in bytes; DataLength is raised for one that the function cannot give.
"""

from __future__ import annotations

from typing import Final

from token_fw.crypto.errors import DataLength
from token_fw.crypto.gost.backend import backend
from token_fw.crypto.gost.interface import Digest
from token_fw.crypto.gost.streebog import BLOCK_SIZE

_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_MAX_PBKDF2: Final = 64 * (2**32 - 1)


class StreebogHmac:
    """HMAC_GOSTR3411_2012_256 or _512 in progress: a code of 32 or 64 bytes with any key."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, size: int, key: bytes) -> None:
        if len(key) > BLOCK_SIZE:
            key = _digest(size, key)
        block = key.ljust(BLOCK_SIZE, b"\x00")
        self._inner, self._outer = backend().streebog(size), backend().streebog(size)
        self._inner.update(block.translate(_INNER))
        self._outer.update(block.translate(_OUTER))

    def update(self, data: bytes, /) -> None:
        """Add data of any length."""
        self._inner.update(data)

    def finalize(self) -> bytes:
        """Give the code of all data so far."""
        outer = self._outer.copy()
        outer.update(self._inner.digest())
        return outer.digest()

    def copy(self) -> StreebogHmac:
        """Give an independent code that has seen the same data."""
        twin = StreebogHmac.__new__(StreebogHmac)
        twin._inner, twin._outer = self._inner.copy(), self._outer.copy()
        return twin

    def of(self, data: bytes) -> bytes:
        """Give the code of all data so far and of this, which is not added."""
        twin = self.copy()
        twin.update(data)
        return twin.finalize()


def _digest(size: int, data: bytes) -> bytes:
    state: Digest = backend().streebog(size)
    state.update(data)
    return state.digest()


def kdf(key: bytes, label: bytes, seed: bytes) -> bytes:
    """KDF_GOSTR3411_2012_256 (RFC 7836 4.4): 32 bytes."""
    return kdf_tree(key, label, seed, 32)


def kdf_tree(key: bytes, label: bytes, seed: bytes, length: int, counter_size: int = 1) -> bytes:
    """KDF_TREE_GOSTR3411_2012_256 (RFC 7836 4.5) of a key of 32 bytes.

    `counter_size` is R, 1 to 4. Raises DataLength for it, or for more than 32 * (256^R - 1) bytes.
    """
    if not 1 <= counter_size <= 4:
        raise DataLength("the counter of KDF_TREE has 1 to 4 bytes")
    longest = 32 * (256**counter_size - 1)
    if not 1 <= length <= longest:
        raise DataLength(f"1 to {longest} bytes can be derived, not {length}")
    bits = (8 * length).to_bytes(((8 * length).bit_length() + 7) // 8, "big")
    keyed = StreebogHmac(32, key)
    blocks = (
        keyed.of(number.to_bytes(counter_size, "big") + label + b"\x00" + seed + bits)
        for number in range(1, (length + 31) // 32 + 1)
    )
    return b"".join(blocks)[:length]


def pbkdf2(password: bytes, salt: bytes, iterations: int, length: int) -> bytes:
    """PBKDF2 with HMAC_GOSTR3411_2012_512 (RFC 9337 4), `iterations` times, 1 or more."""
    if not 1 <= length <= _MAX_PBKDF2:
        raise DataLength(f"1 to {_MAX_PBKDF2} bytes can be derived, not {length}")
    if iterations < 1:
        raise DataLength("PBKDF2 takes at least one iteration")
    keyed, blocks = StreebogHmac(64, password), []
    for number in range(1, (length + 63) // 64 + 1):
        code = keyed.of(salt + number.to_bytes(4, "big"))
        total = int.from_bytes(code, "big")
        for _ in range(iterations - 1):
            code = keyed.of(code)
            total ^= int.from_bytes(code, "big")
        blocks.append(total.to_bytes(64, "big"))
    return b"".join(blocks)[:length]
