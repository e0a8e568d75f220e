"""The card a command works on: in a reader, or a token of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import click

from host_tools.cli.failures import Exit, Failure
from host_tools.cli.secret_input import MANAGEMENT_KEY, PUK, SO_PIN, USER_PIN, Secret
from host_tools.cli.session import control, need_inserted, resolve

if TYPE_CHECKING:
    from host_tools.conformance.subject import Card
    from host_tools.control import Json

_F = TypeVar("_F", bound=Callable[..., object])


def card_options(command: _F) -> _F:
    """The options ``--reader`` and ``--token`` (arguments ``reader`` and ``token_name``)."""
    command = click.option(
        "--reader", help="The card in this reader: its name, or a part that only it has."
    )(command)
    return click.option(
        "--token",
        "-t",
        "token_name",
        envvar="KLYUCH_TOKEN",
        help="A token of this home: its label, serial or slot number.",
    )(command)


application_option = click.option(
    "--app",
    "application",
    type=click.Choice(("pki", "piv")),
    default="pki",
    show_default=True,
    help="The application of the card.",
)
"""Which of a card's applications is meant (argument ``application``)."""
SECRETS: Mapping[str, Secret] = {
    "user": USER_PIN,
    "so": SO_PIN,
    "pin": USER_PIN,
    "puk": PUK,
    "management-key": MANAGEMENT_KEY,
}
"""How the PINs and keys of the applications are given, by their names in host_tools.conformance."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a card is: `name` for people; of a token of ours also its `details`."""

    name: str
    reader: str = ""
    details: Json | None = None

    @property
    def serial(self) -> str:
        """That of a token of ours."""
        assert self.details is not None
        return str(self.details["serial"])

    @property
    def blank(self) -> bool:
        """Whether it is a token of ours on which no PIN was ever set."""
        pins = None if self.details is None else self.details.get("pins")
        return isinstance(pins, list) and not any(pin["initialised"] for pin in pins)

    @contextmanager
    def opened(self) -> Iterator[Card]:
        """The card, on a connection of its own, which no other program disturbs."""
        if self.reader:
            from host_tools.readers import ReaderTransport

            with ReaderTransport(self.reader) as card, card.transaction():
                yield card
        else:
            from host_tools.token_transport import TokenTransport

            with control() as client:
                yield TokenTransport(client, self.serial)


def place(reader: str | None, token_name: str | None) -> Place:
    """Where the options say that the card is. Raises Failure where both do, or its place is empty.

    A token that the environment names gives way to a reader.
    """
    if reader is None:
        details = resolve(token_name)
        return Place(need_inserted(details), details=details)
    if token_name is not None and _given("token_name"):
        raise Failure(Exit.USAGE, "Name a reader or a token, not both.")
    from host_tools.readers import find_reader

    found = find_reader(reader)
    if not found.present:
        raise Failure(Exit.TOKEN_STATE, f"No card is in {found.name}.", "Insert one.")
    return Place(found.name, reader=found.name)


def need_own(reader: str | None, option: str) -> None:
    """Raises UsageError where the option, which only tokens of this home obey, meets a reader."""
    if reader is not None:
        raise click.UsageError(
            f"{option} needs a token of this home; nobody can do that for a card."
        )


def _given(parameter: str) -> bool:
    source = click.get_current_context().get_parameter_source(parameter)
    return source is click.core.ParameterSource.COMMANDLINE


def factory_settings(details: Json) -> Json:
    """What the token was made with, where it still tells that: what a reset by force takes."""
    pins = details.get("pins", [])
    assert isinstance(pins, list)
    by_name = {pin["name"]: pin for pin in pins}
    if not by_name:
        return {}
    user, so = by_name["user"], by_name["so"]
    return {
        "pin_policy": user["policy"],
        "user_tries": user["tries"],
        "so_tries": so["tries"],
        "protected_path": details["protected_path"],
    }


def make_blank(where: Place) -> None:
    """Bring a token of ours back to the factory."""
    assert where.details is not None
    with control() as client:
        settings = factory_settings(where.details)
        client.call("token.reset", token=where.serial, force=True, **settings)
