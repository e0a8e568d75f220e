"""Key derivation: HKDF (RFC 5869), PBKDF2 (RFC 8018 5.2), the KDF of ANSI X9.63.

All lengths are in bytes; DataLength is raised for one that the function cannot give. What TC26
derives with Streebog is in `gost.kdf`: here, it raises Unsupported.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

from token_fw.crypto.digest import Hash, algorithm
from token_fw.crypto.errors import DataLength

_HKDF_MAX_BLOCKS = 255
_MAX_BLOCKS = 2**32 - 1


def _check_length(length: int, longest: int) -> None:
    if not 1 <= length <= longest:
        raise DataLength(f"1 to {longest} bytes can be derived, not {length}")


def hkdf_extract(hash_: Hash, salt: bytes | None, ikm: bytes) -> bytes:
    """HKDF-Extract (2.2): `hash_.size` bytes. No salt is the same as one of zeros."""
    return HKDF.extract(algorithm(hash_), salt, ikm)


def hkdf_expand(hash_: Hash, prk: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand (2.3) to 1 to 255 * `hash_.size` bytes. Raises DataLength."""
    _check_length(length, _HKDF_MAX_BLOCKS * hash_.size)
    return HKDFExpand(algorithm(hash_), length, info).derive(prk)


def pbkdf2(hash_: Hash, password: bytes, salt: bytes, iterations: int, length: int) -> bytes:
    """PBKDF2 with HMAC, `iterations` times (1 or more); other threads run meanwhile.

    Raises DataLength.
    """
    _check_length(length, _MAX_BLOCKS * hash_.size)
    if iterations < 1:
        raise DataLength("PBKDF2 takes at least one iteration")
    return PBKDF2HMAC(algorithm(hash_), length, salt, iterations).derive(password)


def x963(hash_: Hash, z: bytes, shared_info: bytes, length: int) -> bytes:
    """The KDF of ANSI X9.63 (SEC 1 3.6.1) of a shared secret. Raises DataLength."""
    _check_length(length, _MAX_BLOCKS * hash_.size)
    return X963KDF(algorithm(hash_), length, shared_info).derive(z)
