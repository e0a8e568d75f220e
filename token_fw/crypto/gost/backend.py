"""Who does the work of GOST R 34.10-2012 and Streebog: Python, or an accelerator in its place."""

from __future__ import annotations

from typing import Protocol

from token_fw.crypto.gost import signatures, streebog
from token_fw.crypto.gost.parameter_sets import ParameterSet


class Digest(Protocol):
    """A Streebog digest in progress, with the methods of hashlib's."""

    def update(self, data: bytes, /) -> None:
        """Add data of any length."""

    def digest(self) -> bytes:
        """Give the digest of all data so far, as it is printed (RFC 6986 10)."""

    def copy(self) -> Digest:
        """Give an independent digest that has seen the same data."""


class Backend(Protocol):
    """The operations that have more than one implementation.

    Numbers have passed their checks: d is from 1 to q - 1, a point is on the curve, a digest has
    the size of the parameter set. Digests are bytes as Streebog gives them.
    """

    @property
    def name(self) -> str:
        """What is told to people."""

    def public(self, parameters: ParameterSet, d: int) -> tuple[int, int]:
        """Give the public point of a private number."""

    def sign(self, parameters: ParameterSet, d: int, digest: bytes, k: int | None = None) -> bytes:
        """Sign (RFC 7091 6.1): s || r, big-endian; k is fresh unless it is given, 1 to q - 1."""

    def verify(
        self, parameters: ParameterSet, point: tuple[int, int], digest: bytes, signature: bytes
    ) -> bool:
        """Whether a signature of any bytes is right (RFC 7091 6.2)."""

    def streebog(self, size: int) -> Digest:
        """Start a digest of 32 or 64 bytes."""


class PureBackend:
    """Python's integers."""

    name = "pure Python"
    public = staticmethod(signatures.public_point)
    sign = staticmethod(signatures.sign)
    verify = staticmethod(signatures.verify)
    streebog = staticmethod(streebog.Streebog)


_PURE = PureBackend()


def backend() -> Backend:
    """Give the implementation in use."""
    return _PURE
