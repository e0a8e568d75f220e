"""Frames as the PKCS#11 library writes them, for tests of the side that reads them."""

from __future__ import annotations

import struct
from typing import Final

from pkcs11_module import wire
from pkcs11_module._functions import FUNCTIONS

NUMBERS: Final = {spec.name: spec.number for spec in FUNCTIONS}
NULL: Final = struct.pack("<Q", wire.NULL_CAPACITY)
NULL_BYTES: Final = struct.pack("<I", wire.NULL_LENGTH)
GREETING: Final = wire.frame(wire.MAGIC + struct.pack("<I", wire.VERSION) + bytes(wire.ID_SIZE))


def ulongs(*values: int) -> bytes:
    """Arguments that are CK_ULONG."""
    return struct.pack(f"<{len(values)}Q", *values)


def sized(data: bytes) -> bytes:
    """A bytes argument."""
    return struct.pack("<I", len(data)) + data


def attributes(*pairs: tuple[int, bytes]) -> bytes:
    """A template, or with eight bytes each the capacities asked for."""
    return struct.pack("<I", len(pairs)) + b"".join(ulongs(kind) + data for kind, data in pairs)


def call(name: str, *arguments: bytes) -> bytes:
    """The body that calls a function."""
    return struct.pack("<I", NUMBERS[name]) + b"".join(arguments)


def refusal(name: str, *arguments: bytes) -> bytes:
    """The body that tells of a call that the library refused by itself."""
    return struct.pack("<I", wire.REFUSED | NUMBERS[name]) + b"".join(arguments)


def split(stream: bytes) -> list[bytes]:
    """The frames in a stream of whole ones."""
    whole = []
    while stream:
        end = 4 + int.from_bytes(stream[:4], "little")
        whole.append(stream[:end])
        stream = stream[end:]
    return whole


def answer(frame: bytes) -> tuple[int, bytes]:
    """Return value and outputs of one frame."""
    assert int.from_bytes(frame[:4], "little") == len(frame) - 4
    return int.from_bytes(frame[4:12], "little"), frame[12:]
