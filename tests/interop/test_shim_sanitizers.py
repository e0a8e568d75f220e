"""The PKCS#11 library under the sanitizers of the C compiler, loaded by a hostile program in C."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from hatch_build import PKCS11, compile_library, compiler
from host_tools.testing import ScratchToken
from tests.conftest import program
from tests.interop.fake_daemon import started, write_program

COMMON: Final = ("-fno-omit-frame-pointer", "-g", "-O1")
MEMORY: Final = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", *COMMON)
RACES: Final = ("-fsanitize=thread", *COMMON)
SCENARIOS: Final = (
    "bad_input",
    "bad_templates",
    "bad_messages",
    "bad_extension",
    "threads",
    "finalize_in_use",
    "life_races",
    "forks",
    "forks_among_threads",
    "reload",
    "cancelled_threads",
)
ROUNDS: Final = "100" if os.environ.get("KLYUCH_PROFILE") == "nightly" else "1"
"""How much longer than usual the scenarios that race go on."""


@dataclass(frozen=True, slots=True)
class Built:
    library: Path
    program: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """With what finds errors of memory and undefined behaviour."""
    return build(tmp_path_factory.mktemp("memory"), MEMORY)


@pytest.fixture(scope="module")
def threaded(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """With what finds data races."""
    return build(tmp_path_factory.mktemp("races"), RACES)


def build(folder: Path, sanitizers: Sequence[str]) -> Built:
    """The library and the program that exercises it, both with sanitizers."""
    library, program = folder / "libklyuch-pkcs11.so", folder / "exercise"
    compile_library(PKCS11, library, sanitizers)
    sources = sorted(Path(__file__).with_name("native").glob("exercise*.c"))
    done = subprocess.run(
        [
            *compiler(),
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            *sanitizers,
            f"-I{PKCS11.native / 'generated'}",
            "-pthread",
            "-o",
            program,
            *sources,
            "-ldl",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Built(library, program)


@pytest.fixture
def daemon() -> Iterator[tuple[Path, int]]:
    """A home and the process id of the daemon without a card that serves it."""
    folder = Path(tempfile.mkdtemp(prefix="klyuch-"))
    program = write_program(folder / "klyuch", {"KLYUCH_HOME": str(folder)})
    (folder / "run").mkdir()
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [program, "serve", "--detached", "--ready-fd", str(writer)], pass_fds=[writer]
    )
    os.close(writer)
    assert os.read(reader, 1) == b"\0"
    os.close(reader)
    yield folder, process.pid
    for pid in started(folder):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    shutil.rmtree(folder)


def exercise(
    built: Built, home: Path, scenario: str, *arguments: str, startable: bool = False
) -> None:
    environment = {
        "KLYUCH_HOME": str(home),
        "KLYUCH_DAEMON": str(home / "klyuch") if startable else "/nonexistent/klyuch",
        "PATH": os.environ["PATH"],
        "EXERCISE_ROUNDS": ROUNDS,
        "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    done = subprocess.run(
        [built.program, built.library, scenario, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_hostile_host_finds_no_error_of_memory(
    scenario: str, built: Built, daemon: tuple[Path, int]
) -> None:
    exercise(built, daemon[0], scenario)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_threads_of_a_hostile_host_find_no_data_race(
    scenario: str, threaded: Built, daemon: tuple[Path, int]
) -> None:
    exercise(threaded, daemon[0], scenario)


def test_daemons_that_die_among_threads_leave_neither_races_nor_errors_of_memory(
    built: Built, threaded: Built, daemon: tuple[Path, int]
) -> None:
    for one in (built, threaded):
        exercise(one, daemon[0], "daemon_restarts", startable=True)


def test_daemon_killed_in_the_middle_of_calls(built: Built, daemon: tuple[Path, int]) -> None:
    home, pid = daemon
    exercise(built, home, "daemon_dies", str(pid))


def test_a_real_program_with_a_real_daemon_finds_no_error_of_memory(
    built: Built, token: ScratchToken, tmp_path: Path
) -> None:
    """pkcs11-tool is not instrumented, so the sanitizers' library is loaded before everything."""
    found = subprocess.run(
        [*compiler(), "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    environment = os.environ | {
        "LD_PRELOAD": found.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",  # the program's own
    }
    message, signature = tmp_path / "message", tmp_path / "signature"
    message.write_bytes(b"under the sanitizers" * 10_000)
    user = ("--login", "--pin", token.pin)
    for arguments in (
        ("-L",),
        ("-M",),
        (*user, "--keypairgen", "--key-type", "rsa:2048", "--id", "01"),
        (*user, "--sign", "-m", "SHA256-RSA-PKCS", "--id", "01", "-i", message, "-o", signature),
        (*user, "-O"),
        (*user, "--test"),
        (*user, "--test-fork"),
    ):
        done = subprocess.run(
            [program("pkcs11-tool", "opensc"), "--module", built.library, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, "ERROR: AddressSanitizer" in done.stderr) == (0, False), done
        assert "runtime error" not in done.stderr
    assert signature.stat().st_size == 256


def test_the_sanitizers_see_an_error_where_there_is_one(tmp_path: Path) -> None:
    source = tmp_path / "wrong.c"
    source.write_text(
        "#include <stdlib.h>\n"
        "int main(void) { volatile char *p = malloc(1); free((void *)p); return p[0]; }\n"
    )
    program = tmp_path / "wrong"
    subprocess.run([*compiler(), *MEMORY, "-o", program, source], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "heap-use-after-free" in done.stderr


def test_the_sanitizers_see_a_race_where_there_is_one(tmp_path: Path) -> None:
    source = tmp_path / "race.c"
    source.write_text(
        "#include <pthread.h>\n"
        "static volatile int shared;\n"
        "static void *add(void *none) { for (int i = 0; i < 100000; i++) shared++; return none; }\n"
        "int main(void) { pthread_t one; pthread_create(&one, 0, add, 0); add(0);\n"
        "                 return pthread_join(one, 0); }\n"
    )
    program = tmp_path / "race"
    subprocess.run([*compiler(), *RACES, "-pthread", "-o", program, source], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "data race" in done.stderr
