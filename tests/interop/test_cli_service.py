"""``klyuch module`` and ``klyuch doctor`` on sound and on broken homes."""

import json
from pathlib import Path

import pytest

from host_tools.testing import Command, Scratch, ScratchToken


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
    assert "apt-get install opensc" in str(findings["pkcs11-tool"]["found"])
    assert findings["compiler"]["ok"]
