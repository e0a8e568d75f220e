"""A k for a signature that depends on the key and the digest alone (RFC 6979 3.2)."""

from __future__ import annotations

from token_fw.crypto.gost.kdf import StreebogHmac
from token_fw.crypto.gost.parameter_sets import ParameterSet
from token_fw.crypto.gost.signatures import hash_number


def deterministic_nonce(parameters: ParameterSet, d: int, digest: bytes) -> int:
    """Give k, 1 to q - 1, with HMAC over Streebog of the digest's size.

    The hash that RFC 6979 puts in is here the number e of the digest.
    """
    q, size = parameters.q, parameters.size
    secret = d.to_bytes(size, "big") + hash_number(parameters, digest).to_bytes(size, "big")
    key, v = bytes(size), b"\x01" * size
    for mark in (b"\x00", b"\x01"):
        key = StreebogHmac(size, key).of(v + mark + secret)
        v = StreebogHmac(size, key).of(v)
    while True:
        v = StreebogHmac(size, key).of(v)
        k = int.from_bytes(v, "big") >> 8 * size - q.bit_length()
        if 0 < k < q:
            return k
        key = StreebogHmac(size, key).of(v + b"\x00")
        v = StreebogHmac(size, key).of(v)
