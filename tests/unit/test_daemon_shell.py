"""The daemon's shell where no process is needed: who may connect, how long it stays."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from host_tools import control, daemon
from host_tools.bridge import address
from host_tools.descriptors import Shares
from host_tools.wakeful import MOST_AWAKE


def test_only_the_same_user_may_connect_and_root_as_a_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = socket.socketpair()
    doors = (daemon.PKCS11_SOCKET, control.SOCKET, address.SOCKET)
    with ours, theirs:
        assert [daemon._is_welcome(ours, door) for door in doors] == [True] * 3
        owner = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: owner)
        root_only = [False, False, os.geteuid() == 0]
        assert [daemon._is_welcome(ours, door) for door in doors] == root_only


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, 300.0), ("20", 20.0), ("0", 0.1), ("-5", 0.1), ("soon", 300.0), ("1.5", 1.5)],
)
def test_idle_seconds_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str | None, seconds: float
) -> None:
    monkeypatch.delenv("KLYUCH_IDLE", raising=False)
    if value is not None:
        monkeypatch.setenv("KLYUCH_IDLE", value)
    assert daemon.idle_seconds() == seconds


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_every_request_is_heard_in_its_turn(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    lingering = threading.Lock()
    ear = daemon._Ear(ours, lingering)
    for number in range(50):
        theirs.sendall(b"%d" % number)
        assert ear.receive() == b"%d" % number
        assert not lingering.locked()
    theirs.close()
    assert ear.receive() == b""


def test_a_thread_that_waited_awake_for_nothing_falls_asleep_and_still_hears(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    ear = daemon._Ear(ours, threading.Lock())
    theirs.sendall(b"brisk")
    ear.receive()
    heard: list[bytes] = []
    listener = threading.Thread(target=lambda: heard.append(ear.receive()))
    listener.start()
    listener.join(20 * daemon._LINGER)
    theirs.sendall(b"late")
    listener.join()
    assert heard == [b"late"]


def test_only_one_thread_waits_awake(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    lingering = threading.Lock()
    ear = daemon._Ear(ours, lingering)
    theirs.sendall(b"brisk")
    ear.receive()
    with lingering:
        theirs.sendall(b"next")
        assert ear.receive() == b"next"


@pytest.mark.parametrize("limit", [0, 12, 60, 256, 1024, 1 << 20])
def test_a_limit_of_open_files_is_never_shared_out_twice(limit: int) -> None:
    used = 12
    shares = Shares.of(limit, used)
    assert 1 <= shares.tokens <= MOST_AWAKE
    assert 1 <= shares.applications < shares.connections
    if limit >= 60:
        assert used + 2 * shares.tokens + shares.connections < limit
    if limit >= 1024:
        assert shares.tokens == MOST_AWAKE
