"""OpenSSH logs in to a loopback sshd with keys that live on the token."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives import serialization

from host_tools import objects
from host_tools.cryptoki import Cryptoki
from host_tools.testing import Scratch
from tests.conftest import program
from tests.interop.consumers import KINDS, Owner, call
from tests.interop.processes import Process

_LOOPBACK: Final = "127.0.0.1"
# Where sshd, run by root, locks itself in before a login. Debian makes it when the service starts.
_EMPTY_FOLDER: Final = Path("/run/sshd")
_SERVER: Final = """
ListenAddress {address}:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile none
StrictModes no
UsePAM no
AuthenticationMethods publickey
PermitRootLogin prohibit-password
ExposeAuthInfo yes
ForceCommand cat "$SSH_USER_AUTH"
"""
_CLIENT: Final = """
Hostname {address}
Port {port}
UserKnownHostsFile {folder}/known
GlobalKnownHostsFile none
StrictHostKeyChecking yes
PreferredAuthentications publickey
IdentityFile none
"""
# Answers whoever asks for a PIN; the PIN itself stays in the environment.
_ASKPASS: Final = """#!/bin/sh
echo asked >>"$ASKED"
printf '%s\\n' "$ASKPASS_PIN"
"""


class Ssh:
    """A user's OpenSSH: a configuration of its own, an agent, and where sshd listens."""

    def __init__(self, owner: Owner, module: Path, port: int) -> None:
        self.folder: Final = owner.folder
        self.module: Final = module
        self.user: Final = pwd.getpwuid(os.getuid()).pw_name
        self._asked = self.folder / "asked"
        askpass = self.folder / "askpass"
        askpass.write_text(_ASKPASS)
        askpass.chmod(0o700)
        self.environment: Final = {
            "HOME": str(self.folder),
            "SSH_AUTH_SOCK": str(self.folder / "agent"),
            "SSH_ASKPASS": str(askpass),
            "SSH_ASKPASS_REQUIRE": "force",
            "ASKED": str(self._asked),
            "ASKPASS_PIN": owner.token.pin,
        }
        self._config = self.folder / "ssh_config"
        self._config.write_text(_CLIENT.format(address=_LOOPBACK, port=port, folder=self.folder))

    def add(self, *, code: int = 0, pin: str = "") -> str:
        """`ssh-add -s`; gives what it printed."""
        extra = {"ASKPASS_PIN": pin} if pin else {}
        command = (program("ssh-add", "openssh-client"), "-s", self.module)
        done = call(command, {**self.environment, **extra}, code=code)
        return done.stdout + done.stderr

    def remove(self) -> None:
        call([program("ssh-add", "openssh-client"), "-e", self.module], self.environment)

    def listed(self, *, code: int = 0) -> list[str]:
        """The public keys that the agent offers, type and value."""
        done = call([program("ssh-add", "openssh-client"), "-L"], self.environment, code=code)
        return _keys(done.stdout) if code == 0 else []

    def log_in(self, *options: str | Path, code: int = 0) -> str:
        """What sshd says the login was made with; of a refusal, what ssh printed."""
        where = f"{self.user}@loopback"
        command = (program("ssh", "openssh-client"), "-F", self._config, *options, where)
        done = call(command, self.environment, code=code)
        return done.stdout.strip() if code == 0 else done.stderr

    def prompts(self) -> int:
        """How often somebody asked for a PIN so far."""
        return len(self._asked.read_text().split()) if self._asked.exists() else 0


def _keys(text: str) -> list[str]:
    """Type and value of public keys in OpenSSH's format, without their comments."""
    return [" ".join(line.split()[:2]) for line in text.splitlines()]


def _public_key(owner: Owner) -> str:
    """The one public key on the token as OpenSSH writes it."""
    with Cryptoki() as library, library.open_session(owner.token.slot) as session:
        (key,) = objects.find_keys(session)
        spki = objects.public_key(session, key.public).to_spki()
    formats = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return serialization.load_der_public_key(spki).public_bytes(*formats).decode()


def _free_port() -> int:
    with socket.create_server((_LOOPBACK, 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def _empty_folder() -> Iterator[None]:
    made = os.getuid() == 0 and not _EMPTY_FOLDER.exists()
    if made:
        _EMPTY_FOLDER.mkdir(mode=0o755)
    try:
        yield
    finally:
        if made:
            _EMPTY_FOLDER.rmdir()


@contextmanager
def _server(folder: Path, port: int) -> Iterator[None]:
    """An sshd of this user on loopback."""
    keygen = program("ssh-keygen", "openssh-client")
    call([keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / "host"], {})
    host_key = (folder / "host.pub").read_text()
    (folder / "known").write_text(f"[{_LOOPBACK}]:{port} {host_key}")
    config = folder / "sshd_config"
    config.write_text(_SERVER.format(address=_LOOPBACK, port=port, folder=folder))
    sshd = program("sshd", "openssh-server")
    with _empty_folder(), Process([sshd, "-D", "-e", "-f", config], os.environ) as server:
        server.wait_for(f"Server listening on {_LOOPBACK}")
        yield


@pytest.fixture
def ssh(request: pytest.FixtureRequest, owner: Owner, home: Scratch) -> Iterator[Ssh]:
    """A user whose key, of the kind that is the parameter, was made on the token.

    He may log in with it.
    """
    owner.make_key(request.param)
    (owner.folder / "authorized").write_text(_public_key(owner) + "\n")
    port = _free_port()
    user = Ssh(owner, home.library, port)
    with _server(owner.folder, port):
        yield user


@pytest.fixture
def agent(ssh: Ssh) -> Iterator[None]:
    """ssh-agent, which takes the library from wherever it lies."""
    command = (program("ssh-agent", "openssh-client"), "-D", "-P", "*", "-a")
    listening = ssh.environment["SSH_AUTH_SOCK"]
    with Process([*command, listening], {**os.environ, **ssh.environment}) as process:
        process.wait_for("SSH_AUTH_SOCK=")
        yield


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("ssh", KINDS, indirect=True)
def test_the_agent_logs_in_until_the_key_is_removed(ssh: Ssh, owner: Owner) -> None:
    key = _public_key(owner)
    ssh.log_in(code=255)
    ssh.add()
    assert ssh.listed() == [key]
    for _ in range(2):
        assert ssh.log_in() == f"publickey {key}"
    assert ssh.prompts() == 1

    ssh.remove()
    assert ssh.listed(code=1) == []
    assert "Permission denied" in ssh.log_in(code=255)

    ssh.add()
    assert ssh.log_in() == f"publickey {key}"
    assert ssh.prompts() == 2


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("ssh", ["P-256"], indirect=True)
def test_a_wrong_pin_gives_the_agent_no_key_and_spends_one_try(ssh: Ssh, owner: Owner) -> None:
    assert "Could not add card" in ssh.add(pin="000000", code=1)
    assert owner.tries_left() == 2
    assert ssh.listed(code=1) == []
    ssh.add()
    assert ssh.listed() == [_public_key(owner)]
    assert owner.tries_left() == 3


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("ssh", ["RSA-2048"], indirect=True)
def test_a_token_that_is_out_logs_nobody_in(ssh: Ssh, owner: Owner) -> None:
    ssh.add()
    owner.run("token", "remove", owner.token.label)
    assert "Permission denied" in ssh.log_in(code=255)
    owner.run("token", "insert", owner.token.label)
    ssh.remove()
    ssh.add()
    assert ssh.log_in() == f"publickey {_public_key(owner)}"


@pytest.mark.parametrize("ssh", KINDS, indirect=True)
def test_ssh_itself_takes_the_library(ssh: Ssh, owner: Owner) -> None:
    assert ssh.log_in("-I", ssh.module) == f"publickey {_public_key(owner)}"
    assert ssh.prompts() == 1


@pytest.mark.parametrize("ssh", KINDS, indirect=True)
def test_public_keys_are_shown_without_a_pin(ssh: Ssh, owner: Owner) -> None:
    done = call([program("ssh-keygen", "openssh-client"), "-D", ssh.module], ssh.environment)
    assert _keys(done.stdout) == [_public_key(owner)]
    assert ssh.prompts() == 0
