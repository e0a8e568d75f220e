"""libFuzzer on the C side of the PKCS#11 library: hostile answers, arbitrary graphs of arguments.

The short campaign has a fixed seed and a number of runs, so that it is the same every time; the
nightly one is longer and starts from another seed each time, which libFuzzer prints.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import pytest

from hatch_build import PKCS11
from tests.conftest import program
from tests.faults import fuzz_calls

NIGHTLY: Final = os.environ.get("KLYUCH_PROFILE") == "nightly"
RUNS: Final = 3_000_000 if NIGHTLY else 30_000
CONTROL_RUNS: Final = 100_000
SOURCES: Final = (
    "call.c",
    "get.c",
    "put.c",
    "channel.c",
    "ear.c",
    "promise.c",
    "home.c",
    "module.c",
    "generated/stubs.c",
    "generated/parameters.c",
)
HARNESS: Final = Path(__file__).with_name("native")
FLAGS: Final = (
    "-std=gnu11",
    "-fsanitize=fuzzer,address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
    "-g",
    "-O1",
    # Answers come from the input instead of a socket.
    "-Drecv=fuzz_recv",
)


def compile_with(folder: Path, *arguments: str | Path) -> None:
    """Run the compiler with the fuzzer's options; includes are those of the library."""
    command = [
        program("clang", "clang libclang-rt-14-dev"),
        *FLAGS,
        f"-I{PKCS11.native}",
        f"-I{HARNESS}",
    ]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr


def link(folder: Path, objects: Iterable[Path]) -> Path:
    target = folder / "fuzz"
    compile_with(folder, "-o", target, *objects, "-ldl")
    return target


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The compiled sources of the library and of the fuzzer, by their names."""
    folder = tmp_path_factory.mktemp("objects")
    (folder / "calls.c").write_text(fuzz_calls.source())
    sources = [*(PKCS11.native / name for name in SOURCES), HARNESS / "fuzz.c", folder / "calls.c"]
    compile_with(folder, "-c", *sources)
    return {source.name: folder / f"{source.stem}.o" for source in sources}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs that the table gives."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, data in fuzz_calls.seeds():
        (folder / name).write_bytes(data)
    return folder


def fuzz(target: Path, corpus: Path, runs: int, seed: int) -> subprocess.CompletedProcess[str]:
    """What libFuzzer finds from these inputs; new ones stay beside the program."""
    found = target.parent / "found"
    found.mkdir(exist_ok=True)
    return subprocess.run(
        [
            target,
            f"-runs={runs}",
            f"-seed={seed}",
            "-max_len=2048",
            "-timeout=20",
            "-use_value_profile=1",
            f"-artifact_prefix={target.parent}/",
            found,
            corpus,
        ],
        capture_output=True,
        text=True,
        timeout=3 * 3600,
        check=False,
        env={"ASAN_OPTIONS": "detect_leaks=1", "PATH": os.environ["PATH"]},
    )


def test_neither_answers_nor_arguments_break_the_library(
    objects: Mapping[str, Path], corpus: Path, tmp_path: Path
) -> None:
    done = fuzz(link(tmp_path, objects.values()), corpus, RUNS, seed=0 if NIGHTLY else 1)
    assert done.returncode == 0, done.stderr[-6000:]


MISSING_CHECKS: Final[Mapping[str, tuple[str, str, str]]] = {
    "end of the frame": ("get.c", "length > call->size - call->at", "length > FRAME_MAX"),
    "room of a buffer": ("get.c", "if (data == NULL || size > capacity)", "if (data == NULL)"),
    "room of a list": ("get.c", "items == NULL || size > capacity", "items == NULL"),
    "room of an attribute": ("get.c", "|| size > room_of(attribute)", ""),
    "kind of an attribute": ("get.c", "is_nested(attribute->type) && is_nested(type)", "true"),
    "room of a nonce": ("get.c", "|| size > room ||", "||"),
    "null pointer": ("put.c", "if (data == NULL && length > 0) {", "if (length == 12345) {"),
    "depth of a template": ("put.c", "|| depth > NESTING_MAX", ""),
    "size of a structure": (
        "put.c",
        "else if (mechanism.ulParameterLen != structure->size)",
        "else if (false)",
    ),
    "number of attributes": ("put.c", "|| count > ATTRIBUTES_MAX", ""),
    "bits of a tag": ("put.c", "if (length > field->size || length > sizeof zeros)", "if (false)"),
}


@pytest.mark.parametrize("check", MISSING_CHECKS.values(), ids=MISSING_CHECKS.keys())
def test_the_fuzzer_notices_a_missing_check(
    check: tuple[str, str, str], objects: Mapping[str, Path], corpus: Path, tmp_path: Path
) -> None:
    name, present, without = check
    text = (PKCS11.native / name).read_text()
    assert text.count(present) == 1
    (tmp_path / name).write_text(text.replace(present, without))
    compile_with(tmp_path, "-c", name)
    edited = tmp_path / Path(name).with_suffix(".o")
    target = link(tmp_path, (dict(objects) | {name: edited}).values())
    done = fuzz(target, corpus, CONTROL_RUNS, seed=1)
    assert done.returncode != 0
    assert "SUMMARY: " in done.stderr
