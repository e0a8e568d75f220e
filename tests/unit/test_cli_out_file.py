"""Files that commands write: what is there is kept, unless it is to be written over."""

import os
import threading
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from host_tools.cli.failures import Exit
from host_tools.cli.out_file import OutFile, OutPath, out_option
from tests.unit.test_cli_help import COMMANDS

WRITING = {
    path: command
    for path, command in COMMANDS.items()
    if any(isinstance(parameter.type, OutPath) for parameter in command.params)
}


@click.command()
@out_option("--out", help="The one.")
@out_option("--other", help="The other.")
@out_option("--secret", type=OutPath(private=True, hint="Keep {}."), help="For its owner.")
def writes(**files: OutFile | None) -> None:
    click.echo("begun")
    for name, file in files.items():
        if file is not None:
            file.write(name.encode())


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(writes, [*map(str, arguments)])


def test_every_command_that_writes_a_file_named_by_the_user_does_it_in_the_one_way() -> None:
    assert set(WRITING) == {
        *(("cert", name) for name in ("request", "export", "pack")),
        *(("cert", "ca", name) for name in ("create", "issue", "crl", "ocsp", "export")),
        *((name,) for name in ("sign", "verify", "record")),
        ("conformance", "run"),
        ("fido", "attestation"),
    }
    for path, command in COMMANDS.items():
        for parameter in command.params:
            kind = parameter.type
            reads = isinstance(kind, click.Path) and (kind.exists or not kind.file_okay)
            assert reads or not isinstance(kind, click.Path), (path, parameter.name)
        options = [one for parameter in command.params for one in parameter.opts]
        if path in WRITING:
            assert options.count("--force") == 1, path


@pytest.mark.parametrize("path", WRITING, ids=" ".join)
def test_a_file_that_exists_is_refused_before_anything_is_done(
    path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLYUCH_HOME", "/proc/no/such/home")
    kept = tmp_path / "kept"
    kept.write_text("mine")
    given: list[str] = []
    for parameter in WRITING[path].params:
        if isinstance(parameter.type, OutPath):
            given += [parameter.opts[0], str(kept)]
        elif parameter.required:
            value = str(kept) if isinstance(parameter.type, click.Path) else "CN=Ann"
            isargument = isinstance(parameter, click.Argument)
            given += [value] if isargument else [parameter.opts[0], value]
    result = CliRunner().invoke(WRITING[path], given)
    assert result.exit_code == Exit.CONFLICT.value, result.output
    assert f"{kept} exists already." in result.stderr
    assert "--force" in result.stderr
    assert kept.read_text() == "mine"


@pytest.mark.parametrize("last", [False, True], ids=["force first", "force last"])
def test_a_file_is_written_over_where_that_is_asked_for(tmp_path: Path, last: bool) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    out.write_text("a longer text than the new one")
    out.chmod(0o640)
    given: list[str | Path] = ["--out", out, "--other", other]
    assert run(*given).exit_code == Exit.CONFLICT.value
    assert not other.exists()
    assert run(*([*given, "--force"] if last else ["--force", *given])).exit_code == 0
    assert (out.read_text(), other.read_text()) == ("out", "other")
    assert out.stat().st_mode & 0o777 == 0o640
    assert {file.name for file in tmp_path.iterdir()} == {"other", "out"}


def test_a_link_leads_to_the_file_that_is_written_over(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("before")
    link.symlink_to(file)
    assert run("--out", link).exit_code == Exit.CONFLICT.value
    assert run("--out", link, "--force").exit_code == 0
    assert link.is_symlink()
    assert file.read_text() == "out"


def test_what_is_private_is_for_its_owner_alone_and_has_a_hint_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "{}"
    assert run("--secret", secret).exit_code == 0
    assert secret.stat().st_mode & 0o777 == 0o600
    assert f"Keep {secret}." in run("--secret", secret).stderr


def test_a_pipe_and_a_device_lose_nothing_and_are_written_to(tmp_path: Path) -> None:
    assert run("--out", "/dev/null").exit_code == 0
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    assert run("--out", pipe).exit_code == 0
    reader.join(10)
    assert read == ["out"]


def test_a_folder_that_is_not_there_is_told_before_anything_is_done(tmp_path: Path) -> None:
    result = run("--out", tmp_path / "no" / "file")
    assert result.exit_code == Exit.USAGE.value
    assert "Invalid value for '--out'" in result.stderr
    assert f"{tmp_path / 'no'} is no folder for it." in result.stderr
    assert "begun" not in result.output


def test_a_file_that_came_meanwhile_is_kept(tmp_path: Path) -> None:
    late = OutFile(tmp_path / "late").check()
    late.path.write_text("mine")
    with pytest.raises(click.ClickException, match="exists already"):
        late.write(b"ours")
    with pytest.raises(click.ClickException, match="exists already"), late.opened():
        pass
    assert late.path.read_text() == "mine"


def test_what_is_written_as_it_comes_begins_anew_where_that_is_asked_for(tmp_path: Path) -> None:
    file = OutFile(tmp_path / "file", force=True)
    file.path.write_text("a longer text than the new one")
    with file.opened() as opened:
        opened.write("new")
    assert file.path.read_text() == "new"
