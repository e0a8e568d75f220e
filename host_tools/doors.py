"""Everything behind the daemon's sockets: the tokens, and who speaks with a client of each door.

What speaks at the doors for the command line and for pcscd is loaded when somebody comes there.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from apdu.wire.frames import WireError
from host_tools.control import ControlError
from host_tools.epoch import EPOCH, Epoch
from host_tools.home import Home
from host_tools.rack import Rack
from host_tools.tokens import TokenReader
from host_tools.wakeful import MOST_AWAKE
from pkcs11_module.facade import Module, Reader, SlotEvents
from pkcs11_module.server import ApplicationRegistry, ProtocolError, RpcConnection

if TYPE_CHECKING:
    from host_tools.bridge.ifd import ReaderPeer
    from host_tools.control_peer import ControlPeer
    from host_tools.control_request import Request
    from host_tools.readers.slots import CardReaders

CardsIn: TypeAlias = "Callable[[Callable[[int], None], Callable[[], None]], CardReaders]"
"""Begins to watch some readers; takes what is called after each removal or insertion and use."""


class Peer(Protocol):
    """What speaks with one client."""

    def receive(self, data: bytes) -> Iterable[bytes]:
        """What to send back for bytes of the client; raises one of Doors.protocol_errors."""
        ...

    def left(self) -> None:
        """The client has left, perhaps while `receive` waits for the user of a token: it ends.

        From another thread; `closed` follows.
        """
        ...

    def closed(self) -> None:
        """The connection has ended."""
        ...


class Slots:
    """Every slot that PKCS#11 shows: the tokens of the home, then the cards in readers."""

    def __init__(self, rack: Rack, cards: "CardReaders | None") -> None:
        self._rack = rack
        self._cards = cards.readers if cards is not None else ()

    @property
    def events(self) -> SlotEvents:
        return self._rack.events

    def readers(self) -> Sequence[Reader]:
        return (*self._rack.readers(), *self._cards)


class Doors:
    """The tokens of a home, the cards in readers, and the peers that speak with the clients."""

    protocol_errors = (ProtocolError, ControlError, WireError)

    def __init__(
        self,
        home: Home,
        stop: Callable[[], None],
        *,
        open_tokens: int = MOST_AWAKE,
        crowd: Callable[[], tuple[int, int]] = lambda: (1, 1),
        cards_in: "CardsIn | None" = None,
    ) -> None:
        self.home = home
        self.stop = stop
        self.crowd = crowd
        self.started = time.monotonic()
        self.epoch = Epoch(home.run / EPOCH)
        self.rack = Rack(home, open_tokens, changed=self.epoch.move)
        self.cards = cards_in(self.rack.tell, self.epoch.move) if cards_in is not None else None
        self.module = Module(Slots(self.rack, self.cards))
        self.applications = ApplicationRegistry(self.module.application, changed=self.epoch.move)
        self.readers: list[int] = []
        """The slots of the readers that are connected."""

    def pkcs11(self) -> RpcConnection:
        return RpcConnection(self.applications)

    def control(self) -> "ControlPeer":
        from host_tools.control_peer import ControlPeer  # noqa: PLC0415  for who comes this way

        return ControlPeer(self)

    def reader(self, send: Callable[[bytes], None]) -> "ReaderPeer":
        from host_tools.bridge.ifd import ReaderPeer  # noqa: PLC0415  for who comes this way

        return ReaderPeer(self.rack, send, self.readers)

    def find(self, request: "Request") -> TokenReader:
        """The token that a request names; raises ControlError."""
        name = request.text("token")
        self.rack.refresh()
        return self.rack.find(name)

    def close(self) -> None:
        if self.cards is not None:
            self.cards.close()
        self.rack.close()
        self.epoch.close()
