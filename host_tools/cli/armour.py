"""Certificates and their kin written in PEM or DER, to a file or the standard output."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from host_tools.cli.output import print_json

_F = TypeVar("_F", bound=Callable[..., object])


def new_file(_ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | None:
    """Refuse a file that cannot be made, before anything is done."""
    if value is not None and not value.exists() and not os.access(value.parent, os.W_OK | os.X_OK):
        raise click.BadParameter(f"There is no folder {value.parent} that can be written to.")
    return value


def out_options(command: _F) -> _F:
    """The options ``--out`` and ``--der``: where to write, and how."""
    command = click.option("--der", is_flag=True, help="DER rather than PEM.")(command)
    return click.option(
        "--out",
        "-o",
        type=click.Path(dir_okay=False, writable=True, path_type=Path),
        callback=new_file,
        help="Write to a file rather than to the standard output.",
    )(command)


def write(
    kind: str, *contents: bytes, out: Path | None, der: bool, as_json: bool, **facts: object
) -> None:
    """Write structures (DER) of a kind that PEM names; ``facts`` go into the JSON document."""
    from asn1crypto import pem

    armoured = b"".join(pem.armor(kind, content) for content in contents)
    text = b"".join(contents) if der else armoured
    if out is not None:
        out.write_bytes(text)
    if as_json:
        print_json({**facts, "pem": armoured.decode(), "file": str(out) if out else None})
    elif out is not None:
        click.echo(f"Written: {out}")
    else:
        click.echo(text, nl=False)
