"""A token as a FIDO device of HID: packets from any number of clients, requests in threads."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from apdu.transport import TransportError
from apdu.wire.ctaphid import (
    PACKET,
    Begun,
    Cancel,
    Capability,
    DeviceEnd,
    FromClient,
    HidCommand,
    HidError,
    Request,
    Wink,
)
from host_tools.closing import Closing
from token_fw.apps.fido2 import Channel, Keepalive
from token_fw.apps.yubikey import VERSION

_MOST_CHANNELS = 256
"""Channels of one connection that are remembered; what an older one had begun is forgotten."""

Run = Callable[[Channel, bytes], bytes]
"""Runs a request on a channel, as Card.ctap and Card.u2f; raises TransportError without a token."""


@dataclass(slots=True)
class _Client:
    """What is known of a channel: whose it is, and what it is to the authenticator."""

    connection: HidConnection
    channel: Channel


class HidDevice(Closing):
    """The device, until it is closed. Thread-safe.

    `winks` is called where a client wants its user's attention, `clock` counts seconds and never
    goes back.
    """

    def __init__(
        self,
        ctap: Run,
        u2f: Run,
        winks: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ctap = ctap
        self._u2f = u2f
        self._winks = winks
        self._clock = clock
        self._end = DeviceEnd(VERSION, Capability.WINK | Capability.CBOR)
        self._clients: OrderedDict[int, _Client] = OrderedDict()
        self._connections: list[HidConnection] = []
        self._running: Request | None = None
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._keep_time, name="HID keepalives", daemon=True).start()

    def open(self) -> HidConnection:
        """A client's way to the device. Raises OSError where the device is gone."""
        with self._changed:
            if self._closed:
                raise OSError("the device is gone")
            connection = HidConnection(self)
            self._connections.append(connection)
        return connection

    def close(self) -> None:
        """Pull it out: reading and writing fail from now on, and no request waits for its user."""
        with self._changed:
            self._closed = True
            for client in self._clients.values():
                client.channel.close()
            for connection in self._connections:
                connection.end()
            self._changed.notify_all()

    def take(self, connection: HidConnection, packet: bytes) -> None:
        """A client has written a packet; what is none is passed over.

        Raises OSError where the device is gone.
        """
        with self._changed:
            if self._closed:
                raise OSError("the device is gone")
            if len(packet) != PACKET:
                return
            now = self._clock()
            # All that is said from here on answers this packet, so it is for its writer.
            self._end.tick(now, self._status())
            self._deliver()
            cid = _channel(packet)
            owner = self._clients.get(cid)
            foreign = owner is not None and owner.connection is not connection
            if not foreign and self._end.knows(cid):
                self._client(connection, cid)
            event = self._end.receive(packet, now, foreign=foreign)
            if event is not None:
                self._carry_out(connection, event)
            for said in self._end.packets():
                connection.put(said)
            self._changed.notify_all()

    def leave(self, connection: HidConnection) -> None:
        """A client is gone, and with it what runs for it."""
        with self._changed:
            left = [cid for cid, one in self._clients.items() if one.connection is connection]
            for cid in left:
                self._clients.pop(cid).channel.close()
                self._end.leave(cid)
            if connection in self._connections:
                self._connections.remove(connection)

    def _carry_out(self, connection: HidConnection, event: FromClient) -> None:
        match event:
            case Request():
                self._running = event
                channel = self._client(connection, event.channel).channel
                channel.take()
                work = (event, channel)
                threading.Thread(target=self._run, args=work, name="HID", daemon=True).start()
            case Cancel(request):
                self._client(connection, request.channel).channel.cancel()
            case Begun(cid):
                if (before := self._clients.pop(cid, None)) is not None:
                    before.channel.close()
                self._client(connection, cid)
            case Wink():
                self._winks()

    def _client(self, connection: HidConnection, cid: int) -> _Client:
        """The client of a channel that is the connection's, or nobody's yet."""
        client = self._clients.get(cid)
        if client is None:
            self._make_room(connection)
            client = self._clients[cid] = _Client(connection, Channel())
        self._clients.move_to_end(cid)
        return client

    def _make_room(self, connection: HidConnection) -> None:
        """Forget the channel that the connection used longest ago, if it has too many.

        Never the one whose request runs; there is one such channel at most.
        """
        own = [cid for cid, one in self._clients.items() if one.connection is connection]
        if len(own) >= _MOST_CHANNELS:
            running = None if self._running is None else self._running.channel
            del self._clients[next(cid for cid in own if cid != running)]

    def _run(self, request: Request, channel: Channel) -> None:
        """Run a request, in a thread of its own, and answer it."""
        try:
            if request.command is HidCommand.CBOR:
                answer = self._ctap(channel, request.data)
            else:
                answer = self._u2f(channel, _shortest(request.data))
        except TransportError:
            answer = None
        with self._changed:
            if answer is None:
                self._end.refuse(request, HidError.OTHER)
            else:
                self._end.answer(request, answer)
            if self._running is request:
                self._running = None
            self._deliver()

    def _keep_time(self) -> None:
        with self._changed:
            while not self._closed:
                self._end.tick(self._clock(), self._status())
                self._deliver()
                self._changed.wait(self._end.wait(self._clock()))

    def _status(self) -> int:
        """What the request that runs waits for."""
        client = self._clients.get(self._running.channel) if self._running is not None else None
        return Keepalive.PROCESSING if client is None else client.channel.keepalive

    def _deliver(self) -> None:
        """Give each packet to the client of its channel, if it is still there."""
        for packet in self._end.packets():
            client = self._clients.get(_channel(packet))
            if client is not None:
                client.connection.put(packet)


def _channel(packet: bytes) -> int:
    return int.from_bytes(packet[:4], "big")


def _shortest(apdu: bytes) -> bytes:
    """A U2F message without the length of its data where it has none: clients write it then too."""
    whole_head, no_data = 9, bytes(3)
    if len(apdu) == whole_head and apdu[4:7] == no_data:
        return apdu[:4] + apdu[6:]
    return apdu


class HidConnection(Closing):
    """One client's way to the device; each client has one of its own. Thread-safe."""

    def __init__(self, device: HidDevice) -> None:
        self._device = device
        self._changed = threading.Condition()
        self._packets: deque[bytes] = deque()
        self._ended = False

    def write(self, packet: bytes) -> None:
        """Send a packet of 64 bytes. Raises OSError where the device is gone."""
        self._device.take(self, packet)

    def read(self, seconds: float | None = None) -> bytes | None:
        """The next packet; None where none came within the seconds.

        Raises OSError where the device is gone, or the connection closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._packets or self._ended, seconds)
            if self._packets:
                return self._packets.popleft()
            if self._ended:
                raise OSError("the device is gone")
            return None

    def put(self, packet: bytes) -> None:
        """The device has something to say."""
        with self._changed:
            self._packets.append(packet)
            self._changed.notify_all()

    def end(self) -> None:
        """The device is gone."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        self.end()
        self._device.leave(self)
