"""Who is measured: a small C program a peer, so that no interpreter stands between it and us."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

from hatch_build import compiler
from host_tools.cryptoki import Cryptoki
from host_tools.testing import Scratch
from pkcs11_module import _constants as c

LABEL = "bench"
PIN, SO_PIN = "481516", "23423108"
NATIVE = Path(__file__).parent / "native"
CRYPTOKI = Path(__file__).parents[1] / "pkcs11_module" / "native" / "generated"
_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
_PATIENCE = 10.0

Command: TypeAlias = Sequence[str | Path]

OURS, SOFTHSM, P11KIT, OPENSSL = "klyuch", "softhsm2", "p11-kit", "openssl"


class Unavailable(Exception):
    """A peer is not installed; the message says how to get it."""


class Peer:
    """A process that loads a library and repeats what it is told; the commands are in client.c."""

    def __init__(self, name: str, command: Command, environment: Mapping[str, str]):
        self.name = name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def run(self, *words: object) -> tuple[int, float]:
        """How often something was done, and the seconds it took. Raises RuntimeError."""
        told = self._process.stdin
        assert told is not None
        command = " ".join(map(str, words))
        told.write(command + "\n")
        told.flush()
        return self.answer(command[:60])

    def answer(self, what: str) -> tuple[int, float]:
        """What the program answers next: a count, and seconds. Raises RuntimeError."""
        answers = self._process.stdout
        assert answers is not None
        line = answers.readline()
        match line.split():
            case ["done", count, nanoseconds]:
                return int(count), int(nanoseconds) / 1e9
        raise RuntimeError(f"{self.name}: {what}: {line or 'it ended'}")

    def rate(self, *words: object) -> float:
        """How many times a second the command's action was done."""
        count, seconds = self.run(*words)
        return count / seconds

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def _find(name: str, package: str) -> Path:
    for folder in map(Path, _FOLDERS):
        for path in sorted(folder.rglob(name)) if folder.exists() else ():
            return path
    raise Unavailable(f"{name} is not installed (Debian: {package})")


def compile_program(name: str, folder: Path, *options: str) -> Path:
    """The measuring program of that name. Raises CalledProcessError with the compiler's words."""
    program = folder / name
    flags = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{CRYPTOKI}")
    source = NATIVE / f"{name}.c"
    subprocess.run([*compiler(), *flags, "-o", program, source, *options], check=True)
    return program


@contextmanager
def running(name: str, command: Command, environment: Mapping[str, str]) -> Iterator[Peer]:
    """A peer that ends with the context."""
    peer = Peer(name, command, environment)
    try:
        yield peer
    finally:
        peer.close()


@contextmanager
def klyuch(client: Path) -> Iterator[Peer]:
    """A new token of ours in a throw-away home, with a daemon of its own."""
    with Scratch() as scratch:
        scratch.create_token(LABEL, pin=PIN, so_pin=SO_PIN)
        command: Command = [client, scratch.library, LABEL, PIN]
        with running(OURS, command, scratch.environment) as peer:
            yield peer


@contextmanager
def softhsm_token(folder: Path) -> Iterator[dict[str, str]]:
    """A new SoftHSM2 token; gives the environment in which it is found."""
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    environment = {"SOFTHSM2_CONF": str(configuration)}
    os.environ.update(environment)
    cryptoki = Cryptoki(softhsm_library())
    cryptoki.initialize()
    cryptoki.init_token(cryptoki.slots()[0], SO_PIN.encode(), LABEL)
    # An initialised SoftHSM2 token moves to another slot at the next C_Initialize.
    cryptoki.finalize()
    cryptoki.initialize()
    with cryptoki.open_session(cryptoki.slots()[0]) as session:
        session.login(c.CKU_SO, SO_PIN.encode())
        session.init_pin(PIN.encode())
        session.logout()
    cryptoki.finalize()
    yield environment


def softhsm_library() -> Path:
    """Where SoftHSM2 is. Raises Unavailable."""
    return _find("libsofthsm2.so", "softhsm2")


@contextmanager
def p11kit_server(folder: Path, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """SoftHSM2 served by `p11-kit server`; gives the environment of its clients."""
    if shutil.which("p11-kit") is None:
        raise Unavailable("p11-kit is not installed (Debian: p11-kit)")
    address = folder / "p11-kit"
    served: Command = ["--provider", softhsm_library(), "pkcs11:"]
    server = subprocess.Popen(
        ["p11-kit", "server", "--foreground", "--name", address, *served],
        stdout=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    try:
        deadline = time.monotonic() + _PATIENCE
        while not address.exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("p11-kit server does not start")
            time.sleep(0.01)
        yield {**environment, "P11_KIT_SERVER_ADDRESS": f"unix:path={address}"}
    finally:
        server.terminate()
        server.wait()


@contextmanager
def peers(folder: Path, client: Path) -> Iterator[dict[str, Peer]]:
    """Every peer by its name, ours first; the tokens are open and the user logged in."""
    with ExitStack() as stack:
        below = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="klyuch-bench-")))
        hsm = stack.enter_context(softhsm_token(below))
        served = stack.enter_context(p11kit_server(below, hsm))
        remote = _find("p11-kit-client.so", "p11-kit-modules")
        openssl = compile_program("openssl", folder, "-l:libcrypto.so.3")
        made = [
            stack.enter_context(klyuch(client)),
            stack.enter_context(running(SOFTHSM, [client, softhsm_library(), LABEL, PIN], hsm)),
            stack.enter_context(running(P11KIT, [client, remote, LABEL, PIN], served)),
            stack.enter_context(running(OPENSSL, [openssl], {})),
        ]
        for peer in made[:-1]:
            peer.run("open")
        yield {peer.name: peer for peer in made}


def python_imports(module: str) -> list[str]:
    """The command of a Python that imports a module and ends."""
    return [sys.executable, "-c", f"import {module}"]
