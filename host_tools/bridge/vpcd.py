"""A token in a virtual reader of vpcd: between its TCP port and the daemon's door for readers.

The daemon stays off the network: this runs in a process of its own, which is to the daemon what the
driver of pcscd is.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from typing import Final

from apdu.wire import vpcd
from apdu.wire.frames import WireError
from apdu.wire.ifd import DriverEnd, FromDaemon, Hello, Inserted
from apdu.wire.reader import Answer, PowerDown, PowerUp, Reset, Transmit
from host_tools.bridge.address import SOCKET
from host_tools.closing import Closing
from host_tools.control import ControlError, connect_socket
from host_tools.home import Home, HomeError

_RECEIVE: Final = 128 * 1024
_RETRY: Final = 0.2
"""Seconds between attempts to reach a pcscd or a daemon that is not there."""
_ABSENCE: Final = 0.5
"""Seconds a card stays out, so that pcscd, which looks every 0.4 s, sees that it was gone."""
_SILENCE: Final = 3.0
"""Seconds without a word from a reader after a control: it asks for the ATR every 0.4 s, unless the
control was an application's command of one byte, for whose answer it waits."""


class VpcdCard(Closing):
    """The token of one slot in the reader that listens at `address`, and of it what is `shown`.

    While there is a token and a reader, they are connected; both may go and come back.
    """

    def __init__(
        self,
        home: Home,
        slot: int,
        address: tuple[str, int],
        shown: str = "pki",
        *,
        reached: Callable[[], None] = lambda: None,
        waits: Callable[[], None] = lambda: None,
        troubled: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`reached` is called once, from the thread that serves, when the token is in the reader.

        So is `waits` where nobody listens there yet. `troubled` gets why the daemon cannot be
        reached, once for each trouble. It is tried on.
        """
        self._reached: Callable[[], None] | None = reached
        self._waits: Callable[[], None] | None = waits
        self._troubled = troubled
        self._trouble = ""
        self._home = home
        self._hello = Hello(slot, shown)
        self._address = address
        self._alarm, self._wake = socket.socketpair()
        self._ending = False

    def serve(self) -> None:
        """Carry APDUs until `end`."""
        while not self._ending:
            daemon = self._find_daemon()
            if daemon is not None:
                with daemon, _Session(daemon, self._alarm, self._reach) as session:
                    session.serve(self._hello)
            self._pause()

    def end(self) -> None:
        """End `serve`; from any thread, and from signal handlers."""
        self._ending = True
        self._wake.send(b"\0")

    def close(self) -> None:
        """Let go of everything, once `serve` has ended."""
        self._alarm.close()
        self._wake.close()

    def _find_daemon(self) -> socket.socket | None:
        """A connection to the daemon; None where it is not there, or cannot be reached for now."""
        try:
            daemon = connect_socket(self._home, SOCKET)
        except (ControlError, HomeError) as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._troubled(f"{error} {error.hint}".rstrip())
            return None
        self._trouble = ""
        return daemon

    def _reach(self) -> socket.socket | None:
        """The reader's end of a new connection; None where nobody listens."""
        try:
            reader = socket.create_connection(self._address, timeout=_RETRY)
        except OSError:
            waits, self._waits = self._waits, None
            if waits is not None:
                waits()
            return None
        reader.settimeout(None)
        reader.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reached, self._reached = self._reached, None
        if reached is not None:
            reached()
        return reader

    def _pause(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._alarm, selectors.EVENT_READ)
            selector.select(_RETRY)


class _Session(Closing):
    """One connection to the daemon, and the connections to the reader that it outlives."""

    def __init__(
        self,
        daemon: socket.socket,
        alarm: socket.socket,
        reach: Callable[[], socket.socket | None],
    ) -> None:
        self._daemon = daemon
        self._alarm = alarm
        self._reach = reach
        self._wire = DriverEnd()
        self._atr: bytes | None = None
        self._reader: socket.socket | None = None
        self._asker: socket.socket | None = None
        """Who waits for the answer to the open command, perhaps no longer there."""
        self._card = vpcd.CardEnd()
        self._doubtful: float | None = None
        """Until when the reader has to say something after a control, by the monotonic clock."""
        self._out_until = 0.0
        self._selector = selectors.DefaultSelector()
        for waited in (daemon, alarm):
            self._selector.register(waited, selectors.EVENT_READ)

    def close(self) -> None:
        self._pull()
        self._selector.close()

    def serve(self, hello: Hello) -> None:
        """Until the daemon goes, or the alarm rings."""
        try:
            self._daemon.sendall(self._wire.send(hello))
            while self._step():
                continue
        except (OSError, WireError):
            # The daemon has left; the next connection asks whether it is back.
            return

    @property
    def _wanted(self) -> bool:
        """Whether there is a card that no reader has; one that still works goes into none."""
        return self._atr is not None and self._reader is None and self._asker is None

    @property
    def _patience(self) -> float | None:
        """Seconds until something is to be done though nobody says anything."""
        if self._wanted:
            return _RETRY
        if self._doubtful is None:
            return None
        return max(0.0, self._doubtful - time.monotonic())

    def _step(self) -> bool:
        for key, _ in self._selector.select(self._patience):
            if key.fileobj is self._alarm:
                return False
            if key.fileobj is self._reader:
                self._hear_reader()
            elif key.fileobj is self._daemon and not self._hear_daemon():
                return False
        if self._doubtful is not None and time.monotonic() >= self._doubtful:
            # Answering could put another answer out of step; a card that is gone ends the wait.
            self._take_out()
        if self._wanted and time.monotonic() >= self._out_until:
            self._put_in()
        return True

    def _hear_daemon(self) -> bool:
        data = self._daemon.recv(_RECEIVE)
        for event in self._wire.receive(data):
            self._from_daemon(event)
        return bool(data)

    def _from_daemon(self, event: FromDaemon) -> None:
        if isinstance(event, Answer):
            asker, self._asker = self._asker, None
            if asker is not self._reader:
                return
            if event.response:
                self._say(event)
            else:
                # No card answers: pcscd took it for another, or never powered it.
                self._take_out()
        else:
            self._pull()
            self._atr = event.atr if isinstance(event, Inserted) else None

    def _hear_reader(self) -> None:
        assert self._reader is not None
        try:
            # Without it the kernel holds its acknowledgement back, and the reader, which sends a
            # length and a body apart, waits for it: 40 ms a command.
            self._reader.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            data = self._reader.recv(_RECEIVE)
        except OSError:
            data = b""
        if not data:
            self._take_out()
            return
        for event in self._card.receive(data):
            control = isinstance(event, PowerDown | PowerUp | Reset)
            self._doubtful = time.monotonic() + _SILENCE if control else None
            if isinstance(event, vpcd.GetAtr):
                self._say(vpcd.Atr(self._atr or b""))
            else:
                self._asker = self._reader if isinstance(event, Transmit) else self._asker
                self._daemon.sendall(self._wire.send(event))

    def _say(self, event: vpcd.FromCard) -> None:
        if self._reader is None:
            return
        try:
            self._reader.sendall(self._card.send(event))
        except OSError:
            self._pull()

    def _put_in(self) -> None:
        reader = self._reach()
        if reader is None:
            return
        self._reader, self._card = reader, vpcd.CardEnd()
        self._selector.register(reader, selectors.EVENT_READ)

    def _take_out(self) -> None:
        """Let go of the reader, which takes the power away."""
        self._pull()
        self._daemon.sendall(self._wire.send(PowerDown()))

    def _pull(self) -> None:
        self._doubtful = None
        reader, self._reader = self._reader, None
        if reader is not None:
            self._out_until = time.monotonic() + _ABSENCE
            self._selector.unregister(reader)
            reader.close()
