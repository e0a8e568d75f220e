"""GOST by gost-engine through us, by our Python, and by the engine driven by a program in C."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.measure import interleave
from bench.peers import OURS, Command, Peer, compile_program, running
from bench.rows import Result, Want, judge
from token_fw.crypto.gost.backend import ENGINE, PURE, SETTING

BARE = "openssl with gost-engine"
_PURELY = f"{OURS} in Python"
_SETS = ("CryptoPro-A", "tc26-512-A")
_SIGN_WANTED = {OURS: Want(BARE, 0.8), _PURELY: Want(BARE, 0.25)}
_JUDGED = "sign CryptoPro-A"
_FINER = 3
"""So many rounds for one of other rows, each that much shorter: the ratios are wanted narrow."""


def measure(folder: Path, rounds: int, seconds: float) -> Iterator[Result]:
    """Signatures and their verification for some parameter sets, then digests.

    Raises RuntimeError without the engine.
    """
    worker: Command = [sys.executable, "-m", "bench.gost_worker"]
    with ExitStack() as stack:
        peers = {
            name: stack.enter_context(running(name, command, environment))
            for name, command, environment in (
                (OURS, worker, {SETTING: ENGINE}),
                (_PURELY, worker, {SETTING: PURE}),
                (BARE, [compile_program("gost", folder, "-l:libcrypto.so.3")], {}),
            )
        }
        for parameters in _SETS:
            for peer in peers.values():
                peer.run("make", parameters)
            for what in ("sign", "verify"):
                rates = _rates(peers, what, rounds * _FINER, seconds / _FINER)
                yield from _results(f"{what} {parameters}", rates)
        yield from _results("hash 64 KiB, Streebog-256", _rates(peers, "hash", rounds, seconds))


def _rates(
    peers: dict[str, Peer], what: str, rounds: int, seconds: float
) -> dict[str, list[float]]:
    actions = {name: partial(peer.rate, what, seconds) for name, peer in peers.items()}
    return interleave(actions, rounds)


def _results(name: str, rates: dict[str, list[float]]) -> Iterator[Result]:
    """Two rows of one measurement: each of ours beside the engine alone."""
    for ours, ending in ((OURS, ""), (_PURELY, ", in Python")):
        wants = (_SIGN_WANTED[ours],) if name == _JUDGED else ()
        yield judge(name + ending, {OURS: rates[ours], BARE: rates[BARE]}, wants)
