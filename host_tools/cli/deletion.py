"""Deleting what a command has found on a token, after asking."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import click

from host_tools.cli.confirmation import confirm
from host_tools.cli.output import print_json
from host_tools.cli.session import Token, opened

if TYPE_CHECKING:
    from host_tools.cryptoki import Session


class Found(Protocol):
    """Something on the token with a label and an id, made up of one object or more."""

    @property
    def label(self) -> str: ...

    @property
    def id(self) -> bytes: ...

    @property
    def handles(self) -> tuple[int, ...]: ...


def delete_found(
    kind: str,
    find: "Callable[[Session], Found]",
    token: Token,
    pin: str,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete the ``kind`` of thing that ``find`` finds; asks before unless ``yes``."""
    with opened(token, pin) as session:
        found = find(session)
        confirm(f"Delete the {kind} {found.label} ({found.id.hex()})?", yes)
        for handle in found.handles:
            session.destroy(handle)
    if as_json:
        print_json(
            {"token": token.label, "label": found.label, "id": found.id.hex(), "deleted": True}
        )
    else:
        click.echo(f"The {kind} {found.label} is deleted.")
