"""What an implementation of GOST R 34.10-2012 and Streebog does, in Python or elsewhere."""

from __future__ import annotations

from typing import Protocol

from token_fw.crypto.gost.parameter_sets import ParameterSet


class Digest(Protocol):
    """A Streebog digest in progress, with the methods of hashlib's."""

    def update(self, data: bytes, /) -> None:
        """Add data of any length."""

    def digest(self) -> bytes:
        """Give the digest of all data so far, as it is printed (RFC 6986 10)."""

    def copy(self) -> Digest:
        """Give an independent digest that has seen the same data."""


class PrivateNumber(Protocol):
    """A private number, made ready once for any number of signatures."""

    @property
    def point(self) -> tuple[int, int]:
        """The public point."""

    def sign(self, digest: bytes, k: int | None = None) -> bytes:
        """Sign (RFC 7091 6.1): s || r, big-endian; k is fresh unless it is given, 1 to q - 1."""


class PublicPoint(Protocol):
    """A public point, made ready once."""

    def verify(self, digest: bytes, signature: bytes) -> bool:
        """Whether a signature of any bytes is right (RFC 7091 6.2)."""


class Backend(Protocol):
    """An implementation.

    Numbers have passed their checks: d is from 1 to q - 1, a point is on the curve, a digest has
    the size of the parameter set. Digests are bytes as Streebog gives them.
    """

    @property
    def name(self) -> str:
        """What is told to people."""

    @property
    def version(self) -> str:
        """The version of the program that it is part of."""

    def private(self, parameters: ParameterSet, d: int) -> PrivateNumber:
        """Make a private number ready."""

    def public(self, parameters: ParameterSet, point: tuple[int, int]) -> PublicPoint:
        """Make a public point ready."""

    def streebog(self, size: int) -> Digest:
        """Start a digest of 32 or 64 bytes."""
