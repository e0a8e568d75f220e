"""Paddings of RSA (RFC 8017) apart from the key, for keys that only know the plain power."""

from __future__ import annotations

import os

from token_fw.crypto import digest
from token_fw.crypto.errors import DataLength, DecryptionFailed
from token_fw.crypto.oaep import mgf1
from token_fw.crypto.schemes import RsaPss

_MIN_PADDING = 8
_TRAILER = b"\xbc"


def pkcs1_signature_block(data: bytes, size: int) -> bytes:
    """EMSA-PKCS1-v1_5 (9.2) of a DigestInfo to `size` bytes; raises DataLength."""
    padding = size - len(data) - 3
    if padding < _MIN_PADDING:
        raise DataLength("the data does not fit the key")
    return b"\x00\x01" + b"\xff" * padding + b"\x00" + data


def pss_signature_block(scheme: RsaPss, value: bytes, bits: int) -> bytes:
    """EMSA-PSS (9.1.1) of a digest for a modulus of `bits` bits; raises DataLength."""
    size = (bits - 1 + 7) // 8
    padding = size - len(value) - scheme.salt_length - 2
    if len(value) != scheme.hash.size or padding < 0:
        raise DataLength("the digest or the salt does not fit the key")
    salt = os.urandom(scheme.salt_length)
    hashed = digest.compute(scheme.hash, bytes(8) + value + salt)
    block = bytes(padding) + b"\x01" + salt
    mask = mgf1(scheme.mgf_hash, hashed, len(block))
    masked = bytes(one ^ other for one, other in zip(block, mask, strict=True))
    unused = 8 * size - (bits - 1)
    first = masked[0] & (0xFF >> unused)
    whole = bytes((first,)) + masked[1:] + hashed + _TRAILER
    return whole.rjust((bits + 7) // 8, b"\x00")


def pkcs1_message(block: bytes) -> bytes:
    """Take the message out of EME-PKCS1-v1_5 (7.2.2 step 3).

    Raises DecryptionFailed, alike for every cause. Everything is looked at before anything is
    decided; what remains is the time of Python's integers, and that somebody learns of a failure.
    """
    bad, found, start = block[0] | (block[1] ^ 0x02), 0, 0
    for at, byte in enumerate(block[2:], start=3):
        is_zero = (byte - 1) >> 8 & 1
        start |= -((found ^ 1) & is_zero) & at
        found |= is_zero
    if bad | (found ^ 1) or start < 2 + _MIN_PADDING + 1:
        raise DecryptionFailed("the cryptogram could not be decrypted")
    return block[start:]
