"""Who computes GOST: the engine where it can be trusted, else Python, with the reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from token_fw.crypto import Unsupported
from token_fw.crypto.gost import backend
from token_fw.crypto.gost.backend import AUTO, ENGINE, PURE, choose
from token_fw.crypto.gost.engine import EngineBackend
from token_fw.crypto.gost.interface import Backend, Digest, PrivateNumber, PublicPoint
from token_fw.crypto.gost.parameter_sets import PARAMETER_SETS, ParameterSet
from token_fw.crypto.gost.pure import PureBackend
from token_fw.crypto.gost.self_test import (
    KNOWN_SIGNATURES,
    failure,
    known_number,
    wrong_signatures,
)

SETS = pytest.mark.parametrize("parameters", PARAMETER_SETS.values(), ids=lambda one: one.name)
CRYPTOPRO_A: Final = PARAMETER_SETS["CryptoPro-A"]
PURELY: Final = PureBackend()


@pytest.fixture(scope="module")
def engine() -> EngineBackend:
    return EngineBackend()


@SETS
def test_both_give_the_known_signatures(engine: EngineBackend, parameters: ParameterSet) -> None:
    digest, k = bytes(range(parameters.size)), known_number(parameters, 2)
    for each in (PURELY, engine):
        private = each.private(parameters, known_number(parameters))
        assert private.sign(digest, k).hex() == KNOWN_SIGNATURES[parameters.name]


@SETS
def test_each_takes_what_the_other_signs(engine: EngineBackend, parameters: ParameterSet) -> None:
    d, digest = known_number(parameters, 7), bytes(range(50, 50 + parameters.size))
    for one, other in ((engine, PURELY), (PURELY, engine)):
        private = one.private(parameters, d)
        signature = private.sign(digest)
        public = other.public(parameters, private.point)
        assert public.verify(digest, signature)
        assert not public.verify(digest[::-1], signature)
        assert not any(
            public.verify(digest, wrong) for wrong in wrong_signatures(parameters, signature)
        )
    assert engine.private(parameters, d).point == PURELY.private(parameters, d).point


@pytest.mark.parametrize("number", [1, 2, -1])
@SETS
def test_the_smallest_and_the_greatest_number(
    engine: EngineBackend, parameters: ParameterSet, number: int
) -> None:
    d, digest = number % parameters.q, b"\xff" * parameters.size
    private = engine.private(parameters, d)
    assert private.point == PURELY.private(parameters, d).point
    assert engine.public(parameters, private.point).verify(digest, private.sign(digest))


@SETS
def test_a_digest_that_is_nothing_modulo_the_order(
    engine: EngineBackend, parameters: ParameterSet
) -> None:
    """RFC 7091 6.1 step 2: e is 1 then."""
    private = engine.private(parameters, 5)
    for digest in (bytes(parameters.size), parameters.q.to_bytes(parameters.size, "little")):
        signature = private.sign(digest)
        assert PURELY.public(parameters, private.point).verify(digest, signature)


def test_digests_agree(engine: EngineBackend) -> None:
    data = bytes(range(256)) * 3
    for size in (32, 64):
        for length in (0, 1, 63, 64, 65, 127, 128, 768):
            states = [each.streebog(size) for each in (PURELY, engine)]
            for state in states:
                for start, end in pairwise((0, length // 3, length // 2, length)):
                    state.update(data[start:end])
            assert states[0].digest() == states[1].digest() == states[1].digest()


def test_one_key_signs_in_many_threads(engine: EngineBackend) -> None:
    private = engine.private(CRYPTOPRO_A, 12345)
    public = engine.public(CRYPTOPRO_A, private.point)

    def work(number: int) -> bytes:
        digest = bytes((number,)) * 32
        signature = private.sign(digest)
        assert public.verify(digest, signature)
        return signature

    with ThreadPoolExecutor(8) as pool:
        signatures = list(pool.map(work, range(200)))
    assert len(set(signatures)) == len(signatures)


def test_a_forked_process_goes_on_with_a_randomness_of_its_own(engine: EngineBackend) -> None:
    digest = bytes(range(32))
    private = engine.private(CRYPTOPRO_A, 12345)
    private.sign(digest)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signed = b""
        try:
            signed = private.sign(digest)
        finally:
            os.write(writing, signed)
            os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        theirs = pipe.read()
    ours = private.sign(digest)
    public = PURELY.public(CRYPTOPRO_A, private.point)
    assert status == 0
    assert public.verify(digest, theirs)
    assert public.verify(digest, ours)
    # The same k twice would give the private number away.
    assert theirs[32:] != ours[32:]


_USE = """
import os
from pathlib import Path
from token_fw.crypto.gost.engine import EngineBackend
from token_fw.crypto.gost.parameter_sets import PARAMETER_SETS

def use(times):
    for number in range(1, times + 1):
        engine.private(parameters, number).sign(bytes(32))
        engine.public(parameters, point).verify(bytes(32), bytes(64))
        digest = engine.streebog(32)
        for _ in range(5):
            digest.copy().update(b"x")

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")

engine, parameters = EngineBackend(), PARAMETER_SETS["CryptoPro-A"]
point = engine.private(parameters, 5).point
use(200)
before = resident()
use(1000)
print(resident() - before)
"""


def test_what_is_not_used_any_more_is_freed() -> None:
    """A thousand keys that are kept take 3 MB, their digests 1 MB."""
    done = subprocess.run(
        [sys.executable, "-c", _USE], capture_output=True, check=True, text=True, timeout=60
    )
    assert int(done.stdout) < 500_000


class Liar:
    """The engine, but for one thing that it gets wrong."""

    name, version = "liar", "1"

    def __init__(self, lie: str, liars: frozenset[str] = frozenset({"CryptoPro-B"})) -> None:
        self._lie, self._liars, self._truth = lie, liars, EngineBackend()

    def private(self, parameters: ParameterSet, d: int) -> PrivateNumber:
        lies = self._lie == "sign" and parameters.name in self._liars
        return self._truth.private(parameters, d % 1000 + 1 if lies else d)

    def public(self, parameters: ParameterSet, point: tuple[int, int]) -> PublicPoint:
        truth = self._truth.public(parameters, point)
        lies = self._lie == "verify" and parameters.name in self._liars
        return Believer() if lies else truth

    def streebog(self, size: int) -> Digest:
        return self._truth.streebog(96 - size if self._lie == "digest" else size)


class Believer:
    def verify(self, digest: bytes, signature: bytes) -> bool:
        return bool(digest) or bool(signature)


@pytest.mark.parametrize(
    ("lie", "told"),
    [("sign", "CryptoPro-B"), ("verify", "CryptoPro-B"), ("digest", "Streebog of 32 bytes")],
)
def test_an_accelerator_that_errs_is_not_taken(lie: str, told: str) -> None:
    chosen = choose(AUTO, lambda: Liar(lie))
    assert isinstance(chosen.backend, PureBackend)
    assert told in chosen.reason
    demanded = choose(ENGINE, lambda: Liar(lie))
    assert demanded.backend is None
    assert told in demanded.reason


def test_the_engine_is_taken_where_it_is_there() -> None:
    for setting in (AUTO, ENGINE):
        chosen = choose(setting)
        assert isinstance(chosen.backend, EngineBackend)
        assert chosen.reason == ""
    assert choose(AUTO) != choose(PURE)


def test_python_itself_passes_the_self_test() -> None:
    assert failure(PURELY) == ""


def test_the_setting_takes_python() -> None:
    def forbidden() -> Backend:
        raise AssertionError("the accelerator is not even looked for")

    chosen = choose(PURE, forbidden)
    assert isinstance(chosen.backend, PureBackend)
    assert chosen.reason == "KLYUCH_GOST is pure"


def test_a_setting_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = choose("fast")
    assert chosen.backend is None
    assert chosen.reason == "KLYUCH_GOST is 'fast', not auto, engine or pure"
    monkeypatch.setattr(backend, "_choice", chosen)
    with pytest.raises(Unsupported, match="'fast'"):
        backend.backend()


_ASK = """
import json
from token_fw.crypto import Hash, digest
from token_fw.crypto.gost.backend import choice
chosen = choice()
value = digest.compute(Hash.STREEBOG256, b"abc").hex() if chosen.backend else ""
print(json.dumps([chosen.backend and chosen.backend.name, chosen.reason, value]))
"""


def _ask(**environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _ASK],
        env={**os.environ, **environment},
        capture_output=True,
        check=True,
        timeout=60,
    )
    answer: list[str] = json.loads(done.stdout)
    return answer


def test_a_machine_without_the_engine_computes_the_same(tmp_path: Path) -> None:
    fast, nothing, digest = _ask(KLYUCH_GOST=AUTO)
    assert (fast, nothing) == ("gost-engine", "")
    slow = _ask(KLYUCH_GOST=AUTO, OPENSSL_ENGINES=str(tmp_path))
    assert slow == ["pure Python", "OpenSSL has no engine gost", digest]
    missing = _ask(KLYUCH_GOST=ENGINE, OPENSSL_ENGINES=str(tmp_path))
    assert missing == [None, "KLYUCH_GOST is engine, but OpenSSL has no engine gost", ""]
