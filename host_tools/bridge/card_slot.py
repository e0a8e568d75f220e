"""A reader's view of one slot: whether a token is in it, and a card to power, reset and ask."""

from __future__ import annotations

from collections.abc import Sequence

from apdu.transport import TransportError
from apdu.wire.ifd import Inserted, Removed
from apdu.wire.reader import PowerDown, PowerUp, Request, Reset, Transmit
from host_tools.rack import Rack
from host_tools.tokens import Door, TokenReader
from token_fw.card import ATR


class CardSlot:
    """One reader at one slot, which may get its token later or never have one.

    It shows the applications of these `names` alone, all of a card where none is named.

    Power and reset are this reader's own: what is selected and verified on it ends with them, and
    other readers and applications notice nothing. `look` and `close` may come from other threads.
    """

    def __init__(self, rack: Rack, slot_id: int, names: Sequence[str] = ()) -> None:
        self._rack = rack
        self._names = names
        self._slot_id = slot_id
        self._door: Door | None = None
        self._seen: int | None = None
        """The generation of the token that was told of."""

    def look(self) -> list[Inserted | Removed]:
        """What happened since the last look; a token that was exchanged is removed, then there."""
        reader = self._reader()
        now = reader.generation if reader is not None and reader.present else None
        before, self._seen = self._seen, now
        if before == now:
            return []
        gone: list[Inserted | Removed] = [] if before is None else [Removed()]
        return gone if now is None else [*gone, Inserted(ATR)]

    def run(self, request: Request) -> bytes:
        """Carry out a request; gives the response APDU, no bytes where no card answers."""
        match request:
            case Transmit(command):
                return self._transmit(command)
            case PowerUp():
                self._power_up()
            case PowerDown():
                self.close()
            case Reset():
                door = self._door
                if door is not None:
                    door.reset()
        return b""

    def close(self) -> None:
        """Take the power away."""
        door, self._door = self._door, None
        if door is not None:
            door.close()

    def _power_up(self) -> None:
        self.close()
        reader = self._reader()
        if reader is None:
            return
        try:
            self._door = door = reader.connect(*self._names)
            door.power_up()
        except TransportError:
            # A token that cannot be opened is mute; the daemon's log says why.
            self._door = None

    def _transmit(self, command: bytes) -> bytes:
        door = self._door
        if door is None:
            return b""
        try:
            return door.transceive(command)
        except TransportError:
            return b""

    def _reader(self) -> TokenReader | None:
        readers = self._rack.readers()
        return next((one for one in readers if one.slot_id == self._slot_id), None)
