"""``klyuch pin``: state, change and unblocking of the PINs, and their entry on the token."""

from pathlib import Path

import click

from host_tools.cli.output import json_option, print_facts, print_json
from host_tools.cli.secret_input import NEW_PIN, SO_PIN, USER_PIN, secret_options
from host_tools.cli.session import control, opened, token_option, usable
from host_tools.cli.token import pin_lines


@click.group()
def pin() -> None:
    """See, change and unblock PINs, and enter them on the token."""


@pin.command(epilog="\b\nExample:\n  klyuch pin status --token Work\n")
@token_option
@json_option
def status(token_name: str | None, as_json: bool) -> None:
    """Show the tries left and the rules of both PINs."""
    token = usable(token_name)
    if as_json:
        print_json(token.details["pins"])
    else:
        print_facts(pin_lines(token.details))


@pin.command(
    epilog="""\b
Examples:
  klyuch pin change
  klyuch pin change --so --so-pin-file old.txt --new-pin-file new.txt
"""
)
@click.option("--so", is_flag=True, help="Change the SO PIN rather than the user PIN.")
@token_option
@secret_options(USER_PIN, SO_PIN, NEW_PIN)
@json_option
def change(
    *,
    so: bool,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    so_pin: str | None,
    so_pin_file: Path | None,
    new_pin: str | None,
    new_pin_file: Path | None,
    as_json: bool,
) -> None:
    """Change a PIN; a wrong old PIN spends a try."""
    token = usable(token_name)
    old = SO_PIN.read(so_pin, so_pin_file) if so else USER_PIN.read(pin, pin_file)
    new = NEW_PIN.read(new_pin, new_pin_file, confirm=True)
    with opened(token, so_pin=old if so else None) as session:
        session.set_pin(old.encode(), new.encode())
    _tell(token.label, "so" if so else "user", "changed", as_json)


@pin.command(
    epilog="""\b
Examples:
  klyuch pin unblock
  KLYUCH_SO_PIN=... KLYUCH_NEW_PIN=... klyuch pin unblock --token Work
"""
)
@token_option
@secret_options(SO_PIN, NEW_PIN)
@json_option
def unblock(
    *,
    token_name: str | None,
    so_pin: str | None,
    so_pin_file: Path | None,
    new_pin: str | None,
    new_pin_file: Path | None,
    as_json: bool,
) -> None:
    """Set a new user PIN with the SO PIN: for a locked one, and for one never set."""
    token = usable(token_name)
    so = SO_PIN.read(so_pin, so_pin_file)
    new = NEW_PIN.read(new_pin, new_pin_file, confirm=True)
    with opened(token, so_pin=so) as session:
        session.init_pin(new.encode())
    _tell(token.label, "user", "set", as_json)


@pin.command(
    epilog="""\b
Examples:
  klyuch pin enter Desk
  klyuch pin enter Desk --wait --pin-file pin.txt
"""
)
@click.argument("name", metavar="TOKEN")
@click.option("--wait", is_flag=True, help="Wait until a program asks for a PIN.")
@secret_options(USER_PIN, SO_PIN)
@json_option
def enter(
    *,
    name: str,
    wait: bool,
    pin: str | None,
    pin_file: Path | None,
    so_pin: str | None,
    so_pin_file: Path | None,
    as_json: bool,
) -> None:
    """Enter a PIN on the token, for the login that waits for it.

    It is the PIN that the token asks for, the user's or the SO's. Whether it was right is told to
    the program that asked.
    """
    with control() as client:
        which = str(client.call("pin.await" if wait else "pin.ask", token=name)["pin"])
        value = SO_PIN.read(so_pin, so_pin_file) if which == "so" else USER_PIN.read(pin, pin_file)
        client.call("pin.enter", token=name, pin=value)
    _tell(name, which, "entered", as_json)


@pin.command(epilog="\b\nExample:\n  klyuch pin cancel Desk\n")
@click.argument("name", metavar="TOKEN")
@json_option
def cancel(name: str, as_json: bool) -> None:
    """Call off the entry that a login waits for, as the token's own button would."""
    with control() as client:
        which = str(client.call("pin.cancel", token=name)["pin"])
    _tell(name, which, "not entered", as_json)


def _tell(label: str, which: str, what: str, as_json: bool) -> None:
    if as_json:
        print_json({"token": label, "pin": which, "done": what})
    else:
        click.echo(f"The {'SO' if which == 'so' else 'user'} PIN of {label} is {what}.")
