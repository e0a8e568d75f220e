"""A pcscd of a test's own, with the tokens of a home in its readers, through either door."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from host_tools.bridge.reader_file import ReaderFile, reader_name
from host_tools.testing import Scratch
from tests.conftest import program
from tests.interop.consumers import shared_object
from tests.interop.pcsc_client import PcscClient
from tests.interop.processes import PATIENCE, Process

_PROXY = [sys.executable, "-P", "-m", "host_tools.cli", "reader", "run", "--vpcd"]


class ReaderDoor(Protocol):
    """A way by which the tokens of a home come into pcscd."""

    def reader_file(self, slots: Sequence[int]) -> str:
        """What pcscd has to read."""

    def name(self, slot: int) -> str:
        """What pcscd calls the reader of a slot."""

    def open(self, tokens: Sequence[str]) -> None:
        """Begin to serve tokens, given by their serial numbers in the order of the slots."""

    def close(self) -> None:
        """End what :meth:`open` began."""


class IfdDoor:
    """Our own driver: it finds the daemon by itself."""

    def __init__(self, home: Scratch, shown: str = "pki", driver: Path | None = None) -> None:
        self._home = home
        self._shown = shown
        self._driver = driver

    def reader_file(self, slots: Sequence[int]) -> str:
        file = ReaderFile.of(self._home.home, slots, self._shown)
        return file.render() if self._driver is None else file.render(self._driver)

    def name(self, slot: int) -> str:
        return f"{reader_name(slot)} {slot:02X} 00"

    def open(self, tokens: Sequence[str]) -> None:
        """Nothing has to run but the daemon."""

    def close(self) -> None:
        """Nothing was begun."""


class VpcdDoor:
    """vsmartcard's driver, two slots to an entry, and our process that brings the tokens to it."""

    def __init__(self, home: Scratch, shown: str = "pki") -> None:
        self._home = home
        self._shown = shown
        self._base = free_ports()
        self._proxy: Process | None = None

    def reader_file(self, slots: Sequence[int]) -> str:
        return "\n".join(
            vpcd_entry(reader_name(slot), self._base + slot) for slot in slots if slot % 2 == 0
        )

    def name(self, slot: int) -> str:
        return f"{reader_name(slot - slot % 2)} 00 {slot % 2:02X}"

    def open(self, tokens: Sequence[str]) -> None:
        chosen = [word for token in tokens for word in ("--token", token)]
        environment = {**os.environ, **self._home.environment, "PYTHONUNBUFFERED": "1"}
        self._proxy = Process(
            [*_PROXY, f"127.0.0.1:{self._base}", "--app", self._shown, *chosen], environment
        )
        self._proxy.wait_for("Ctrl")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The place in what our process printed that matches."""
        assert self._proxy is not None
        return self._proxy.wait_for(pattern)

    @property
    def log(self) -> str:
        """What our process has printed."""
        assert self._proxy is not None
        return self._proxy.log

    def end(self, number: signal.Signals) -> int:
        """End our process by a signal; its exit code."""
        assert self._proxy is not None
        return self._proxy.signal(number)

    def close(self) -> None:
        if self._proxy is not None:
            self._proxy.end()
            self._proxy = None


DOORS: Final[dict[str, type[IfdDoor | VpcdDoor]]] = {"ifd": IfdDoor, "vpcd": VpcdDoor}


class Pcscd:
    """A pcscd that is found only with `environment`; it can be killed and started again."""

    def __init__(self, reader_file: str, added: Mapping[str, str] | None = None) -> None:
        # A socket's path has to be short.
        self._folder = Path(tempfile.mkdtemp(prefix="klyuch-"))
        self._socket = self._folder / "socket"
        self.environment: Final = {"PCSCLITE_CSOCK_NAME": str(self._socket)}
        self._readers = self._folder / "readers"
        self._readers.mkdir()
        (self._readers / "file").write_text(reader_file)
        self._added = dict(added or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.log: Final = self._folder / "log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        if error is not None:
            error.add_note(f"pcscd printed:\n{self.log.read_text(errors='replace')[-4000:]}")
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it as systemd does, with its socket open already."""
        with socket.socket(socket.AF_UNIX) as listener, self.log.open("ab") as log:
            listener.bind(str(self._socket))
            listener.listen()
            # The socket has to be descriptor 3, and the process id the one of pcscd itself.
            script = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" --foreground --config "$1" 3<&0'
            self._process = subprocess.Popen(
                ["sh", "-c", script, program("pcscd", "pcscd"), str(self._readers)],
                stdin=listener.fileno(),
                stdout=log,
                stderr=log,
                env={**os.environ, **self._added},
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(PATIENCE)
        self._process = None
        self._socket.unlink(missing_ok=True)
        return code

    def kill(self) -> None:
        """End it at once; nothing happens where it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._socket.unlink(missing_ok=True)


class Readers:
    """Tokens of a home in the readers of a private pcscd."""

    def __init__(self, home: Scratch, door: ReaderDoor, pcscd: Pcscd, stack: ExitStack) -> None:
        self.home: Final = home
        self.pcscd: Final = pcscd
        self.environment: Final = {**home.environment, **pcscd.environment}
        self._door = door
        self._stack = stack

    def name(self, slot: int = 0) -> str:
        """What pcscd calls the reader of a slot."""
        return self._door.name(slot)

    def client(self) -> PcscClient:
        """Another program that uses readers; it ends with the readers."""
        made = self._stack.enter_context(PcscClient(self.environment))
        made.call("establish")
        return made

    def connect(self, slot: int = 0) -> PcscClient:
        """Another program that has connected to the card of a slot, once that is there."""
        made = self.client()
        made.call("wait_for", self.name(slot), True)
        made.call("connect", self.name(slot))
        return made


@contextmanager
def readers(
    home: Scratch,
    door: ReaderDoor,
    tokens: Sequence[str],
    slots: int | None = None,
    **environment: str,
) -> Iterator[Readers]:
    """A pcscd in which the tokens of those serial numbers are; readers for so many `slots`.

    `environment` is added to that of pcscd.
    """
    numbers = range(len(tokens) if slots is None else slots)
    with ExitStack() as stack, Pcscd(door.reader_file(numbers), environment) as pcscd:
        door.open(tokens)
        stack.callback(door.close)
        yield Readers(home, door, pcscd, stack)


def vpcd_entry(name: str, port: int) -> str:
    """A reader of vsmartcard's driver, whose two slots listen at `port` and the one after it."""
    driver = shared_object("libifdvpcd.so", "serial", "vsmartcard-vpcd")
    return f'FRIENDLYNAME "{name}"\nDEVICENAME /dev/null:0x{port:04X}\nLIBPATH {driver}\n'


def free_ports(count: int = 4) -> int:
    """The first of some ports in a row that nobody listens at."""
    # Tests that run at the same time, each in a process of its own, begin far from each other.
    for base in range(20000 + os.getpid() % 300 * 100, 60000, count):
        try:
            for port in range(base, base + count):
                with socket.socket() as probe:
                    probe.bind(("", port))
        except OSError:
            continue
        return base
    raise AssertionError("no free ports")
