"""A daemon without a card: real sockets and the real server side, an application of a few lines.

As a program it stands in for `klyuch`: `serve --detached --ready-fd N`.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self

from host_tools.epoch import EPOCH, Epoch
from pkcs11_module._constants import (
    CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_FUNCTION_NOT_SUPPORTED,
    CKR_SESSION_HANDLE_INVALID,
)
from pkcs11_module.server import ApplicationRegistry, ProtocolError, RpcConnection
from pkcs11_module.types import Application, Buffer, Length, MessageOutput, Pkcs11Error

SIGNATURE: Final = bytes(range(64))
SLOT: Final = 7
LIBRARY_INFO: Final = ((2, 40), "Fake", 0, "Daemon without a card", (1, 0))
EXTENDED_INFO: Final = (*range(1, 14), bytes(8), 14, 15, bytes(64), *range(16, 23))


class FakeApplication:
    """Sessions that can be opened and closed, one signature, and a wait that only the end ends."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[object, ...]]] = []
        self.refusals: list[tuple[str, int]] = []
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._sessions: set[int] = set()
        self._count = 0
        self.functions: dict[str, Callable[..., object]] = {
            "C_GetInfo": lambda: LIBRARY_INFO,
            "C_EX_GetTokenInfoExtended": lambda _slot: EXTENDED_INFO,
            "C_GetSlotList": lambda _present, buffer: buffer.fill_list([SLOT]),
            "C_OpenSession": self.open,
            "C_CloseSession": self.close_session,
            "C_GetSessionInfo": self.session_info,
            "C_SignInit": self.sign_init,
            "C_Sign": self.sign,
            "C_Login": self.login,
            "C_GenerateRandom": lambda _session, size: bytes(size),
            "C_EncryptMessage": self.encrypt_message,
            "C_WaitForSlotEvent": self.wait,
        }

    def call(self, name: str, *args: object) -> object:
        self.calls.append((name, args))
        function = self.functions.get(name)
        if function is None:
            raise Pkcs11Error(CKR_FUNCTION_NOT_SUPPORTED)
        return function(*args)

    def refused(self, name: str, session: int) -> None:
        """There are no operations to end."""
        self.refusals.append((name, session))

    def close(self) -> None:
        self.ended.set()

    def check(self, session: int) -> None:
        with self._lock:
            if session not in self._sessions:
                raise Pkcs11Error(CKR_SESSION_HANDLE_INVALID)

    def open(self, _slot: int, _flags: int) -> int:
        with self._lock:
            self._count += 1
            self._sessions.add(self._count)
            return self._count

    def close_session(self, session: int) -> None:
        self.check(session)
        with self._lock:
            self._sessions.discard(session)

    def session_info(self, session: int) -> tuple[int, int, int, int]:
        self.check(session)
        return (SLOT, 0, 4, 0)

    def sign_init(self, session: int, _mechanism: object, _key: int) -> None:
        self.check(session)

    def sign(self, session: int, _data: bytes | None, buffer: Buffer) -> bytes | Length:
        self.check(session)
        return buffer.fill(len(SIGNATURE), lambda: SIGNATURE)

    def encrypt_message(
        self, session: int, _parameter: object, _aad: object, data: bytes | None, buffer: Buffer
    ) -> tuple[MessageOutput, bytes | Length]:
        """The text as it is, and a tag."""
        self.check(session)
        text = data or b""
        return MessageOutput(None, b"sixteen bytes .."), buffer.fill(len(text), lambda: text)

    def login(self, session: int, _user: int, _pin: bytes | None) -> None:
        """Takes so long that a test can kill the daemon in the middle."""
        self.check(session)
        self.ended.wait(60)

    def wait(self, _flags: int) -> int:
        self.ended.wait(60)
        raise Pkcs11Error(CKR_CRYPTOKI_NOT_INITIALIZED)


class Recorder:
    """Remembers its calls; the answer is set by the test."""

    def __init__(self) -> None:
        self.answer: object = None
        self.calls: list[tuple[str, tuple[object, ...]]] = []
        self.refusals: list[tuple[str, int]] = []

    def call(self, name: str, *args: object) -> object:
        self.calls.append((name, args))
        return self.answer

    def refused(self, name: str, session: int) -> None:
        self.refusals.append((name, session))

    def close(self) -> None:
        self.calls.clear()


class FakeDaemon:
    """Listens at `home`/run/pkcs11.sock; a context manager."""

    def __init__(self, home: Path, factory: Callable[[], Application] = FakeApplication) -> None:
        self.registry = ApplicationRegistry(factory)
        self.connections = 0
        self.most: int | None = None
        """Open connections that it has room for; a further one is hung up on."""
        self._open: set[socket.socket] = set()
        run = home / "run"
        run.mkdir(parents=True, exist_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        handle = os.open(run, os.O_PATH)
        try:
            (run / "pkcs11.sock").unlink(missing_ok=True)
            self._listener.bind(f"/proc/self/fd/{handle}/pkcs11.sock")
        finally:
            os.close(handle)
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    def die(self) -> None:
        """End as a killed process does: every socket closes at once."""
        for one in (self._listener, *self._open):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.most is not None and len(self._open) >= self.most:
                connection.close()
                continue
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        peer = RpcConnection(self.registry)
        try:
            while data := connection.recv(65536):
                for answer in peer.receive(data):
                    connection.sendall(answer)
        except (OSError, ProtocolError):
            pass
        finally:
            peer.closed()
            self._open.discard(connection)
            connection.close()


def write_program(path: Path, environment: Mapping[str, str]) -> Path:
    """An executable that stands in for `klyuch`, with its own environment."""
    root = Path(__file__).resolve().parents[2]
    lines = [f"export {name}='{value}'" for name, value in environment.items()]
    path.write_text(
        "\n".join(
            (
                "#!/bin/sh",
                *lines,
                f"export PYTHONPATH='{root}'",
                f"exec '{sys.executable}' '{__file__}' \"$@\"",
                "",
            )
        )
    )
    path.chmod(0o700)
    return path


def started(folder: Path) -> list[int]:
    """Process ids of the daemons that were started in a home."""
    path = folder / "run" / "starts"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def main() -> None:
    """Serve until killed; a process id in run/pid, a line in run/starts for every start."""
    home = Path(os.environ["KLYUCH_HOME"])
    ready = int(sys.argv[sys.argv.index("--ready-fd") + 1])
    daemon = FakeDaemon(home)
    daemon.registry.changed = Epoch(home / "run" / EPOCH).move
    (home / "run" / "pid").write_text(str(os.getpid()))
    with (home / "run" / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    signal.alarm(120)
    os.write(ready, b"\0")
    os.close(ready)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
