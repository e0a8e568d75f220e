"""``klyuch reader``: the tokens as readers of pcscd."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from host_tools.bridge import reader_file
from host_tools.bridge.address import MOST_READERS, SHOWN
from host_tools.bridge.reader_file import ForeignFile, ReaderFile, UnusablePath
from host_tools.cli.failures import Exit, Failure
from host_tools.cli.output import json_option, print_json, print_table
from host_tools.cli.session import control
from host_tools.control import ControlClient, ControlError, ErrorCode, Json
from host_tools.home import current

_DEFAULT = "pki"
_LAST_PORT = 65535
_REACHED = {True: "connected", False: "not connected"}
# What stands for a label: a slot with a token has a state.
_UNNAMED = {True: "(no label)", False: ""}
_FOLDER = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=reader_file.FOLDER,
    show_default=True,
    help="Where pcscd looks for reader files.",
)
_APP = click.option(
    "--app",
    "shown",
    type=click.Choice(tuple(SHOWN)),
    help="What the readers show of a token: its PKI application (the default), another, or all.",
)
_TOKENS = click.option(
    "--token", "-t", "names", multiple=True, help="Only this token; may be given several times."
)


@click.group()
def reader() -> None:
    """Show the tokens in readers of pcscd."""


@reader.command(
    epilog="""\b
Examples:
  klyuch reader install
  klyuch reader install --token Work --token Home
  klyuch reader install --slots 4
  klyuch reader install --app piv
  klyuch reader install --print | sudo tee /etc/reader.conf.d/klyuch
"""
)
@_TOKENS
@_APP
@click.option(
    "--slots",
    type=click.IntRange(1, MOST_READERS),
    help="Readers for the slots from 0, with and without tokens.",
)
@click.option("--print", "only_print", is_flag=True, help="Print the file and write nothing.")
@_FOLDER
@json_option
def install(
    *,
    names: tuple[str, ...],
    shown: str | None,
    slots: int | None,
    only_print: bool,
    folder: Path,
    as_json: bool,
) -> None:
    """Write the file by which pcscd finds the tokens of this home as readers.

    Each token gets a reader, which is there also while the token is removed and while no daemon
    runs. pcscd has room for 16 readers in all.

    Programs take the first application that they know: with --app all, OpenSC takes the token for a
    PIV card, and its PKI application is not seen.
    """
    if names and slots:
        raise click.UsageError("Give either --token or --slots.")
    chosen = range(slots) if slots else [int(str(token["slot"])) for token in _tokens(names)]
    file = _reader_file(chosen, shown or _DEFAULT)
    if only_print:
        click.echo(file.render(), nl=False)
        return
    with _using(folder):
        _refuse_another_home(folder, file)
        path = file.write(folder)
    restart = reader_file.restart(folder)
    if as_json:
        print_json({"file": str(path), "readers": file.names, "restart": restart})
    else:
        count = "1 reader" if len(file.slots) == 1 else f"{len(file.slots)} readers"
        click.echo(f"{path} names {count}: {', '.join(file.names)}.")
        click.echo(f"Let pcscd read it: {restart}")


@reader.command(epilog="\b\nExample:\n  klyuch reader uninstall\n")
@_FOLDER
@json_option
def uninstall(folder: Path, as_json: bool) -> None:
    """Remove the file that ``klyuch reader install`` wrote."""
    with _using(folder):
        removed = reader_file.uninstall(folder)
    restart = reader_file.restart(folder)
    if as_json:
        print_json({"removed": removed, "restart": restart if removed else None})
    elif removed:
        click.echo(f"{folder / reader_file.NAME} is removed.")
        click.echo(f"Let pcscd forget it: {restart}")
    else:
        click.echo("No reader file was installed.")


@reader.command(epilog="\b\nExample:\n  klyuch reader status --json\n")
@_FOLDER
@json_option
def status(folder: Path, as_json: bool) -> None:
    """Show the readers that are installed, and whether pcscd has reached their tokens."""
    with _using(folder):
        file = reader_file.installed(folder)
    ours = file is not None and file.socket == ReaderFile.of(current(), ()).socket
    rows = _rows(file, ours=ours)
    if as_json:
        path = str(folder / reader_file.NAME) if file else None
        app = file.shown if file else None
        print_json({"file": path, "this_home": ours, "app": app, "readers": rows})
    elif file is None:
        click.echo("No readers are installed. Install some: klyuch reader install")
    else:
        if not ours:
            click.echo(f"The readers belong to another home: {file.socket.parent.parent}")
        shown = [
            (
                row["reader"],
                row["token"] or _UNNAMED[bool(row["state"])],
                row["state"],
                row["pcscd"],
            )
            for row in rows
        ]
        print_table(
            ("Reader", "Token", "State", "pcscd"),
            [[str(cell) for cell in row] for row in shown],
            f"Application: {file.shown}",
        )


def _rows(file: ReaderFile | None, *, ours: bool) -> list[Json]:
    if file is None:
        return []
    tokens, reached = _look() if ours else ({}, set())
    return [
        {
            "reader": name,
            "slot": slot,
            "token": tokens.get(slot, {}).get("label", ""),
            "state": tokens.get(slot, {}).get("state", ""),
            # Of another home's readers only its own daemon can tell.
            "pcscd": _REACHED[slot in reached] if ours else "not known",
        }
        for slot, name in zip(file.slots, file.names, strict=True)
    ]


def _look() -> tuple[dict[int, Json], set[int]]:
    """The tokens by their slots and the slots that pcscd has reached; none without a daemon."""
    try:
        with ControlClient(current(), start=False) as client:
            tokens = client.call("token.list")["tokens"]
            reached = client.call("status")["readers"]
    except ControlError as error:
        if error.code is not ErrorCode.DAEMON:
            raise
        return {}, set()
    assert isinstance(tokens, list)
    assert isinstance(reached, list)
    return {token["slot"]: token for token in tokens}, set(reached)


@reader.command(
    epilog="""\b
Examples:
  klyuch reader run
  klyuch reader run --vpcd localhost:35963
  klyuch reader run --vpcd localhost:35963 --token Work --token Home
  klyuch reader run --vpcd localhost:35963 --app piv
"""
)
@click.option("--vpcd", "address", metavar="HOST:PORT", help="Put the tokens into vpcd's readers.")
@click.option("--remote", is_flag=True, help="Let HOST be another machine; nothing is encrypted.")
@_TOKENS
@_APP
def run(address: str | None, remote: bool, names: tuple[str, ...], shown: str | None) -> None:
    """Serve the tokens as readers until Ctrl+C.

    Without --vpcd, keep the daemon that the installed readers connect to. With it, nothing has to
    be installed but vpcd: the first token goes to PORT, the next one to the port after it, and so
    on. A daemon that dies is started again; klyuch stop ends this command too.
    """
    from host_tools.bridge import runner
    from host_tools.bridge.vpcd import VpcdCard

    if address is None:
        if names or remote or shown:
            raise click.UsageError("--token, --app and --remote go with --vpcd.")
        ready = partial(click.echo, "The door is open; Ctrl+C ends.")
        _until_stopped(runner.keep_daemon(current(), ready, _say_again))
        return
    host, port = _address(address, remote=remote)
    cards = [
        (slot, str(token["label"] or token["serial"]), port + number)
        for number, token in enumerate(_tokens(names))
        for slot in [int(str(token["slot"]))]
    ]
    made = [
        VpcdCard(
            current(),
            slot,
            (host, at),
            shown or _DEFAULT,
            reached=partial(_say_reached, label, host, at),
            waits=partial(_say_waiting, host, at),
            troubled=partial(_say_trouble, label),
        )
        for slot, label, at in cards
    ]
    named = ", ".join(label for _, label, _ in cards)
    ready = partial(click.echo, f"Tokens for vpcd: {named}. Ctrl+C ends.")
    _until_stopped(runner.serve_vpcd(current(), made, ready, _say_again))


def _say_again(before: int, now: int) -> None:
    click.echo(f"The daemon (process {before}) died; process {now} takes its place.", err=True)


def _say_reached(label: str, host: str, port: int) -> None:
    click.echo(f"{label} is in the reader at {_at(host, port)}.")


def _say_waiting(host: str, port: int) -> None:
    click.echo(f"Nobody listens at {_at(host, port)}; waiting for vpcd there.", err=True)


def _say_trouble(label: str, why: str) -> None:
    click.echo(f"{label} is in no reader: {why}", err=True)


def _at(host: str, port: int) -> str:
    """The place, as --vpcd takes it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _until_stopped(asked: bool) -> None:
    """Raises Failure where it was not asked to end, but the daemon was."""
    if not asked:
        raise Failure(
            Exit.DAEMON,
            "The daemon was stopped: the readers are empty.",
            "Serve again: klyuch reader run",
        )


def _address(address: str, *, remote: bool) -> tuple[str, int]:
    """The host and port. Raises Failure for no such host, UsageError for a `remote` one unasked."""
    from host_tools.bridge import runner

    named, _, port = address.rpartition(":")
    if not named or not port.isdecimal() or not 1 <= int(port) <= _LAST_PORT:
        raise click.UsageError(f"{address!r} is not HOST:PORT.")
    if int(port) > _LAST_PORT - MOST_READERS:
        raise click.UsageError(
            f"From port {port} on there is no room for {MOST_READERS} readers: "
            f"give one up to {_LAST_PORT - MOST_READERS}."
        )
    host = named.strip("[]")
    try:
        local = runner.is_loopback(host)
    except OSError as error:
        raise Failure(
            Exit.USAGE,
            f"There is no host {host!r}: {error.strerror}.",
            f"Name the one where vpcd runs, as in: --vpcd localhost:{port}",
        ) from error
    if not local and not remote:
        raise click.UsageError(
            f"{host} is another machine, which would see every PIN. If that is meant: --remote"
        )
    return host, int(port)


def _tokens(names: Sequence[str]) -> list[Json]:
    """The named tokens, each once, or all. Raises ControlError, Failure."""
    with control() as client:
        if names:
            shown = [client.call("token.show", token=name) for name in names]
            return list({str(token["serial"]): token for token in shown}.values())
        tokens = client.call("token.list")["tokens"]
    assert isinstance(tokens, list)
    if not tokens:
        raise Failure(
            Exit.NOT_FOUND, "There is no token yet.", "Make one: klyuch token create LABEL"
        )
    return tokens


def _reader_file(slots: Sequence[int], shown: str) -> ReaderFile:
    try:
        return ReaderFile.of(current(), slots, shown)
    except ValueError as error:
        raise Failure(
            Exit.USAGE, f"Those are {len(slots)} readers: {error}.", "Choose some: --token LABEL"
        ) from error


def _refuse_another_home(folder: Path, file: ReaderFile) -> None:
    before = reader_file.installed(folder)
    if before is not None and before.socket != file.socket:
        raise Failure(
            Exit.CONFLICT,
            f"Readers of another home are installed: {before.socket.parent.parent}",
            f"Remove them first: klyuch reader uninstall{_named(folder)}",
        )


def _named(folder: Path) -> str:
    """The option that names a folder, where it has to be named."""
    return "" if folder == reader_file.FOLDER else f" --dir {shlex.quote(str(folder))}"


@contextmanager
def _using(folder: Path) -> Iterator[None]:
    try:
        yield
    except ForeignFile as error:
        raise Failure(
            Exit.CONFLICT,
            f"{error} was not written by klyuch reader install.",
            "Move it away, or name another folder: --dir",
        ) from error
    except UnusablePath as error:
        raise Failure(
            Exit.GENERAL, f"{error}.", "Install Klyuch and its home elsewhere."
        ) from error
    except (PermissionError, FileNotFoundError) as error:
        there = folder.is_dir()
        raise Failure(
            Exit.GENERAL,
            f"{folder} {'may not be written to' if there else 'does not exist'}.",
            "Let root write what this prints: klyuch reader install --print"
            if there
            else "Install pcscd, or name its folder: --dir",
        ) from error
