"""What a command prints: tables for people, one JSON document for programs."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

_F = TypeVar("_F", bound=Callable[..., object])

# Piped tables are not wrapped: a line is a row.
_PIPED_WIDTH = 400

_STYLES = {
    "ok": "green",
    "inserted": "green",
    "removed": "dim",
    "locked": "yellow",
    "LOCKED": "red",
    "unreadable": "red",
    "corrupt": "red",
    "failed": "red",
    "wrong": "red",
}


def json_option(command: _F) -> _F:
    """The option ``--json`` (argument ``as_json``)."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def printable(text: str) -> str:
    """Text of a file or a card, which must not steer the terminal: all but line ends is escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def print_json(document: object) -> None:
    """The document that ``--json`` asks for."""
    click.echo(one_json(document, indent=2))


def one_json(document: object, indent: int | None = None) -> str:
    """A document as JSON, in which no character steers a terminal."""
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    if all(c.isprintable() or c == "\n" for c in text):
        return text
    return json.dumps(document, indent=indent)


def console() -> "Console":
    """A console that colours and wraps only on a terminal."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Rows under headings; known words of state in their colour."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table
    from rich.text import Text

    headings = (Column(Text(printable(column))) for column in columns)
    shown = Text(printable(title)) if title else None
    table = Table(*headings, box=SIMPLE_HEAD, title=shown, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(cell), style=_STYLES.get(cell, "")) for cell in row))
    console().print(table)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Names and values, a line each, the values aligned."""
    lines = list(facts)
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {printable(value)}")


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner while something takes time, on a terminal only."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
