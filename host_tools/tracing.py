"""Who watches the APDUs of which token: the sinks behind ``trace`` at the control door."""

import queue
import threading
from collections.abc import Iterator

from apdu.model import APPLICATIONS
from apdu.trace import Trace
from apdu.transport import Transport
from token_fw.card import Interface

# A watcher that does not read loses lines rather than filling the daemon's memory.
_QUEUE_LINES = 10_000
_TICK = 0.25


class Watch:
    """One watcher's lines."""

    def __init__(self, serial: str | None) -> None:
        self.serial = serial
        self._lines: queue.Queue[str] = queue.Queue(_QUEUE_LINES)

    def put(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            return

    def lines(self) -> Iterator[str | None]:
        """The lines as they come, and None a few times a second while none comes."""
        while True:
            try:
                yield self._lines.get(timeout=_TICK)
            except queue.Empty:
                yield None


class Tracer:
    """Decodes the APDUs of the watched tokens. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: tuple[Watch, ...] = ()

    @property
    def watched(self) -> bool:
        """Whether anybody watches any token: all that an unwatched command pays for."""
        return bool(self._watches)

    def watch(self, serial: str | None) -> Watch:
        """Start to watch the token of that serial number, every token for None."""
        watch = Watch(serial)
        with self._lock:
            self._watches = (*self._watches, watch)
        return watch

    def end(self, watch: Watch) -> None:
        with self._lock:
            self._watches = tuple(other for other in self._watches if other is not watch)

    def around(self, interface: Interface, serial: str) -> Transport:
        """The same interface, telling every APDU to whoever watches that token."""

        def tell(line: str) -> None:
            for watch in self._watches:
                if watch.serial in {None, serial}:
                    watch.put(line)

        return Trace(
            interface,
            tell,
            APPLICATIONS["pki"],
            cause=lambda: str(interface.cause or ""),
        )
