"""What ``klyuch doctor`` finds around the tokens, and that its commands bring what is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from host_tools import pcscd, workplace
from host_tools.cryptoki import LIBRARY
from host_tools.findings import Finding
from host_tools.testing import Run
from tests import cards
from tests.conftest import program
from tests.interop.vpcd_card import READER, VpcdCard, VpcdReader


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of somebody new."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def findings(reader_files: Path) -> dict[str, Finding]:
    return {finding.what: finding for finding in workplace.examine(reader_files)}


def mend(finding: Finding) -> None:
    """Do what the finding says."""
    for name in ("certutil", "modutil"):
        program(name, "libnss3-tools")
    subprocess.run(["sh", "-ec", finding.mend], check=True, capture_output=True, timeout=60)


def test_a_browser_gets_the_module_by_the_commands_that_are_told(person: Path) -> None:
    absent = findings(person)["browsers"]
    assert absent.ok
    mend(absent)
    unknown = findings(person)["browser"]
    assert (unknown.ok, "does not know" in unknown.found) == (True, True)
    mend(unknown)
    known = findings(person)["browser"]
    assert str(LIBRARY) in known.found
    assert known.mend == ""


def test_a_module_that_is_not_there_any_more_is_a_fault_that_is_mended(person: Path) -> None:
    mend(findings(person)["browsers"])
    mend(findings(person)["browser"])
    entry = person / ".pki" / "nssdb" / "pkcs11.txt"
    entry.write_text(entry.read_text().replace(str(LIBRARY), f"/gone/{LIBRARY.name}"))
    broken = findings(person)["browser"]
    assert not broken.ok
    mend(broken)
    assert findings(person)["browser"].mend == ""


def test_every_profile_of_firefox_is_looked_into(person: Path) -> None:
    for name in ("a.default", "b.work"):
        profile = person / ".mozilla" / "firefox" / name
        profile.mkdir(parents=True)
        (profile / "pkcs11.txt").write_text("library=\n")
    found = [item for item in workplace.examine(person) if item.what == "browser"]
    assert [Path(item.found.split()[0]).name for item in found] == ["a.default", "b.work"]


def test_a_reader_file_has_to_name_a_driver_that_is_there(person: Path) -> None:
    driver = person / "libklyuch-ifd.so"
    file = person / "klyuch"
    file.write_text(f'FRIENDLYNAME "Klyuch"\nLIBPATH {driver}\n')
    broken = findings(person)["reader driver"]
    assert not broken.ok
    driver.touch()
    sound = findings(person)["reader driver"]
    assert (sound.ok, sound.mend) == (True, "")
    file.unlink()
    absent = findings(person)["reader driver"]
    assert absent.ok
    assert absent.mend


@pytest.mark.parametrize(
    ("what", "package", "file"),
    [
        ("vpcd", "vsmartcard-vpcd", "usr/lib/pcsc/drivers/serial/libifdvpcd.so.0.8"),
        ("OpenSC module", "opensc-pkcs11", "usr/lib/x86_64-linux-gnu/opensc-pkcs11.so"),
    ],
)
def test_what_others_bring_is_found_or_its_package_told(
    tmp_path: Path, what: str, package: str, file: str
) -> None:
    def found() -> Finding:
        told = workplace.examine(tmp_path / "reader.conf.d", root=tmp_path)
        return next(finding for finding in told if finding.what == what)

    assert found() == Finding(what, True, "not installed", f"apt-get install {package}")
    library = tmp_path / file
    library.parent.mkdir(parents=True)
    library.touch()
    assert found() == Finding(what, True, str(library))


@pytest.mark.parametrize(("user", "ok"), [(0, True), (os.getuid(), True), (64, False)])
def test_a_pcscd_of_another_user_is_told_that_it_is_not_let_in(
    person: Path, user: int, ok: bool
) -> None:
    driver = person / "libklyuch-ifd.so"
    driver.touch()
    (person / "klyuch").write_text(f'FRIENDLYNAME "Klyuch"\nLIBPATH {driver}\n')
    processes = person / "processes"
    for number, comm, uid in ((1, "init", 64), (7, "pcscd", user)):
        process = processes / str(number)
        process.mkdir(parents=True)
        (process / "comm").write_text(f"{comm}\n")
        (process / "status").write_text(f"Name:\t{comm}\nUid:\t0\t{uid}\t{uid}\t{uid}\n")
    found = {item.what: item for item in workplace.examine(person, processes)}["reader driver"]
    assert found.ok == ok
    assert ("only root and you may connect" in found.found) != ok
    assert ("--vpcd" in found.mend) != ok


def test_the_user_of_a_running_pcscd_is_found() -> None:
    # A pcscd that has just been started is the shell that becomes it.
    with VpcdReader() as running, VpcdCard(running, cards.operational().connect()) as card:
        card.wait_until_seen()
        assert os.geteuid() in pcscd.users()


def test_the_readers_of_a_running_pcscd_are_told(klyuch: Run) -> None:
    with VpcdReader() as pcscd, VpcdCard(pcscd, cards.operational().connect()) as card:
        card.wait_until_seen()
        shown = klyuch("doctor", "--json", **pcscd.environment).stdout
    (readers,) = [item for item in json.loads(shown) if item["what"] == "readers"]
    assert f"{READER} (a card)" in readers["found"]


def test_a_pcscd_that_does_not_answer_is_no_fault_and_told_how_to_start(
    klyuch: Run, tmp_path: Path
) -> None:
    nobody = {"PCSCLITE_CSOCK_NAME": str(tmp_path / "nobody")}
    shown = klyuch("doctor", "--json", **nobody).stdout
    (readers,) = [item for item in json.loads(shown) if item["what"] == "readers"]
    assert readers["mend"] == "Start it: systemctl start pcscd.socket"
    told = klyuch("conformance", "run", "--reader", "Acme", code=6, **nobody).stderr
    assert "Start it: systemctl start pcscd.socket" in told


def test_a_pcscd_that_is_not_there_has_to_be_installed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pcscd, "SYSTEM_PROGRAMS", str(tmp_path))
    assert findings(tmp_path)["pcscd"].mend == "apt-get install pcscd"
    assert "apt-get install pcscd" in pcscd.remedy()


def test_without_pyscard_it_is_said_how_to_get_it() -> None:
    script = (
        "import sys; sys.modules['smartcard'] = None; from host_tools import workplace\n"
        "for finding in workplace.examine(): print(finding.what, finding.found, finding.mend)"
    )
    shown = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True
    ).stdout
    (readers,) = [line for line in shown.splitlines() if line.startswith("readers")]
    assert "pyscard" in readers
    assert f"Install it: {sys.executable} -m pip install 'pyscard>=" in readers


def gost(klyuch: Run, setting: str, code: int = 0, **environment: str) -> Finding:
    shown = klyuch("doctor", "--json", code=code, KLYUCH_GOST=setting, **environment).stdout
    (found,) = [item for item in json.loads(shown) if item["what"] == "GOST"]
    return Finding(**found)


def test_it_is_told_who_computes_gost_and_why(klyuch: Run, tmp_path: Path) -> None:
    assert gost(klyuch, "auto").found.startswith("gost-engine (OpenSSL 3.")
    forced = gost(klyuch, "pure")
    assert forced.ok
    assert forced.found.startswith("pure Python (3.")
    assert forced.found.endswith("): KLYUCH_GOST is pure")
    missing = gost(klyuch, "auto", OPENSSL_ENGINES=str(tmp_path))
    assert missing.ok
    assert missing.found.endswith("): OpenSSL has no engine gost")
    assert missing.mend == "apt-get install libengine-gost-openssl"
