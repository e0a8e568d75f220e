"""Hash functions: SHA-1, SHA-2 (FIPS 180-4), SHA-3 (FIPS 202) and Streebog (RFC 6986)."""

from __future__ import annotations

import hashlib
from enum import StrEnum

from cryptography.hazmat.primitives import hashes

from token_fw.crypto import der
from token_fw.crypto.errors import DataLength, Unsupported
from token_fw.crypto.gost.backend import backend
from token_fw.crypto.gost.interface import Digest


class Hash(StrEnum):
    """A hash function; the value is its name in hashlib, which does not know Streebog."""

    SHA1 = "sha1"
    SHA224 = "sha224"
    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"
    SHA3_224 = "sha3_224"
    SHA3_256 = "sha3_256"
    SHA3_384 = "sha3_384"
    SHA3_512 = "sha3_512"
    STREEBOG256 = "streebog256"
    STREEBOG512 = "streebog512"

    @property
    def size(self) -> int:
        """The digest's length in bytes."""
        return STREEBOG_SIZES.get(self) or ALGORITHMS[self].digest_size


STREEBOG_SIZES: dict[Hash, int] = {Hash.STREEBOG256: 32, Hash.STREEBOG512: 64}
ALGORITHMS: dict[Hash, hashes.HashAlgorithm] = {
    Hash.SHA1: hashes.SHA1(),  # noqa: S303  still asked for by OAEP and old signatures
    Hash.SHA224: hashes.SHA224(),
    Hash.SHA256: hashes.SHA256(),
    Hash.SHA384: hashes.SHA384(),
    Hash.SHA512: hashes.SHA512(),
    Hash.SHA3_224: hashes.SHA3_224(),
    Hash.SHA3_256: hashes.SHA3_256(),
    Hash.SHA3_384: hashes.SHA3_384(),
    Hash.SHA3_512: hashes.SHA3_512(),
}
"""The hash functions of cryptography: all but Streebog."""

# DER of SEQUENCE { AlgorithmIdentifier { oid, NULL }, OCTET STRING } up to the digest: RFC 8017
# 9.2 note 1; the SHA-3 identifiers are NIST's 2.16.840.1.101.3.4.2.7 to .10. RSA with Streebog is
# in no standard.
_NIST_HASH_ARC = bytes.fromhex("06096086480165030402")
_OIDS: dict[Hash, bytes] = {
    Hash.SHA1: bytes.fromhex("06052B0E03021A"),
    Hash.SHA256: _NIST_HASH_ARC + b"\x01",
    Hash.SHA384: _NIST_HASH_ARC + b"\x02",
    Hash.SHA512: _NIST_HASH_ARC + b"\x03",
    Hash.SHA224: _NIST_HASH_ARC + b"\x04",
    Hash.SHA3_224: _NIST_HASH_ARC + b"\x07",
    Hash.SHA3_256: _NIST_HASH_ARC + b"\x08",
    Hash.SHA3_384: _NIST_HASH_ARC + b"\x09",
    Hash.SHA3_512: _NIST_HASH_ARC + b"\x0a",
}


def algorithm(hash_: Hash) -> hashes.HashAlgorithm:
    """Give the hash function as cryptography has it. Raises Unsupported for Streebog."""
    try:
        return ALGORITHMS[hash_]
    except KeyError:
        raise Unsupported(f"{hash_.name} does not go together with this scheme") from None


def _start(hash_: Hash) -> Digest:
    size = STREEBOG_SIZES.get(hash_)
    if size is not None:
        return backend().streebog(size)
    return hashlib.new(hash_.value, usedforsecurity=False)


class RunningDigest:
    """A digest in progress."""

    __slots__ = ("_state", "hash")

    def __init__(self, hash_: Hash) -> None:
        self.hash = hash_
        self._state = _start(hash_)

    def update(self, data: bytes) -> None:
        """Add data of any length."""
        self._state.update(data)

    def finish(self) -> bytes:
        """Give the digest of all data so far, `hash.size` bytes."""
        return self._state.digest()

    def copy(self) -> RunningDigest:
        """Give an independent digest that has seen the same data."""
        twin = RunningDigest.__new__(RunningDigest)
        twin.hash = self.hash
        twin._state = self._state.copy()
        return twin


def new(hash_: Hash) -> RunningDigest:
    """Start a digest."""
    return RunningDigest(hash_)


def compute(hash_: Hash, data: bytes) -> bytes:
    """Give the digest of data in one step."""
    state = _start(hash_)
    state.update(data)
    return state.digest()


def digest_info(hash_: Hash, value: bytes) -> bytes:
    """Give the DER DigestInfo of a digest (RFC 8017 9.2).

    Raises DataLength for a wrong size, Unsupported for Streebog.
    """
    algorithm(hash_)
    if len(value) != hash_.size:
        raise DataLength(f"a digest of {hash_.name} has {hash_.size} bytes, not {len(value)}")
    identifier = der.encode(der.SEQUENCE, _OIDS[hash_], b"\x05\x00")
    return der.encode(der.SEQUENCE, identifier, der.encode(der.OCTET_STRING, value))
