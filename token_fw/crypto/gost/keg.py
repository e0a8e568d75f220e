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
    number = int.from_bytes(ukm[:16], "big") or 1
    shared = vko(parameters, d, point, number, parameters.size)
    if len(shared) == _KEYS_SIZE:
        return shared
    return kdf_tree(shared, b"kdf tree", ukm[16:24], _KEYS_SIZE)
