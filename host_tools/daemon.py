"""The daemon: one process a home, holding its tokens and opening the doors onto them.

It listens before it loads the card, so that a client that waits for it loses no time: requests
queue until the tokens are ready. An idle daemon leaves only after it has turned its sockets away
and found nobody waiting at them; a client that comes a moment later finds nobody listening and
starts the next daemon, which waits for this one's lock.
"""

import errno
import fcntl
import gc
import logging
import os
import select
import selectors
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING

from host_tools import control
from host_tools.bridge.address import SOCKET as READER_SOCKET
from host_tools.home import Home, socket_address

if TYPE_CHECKING:
    from host_tools.descriptors import Shares
    from host_tools.doors import CardsIn, Doors, Peer

PKCS11_SOCKET = "pkcs11.sock"
DEFAULT_IDLE = 300.0
_LEAST_IDLE = 0.1
_BACKLOG = 128
_LOCK_PATIENCE = 10.0
_FAREWELL = 2.0
_STACK = 512 * 1024
_RECEIVE = 64 * 1024
_LINGER = 50e-6
_BRISK = 150e-6
_STOLEN = 200e-6
_BACK_OFF = 0.2
_LOG_BYTES = 1 << 20
_COMPLAINT_EVERY = 60.0

_ROOT = 0
_GUESTS: dict[str, frozenset[int]] = {
    PKCS11_SOCKET: frozenset(),
    control.SOCKET: frozenset(),
    # pcscd serves every user of the machine.
    READER_SOCKET: frozenset((_ROOT,)),
}
"""The doors' sockets, and which users besides our own may connect."""

_log = logging.getLogger("klyuch.daemon")


class AlreadyRunning(Exception):
    """Another daemon of this home listens."""


def idle_seconds() -> float:
    """How long a daemon that a client started stays without clients: ``$KLYUCH_IDLE``."""
    named = _named_idle()
    return DEFAULT_IDLE if named is None else max(_LEAST_IDLE, named)


def _named_idle() -> float | None:
    try:
        return float(os.environ["KLYUCH_IDLE"])
    except (KeyError, ValueError):
        return None


class Daemon:
    """The process shell: lock, sockets, a thread per connection, signals."""

    def __init__(
        self, home: Home, *, idle: float | None = None, cards_in: "CardsIn | None" = None
    ) -> None:
        self._home = home
        self._idle = idle
        self._cards_in = cards_in
        self._stopping = threading.Event()
        self._listeners: dict[str, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._alarm, self._wake = socket.socketpair()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._departures = _Departures()
        self._connections_lock = threading.Lock()
        self._lingering = threading.Lock()
        self._quiet_since = time.monotonic()
        self._doors: Doors | None = None
        self._shares: Shares | None = None
        self._spare: int | None = None
        self._refused = 0
        self._complained_at = -_COMPLAINT_EVERY

    def run(self, listening: Callable[[], None]) -> None:
        """Serve until told to stop; ``listening`` is called once clients can connect.

        Raises HomeError for an unusable home and AlreadyRunning where another daemon serves it.
        """
        os.umask(0o077)
        self._home.make()
        with _Lock(self._home):
            self._start_log()
            self._catch_signals()
            try:
                for name in _GUESTS:
                    self._listen(name)
                listening()
                self._load()
                self._loop()
            except Exception:
                _log.exception("the daemon ends")
                raise
            finally:
                self._close()

    def stop(self) -> None:
        """Ask the daemon to end; safe from any thread and from signal handlers."""
        self._stopping.set()
        self._ring()

    def _start_log(self) -> None:
        handler = RotatingFileHandler(
            self._home.log,
            maxBytes=_LOG_BYTES,
            backupCount=1,
            encoding="utf-8",
            errors="backslashreplace",
        )
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)
        logging.getLogger("klyuch").setLevel(logging.INFO)
        _log.info("started, process %d", os.getpid())
        if "KLYUCH_IDLE" in os.environ and _named_idle() is None:
            _log.warning("KLYUCH_IDLE is not a number of seconds; %g are taken", DEFAULT_IDLE)

    def _catch_signals(self) -> None:
        for end in (self._alarm, self._wake):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stop())
        self._selector.register(self._alarm, selectors.EVENT_READ)
        self._selector.register(self._departures, selectors.EVENT_READ)

    def _listen(self, name: str) -> None:
        """Bind beside the name and move into place: a client never meets a half-made socket."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        fresh = f"{name}.new"
        (self._home.run / fresh).unlink(missing_ok=True)
        with socket_address(self._home.run, fresh) as address:
            listener.bind(address)
        (self._home.run / fresh).chmod(0o600)
        listener.listen(_BACKLOG)
        (self._home.run / fresh).rename(self._home.run / name)
        self._listeners[name] = listener
        self._selector.register(listener, selectors.EVENT_READ, name)

    def _load(self) -> None:
        # What is loaded here stays for ever: looking it over again and again would find nothing.
        gc.disable()
        from host_tools.descriptors import Shares, in_use, raise_limit  # noqa: PLC0415  the same
        from host_tools.doors import Doors  # noqa: PLC0415  heavy: the sockets listen already

        gc.freeze()
        gc.enable()
        _prepare_threads()
        self._spare = _reserve()
        self._shares = Shares.of(raise_limit(), in_use())
        self._doors = Doors(
            self._home,
            self.stop,
            open_tokens=self._shares.tokens,
            crowd=self._crowd,
            cards_in=self._cards_in,
        )

    def _loop(self) -> None:
        while not self._stopping.is_set():
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self._alarm:
                    _drain(self._alarm)
                elif key.fileobj is self._departures:
                    self._departures.tell()
                else:
                    self._accept(key.data)
            if self._patience() == 0.0:
                self._leave()

    def _patience(self) -> float | None:
        """Seconds until the daemon has been idle for long enough; None while it is not idle."""
        if self._idle is None or self._connections:
            return None
        return max(0.0, self._quiet_since + self._idle - time.monotonic())

    def _leave(self) -> None:
        """End for being idle, unless somebody connected before the sockets turned away."""
        for name, listener in list(self._listeners.items()):
            listener.shutdown(socket.SHUT_RDWR)
            while self._accept(name):
                continue
        if not self._connections:
            _log.info("idle")
            self.stop()
            return
        for name, listener in list(self._listeners.items()):
            self._selector.unregister(listener)
            listener.close()
            self._listen(name)

    def _accept(self, name: str) -> bool:
        try:
            connection, _ = self._listeners[name].accept()
        except BlockingIOError:
            return False
        except OSError as error:
            return error.errno != errno.EINVAL and self._turn_away(name, error)
        if not _is_welcome(connection, name):
            _log.warning("turned away a connection of another user")
            connection.close()
            return True
        if not self._has_room(name):
            self._refuse(connection, "the limit of open files carries no more")
            return True
        connection.setblocking(True)
        thread = threading.Thread(
            target=self._serve, args=(name, connection), name=name, daemon=True
        )
        with self._connections_lock:
            self._connections[connection] = thread
        try:
            thread.start()
        except RuntimeError as error:
            with self._connections_lock:
                del self._connections[connection]
            self._refuse(connection, str(error))
        return True

    def _crowd(self) -> tuple[int, int]:
        """The open connections, and those at which applications are turned away."""
        assert self._shares is not None
        return len(self._connections), self._shares.applications

    def _has_room(self, name: str) -> bool:
        shares = self._shares
        assert shares is not None
        most = shares.applications if name == PKCS11_SOCKET else shares.connections
        return len(self._connections) < most

    def _turn_away(self, name: str, error: OSError) -> bool:
        """Take a client that cannot be served out of the queue, where it would wait for ever."""
        if self._spare is not None:
            os.close(self._spare)
        try:
            connection, _ = self._listeners[name].accept()
        except OSError:
            # The whole system has no descriptor left, say: the loop must not spin.
            self._complain(os.strerror(error.errno or 0))
            time.sleep(0.05)
            return False
        else:
            self._refuse(connection, os.strerror(error.errno or 0))
        finally:
            self._spare = _reserve()
        return True

    def _refuse(self, connection: socket.socket, why: str) -> None:
        connection.close()
        self._complain(why)

    def _complain(self, why: str) -> None:
        """Log that clients are turned away, once for all of them that come within a while."""
        self._refused += 1
        if time.monotonic() < self._complained_at + _COMPLAINT_EVERY:
            return
        _log.warning(
            "turned away %d connections, %d are open: %s",
            self._refused,
            len(self._connections),
            why,
        )
        self._refused = 0
        self._complained_at = time.monotonic()

    def _serve(self, name: str, connection: socket.socket) -> None:
        doors = self._doors
        assert doors is not None
        peer = _peer(doors, name, connection)
        ear = _Ear(connection, self._lingering)
        try:
            self._departures.watch(connection, peer)
            while data := ear.receive():
                for answer in peer.receive(data):
                    if answer:
                        connection.sendall(answer)
                    elif _has_left(connection):
                        return
        except OSError:
            _log.debug("a client went away")
        except doors.protocol_errors as error:
            _log.warning("closed a connection: %s: %s", type(error).__name__, error)
        except Exception:  # noqa: BLE001  one client's trouble is not the others'
            _log.exception("a connection failed")
        finally:
            self._departures.forget(connection)
            peer.closed()
            with self._connections_lock:
                del self._connections[connection]
                self._quiet_since = time.monotonic()
            connection.close()
            self._ring()

    def _ring(self) -> None:
        try:
            self._wake.send(b"\0")
        except OSError:
            # The alarm is full, hence ringing, or the daemon has closed it at its end.
            return

    def _close(self) -> None:
        for name, listener in self._listeners.items():
            (self._home.run / name).unlink(missing_ok=True)
            listener.close()
        with self._connections_lock:
            open_now = dict(self._connections)
        deadline = time.monotonic() + _FAREWELL
        # An application's first connection last: its end would have those answered that wait.
        for connection in reversed(open_now):
            _hang_up(connection)
        for thread in open_now.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._doors is not None:
            self._doors.close()
        _log.info("ended")


def _peer(doors: "Doors", name: str, connection: socket.socket) -> "Peer":
    if name == PKCS11_SOCKET:
        return doors.pkcs11()
    return doors.reader(connection.sendall) if name == READER_SOCKET else doors.control()


class _Departures:
    """The clients that leave while their threads do not listen: they may wait for a user.

    One that only says no more still waits for its answers, and has not left. Thread-safe but for
    `tell`, which is for one thread.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._lock = threading.Lock()
        self._peers: dict[int, Peer] = {}

    def fileno(self) -> int:
        """What is readable where there is something to tell."""
        return self._epoll.fileno()

    def watch(self, connection: socket.socket, peer: "Peer") -> None:
        """Tell the peer once that its client has left. Raises OSError for too many of them."""
        with self._lock:
            # No event is wished for, so what wakes is the end of both directions alone.
            self._epoll.register(connection, select.EPOLLONESHOT)
            self._peers[connection.fileno()] = peer

    def forget(self, connection: socket.socket) -> None:
        """The connection is about to be closed."""
        with self._lock:
            if self._peers.pop(connection.fileno(), None) is not None:
                self._epoll.unregister(connection)

    def tell(self) -> None:
        """Tell those whose clients have left."""
        for descriptor, _ in self._epoll.poll(0):
            with self._lock:
                peer = self._peers.get(descriptor)
            if peer is not None:
                peer.left()


class _Ear:
    """Receives from a connection; stays awake for a moment where calls follow each other briskly.

    To wake a thread that sleeps in recv() takes longer than most calls do. `lingering` is held by
    the one thread of the daemon that is awake with nothing to do: more would hinder the others.
    """

    def __init__(self, connection: socket.socket, lingering: threading.Lock) -> None:
        self._connection = connection
        self._lingering = lingering
        self._buffer = bytearray(_RECEIVE)
        self._view = memoryview(self._buffer)
        self._brisk = False
        self._tired_until = 0.0

    def receive(self) -> bytes:
        """The next bytes, none at the end. Raises OSError."""
        begun = time.perf_counter()
        lingers = self._brisk and begun > self._tired_until
        count = self._linger(begun) if lingers else None
        if count is None:
            count = self._connection.recv_into(self._buffer)
            self._brisk = time.perf_counter() - begun < _BRISK
        return bytes(self._view[:count])

    def _linger(self, begun: float) -> int | None:
        if not self._lingering.acquire(blocking=False):
            return None
        try:
            now = begun
            while now < begun + _LINGER:
                try:
                    return self._connection.recv_into(self._buffer, 0, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    os.sched_yield()
                before, now = now, time.perf_counter()
                if now - before > _STOLEN:
                    # Others need the processor: a sleeper that is woken gets it back sooner.
                    self._tired_until = now + _BACK_OFF
        finally:
            self._lingering.release()
        return None


class _Lock:
    """The home's lock file, with the holder's process id in it."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._descriptor = -1

    def __enter__(self) -> None:
        deadline = time.monotonic() + _LOCK_PATIENCE
        while not self._try():
            # A daemon that holds the lock and does not listen yet, or no longer, is worth the wait.
            if _answers(self._home) or time.monotonic() > deadline:
                raise AlreadyRunning
            time.sleep(0.01)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def _try(self) -> bool:
        descriptor = os.open(self._home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Somebody may have deleted the file between its opening and its locking.
            if os.path.samestat(os.fstat(descriptor), self._home.lock.stat()):
                self._descriptor = descriptor
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(descriptor)
        return False

    def __exit__(self, *_: object) -> None:
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def _answers(home: Home) -> bool:
    """Whether a daemon listens and lives: one that dies takes connections until its very end."""
    try:
        connection = control.connect_socket(home, control.SOCKET)
    except control.DaemonSilent:
        return False
    if connection is None:
        return False
    with connection:
        connection.settimeout(_LOCK_PATIENCE)
        try:
            connection.sendall(control.encode({"do": "hello"}))
            return bool(connection.recv(1))
        except OSError:
            return False


def _is_welcome(connection: socket.socket, door: str) -> bool:
    """Whether our own user is at the other end, or one who may use that door."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    _, uid, _ = struct.unpack("3i", credentials)
    return uid == os.getuid() or uid in _GUESTS[door]


def _has_left(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


def _drain(alarm: socket.socket) -> None:
    try:
        while alarm.recv(4096):
            pass
    except BlockingIOError:
        return


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The client was faster.
        return


def _reserve() -> int | None:
    """A descriptor to give up later, so that a client can be taken, and turned away, at the limit.

    None where no descriptor is left.
    """
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _prepare_threads() -> None:
    """Small stacks: a browser may hold many connections, and no call nests deeply."""
    threading.stack_size(_STACK)
