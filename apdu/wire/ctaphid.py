"""CTAPHID: messages in packets of 64 bytes, both ends, without I/O (CTAP 2.1 11.2).

A packet is a channel of 4 bytes, big-endian, and either a command byte with its upper bit set, a
length of 2 bytes and the first 57 bytes of the message, or a sequence number from 00 to 7F and the
next 59. What is left of a packet is zeros. A client asks for a channel on the broadcast channel;
the device works on one message at a time and tells every other channel that it is busy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, TypeAlias

from apdu.wire.frames import WireError

PACKET: Final = 64
"""Bytes of a packet; one of another size is none."""
BROADCAST: Final = 0xFFFFFFFF
NONCE: Final = 8
VERSION: Final = 2
"""Of the protocol, as INIT answers it (11.2.9.1.3)."""
TRANSACTION_SECONDS: Final = 0.5
"""How long the next packet of a message may take (11.2.5.2)."""
KEEPALIVE_SECONDS: Final = 0.08
"""How often a running request is told of; 100 ms at most (11.2.9.1.7)."""
MAX_LOCK: Final = 10

_HEAD, _NEXT_HEAD = 7, 5
_FIRST, _FOLLOWING = PACKET - _HEAD, PACKET - _NEXT_HEAD
_LAST_SEQUENCE = 0x7F
MAX_MESSAGE: Final = _FIRST + (_LAST_SEQUENCE + 1) * _FOLLOWING
"""Bytes of a message: 7609."""
_INIT_BIT = 0x80


class HidCommand(IntEnum):
    """The commands of 11.2.9."""

    PING = 0x01
    MSG = 0x03
    LOCK = 0x04
    INIT = 0x06
    WINK = 0x08
    CBOR = 0x10
    CANCEL = 0x11
    KEEPALIVE = 0x3B
    ERROR = 0x3F


class HidError(IntEnum):
    """Why a message is refused (11.2.9.1.6)."""

    INVALID_CMD = 0x01
    INVALID_PAR = 0x02
    INVALID_LEN = 0x03
    INVALID_SEQ = 0x04
    MSG_TIMEOUT = 0x05
    CHANNEL_BUSY = 0x06
    LOCK_REQUIRED = 0x0A
    INVALID_CHANNEL = 0x0B
    OTHER = 0x7F


class Capability(IntFlag):
    """What INIT says of a device (11.2.9.1.3)."""

    WINK = 0x01
    CBOR = 0x04
    NMSG = 0x08


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Request:
    """A whole MSG or CBOR message of 1 to 7609 bytes, to be answered."""

    channel: int
    command: HidCommand
    data: bytes


@dataclass(frozen=True, slots=True)
class Cancel:
    """The client wants the request to end; it is answered all the same."""

    request: Request


@dataclass(frozen=True, slots=True)
class Begun:
    """A channel was given, or is begun anew: of what went before on it nothing is left."""

    channel: int


@dataclass(frozen=True, slots=True)
class Wink:
    """The device is to draw its user's attention."""

    channel: int


FromClient: TypeAlias = Request | Cancel | Begun | Wink


@dataclass(frozen=True, slots=True)
class _Packet:
    """A packet that was read: `command` and `length` of a first one, else `sequence`."""

    channel: int
    first: bool
    body: bytes
    command: int = 0
    length: int = 0
    sequence: int = 0

    @classmethod
    def parse(cls, packet: bytes) -> _Packet:
        channel = int.from_bytes(packet[:4], "big")
        kind = packet[4]
        if kind & _INIT_BIT:
            length = int.from_bytes(packet[5:_HEAD], "big")
            return cls(channel, True, packet[_HEAD:], kind & ~_INIT_BIT, length)
        return cls(channel, False, packet[_NEXT_HEAD:], sequence=kind)


def packets(channel: int, command: int, data: bytes) -> Iterator[bytes]:
    """The packets of a message. Raises ValueError where it is too long."""
    if len(data) > MAX_MESSAGE:
        raise ValueError(f"a message has at most {MAX_MESSAGE} bytes")
    place = channel.to_bytes(4, "big")
    head = place + bytes((_INIT_BIT | command,)) + len(data).to_bytes(2, "big")
    yield (head + data[:_FIRST]).ljust(PACKET, b"\0")
    for sequence, start in enumerate(range(_FIRST, len(data), _FOLLOWING)):
        part = data[start : start + _FOLLOWING]
        yield (place + bytes((sequence,)) + part).ljust(PACKET, b"\0")


class _Message:
    """A message that is being put together."""

    def __init__(self, first: _Packet) -> None:
        self.channel = first.channel
        self.command = first.command
        self._length = first.length
        self._data = bytearray(first.body)
        self._sequence = 0

    @property
    def whole(self) -> bool:
        return len(self._data) >= self._length

    @property
    def data(self) -> bytes:
        return bytes(self._data[: self._length])

    def take(self, packet: _Packet) -> bool:
        """Add the next packet; False where another one was due."""
        if packet.sequence != self._sequence:
            return False
        self._sequence += 1
        self._data += packet.body
        return True


class DeviceEnd:
    """The device's end: one message, then one request at a time.

    `now` counts seconds and never goes back. What is to be sent is taken by `packets` after every
    other call.
    """

    def __init__(self, version: tuple[int, int, int], capabilities: Capability) -> None:
        self._hello = bytes((VERSION, *version, capabilities))
        self._outgoing: deque[bytes] = deque()
        self._channels = 0
        """The last channel that was given: they are numbered, so that none is given twice."""
        self._message: _Message | None = None
        self._due = 0.0
        """When the next packet of the message, or the next keepalive, is due."""
        self._request: Request | None = None
        self._told = 0
        """The status in the last keepalive; 0 before the first."""
        self._lock = 0
        """The channel that holds the device for itself, until `_locked_until`."""
        self._locked_until = 0.0

    def packets(self) -> list[bytes]:
        """What is to be sent, in order; each packet is given once."""
        taken = list(self._outgoing)
        self._outgoing.clear()
        return taken

    def wait(self, now: float) -> float | None:
        """Seconds until `tick` has something to do; None where nothing runs."""
        if self._message is None and not self._keeps_alive:
            return None
        return max(self._due - now, 0.0)

    def tick(self, now: float, status: int) -> None:
        """Time has passed: end a message that is overdue, tell that the request still runs.

        `status`: what a request waits for, 1 for the device, 2 for the user (11.2.9.1.7).
        """
        message = self._message
        if message is not None and now >= self._due:
            self._message = None
            self._refuse(message.channel, HidError.MSG_TIMEOUT)
        request = self._request
        if request is not None and self._keeps_alive and (now >= self._due or status != self._told):
            self._told = status
            self._due = now + KEEPALIVE_SECONDS
            self._send(request.channel, HidCommand.KEEPALIVE, bytes((status,)))

    def receive(self, packet: bytes, now: float, *, foreign: bool = False) -> FromClient | None:
        """Take a packet; what it asks of the device, where that is not answered already.

        `foreign`: its channel is another client's than its writer's, where that can be known, and
        is to the writer as one that was never given.
        """
        if len(packet) != PACKET:
            return None
        if self._message is not None:
            self.tick(now, self._told)
        taken = _Packet.parse(packet)
        known = self.knows(taken.channel) and not foreign
        if not taken.first:
            return self._continue(taken, now) if known else None
        if not known and (taken.channel, taken.command) != (BROADCAST, HidCommand.INIT):
            self._refuse(taken.channel, HidError.INVALID_CHANNEL)
            return None
        return self._begin(taken, now)

    def answer(self, request: Request, data: bytes) -> None:
        """Answer the request that runs; nothing happens where the client has given it up.

        Raises ValueError where the answer is too long.
        """
        if request is self._request:
            self._send(request.channel, request.command, data)
            self._request = None

    def refuse(self, request: Request, error: HidError) -> None:
        """Answer the request that runs by an error; as `answer`."""
        if request is self._request:
            self._refuse(request.channel, error)
            self._request = None

    def knows(self, channel: int) -> bool:
        """Whether the channel was given."""
        return 1 <= channel <= self._channels

    def leave(self, channel: int) -> None:
        """Its client is gone, where that can be known: drop its message and its lock."""
        if self._message is not None and self._message.channel == channel:
            self._message = None
        if self._lock == channel:
            self._lock = 0

    @property
    def _keeps_alive(self) -> bool:
        """Whether a request runs of which the client is told; U2F's are short (11.2.9.1.7)."""
        return self._request is not None and self._request.command is HidCommand.CBOR

    def _begin(self, packet: _Packet, now: float) -> FromClient | None:
        if packet.command == HidCommand.INIT:
            return self._init(packet)
        if packet.command == HidCommand.CANCEL:
            return self._cancel(packet.channel)
        error = self._objection(packet, now)
        if error is None:
            return self._advance(_Message(packet), now)
        if error is HidError.INVALID_SEQ:
            self._message = None
        self._refuse(packet.channel, error)
        return None

    def _objection(self, packet: _Packet, now: float) -> HidError | None:
        """Why no message can begin with the packet."""
        channel, message = packet.channel, self._message
        if message is not None and message.channel == channel:
            return HidError.INVALID_SEQ
        if message is not None or self._request is not None or self._locked(channel, now):
            return HidError.CHANNEL_BUSY
        return HidError.INVALID_LEN if packet.length > MAX_MESSAGE else None

    def _continue(self, packet: _Packet, now: float) -> FromClient | None:
        message = self._message
        # Packets of no message, or of another channel's that was refused already, are passed over.
        if message is None or message.channel != packet.channel:
            return None
        if not message.take(packet):
            self._message = None
            self._refuse(packet.channel, HidError.INVALID_SEQ)
            return None
        return self._advance(message, now)

    def _advance(self, message: _Message, now: float) -> FromClient | None:
        """Wait for the next packet, or carry out the whole message."""
        if not message.whole:
            self._message = message
            self._due = now + TRANSACTION_SECONDS
            return None
        self._message = None
        work = _COMMANDS.get(message.command)
        if work is None:
            self._refuse(message.channel, HidError.INVALID_CMD)
            return None
        least, most, run = work
        if not least <= len(message.data) <= most:
            self._refuse(message.channel, HidError.INVALID_LEN)
            return None
        return run(self, message, now)

    def _init(self, packet: _Packet) -> Begun | None:
        """Give a channel, or begin one anew; neither disturbs what another channel does."""
        channel = packet.channel
        if packet.length != NONCE:
            self._refuse(channel, HidError.INVALID_LEN)
            return None
        given = channel
        if channel == BROADCAST:
            self._channels += 1
            given = self._channels
        if self._message is not None and self._message.channel == given:
            self._message = None
        if self._request is not None and self._request.channel == given:
            self._request = None
        answer = packet.body[:NONCE] + given.to_bytes(4, "big") + self._hello
        self._send(channel, HidCommand.INIT, answer)
        return Begun(given)

    def _cancel(self, channel: int) -> Cancel | None:
        """It is never answered, and does nothing where no CBOR request runs (11.2.9.1.5)."""
        request = self._request
        if request is None or request.channel != channel or not self._keeps_alive:
            return None
        return Cancel(request)

    def _locked(self, channel: int, now: float) -> bool:
        return self._lock not in {0, channel} and now < self._locked_until

    def _ping(self, message: _Message, _: float) -> None:
        self._send(message.channel, HidCommand.PING, message.data)

    def _take_lock(self, message: _Message, now: float) -> None:
        (seconds,) = message.data
        if seconds > MAX_LOCK:
            self._refuse(message.channel, HidError.INVALID_PAR)
            return
        self._lock = message.channel if seconds else 0
        self._locked_until = now + seconds
        self._send(message.channel, HidCommand.LOCK, b"")

    def _wink(self, message: _Message, _: float) -> Wink:
        self._send(message.channel, HidCommand.WINK, b"")
        return Wink(message.channel)

    def _ask(self, message: _Message, now: float) -> Request:
        request = Request(message.channel, HidCommand(message.command), message.data)
        self._request = request
        self._told, self._due = 0, now + KEEPALIVE_SECONDS
        return request

    def _refuse(self, channel: int, error: HidError) -> None:
        self._send(channel, HidCommand.ERROR, bytes((error,)))

    def _send(self, channel: int, command: HidCommand, data: bytes) -> None:
        self._outgoing.extend(packets(channel, command, data))


_Work: TypeAlias = Callable[[DeviceEnd, _Message, float], FromClient | None]
_COMMANDS: Final[dict[int, tuple[int, int, _Work]]] = {
    HidCommand.PING: (0, MAX_MESSAGE, DeviceEnd._ping),
    HidCommand.MSG: (1, MAX_MESSAGE, DeviceEnd._ask),
    HidCommand.LOCK: (1, 1, DeviceEnd._take_lock),
    HidCommand.WINK: (0, 0, DeviceEnd._wink),
    HidCommand.CBOR: (1, MAX_MESSAGE, DeviceEnd._ask),
}
"""Of each message that is not answered by its first packet: least and most bytes, what it does."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The device has given a channel, or begun it anew."""

    channel: int
    version: tuple[int, int, int]
    capabilities: Capability


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """The answer to the message that was sent last."""

    command: HidCommand
    data: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """The message that was sent last is refused; of an error that has no name, OTHER."""

    error: HidError


@dataclass(frozen=True, slots=True)
class Keepalive:
    """The request still runs; `status` as in `DeviceEnd.tick`."""

    status: int


FromDevice: TypeAlias = Opened | Answer | Refusal | Keepalive


class ClientEnd:
    """A client's end of one channel: first `open`, then one message at a time."""

    def __init__(self) -> None:
        self.channel = BROADCAST
        self._nonce = b""
        self._message: _Message | None = None

    def open(self, nonce: bytes) -> list[bytes]:
        """The packets that ask for a channel, or begin the one there is anew.

        `nonce`: 8 bytes that no other client sends.
        """
        self._nonce, self._message = nonce, None
        return list(packets(self.channel, HidCommand.INIT, nonce))

    def send(self, command: HidCommand, data: bytes = b"") -> list[bytes]:
        """The packets of a message. Raises ValueError where it is too long."""
        return list(packets(self.channel, command, data))

    def receive(self, packet: bytes) -> FromDevice | None:
        """Take a packet, also one for another client. Raises WireError where it cannot be."""
        if len(packet) != PACKET:
            raise WireError(f"a packet of {len(packet)} bytes, not of {PACKET}")
        taken = _Packet.parse(packet)
        if taken.channel != self.channel:
            return None
        message = self._put_together(taken)
        if not message.whole:
            self._message = message
            return None
        self._message = None
        return self._event(message.command, message.data)

    def _put_together(self, packet: _Packet) -> _Message:
        message = self._message
        if packet.first:
            if packet.length > MAX_MESSAGE:
                raise WireError("a message longer than packets can carry")
            return _Message(packet)
        if message is None or not message.take(packet):
            raise WireError("a packet out of order")
        return message

    def _event(self, command: int, data: bytes) -> FromDevice | None:
        if command == HidCommand.INIT:
            return self._opened(data)
        if command in {HidCommand.ERROR, HidCommand.KEEPALIVE}:
            if len(data) != 1:
                raise WireError("an error or a keepalive has one byte")
            return _refusal(data[0]) if command == HidCommand.ERROR else Keepalive(data[0])
        try:
            return Answer(HidCommand(command), data)
        except ValueError:
            raise WireError("an answer that no device gives") from None

    def _opened(self, data: bytes) -> Opened | None:
        if len(data) != NONCE + 9:
            raise WireError("a device's hello has 17 bytes")
        if data[:NONCE] != self._nonce:
            # On the broadcast channel, clients hear what is for others.
            return None
        self.channel = int.from_bytes(data[NONCE : NONCE + 4], "big")
        _, major, minor, build, capabilities = data[NONCE + 4 :]
        return Opened(self.channel, (major, minor, build), Capability(capabilities))


def _refusal(code: int) -> Refusal:
    try:
        return Refusal(HidError(code))
    except ValueError:
        return Refusal(HidError.OTHER)
