"""Who watches the APDUs of which token: the sinks behind ``trace`` at the control door."""

import queue
import threading
import time
from collections.abc import Iterator
from enum import StrEnum
from itertools import count
from typing import TYPE_CHECKING

from host_tools.control import Json
from token_fw.card import Interface

if TYPE_CHECKING:
    from host_tools.watched import Watched

# A watcher that does not read loses lines rather than filling the daemon's memory.
_QUEUE_LINES = 10_000
_TICK = 0.25


class Form(StrEnum):
    """In what form a watcher is told of APDUs."""

    LINES = "lines"
    """Lines for people: a command, its answer."""
    FIELDS = "fields"
    """Exchanges, as fields for programs."""
    RECORDING = "recording"
    """Entries of a recording."""


class Watch:
    """What one watcher is told. One that is to miss nothing is told of what was lost."""

    def __init__(self, serial: str | None, form: Form = Form.LINES) -> None:
        self.serial = serial
        self.form = form
        self.began = time.perf_counter()
        self._messages: queue.Queue[Json] = queue.Queue(_QUEUE_LINES)
        self._lost = 0

    def put(self, message: Json) -> None:
        try:
            self._messages.put_nowait(message)
        except queue.Full:
            self._lost += 1

    def messages(self) -> Iterator[Json | None]:
        """What passes, as it comes, and None a few times a second while nothing does."""
        while True:
            try:
                yield self._messages.get(timeout=_TICK)
            except queue.Empty:
                yield None
            if self.form is not Form.LINES and self._lost:
                yield {"lost": self._lost}


class Tracer:
    """Decodes the APDUs of the watched tokens. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: tuple[Watch, ...] = ()
        self._doors = count()

    @property
    def watched(self) -> bool:
        """Whether anybody watches any token: all that an unwatched command pays for."""
        return bool(self._watches)

    def watches(self, serial: str, form: Form) -> Iterator[Watch]:
        """Those who watch the token of that serial number in that form."""
        those = (watch for watch in self._watches if watch.form is form)
        return (watch for watch in those if watch.serial in {None, serial})

    def watch(self, serial: str | None, form: Form = Form.LINES) -> Watch:
        """Start to watch the token of that serial number, every token for None."""
        watch = Watch(serial, form)
        with self._lock:
            self._watches = (*self._watches, watch)
        return watch

    def end(self, watch: Watch) -> None:
        with self._lock:
            self._watches = tuple(other for other in self._watches if other is not watch)

    def number(self) -> int:
        """A number for a new way to a card."""
        return next(self._doors)

    def around(self, interface: Interface, serial: str, door: int) -> "Watched":
        """The same interface, telling every APDU to whoever watches that token."""
        from host_tools.watched import Watched  # noqa: PLC0415  for who watches

        return Watched(interface, self, serial, door)
