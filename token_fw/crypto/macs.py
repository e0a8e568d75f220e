"""Message authentication codes in progress, for `SecretKey`."""

from __future__ import annotations

from cryptography.hazmat.primitives.hmac import HMAC

from token_fw.crypto import digest
from token_fw.crypto.digest import STREEBOG_SIZES, Hash
from token_fw.crypto.gost.kdf import StreebogHmac
from token_fw.crypto.running import MacState


def start_hmac(hash_: Hash, key: bytes) -> MacState:
    """Start HMAC (FIPS 198-1) with a key of any length."""
    size = STREEBOG_SIZES.get(hash_)
    return HMAC(key, digest.algorithm(hash_)) if size is None else StreebogHmac(size, key)


class RunningMac:
    """A code in progress."""

    __slots__ = ("_size", "_state")

    def __init__(self, state: MacState, size: int) -> None:
        self._state = state
        self._size = size

    def update(self, data: bytes) -> None:
        """Add data of any length."""
        self._state.update(data)

    def finish(self) -> bytes:
        """Give the code of all data so far, as many bytes as the scheme says, and end."""
        return self._state.finalize()[: self._size]

    def copy(self) -> RunningMac:
        """Give an independent code that has seen the same data."""
        return RunningMac(self._state.copy(), self._size)
