"""What is asked before something is destroyed for good."""

import sys
from collections.abc import Callable
from typing import TypeVar

import click

from host_tools.cli.failures import Exit, Failure
from host_tools.cli.output import printable

_F = TypeVar("_F", bound=Callable[..., object])


def yes_option(command: _F) -> _F:
    """The option ``--yes``: do as if the question were answered."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(command)


def confirm(question: str, yes: bool) -> None:
    """Ask, unless ``yes``. Raises Abort for a no, and Failure where nobody can answer."""
    if yes:
        return
    try:
        agreed = click.confirm(printable(question), err=True)
    except click.Abort as error:
        if sys.stdin.isatty():
            raise
        raise Failure(
            Exit.USAGE, "There is no terminal to ask for a confirmation.", "Give --yes to go on."
        ) from error
    if not agreed:
        raise click.Abort
