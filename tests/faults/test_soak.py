"""Many processes with several sessions each on one token, for long: every result is checked, and
afterwards the daemon holds no more than before."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from host_tools.cryptoki import Cryptoki
from host_tools.testing import Scratch, ScratchToken
from pkcs11_module import _constants as ck
from tests.faults.soak_worker import KEY_ID

ROOT: Final = Path(__file__).resolve().parents[2]
NIGHTLY: Final = os.environ.get("KLYUCH_PROFILE") == "nightly"
PROCESSES: Final = 50 if NIGHTLY else 6
SESSIONS: Final = 4 if NIGHTLY else 3
ROUNDS: Final = 30 if NIGHTLY else 4
PARAMETERS: Final = bytes.fromhex("06082a8648ce3d030107")
# What an allocator keeps for the next peak, beyond that of the first soak.
SPARE_KIB: Final = 8 * 1024


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the daemon holds: descriptors, threads, and resident memory in KiB."""

    descriptors: int
    threads: int
    memory: int


class Daemon:
    """The daemon's process as the kernel sees it."""

    def __init__(self, scratch: Scratch) -> None:
        pid = scratch.home.daemon_pid()
        assert pid is not None
        self.pid = pid
        self._folder = Path("/proc") / str(pid)

    def holdings(self) -> Holdings:
        lines = (self._folder / "status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        return Holdings(
            len(list((self._folder / "fd").iterdir())),
            int(status["Threads"]),
            int(status["VmRSS"].split()[0]),
        )

    def settled(self, start: Holdings) -> Holdings:
        """The holdings when descriptors and threads are back to those; fails where they stay."""
        deadline = time.monotonic() + 30
        while True:
            now = self.holdings()
            if now.descriptors <= start.descriptors and now.threads <= start.threads:
                return now
            assert time.monotonic() < deadline, (start, now)
            time.sleep(0.05)


@pytest.fixture
def token(home: Scratch) -> ScratchToken:
    """A token with the key pair that every process signs with."""
    made = home.create_token("Soak")
    with Cryptoki() as library, library.open_session(made.slot) as session:
        session.login(ck.CKU_USER, made.pin.encode())
        session.generate_key_pair(
            ck.CKM_EC_KEY_PAIR_GEN,
            {ck.CKA_TOKEN: True, ck.CKA_ID: KEY_ID, ck.CKA_EC_PARAMS: PARAMETERS},
            {ck.CKA_TOKEN: True, ck.CKA_ID: KEY_ID, ck.CKA_SIGN: True},
        )
    return made


def soak(token: ScratchToken, processes: int, rounds: int) -> None:
    """Let so many processes work at the same time; fails with what the first bad one says."""
    command = [sys.executable, "-m", "tests.faults.soak_worker", str(token.slot), str(SESSIONS)]
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, str(rounds), f"process {number}"],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(processes)
        ]
        for one in running:
            stack.callback(one.kill)
        for one in running:
            assert one.stdin is not None
            one.stdin.write(token.pin + "\n")
            one.stdin.flush()
        for one in running:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n", one.communicate()
        outcomes = [one.communicate("go\n") for one in running]
        for one, (_, said) in zip(running, outcomes, strict=True):
            assert one.returncode == 0, said


def test_the_daemon_holds_nothing_of_processes_that_have_gone(
    home: Scratch, token: ScratchToken
) -> None:
    daemon = Daemon(home)
    start = daemon.holdings()
    # Caches and arenas that come with the first use are not a leak.
    soak(token, PROCESSES, rounds=1)
    before = daemon.settled(start)
    soak(token, PROCESSES, ROUNDS)
    after = daemon.settled(start)
    assert after.memory - before.memory < SPARE_KIB
    assert Daemon(home).pid == daemon.pid
    with Cryptoki() as library, library.open_session(token.slot) as session:
        info = library.token_info(token.slot)
        assert (info.sessions, info.rw_sessions) in {(1, 1), (1, ck.CK_UNAVAILABLE_INFORMATION)}
        assert session.info().state == ck.CKS_RW_PUBLIC_SESSION
        session.login(ck.CKU_USER, token.pin.encode())
        found = session.find()
        classes = {session.attributes(one, ck.CKA_CLASS)[ck.CKA_CLASS] for one in found}
        assert len(found) == len(classes) == 2
    log = home.home.log.read_text()
    assert [line for line in log.splitlines() if "failed" in line or "Traceback" in line] == []
