"""Data objects: written, read, deleted, and what cannot be written."""

from __future__ import annotations

import pytest

from apdu import tlv
from apdu.codec import Command
from apdu.model import SW
from host_tools.conformance import piv_commands as piv
from host_tools.conformance.piv_commands import CHUID
from tests import cards, piv_cards

STANDARD = [
    bytes.fromhex("5FC1") + bytes((last,)) for last in (*range(0x01, 0x04), *range(0x05, 0x22))
]
MAX_OBJECT = 16384


def content(client: piv_cards.Client, tag: bytes) -> bytes:
    outer, _ = tlv.parse_one(client.ok(piv.get_data(tag)))
    assert outer.tag == 0x53
    return outer.value


def test_every_object_of_the_standard_is_kept_apart_and_lasts() -> None:
    bench = cards.Bench()
    client = piv_cards.managed(bench)
    for tag in STANDARD:
        client.ok(piv.put_data(tag, b"content of " + tag))
    again = piv_cards.managed(bench.restarted())
    assert [content(again, tag) for tag in STANDARD] == [b"content of " + tag for tag in STANDARD]


def test_an_object_that_was_never_written_is_not_found() -> None:
    client = piv_cards.client()
    assert client.status(piv.get_data(CHUID)) == SW.FILE_NOT_FOUND
    assert client.status(piv.get_data(b"\x7f\x61")) == SW.FILE_NOT_FOUND


def test_writing_nothing_deletes() -> None:
    bench = cards.Bench()
    client = piv_cards.managed(bench)
    before = bench.digest()
    client.ok(piv.put_data(CHUID, b"somebody"))
    client.ok(piv.put_data(CHUID, b""))
    assert client.status(piv.get_data(CHUID)) == SW.FILE_NOT_FOUND
    assert bench.digest() == before


def test_the_discovery_object_says_that_the_pin_of_the_application_counts() -> None:
    outer, _ = tlv.parse_one(piv_cards.client().ok(piv.get_data(piv.DISCOVERY)))
    fields = tlv.to_dict(tlv.parse(outer.value))
    assert (outer.tag, fields[0x4F], fields[0x5F2F]) == (0x7E, piv.SPEC.aid, b"\x40\x00")


@pytest.mark.parametrize("extended", [True, False])
def test_long_objects_are_chained_where_apdus_are_short(extended: bool) -> None:
    client = piv_cards.Client(cards.Bench().connect(), extended=extended)
    client.prove()
    client.ok(piv.put_data(CHUID, bytes(range(256)) * 12))
    assert content(client, CHUID) == bytes(range(256)) * 12


def test_an_object_has_16_kib_at_most_and_there_are_128() -> None:
    client = piv_cards.managed()
    client.ok(piv.put_data(CHUID, bytes(MAX_OBJECT)))
    assert client.status(piv.put_data(CHUID, bytes(MAX_OBJECT + 1))) == SW.NOT_ENOUGH_MEMORY
    assert content(client, CHUID) == bytes(MAX_OBJECT)
    tags = [b"\x5f\xff" + bytes((last,)) for last in range(0x10, 0x10 + 127)]
    statuses = [client.status(piv.put_data(tag, b"x")) for tag in tags]
    assert statuses == [SW.NO_ERROR] * 126 + [SW.NOT_ENOUGH_MEMORY]
    client.ok(piv.put_data(CHUID, b"one that is there may still change"))


@pytest.mark.parametrize("tag", ["7E", "7F61", "5FC1", "5FC10201", "6FC102", ""])
def test_other_tags_are_not_written(tag: str) -> None:
    command = piv.put_data(bytes.fromhex(tag), b"x")
    assert piv_cards.managed().status(command) == SW.INCORRECT_DATA


@pytest.mark.parametrize(
    "data",
    [
        "5C035FC102",
        "530178",
        "5C035FC1025301785C035FC102",
        "5C035FC10253017800",
        "5C035FC1025302FF",
    ],
    ids=["no content", "no tag", "two tags", "padding", "cut"],
)
def test_what_is_not_one_object_is_refused(data: str) -> None:
    bench = cards.Bench()
    client = piv_cards.managed(bench)
    before = bench.digest()
    command = Command(0x00, 0xDB, 0x3F, 0xFF, bytes.fromhex(data))
    assert client.status(command) == SW.INCORRECT_DATA
    assert bench.digest() == before


@pytest.mark.parametrize("data", ["5C", "5C045FC102", "53035FC102", "5C035FC1025C035FC102"])
def test_a_malformed_question_is_refused(data: str) -> None:
    command = Command(0x00, 0xCB, 0x3F, 0xFF, bytes.fromhex(data), 256)
    assert piv_cards.client().status(command) == SW.INCORRECT_DATA
