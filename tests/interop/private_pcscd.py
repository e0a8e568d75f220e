"""A pcscd of one test, with a reader of vsmartcard-vpcd, and cards of ours in that reader."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from apdu.transport import TransportError
from host_tools.conformance.subject import Card
from tests.conftest import program
from tests.interop.processes import PATIENCE
from token_fw.card import ATR

_DRIVER = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
READER = "Klyuch Test Reader 00 00"
_POWER_OFF, _POWER_ON, _RESET, _GET_ATR = 0, 1, 2, 4
_TICK = 0.01


class PrivatePcscd:
    """A pcscd that only those find who have `environment`; it can be killed and started again."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="klyuch-"))
        self.socket = self.folder / "pcscd.comm"
        self.environment = {"PCSCLITE_CSOCK_NAME": str(self.socket)}
        self.port = _free_port()
        readers = self.folder / "readers"
        readers.mkdir()
        (readers / "vpcd").write_text(
            'FRIENDLYNAME "Klyuch Test Reader"\n'
            f"DEVICENAME /dev/null:0x{self.port:04X}\n"
            f"LIBPATH {_DRIVER}\nCHANNELID 0x{self.port:04X}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Start it as systemd would, with its socket bound already."""
        self.socket.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
            bound.bind(str(self.socket))
            bound.listen()
            # systemd hands a socket over as descriptor 3; pcscd keeps the number of this shell.
            script = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" -f -c "$1" 3<&0'
            daemon = program("pcscd", "pcscd")
            self._process = subprocess.Popen(
                ["sh", "-c", script, daemon, str(self.folder / "readers")],
                stdin=bound.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class VpcdCard:
    """A card of ours in that reader: what pcscd sends is answered by a card of ours."""

    def __init__(self, pcscd: PrivatePcscd, card: Card) -> None:
        self._card = card
        self._powered = False
        self._seen = threading.Event()
        self._connection = _reach(pcscd.port)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.pull()

    def wait_until_seen(self) -> None:
        """pcscd looks for a card a few times in a second, and switches it on where it finds one."""
        assert self._seen.wait(PATIENCE), "pcscd does not see the card"

    def pull(self) -> None:
        """Nothing happens to a card that was pulled already, or whose pcscd has ended."""
        if self._thread.is_alive():
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _serve(self) -> None:
        with self._connection, self._connection.makefile("rb") as stream:
            self._answer_all(stream)

    def _answer_all(self, stream: BinaryIO) -> None:
        while len(prefix := stream.read(2)) == 2:
            # Without it the kernel holds its acknowledgement back for 40 ms.
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            (size,) = struct.unpack(">H", prefix)
            answer = self._answer(stream.read(size))
            if answer:
                self._connection.sendall(struct.pack(">H", len(answer)) + answer)

    def _answer(self, message: bytes) -> bytes:
        if message in {bytes((_POWER_OFF,)), bytes((_POWER_ON,)), bytes((_RESET,))}:
            self._powered = message[0] != _POWER_OFF
            self._card.reset()
            return b""
        if message == bytes((_GET_ATR,)):
            if self._powered:
                self._seen.set()
            return ATR
        try:
            return self._card.transceive(message)
        except TransportError:
            return b""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _reach(port: int) -> socket.socket:
    """pcscd listens for the card a moment after it was started."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "pcscd does not listen for the card"
            time.sleep(_TICK)
