"""Command and response APDUs, case by case."""

from __future__ import annotations

import pytest

from apdu.codec import ApduFormatError, Command, Response

HEADER = (0x00, 0x2A, 0x9E, 0x9A)
WIRE = bytes(HEADER)
KILOBYTE = bytes(range(256)) * 4


@pytest.mark.parametrize(
    ("wire", "command"),
    [
        (WIRE, Command(*HEADER)),
        (WIRE + b"\x10", Command(*HEADER, ne=16)),
        (WIRE + b"\x00", Command(*HEADER, ne=256)),
        (WIRE + b"\x03abc", Command(*HEADER, b"abc")),
        (WIRE + b"\x03abc\x00", Command(*HEADER, b"abc", 256)),
        (WIRE + b"\x00\x01\x01", Command(*HEADER, ne=257)),
        (WIRE + b"\x00\x00\x00", Command(*HEADER, ne=65536)),
        (WIRE + b"\x00\x04\x00" + KILOBYTE, Command(*HEADER, KILOBYTE)),
        (WIRE + b"\x00\x04\x00" + KILOBYTE + b"\x00\x00", Command(*HEADER, KILOBYTE, 65536)),
        (WIRE + b"\x00\x00\x03abc\x00\x00", Command(*HEADER, b"abc", 65536)),
    ],
    ids=["1", "2S", "2S-all", "3S", "4S", "2E", "2E-all", "3E", "4E", "4E-short-data"],
)
def test_each_case_has_its_wire_form(wire: bytes, command: Command) -> None:
    assert Command.parse(wire) == command
    assert command.encode() == wire


def test_an_extended_form_that_was_not_needed_is_understood() -> None:
    assert Command.parse(WIRE + b"\x00\x00\x03abc") == Command(*HEADER, b"abc")
    assert Command.parse(WIRE + b"\x00\x00\x03abc\x00\x10") == Command(*HEADER, b"abc", 16)


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        WIRE[:3],
        WIRE + b"\x03ab",
        WIRE + b"\x03abc\x00\x00",
        WIRE + b"\x00\x00",
        WIRE + b"\x00\x00\x00\x00",
        WIRE + b"\x00\x00\x03ab",
        WIRE + b"\x00\x00\x03abc\x00",
        WIRE + b"\x00\x00\x03abc\x00\x00\x00",
    ],
    ids=[
        "empty",
        "no-header",
        "data-cut",
        "long-le-in-short-form",
        "length-cut",
        "extended-lc-zero",
        "extended-data-cut",
        "short-le-in-extended-form",
        "too-long",
    ],
)
def test_lengths_that_disagree_are_refused(wire: bytes) -> None:
    with pytest.raises(ApduFormatError):
        Command.parse(wire)


@pytest.mark.parametrize(
    "command",
    [
        Command(0x100, 0, 0, 0),
        Command(0, -1, 0, 0),
        Command(*HEADER, ne=65537),
        Command(*HEADER, ne=-1),
        Command(*HEADER, bytes(65536)),
    ],
    ids=["cla", "ins", "ne-large", "ne-negative", "data"],
)
def test_fields_out_of_range_are_not_encoded(command: Command) -> None:
    with pytest.raises(ApduFormatError):
        command.encode()


def test_a_command_tells_its_header_and_whether_more_follows() -> None:
    command = Command(0x10, 0xDB, 0x3F, 0xFF)
    assert command.header == b"\x10\xdb\x3f\xff"
    assert command.p1p2 == 0x3FFF
    assert command.chained
    assert not Command(0x00, 0xDB, 0x3F, 0xFF).chained


def test_a_response_is_data_and_status_word() -> None:
    response = Response.parse(b"abc\x61\x10")
    assert response == Response(0x6110, b"abc")
    assert (response.sw1, response.sw2) == (0x61, 0x10)
    assert response.encode() == b"abc\x61\x10"


def test_a_response_without_a_whole_status_word_is_refused() -> None:
    with pytest.raises(ApduFormatError):
        Response.parse(b"\x90")
    with pytest.raises(ApduFormatError):
        Response(0x10000).encode()


def test_neither_command_nor_response_shows_its_data() -> None:
    assert "314" not in repr(Command(0x00, 0x20, 0x00, 0x01, b"31415926"))
    assert "314" not in repr(Response(0x9000, b"31415926"))
    assert repr(Command(*HEADER, b"abc", 256)) == "Command(00 2A 9E 9A, 3 bytes, ne=256)"
