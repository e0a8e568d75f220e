"""The daemon as a process: one a home, private, replaced when killed, gone when idle."""

import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from host_tools import objects
from host_tools.bridge.address import SOCKET as READER_SOCKET
from host_tools.control import (
    SOCKET,
    ControlClient,
    ControlError,
    ErrorCode,
    connect_socket,
    is_daemon,
    start_daemon,
)
from host_tools.cryptoki import Cryptoki, CryptokiError
from host_tools.daemon import PKCS11_SOCKET
from host_tools.epoch import EPOCH
from host_tools.testing import Run, Scratch
from pkcs11_module._constants import CKU_USER

_PATIENCE = 20.0


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while is_daemon(pid):
        assert time.monotonic() < deadline, f"process {pid} stays"
        time.sleep(0.01)


def _pid(home: Scratch) -> int:
    with home.control() as control:
        return int(str(control.call("status")["pid"]))


def test_sockets_lock_and_log_are_for_the_owner_alone(home: Scratch) -> None:
    _pid(home)
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (home.home.run, *home.home.run.iterdir(), home.home.log)
    }
    assert modes == {
        "run": 0o700,
        SOCKET: 0o600,
        PKCS11_SOCKET: 0o600,
        READER_SOCKET: 0o600,
        EPOCH: 0o600,
        "daemon.lock": 0o600,
        "daemon.log": 0o600,
    }


def test_clients_that_come_at_once_share_one_daemon(home: Scratch) -> None:
    home.home.make()
    command = [sys.executable, "-P", "-m", "host_tools.cli", "token", "list", "--json"]
    clients = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(4)
    ]
    said = [client.communicate(timeout=_PATIENCE)[0] for client in clients]
    assert said == [b"[]\n"] * 4
    assert home.home.log.read_text().count("started") == 1


def test_a_second_daemon_of_the_home_leaves_and_says_so(home: Scratch, klyuch: Run) -> None:
    pid = _pid(home)
    assert start_daemon(home.home) is False
    refused = klyuch("serve", code=6)
    assert f"process {pid}" in refused.stderr
    assert _pid(home) == pid


def test_a_killed_daemons_sockets_are_replaced(home: Scratch) -> None:
    first = home.create_token("Work")
    pid = home.kill_daemon()
    assert connect_socket(home.home, SOCKET) is None
    with home.control() as control:
        assert control.call("token.show", token="Work")["serial"] == first.serial
        assert control.call("status")["pid"] != pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(home: Scratch, number: signal.Signals) -> None:
    home.create_token("Work")
    pid = _pid(home)
    os.kill(pid, number)
    _wait_until_gone(pid)
    assert sorted(path.name for path in home.home.run.iterdir()) == ["daemon.lock"]
    assert home.home.daemon_pid() is None
    assert "ended" in home.home.log.read_text()
    assert not list(home.home.tokens.glob("*-wal"))


def test_stop_waits_until_the_daemon_has_ended(home: Scratch, klyuch: Run) -> None:
    pid = _pid(home)
    assert str(pid) in klyuch("stop").stdout
    assert not is_daemon(pid)
    assert klyuch("stop").stdout == "No daemon ran.\n"


def test_a_daemon_started_by_hand_stays_and_one_started_by_a_client_leaves(
    home: Scratch, klyuch: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLYUCH_IDLE", "0.3")
    klyuch("serve", "--detached")
    by_hand = _pid(home)
    with ControlClient(home.home):
        time.sleep(0.8)
    assert _pid(home) == by_hand
    klyuch("stop")
    by_client = _pid(home)
    _wait_until_gone(by_client)
    assert "idle" in home.home.log.read_text()


def test_a_daemon_with_a_client_is_not_idle(home: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLYUCH_IDLE", "0.3")
    with home.control() as control:
        time.sleep(0.8)
        assert is_daemon(int(str(control.call("status")["pid"])))


def test_no_client_is_lost_while_idle_daemons_leave(
    home: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connect around the moment at which the daemon leaves, again and again."""
    monkeypatch.setenv("KLYUCH_IDLE", "0.1")
    pids = set()
    library = Cryptoki()
    for number in range(12):
        with home.control() as control:
            pids.add(control.call("status")["pid"])
        time.sleep(0.09 + number * 0.002)
        with library:
            assert library.slots() == []
        time.sleep(0.09 + number * 0.002)
    assert len(pids) > 1


def test_a_daemon_works_in_a_path_too_long_for_a_socket(
    klyuch: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Scratch("a folder/" * 20) as long:
        monkeypatch.setenv("KLYUCH_HOME", str(long.path))
        klyuch("token", "create", "--blank")
        assert "1 slots" in klyuch("doctor").stdout


def test_a_connection_that_speaks_nonsense_is_closed_and_the_others_go_on(home: Scratch) -> None:
    with home.control() as control:
        for name in (SOCKET, PKCS11_SOCKET, READER_SOCKET):
            nonsense = connect_socket(home.home, name)
            assert nonsense is not None
            with nonsense:
                nonsense.settimeout(_PATIENCE)
                nonsense.sendall(b"\xff" * 64 + b"\n")
                assert nonsense.recv(64) == b""
        assert control.call("token.list") == {"tokens": []}


def test_an_unknown_request_is_refused_by_name(home: Scratch) -> None:
    with home.control() as control:
        for request, arguments in (
            ("format", {}),
            ("token.show", {}),
            ("token.show", {"token": 5}),
            ("token.create", {"label": "x" * 33, "so_pin": "1234"}),
            ("token.create", {"label": "Work", "so_pin": "1234", "so_tries": 99}),
            ("apdu", {"token": "Work", "commands": "00"}),
        ):
            with pytest.raises(ControlError) as refused:
                control.call(request, **arguments)
            assert refused.value.code is ErrorCode.BAD_REQUEST
        with pytest.raises(ControlError) as refused:
            control.call("token.show", token="Nobody")
        assert refused.value.code is ErrorCode.NOT_FOUND


def test_a_failed_creation_leaves_nothing(home: Scratch) -> None:
    with home.control() as control:
        with pytest.raises(ControlError) as refused:
            control.call("token.create", label="Work", so_pin="12345678", pin="1")
        assert refused.value.code is ErrorCode.PIN_UNACCEPTABLE
        assert control.call("token.list") == {"tokens": []}
    assert not list(home.home.tokens.glob("*.sqlite"))
    assert not list(home.home.tokens.glob("*.key"))


def test_the_trace_shows_what_passes_with_secrets_masked(home: Scratch) -> None:
    home.create_token("Work")
    with home.control() as watcher, home.control() as user:
        lines = watcher.trace("Work")
        user.call(
            "apdu",
            token="Work",
            commands=["00A404000CF276A288BCFBA69D34F31001", "0020000106" + b"314159".hex()],
        )
        seen: list[str] = []
        while "VERIFY" not in "".join(seen):
            seen.append(next(lines))
        seen.append(next(lines))
    assert "SELECT" in seen[0]
    assert "63C2" in seen[-1]
    packed = "".join("".join(seen).lower().split())  # the trace sets its bytes apart
    assert "314159" not in packed
    assert b"314159".hex() not in packed


def test_a_trace_in_a_form_that_is_none_is_refused(home: Scratch) -> None:
    with home.control() as control:
        with pytest.raises(ControlError, match="lines, fields, recording") as refused:
            control.call("trace", form="verse")
        assert refused.value.code is ErrorCode.BAD_REQUEST


def test_a_full_disk_is_named_in_the_log(home: Scratch) -> None:
    token = home.create_token("Work")
    library = Cryptoki()
    with home.control() as control, library:
        pid = int(str(control.call("status")["pid"]))
        with library.open_session(token.slot) as session:
            session.login(CKU_USER, token.pin.encode())
            # Enough for the log, and for no page of the storage.
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            with pytest.raises(CryptokiError):
                objects.generate(session, objects.SPECS["P-256"], "mail", b"1")
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    store = home.home.store(token.serial)
    assert f"the storage failed: {store} cannot be used" in home.home.log.read_text()


def test_an_idle_time_that_is_no_number_is_logged(
    home: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLYUCH_IDLE", "soon")
    _pid(home)
    assert "KLYUCH_IDLE is not a number" in home.home.log.read_text()


def test_the_log_is_bounded(home: Scratch) -> None:
    home.home.make()
    home.home.log.write_bytes(b"x" * (1 << 20))
    _pid(home)
    assert home.home.log.stat().st_size < 1 << 20
    assert Path(f"{home.home.log}.1").exists()
