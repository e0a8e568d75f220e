"""The connections that are served at once: those that have asked for nothing give way to new ones.

Whoever may not ask is turned away with his first request, hence holds no place by asking.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class GaveWay(ConnectionAbortedError):
    """The place of the connection was given to a newer one."""


class Crowd:
    """Up to `most` connections. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        # Those that have asked for nothing yet, or nothing since their last answer, oldest first.
        self._idle: dict[socket.socket, None] = {}
        self._busy: set[socket.socket] = set()

    def enter(self, connection: socket.socket) -> bool:
        """Take a connection in, in the place of the oldest idle one if need be.

        False where all that are there are being answered.
        """
        with self._lock:
            if len(self._idle) + len(self._busy) >= self._most:
                oldest = next(iter(self._idle), None)
                if oldest is None:
                    return False
                del self._idle[oldest]
                # It may have ended by itself; what serves it notices either.
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
            self._idle[connection] = None
        return True

    def leave(self, connection: socket.socket) -> None:
        """The connection is about to be closed; nothing happens where it has given way."""
        with self._lock:
            self._idle.pop(connection, None)
            self._busy.discard(connection)

    @contextmanager
    def answering(self, connection: socket.socket) -> Iterator[None]:
        """Meanwhile the connection keeps its place. Raises GaveWay where it has none any more."""
        with self._lock:
            if connection not in self._idle:
                raise GaveWay
            del self._idle[connection]
            self._busy.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._busy.remove(connection)
                self._idle[connection] = None
