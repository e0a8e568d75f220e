"""Figures of whole processes: how long the first load takes, and what a thousand tokens weigh."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.measure import Action, interleave
from bench.peers import LABEL, OURS, PIN, SO_PIN, Command, Peer, python_imports, running
from bench.rows import Result, Want, judge
from host_tools.control import ControlClient, is_daemon
from host_tools.doors import Doors
from host_tools.provisioning import initialise
from host_tools.testing import Scratch
from token_fw.factory import Profile

PYTHON = "python -c 'import cryptography'"
KEYS = "the same with its modules for keys"
"""`import cryptography` alone loads next to nothing; these are what any token of ours needs."""

_KEYS = "cryptography.hazmat.primitives.serialization"
KIB_WANTED = 64.0


@dataclass(frozen=True, slots=True)
class Memory:
    """KiB that one token more adds to the daemon, at rest and after each was used once."""

    tokens: int
    listed: float
    used: float

    @property
    def name(self) -> str:
        return f"memory a token at rest, {self.tokens:,} tokens in one daemon"

    @property
    def met(self) -> bool:
        return self.listed <= KIB_WANTED


def _keep_bytecode() -> None:
    """An installed program is compiled once, whatever is usual where this was called from."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def first_load(client: Path, rounds: int) -> Result:
    """A program that loads the library and lists its tokens while no daemon runs."""
    with Scratch() as scratch:
        scratch.create_token(LABEL, pin=PIN, so_pin=SO_PIN)
        command: Command = [client, scratch.library, LABEL, PIN, "first"]

        _keep_bytecode()

        def ours() -> float:
            _stop(scratch)
            return _once(command, scratch.environment)

        actions: dict[str, Action] = {
            OURS: ours,
            PYTHON: partial(_once, python_imports("cryptography"), {}),
            KEYS: partial(_once, python_imports(_KEYS), {}),
        }
        name = "first load, no daemon running"
        wants = (Want(PYTHON, 1 / 3), Want(KEYS, 1 / 3, aim=True))
        return judge(name, interleave(actions, rounds), wants)


def _once(command: Command, environment: dict[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, env={**os.environ, **environment}, check=True, stdin=subprocess.DEVNULL)
    return 1 / (time.perf_counter() - begun)


def _stop(scratch: Scratch) -> None:
    with ControlClient(scratch.home) as control:
        pid = int(str(control.call("stop")["pid"]))
    while is_daemon(pid):
        time.sleep(0.001)


def memory(client: Path, tokens: int, progress: Callable[[str], None]) -> Memory:
    """Compare a daemon that has many tokens with one that has a single one."""
    one = _weigh(client, 1, progress)
    many = _weigh(client, tokens, progress)
    listed, used = ((big - small) / (tokens - 1) for small, big in zip(one, many, strict=True))
    return Memory(tokens, listed, used)


def _weigh(client: Path, tokens: int, progress: Callable[[str], None]) -> tuple[float, float]:
    """KiB that the daemon takes with every token listed, and after each was used once."""
    with Scratch() as scratch:
        _make(scratch, tokens, progress)
        progress(f"memory of {tokens:,} tokens")
        command: Command = [client, scratch.library, LABEL, PIN]
        with running(OURS, command, scratch.environment) as peer:
            peer.run("initialize")
            return _visit(scratch, peer, "list"), _visit(scratch, peer, "use")


def _visit(scratch: Scratch, peer: Peer, how: str) -> float:
    peer.run("visit", how)
    status = Path(f"/proc/{scratch.home.daemon_pid()}/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return float(line.split()[1])


def _make(scratch: Scratch, tokens: int, progress: Callable[[str], None]) -> None:
    """Make the tokens without a daemon, as its control door would."""
    scratch.home.make()
    doors = Doors(scratch.home, lambda: None)
    for number in range(tokens):
        if number % 50 == 0:
            progress(f"making tokens to weigh: {number:,} of {tokens:,}")
        reader = doors.rack.create(Profile(os.urandom(8)), None)
        label = f"{LABEL} {number}"
        initialise(doors.module, reader.slot_id, label, SO_PIN.encode(), PIN.encode())
        doors.rack.keep(reader, label)
    doors.close()
