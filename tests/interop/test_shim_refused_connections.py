"""The PKCS#11 library with a daemon that turns connections away, or that answers nothing."""

from __future__ import annotations

import socket
import threading
from ctypes import byref, c_ulong
from pathlib import Path

import pytest

from hatch_build import PKCS11, compile_library
from host_tools.cryptoki import Cryptoki
from pkcs11_module._constants import (
    CKM_RSA_PKCS_PSS,
    CKR_GENERAL_ERROR,
    CKR_HOST_MEMORY,
    CKR_OK,
)
from tests.interop.fake_daemon import SIGNATURE, SLOT, FakeDaemon

_THREADS, _CALLS = 6, 50


@pytest.fixture
def crowded(library: Cryptoki, fake: FakeDaemon) -> Cryptoki:
    """A library whose application gets no connection but its first."""
    fake.most = 1
    library.initialize()
    return library


def test_threads_take_turns_where_there_is_no_second_connection(
    crowded: Cryptoki, fake: FakeDaemon
) -> None:
    sessions = [crowded.open_session(SLOT) for _ in range(_THREADS)]
    signatures: list[bytes] = []

    def sign(number: int) -> None:
        session = sessions[number]
        signatures.extend(session.sign(CKM_RSA_PKCS_PSS, 1, b"data") for _ in range(_CALLS))

    threads = [threading.Thread(target=sign, args=(number,)) for number in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert signatures == [SIGNATURE] * (_THREADS * _CALLS)
    assert fake.connections > 1
    assert len(fake.registry) == 1


def test_a_wait_that_gets_no_connection_is_refused_and_the_sessions_live_on(
    crowded: Cryptoki, fake: FakeDaemon
) -> None:
    session = crowded.open_session(SLOT)
    assert crowded.raw["C_WaitForSlotEvent"](0, byref(c_ulong()), None) == CKR_HOST_MEMORY
    assert session.sign(CKM_RSA_PKCS_PSS, 1, b"data") == SIGNATURE
    fake.most = None
    waiting = threading.Thread(
        target=crowded.raw["C_WaitForSlotEvent"], args=(0, byref(c_ulong()), None)
    )
    waiting.start()
    assert session.sign(CKM_RSA_PKCS_PSS, 1, b"data") == SIGNATURE
    assert crowded.raw["C_Finalize"](None) == CKR_OK
    waiting.join()


def test_a_daemon_that_answers_nothing_is_asked_once(folder: Path, tmp_path: Path) -> None:
    hasty = tmp_path / "libklyuch-pkcs11.so"
    compile_library(PKCS11, hasty, ["-DGREETING_SECONDS=1"])
    (folder / "run").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(folder / "run" / "pkcs11.sock"))
        silent.listen(8)
        assert Cryptoki(hasty).raw["C_Initialize"](None) == CKR_GENERAL_ERROR
        silent.setblocking(False)
        first, _ = silent.accept()
        first.close()
        with pytest.raises(BlockingIOError):
            silent.accept()
