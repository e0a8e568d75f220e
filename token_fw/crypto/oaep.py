"""EME-OAEP (RFC 8017 7.1) with any two hash functions, around RSA without padding."""

from __future__ import annotations

import os
from hmac import compare_digest

from token_fw.crypto import digest
from token_fw.crypto.digest import Hash
from token_fw.crypto.errors import DecryptionFailed
from token_fw.crypto.schemes import RsaOaep


def mgf1(hash_: Hash, seed: bytes, length: int) -> bytes:
    """Give the mask of `length` bytes (RFC 8017 B.2.1)."""
    blocks = range(-(-length // hash_.size))
    mask = b"".join(digest.compute(hash_, seed + i.to_bytes(4, "big")) for i in blocks)
    return mask[:length]


def _masked(hash_: Hash, data: bytes, seed: bytes) -> bytes:
    mask = int.from_bytes(mgf1(hash_, seed, len(data)), "big")
    return (int.from_bytes(data, "big") ^ mask).to_bytes(len(data), "big")


def encode(scheme: RsaOaep, data: bytes, size: int) -> bytes:
    """Pad data that fits to `size` bytes: the length k of the modulus (7.1.1 step 2)."""
    label_hash = digest.compute(scheme.hash, scheme.label)
    zeros = bytes(size - len(data) - 2 * scheme.hash.size - 2)
    block = label_hash + zeros + b"\x01" + data
    seed = os.urandom(scheme.hash.size)
    masked_block = _masked(scheme.mgf_hash, block, seed)
    return b"\x00" + _masked(scheme.mgf_hash, seed, masked_block) + masked_block


def decode(scheme: RsaOaep, encoded: bytes) -> bytes:
    """Take the data out of k bytes (7.1.2 step 3). Raises DecryptionFailed.

    Everything is computed before anything is decided, and every cause reads alike. Python gives
    no promise of constant time: what remains is the time of its integers and of the slice.
    """
    hash_size = scheme.hash.size
    masked_seed, masked_block = encoded[1 : 1 + hash_size], encoded[1 + hash_size :]
    seed = _masked(scheme.mgf_hash, masked_seed, masked_block)
    block = _masked(scheme.mgf_hash, masked_block, seed)
    label_matches = compare_digest(block[:hash_size], digest.compute(scheme.hash, scheme.label))
    bad, found, start = encoded[0] | (label_matches ^ 1), 0, 0
    for at, byte in enumerate(block[hash_size:], start=hash_size + 1):
        is_zero, is_one = (byte - 1) >> 8 & 1, ((byte ^ 1) - 1) >> 8 & 1
        searching = found ^ 1
        bad |= searching & (is_zero | is_one) ^ searching
        start |= -(searching & is_one) & at
        found |= is_one
    if bad | (found ^ 1):
        raise DecryptionFailed("the cryptogram could not be decrypted")
    return block[start:]
