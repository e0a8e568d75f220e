"""Hypothesis profiles, throw-away homes and the real programs the tests talk to."""

import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, settings

from host_tools.cli.commands import cli
from host_tools.testing import Command, Run, Scratch, ScratchToken
from token_fw.crypto.gost import backend as gost

# A suite that was started in the background of a shell ignores Ctrl+C; what it starts must not.
signal.signal(signal.SIGINT, signal.default_int_handler)

_CALM = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("ci", max_examples=100, deadline=None, suppress_health_check=_CALM)
settings.register_profile(
    "nightly", max_examples=20_000, deadline=None, print_blob=True, suppress_health_check=_CALM
)
settings.load_profile(os.environ.get("KLYUCH_PROFILE", "ci"))


def program(name: str, package: str) -> str:
    """The path of a peer program; a missing one is a failure, never a skip."""
    # Debian keeps servers out of the PATH of ordinary users.
    path = shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        pytest.fail(f"{name} is missing: apt-get install {package}")
    return path


def _expect(done: subprocess.CompletedProcess[str], code: int) -> subprocess.CompletedProcess[str]:
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scratch]:
    """A throw-away home of this process and of every program it runs."""
    with Scratch() as scratch:
        for name, value in scratch.environment.items():
            monkeypatch.setenv(name, value)
        yield scratch


@pytest.fixture
def klyuch(home: Scratch) -> Run:
    """Runs the command line in the throw-away home; ``code`` is the exit code to expect."""

    def run(
        *arguments: str, code: int = 0, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "host_tools.cli", *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
            env={**os.environ, **environment},
        )
        return _expect(done, code)

    return run


@pytest.fixture
def command(home: Scratch) -> Command:
    """Runs the command line within this process, which is much faster; no terminal, no PINs.

    Environment variables are given by name; ``code`` is the exit code to expect.
    """

    def run(*arguments: str | Path, code: int = 0, stdin: str = "", **environment: str) -> Result:
        result = CliRunner().invoke(cli, [*map(str, arguments)], input=stdin, env=environment)
        trouble = "".join(traceback.format_exception(result.exception)) if code == 0 else ""
        assert result.exit_code == code, f"exit code {result.exit_code}\n{result.output}{trouble}"
        return result

    assert home.path.is_dir()
    return run


@pytest.fixture
def token(home: Scratch) -> ScratchToken:
    """An initialised token with both PINs set, in the throw-away home."""
    return home.create_token("Work")


@pytest.fixture
def pkcs11_tool(home: Scratch) -> Run:
    """Runs OpenSC's pkcs11-tool on our library; ``code`` is the exit code to expect."""
    tool = program("pkcs11-tool", "opensc")

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [tool, "--module", str(home.library), *arguments],
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
        )
        return _expect(done, code)

    return run


@pytest.fixture
def openssl() -> Run:
    """Runs the openssl program; ``code`` is the exit code to expect."""
    tool = program("openssl", "openssl")

    def run(
        *arguments: str | Path, code: int = 0, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [tool, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
        return _expect(done, code)

    return run


@pytest.fixture(scope="module", params=[gost.PURE, gost.ENGINE])
def gost_implementation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Python computes GOST, then the engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gost, "_choice", gost.choose(request.param))
        yield
