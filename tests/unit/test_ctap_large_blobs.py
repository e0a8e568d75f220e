"""Large blobs with python-fido2's client: fragments, the staged write, its checksum, who may."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest
from fido2.ctap2.blob import LargeBlobs
from fido2.ctap2.config import Config

from apdu.ctap import CtapCommand, Permission, Status
from tests.fido_cards import Desk
from tests.fido_platform import Platform, at_desk, status
from token_fw.apps.fido2 import Channel, cbor
from token_fw.apps.fido2.large_blobs import MAX_ARRAY, MAX_FRAGMENT

pytestmark = pytest.mark.usefixtures("cheap_hash")

BOTH = pytest.mark.parametrize("version", [1, 2])
EMPTY = cbor.encode([]) + hashlib.sha256(cbor.encode([])).digest()[:16]
ARRAY = bytes(range(200))
WHOLE = ARRAY + hashlib.sha256(ARRAY).digest()[:16]


def blobs(platform: Platform) -> LargeBlobs:
    """A client with a token that may write."""
    token = platform.token(Permission.LBW)
    return LargeBlobs(platform.client(), platform.protocol, token)


def read(desk: Desk, offset: int = 0, count: int = MAX_FRAGMENT) -> bytes:
    return bytes(desk.ask(CtapCommand.LARGE_BLOBS, {1: count, 3: offset})[1])


def write(
    desk: Desk, fragment: bytes, offset: int = 0, length: int | None = None, **more: Any
) -> Status:
    """How the write of a fragment is answered, unsigned unless `more` says something else."""
    request: dict[int, Any] = {2: fragment, 3: offset}
    if length is not None:
        request[4] = length
    request |= {int(name[1:]): value for name, value in more.items()}
    return desk.status(CtapCommand.LARGE_BLOBS, request)


# With the client


def test_a_fresh_token_has_an_empty_array() -> None:
    desk = Desk()
    assert read(desk) == EMPTY
    assert LargeBlobs(Platform(desk).client()).read_blob_array() == []


@BOTH
def test_blobs_are_put_found_and_deleted(version: int) -> None:
    platform = at_desk(version=version)
    client = blobs(platform)
    first, second = os.urandom(32), os.urandom(32)
    client.put_blob(first, b"a certificate")
    client.put_blob(second, b"another")
    platform.desk.power()
    reader = LargeBlobs(platform.client())
    assert reader.get_blob(first) == b"a certificate"
    assert reader.get_blob(second) == b"another"
    blobs(platform).delete_blob(first)
    assert reader.get_blob(first) is None
    assert reader.get_blob(second) == b"another"


def test_without_a_pin_anybody_writes() -> None:
    desk = Desk()
    client = LargeBlobs(Platform(desk).client())
    client.put_blob(bytes(32), b"text")
    assert client.get_blob(bytes(32)) == b"text"


def test_an_array_of_several_fragments_is_written_and_read() -> None:
    platform = at_desk()
    client = blobs(platform)
    client.max_fragment_length = 100
    entries = [{1: os.urandom(150), 2: os.urandom(12), 3: number} for number in range(5)]
    client.write_blob_array(entries)
    assert client.read_blob_array() == entries


def test_the_largest_array_fits_and_a_larger_one_does_not() -> None:
    desk = Desk()
    array = os.urandom(MAX_ARRAY - 16)
    whole = array + hashlib.sha256(array).digest()[:16]
    assert write(desk, whole[:5000], length=MAX_ARRAY) is Status.CTAP2_OK
    assert write(desk, whole[5000:], 5000) is Status.CTAP2_OK
    assert read(desk, 0, 7000) + read(desk, 7000) == whole
    answer = write(desk, b"", length=MAX_ARRAY + 1)
    assert answer is Status.CTAP2_ERR_LARGE_BLOB_STORAGE_FULL


# Who may write


def test_writing_takes_a_token_of_that_permission() -> None:
    platform = at_desk()
    unsigned = LargeBlobs(platform.client())
    assert status(unsigned.put_blob, bytes(32), b"") is Status.CTAP2_ERR_PUAT_REQUIRED
    token = platform.token(Permission.CM)
    other = LargeBlobs(platform.client(), platform.protocol, token)
    assert status(other.put_blob, bytes(32), b"") is Status.CTAP2_ERR_PIN_AUTH_INVALID
    assert read(platform.desk) == EMPTY


def test_the_fragment_and_its_offset_are_what_was_signed() -> None:
    platform = at_desk()
    token = platform.token(Permission.LBW)
    message = b"\xff" * 32 + b"\x0c\x00" + bytes(4) + hashlib.sha256(WHOLE).digest()
    signature = platform.sign(token, message)
    wrong = WHOLE[:-1] + b"\x00"
    desk, size = platform.desk, len(WHOLE)
    assert write(desk, wrong, length=size, _5=signature, _6=2) is Status.CTAP2_ERR_PIN_AUTH_INVALID
    assert write(desk, WHOLE, length=size, _5=signature) is Status.CTAP2_ERR_MISSING_PARAMETER
    assert write(desk, WHOLE, length=size, _5=signature, _6=9) is Status.CTAP1_ERR_INVALID_PARAMETER
    assert write(desk, WHOLE, length=size, _5=signature, _6=2) is Status.CTAP2_OK
    assert read(desk) == WHOLE


def test_a_token_that_always_verifies_its_user_has_every_write_signed() -> None:
    desk = Desk()
    Config(Platform(desk).client()).toggle_always_uv()
    assert write(desk, WHOLE, length=len(WHOLE)) is Status.CTAP2_ERR_PUAT_REQUIRED
    assert read(desk) == EMPTY


# What a request is


@pytest.mark.parametrize(
    "request_",
    [
        {3: 0},
        {1: 1, 2: b"", 3: 0},
        {1: 1},
        {2: WHOLE, 4: len(WHOLE)},
        {1: 1, 3: 0, 4: 1},
        {1: 1, 3: 0, 5: bytes(32)},
        {1: 1, 3: 0, 6: 2},
        {1: 1, 3: len(EMPTY) + 1},
        {2: WHOLE, 3: 0},
        {2: bytes(16), 3: 0, 4: 16},
        {2: WHOLE, 3: 0, 4: len(WHOLE) - 1},
    ],
    ids=[
        "neither get nor set",
        "both",
        "get without an offset",
        "set without an offset",
        "get with a length",
        "get with a signature",
        "get with a protocol",
        "beyond the end",
        "the first without a length",
        "too short for a checksum",
        "longer than was said",
    ],
)
def test_a_request_that_contradicts_itself_is_refused(request_: dict[int, Any]) -> None:
    answer = Desk().status(CtapCommand.LARGE_BLOBS, request_)
    assert answer is Status.CTAP1_ERR_INVALID_PARAMETER


def test_a_fragment_has_a_largest_length() -> None:
    desk = Desk()
    assert len(read(desk, 0, MAX_FRAGMENT)) == len(EMPTY)
    request = {1: MAX_FRAGMENT + 1, 3: 0}
    assert desk.status(CtapCommand.LARGE_BLOBS, request) is Status.CTAP1_ERR_INVALID_LENGTH
    answer = write(desk, bytes(MAX_FRAGMENT + 1), length=MAX_ARRAY)
    assert answer is Status.CTAP1_ERR_INVALID_LENGTH


def test_the_end_of_the_array_reads_as_nothing() -> None:
    assert read(Desk(), len(EMPTY)) == b""


# The staged write


def test_fragments_come_in_order() -> None:
    desk = Desk()
    assert write(desk, WHOLE[10:], 10) is Status.CTAP1_ERR_INVALID_SEQ
    assert write(desk, WHOLE[:10], length=len(WHOLE)) is Status.CTAP2_OK
    assert write(desk, WHOLE[11:], 11) is Status.CTAP1_ERR_INVALID_SEQ
    assert write(desk, WHOLE[10:], 10) is Status.CTAP1_ERR_INVALID_SEQ
    assert read(desk) == EMPTY


def test_a_later_fragment_names_no_length_and_is_not_too_long() -> None:
    for fragment, length in ((WHOLE[10:], len(WHOLE)), (WHOLE[9:], None)):
        desk = Desk()
        assert write(desk, WHOLE[:10], length=len(WHOLE)) is Status.CTAP2_OK
        assert write(desk, fragment, 10, length) is Status.CTAP1_ERR_INVALID_PARAMETER
        assert read(desk) == EMPTY


def test_nothing_is_seen_of_an_array_until_it_is_complete() -> None:
    desk = Desk()
    assert write(desk, WHOLE, length=len(WHOLE)) is Status.CTAP2_OK
    other = WHOLE[::-1]
    assert write(desk, other[:50], length=len(other)) is Status.CTAP2_OK
    assert read(desk) == WHOLE


def test_an_array_with_a_wrong_checksum_replaces_nothing() -> None:
    desk = Desk()
    assert write(desk, WHOLE, length=len(WHOLE)) is Status.CTAP2_OK
    answer = write(desk, bytes(50), length=50)
    assert answer is Status.CTAP2_ERR_INTEGRITY_FAILURE
    assert read(desk) == WHOLE


def test_an_offset_of_zero_begins_anew() -> None:
    desk = Desk()
    assert write(desk, bytes(10), length=500) is Status.CTAP2_OK
    assert write(desk, WHOLE[:10], length=len(WHOLE)) is Status.CTAP2_OK
    assert write(desk, WHOLE[10:], 10) is Status.CTAP2_OK
    assert read(desk) == WHOLE


@pytest.mark.parametrize("ended", ["another channel", "power", "time", "another command"])
def test_what_is_staged_is_for_one_channel_and_not_for_long(ended: str) -> None:
    desk = Desk()
    assert write(desk, WHOLE[:10], length=len(WHOLE)) is Status.CTAP2_OK
    match ended:
        case "another channel":
            desk.channel = Channel()
        case "power":
            desk.power()
        case "time":
            desk.now += 31
        case _:
            desk.ask(CtapCommand.GET_INFO)
    assert write(desk, WHOLE[10:], 10) is Status.CTAP1_ERR_INVALID_SEQ
    assert read(desk) == EMPTY
