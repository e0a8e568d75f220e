"""The library of this checkout in homes of its own, with daemons that have no card."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools.conformance import piv_commands as piv
from host_tools.cryptoki import Cryptoki
from host_tools.testing import Command, Run, Scratch, ScratchToken
from tests import piv_cards
from tests.interop.consumers import Owner
from tests.interop.fake_daemon import FakeDaemon, Recorder, started, write_program
from tests.interop.gost_engine import Engine
from tests.interop.liar import Liar
from tests.interop.office import Office
from tests.interop.pcscd import DOORS, ReaderDoor
from tests.interop.served_reader import Served, served

GOST_ENGINE = """
openssl_conf = start
[start]
engines = engines
[engines]
gost = gost
[gost]
engine_id = gost
default_algorithms = ALL
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that no daemon serves and where none can be started."""
    path = Path(tempfile.mkdtemp(prefix="klyuch-"))
    monkeypatch.setenv("KLYUCH_HOME", str(path))
    monkeypatch.setenv("KLYUCH_DAEMON", str(path / "missing"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def owner(command: Command, token: ScratchToken) -> Iterator[Owner]:
    """Somebody with a token and a folder, whose path is short: programs put sockets there."""
    with tempfile.TemporaryDirectory(prefix="klyuch-") as path:
        yield Owner(command, token, Path(path))


@pytest.fixture
def office(command: Command, openssl: Run, tmp_path: Path) -> Office:
    return Office(command, openssl, tmp_path)


@pytest.fixture
def gost_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every openssl of the test knows GOST R 34.10-2012."""
    settings = tmp_path / "gost.cnf"
    settings.write_text(GOST_ENGINE)
    monkeypatch.setenv("OPENSSL_CONF", str(settings))


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
def liar(folder: Path) -> Iterator[Liar]:
    made = Liar(folder)
    yield made
    made.close()


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


@pytest.fixture(params=DOORS)
def reader_door(request: pytest.FixtureRequest, home: Scratch) -> ReaderDoor:
    """Each way by which the tokens of the throw-away home come into a pcscd."""
    return DOORS[request.param](home)


@pytest.fixture
def pki_reader(home: Scratch) -> Iterator[Served]:
    """The PKI application of a card in a reader, shown in the throw-away home."""
    with served(home, "--app", "pki") as shown:
        yield shown


@pytest.fixture
def piv_reader(home: Scratch) -> Iterator[Served]:
    """The PIV application of a card: a certified RSA key, P-256 keys in the slots 9C and 82."""
    with served(home, "--app", "piv") as shown:
        with shown.there.connect() as client:
            card = piv_cards.Client(client)
            card.prove()
            for slot in (piv.SIGNATURE, piv.RETIRED):
                card.make_key(slot)
            # OpenSC knows of a key by its certificate alone.
            value = piv_cards.certificate(card.make_key(piv.AUTHENTICATION, piv.RSA_2048))
            card.ok(piv.put_data(piv.CERTIFICATE, piv_cards.certificate_object(value)))
        yield shown


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """OpenSSL with gost-engine."""
    return Engine(tmp_path)
