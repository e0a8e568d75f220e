"""The generated files are those of the tables, and a wrong table is refused by name."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = """
[application]
name = "demo"
aid = "F000000001"
label = "demo"
title = "an application for tests"
clause = "none"
guide = "demo.md"

[[command]]
name = "VERIFY"
cla = [0x00]
ins = 0x20
title = "check a PIN"
p2 = [0x01]
data = "required"
access = "always"
status = ["NO_ERROR", "WRONG_PIN"]
clause = "ISO/IEC 7816-4:2020, 11.6.6"
"""
SECOND = TABLE[TABLE.index("[[command]]") :]


def generate(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the script of a copy of the project."""
    script = root / "spec" / "generate.py"
    return subprocess.run(
        [sys.executable, str(script), *options],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of the tables and with every generated file."""
    shutil.copytree(ROOT / "spec", tmp_path / "spec", ignore=shutil.ignore_patterns("__pycache__"))
    assert generate(tmp_path).returncode == 0
    return tmp_path


@pytest.fixture
def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Makes the catalogue of one application from its table and of some tables of objects."""
    monkeypatch.syspath_prepend(str(ROOT / "spec"))
    catalogue = import_module("generators.catalogue")
    shutil.copy(ROOT / "spec" / "status_words.toml", tmp_path)
    (tmp_path / "commands").mkdir()

    def make(table: str, objects: str = "") -> str:
        (tmp_path / "commands" / "demo.toml").write_text(table, encoding="utf-8")
        (tmp_path / "tlv.toml").write_text(objects, encoding="utf-8")
        files: dict[Path, str] = catalogue.outputs(tmp_path)
        return files[Path("apdu/_catalogue.py")]

    return make


def spec_error() -> type[Exception]:
    """The exception of the generators; for a test with the fixture `generated`."""
    error: type[Exception] = import_module("generators").SpecError
    return error


def test_the_generated_files_are_fresh() -> None:
    done = generate(ROOT, "--check")
    assert done.returncode == 0, done.stderr


def test_a_changed_table_makes_its_files_stale_until_they_are_generated(copy: Path) -> None:
    assert generate(copy, "--check").returncode == 0
    table = copy / "spec" / "status_words.toml"
    table.write_text(table.read_text().replace("0x6A88", "0x6A99"))
    check = generate(copy, "--check")
    assert check.returncode == 1
    assert "apdu/_catalogue.py is stale" in check.stderr
    assert "0x6A99" not in (copy / "apdu" / "_catalogue.py").read_text()
    assert "apdu/_catalogue.py" in generate(copy).stdout.splitlines()
    assert "0x6A99" in (copy / "apdu" / "_catalogue.py").read_text()
    assert generate(copy, "--check").returncode == 0


def test_an_edited_or_missing_generated_file_is_stale(copy: Path) -> None:
    catalogue = copy / "apdu" / "_catalogue.py"
    catalogue.write_text(catalogue.read_text() + "\n")
    assert generate(copy, "--check").returncode == 1
    catalogue.unlink()
    assert generate(copy, "--check").returncode == 1


def test_a_wrong_table_stops_the_script_without_a_traceback(copy: Path) -> None:
    table = copy / "spec" / "commands" / "pki.toml"
    table.write_text(table.read_text().replace('"WRONG_PIN"', '"WRONG_PAN"', 1))
    done = generate(copy)
    assert done.returncode == 2
    assert done.stderr.startswith("spec/commands/pki.toml: VERIFY: ")
    assert "WRONG_PAN" in done.stderr


def test_a_command_of_the_table_is_in_the_catalogue(generated: Callable[..., str]) -> None:
    namespace: dict[str, object] = {}
    exec(generated(TABLE), namespace)
    applications = namespace["APPLICATIONS"]
    assert isinstance(applications, dict)
    demo = applications["demo"]
    assert demo.aid == bytes.fromhex("F000000001")
    verify = demo.match(0x10, 0x20)
    assert verify is demo.command("VERIFY")
    assert demo.match(0x00, 0x20, 0x55, 0x01) is verify
    assert demo.match(0x00, 0x20, 0x00, 0x02) is None
    assert demo.match(0x00, 0x21) is None
    assert demo.knows_class(0x10)
    assert not demo.knows_class(0x80)


def test_commands_may_share_an_ins_when_no_parameters_fit_both(
    generated: Callable[..., str],
) -> None:
    second = SECOND.replace('"VERIFY"', '"VERIFY SO"').replace("[0x01]", "[0x02]")
    assert "VERIFY SO" in generated(TABLE + second)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("access", "acces", "demo.toml: VERIFY: unknown key 'acces'"),
        ('clause = "ISO/IEC 7816-4:2020, 11.6.6"', "", "demo.toml: VERIFY: clause is missing"),
        ('name = "VERIFY"', "", "demo.toml: ?: name is missing"),
        ("WRONG_PIN", "WRONG_PAN", "VERIFY: the status 'WRONG_PAN' is not in status_words.toml"),
        ('"always"', '"nobody"', "VERIFY: access has the wrong value 'nobody'"),
        ('"required"', "true", "VERIFY: data has the wrong value True"),
        ("[0x00]", "[0x10]", "VERIFY: cla has the wrong value"),
        ("[0x00]", "0x00", "VERIFY: cla has the wrong value"),
        ("0x20", "0x61", "VERIFY: ins has the wrong value"),
        ("[0x01]", "[0x01, 0x01]", "VERIFY: p2 has the wrong value"),
        ("[0x01]", "[0x100]", "VERIFY: p2 has the wrong value"),
        ('"F000000001"', '"F0"', "[application]: aid has the wrong value"),
        ("[application]", "[applications]", "demo.toml: unknown table 'applications'"),
        ("[[command]]", "[command]", "demo.toml: [[command]] is not a list of tables"),
        ('"demo"', "demo", "demo.toml: "),
    ],
)
def test_a_wrong_table_is_refused_naming_file_and_command(
    generated: Callable[..., str], old: str, new: str, message: str
) -> None:
    with pytest.raises(spec_error(), match=re.escape(message)):
        generated(TABLE.replace(old, new, 1))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            SECOND.replace('"VERIFY"', '"CHECK"'),
            "CHECK: INS 20 with such a CLA, P1 and P2 is VERIFY",
        ),
        (SECOND.replace("0x20", "0x21"), "the name 'VERIFY' occurs twice"),
    ],
    ids=["ins", "name"],
)
def test_no_two_commands_are_the_same(
    generated: Callable[..., str], second: str, message: str
) -> None:
    with pytest.raises(spec_error(), match=re.escape(message)):
        generated(TABLE + second)


def _with_pins(use: str) -> str:
    table = TABLE.replace('guide = "demo.md"', 'guide = "demo.md"\npins = ["user"]')
    return table.replace("access =", f"pins = [{{ {use} }}]\naccess =")


def test_the_catalogue_says_what_a_command_does_to_pins(generated: Callable[..., str]) -> None:
    made = generated(_with_pins('p1 = 0, p2 = 1, compares = "user", restores = ["user"]'))
    text = re.sub(r"\s", "", made)
    assert 'PinUse(p1=0x00,p2=0x01,compares="user",restores=frozenset({"user"})' in text


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ('p1 = 0, p2 = 1, compares = "puk"', "VERIFY: the application has no PIN 'puk'"),
        ('p1 = 0, p2 = 1, ends = ["so"]', "VERIFY: the application has no PIN 'so'"),
        ('p1 = 0, p2 = 2, compares = "user"', "VERIFY: pins: it takes no 00 02"),
        ("p1 = 0", "VERIFY: pins: p2 is missing"),
        ("p1 = 0, p2 = 1, tries = 3", "VERIFY: pins: unknown key 'tries'"),
    ],
    ids=["compared", "ended", "parameters", "missing", "unknown"],
)
def test_uses_of_pins_are_checked_too(
    generated: Callable[..., str], use: str, message: str
) -> None:
    with pytest.raises(spec_error(), match=re.escape(message)):
        generated(_with_pins(use))


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        (
            '[[command]]\napplication = "demo"\nname = "SIGN"',
            "[[command]] SIGN: the application has no such command",
        ),
        (
            '[[command]]\napplication = "demo"\nname = "VERIFY"\nobjects = [0x62]',
            "[[command]] VERIFY: there is no [[object]] with the tag 62",
        ),
        (
            '[[object]]\ntag = 0x62\nname = "FCP"\nmembers = [{ tag = 0x80 }]',
            "FCP: ?: name is missing",
        ),
        (
            '[[object]]\ntag = 0x62\nname = "FCP"\n[[object]]\ntag = 0x62\nname = "FCI"',
            "the tag '62' occurs twice",
        ),
    ],
    ids=["command", "object", "member", "tag"],
)
def test_names_of_data_objects_are_checked_too(
    generated: Callable[..., str], objects: str, message: str
) -> None:
    with pytest.raises(spec_error(), match=re.escape(message)):
        generated(TABLE, objects)
