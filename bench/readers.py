"""Figures of readers: APDUs through pcscd, and how soon a program sees a token come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.measure import interleave
from bench.peers import LABEL, OURS, Peer, compile_program, running
from bench.rows import Result, Want, judge
from host_tools.control import ControlClient
from host_tools.testing import Scratch
from tests.interop.pcscd import IfdDoor, ReaderDoor, VpcdDoor, readers
from tests.interop.vpcd_card import READER, VpcdCard, VpcdReader
from token_fw.card import ATR

VPCD, SHIPPED = "klyuch by vpcd", "vpcd as shipped"
SOON = "20 ms"
_SOON_A_SECOND = 1000 / 20


def measure(folder: Path, rounds: int, seconds: float) -> Iterator[Result]:
    """Exchanges of an APDU, then insertions. Raises Unavailable."""
    program = compile_program("reader", folder, "-l:libpcsclite.so.1")
    with ExitStack() as stack:
        ifd, inserted = stack.enter_context(_ours(program, OURS, IfdDoor))
        vpcd, inserted_by_vpcd = stack.enter_context(_ours(program, VPCD, VpcdDoor))
        shipped = stack.enter_context(_shipped(program))
        peers = {peer.name: peer for peer in (ifd, vpcd, shipped)}
        exchanges = {name: partial(peer.rate, "apdu", seconds) for name, peer in peers.items()}
        yield judge("an APDU through pcscd", interleave(exchanges, rounds), (Want(SHIPPED, 100.0),))
        events = {OURS: inserted, VPCD: inserted_by_vpcd}
        rates = {**interleave(events, rounds), SOON: [_SOON_A_SECOND] * rounds}
        yield judge("insertion seen by SCardGetStatusChange", rates, (Want(SOON, 1.0),))


@contextmanager
def _ours(
    program: Path, name: str, kind: Callable[[Scratch], ReaderDoor]
) -> Iterator[tuple[Peer, Callable[[], float]]]:
    """A token in a pcscd of its own, the program that has connected to it, and an insertion."""
    with Scratch() as scratch:
        token = scratch.create_token(LABEL)
        with (
            readers(scratch, kind(scratch), [token.serial]) as there,
            running(name, [program, there.name()], there.environment) as peer,
            scratch.control() as control,
        ):
            peer.run("open")
            yield peer, partial(_insertion, peer, control)


def _insertion(peer: Peer, control: ControlClient) -> float:
    """One over the seconds from the command until the program has seen it."""
    peer.run("watch")
    control.call("token.remove", token=LABEL)
    peer.answer("removal")
    peer.run("watch")
    begun = time.monotonic_ns()
    control.call("token.insert", token=LABEL)
    _, seen = peer.answer("insertion")
    return 1 / (seen - begun / 1e9)


class _Yes:
    """A card that does nothing and says that all is well."""

    def transceive(self, _command: bytes) -> bytes:
        return b"\x90\x00"

    def reset(self) -> bytes:
        """There is nothing to forget."""
        return ATR


@contextmanager
def _shipped(program: Path) -> Iterator[Peer]:
    """The driver that comes with vpcd, and a card at it that does nothing about that."""
    with (
        VpcdReader() as reader,
        VpcdCard(reader, _Yes(), quick=False),
        running(SHIPPED, [program, READER], reader.environment) as peer,
    ):
        peer.run("open")
        yield peer
