"""authenticatorLargeBlobs (CTAP 2.1 6.10): the large-blob array, read and written in fragments.

What is written is staged in memory, for the channel that writes it, and takes the place of the
array at once when it is complete and its checksum is right.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from apdu.ctap import CtapCommand, LargeBlobs, Permission, Status
from token_fw.apps.fido2 import cbor
from token_fw.apps.fido2.core import Call, Core
from token_fw.apps.fido2.errors import CtapError
from token_fw.apps.fido2.requests import MAX_MSG_SIZE
from token_fw.transaction import Transaction

MAX_ARRAY = 8192
"""Bytes of a serialized array, its checksum counted (maxSerializedLargeBlobArray)."""
MAX_FRAGMENT = MAX_MSG_SIZE - 64

_CHECKSUM = 16
_LEAST = 1 + _CHECKSUM
_PREFIX = b"\xff" * 32 + bytes((CtapCommand.LARGE_BLOBS, 0x00))
_KIND, _IDENT = "fido-large-blobs", b"\x00"
_CONFIG = 0x01


@dataclass(frozen=True, slots=True, repr=False)
class _Staged:
    """What came of an array of `length` bytes so far."""

    length: int
    data: bytes = b""


def large_blobs(call: Call, request: LargeBlobs) -> dict[int, Any] | None:
    """Read a fragment, or write one; raises CtapError."""
    if (request.get is None) == (request.set is None):
        raise _bad("either get or set")
    if request.offset is None:
        raise _bad("offset is missing")
    if request.get is not None:
        return _get(call.core, request, request.get, request.offset)
    if request.set is not None:
        _set(call, request, request.set, request.offset)
    return None


def forget(transaction: Transaction) -> None:
    """Have the empty array again."""
    transaction.delete(_KIND, _IDENT)


def _get(core: Core, request: LargeBlobs, count: int, offset: int) -> dict[int, Any]:
    surplus = (request.length, request.pin_uv_auth_param, request.pin_uv_auth_protocol)
    if any(item is not None for item in surplus):
        raise _bad("get has an offset alone")
    if count > MAX_FRAGMENT:
        raise CtapError(Status.CTAP1_ERR_INVALID_LENGTH, "a fragment is not as long as that")
    array = core.transaction.get(_KIND, _IDENT) or _with_checksum(cbor.encode([]))
    if offset > len(array):
        raise _bad("the offset is beyond the array")
    return {_CONFIG: array[offset : offset + count]}


def _set(call: Call, request: LargeBlobs, fragment: bytes, offset: int) -> None:
    staged = _staged(call, request, len(fragment), offset)
    core = call.core
    if core.protected or core.settings.always_uv:
        digest = hashlib.sha256(fragment).digest()
        message = _PREFIX + offset.to_bytes(4, "little") + digest
        core.pin_uv.demand(request, message, Permission.LBW)
    data = staged.data + fragment
    if len(data) > staged.length:
        raise _bad("the fragment is longer than what is left")
    if len(data) < staged.length:
        call.leave(_Staged(staged.length, data))
        return
    if _with_checksum(data[:-_CHECKSUM]) != data:
        raise CtapError(Status.CTAP2_ERR_INTEGRITY_FAILURE, "the checksum is wrong")
    core.transaction.put(_KIND, _IDENT, data)


def _staged(call: Call, request: LargeBlobs, count: int, offset: int) -> _Staged:
    """What the fragment goes on with; an offset of 0 begins anew."""
    if count > MAX_FRAGMENT:
        raise CtapError(Status.CTAP1_ERR_INVALID_LENGTH, "a fragment is not as long as that")
    if offset:
        if request.length is not None:
            raise _bad("the length comes with the first fragment")
        staged = call.resume(_Staged)
        if staged is None or len(staged.data) != offset:
            raise CtapError(Status.CTAP1_ERR_INVALID_SEQ, "the fragment is not the next one")
        return staged
    if request.length is None:
        raise _bad("length is missing")
    if request.length > MAX_ARRAY:
        raise CtapError(Status.CTAP2_ERR_LARGE_BLOB_STORAGE_FULL, "the array is too long")
    if request.length < _LEAST:
        raise _bad("an array has a checksum")
    return _Staged(request.length)


def _with_checksum(array: bytes) -> bytes:
    return array + hashlib.sha256(array).digest()[:_CHECKSUM]


def _bad(message: str) -> CtapError:
    return CtapError(Status.CTAP1_ERR_INVALID_PARAMETER, message)
