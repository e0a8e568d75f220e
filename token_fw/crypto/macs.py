"""Message authentication codes in progress, for `SecretKey`."""

from __future__ import annotations

from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hmac import HMAC


class RunningMac:
    """A code in progress."""

    __slots__ = ("_size", "_state")

    def __init__(self, state: HMAC | CMAC, size: int) -> None:
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
