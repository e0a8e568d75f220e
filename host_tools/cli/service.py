"""``klyuch serve``, ``stop`` and ``module``."""

import time
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import click

from host_tools.cli.failures import Exit, Failure
from host_tools.cli.output import json_option, print_json
from host_tools.control import ControlClient, ControlError, is_daemon, kill_daemon, start_daemon
from host_tools.home import Home, current

if TYPE_CHECKING:
    from host_tools.doors import CardsIn

_STOP_PATIENCE = 10.0


@click.command(
    epilog="""\b
Examples:
  klyuch serve
  klyuch serve --detached
  klyuch serve --reader "Yubico YubiKey" --app piv
  klyuch serve --reader ACS --app pki --reader Yubico --app piv
"""
)
@click.option("--detached", is_flag=True, help="Run in the background.")
@click.option("--ready-fd", type=click.IntRange(0), hidden=True)
@click.option(
    "--idle", type=click.FloatRange(0.1), help="Leave after so many seconds without clients."
)
@click.option(
    "--reader",
    "readers",
    multiple=True,
    metavar="NAME",
    help="Show the card in that PC/SC reader as a slot too; may be repeated.",
)
@click.option(
    "--app",
    "applications",
    multiple=True,
    type=click.Choice(("pki", "piv")),
    help="What to show of the card: once for all readers, or once for each.  "
    "[default: the first of these that it has]",
)
def serve(
    detached: bool,
    ready_fd: int | None,
    idle: float | None,
    readers: tuple[str, ...],
    applications: tuple[str, ...],
) -> None:
    """Run the daemon that holds the tokens of this home.

    The PKCS#11 library and the other commands start one themselves where none runs; such a
    daemon leaves when nobody used it for KLYUCH_IDLE seconds. This one stays.

    Readers are shown as long as this daemon runs. A part of a reader's name is enough where it
    fits no other.
    """
    chosen = _choose(readers, applications)
    if ready_fd is not None:
        from host_tools.background import serve as serve_in_background

        serve_in_background(ready_fd, idle, _cards_in(chosen))
    elif detached:
        _start_in_background(idle, chosen)
    else:
        _serve_in_foreground(idle, chosen)


Chosen: TypeAlias = list[tuple[str, str | None]]
"""Readers by their whole names, each with the application to show."""


def _choose(readers: tuple[str, ...], applications: tuple[str, ...]) -> Chosen:
    """The readers that are meant; raises ReaderError where one is not there."""
    if len(applications) not in {0, 1, len(readers)} or len(applications) > len(readers):
        raise click.UsageError("Give --app once for all readers, or once for each --reader.")
    if not readers:
        return []
    from host_tools.readers import find_reader

    shown = applications if len(applications) == len(readers) else (*applications, None)[:1]
    names = [find_reader(name).name for name in readers]
    return [(name, shown[place % len(shown)]) for place, name in enumerate(names)]


def _cards_in(chosen: Chosen) -> "CardsIn | None":
    if not chosen:
        return None
    from host_tools.readers.slots import CardReaders

    return partial(CardReaders, chosen)


def _serve_in_foreground(idle: float | None, chosen: Chosen) -> None:
    from host_tools.daemon import AlreadyRunning, Daemon

    home = current()

    def listening() -> None:
        for name, application in chosen:
            click.echo(f"Serving the card in {name}{f' ({application})' * bool(application)}.")
        click.echo(f"Serving the tokens in {home.path}; Ctrl+C ends.")

    try:
        Daemon(home, idle=idle, cards_in=_cards_in(chosen)).run(listening)
    except AlreadyRunning as error:
        raise Failure(
            Exit.DAEMON,
            f"A daemon serves this home already (process {home.daemon_pid()}).",
            "Stop it: klyuch stop",
        ) from error


def _start_in_background(idle: float | None, chosen: Chosen) -> None:
    options = ["--idle", "inf" if idle is None else str(idle)]
    for name, application in chosen:
        options += ["--reader", name, *(["--app", application] if application else [])]
    started = start_daemon(current(), *options)
    with ControlClient(current(), start=False) as client:
        pid = client.call("status")["pid"]
    if not started:
        raise Failure(
            Exit.DAEMON,
            f"A daemon serves this home already (process {pid}).",
            "Stop it: klyuch stop",
        )
    click.echo(f"The daemon runs (process {pid}).")


@click.command(epilog="\b\nExamples:\n  klyuch stop\n  klyuch stop --force\n")
@click.option("--force", is_flag=True, help="Kill it where it does not answer or does not end.")
@json_option
def stop(force: bool, as_json: bool) -> None:
    """Stop the daemon; nothing acknowledged is lost, not even by force."""
    home = current()
    try:
        pid, killed = _ask_to_stop(home), False
    except (ControlError, Failure):
        if not force:
            raise
        pid, killed = kill_daemon(home) or 0, True
        _wait(pid)
    if as_json:
        print_json({"stopped": bool(pid), "pid": pid or None, "killed": bool(pid) and killed})
    elif not pid:
        click.echo("No daemon ran.")
    else:
        how = "was killed" if killed else "has ended"
        click.echo(f"The daemon (process {pid}) {how}.")


def _ask_to_stop(home: Home) -> int:
    """The process id of the daemon that has ended; 0 where none ran."""
    try:
        with ControlClient(home, start=False) as client:
            pid = int(str(client.call("stop")["pid"]))
    except ControlError:
        if is_daemon(home.daemon_pid() or 0):
            raise
        return 0
    _wait(pid)
    return pid


def _wait(pid: int) -> None:
    deadline = time.monotonic() + _STOP_PATIENCE
    while is_daemon(pid):
        if time.monotonic() > deadline:
            raise Failure(
                Exit.DAEMON,
                f"The daemon (process {pid}) does not end.",
                "End it: klyuch stop --force",
            )
        time.sleep(0.01)


@click.command(
    epilog="""\b
Examples:
  pkcs11-tool --module "$(klyuch module)" -L
  ssh-add -s "$(klyuch module)"
"""
)
@json_option
def module(as_json: bool) -> None:
    """Print the path of the PKCS#11 library, to be given to applications."""
    from host_tools.cryptoki import LIBRARY

    if not LIBRARY.exists():
        raise Failure(
            Exit.GENERAL,
            f"The PKCS#11 library {LIBRARY} is not built.",
            "Install gcc and libc6-dev, then set the project up again: ./dev test",
        )
    if as_json:
        print_json({"module": str(LIBRARY)})
    else:
        click.echo(LIBRARY)
