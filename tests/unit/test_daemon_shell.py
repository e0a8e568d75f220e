"""The daemon's shell where no process is needed: who may connect, how long it stays."""

import os
import socket

import pytest

from host_tools import daemon


def test_only_the_same_user_may_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert daemon._same_user(ours)
        stranger = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: stranger)
        assert not daemon._same_user(ours)


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
