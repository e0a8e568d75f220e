"""CTAPHID as a device keeps it, each rule of CTAP 2.1 11.2, as a client hears it."""

from __future__ import annotations

import pytest

from apdu.wire.ctaphid import (
    BROADCAST,
    KEEPALIVE_SECONDS,
    MAX_LOCK,
    MAX_MESSAGE,
    PACKET,
    TRANSACTION_SECONDS,
    Answer,
    Begun,
    Cancel,
    Capability,
    ClientEnd,
    DeviceEnd,
    FromClient,
    FromDevice,
    HidCommand,
    HidError,
    Keepalive,
    Opened,
    Refusal,
    Request,
    Wink,
    packets,
)

PROCESSING, UPNEEDED = 1, 2
GET_INFO = b"\x04"
LONG = bytes(range(256)) * 2


class Desk:
    """A device and its clients, whose clock the test turns."""

    def __init__(self) -> None:
        self.now = 100.0
        self.device = DeviceEnd((1, 2, 3), Capability.WINK | Capability.CBOR)
        self.status = PROCESSING

    def feed(self, *sent: bytes) -> list[FromClient]:
        """What the device makes of packets."""
        made = [self.device.receive(packet, self.now) for packet in sent]
        return [event for event in made if event is not None]

    def hear(self, client: ClientEnd) -> list[FromDevice]:
        """What a client makes of what the device has to say."""
        made = [client.receive(packet) for packet in self.device.packets()]
        return [event for event in made if event is not None]

    def client(self, nonce: bytes = b"a nonce!") -> ClientEnd:
        """A client with a channel of its own."""
        client = ClientEnd()
        self.feed(*client.open(nonce))
        (opened,) = self.hear(client)
        assert isinstance(opened, Opened)
        return client

    def request(self, client: ClientEnd, data: bytes = GET_INFO) -> Request:
        """A CBOR request that the device has begun."""
        (request,) = self.feed(*client.send(HidCommand.CBOR, data))
        assert isinstance(request, Request)
        return request

    def told(self, client: ClientEnd, *sent: bytes) -> list[FromDevice]:
        """What the device says to packets that ask nothing of it."""
        assert self.feed(*sent) == []
        return self.hear(client)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.device.tick(self.now, self.status)


def refused(error: HidError) -> list[FromDevice]:
    return [Refusal(error)]


def test_each_client_gets_a_channel_of_its_own_and_hears_what_the_device_can() -> None:
    desk = Desk()
    first, second = desk.client(), desk.client(b"another!")
    assert BROADCAST not in {first.channel, second.channel}
    assert first.channel != second.channel
    desk.feed(*first.open(b"one more"))
    assert desk.hear(first) == [Opened(first.channel, (1, 2, 3), Capability.WINK | Capability.CBOR)]


def test_a_client_passes_over_the_channel_that_another_one_gets() -> None:
    desk = Desk()
    late = ClientEnd()
    late.open(b"of late!")
    desk.feed(*ClientEnd().open(b"too soon"))
    assert desk.hear(late) == []


@pytest.mark.parametrize("size", [0, 1, 57, 58, 116, 117, MAX_MESSAGE])
def test_a_message_of_any_size_comes_back(size: int) -> None:
    desk = Desk()
    client = desk.client()
    message = (LONG * 30)[:size]
    assert desk.told(client, *client.send(HidCommand.PING, message)) == [
        Answer(HidCommand.PING, message)
    ]


def test_the_answer_to_a_request_is_of_its_command() -> None:
    desk = Desk()
    client = desk.client()
    for command in (HidCommand.CBOR, HidCommand.MSG):
        (request,) = desk.feed(*client.send(command, LONG))
        assert isinstance(request, Request)
        assert (request.command, request.data) == (command, LONG)
        desk.device.answer(request, LONG[::-1])
        assert desk.hear(client) == [Answer(command, LONG[::-1])]


def test_a_packet_out_of_order_ends_the_message() -> None:
    desk = Desk()
    client = desk.client()
    first, second, third = client.send(HidCommand.PING, bytes(120))
    assert desk.told(client, first, third) == refused(HidError.INVALID_SEQ)
    assert desk.told(client, second) == []


def test_a_first_packet_within_a_message_ends_it() -> None:
    desk = Desk()
    client = desk.client()
    first, second, _ = client.send(HidCommand.PING, bytes(120))
    assert desk.told(client, first, first) == refused(HidError.INVALID_SEQ)
    assert desk.told(client, second) == []


def test_a_packet_that_continues_nothing_is_passed_over() -> None:
    desk = Desk()
    client = desk.client()
    assert desk.told(client, client.send(HidCommand.PING, bytes(60))[1]) == []


def test_a_message_whose_next_packet_does_not_come_in_time_ends() -> None:
    desk = Desk()
    client = desk.client()
    desk.feed(client.send(HidCommand.PING, bytes(60))[0])
    assert desk.device.wait(desk.now) == pytest.approx(TRANSACTION_SECONDS)
    assert TRANSACTION_SECONDS == 0.5
    desk.pass_time(TRANSACTION_SECONDS)
    assert desk.hear(client) == refused(HidError.MSG_TIMEOUT)
    assert desk.device.wait(desk.now) is None


def test_a_packet_that_comes_too_late_does_not_complete_the_message() -> None:
    desk = Desk()
    client = desk.client()
    first, second = client.send(HidCommand.PING, bytes(60))
    desk.feed(first)
    desk.now += TRANSACTION_SECONDS
    assert desk.told(client, second) == refused(HidError.MSG_TIMEOUT)


@pytest.mark.parametrize("channel", [0, 77, BROADCAST])
@pytest.mark.parametrize("command", [HidCommand.PING, HidCommand.CBOR, HidCommand.CANCEL])
def test_a_channel_that_was_not_given_is_refused(channel: int, command: HidCommand) -> None:
    desk = Desk()
    desk.client()
    assert desk.feed(*packets(channel, command, b"x")) == []
    assert desk.device.packets() == list(packets(channel, HidCommand.ERROR, b"\x0b"))


def test_a_channel_cannot_be_begun_anew_that_was_not_given() -> None:
    desk = Desk()
    desk.feed(*packets(77, HidCommand.INIT, bytes(8)))
    assert desk.device.packets() == list(packets(77, HidCommand.ERROR, b"\x0b"))


@pytest.mark.parametrize(
    ("command", "data", "error"),
    [
        (HidCommand.INIT, bytes(7), HidError.INVALID_LEN),
        (HidCommand.CBOR, b"", HidError.INVALID_LEN),
        (HidCommand.MSG, b"", HidError.INVALID_LEN),
        (HidCommand.WINK, b"x", HidError.INVALID_LEN),
        (HidCommand.LOCK, b"", HidError.INVALID_LEN),
        (HidCommand.LOCK, bytes((MAX_LOCK + 1,)), HidError.INVALID_PAR),
        (HidCommand.KEEPALIVE, b"x", HidError.INVALID_CMD),
        (HidCommand.ERROR, b"x", HidError.INVALID_CMD),
        (0x00, b"x", HidError.INVALID_CMD),
        (0x40, b"x", HidError.INVALID_CMD),
    ],
)
def test_a_wrong_message_is_refused_by_its_error(
    command: int, data: bytes, error: HidError
) -> None:
    desk = Desk()
    client = desk.client()
    assert desk.told(client, *packets(client.channel, command, data)) == refused(error)


def test_a_message_that_packets_cannot_carry_is_refused_at_once() -> None:
    desk = Desk()
    client = desk.client()
    first = bytearray(client.send(HidCommand.CBOR, bytes(50))[0])
    first[5:7] = (MAX_MESSAGE + 1).to_bytes(2, "big")
    assert desk.told(client, bytes(first)) == refused(HidError.INVALID_LEN)


def test_nothing_longer_can_be_sent() -> None:
    with pytest.raises(ValueError, match="at most 7609 bytes"):
        ClientEnd().send(HidCommand.CBOR, bytes(MAX_MESSAGE + 1))


def test_what_is_no_packet_is_passed_over() -> None:
    desk = Desk()
    client = desk.client()
    (packet,) = client.send(HidCommand.PING)
    assert desk.told(client, packet[:-1], packet + b"\0", b"") == []


def test_another_client_is_told_that_the_device_is_busy() -> None:
    desk = Desk()
    first, second = desk.client(), desk.client()
    request = desk.request(first)
    assert desk.told(second, *second.send(HidCommand.PING)) == refused(HidError.CHANNEL_BUSY)
    assert desk.told(first, *first.send(HidCommand.PING)) == refused(HidError.CHANNEL_BUSY)
    desk.device.answer(request, b"\0")
    assert desk.hear(first) == [Answer(HidCommand.CBOR, b"\0")]
    assert desk.told(second, *second.send(HidCommand.PING)) == [Answer(HidCommand.PING, b"")]


def test_another_clients_packets_do_not_disturb_a_message() -> None:
    desk = Desk()
    first, second = desk.client(), desk.client()
    begin, end = first.send(HidCommand.PING, bytes(60))
    other, follows = second.send(HidCommand.PING, bytes(60))
    assert desk.feed(begin) == []
    assert desk.told(second, other, follows) == refused(HidError.CHANNEL_BUSY)
    desk.client()
    assert desk.told(first, end) == [Answer(HidCommand.PING, bytes(60))]


def test_a_running_request_tells_that_it_runs_and_what_it_waits_for() -> None:
    desk = Desk()
    client = desk.client()
    desk.request(client)
    assert desk.device.wait(desk.now) == pytest.approx(KEEPALIVE_SECONDS)
    assert KEEPALIVE_SECONDS <= 0.1
    desk.status = UPNEEDED
    desk.pass_time(0.001)
    assert desk.hear(client) == [Keepalive(UPNEEDED)]
    desk.pass_time(0.001)
    assert desk.hear(client) == []
    desk.pass_time(KEEPALIVE_SECONDS)
    assert desk.hear(client) == [Keepalive(UPNEEDED)]
    desk.status = PROCESSING
    desk.pass_time(0.001)
    assert desk.hear(client) == [Keepalive(PROCESSING)]


def test_a_u2f_message_has_no_keepalives_and_no_cancel() -> None:
    desk = Desk()
    client = desk.client()
    desk.feed(*client.send(HidCommand.MSG, bytes(7)))
    assert desk.device.wait(desk.now) is None
    desk.pass_time(5)
    assert desk.told(client, *client.send(HidCommand.CANCEL)) == []


def test_only_the_channel_whose_request_runs_cancels_it() -> None:
    desk = Desk()
    client, other = desk.client(), desk.client()
    assert desk.told(client, *client.send(HidCommand.CANCEL)) == []
    request = desk.request(client)
    assert desk.told(other, *other.send(HidCommand.CANCEL)) == []
    assert desk.feed(*client.send(HidCommand.CANCEL)) == [Cancel(request)]
    assert desk.hear(client) == []
    desk.device.answer(request, b"\x2d")
    assert desk.hear(client) == [Answer(HidCommand.CBOR, b"\x2d")]


def test_a_channel_that_is_begun_anew_hears_no_answer_of_before() -> None:
    desk = Desk()
    client = desk.client()
    request = desk.request(client)
    assert desk.feed(*client.open(b"resynced")) == [Begun(client.channel)]
    assert isinstance(desk.hear(client)[0], Opened)
    desk.device.answer(request, b"\0")
    assert desk.hear(client) == []
    desk.request(client)


def test_a_message_is_dropped_where_its_channel_is_begun_anew() -> None:
    desk = Desk()
    client = desk.client()
    begin, end = client.send(HidCommand.PING, bytes(60))
    desk.feed(begin, *client.open(b"resynced"))
    assert isinstance(desk.hear(client)[0], Opened)
    assert desk.told(client, end) == []
    desk.pass_time(TRANSACTION_SECONDS)
    assert desk.hear(client) == []


def test_a_locked_device_is_busy_for_others_until_it_is_unlocked_or_the_time_is_over() -> None:
    desk = Desk()
    owner, other = desk.client(), desk.client()
    pong, busy = [Answer(HidCommand.PING, b"")], refused(HidError.CHANNEL_BUSY)
    assert desk.told(owner, *owner.send(HidCommand.LOCK, b"\x03")) == [Answer(HidCommand.LOCK, b"")]
    assert desk.told(other, *other.send(HidCommand.PING)) == busy
    assert desk.told(owner, *owner.send(HidCommand.PING)) == pong
    desk.now += 3
    assert desk.told(other, *other.send(HidCommand.PING)) == pong
    desk.told(owner, *owner.send(HidCommand.LOCK, bytes((MAX_LOCK,))))
    assert desk.told(other, *other.send(HidCommand.PING)) == busy
    desk.told(owner, *owner.send(HidCommand.LOCK, b"\0"))
    assert desk.told(other, *other.send(HidCommand.PING)) == pong


def test_a_wink_is_answered_and_seen() -> None:
    desk = Desk()
    client = desk.client()
    assert desk.feed(*client.send(HidCommand.WINK)) == [Wink(client.channel)]
    assert desk.hear(client) == [Answer(HidCommand.WINK, b"")]


def test_a_packet_has_64_bytes_and_zeros_at_its_end() -> None:
    sent = list(packets(1, HidCommand.PING, b"\xff" * 58))
    assert [len(packet) for packet in sent] == [PACKET, PACKET]
    assert sent[1] == bytes.fromhex("00000001 00 FF").ljust(PACKET, b"\0")


def test_a_client_that_is_gone_leaves_no_message_and_no_lock() -> None:
    desk = Desk()
    gone, other = desk.client(), desk.client()
    desk.told(gone, *gone.send(HidCommand.LOCK, bytes((MAX_LOCK,))))
    desk.feed(gone.send(HidCommand.PING, bytes(60))[0])
    busy, pong = refused(HidError.CHANNEL_BUSY), [Answer(HidCommand.PING, b"")]
    desk.device.leave(other.channel)
    assert desk.told(other, *other.send(HidCommand.PING)) == busy
    desk.device.leave(gone.channel)
    assert desk.told(other, *other.send(HidCommand.PING)) == pong
