"""Command chaining and GET RESPONSE on the card's side, chains on the client's."""

from __future__ import annotations

import pytest

from apdu.chaining import (
    MAX_CHAIN,
    ChainInterrupted,
    ChainTooLong,
    CommandChain,
    NoResponseQueued,
    ResponseQueue,
    split_command,
)
from apdu.codec import Command, Response


def import_part(data: bytes, *, last: bool = False, p2: int = 0xFF) -> Command:
    """A part of a PUT DATA that imports a key."""
    return Command(0x00 if last else 0x10, 0xDB, 0x3F, p2, data)


def test_a_command_without_chaining_passes_as_it_is() -> None:
    chain = CommandChain()
    command = Command(0x00, 0x20, 0x00, 0x01, b"1234")
    assert chain.feed(command) is command
    assert not chain.active


def test_a_chain_is_one_command_without_the_chaining_bit() -> None:
    chain = CommandChain()
    assert chain.feed(import_part(b"first ")) is None
    assert chain.active
    assert chain.feed(import_part(b"second ")) is None
    assert chain.feed(import_part(b"last", last=True)) == import_part(
        b"first second last", last=True
    )
    assert not chain.active


def test_the_whole_command_has_the_le_of_the_last_part() -> None:
    chain = CommandChain()
    chain.feed(Command(0x10, 0x2A, 0x80, 0x86, b"a", 16))
    whole = chain.feed(Command(0x00, 0x2A, 0x80, 0x86, b"b", 256))
    assert whole == Command(0x00, 0x2A, 0x80, 0x86, b"ab", 256)


@pytest.mark.parametrize(
    "other",
    [
        Command(0x80, 0xDB, 0x3F, 0xFF),
        Command(0x00, 0xDA, 0x3F, 0xFF),
        Command(0x00, 0xDB, 0x3E, 0xFF),
        Command(0x00, 0xDB, 0x3F, 0xFE),
        Command(0x10, 0xDB, 0x3F, 0xFE),
    ],
    ids=["cla", "ins", "p1", "p2", "p2-chained"],
)
def test_another_command_in_the_middle_ends_the_chain(other: Command) -> None:
    chain = CommandChain()
    chain.feed(import_part(b"half a key"))
    with pytest.raises(ChainInterrupted):
        chain.feed(other)
    assert not chain.active
    assert chain.feed(import_part(b"whole", last=True)) == import_part(b"whole", last=True)


def test_a_chain_ends_at_its_limit() -> None:
    chain = CommandChain()
    for _ in range(MAX_CHAIN // 1024):
        chain.feed(import_part(bytes(1024)))
    with pytest.raises(ChainTooLong):
        chain.feed(import_part(b"x", last=True))
    assert not chain.active


def test_a_reset_forgets_the_open_chain() -> None:
    chain = CommandChain()
    chain.feed(import_part(b"half a key"))
    chain.reset()
    assert chain.feed(import_part(b"x", last=True)) == import_part(b"x", last=True)


def test_a_response_that_fits_is_not_queued() -> None:
    queue = ResponseQueue()
    response = Response(0x9000, bytes(256))
    assert queue.answer(response, 256) is response
    assert queue.pending == 0


def test_a_long_response_comes_in_parts_that_tell_what_is_left() -> None:
    queue = ResponseQueue()
    data = bytes(range(256)) * 3
    first = queue.answer(Response(0x6282, data), 256)
    assert first == Response(0x6100, data[:256])
    assert queue.pending == 512
    assert queue.get_response(384) == Response(0x6180, data[256:640])
    assert queue.get_response(256) == Response(0x6282, data[640:])
    assert queue.pending == 0


def test_without_le_the_whole_response_waits() -> None:
    queue = ResponseQueue()
    assert queue.answer(Response(0x9000, b"abc"), 0) == Response(0x6103)
    assert queue.get_response(3) == Response(0x9000, b"abc")


def test_get_response_needs_a_waiting_response() -> None:
    queue = ResponseQueue()
    with pytest.raises(NoResponseQueued):
        queue.get_response(256)
    queue.answer(Response(0x9000, bytes(300)), 256)
    queue.clear()
    with pytest.raises(NoResponseQueued):
        queue.get_response(256)


def test_the_next_answer_replaces_what_waits() -> None:
    queue = ResponseQueue()
    queue.answer(Response(0x9000, b"secret of another command"), 1)
    queue.answer(Response(0x6982), 256)
    assert queue.pending == 0


def test_a_command_is_split_at_the_chunk() -> None:
    parts = split_command(Command(0x00, 0xD6, 0x00, 0x00, bytes(600), 256))
    assert [(part.cla, len(part.data), part.ne) for part in parts] == [
        (0x10, 255, 0),
        (0x10, 255, 0),
        (0x00, 90, 256),
    ]
    assert split_command(Command(0x00, 0xD6, 0x00, 0x00, bytes(510)))[-1].data == bytes(255)


def test_a_part_of_a_chain_is_not_split_again() -> None:
    with pytest.raises(ValueError, match="chain"):
        split_command(import_part(bytes(256)))
    with pytest.raises(ValueError, match="one byte"):
        split_command(import_part(b"x"), 0)
