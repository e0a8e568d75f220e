"""The PKCS#11 library in C from C_Initialize to C_Finalize, through daemons' deaths and starts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from ctypes import byref, c_ulong, c_void_p
from pathlib import Path

import pytest

from host_tools.cryptoki import Cryptoki, CryptokiError
from host_tools.cryptoki_types import CkInitializeArgs
from host_tools.epoch import EPOCH
from pkcs11_module._constants import (
    CKM_RSA_PKCS_PSS,
    CKR_ARGUMENTS_BAD,
    CKR_CRYPTOKI_ALREADY_INITIALIZED,
    CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_DEVICE_ERROR,
    CKR_DEVICE_REMOVED,
    CKR_GENERAL_ERROR,
    CKR_OK,
    CKR_SESSION_HANDLE_INVALID,
)
from tests.interop.fake_daemon import (
    SIGNATURE,
    SLOT,
    FakeApplication,
    FakeDaemon,
    started,
    write_program,
)


def rv_of(call: Callable[[], object]) -> int:
    """The return value of a call through the client."""
    try:
        call()
    except CryptokiError as error:
        return error.rv
    return CKR_OK


def test_initialize_checks_its_arguments(library: Cryptoki, fake: FakeDaemon) -> None:
    initialize = library.raw["C_Initialize"]
    mutex = c_void_p(0x1000)
    assert initialize(byref(CkInitializeArgs(pReserved=mutex))) == CKR_ARGUMENTS_BAD
    assert initialize(byref(CkInitializeArgs(CreateMutex=mutex))) == CKR_ARGUMENTS_BAD
    three = CkInitializeArgs(CreateMutex=mutex, DestroyMutex=mutex, LockMutex=mutex)
    assert initialize(byref(three)) == CKR_ARGUMENTS_BAD
    assert library.raw["C_Finalize"](mutex) == CKR_ARGUMENTS_BAD
    assert library.raw["C_Finalize"](None) == CKR_CRYPTOKI_NOT_INITIALIZED


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
@pytest.mark.parametrize("callbacks", [None, 0x1000])
def test_every_threading_wish_is_accepted(
    flags: int, callbacks: int | None, library: Cryptoki, fake: FakeDaemon
) -> None:
    wish = CkInitializeArgs(*[callbacks] * 4, flags, None)
    assert library.raw["C_Initialize"](byref(wish)) == CKR_OK
    assert library.slots() == [SLOT]


def test_initialize_twice_is_already_initialized_also_at_once(
    library: Cryptoki, fake: FakeDaemon
) -> None:
    outcomes: list[int] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(library.raw["C_Initialize"](None)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [CKR_OK] + [CKR_CRYPTOKI_ALREADY_INITIALIZED] * 7
    library.finalize()
    assert library.raw["C_Finalize"](None) == CKR_CRYPTOKI_NOT_INITIALIZED
    assert library.raw["C_Initialize"](None) == CKR_OK


def test_sessions_have_ended_when_finalize_returns(library: Cryptoki, fake: FakeDaemon) -> None:
    library.initialize()
    library.open_session(SLOT)
    assert len(fake.registry) == 1
    library.finalize()
    assert len(fake.registry) == 0


def test_handles_start_afresh_after_finalize(library: Cryptoki, fake: FakeDaemon) -> None:
    for _ in range(2):
        with library:
            assert library.open_session(SLOT).handle == 1


def test_a_waiting_thread_stalls_no_other_and_finalize_wakes_it(
    library: Cryptoki, fake: FakeDaemon
) -> None:
    outcomes: list[int] = []

    def wait() -> None:
        outcomes.append(library.raw["C_WaitForSlotEvent"](0, byref(c_ulong()), None))

    library.initialize()
    session = library.open_session(SLOT)
    waiting = [threading.Thread(target=wait) for _ in range(3)]
    for thread in waiting:
        thread.start()
    while fake.connections < 4:
        time.sleep(0.001)
    assert session.sign(CKM_RSA_PKCS_PSS, 1, b"data") == SIGNATURE
    assert outcomes == []
    library.finalize()
    for thread in waiting:
        thread.join()
    assert outcomes == [CKR_CRYPTOKI_NOT_INITIALIZED] * 3
    assert len(fake.registry) == 0


def test_dead_daemon_ends_the_session_and_the_next_one_works(
    library: Cryptoki, startable: Path
) -> None:
    library.initialize()
    session = library.open_session(SLOT)
    (pid,) = started(startable)
    os.kill(pid, signal.SIGKILL)
    assert rv_of(session.info) == CKR_DEVICE_REMOVED
    assert rv_of(session.info) == CKR_SESSION_HANDLE_INVALID
    fresh = library.open_session(SLOT)
    assert len(started(startable)) == 2
    assert fresh.info().slot == SLOT
    assert rv_of(session.info) == CKR_SESSION_HANDLE_INVALID
    assert rv_of(session.close) == CKR_SESSION_HANDLE_INVALID


def test_calls_without_a_session_do_not_notice_a_restart(
    library: Cryptoki, startable: Path
) -> None:
    library.initialize()
    for count in range(1, 4):
        assert library.slots() == [SLOT]
        assert len(started(startable)) == count
        os.kill(started(startable)[-1], signal.SIGKILL)
    assert library.info().manufacturer == "Fake"


def test_daemon_that_dies_in_a_call_is_a_removed_device(
    library: Cryptoki, fake: FakeDaemon
) -> None:
    library.initialize()
    session = library.open_session(SLOT)
    outcomes: list[int] = []
    waiting = threading.Thread(
        target=lambda: outcomes.append(rv_of(lambda: session.login(1, b"1234")))
    )
    waiting.start()
    while not waiting.is_alive() or "C_Login" not in served(fake):
        time.sleep(0.001)
    fake.die()
    waiting.join()
    assert outcomes == [CKR_DEVICE_REMOVED]
    assert rv_of(library.slots) == CKR_DEVICE_ERROR
    library.finalize()


def served(fake: FakeDaemon) -> list[str]:
    """Names of the functions that were called in the one application of a daemon."""
    (application,) = fake.registry._applications.values()
    assert isinstance(application, FakeApplication)
    return [name for name, _ in application.calls]


def test_daemon_is_started_once_for_many_threads(library: Cryptoki, startable: Path) -> None:
    threads = [threading.Thread(target=library.raw["C_Initialize"], args=(None,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert library.slots() == [SLOT]
    assert len(started(startable)) == 1


def test_started_daemon_inherits_nothing_of_its_host(
    library: Cryptoki, startable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONHOME"):
        monkeypatch.setenv(name, "/nonexistent")
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        library.initialize()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
        signal.signal(signal.SIGUSR1, before)
        os.close(inherited)
    (pid,) = started(startable)
    process = Path(f"/proc/{pid}")
    environment = process.joinpath("environ").read_bytes().split(b"\0")
    assert not [line for line in environment if line.startswith((b"LD_", b"PYTHONHOME="))]
    assert {process.joinpath("fd", str(n)).readlink() for n in range(3)} == {Path("/dev/null")}
    # Descriptor 3 is the ready pipe, which it closes a moment after it has written to it.
    links = [fd.readlink() for fd in process.joinpath("fd").iterdir() if fd.name != "3"]
    own = [startable / "run" / EPOCH]
    others = [link for link in links if "socket" not in str(link) and link not in own]
    assert [str(link) for link in others] == ["/dev/null"] * 3
    status = dict(line.split(":\t") for line in process.joinpath("status").read_text().splitlines())
    assert int(status["SigBlk"], 16) == 0
    assert not int(status["SigIgn"], 16) & 1 << (signal.SIGUSR1 - 1)
    session_of_daemon = int(process.joinpath("stat").read_text().rsplit(")", 1)[1].split()[3])
    assert session_of_daemon != os.getsid(0)
    assert int(status["PPid"]) != os.getpid()


def run_host(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A Python program that loads the library, with exactly this environment."""
    root = str(Path(__file__).resolve().parents[2])
    preamble = "from host_tools.cryptoki import Cryptoki\n"
    return subprocess.run(
        [sys.executable, "-c", preamble + code],
        env={"PYTHONPATH": root, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_home_is_found_without_any_help_of_the_desktop(startable: Path) -> None:
    home = startable / "user"
    program = write_program(
        startable / "klyuch", {"KLYUCH_HOME": str(home / ".local/share/klyuch")}
    )
    done = run_host(
        "with Cryptoki() as library: print(library.slots())",
        {"HOME": str(home), "KLYUCH_DAEMON": str(program)},
    )
    (pid,) = started(home / ".local/share/klyuch")
    os.kill(pid, signal.SIGKILL)
    assert (done.stdout, done.stderr) == (f"[{SLOT}]\n", "")


def test_daemon_is_found_in_the_path(startable: Path) -> None:
    copy = startable / "module" / "libklyuch-pkcs11.so"
    copy.parent.mkdir()
    shutil.copy(Cryptoki().path, copy)
    done = run_host(
        "from pathlib import Path\n"
        f"with Cryptoki(Path({str(copy)!r})) as library: print(library.slots())",
        {"KLYUCH_HOME": str(startable), "PATH": f"/nonexistent::{startable}:/bin:/usr/bin"},
    )
    assert (done.stdout, done.stderr) == (f"[{SLOT}]\n", "")


@pytest.mark.parametrize("length", [*range(85, 110), 250])
def test_home_with_a_path_around_and_beyond_an_addresss_length_works(
    length: int, library: Cryptoki, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = folder / ("x" * (length - len(f"{folder}/")))
    deep.mkdir()
    monkeypatch.setenv("KLYUCH_HOME", str(deep))
    with FakeDaemon(deep), library:
        assert library.slots() == [SLOT]


def test_missing_daemon_is_a_general_error_and_quiet(folder: Path) -> None:
    code = "print(Cryptoki().raw['C_Initialize'](None))"
    environment = {"KLYUCH_HOME": str(folder), "KLYUCH_DAEMON": str(folder / "missing")}
    done = run_host(code, environment)
    assert (done.stdout, done.stderr) == (f"{CKR_GENERAL_ERROR}\n", "")
    told = run_host(code, environment | {"KLYUCH_DEBUG": "1"})
    assert told.stdout == f"{CKR_GENERAL_ERROR}\n"
    assert told.stderr.startswith("klyuch: ")
