"""KEG: the two keys of KExp15 that two owners of keys agree on (RFC 9189 8.3.1)."""

from __future__ import annotations

from token_fw.crypto.errors import DataLength
from token_fw.crypto.gost.kdf import kdf_tree
from token_fw.crypto.gost.parameter_sets import ParameterSet
from token_fw.crypto.gost.vko import vko

_UKM_SIZE = 32
_KEYS_SIZE = 64


def keg(parameters: ParameterSet, d: int, point: tuple[int, int], ukm: bytes) -> bytes:
    """Give 64 bytes, the value of a twin key: the key for codes, then the one for encryption.

    The first 16 of the 32 bytes of `ukm` are a big-endian number, of which 0 counts as 1. Raises
    DataLength or InvalidKey.
    """
    if len(ukm) != _UKM_SIZE:
        raise DataLength(f"the UKM of KEG has {_UKM_SIZE} bytes")
    return keg_keys(vko(parameters, d, point, keg_number(ukm), parameters.size), ukm)


def keg_number(ukm: bytes) -> int:
    """Give the UKM of the agreement, out of the first 16 bytes."""
    return int.from_bytes(ukm[:16], "big") or 1


def keg_keys(shared: bytes, ukm: bytes) -> bytes:
    """Give the keys that the agreement makes: those of 512 bits are it, of 256 it makes a tree."""
    if len(shared) == _KEYS_SIZE:
        return shared
    return kdf_tree(shared, b"kdf tree", ukm[16:24], _KEYS_SIZE)
