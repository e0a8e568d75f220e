"""The library of this checkout in homes of its own, with daemons that have no card."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools.cryptoki import Cryptoki
from tests.interop.fake_daemon import FakeDaemon, Recorder, started, write_program


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that no daemon serves and where none can be started."""
    path = Path(tempfile.mkdtemp(prefix="klyuch-"))
    monkeypatch.setenv("KLYUCH_HOME", str(path))
    monkeypatch.setenv("KLYUCH_DAEMON", str(path / "missing"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def library(folder: Path) -> Iterator[Cryptoki]:
    loaded = Cryptoki()
    yield loaded
    loaded.raw["C_Finalize"](None)


@pytest.fixture
def fake(folder: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(folder) as daemon:
        yield daemon


@pytest.fixture
def recorder(folder: Path) -> Iterator[Recorder]:
    application = Recorder()
    with FakeDaemon(folder, lambda: application):
        yield application


@pytest.fixture
def startable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home whose daemon the library can start; what it started is killed at the end."""
    monkeypatch.setenv("KLYUCH_DAEMON", str(write_program(folder / "klyuch", {})))
    yield folder
    for pid in started(folder):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
