"""The daemon's end of the door for readers, played by a test: what it says is said by hand."""

from __future__ import annotations

import socket
import tempfile
from collections import deque
from pathlib import Path
from typing import Final

from apdu.wire.ifd import DaemonEnd, FromDaemon, FromDriver, Hello
from host_tools.closing import Closing
from host_tools.home import socket_address
from tests.interop.processes import PATIENCE

ATR: Final = bytes.fromhex("3B8080010101")
_NAME: Final = "reader.sock"
_FRESH: Final = "reader.new"


class ReaderDaemon(Closing):
    """Listens in a private folder of its own, below which `folder` may be a longer path."""

    def __init__(self, below: str = "run") -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="klyuch-")
        self.folder: Final = Path(self._temporary.name) / below
        self.folder.mkdir(parents=True)
        self._listener: socket.socket | None = None
        self._links: list[Link] = []

    def close(self) -> None:
        self.leave()
        for link in self._links:
            link.close()
        self._temporary.cleanup()

    def device(self, slot: int = 0, shown: str = "pki") -> str:
        """The DEVICENAME of a reader."""
        return f"/dev/null:{self.folder / _NAME}:{slot}:{shown}"

    @property
    def listens(self) -> bool:
        return self._listener is not None

    def listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        with socket_address(self.folder, _FRESH) as address:
            self._listener.bind(address)
        self._listener.listen()
        # As the real daemon does: whoever finds the name finds somebody who listens.
        (self.folder / _FRESH).rename(self.folder / _NAME)
        self._listener.settimeout(PATIENCE)

    def leave(self) -> None:
        """Listen no more; links stay. Nothing happens where nobody listened."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            (self.folder / _NAME).unlink()

    def accept(self) -> Link:
        """The next connection, before its greeting."""
        assert self._listener is not None
        connection, _ = self._listener.accept()
        link = Link(connection)
        self._links.append(link)
        return link

    def greet(self) -> Link:
        """The next connection, after its greeting."""
        link = self.accept()
        assert isinstance(link.hear(), Hello)
        return link


class Link:
    """One connection of a driver."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self._connection = connection
        self._wire = DaemonEnd()
        self._heard: deque[FromDriver] = deque()

    def hear(self) -> FromDriver | None:
        """The next thing the driver says; None where it has hung up."""
        while not self._heard:
            data = self._connection.recv(1 << 17)
            if not data:
                return None
            self._heard.extend(self._wire.receive(data))
        return self._heard.popleft()

    def say(self, *events: FromDaemon) -> None:
        self.say_raw(b"".join(map(self._wire.send, events)))

    def say_raw(self, data: bytes) -> None:
        self._connection.sendall(data)

    def close(self) -> None:
        self._connection.close()
