"""CTAPHID under any packets: the device answers as the standard says, and never raises."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from apdu.wire import ctaphid
from apdu.wire.ctaphid import (
    BROADCAST,
    PACKET,
    Answer,
    Capability,
    ClientEnd,
    DeviceEnd,
    HidCommand,
    HidError,
    Request,
)
from apdu.wire.frames import WireError

CHANNELS = st.sampled_from((0, 1, 2, 3, 4, BROADCAST)) | st.integers(0, BROADCAST)
COMMANDS = st.sampled_from(list(HidCommand)).map(int) | st.integers(0, 0x7F)
LENGTHS = st.sampled_from((0, 1, 8, 57, 58, ctaphid.MAX_MESSAGE, ctaphid.MAX_MESSAGE + 1)) | (
    st.integers(0, 0xFFFF)
)
FIRST = st.builds(
    lambda channel, command, length, body: (
        channel.to_bytes(4, "big") + bytes((0x80 | command,)) + length.to_bytes(2, "big") + body
    ).ljust(PACKET, b"\0"),
    CHANNELS,
    COMMANDS,
    LENGTHS,
    st.binary(max_size=57),
)
NEXT = st.builds(
    lambda channel, sequence, body: (channel.to_bytes(4, "big") + bytes((sequence,)) + body).ljust(
        PACKET, b"\0"
    ),
    CHANNELS,
    st.integers(0, 3) | st.integers(0, 0x7F),
    st.binary(max_size=59),
)
PACKETS = FIRST | NEXT | st.binary(max_size=PACKET + 1)
STEPS = st.lists(st.tuples(PACKETS, st.sampled_from((0.0, 0.01, 0.1, 0.6)), st.booleans()))
MESSAGES = st.binary(max_size=400) | st.integers(0, ctaphid.MAX_MESSAGE).map(bytes)
ANSWERED = (HidCommand.PING, HidCommand.CBOR, HidCommand.MSG)


def device() -> DeviceEnd:
    """One with three channels."""
    made = DeviceEnd((1, 0, 0), Capability.CBOR)
    for _ in range(3):
        for packet in ClientEnd().open(bytes(8)):
            made.receive(packet, 0.0)
    assert len(made.packets()) == 3
    return made


@given(STEPS)
def test_whatever_comes_each_packet_has_its_answer(
    steps: Sequence[tuple[bytes, float, bool]],
) -> None:
    token, now = device(), 0.0
    running: Request | None = None
    for packet, seconds, answers in steps:
        now += seconds
        event = token.receive(packet, now)
        if isinstance(event, Request):
            assert running is None
            running = event
        elif isinstance(event, ctaphid.Cancel):
            assert event.request is running
        elif isinstance(event, ctaphid.Begun) and running and running.channel == event.channel:
            running = None
        said = token.packets()
        assert _told(said) or _may_be_silent(packet, event)
        token.tick(now, 1)
        assert {one[4] & 0x7F for one in token.packets()} <= {
            HidCommand.KEEPALIVE,
            HidCommand.ERROR,
        }
        if running is not None and answers:
            token.answer(running, b"\0")
            head = bytes((0x80 | running.command, 0, 1, 0))
            (said_last,) = token.packets()
            assert said_last[:8] == running.channel.to_bytes(4, "big") + head
            running = None
        wait = token.wait(now)
        assert wait is None or wait >= 0


def _told(said: Sequence[bytes]) -> bool:
    """Whether there is an answer; errors are those of the standard."""
    for packet in said:
        if packet[4] == 0x80 | HidCommand.ERROR:
            assert packet[5:7] == b"\0\1"
            assert packet[7] in set(HidError)
    return bool(said)


def _may_be_silent(packet: bytes, event: object) -> bool:
    """What is answered later, not at all, or is a part of a message."""
    if event is not None or len(packet) != PACKET or not packet[4] & 0x80:
        return True
    length = int.from_bytes(packet[5:7], "big")
    return length > 57 or packet[4] == 0x80 | HidCommand.CANCEL


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(ANSWERED), MESSAGES), max_size=6))
def test_each_client_hears_the_answers_to_its_own_messages(
    sent: Sequence[tuple[int, HidCommand, bytes]],
) -> None:
    token = DeviceEnd((1, 0, 0), Capability.CBOR)
    clients = [ClientEnd() for _ in range(3)]
    for number, client in enumerate(clients):
        for packet in client.open(number.to_bytes(8, "big")):
            token.receive(packet, 0.0)
        for packet in token.packets():
            client.receive(packet)
    for number, command, data in sent:
        message = data or b"\0"
        for packet in clients[number].send(command, message):
            if isinstance(event := token.receive(packet, 0.0), Request):
                token.answer(event, message)
        heard = [client.receive(packet) for packet in token.packets() for client in clients]
        assert [event for event in heard if event is not None] == [Answer(command, message)]


@given(st.lists(PACKETS))
def test_a_client_refuses_what_no_device_sends_and_nothing_else_happens(
    heard: Sequence[bytes],
) -> None:
    client = ClientEnd()
    client.open(bytes(8))
    for packet in heard:
        with suppress(WireError):
            client.receive(packet)
