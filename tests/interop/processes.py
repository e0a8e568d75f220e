"""Programs that a test starts: run to their end, or with a log to wait on and ended whole."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

PATIENCE: Final = 60.0
_FAREWELL: Final = 10.0
_TICK: Final = 0.01
_LOG_SHOWN: Final = 4000


def run(command: Sequence[str | Path], environment: Mapping[str, str]) -> str:
    """What a program prints; its failure is an AssertionError."""
    done = subprocess.run(
        [*map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]}: exit code {done.returncode}\n{done.stdout}"
    return done.stdout


class Process:
    """A program in a session of its own, ended with every process of it; a context manager.

    An exception that leaves it gets the end of what the program printed as a note.
    """

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        self._name = Path(command[0]).name
        self._log = ""
        self._ended = False
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            [*map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()
        if error is not None:
            error.add_note(f"{self._name} printed:\n{self._log[-_LOG_SHOWN:]}")

    @property
    def log(self) -> str:
        """What it has printed until now."""
        return self._log

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The place in the log that matches; AssertionError where it does not come."""
        with self._news:
            self._news.wait_for(lambda: self._ended or re.search(pattern, self._log), PATIENCE)
            found = re.search(pattern, self._log)
            assert found, f"{self._name} did not print {pattern!r}, but:\n{self._log}"
            return found

    def signal(self, number: signal.Signals) -> int:
        """Send it a signal that ends it; its exit code."""
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Its exit code, once it has ended by itself."""
        return self._process.wait(PATIENCE)

    def end(self) -> None:
        """Ask it to end, then kill what is left of its session; returns when nothing is."""
        self._process.terminate()
        try:
            self._process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
        deadline = time.monotonic() + _FAREWELL
        while left := _session(self._process.pid):
            assert time.monotonic() < deadline, f"{self._name} leaves processes: {left}"
            for pid in left:
                _kill(pid)
            time.sleep(_TICK)
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                with self._news:
                    self._log += line
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


def _session(leader: int) -> list[int]:
    """The processes of a session that still run (proc(5): state, parent, group, session)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = path.read_text(errors="replace").partition(" (")
        except OSError:
            continue
        state, _, _, session = rest.rpartition(") ")[2].split()[:4]
        if int(session) == leader and state not in "ZX":
            found.append(int(pid))
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
