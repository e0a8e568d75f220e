"""Any card of a test, sound or broken, in the only reader of a pcscd of the test."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Final

from apdu.transport import TransportError
from apdu.wire.reader import Answer, PowerDown, PowerUp, Reset, Transmit
from apdu.wire.vpcd import Atr, CardEnd, FromCard, FromReader, GetAtr
from host_tools.closing import Closing
from host_tools.conformance.subject import Card
from tests.interop.pcscd import Pcscd, free_ports, vpcd_entry
from tests.interop.processes import PATIENCE
from token_fw.card import ATR

_NAME: Final = "Klyuch Test Reader"
READER: Final = f"{_NAME} 00 00"
_RECEIVE: Final = 128 * 1024
_TICK: Final = 0.01


class VpcdReader(Pcscd):
    """A pcscd with one reader, which is empty."""

    def __init__(self) -> None:
        self.port: Final = free_ports()
        super().__init__(vpcd_entry(_NAME, self.port))


class VpcdCard(Closing):
    """A card in that reader: what pcscd sends is answered by it.

    One that is not `quick` leaves its socket as sockets are, like the one that comes with vpcd.
    """

    def __init__(self, reader: VpcdReader, card: Card, *, quick: bool = True) -> None:
        self._card = card
        self._quick = quick
        self._powered = False
        self._seen = threading.Event()
        self._connection = _reach(reader.port)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.pull()

    def wait_until_seen(self) -> None:
        """pcscd looks for a card a few times in a second, and switches it on where it finds one."""
        assert self._seen.wait(PATIENCE), "pcscd does not see the card"

    def pull(self) -> None:
        """Nothing happens to a card that was pulled already, or whose pcscd has ended."""
        if self._thread.is_alive():
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _serve(self) -> None:
        wire = CardEnd()
        with self._connection:
            while data := self._receive():
                for asked in wire.receive(data):
                    answer = self._answer(asked)
                    if answer is not None:
                        # One that is pulled while it answers is no more heard.
                        with suppress(OSError):
                            self._connection.sendall(wire.send(answer))

    def _receive(self) -> bytes:
        try:
            if self._quick:
                # Without it the kernel holds its acknowledgement back for 40 ms.
                self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            return self._connection.recv(_RECEIVE)
        except OSError:
            # pcscd has ended, as it does in the middle of anything.
            return b""

    def _answer(self, asked: FromReader) -> FromCard | None:
        match asked:
            case Transmit(command):
                try:
                    return Answer(self._card.transceive(command))
                except TransportError:
                    return None
            case GetAtr():
                if self._powered:
                    self._seen.set()
                return Atr(ATR)
            case PowerUp() | PowerDown() | Reset():
                self._powered = not isinstance(asked, PowerDown)
                self._card.reset()
        return None


def _reach(port: int) -> socket.socket:
    """pcscd listens for the card a moment after it was started."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "pcscd does not listen for the card"
            time.sleep(_TICK)
