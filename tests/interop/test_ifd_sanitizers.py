"""pcscd's driver under the sanitizers of the C compiler: in threads, before lies, and in pcscd."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import pytest

from apdu.wire.frames import WireError
from apdu.wire.ifd import FromDaemon, Inserted, Removed
from apdu.wire.reader import Answer, Transmit
from hatch_build import IFD, compile_library, compiler
from host_tools.conformance import pki_commands as pki
from host_tools.testing import Scratch, ScratchToken
from tests import cards
from tests.interop.pcscd import IfdDoor, Readers, readers
from tests.interop.reader_daemon import ATR, Link, ReaderDaemon
from tests.interop.test_shim_sanitizers import MEMORY, RACES, ROUNDS

NIGHTLY: Final = os.environ.get("KLYUCH_PROFILE") == "nightly"
# The driver pauses after a lie: with many, most commands of a short run would find no card.
LIE: Final = 0.01 if NIGHTLY else 0.002
"""How probable a lie is after each word of the driver's."""
LIES = [b"\0" * 4, b"\xff" * 9, b"\1\0\0\0\x81", b"\2\0\0\0\x82\0", b"\3\0\0\0\x83\x90\0"]


def build(folder: Path, sanitizers: Sequence[str]) -> Path:
    """The program that exercises the driver, with the driver in it."""
    target = folder / "ifd_host"
    sources = [*IFD.native.glob("*.c"), Path(__file__).with_name("native") / "ifd_host.c"]
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{IFD.native}"]
    done = subprocess.run(
        [*compiler(), *flags, *sanitizers, "-o", target, *sources],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


class Whims:
    """A daemon that answers, exchanges the card, lies and hangs up by chance."""

    def __init__(self, daemon: ReaderDaemon) -> None:
        self._daemon = daemon
        self._random = random.Random(4)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while self._daemon.listens:
            # Of WireError: a lie that the driver took for the answer has it send the next command.
            with suppress(OSError, WireError), closing(self._daemon.accept()) as link:
                self._serve_one(link)

    def _serve_one(self, link: Link) -> None:
        link.say(Inserted(ATR))
        while (heard := link.hear()) is not None:
            chance = self._random.random()
            if chance < LIE:
                link.say_raw(self._random.choice(LIES))
            elif chance < 0.02:
                return
            elif chance < 0.1:
                link.say(*self._random.choice(MOVES))
            if isinstance(heard, Transmit):
                link.say(Answer(bytes(self._random.choice((0, 2, 3, 258, 65548)))))


MOVES: list[list[FromDaemon]] = [
    [Removed(), Inserted(ATR)],
    [Inserted(ATR)],
    [Removed(), Removed(), Inserted(ATR)],
]


@pytest.mark.parametrize("sanitizers", [MEMORY, RACES], ids=["memory", "races"])
def test_a_daemon_full_of_whims_finds_neither_errors_of_memory_nor_races(
    sanitizers: Sequence[str], tmp_path: Path
) -> None:
    program = build(tmp_path, sanitizers)
    with ReaderDaemon() as daemon:
        daemon.listen()
        Whims(daemon)
        done = subprocess.run(
            [program, daemon.device(), str(3 * int(ROUNDS))],
            capture_output=True,
            text=True,
            timeout=5000 if NIGHTLY else 500,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert int(done.stdout.split()[0]) > 100


def test_a_real_pcscd_finds_no_error_of_memory(
    home: Scratch, token: ScratchToken, tmp_path: Path
) -> None:
    """pcscd is not instrumented, so the sanitizers' library is loaded before everything."""
    driver = tmp_path / "libklyuch-ifd.so"
    compile_library(IFD, driver, MEMORY)
    found = subprocess.run(
        [*compiler(), "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    loaded = {"LD_PRELOAD": found.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0"}
    with readers(home, IfdDoor(home, driver=driver), [token.serial], 2, **loaded) as there:
        _use(there, token)
        assert there.pcscd.stop() == 0
        said = there.pcscd.log.read_text()
    assert "AddressSanitizer" not in said
    assert "runtime error" not in said


def _use(there: Readers, token: ScratchToken) -> None:
    client = there.connect()
    card = cards.Client(client)
    card.log_in(pin=token.pin.encode())
    assert len(card.ok(pki.challenge(65533))) == 65533
    client.call("reconnect", True)
    with there.home.control() as control:
        for move, present in (("remove", False), ("insert", True)):
            control.call(f"token.{move}", token=token.serial)
            client.call("wait_for", there.name(), present)
    there.home.kill_daemon()
    client.call("wait_for", there.name(), False)
    with there.home.control() as control:
        control.call("status")
    assert cards.lifecycle(cards.Client(there.connect())) == 5
