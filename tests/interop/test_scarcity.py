"""The daemon where files, disk space or time run out: it says so, and works again afterwards."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from host_tools import control
from host_tools.control import ControlError, connect_socket, is_daemon
from host_tools.cryptoki import Cryptoki, CryptokiError
from host_tools.daemon import PKCS11_SOCKET
from host_tools.testing import Command, Run, Scratch, ScratchToken
from pkcs11_module._constants import CKU_USER
from tests.interop.processes import PATIENCE, Process

_FILES = 60
_IDLE_CLIENTS = 120
_PIN = {"KLYUCH_PIN": "481516"}


def _status(home: Scratch, name: str) -> int:
    with home.control() as client:
        return int(str(client.call("status")[name]))


def _limited(files: int) -> list[str]:
    """A shell's words before a command that may not have more open files, ever."""
    return ["/bin/sh", "-c", f'ulimit -n {files} && exec "$@"', "sh"]


def _klyuch(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "host_tools.cli", *arguments]


@pytest.fixture
def poor(home: Scratch) -> Iterator[Process]:
    """The home's daemon, with few open files."""
    command = [*_limited(_FILES), *_klyuch("serve")]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with Process(command, environment) as process:
        process.wait_for("Serving")
        yield process


@contextmanager
def _idle_clients(home: Scratch) -> Iterator[list[socket.socket]]:
    """More idle connections than the daemon carries; those that it kept are given."""
    with ExitStack() as stack:
        clients = []
        for _ in range(_IDLE_CLIENTS):
            client = connect_socket(home.home, PKCS11_SOCKET)
            assert client is not None
            clients.append(stack.enter_context(client))
        # It takes them in their order: once the last is turned away, all are decided about.
        clients[-1].settimeout(PATIENCE)
        assert clients[-1].recv(1) == b""
        yield [client for client in clients if _is_kept(client)]


def _is_kept(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    return False


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("poor")
def test_connections_beyond_the_limit_of_open_files_are_turned_away(
    home: Scratch, command: Command
) -> None:
    token = home.create_token("Work")
    with _idle_clients(home) as kept:
        assert 1 <= len(kept) < _FILES
        # The control door and the token's files have room left.
        assert "inserted" in command("token", "list").stdout
        assert _status(home, "most_connections") == len(kept)
        with pytest.raises(CryptokiError), Cryptoki() as library:
            library.slots(present=True)
        assert "limit of open files" in command("doctor", code=1).stdout
    _until(lambda: _status(home, "connections") == 1)
    with Cryptoki() as library, library.open_session(token.slot) as session:
        session.login(CKU_USER, token.pin.encode())
    assert home.home.log.read_text().count("turned away") == 1


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one(home: Scratch) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = ["/bin/sh", "-c", 'ulimit -S -n 40 && exec "$@"', "sh"]
    subprocess.run([*soft, *_klyuch("serve", "--detached")], check=True, timeout=PATIENCE)
    pid = _status(home, "pid")
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (hard, hard)


@contextmanager
def _without_descriptors(pid: int) -> Iterator[None]:
    used = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    free = next(number for number in range(len(used) + 1) if number not in used)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("missing", ["key", "store"])
def test_a_token_that_cannot_be_read_for_want_of_files_is_not_called_damaged(
    home: Scratch, command: Command, token: ScratchToken, missing: str
) -> None:
    command("stop")
    with home.control() as client:
        pid = int(str(client.call("status")["pid"]))
        if missing == "store":
            client.call("token.list")  # which needs the key alone
        with _without_descriptors(pid):
            shown = client.call("token.show", token=token.serial)
        assert (shown["state"], shown["fault"]) == ("unreadable", "")
        assert str(getattr(home.home, missing)(token.serial)) in str(shown["trouble"])
        shown = client.call("token.show", token=token.serial)
        assert (shown["state"], shown["trouble"], shown["keys"]) == ("inserted", "", 0)


def test_an_unreadable_token_names_its_cause_to_every_command(
    home: Scratch, command: Command, token: ScratchToken
) -> None:
    """A folder in the key file's place, as nothing stops root from reading a file."""
    command("stop")
    key, kept = home.home.key(token.serial), home.path / "kept.key"
    key.rename(kept)
    key.mkdir()
    listed = command("token", "list")
    assert "unreadable" in listed.stdout
    assert f"{key} cannot be read: Is a directory" in listed.stderr
    refused = command("key", "list", code=9)
    assert "Is a directory" in refused.stderr
    assert "Is a directory" in command("doctor", code=1).stdout
    with Cryptoki() as library:
        assert library.slots(present=True) == [token.slot]
        key.rmdir()
        kept.rename(key)
        with library.open_session(token.slot) as session:
            session.login(CKU_USER, token.pin.encode())
    assert "unreadable" not in command("token", "list").stdout


@contextmanager
def _full_disk(pid: int) -> Iterator[None]:
    """Room for the log, and for no page of a token's storage."""
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def test_a_command_names_what_befell_the_storage(
    home: Scratch, command: Command, token: ScratchToken
) -> None:
    store = home.home.store(token.serial)
    with _full_disk(_status(home, "pid")):
        refused = command("key", "generate", "P-256", code=1, **_PIN)
        assert f"{store} cannot be used" in refused.stderr
        assert "full" in refused.stderr
        assert "full" in command("doctor", code=1).stdout
        with pytest.raises(ControlError, match=r"full|too large"):
            home.create_token("Another")
    command("key", "generate", "P-256", **_PIN)
    assert "full" not in command("doctor").stdout


def test_the_doctor_tries_whether_the_home_can_be_written_to(home: Scratch) -> None:
    home.home.make()
    before = sorted(home.home.tokens.iterdir())
    full = ["/bin/sh", "-c", 'ulimit -f 4 && exec "$@"', "sh"]
    done = subprocess.run(
        [*full, *_klyuch("doctor")], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert f"{home.home.tokens} cannot be written to: File too large" in done.stdout
    assert "Free disk space" in done.stdout
    assert sorted(home.home.tokens.iterdir()) == before


@pytest.fixture
def stopped(home: Scratch, token: ScratchToken, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The process id of the home's daemon, which lives and does nothing."""
    assert token.slot == 0
    pid = _status(home, "pid")
    monkeypatch.setattr(control, "_GREETING", 0.2)
    os.kill(pid, signal.SIGSTOP)
    yield pid
    if is_daemon(pid):
        os.kill(pid, signal.SIGCONT)


def test_a_daemon_that_does_not_answer_is_named_with_what_ends_it(
    stopped: int, command: Command
) -> None:
    for words in (["token", "list"], ["key", "list"], ["stop"]):
        refused = command(*words, code=6)
        assert f"process {stopped}) does not answer" in refused.stderr
        assert "klyuch stop --force" in refused.stderr
    findings = command("doctor", code=1).stdout
    assert f"process {stopped}) does not answer" in findings
    assert "openssl" in findings


def _fill_queue(home: Scratch, stack: ExitStack) -> None:
    while True:
        client = connect_socket(home.home, control.SOCKET)
        assert client is not None
        stack.enter_context(client)


def test_a_full_queue_before_the_daemon_is_no_reason_to_wait_for_ever(
    stopped: int, home: Scratch, command: Command
) -> None:
    with ExitStack() as stack, pytest.raises(control.DaemonSilent) as silent:
        _fill_queue(home, stack)
    assert silent.value.pid == stopped
    assert f"process {stopped}) does not answer" in command("token", "list", code=6).stderr


def test_force_ends_a_daemon_that_does_not_answer_and_loses_nothing(
    stopped: int, token: ScratchToken, command: Command
) -> None:
    assert f"process {stopped}) was killed" in command("stop", "--force").stdout
    assert not is_daemon(stopped)
    assert token.label in command("token", "list").stdout
    assert "has ended" in command("stop", "--force").stdout
    assert "No daemon ran" in command("stop", "--force").stdout


def test_force_kills_no_process_that_does_not_hold_the_homes_lock(
    home: Scratch, klyuch: Run
) -> None:
    """A process whose words look like the daemon's, and whose number a dead one left behind."""
    home.home.make()
    asleep = [sys.executable, "-c", "import sys; sys.stdin.read()", "serve"]
    with subprocess.Popen(asleep, stdin=subprocess.PIPE) as other:
        home.home.lock.write_text(f"{other.pid}\n")
        klyuch("stop", "--force")
        assert other.poll() is None
        other.communicate(b"")
        assert other.returncode == 0
