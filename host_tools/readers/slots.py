"""Cards in PC/SC readers as slots of the PKCS#11 side, beside the tokens of the home.

One thread waits for cards that come and go. It never waits for a card: a command that takes long,
or another program that keeps a card for itself, holds up nobody but who wants that card.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from apdu.transport import CardRemoved, TransportError
from host_tools.readers.pcsc import Presence, ReaderTransport, ReaderWatch

FIRST_SLOT = 1 << 16
"""The slot of the first reader: far from those of the home's tokens, however many come."""
_RETRY = 0.5
_TICK = 0.05

_log = logging.getLogger("klyuch.readers")


class CardReader:
    """The slot of one reader, given by its whole name. Thread-safe.

    `application` is what is shown of its card: None, the first that it has. `moved` is called after
    each insertion and removal, `used` after each use of the card, before anybody is answered;
    `doubted` where the card was found to be gone.
    """

    shared = True

    def __init__(
        self,
        slot_id: int,
        name: str,
        application: str | None,
        *,
        moved: Callable[[int], None],
        used: Callable[[], None],
        doubted: Callable[[], None],
    ) -> None:
        self.slot_id = slot_id
        self.name = self.description = name
        self.application = application
        self.generation = 0
        self.present = False
        self.turn = threading.RLock()
        """Whose turn it is at the card, of the programs of this home."""
        self.used = used
        self._moved = moved
        self._doubted = doubted
        self._lock = threading.Lock()
        self._events = -1

    def connect(self) -> "CardTransport":
        """A connection of its own to the card. Raises TransportError where there is none."""
        if not self.present:
            raise CardRemoved(f"There is no card in {self.name}.")
        return CardTransport(self)

    def show(self, seen: Presence | None) -> None:
        """Take what was seen in the reader; None where there is no such reader, or no PC/SC."""
        with self._lock:
            before = self.present and self.generation
            self.present = seen is not None and seen.present
            if seen is not None and seen.present and (not before or seen.events != self._events):
                self.generation += 1
                self._events = seen.events
            moved = before != (self.present and self.generation)
        if moved:
            self._moved(self.slot_id)

    def lost(self, generation: int) -> None:
        """The card of that insertion was found to be gone, maybe before the watch has seen it."""
        with self._lock:
            if not self.present or self.generation != generation:
                return
            self.present = False
        self._moved(self.slot_id)
        self._doubted()


class CardTransport:
    """A connection to the card that was in a reader when it was made; an `apdu.transport.Shared`.

    It never goes over to another card: PC/SC that was restarted counts as a removal. For one thread
    at a time.
    """

    def __init__(self, reader: CardReader) -> None:
        self._reader = reader
        self._generation = reader.generation
        self._failure: TransportError | None = None
        try:
            self._way = ReaderTransport(reader.name)
        except CardRemoved:
            reader.lost(self._generation)
            raise

    @property
    def epoch(self) -> int:
        return self._way.epoch

    def transceive(self, command: bytes) -> bytes:
        """Exchange one APDU, within a transaction; after a failure all that follow fail alike."""
        if self._failure is not None:
            raise type(self._failure)(str(self._failure))
        with self._noticing():
            return self._way.transceive(command)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Have the card alone. Raises TransportError, CardRemoved."""
        with self._reader.turn:
            try:
                with ExitStack() as stack:
                    with self._noticing():
                        self._failure = None
                        stack.enter_context(self._way.transaction())
                        if self._way.connections > 1:
                            raise CardRemoved("PC/SC: the reader was there anew")
                    yield
            finally:
                self._reader.used()

    def close(self) -> None:
        """Leave the card as it is to the other programs."""
        self._way.close()

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except TransportError as error:
            self._failure = error
            if not isinstance(error, CardRemoved) and self._way.connected:
                raise
            self._reader.lost(self._generation)
            self._failure = CardRemoved(str(error))
            raise self._failure from error


class CardReaders:
    """Readers, by name and application, watched from the first look on until :meth:`close`."""

    def __init__(
        self,
        chosen: Sequence[tuple[str, str | None]],
        moved: Callable[[int], None],
        used: Callable[[], None],
    ) -> None:
        self._watch = ReaderWatch({name for name, _ in chosen})
        self._stopping = threading.Event()
        self._there = True
        self.readers = tuple(
            CardReader(
                FIRST_SLOT + place,
                name,
                application,
                moved=moved,
                used=used,
                doubted=self._watch.interrupt,
            )
            for place, (name, application) in enumerate(chosen)
        )
        self._see(self._watch.look)
        self._thread = threading.Thread(target=self._run, name="readers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the watch."""
        self._stopping.set()
        while self._thread.is_alive():
            self._watch.interrupt()
            self._thread.join(_TICK)
        self._watch.close()

    def _run(self) -> None:
        look = self._watch.wait
        while not self._stopping.is_set():
            there = self._see(look)
            if not there:
                self._stopping.wait(_RETRY)
            look = self._watch.wait if there else self._watch.look

    def _see(self, look: Callable[[], dict[str, Presence]]) -> bool:
        """Have the readers show what is in them; says whether PC/SC is there."""
        seen: dict[str, Presence] = {}
        there = True
        try:
            seen = look()
        except TransportError as error:
            if self._there:
                _log.warning("the readers cannot be watched: %s", error)
            there = False
        for reader in self.readers:
            reader.show(seen.get(reader.name))
        self._there = there
        return there
