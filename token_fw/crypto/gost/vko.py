"""VKO_GOSTR3410_2012_256 and _512: a key that two owners of keys agree on (RFC 7836 4.3)."""

from __future__ import annotations

from token_fw.crypto.errors import InvalidKey
from token_fw.crypto.gost import curve
from token_fw.crypto.gost.backend import backend
from token_fw.crypto.gost.encodings import point_bytes
from token_fw.crypto.gost.parameter_sets import ParameterSet


def vko(parameters: ParameterSet, d: int, point: tuple[int, int], ukm: int, key_size: int) -> bytes:
    """Give a key of 32 or 64 bytes, Streebog of that size of (m/q * UKM * d) * point.

    `ukm` is from 1 to q - 1. The cofactor m/q is multiplied apart from the numbers modulo q, so
    that a part of the point that is not in the group of order q adds nothing. Raises InvalidKey for
    a point that has no other part.
    """
    cleared = curve.multiply(parameters, parameters.cofactor, point)
    if cleared is None:
        raise InvalidKey("the peer's point gives no secret")
    shared = curve.multiply(parameters, ukm * d % parameters.q, cleared)
    assert shared is not None
    digest = backend().streebog(key_size)
    digest.update(point_bytes(parameters, shared))
    return digest.digest()
