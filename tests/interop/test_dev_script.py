"""`./dev` on machines that lack something: the real script, with a PATH of chosen tools."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SYSTEM_TOOLS = (
    *("sh", "dirname", "cat", "cksum", "head", "awk", "grep", "ls", "mkdir", "env"),
    *("find", "sort", "chmod"),
)

GOOD = "exit 0"
BAD = "exit 1"
ORDINARY_USER = {"id": "echo 1000", "sudo": BAD}
COMPILER = {"cc": "case $1 in -print*) echo /lib/libasan.so;; esac"}
HEADERS = {"swig": GOOD, "pkg-config": GOOD}
# `-m venv` makes an environment whose programs note in `calls` how they were started.
PYTHON = {
    "python3": """
case "$*" in
*venv*.venv)
    mkdir -p .venv/bin
    for name in python uv pytest klyuch; do
        printf '#!/bin/sh\\necho %s "$@" >>calls\\n' $name >.venv/bin/$name
        chmod +x .venv/bin/$name
    done
    for library in pkcs11_module/libklyuch-pkcs11.so host_tools/bridge/libklyuch-ifd.so; do
        echo 'case $1 in sync) : >'$library';; esac' >>.venv/bin/uv
    done ;;
*sysconfig*) echo include ;;
esac"""
}
# Stand-ins for the programs that the tests are run with; libraries are looked for in the system.
PEERS = {
    **dict.fromkeys(("openssl", "p11-kit", "pcscd", "pkcs11-tool", "strace", "clang", "rm"), GOOD),
    **dict.fromkeys(("pcsc_scan", "yubico-piv-tool", "firefox-esr", "chromium", "curl"), GOOD),
    **dict.fromkeys(("chromedriver", "Xvfb", "xdotool", "modutil", "p11tool", "pdfsig"), GOOD),
    **dict.fromkeys(("sshd", "ssh-agent"), GOOD),
    "mktemp": "echo fuzzer",
}
APT_GET = {"apt-get": 'echo apt-get "$@" >>calls'}


@dataclass(frozen=True, slots=True)
class Result:
    """How a run of `./dev` ended."""

    code: int
    output: str
    calls: list[str]


class Machine:
    """A copy of what `./dev` reads, on a machine that has just the given tools."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "checkout"
        self.tools = folder / "bin"
        self.home = folder / "home"
        (self.checkout / "include").mkdir(parents=True)
        (self.checkout / "include" / "Python.h").touch()
        sources = [
            self.checkout / path / "native" for path in ("pkcs11_module", "host_tools/bridge")
        ]
        for path in (*sources, self.tools, self.home):
            path.mkdir(parents=True)
        for name in ("dev", "uv.lock", "pyproject.toml", "hatch_build.py"):
            shutil.copy2(REPOSITORY / name, self.checkout / name)
        for path in sources:
            (path / "one.c").write_text("int one;\n")
        for name in SYSTEM_TOOLS:
            found = shutil.which(name)
            assert found is not None, name
            (self.tools / name).symlink_to(found)

    def has(self, *tools: Mapping[str, str]) -> None:
        for name, script in (item for group in tools for item in group.items()):
            tool = self.tools / name
            tool.write_text(f"#!/bin/sh\n{script}\n")
            tool.chmod(0o755)

    def dev(self, *arguments: str) -> Result:
        calls = self.checkout / "calls"
        calls.unlink(missing_ok=True)
        done = subprocess.run(
            [self.checkout / "dev", *arguments],
            env={"PATH": str(self.tools), "HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        noted = calls.read_text().splitlines() if calls.exists() else []
        return Result(done.returncode, done.stdout + done.stderr, noted)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_demo_installs_has_fido2_which_is_wheels_alone() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    extra = project["project"]["optional-dependencies"]["fido"]
    assert {*extra} <= {*project["dependency-groups"]["dev"]}
    lock = tomllib.loads((REPOSITORY / "uv.lock").read_text(encoding="utf-8"))
    packages = {one["name"]: one for one in lock["package"]}
    needed = ["fido2"]
    for name in needed:
        assert packages[name]["wheels"]
        further = [one["name"] for one in packages[name].get("dependencies", ())]
        needed += [one for one in further if one not in needed]


def test_all_that_is_missing_is_named_where_there_is_no_apt(machine: Machine) -> None:
    machine.has(ORDINARY_USER)
    result = machine.dev("test")
    assert result.code == 1
    for what in ("Python 3.11", "C compiler", "openssl", "pkcs11-tool", "strace"):
        assert what in result.output
    assert "no apt-get here" in result.output


def test_an_ordinary_user_gets_the_command_for_root(machine: Machine) -> None:
    machine.has(ORDINARY_USER, PYTHON, APT_GET)
    result = machine.dev("demo")
    assert result.code == 1
    assert result.output.endswith("apt-get install --no-install-recommends gcc libc6-dev openssl\n")
    assert result.calls == []


def test_what_pyscard_is_compiled_with_is_needed_where_tests_run(machine: Machine) -> None:
    machine.has(ORDINARY_USER, PYTHON, COMPILER, {"openssl": GOOD})
    assert machine.dev("demo").code == 0
    (machine.checkout / "include" / "Python.h").unlink()
    machine.has(APT_GET, {"cc": f"case $* in *PCSC*) {BAD};; esac"})
    output = machine.dev("check").output
    packages = "swig pkg-config libpcsclite-dev python3-dev"
    assert f"apt-get install --no-install-recommends {packages}" in output


def test_a_compiler_without_headers_is_no_compiler(machine: Machine) -> None:
    machine.has(ORDINARY_USER, PYTHON, {"cc": BAD, "openssl": GOOD})
    result = machine.dev("demo")
    assert result.code == 1
    assert "C compiler and the headers" in result.output
    assert "openssl" not in result.output


def test_a_python_that_is_too_old_or_has_no_venv_is_named(machine: Machine) -> None:
    machine.has(ORDINARY_USER, COMPILER, {"python3": BAD, "openssl": GOOD})
    result = machine.dev("demo")
    assert result.code == 1
    assert "Python 3.11 or later with venv and pip" in result.output
    assert "python3-venv" in result.output


def test_root_installs_what_is_missing_and_no_more(machine: Machine) -> None:
    installs_openssl = 'tool="${0%/*}/openssl"; : >"$tool"; chmod +x "$tool"'
    machine.has(PYTHON, COMPILER, {"id": "echo 0"})
    machine.has({"apt-get": "\n".join((APT_GET["apt-get"], installs_openssl))})
    result = machine.dev("demo")
    assert result.code == 0, result.output
    assert result.calls[:2] == [
        "apt-get update -q",
        "apt-get install -q -y --no-install-recommends openssl",
    ]
    assert result.calls[-1] == "klyuch demo"


def test_sudo_is_used_where_it_asks_for_no_password(machine: Machine) -> None:
    machine.has(PYTHON, COMPILER, APT_GET, {"id": "echo 1000"})
    machine.has({"sudo": 'shift\necho sudo >>calls\nexec "$@"', "true": GOOD})
    result = machine.dev("demo")
    assert "sudo" in result.calls
    assert "apt-get install -q -y --no-install-recommends openssl" in result.calls


def test_what_apt_could_not_bring_is_named(machine: Machine) -> None:
    machine.has(PYTHON, COMPILER, APT_GET, {"id": "echo 0"})
    result = machine.dev("demo")
    assert result.code == 1
    assert "still missing" in result.output
    assert result.output.rstrip().endswith("openssl")


def test_a_failing_apt_stops_the_job(machine: Machine) -> None:
    machine.has(PYTHON, COMPILER, {"id": "echo 0", "apt-get": BAD})
    result = machine.dev("demo")
    assert result.code == 1
    assert "apt-get failed" in result.output


def test_the_second_run_sets_nothing_up(machine: Machine) -> None:
    machine.has(ORDINARY_USER, PYTHON, COMPILER, {"openssl": GOOD})
    first = machine.dev("demo")
    assert first.code == 0, first.output
    assert "uv sync --quiet --locked --reinstall-package klyuch" in first.calls
    second = machine.dev("demo", "--json")
    assert [call for call in second.calls if not call.startswith("python -c")] == [
        "klyuch demo --json"
    ]


def test_the_environment_of_the_checks_does_for_the_demonstration_too(machine: Machine) -> None:
    machine.has(PYTHON, COMPILER, {"openssl": GOOD})
    synced = "uv sync --quiet --locked --reinstall-package klyuch"
    assert synced in machine.dev("demo").calls
    machine.has(HEADERS)
    assert f"{synced} --group peers" in machine.dev("check").calls
    third = machine.dev("demo").calls
    assert [call for call in third if not call.startswith("python -c")] == ["klyuch demo"]


@pytest.mark.parametrize("folder", ["pkcs11_module", "host_tools/bridge"])
def test_a_changed_source_of_a_library_is_compiled_again(machine: Machine, folder: str) -> None:
    machine.has(ORDINARY_USER, PYTHON, COMPILER, {"openssl": GOOD})
    machine.dev("demo")
    (machine.checkout / folder / "native" / "one.c").write_text("int other;\n")
    result = machine.dev("demo")
    assert "uv sync --quiet --locked --reinstall-package klyuch" in result.calls
    assert not any("pip" in call for call in result.calls)


def test_a_moved_checkout_gets_an_environment_of_its_own(machine: Machine, tmp_path: Path) -> None:
    machine.has(ORDINARY_USER, PYTHON, COMPILER, {"openssl": GOOD})
    machine.dev("demo")
    machine.checkout = machine.checkout.rename(tmp_path / "moved")
    result = machine.dev("demo")
    assert any(call.startswith("python -m pip install") for call in result.calls)


@pytest.mark.parametrize("job", ["test", "nightly"])
def test_the_tests_run_several_at_a_time_unless_told_otherwise(machine: Machine, job: str) -> None:
    machine.has(ORDINARY_USER, PYTHON, COMPILER, HEADERS, PEERS)
    result = machine.dev(job, "-n", "0", "tests/unit")
    assert result.code == 0, result.output
    assert result.calls[-1].startswith("pytest -n auto --maxprocesses 4 --dist loadfile ")
    # pytest takes the last of two numbers.
    assert result.calls[-1].endswith(" -n 0 tests/unit")


def test_an_unknown_job_is_refused_with_the_list_of_jobs(machine: Machine) -> None:
    result = machine.dev("tset")
    assert result.code == 2
    assert "no job named tset" in result.output
    assert "nightly" in result.output
