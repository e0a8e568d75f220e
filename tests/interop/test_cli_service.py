"""``klyuch module`` and ``klyuch doctor`` on sound and on broken homes."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from host_tools.testing import Command, Run, Scratch, ScratchToken

_NOBODY = 65534


def _findings(command: Command, code: int = 0, **environment: str) -> dict[str, dict[str, object]]:
    shown = command("doctor", "--json", code=code, **environment).stdout
    return {finding["what"]: finding for finding in json.loads(shown)}


def test_module_prints_the_path_of_the_library(command: Command) -> None:
    path = command("module").stdout.strip()
    assert Path(path).name == "libklyuch-pkcs11.so"
    assert Path(path).is_file()
    assert json.loads(command("module", "--json").stdout) == {"module": path}


def test_a_sound_home_has_nothing_to_mend(command: Command, token: ScratchToken) -> None:
    findings = _findings(command)
    assert {"Python", "packages", "compiler", "home", "daemon", "openssl"} <= set(findings)
    assert "3 of 3 tries left" in str(findings[f"token {token.label}"]["found"])
    assert "1 slots" in str(findings["PKCS#11"]["found"])
    assert "wrong" not in command("doctor").stdout


def test_an_open_home_is_reported_with_the_command_that_mends_it(
    command: Command, home: Scratch
) -> None:
    home.home.make()
    home.home.tokens.chmod(0o755)
    finding = _findings(command, code=1)["home"]
    assert finding["mend"] == f"Run: chmod 700 '{home.home.tokens}'"


@pytest.mark.parametrize("damage", ["store", "key"])
def test_a_damaged_token_is_reported_and_the_others_work(
    command: Command, home: Scratch, damage: str
) -> None:
    victim, _ = home.create_token("Victim"), home.create_token("Healthy")
    command("stop")
    path = home.home.store(victim.serial) if damage == "store" else home.home.key(victim.serial)
    path.write_bytes(b"\x55" * path.stat().st_size)
    findings = _findings(command, code=1)
    assert findings["token Healthy"]["ok"]
    hurt = findings["token Victim"]
    assert not hurt["ok"]
    assert victim.serial in str(hurt["found"])
    command("key", "generate", "P-256", "--token", "Healthy", KLYUCH_PIN="481516")
    refused = command("key", "list", "--token", "Victim", code=9)
    assert "corrupt" in refused.stderr
    command("token", "reset", "Victim", "--force", "--yes")
    assert _findings(command)[f"token {victim.serial}"]["ok"]


def test_a_locked_pin_is_reported(command: Command, token: ScratchToken) -> None:
    for code in (3, 3, 4):
        command("key", "generate", "P-256", code=code, KLYUCH_PIN="000000")
    finding = _findings(command, code=1)[f"token {token.label}"]
    assert "klyuch pin unblock" in str(finding["mend"])


def test_strays_and_a_damaged_registry_are_reported(command: Command, home: Scratch) -> None:
    token = home.create_token("Work")
    command("stop")
    home.home.registry.write_text("{")
    stray = home.home.store("00" * 8)
    assert _findings(command, code=1)["registry"]["mend"]
    home.home.damaged_registry.unlink()
    stray.touch()
    assert str(stray) in str(_findings(command, code=1)["files"]["found"])
    stray.unlink()
    assert token.label in command("token", "list").stdout


def test_missing_programs_are_named_with_their_package(command: Command, tmp_path: Path) -> None:
    findings = _findings(command, code=1, PATH=str(tmp_path))
    assert "apt-get install openssl" in str(findings["openssl"]["mend"])
    assert "apt-get install opensc" in str(findings["pkcs11-tool"]["mend"])
    assert findings["compiler"]["ok"]


@contextmanager
def _unprivileged(*folders: Path) -> Iterator[None]:
    """Own the folders and look at them as nobody where the tests run as root."""
    if os.getuid():
        yield
        return
    for folder in folders:
        os.chown(folder, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, 0, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def _is_reported_with_the_rest(command: Command, what: str) -> None:
    """The home is wrong, the PKCS#11 library gets no blame, and every other check is made."""
    findings = _findings(command, code=1)
    assert what in str(findings["home"]["found"])
    assert "KLYUCH_HOME" in str(findings["home"]["mend"])
    assert "./dev" not in str(findings["PKCS#11"]["mend"])
    assert {"daemon", "openssl", "pkcs11-tool"} <= set(findings)


def test_a_home_that_cannot_be_written_to_is_named(command: Command, home: Scratch) -> None:
    home.home.make()
    home.path.chmod(0o500)
    with _unprivileged(home.path, home.home.tokens, home.home.run):
        refused = command("token", "list", code=6)
        assert f"{home.path} cannot be written to" in refused.stderr
        assert "KLYUCH_HOME" in refused.stderr
        _is_reported_with_the_rest(command, "cannot be written to")


def test_a_home_that_is_a_file_is_named(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch(0o600)
    monkeypatch.setenv("KLYUCH_HOME", str(file))
    refused = command("token", "list", code=6)
    assert f"{file} is not a folder" in refused.stderr
    assert "KLYUCH_HOME" in refused.stderr
    _is_reported_with_the_rest(command, f"{file} is not a folder")


def test_a_folder_where_the_daemon_keeps_a_file_is_named(command: Command, home: Scratch) -> None:
    home.home.make()
    (home.home.run / "epoch").mkdir()
    refused = command("token", "list", code=6)
    assert f"{home.home.run}/epoch is a folder" in refused.stderr
    assert "mv " in refused.stderr
    finding = _findings(command, code=1)["home"]
    assert "epoch is a folder" in str(finding["found"])
    assert str(finding["mend"]) in refused.stderr


def test_a_home_that_cannot_be_entered_is_named(
    home: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "stat", denied)
    (problem,) = home.home.problems()
    assert str(problem) == f"{home.path} cannot be used: Permission denied."


def test_a_home_that_others_can_look_into_is_not_called_private(
    command: Command, home: Scratch
) -> None:
    assert "is private" in str(_findings(command)["home"]["found"])
    home.path.chmod(0o755)
    finding = _findings(command)["home"]
    assert "private" not in str(finding["found"])
    assert f"chmod 700 '{home.path}'" in str(finding["found"])


def test_a_text_that_is_not_utf_8_is_a_usage_error(klyuch: Run) -> None:
    pins = {"KLYUCH_PIN": "481516", "KLYUCH_SO_PIN": "23423108"}
    for action in ("create", "show"):
        refused = klyuch("token", action, "bad\udcff", code=2, **pins)
        assert "not valid UTF-8" in refused.stderr
