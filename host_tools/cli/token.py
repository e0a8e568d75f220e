"""``klyuch token``: the tokens of the home and their slots."""

from pathlib import Path

import click

from host_tools.cli.card import factory_settings
from host_tools.cli.confirmation import confirm, yes_option
from host_tools.cli.output import json_option, print_facts, print_json, print_table
from host_tools.cli.secret_input import (
    PASSPHRASE,
    SO_PIN,
    USER_PIN,
    first_line,
    secret_options,
)
from host_tools.cli.session import control, pin_named
from host_tools.control import Json

_PASSPHRASE_FILE = click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The passphrase of the storage key, in the first line of a file.",
)


@click.group()
def token() -> None:
    """Make tokens, plug them in and out, reset and delete them."""


@token.command(
    epilog="""\b
Examples:
  klyuch token create Work
  klyuch token create CI --so-pin-file so.txt --pin-file pin.txt --json
  klyuch token create Office --pin-policy strict6 --so-tries 5
  klyuch token create Desk --protected-path
  klyuch token create --blank
"""
)
@click.argument("label", required=False)
@click.option(
    "--pin-policy",
    default="default",
    show_default=True,
    help="default (4 to 64 bytes) or strict6 (six digits, no long repeats or runs).",
)
@click.option(
    "--tries", type=click.IntRange(1, 15), default=3, show_default=True, help="User PIN tries."
)
@click.option(
    "--so-tries", type=click.IntRange(1, 15), default=10, show_default=True, help="SO PIN tries."
)
@click.option(
    "--protected-path",
    is_flag=True,
    help="Let PINs be entered on the token itself, by ``klyuch pin enter``.",
)
@click.option(
    "--attestation",
    type=click.Choice(["certificate", "self", "none"]),
    default="certificate",
    show_default=True,
    help="What its FIDO credentials say of where they were made.",
)
@click.option("--blank", is_flag=True, help="Leave it as from the factory, for C_InitToken.")
@click.option("--passphrase", "ask_passphrase", is_flag=True, help="Ask for a passphrase.")
@_PASSPHRASE_FILE
@secret_options(USER_PIN, SO_PIN)
@json_option
def create(
    *,
    label: str | None,
    pin_policy: str,
    tries: int,
    so_tries: int,
    protected_path: bool,
    attestation: str,
    blank: bool,
    ask_passphrase: bool,
    passphrase_file: Path | None,
    pin: str | None,
    pin_file: Path | None,
    so_pin: str | None,
    so_pin_file: Path | None,
    as_json: bool,
) -> None:
    """Make a token named LABEL, insert it and set both PINs.

    With a passphrase the token's storage is encrypted under it (Argon2id); after each start of
    the daemon the token then waits for ``klyuch token unlock``.
    """
    if bool(label) == blank:
        raise click.UsageError("Give either a LABEL or --blank.")
    request: Json = {
        "pin_policy": pin_policy,
        "user_tries": tries,
        "so_tries": so_tries,
        "protected_path": protected_path,
        "attestation": attestation,
    }
    if passphrase_file or ask_passphrase:
        request["passphrase"] = PASSPHRASE.read(None, passphrase_file, confirm=True)
    if blank:
        request["blank"] = True
    else:
        request["label"] = label
        request["so_pin"] = SO_PIN.read(so_pin, so_pin_file, confirm=True)
        request["pin"] = USER_PIN.read(pin, pin_file, confirm=True)
    with control() as client:
        made = client.call("token.create", **request)
    _tell(made, as_json, f"Token {label or made['serial']} is in slot {made['slot']}.")


@token.command("list", epilog="\b\nExample:\n  klyuch token list --json\n")
@json_option
def list_tokens(as_json: bool) -> None:
    """List the tokens and what is inserted."""
    with control() as client:
        tokens = client.call("token.list")["tokens"]
    assert isinstance(tokens, list)
    if as_json:
        print_json(tokens)
    elif not tokens:
        click.echo("No tokens. Make one: klyuch token create LABEL")
    else:
        rows = [
            (str(t["slot"]), t["label"] or "(no label)", t["serial"], t["state"]) for t in tokens
        ]
        print_table(("Slot", "Label", "Serial", "State"), rows)
    for one in tokens:
        if why := one["fault"] or one["trouble"]:
            click.echo(f"{_name(one)}: {why}", err=True)


@token.command(epilog="\b\nExample:\n  klyuch token show Work\n")
@click.argument("name", metavar="TOKEN")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a token: its slot, its state, its keys and its PINs' tries."""
    with control() as client:
        details = client.call("token.show", token=name)
    if as_json:
        print_json(details)
        return
    facts = [
        ("Label", str(details["label"] or "(no label)")),
        ("Serial", str(details["serial"])),
        ("Slot", str(details["slot"])),
        ("State", str(details["state"])),
    ]
    if why := details["fault"] or details["trouble"]:
        facts.append(("Fault", str(why)))
    if "keys" in details:
        facts.append(("Keys", str(details["keys"])))
    if details.get("protected_path"):
        facts.append(("PIN entry", "on the token, too: klyuch pin enter"))
    if details.get("fingers"):
        left = details["finger_tries"]
        enrolled = f"{details['fingers']} enrolled for the user PIN"
        facts.append(
            ("Fingers", f"{enrolled}, {left} tries left" if left else f"{enrolled}, LOCKED")
        )
    print_facts([*facts, *pin_lines(details)])


def pin_lines(details: Json) -> list[tuple[str, str]]:
    """A line for each PIN: its state, tries and policy."""
    pins = details.get("pins", [])
    assert isinstance(pins, list)
    return [(f"{_PIN_TITLES[pin['name']]}", _pin_state(pin)) for pin in pins]


_PIN_TITLES = {"user": "User PIN", "so": "SO PIN"}


def _pin_state(pin: Json) -> str:
    rule = f"{pin['min_length']} to {pin['max_length']} bytes, policy {pin['policy']}"
    if not pin["initialised"]:
        return f"not set ({rule})"
    if not pin["tries_left"]:
        return f"LOCKED ({rule})"
    return f"{pin['tries_left']} of {pin['tries']} tries left ({rule})"


@token.command(epilog="\b\nExample:\n  klyuch token insert Work\n")
@click.argument("name", metavar="TOKEN")
@json_option
def insert(name: str, as_json: bool) -> None:
    """Plug a token into its slot."""
    with control() as client:
        details = client.call("token.insert", token=name)
    _tell(details, as_json, f"Token {_name(details)} is {details['state']}.")


@token.command(epilog="\b\nExample:\n  klyuch token remove Work\n")
@click.argument("name", metavar="TOKEN")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Pull a token out of its slot; nothing on it is lost."""
    with control() as client:
        details = client.call("token.remove", token=name)
    _tell(details, as_json, f"Token {_name(details)} is removed.")


@token.command(
    epilog="""\b
Examples:
  klyuch token reset Work
  klyuch token reset Work --force --yes
"""
)
@click.argument("name", metavar="TOKEN")
@click.option("--force", is_flag=True, help="Without the SO PIN: back to the blank factory state.")
@click.option("--label", help="A new label.")
@yes_option
@secret_options(SO_PIN)
@json_option
def reset(
    *,
    name: str,
    force: bool,
    label: str | None,
    yes: bool,
    so_pin: str | None,
    so_pin_file: Path | None,
    as_json: bool,
) -> None:
    """Erase all keys and objects on a token.

    With the SO PIN it is initialised anew: the label and the SO PIN stay, the user PIN is to be
    set again by ``klyuch pin unblock``. A blank token takes the SO PIN that is given. The PIV
    application has PINs and a reset of its own and is left alone. With --force all of the token
    goes back to the factory: no label and no PINs.
    """
    request: Json = {"token": name}
    with control() as client:
        details = client.call("token.show", token=name)
        confirm(f"Erase all keys and objects on {_name(details)}?", yes)
        if force:
            request |= {"force": True, **factory_settings(details)}
        else:
            request["so_pin"] = SO_PIN.read(so_pin, so_pin_file)
            if label is not None:
                request["label"] = label
        with pin_named(str(details["serial"]), "so"):
            details = client.call("token.reset", **request)
    _tell(details, as_json, f"Token {_name(details)} is erased.")


@token.command(epilog="\b\nExample:\n  klyuch token delete Work --yes\n")
@click.argument("name", metavar="TOKEN")
@yes_option
@json_option
def delete(name: str, yes: bool, as_json: bool) -> None:
    """Delete a token and its files for good; its slot number is not used again."""
    with control() as client:
        details = client.call("token.show", token=name)
        confirm(f"Delete {_name(details)} and all its keys?", yes)
        details = client.call("token.delete", token=str(details["serial"]))
    _tell(details, as_json, f"Token {_name(details)} is deleted.")


@token.command(
    epilog="""\b
Examples:
  klyuch token unlock Work
  klyuch token unlock Work --passphrase-file secret.txt
"""
)
@click.argument("name", metavar="TOKEN")
@_PASSPHRASE_FILE
@json_option
def unlock(name: str, passphrase_file: Path | None, as_json: bool) -> None:
    """Open a token that was made with a passphrase, until the daemon ends."""
    passphrase = first_line(passphrase_file) if passphrase_file else PASSPHRASE.read(None, None)
    with control() as client:
        details = client.call("token.unlock", token=name, passphrase=passphrase)
    _tell(details, as_json, f"Token {_name(details)} is unlocked.")


def _name(details: Json) -> str:
    return str(details["label"] or details["serial"])


def _tell(details: Json, as_json: bool, sentence: str) -> None:
    if as_json:
        print_json(details)
    else:
        click.echo(sentence)
