"""What the command line says about itself, and how it refuses what it does not understand."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from host_tools.cli.commands import cli
from host_tools.cli.failures import EXIT_CODES
from host_tools.version import version


def _commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from _commands(child, (*path, name))


COMMANDS = dict(_commands(cli, ()))
FOREGROUND = {"serve", "run"}


def test_all_commands_of_the_design_are_there() -> None:
    assert set(COMMANDS) == {
        *(("token", name) for name in ("create", "list", "show", "insert", "remove", "reset")),
        *(("token", name) for name in ("delete", "unlock")),
        *(("pin", name) for name in ("status", "change", "unblock", "enter", "cancel")),
        *(("control", name) for name in ("run", "token", "url")),
        *(("finger", name) for name in ("add", "list", "rename", "remove", "present", "script")),
        *(("key", name) for name in ("generate", "list", "import", "delete")),
        *(("cert", name) for name in ("import", "request", "list", "export", "delete", "pack")),
        *(("cert", "ca", name) for name in ("create", "issue", "revoke", "crl", "ocsp")),
        *(("cert", "ca", name) for name in ("list", "show", "export")),
        *(("fido", name) for name in ("attestation", "info", "pin", "reset")),
        *(("fido", "credentials", name) for name in ("list", "delete")),
        *(("fido", "fingerprints", name) for name in ("list", "add", "rename", "remove")),
        ("conformance", "run"),
        *((name,) for name in ("touch", "sign", "verify", "trace", "record", "replay")),
        *(("reader", name) for name in ("install", "uninstall", "status", "run")),
        *((name,) for name in ("module", "serve", "stop", "doctor", "demo")),
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_help_has_an_example_and_says_what_each_option_is_for(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cli, [*path, "--help"]).output
    assert f"klyuch {' '.join(path)}" in shown.split("Example", 1)[1] or path == ("module",)
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help or parameter.show_default, parameter.name


@pytest.mark.parametrize(
    "path", [path for path in COMMANDS if path[-1] not in FOREGROUND], ids=" ".join
)
def test_every_command_that_prints_something_prints_json(path: tuple[str, ...]) -> None:
    assert "--json" in {name for option in COMMANDS[path].params for name in option.opts}


def test_a_pin_on_the_command_line_is_said_to_be_for_tests() -> None:
    shown = CliRunner().invoke(cli, ["key", "generate", "--help"]).output
    assert "for tests only" in " ".join(shown.split())


def test_the_help_lists_all_commands_and_exit_codes() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    for name in (
        "token",
        "pin",
        "touch",
        "key",
        "cert",
        "module",
        "reader",
        "serve",
        "stop",
        "doctor",
        "demo",
    ):
        assert f"\n  {name} " in shown
    for code in EXIT_CODES:
        assert f"  {code.value}  {code.meaning}" in shown


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output == f"klyuch {version()}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["tokens"],
        ["token", "create"],
        ["token", "create", "Work", "--blank"],
        ["token", "create", "Work", "--so-tries", "99"],
        ["key", "generate", "dsa:1024"],
        ["key", "generate", "P-256", "--id", "xyz"],
        ["key", "import", "/no/such/file"],
        ["cert", "request", "mail"],
        ["cert", "request", "mail", "--subject", "no name"],
        ["cert", "request", "--subject", "CN=Ann"],
        ["cert", "request", "mail", "--subject", "CN=Ann", "--not-after", "2000-01-01"],
        ["cert", "ca", "create", "Root"],
        ["cert", "ca", "issue", "Root", "/no/such/file"],
    ],
)
def test_a_wrong_command_line_is_refused_before_anything_is_started(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLYUCH_HOME", "/proc/no/such/home")
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2, result.output
    assert "Usage:" in result.stderr


def test_a_trace_without_a_token_is_told_to_be_of_all() -> None:
    shown = " ".join(CliRunner().invoke(cli, ["trace", "--help"]).output.split())
    assert "all tokens where none is named" in shown
    assert "not needed" not in shown
