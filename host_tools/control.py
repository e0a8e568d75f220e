"""The control door: requests as lines of JSON on a Unix socket, and the client's side of it.

A request is ``{"do": NAME, ...}``, its answer ``{"ok": true, "result": {...}}`` or
``{"ok": false, "code": CODE, "message": TEXT, "hint": TEXT}``. One line is at most 1 MiB. After
``trace`` the connection carries one ``{"line": TEXT}`` per APDU until either side closes it, or
``{"exchange": {...}}`` or ``{"entry": {...}}`` where ``form`` is ``fields`` or ``recording``.
"""

import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from host_tools.home import Home, socket_address, unusable

SOCKET = "control.sock"
LINE_LIMIT = 1 << 20
SECRET_VARIABLES = frozenset(
    (
        "KLYUCH_PIN",
        "KLYUCH_SO_PIN",
        "KLYUCH_NEW_PIN",
        "KLYUCH_PUK",
        "KLYUCH_MANAGEMENT_KEY",
        "KLYUCH_FIDO_PIN",
        "KLYUCH_PASSPHRASE",
        "KLYUCH_ISSUER_PASSPHRASE",
        "KLYUCH_CONTAINER_PASSPHRASE",
    )
)
_START_PATIENCE = 15.0
_GREETING = 5.0
# Another daemon may win the lock, or leave for being idle, between our start and our connection.
_START_ATTEMPTS = 3

Json: TypeAlias = dict[str, object]


class ErrorCode(StrEnum):
    """Why a request was refused; the command line turns each into an exit code."""

    GENERAL = "general"
    BAD_REQUEST = "bad-request"
    NOT_FOUND = "not-found"
    AMBIGUOUS = "ambiguous"
    EXISTS = "exists"
    PIN_WRONG = "pin-wrong"
    PIN_LOCKED = "pin-locked"
    PIN_UNACCEPTABLE = "pin-unacceptable"
    TOKEN_STATE = "token-state"
    DAEMON = "daemon"


class ControlError(Exception):
    """A refused request: ``code``, what happened, and in ``hint`` what to do next."""

    def __init__(self, code: ErrorCode, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class DaemonSilent(ControlError):
    """A daemon lives, and does not answer; ``pid`` is its process, as far as that is known."""

    def __init__(self, pid: int | None) -> None:
        named = "The daemon" if pid is None else f"The daemon (process {pid})"
        super().__init__(
            ErrorCode.DAEMON, f"{named} does not answer.", "End it: klyuch stop --force"
        )
        self.pid = pid


def encode(message: Mapping[str, object]) -> bytes:
    """One message as one line; what is not UTF-8, such as a path's odd byte, is escaped."""
    line = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    return line.encode(errors="backslashreplace") + b"\n"


class LineBuffer:
    """Bytes in, JSON objects out; the same on both sides."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def receive(self, data: bytes) -> Iterator[Json]:
        """The messages that ``data`` completes. Raises ControlError for anything else."""
        self._pending += data
        while (end := self._pending.find(b"\n")) >= 0:
            line = bytes(self._pending[:end])
            del self._pending[: end + 1]
            yield _decode(line)
        if len(self._pending) > LINE_LIMIT:
            raise ControlError(ErrorCode.BAD_REQUEST, "The request is longer than 1 MiB.")


def _decode(line: bytes) -> Json:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ControlError(ErrorCode.BAD_REQUEST, "The request is not JSON.") from error
    if not isinstance(message, dict):
        raise ControlError(ErrorCode.BAD_REQUEST, "The request is not a JSON object.")
    return message


class ControlClient:
    """A connection to the daemon of ``home``; with ``start`` one is started where none runs.

    The greeting has to come within seconds, other answers may take as long as the work does.
    ``timeout`` bounds the wait for each, in seconds; the connection is void after it. Raises
    ControlError, DaemonSilent where no answer came in time.
    """

    def __init__(self, home: Home, *, start: bool = True, timeout: float | None = None) -> None:
        self._lines = LineBuffer()
        self._ready: list[Json] = []
        attempts = _START_ATTEMPTS
        while True:
            self._socket, patience = _connect(home, start=start)
            self._socket.settimeout(patience)
            try:
                # A daemon that is just dying takes connections without ever answering.
                self.call("hello")
                self._socket.settimeout(timeout)
            except DaemonSilent:
                self._socket.close()
                raise
            except ControlError:
                self._socket.close()
                attempts -= 1
                if not attempts:
                    raise
            else:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def interrupt(self) -> None:
        """Let whatever waits on the connection, in another thread, end with a ControlError."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def call(self, do: str, **arguments: object) -> Json:
        """The result of one request. Raises ControlError as the daemon answered."""
        try:
            self._socket.sendall(encode({"do": do, **arguments}))
        except TimeoutError as error:
            raise DaemonSilent(_peer(self._socket)) from error
        except OSError as error:
            raise _lost() from error
        answer = self._next()
        if answer.get("ok") is True and isinstance(result := answer.get("result"), dict):
            return result
        raise ControlError(
            ErrorCode(str(answer.get("code", ErrorCode.GENERAL))),
            str(answer.get("message", "The daemon gave no reason.")),
            str(answer.get("hint", "")),
        )

    def trace(self, token: str | None = None) -> Iterator[str]:
        """The decoded APDUs of ``token`` (of all tokens for None), a line each, as they pass.

        Watching begins before this returns; no other request can follow on the connection.
        """
        self.call("trace", token=token)
        return (str(message["line"]) for message in self._messages())

    def record(self, token: str) -> Iterator[Json]:
        """As `trace`, but what passes is told as entries of a recording (``apdu.recording``).

        Raises ControlError when some passed that could not be told in time.
        """
        self.call("trace", token=token, form="recording")
        return (_whole(message, "entry") for message in self._messages())

    def exchanges(self, token: str | None = None) -> Iterator[Json]:
        """As `trace`, but for programs: exchanges as fields (``apdu.exchange``), and resets.

        Each has a ``time`` and the serial number of its ``token`` besides, and an exchange the
        ``cause`` that the card gives for a refusal and the ``error`` where none answered. Raises
        as `record`.
        """
        self.call("trace", token=token, form="fields")
        return (_whole(message, "exchange") for message in self._messages())

    def _messages(self) -> Iterator[Json]:
        while True:
            yield self._next()

    def _next(self) -> Json:
        while not self._ready:
            try:
                data = self._socket.recv(65536)
            except TimeoutError as error:
                raise DaemonSilent(_peer(self._socket)) from error
            except OSError as error:
                raise _lost() from error
            if not data:
                raise _lost()
            self._ready.extend(self._lines.receive(data))
        return self._ready.pop(0)


def _whole(message: Json, name: str) -> Json:
    """What a watcher that is to miss nothing is told. Raises ControlError where it missed some."""
    told = message.get(name)
    if not isinstance(told, dict):
        raise ControlError(
            ErrorCode.GENERAL,
            f"{message.get('lost')} APDUs passed faster than they could be told.",
            "What was told before them is complete.",
        )
    return told


def _lost() -> ControlError:
    return ControlError(
        ErrorCode.DAEMON, "The daemon closed the connection.", "See daemon.log in the home folder."
    )


def connect_socket(home: Home, name: str) -> socket.socket | None:
    """A connected socket, or None where nobody listens.

    Raises DaemonSilent where the queue before the socket stays full, HomeError where it cannot be
    used.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Not settimeout(), which gives up at once where the queue is full.
    whole, part = divmod(int(_GREETING * 1_000_000), 1_000_000)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", whole, part))
    try:
        with socket_address(home.run, name) as address:
            connection.connect(address)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BlockingIOError as error:
        connection.close()
        raise DaemonSilent(home.daemon_pid()) from error
    except OSError as error:
        connection.close()
        raise next(iter(home.problems()), unusable(home.run / name, error)) from error
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 0))
    return connection


def _peer(connection: socket.socket) -> int | None:
    """The process that listens at the other end."""
    try:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    except OSError:
        return None
    return int(struct.unpack("3i", credentials)[0]) or None


def _connect(home: Home, *, start: bool) -> tuple[socket.socket, float]:
    """A connection, and the seconds that its greeting may take."""
    attempts = _START_ATTEMPTS if start else 0
    patience = _GREETING
    while (connection := connect_socket(home, SOCKET)) is None:
        if not start:
            raise ControlError(
                ErrorCode.DAEMON, "No daemon runs for this home.", "Start one with: klyuch serve"
            )
        if not attempts:
            raise home.unwritable() or ControlError(
                ErrorCode.DAEMON, "The daemon does not start.", f"See {home.log}"
            )
        attempts -= 1
        start_daemon(home)
        # It listens first and loads then.
        patience = _START_PATIENCE
    return connection, patience


def daemon_command() -> list[str]:
    """The command that runs this very installation's ``klyuch``."""
    return [sys.executable, "-P", "-m", "host_tools.cli"]


def start_daemon(home: Home, *extra: str) -> bool:
    """Start a daemon in the background; True once it listens, False where it left again.

    It leaves when another daemon of this home won the lock, and when it cannot start.
    """
    import subprocess  # noqa: PLC0415  the daemon, which starts no other, needs it not

    home.make()
    listening, ready = os.pipe()
    with os.fdopen(listening, "rb", buffering=0) as news:
        with os.fdopen(ready, "wb", buffering=0):
            command = [*daemon_command(), "serve", "--detached", "--ready-fd", str(ready), *extra]
            started = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_daemon_environment(home),
                pass_fds=(ready,),
            )
        # The process started here leaves at once: the daemon is its child, in a session of its own.
        started.wait(_START_PATIENCE)
        readable, _, _ = select.select([news], [], [], _START_PATIENCE)
        return bool(readable and news.read(1))


def _daemon_environment(home: Home) -> dict[str, str]:
    """This process's environment without the secrets that were meant for one command."""
    kept = {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES}
    return {**kept, "KLYUCH_HOME": str(home.path)}


def kill_daemon(home: Home) -> int | None:
    """Send SIGKILL to the daemon of the home, which loses nothing acknowledged; its process id.

    None where no daemon holds the home's lock. Raises OSError where it cannot be killed.
    """
    pid = home.daemon_pid()
    try:
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Its holder wrote the process id.
            return pid if pid is not None and _kill(pid) else None
    return None


def _kill(pid: int) -> bool:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # Asked once the process is held, so that the number cannot pass to another meanwhile.
        if not is_daemon(pid):
            return False
        signal.pidfd_send_signal(process, signal.SIGKILL)
    finally:
        os.close(process)
    return True


def is_daemon(pid: int) -> bool:
    """Whether ``pid`` is a daemon that runs or is just ending, not an unrelated later process.

    What is killed keeps its sockets until the last of its threads is gone, when its memory, and
    with it the command line, went long ago.
    """
    process = Path(f"/proc/{pid}")
    try:
        threads = [path.read_bytes() for path in process.glob("task/*/stat")]
        command = (process / "cmdline").read_bytes()
    except OSError:
        return False
    alive = any(thread.rpartition(b") ")[2][:1] not in {b"Z", b"X"} for thread in threads)
    return alive and (not command or b"serve" in command)
