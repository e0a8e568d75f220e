"""The daemon's door for pcscd: a connection of the driver is a reader with one slot's token."""

from __future__ import annotations

import threading
from collections.abc import Callable

from apdu.wire.frames import WireError
from apdu.wire.ifd import DaemonEnd, FromDaemon, Hello, Removed
from apdu.wire.reader import Answer, Transmit
from host_tools.bridge.address import SHOWN
from host_tools.bridge.card_slot import CardSlot
from host_tools.rack import Rack


class ReaderPeer:
    """One connection of the driver.

    `send` takes the bytes of what happens meanwhile, from a thread of this peer, and of answers,
    from the caller's thread; it is never called by both at a time. `connected` lists the slots of
    all such connections.
    """

    def __init__(self, rack: Rack, send: Callable[[bytes], None], connected: list[int]) -> None:
        self._rack = rack
        self._send = send
        self._connected = connected
        self._slot_id = -1
        self._sending = threading.Lock()
        self._wire = DaemonEnd()
        self._slot: CardSlot | None = None
        self._watch = rack.events.watch()
        self._left = False

    def receive(self, data: bytes) -> tuple[bytes, ...]:
        """Carry out what the driver wants; the answers are sent, none is given back.

        Raises WireError where the peer is no driver, OSError where it is gone.
        """
        for event in self._wire.receive(data):
            if self._left:
                break
            if isinstance(event, Hello):
                self._begin(event)
                continue
            assert self._slot is not None
            response = self._slot.run(event)
            if isinstance(event, Transmit):
                self._tell(Answer(response))
        return ()

    def left(self) -> None:
        """The driver has left: no command waits for its user, and none is begun."""
        self._left = True
        slot = self._slot
        if slot is not None:
            slot.close()

    def closed(self) -> None:
        """The connection has ended: so has the power of the card."""
        self._watch.close()
        slot, self._slot = self._slot, None
        if slot is not None:
            self._connected.remove(self._slot_id)
            slot.close()

    def _begin(self, hello: Hello) -> None:
        names = SHOWN.get(hello.shown)
        if names is None:
            raise WireError(f"nothing is shown by the name {hello.shown}")
        self._slot_id = hello.slot
        self._connected.append(hello.slot)
        self._slot = slot = CardSlot(self._rack, hello.slot, names)
        self._report(slot, first=True)
        threading.Thread(
            target=self._follow, args=(slot,), name="reader events", daemon=True
        ).start()

    def _follow(self, slot: CardSlot) -> None:
        while (moved := self._watch.take(block=True)) is not None:
            if moved == self._slot_id:
                try:
                    self._report(slot)
                except OSError:
                    # The thread that receives notices it too.
                    return

    def _report(self, slot: CardSlot, *, first: bool = False) -> None:
        for event in slot.look() or ([Removed()] if first else []):
            self._tell(event)

    def _tell(self, event: FromDaemon) -> None:
        with self._sending:
            self._send(self._wire.send(event))
