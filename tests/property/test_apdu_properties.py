"""What holds for every APDU, data object and chain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apdu import tlv
from apdu.chaining import CommandChain, ResponseQueue, split_command
from apdu.codec import CHAINING, ApduFormatError, Command, Response
from apdu.model import APPLICATIONS, STATUS_WORDS, describe, status_word
from apdu.trace import Decoder
from apdu.transport import CardClient
from tests import strategies as apdu_st

PKI = APPLICATIONS["pki"]
PIN_OR_KEY_INS = (0x20, 0x21, 0x24, 0x25, 0x2C, 0x2D, 0xDB)


@given(apdu_st.any_commands())
def test_a_command_parses_to_itself(command: Command) -> None:
    assert Command.parse(command.encode()) == command


@given(apdu_st.any_commands(), st.data())
def test_a_cut_command_is_malformed_or_another_case(command: Command, data: st.DataObject) -> None:
    raw = command.encode()
    extended = len(raw) > 5 and raw[4] == 0
    # Whole again: a header, a header whose length field is read as Le, and all but Le.
    whole = {4, 5, 7 if extended else 5}
    if command.ne:
        whole.add(len(raw) - (2 if extended else 1))
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    if len(cut) in whole:
        assert Command.parse(cut).header == command.header
    else:
        with pytest.raises(ApduFormatError):
            Command.parse(cut)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_command_or_an_apdu_format_error(raw: bytes) -> None:
    try:
        command = Command.parse(raw)
    except ApduFormatError:
        return
    assert Command.parse(command.encode()) == command


@given(st.integers(0, 0xFFFF), st.binary(max_size=300))
def test_a_response_parses_to_itself(sw: int, data: bytes) -> None:
    response = Response(sw, data)
    assert Response.parse(response.encode()) == response


@given(st.lists(apdu_st.data_objects(), max_size=5))
def test_data_objects_parse_to_themselves(items: list[tlv.Tlv]) -> None:
    raw = b"".join(tlv.encode(item.tag, item.value) for item in items)
    assert tlv.parse(raw) == tuple(items)


@given(apdu_st.data_objects(), st.binary(max_size=10))
def test_the_first_data_object_is_read_without_its_followers(item: tlv.Tlv, more: bytes) -> None:
    raw = tlv.encode(item.tag, item.value)
    assert tlv.parse_one(raw + more) == (item, len(raw))


@given(apdu_st.data_objects(), st.data())
def test_every_cut_of_a_data_object_is_an_error(item: tlv.Tlv, data: st.DataObject) -> None:
    raw = tlv.encode(item.tag, item.value)
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    with pytest.raises(tlv.TlvError):
        tlv.parse_one(cut)


@given(st.binary(max_size=100))
def test_bytes_have_one_reading_as_data_objects_or_none(raw: bytes) -> None:
    try:
        items = tlv.parse(raw)
    except tlv.TlvError:
        return
    assert b"".join(tlv.encode(item.tag, item.value) for item in items) == raw


@given(st.integers(-1, 1 << 32))
def test_only_valid_tags_are_encoded(tag: int) -> None:
    try:
        raw = tlv.encode(tag, b"")
    except tlv.TlvError:
        return
    assert tlv.parse(raw) == (tlv.Tlv(tag, b""),)


@given(
    data=st.binary(max_size=3000),
    chunk=st.one_of(st.integers(1, 300), st.just(65000)),
    ne=apdu_st.NE,
)
def test_a_split_command_joins_to_itself(data: bytes, chunk: int, ne: int) -> None:
    command = Command(0x00, 0x2A, 0x80, 0x86, data, ne)
    chain = CommandChain()
    *parts, last = split_command(command, chunk)
    assert all(part.chained and 0 < len(part.data) <= chunk and not part.ne for part in parts)
    assert [chain.feed(part) for part in parts] == [None] * len(parts)
    assert chain.feed(last) == command
    assert not chain.active


@given(
    data=st.binary(max_size=3000),
    ne=st.one_of(st.integers(0, 3000), st.sampled_from((256, 65536))),
    extended=st.booleans(),
    parts=st.integers(1, 256),
)
def test_a_client_gets_the_whole_response_whatever_its_le(
    data: bytes, ne: int, extended: bool, parts: int
) -> None:
    queue = ResponseQueue()

    class Card:
        def transceive(self, command: bytes) -> bytes:
            asked = Command.parse(command)
            if asked.ins == 0xC0:
                return queue.get_response(min(asked.ne, parts)).encode()
            return queue.answer(Response(0x9000, data), asked.ne).encode()

    client = CardClient(Card(), extended=extended)
    assert client.call(Command(0x00, 0xCA, 0x01, 0x03, ne=ne)) == data
    assert not queue.pending


@given(apdu_st.catalogue_commands(PKI))
def test_a_command_made_from_the_catalogue_is_found_in_it(command: Command) -> None:
    spec = PKI.match(command.cla, command.ins, command.p1, command.p2)
    assert spec is not None
    assert spec.takes(command.p1, command.p2)
    assert PKI.match(command.cla | CHAINING, command.ins, command.p1, command.p2) is spec


@given(st.integers(0, 0xFFFF))
def test_every_status_word_has_one_entry_at_most_and_a_description(sw: int) -> None:
    entries = [status for status in STATUS_WORDS if status.matches(sw)]
    assert len(entries) <= 1
    assert status_word(sw) == (entries[0] if entries else None)
    assert describe(sw).startswith(f"{sw:04X} ")


@given(apdu_st.apdus(PKI), st.binary(max_size=100))
def test_the_trace_has_one_line_for_any_bytes(command: bytes, response: bytes) -> None:
    decoder = Decoder(PKI)
    for line in (decoder.command(command), decoder.response(response, 0.001)):
        assert line.isprintable()


@given(apdu_st.any_commands(), st.sampled_from(PIN_OR_KEY_INS), st.integers(0, 8))
def test_no_pin_is_traced_whatever_the_header_or_the_length(
    other: Command, ins: int, cut: int
) -> None:
    pin = b"\xa7\xb8\xc9\xda"
    raw = Command(other.cla, ins, other.p1, other.p2, pin * 3, other.ne).encode()
    line = Decoder(PKI).command(raw[: len(raw) - cut])
    assert "masked" in line
    for part in (pin.hex().upper(), pin.hex(" ").upper(), repr(pin)):
        assert part not in line.upper()
