"""A token as a FIDO device of HID: packets from any number of clients, requests in threads."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from apdu.transport import TransportError
from apdu.wire.ctaphid import (
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
"""Channels whose clients are remembered; what an older one had begun is forgotten."""

Run = Callable[[Channel, bytes], bytes]
"""Runs a request on a channel, as Card.ctap and Card.u2f; raises TransportError without a token."""


@dataclass(slots=True)
class _Client:
    """What is known of a channel: who writes on it, and what it is to the authenticator."""

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
        """A client has written a packet. Raises OSError where the device is gone."""
        with self._changed:
            if self._closed:
                raise OSError("the device is gone")
            cid = _channel(packet)
            if self._end.knows(cid):
                self._client(connection, cid)
            event = self._end.receive(packet, self._clock())
            if event is not None:
                self._carry_out(connection, event)
            self._deliver(connection)
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
        client = self._clients.setdefault(cid, _Client(connection, Channel()))
        client.connection = connection
        self._clients.move_to_end(cid)
        if len(self._clients) > _MOST_CHANNELS:
            self._clients.popitem(last=False)
        return client

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
            self._deliver(None)

    def _keep_time(self) -> None:
        with self._changed:
            while not self._closed:
                self._end.tick(self._clock(), self._status())
                self._deliver(None)
                self._changed.wait(self._end.wait(self._clock()))

    def _status(self) -> int:
        """What the request that runs waits for."""
        client = self._clients.get(self._running.channel) if self._running is not None else None
        return Keepalive.PROCESSING if client is None else client.channel.keepalive

    def _deliver(self, writer: HidConnection | None) -> None:
        """Give each packet to the client of its channel, else to who has just written."""
        for packet in self._end.packets():
            client = self._clients.get(_channel(packet))
            receiver = client.connection if client is not None else writer
            if receiver is not None:
                receiver.put(packet)


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
