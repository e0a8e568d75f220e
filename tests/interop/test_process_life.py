"""The library over a process's life: forked, unloaded, initialised twice, in bare environments."""

import os
import subprocess
import sys
from pathlib import Path

from host_tools.testing import Scratch, ScratchToken

_PRELUDE = """
import os, sys
from host_tools import objects
from host_tools.control import is_daemon
from host_tools.cryptoki import Cryptoki, CryptokiError
from pkcs11_module import _constants as ck
slot, pin = int(sys.argv[1]), sys.argv[2].encode()
def refused(rv, call, *arguments):
    try:
        call(*arguments)
    except CryptokiError as error:
        assert error.rv == rv, error
    else:
        raise AssertionError("not refused")
def work(session):
    session.login(ck.CKU_USER, pin)
    return session.random(8)
library = Cryptoki()
"""


def _run(program: str, token: ScratchToken, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", _PRELUDE + program, str(token.slot), token.pin],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_a_second_initialise_is_refused_and_finalise_allows_it_again(token: ScratchToken) -> None:
    _run(
        """
library.initialize()
refused(ck.CKR_CRYPTOKI_ALREADY_INITIALIZED, library.initialize)
work(library.open_session(slot))
library.finalize()
refused(ck.CKR_CRYPTOKI_NOT_INITIALIZED, library.slots)
refused(ck.CKR_CRYPTOKI_NOT_INITIALIZED, library.finalize)
library.initialize()
session = library.open_session(slot)
assert session.info().state == ck.CKS_RW_PUBLIC_SESSION
work(session)
library.finalize()
""",
        token,
    )


def test_a_forked_child_starts_afresh_and_leaves_the_parent_alone(token: ScratchToken) -> None:
    _run(
        """
library.initialize()
session = library.open_session(slot)
work(session)
child = os.fork()
if child == 0:
    status = 1
    try:
        refused(ck.CKR_CRYPTOKI_NOT_INITIALIZED, library.slots)
        library.initialize()
        assert library.open_session(slot).info().state == ck.CKS_RW_PUBLIC_SESSION
        work(library.open_session(slot))
        library.finalize()
        status = 0
    finally:
        os._exit(status)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert session.info().state == ck.CKS_RW_USER_FUNCTIONS
objects.generate(session, objects.SPECS["P-256"], "after the fork", b"1")
library.finalize()
""",
        token,
    )


def test_a_child_that_only_finalises_or_exits_leaves_the_parent_alone(
    token: ScratchToken,
) -> None:
    _run(
        """
library.initialize()
session = library.open_session(slot)
work(session)
for finalise in (True, False):
    child = os.fork()
    if child == 0:
        if finalise:
            library.raw["C_Finalize"](None)
        os._exit(0)
    os.waitpid(child, 0)
    assert session.info().state == ck.CKS_RW_USER_FUNCTIONS
    session.random(8)
""",
        token,
    )


def test_the_library_can_be_unloaded_and_loaded_again(token: ScratchToken) -> None:
    _run(
        """
import _ctypes
for initialised in (True, False):
    library = Cryptoki()
    library.initialize()
    work(library.open_session(slot))
    if not initialised:
        library.finalize()
    path = str(library.path)
    library.raw.clear()
    while path in open("/proc/self/maps").read():
        _ctypes.dlclose(library.library._handle)
""",
        token,
    )


def test_threads_initialise_at_once(token: ScratchToken) -> None:
    _run(
        """
import threading
answers = []
start = threading.Barrier(8)
def initialise():
    start.wait()
    answers.append(library.raw["C_Initialize"](None))
threads = [threading.Thread(target=initialise) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert sorted(answers) == [ck.CKR_OK] + [ck.CKR_CRYPTOKI_ALREADY_INITIALIZED] * 7, answers
work(library.open_session(slot))
""",
        token,
    )


def test_neither_xdg_runtime_dir_nor_path_is_needed(token: ScratchToken) -> None:
    program = """
for name in ("XDG_RUNTIME_DIR", "PATH", "TMPDIR", "LANG", "USER", "LOGNAME"):
    os.environ.pop(name, None)
library.initialize()
work(library.open_session(slot))
library.finalize()
"""
    _run(program, token)


def test_it_starts_the_daemon_in_an_environment_without_anything(
    home: Scratch, token: ScratchToken
) -> None:
    home.kill_daemon()
    program = """
keep = {name: os.environ[name] for name in ("KLYUCH_HOME",)}
os.environ.clear()
os.environ.update(keep)
library.initialize()
work(library.open_session(slot))
"""
    _run(program, token)
    assert home.home.daemon_pid() is not None


def test_without_klyuch_home_the_users_own_is_used(token: ScratchToken, tmp_path: Path) -> None:
    program = """
del os.environ["KLYUCH_HOME"]
os.environ["KLYUCH_IDLE"] = "1"
library.initialize()
assert library.slots(present=False) == []
library.finalize()
"""
    _run(program, token, HOME=str(tmp_path))
    assert (tmp_path / ".local/share/klyuch/run").is_dir()


def test_a_dead_daemon_is_an_error_code_and_no_signal(home: Scratch, token: ScratchToken) -> None:
    program = """
import signal
library.initialize()
session = library.open_session(slot)
work(session)
pid = int(open(os.environ["KLYUCH_HOME"] + "/run/daemon.lock").read())
os.kill(pid, signal.SIGKILL)
while is_daemon(pid):
    pass
for call in (session.info, lambda: session.random(8), lambda: session.find()):
    try:
        call()
    except CryptokiError as error:
        assert error.name in {"CKR_DEVICE_REMOVED", "CKR_DEVICE_ERROR",
                              "CKR_SESSION_HANDLE_INVALID"}, error
    else:
        raise AssertionError("a session of a dead daemon works")
library.finalize()
library.initialize()
work(library.open_session(slot))
"""
    _run(program, token)
    assert home.home.daemon_pid() is not None
