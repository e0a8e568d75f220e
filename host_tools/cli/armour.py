"""Certificates and their kin written in PEM or DER, to a file or the standard output."""

from collections.abc import Callable
from typing import TypeVar

import click

from host_tools.cli.out_file import OutFile, out_option
from host_tools.cli.output import print_json

_F = TypeVar("_F", bound=Callable[..., object])


def out_options(command: _F) -> _F:
    """The options ``--out``, ``--force`` and ``--der``: where to write, and how."""
    command = click.option("--der", is_flag=True, help="DER rather than PEM.")(command)
    help = "Write to a file rather than to the standard output."
    return out_option("--out", "-o", help=help)(command)


def write(
    kind: str, *contents: bytes, out: OutFile | None, der: bool, as_json: bool, **facts: object
) -> None:
    """Write structures (DER) of a kind that PEM names; ``facts`` go into the JSON document."""
    from asn1crypto import pem

    armoured = b"".join(pem.armor(kind, content) for content in contents)
    text = b"".join(contents) if der else armoured
    if out is not None:
        out.write(text)
    if as_json:
        print_json({**facts, "pem": armoured.decode(), "file": str(out) if out else None})
    elif out is not None:
        click.echo(f"Written: {out}")
    else:
        click.echo(text, nl=False)
