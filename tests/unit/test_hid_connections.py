"""Clients of one HID device in packets: each hears what is for it, and disturbs no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from apdu.ctap import CtapCommand, Status
from apdu.wire.ctaphid import (
    PACKET,
    TRANSACTION_SECONDS,
    Answer,
    ClientEnd,
    FromDevice,
    HidCommand,
    HidError,
    Keepalive,
    Opened,
    Refusal,
)
from host_tools.hid import HidDevice
from tests.fido_cards import Desk
from token_fw.apps.fido2 import Channel
from token_fw.touch_pad import TouchPad

LONG = 20
SELECTION = bytes((CtapCommand.SELECTION,))
SELECTED = Answer(HidCommand.CBOR, bytes((Status.CTAP2_OK,)))
CANCELLED = Answer(HidCommand.CBOR, bytes((Status.CTAP2_ERR_KEEPALIVE_CANCEL,)))
STRANGE = Refusal(HidError.INVALID_CHANNEL)
MORE_THAN_REMEMBERED = 300


class Bench:
    """A token that waits for touches, as a HID device whose clock the test turns."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pad = TouchPad(patience=LONG)
        self.card = Desk(self.pad).card
        self.begins = threading.Event()
        self.begins.set()
        self.device = HidDevice(self._ctap, self.card.u2f, clock=lambda: self.now)

    def _ctap(self, channel: Channel, request: bytes) -> bytes:
        """Run a request, once requests begin."""
        assert self.begins.wait(LONG)
        return self.card.ctap(channel, request)

    def client(self) -> Client:
        """One with a connection and a channel of its own."""
        client = Client(self.device)
        client.open()
        return client

    def waiting(self) -> Client:
        """One whose request waits for a touch."""
        client = self.client()
        client.write(HidCommand.CBOR, SELECTION)
        assert self.pad.awaited(LONG)
        return client

    def touch(self) -> None:
        assert self.pad.give()


class Client:
    """A client's end of a channel, and its connection."""

    def __init__(self, device: HidDevice) -> None:
        self.connection = device.open()
        self.end = ClientEnd()

    def open(self) -> None:
        """Get a channel."""
        self.end.channel = ClientEnd().channel
        for packet in self.end.open(b"a nonce!"):
            self.connection.write(packet)
        assert isinstance(self.heard(), Opened)

    def write(self, command: HidCommand, data: bytes = b"") -> None:
        for packet in self.end.send(command, data):
            self.connection.write(packet)

    def heard(self) -> FromDevice:
        """The next thing that the device says but keepalives."""
        while True:
            packet = self.connection.read(LONG)
            assert packet is not None
            event = self.end.receive(packet)
            if event is not None and not isinstance(event, Keepalive):
                return event

    def hears_nothing(self) -> bool:
        return self.connection.read(0) is None

    def as_if(self, other: Client) -> None:
        """Write on the channel of another client."""
        self.end.channel = other.end.channel


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.pad.close()
    made.device.close()


@pytest.mark.parametrize("size", [0, 3, 4, 14, PACKET - 1, PACKET + 1])
def test_what_is_no_packet_is_passed_over(bench: Bench, size: int) -> None:
    first, second = bench.waiting(), bench.client()
    cid = first.end.channel.to_bytes(4, "big")
    second.connection.write((cid + bytes(PACKET))[:size])
    bench.touch()
    assert first.heard() == SELECTED
    assert second.hears_nothing()


@pytest.mark.parametrize(
    "command", [HidCommand.CBOR, HidCommand.PING, HidCommand.CANCEL, HidCommand.INIT]
)
def test_the_channel_of_another_client_is_none_of_ones_own(
    bench: Bench, command: HidCommand
) -> None:
    first, second = bench.waiting(), bench.client()
    second.as_if(first)
    second.write(command, bytes(8))
    assert second.heard() == STRANGE
    bench.touch()
    assert first.heard() == SELECTED
    assert second.hears_nothing()


def test_nobody_goes_on_with_the_message_of_another_client(bench: Bench) -> None:
    first, second = bench.client(), bench.client()
    message = bytes(range(80))
    begun, rest = first.end.send(HidCommand.PING, message)
    first.connection.write(begun)
    second.connection.write(rest[:5] + bytes(PACKET - 5))
    first.connection.write(rest)
    assert first.heard() == Answer(HidCommand.PING, message)
    assert second.hears_nothing()


def test_a_message_that_is_overdue_is_ended_for_its_client_whoever_writes(bench: Bench) -> None:
    first, second = bench.client(), bench.client()
    begun, _ = first.end.send(HidCommand.PING, bytes(80))
    first.connection.write(begun)
    bench.now += TRANSACTION_SECONDS
    second.write(HidCommand.PING, b"mine")
    assert first.heard() == Refusal(HidError.MSG_TIMEOUT)
    assert second.heard() == Answer(HidCommand.PING, b"mine")


def test_many_clients_take_no_answer_from_one_that_waits(bench: Bench) -> None:
    first, second = bench.waiting(), bench.client()
    for _ in range(MORE_THAN_REMEMBERED):
        second.open()
    bench.touch()
    assert first.heard() == SELECTED


def test_many_channels_of_one_connection_take_no_answer_from_one_that_waits(bench: Bench) -> None:
    client = bench.waiting()
    waits = client.end.channel
    for _ in range(MORE_THAN_REMEMBERED):
        client.open()
    client.end.channel = waits
    client.write(HidCommand.CANCEL)
    assert client.heard() == CANCELLED


def test_the_channel_of_a_client_that_is_gone_is_there_for_the_next(bench: Bench) -> None:
    first, second = bench.client(), bench.client()
    second.as_if(first)
    first.connection.close()
    second.write(HidCommand.PING, b"taken over")
    assert second.heard() == Answer(HidCommand.PING, b"taken over")


def test_a_cancel_that_overtakes_the_thread_of_its_request_is_not_lost(bench: Bench) -> None:
    client = bench.client()
    bench.begins.clear()
    client.write(HidCommand.CBOR, SELECTION)
    client.write(HidCommand.CANCEL)
    bench.begins.set()
    assert client.heard() == CANCELLED
    client.write(HidCommand.CBOR, SELECTION)
    assert bench.pad.awaited(LONG)
    bench.touch()
    assert client.heard() == SELECTED
