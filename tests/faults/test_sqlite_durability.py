"""What was committed stays: the order of system calls, kill -9 at random moments, a full disk."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from token_fw.storage import SqliteStore

KEY = bytes(range(32))
KILLS = 30

OPEN = """
import os, resource, sys
from pathlib import Path
from token_fw.storage import SqliteStore, StorageError
path = Path(sys.argv[1])
store = SqliteStore(path, bytes(range(32)))
"""


def run_traced(trace: Path, calls: str, program: str, path: Path) -> None:
    strace = ["strace", "-f", "-y", "-e", f"trace={calls}", "-o", str(trace)]
    python = [sys.executable, "-c", program, str(path)]
    subprocess.run(strace + python, check=True, capture_output=True)


def test_a_commit_reaches_the_disk_before_it_returns(tmp_path: Path) -> None:
    path, trace = tmp_path / "token.sqlite", tmp_path / "trace"
    program = OPEN + (
        "store.put('pin', b'a', b'two tries')\n"
        "os.write(2, b'BEFORE'); store.commit(); os.write(2, b'AFTER')\n"
        "os._exit(0)"
    )
    subprocess.run(
        [
            "strace",
            "-f",
            "-y",
            "-e",
            "trace=write,pwrite64,fsync,fdatasync",
            "-o",
            trace,
            sys.executable,
            "-c",
            program,
            str(path),
        ],
        check=True,
        capture_output=True,
    )
    calls = trace.read_text().split('"BEFORE"')[1].split('"AFTER"')[0]
    log = re.escape(str(path) + "-wal")
    order = re.findall(rf"(pwrite64|fsync|fdatasync)\(\d+<{log}>", calls)
    assert "pwrite64" in order
    assert order[-1] in {"fsync", "fdatasync"}
    synced = re.findall(rf"(?:fsync|fdatasync)\(\d+<{log}>\)\s+= (-?\d+)", calls)
    assert set(synced) == {"0"}


def test_a_file_and_its_name_are_on_the_disk_when_it_is_made(tmp_path: Path) -> None:
    path, trace = tmp_path / "token.sqlite", tmp_path / "trace"
    subprocess.run(
        [
            "strace",
            "-f",
            "-y",
            "-e",
            "trace=fsync,fdatasync",
            "-o",
            trace,
            sys.executable,
            "-c",
            OPEN + "os._exit(0)",
            str(path),
        ],
        check=True,
        capture_output=True,
    )
    synced = re.findall(r"(?:fsync|fdatasync)\(\d+<([^>]*)>", trace.read_text())
    assert str(path) in synced
    assert str(tmp_path) in synced


# Forks a worker for every line it reads: a fork starts at once where an interpreter would not.
NURSERY = """
import os, sys
from pathlib import Path
from token_fw.storage import SqliteStore

def work(path):
    store = SqliteStore(path, bytes(range(32)))
    number = int.from_bytes(store.get("file", b"a") or b"", "big")
    while True:
        number += 1
        value = number.to_bytes(4, "big")
        store.put("file", b"a", value)
        store.put("file", b"b", value * 1500)
        store.put("file", b"odd" if number % 2 else b"even", value)
        store.delete("file", b"even" if number % 2 else b"odd")
        store.commit()
        os.write(1, b"%d\\n" % number)
        if number % 3 == 0:
            # Some die while the file is moved together, closed, or opened and checked again.
            store.rest()
            store.get("file", b"a")

for line in sys.stdin:
    worker = os.fork()
    if not worker:
        work(Path(line.strip()))
    os.write(1, b"worker %d\\n" % worker)
    _, status = os.waitpid(worker, 0)
    os.write(1, b"dead of signal %d\\n" % os.WTERMSIG(status))
"""


class Nursery:
    """Workers that commit one number after another until they are killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run_and_kill(self, path: Path, acknowledgements: int, delay: float) -> int | None:
        """Kill a worker some time after so many commits; give the last it acknowledged."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        last, seen, worker, killed = None, 0, 0, False
        while not (line := self._read_line()).startswith("dead"):
            if line.startswith("worker"):
                worker = int(line.split()[1])
            else:
                last, seen = int(line), seen + 1
            if worker and seen >= acknowledgements and not killed:
                time.sleep(delay)
                os.kill(worker, signal.SIGKILL)
                killed = True
        # A worker that ended by itself has failed, and its end would prove nothing.
        assert line == f"dead of signal {signal.SIGKILL:d}"
        return last

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the worker's parent died"
        return line.strip()


@contextmanager
def nursery() -> Iterator[Nursery]:
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Nursery(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0


def last_commit(path: Path) -> int:
    """Open the token, check that no commit is half there, and give the last one's number."""
    with closing(SqliteStore(path, KEY)) as store:
        value = store.get("file", b"a")
        if value is None:
            assert store.idents("file") == []
            return 0
        number = int.from_bytes(value, "big")
        parity = b"odd" if number % 2 else b"even"
        assert store.get("file", b"b") == value * 1500
        assert store.get("file", parity) == value
        assert store.idents("file") == sorted([b"a", b"b", parity])
        return number


def test_killed_at_any_moment_it_is_before_or_after_a_commit(tmp_path: Path) -> None:
    path, chance = tmp_path / "token.sqlite", random.Random()
    before = 0
    with nursery() as workers:
        for kill in range(KILLS):
            # Some die while they open and recover, some in the middle of their work.
            acknowledgements = 0 if kill % 3 == 0 else chance.randrange(1, 30)
            acknowledged = workers.run_and_kill(path, acknowledgements, chance.uniform(0, 0.01))
            after = last_commit(path)
            promised = before if acknowledged is None else acknowledged
            assert promised <= after <= promised + 1
            before = after
    assert before > KILLS


def test_killed_while_it_is_made_it_can_be_made_again(tmp_path: Path) -> None:
    chance = random.Random()
    with nursery() as workers:
        for kill in range(15):
            path = tmp_path / f"token{kill}.sqlite"
            acknowledged = workers.run_and_kill(path, 0, chance.uniform(0, 0.01))
            assert last_commit(path) >= (acknowledged or 0)


def test_a_recovery_that_is_killed_too_loses_nothing(tmp_path: Path) -> None:
    path, chance = tmp_path / "token.sqlite", random.Random()
    with nursery() as workers:
        acknowledged = workers.run_and_kill(path, 50, 0) or 0
        for _ in range(5):
            acknowledged = workers.run_and_kill(path, 0, chance.uniform(0, 0.005)) or acknowledged
        assert last_commit(path) >= acknowledged >= 50


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "token.sqlite"
    program = OPEN + (
        "store.put('pin', b'a', b'three tries'); store.commit()\n"
        "written = Path(str(path) + '-wal').stat().st_size\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (written + 20000, hard))\n"
        "store.put('pin', b'a', b'no tries')\n"
        "store.put('file', b'large', bytes(500000))\n"
        "for attempt in range(2):\n"
        "    try: store.commit()\n"
        "    except StorageError as error: print(type(error).__name__, error)\n"
        "    assert store.dirty\n"
        "store.rollback()\n"
        "print(store.get('pin', b'a'), store.idents('file'))\n"
        "store.put('pin', b'a', b'two tries'); store.commit()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))\n"
        "store.put('file', b'large', bytes(500000)); store.commit()\n"
        "os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-u", "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *refusals, state = done.stdout.splitlines()
    assert len(refusals) == 2
    for refusal in refusals:
        assert refusal.startswith("StorageError ")
        assert "full" in refusal
    assert state == "b'three tries' []"
    with closing(SqliteStore(path, KEY)) as store:
        assert store.get("pin", b"a") == b"two tries"
        assert store.get("file", b"large") == bytes(500000)


def test_a_disk_that_is_full_at_closing_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "token.sqlite"
    program = OPEN + (
        "store.put('file', b'a', bytes(300000)); store.commit()\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, hard))\n"
        "store.close()"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    with closing(SqliteStore(path, KEY)) as store:
        assert store.get("file", b"a") == bytes(300000)
