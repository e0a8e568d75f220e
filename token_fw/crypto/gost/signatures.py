"""Signatures of GOST R 34.10-2012 (RFC 7091) in Python's integers.

Arguments are as `interface.Backend` has them.
"""

from __future__ import annotations

import secrets

from token_fw.crypto.gost import curve
from token_fw.crypto.gost.parameter_sets import ParameterSet


def public_point(parameters: ParameterSet, d: int) -> tuple[int, int]:
    """Give the point Q = d * P of a private number (5.2)."""
    return curve.multiply_base(parameters, d)


def hash_number(parameters: ParameterSet, digest: bytes) -> int:
    """Give the number e of a digest, whose first byte is the least significant (6.1 step 2)."""
    return int.from_bytes(digest, "little") % parameters.q or 1


def sign(parameters: ParameterSet, d: int, digest: bytes, k: int | None = None) -> bytes:
    """Give s || r, big-endian (6.1). Raises ValueError for a given k that gives no signature."""
    q, size = parameters.q, parameters.size
    e = hash_number(parameters, digest)
    while True:
        chosen = secrets.randbelow(q - 1) + 1 if k is None else k
        r = curve.multiply_base(parameters, chosen)[0] % q
        s = (r * d + chosen * e) % q
        if r and s:
            return s.to_bytes(size, "big") + r.to_bytes(size, "big")
        if k is not None:
            raise ValueError("this k gives no signature of the digest")


def verify(
    parameters: ParameterSet, point: tuple[int, int], digest: bytes, signature: bytes
) -> bool:
    """Whether s || r is a signature of the digest (6.2)."""
    q, size = parameters.q, parameters.size
    if len(signature) != 2 * size:
        return False
    s, r = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    if not (0 < r < q and 0 < s < q):
        return False
    v = pow(hash_number(parameters, digest), -1, q)
    total = curve.add_products(parameters, s * v % q, -r * v % q, point)
    return total is not None and total[0] % q == r
