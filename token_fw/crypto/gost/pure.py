"""GOST R 34.10-2012 and Streebog in Python's integers: there on every machine."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from token_fw.crypto.gost import signatures, streebog
from token_fw.crypto.gost.interface import Digest, PrivateNumber, PublicPoint
from token_fw.crypto.gost.parameter_sets import ParameterSet


@dataclass(frozen=True, slots=True, repr=False)
class _Private:
    parameters: ParameterSet
    d: int

    @property
    def point(self) -> tuple[int, int]:
        return signatures.public_point(self.parameters, self.d)

    def sign(self, digest: bytes, k: int | None = None) -> bytes:
        return signatures.sign(self.parameters, self.d, digest, k)


@dataclass(frozen=True, slots=True)
class _Public:
    parameters: ParameterSet
    point: tuple[int, int]

    def verify(self, digest: bytes, signature: bytes) -> bool:
        return signatures.verify(self.parameters, self.point, digest, signature)


class PureBackend:
    """Python's integers."""

    name = "pure Python"

    @property
    def version(self) -> str:
        return platform.python_version()

    def private(self, parameters: ParameterSet, d: int) -> PrivateNumber:
        return _Private(parameters, d)

    def public(self, parameters: ParameterSet, point: tuple[int, int]) -> PublicPoint:
        return _Public(parameters, point)

    def streebog(self, size: int) -> Digest:
        return streebog.Streebog(size)
