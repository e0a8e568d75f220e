"""``klyuch touch``: the touch that a token waits for."""

import click

from host_tools.cli.output import json_option, print_json
from host_tools.cli.session import control


@click.command(
    epilog="""\b
Examples:
  klyuch touch Work
  klyuch touch Work --wait
"""
)
@click.argument("name", metavar="TOKEN")
@click.option("--wait", is_flag=True, help="Wait until a program needs a touch.")
@json_option
def touch(name: str, *, wait: bool, as_json: bool) -> None:
    """Touch the token, for the use of a PIV key or the FIDO request that waits for it.

    A key whose touch policy asks for it waits 15 seconds, and so does a FIDO request. Each call is
    one touch, for what has waited longest.
    """
    with control() as client:
        if wait:
            client.call("touch.await", token=name)
        client.call("touch.give", token=name)
    if as_json:
        print_json({"token": name, "done": "touched"})
    else:
        click.echo(f"{name} is touched.")
