"""Bad input, deaths and starts through the C interface, against the real daemon and its card."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from host_tools.cryptoki import Cryptoki, CryptokiError, Session
from host_tools.testing import Scratch, ScratchToken
from pkcs11_module._constants import (
    CKO_CERTIFICATE,
    CKR_ARGUMENTS_BAD,
    CKR_DEVICE_REMOVED,
    CKR_FUNCTION_NOT_SUPPORTED,
    CKR_NAMES,
    CKR_OK,
    CKR_SESSION_HANDLE_INVALID,
    CKR_SLOT_ID_INVALID,
    CKU_USER,
)
from pkcs11_module.model import FunctionSpec, Kind
from tests.interop.cryptoki_samples import SERVED, SampleCall, sample_call

WILD: Final = (0, 2**32 - 1, 2**64 - 1)
ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Ground:
    """A home whose daemon runs, a token in it and the library loaded for it."""

    scratch: Scratch
    token: ScratchToken
    library: Cryptoki

    def defects(self) -> str:
        """What the daemon's log says about functions that failed for a reason of their own."""
        lines = self.scratch.home.log.read_text().splitlines()
        return "\n".join(line for line in lines if " failed: " in line)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with pytest.MonkeyPatch.context() as patch, Scratch() as scratch:
        for name, value in scratch.environment.items():
            patch.setenv(name, value)
        yield Ground(scratch, scratch.create_token("Work"), Cryptoki())


@pytest.fixture
def session(ground: Ground) -> Iterator[Session]:
    """A session of a logged-in user, whose token and daemon must still be well afterwards."""
    pid = ground.scratch.home.daemon_pid()
    with ground.library:
        one = ground.library.open_session(ground.token.slot)
        one.login(CKU_USER, ground.token.pin.encode())
        yield one
        assert ground.library.token_info(ground.token.slot).label == "Work"
    assert ground.scratch.home.daemon_pid() == pid
    assert ground.defects() == ""


def prepared(spec: FunctionSpec, session: Session, token: ScratchToken) -> SampleCall:
    """A sample call in which session and slot are real ones."""
    call = sample_call(spec)
    for argument, sample in zip(spec.arguments, call.samples, strict=True):
        if argument.kind is Kind.SESSION:
            sample.values = (session.handle,)
        elif argument.members == ("slotID",):
            sample.values = (token.slot,)
    return call


def named(spec: FunctionSpec) -> str:
    return spec.name


def changed(call: SampleCall, place: int, value: Any) -> list[Any]:
    values = call.values
    values[place] = value
    return values


@pytest.mark.parametrize("spec", SERVED, ids=named)
def test_null_pointers_and_zero_lengths_give_a_code_of_the_standard(
    spec: FunctionSpec, ground: Ground, session: Session
) -> None:
    if spec.blocking:
        # C_WaitForSlotEvent would wait for an event; its flags say not to.
        assert ground.library.raw[spec.name](1, None, None) == CKR_ARGUMENTS_BAD
        return
    function = ground.library.raw[spec.name]
    call = prepared(spec, session, ground.token)
    for place in call.places(lambda sample: sample.pointers):
        assert function(*changed(call, place, None)) == CKR_ARGUMENTS_BAD
    for place in call.places(lambda sample: sample.lengths):
        assert function(*changed(call, place, 0)) in CKR_NAMES
        without_data = changed(call, place, 0)
        without_data[place - 1] = None
        assert function(*without_data) in CKR_NAMES


@pytest.mark.parametrize("spec", [s for s in SERVED if not s.blocking], ids=named)
@pytest.mark.parametrize("wild", WILD)
def test_wild_handles_give_a_code_of_the_standard(
    spec: FunctionSpec, wild: int, ground: Ground, session: Session
) -> None:
    function = ground.library.raw[spec.name]
    call = prepared(spec, session, ground.token)
    place = 0
    for argument, sample in zip(spec.arguments, call.samples, strict=True):
        if argument.kind is Kind.SESSION:
            rv = function(*changed(call, place, wild))
            assert rv in (CKR_SESSION_HANDLE_INVALID, CKR_FUNCTION_NOT_SUPPORTED)
        elif argument.members == ("slotID",) and wild != ground.token.slot:
            assert function(*changed(call, place, wild)) == CKR_SLOT_ID_INVALID
        elif argument.kind is Kind.ULONG:
            assert function(*changed(call, place, wild)) in CKR_NAMES
        place += len(sample.values)


START: Final = """
import sys
from host_tools.cryptoki import Cryptoki
with Cryptoki() as library:
    print(library.info().manufacturer, flush=True)
    sys.stdin.read()
"""


def hosts(scratch: Scratch, count: int) -> list[subprocess.Popen[str]]:
    """Processes that load the library at the same time."""
    environment = os.environ | scratch.environment | {"PYTHONPATH": str(ROOT)}
    environment.pop("XDG_RUNTIME_DIR", None)
    return [
        subprocess.Popen(
            [sys.executable, "-c", START],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]


def test_many_processes_at_once_start_one_daemon() -> None:
    with Scratch() as scratch:
        running = hosts(scratch, 6)
        try:
            for host in running:
                assert host.stdout is not None
                assert host.stdout.readline() == "Klyuch\n"
            assert scratch.home.daemon_pid() is not None
            assert scratch.home.log.read_text().count("started, process") == 1
        finally:
            for host in running:
                host.communicate()
        assert [host.returncode for host in running] == [0] * 6


def rv_of(call: Callable[[], object]) -> int:
    try:
        call()
    except CryptokiError as error:
        return error.rv
    return CKR_OK


def test_killed_daemon_is_replaced_without_another_initialize(
    home: Scratch, token: ScratchToken
) -> None:
    with Cryptoki() as library:
        session = library.open_session(token.slot)
        session.login(CKU_USER, token.pin.encode())
        home.kill_daemon()
        assert rv_of(lambda: session.find({0: CKO_CERTIFICATE})) == CKR_DEVICE_REMOVED
        assert rv_of(session.info) == CKR_SESSION_HANDLE_INVALID
        assert library.token_info(token.slot).label == "Work"
        with library.open_session(token.slot) as fresh:
            fresh.login(CKU_USER, token.pin.encode())
            assert fresh.find({0: CKO_CERTIFICATE}) == []
