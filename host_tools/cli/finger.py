"""``klyuch finger``: fingers that stand for PINs, and the finger on the token's sensor."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from host_tools.cli.finger_option import (
    finger_option,
    need_free_sensor,
    put_once_awaited,
    refused_sample,
)
from host_tools.cli.output import json_option, print_json, print_table
from host_tools.cli.secret_input import USER_PIN, secret_options
from host_tools.cli.session import control, usable
from host_tools.control import Json
from host_tools.fingers import QUALITIES, FingerClient, Sampled
from host_tools.token_transport import TokenTransport

_ABSENT = "-"
_application = click.option(
    "--app",
    "application",
    type=click.Choice(("pki", "piv")),
    default="pki",
    show_default=True,
    help="Whose PIN is proven, and is what the finger stands for.",
)


@click.group()
def finger() -> None:
    """Enrol, list, name and remove fingers, and put them on the token's sensor."""


@finger.command(
    epilog="""\b
Examples:
  klyuch finger add Work --name "right thumb"
  klyuch finger add Work --finger thumb
  klyuch finger add Work --app piv --finger thumb
"""
)
@click.argument("token_name", metavar="TOKEN")
@click.option("--name", default="", help="What to call it.")
@finger_option
@_application
@secret_options(USER_PIN)
@json_option
def add(
    *,
    token_name: str,
    name: str,
    given: str | None,
    application: str,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Enrol a finger that stands for a PIN from then on.

    It takes several samples, each within 15 seconds: put the finger on the sensor by klyuch finger
    present, or name it here.
    """
    with _proven(token_name, application, pin, pin_file) as (client, serial):
        if given is not None:
            need_free_sensor(serial)
        samples = list(_samples(client, name, serial, given, quiet=as_json))
        number = samples[-1].number
        if given is not None and number is not None:
            _name_new(client, number, given)
    if as_json:
        print_json({"number": number, "samples": [one.status for one in samples]})
    else:
        click.echo(f"Finger {number} of {token_name} is enrolled.")


def _name_new(client: FingerClient, number: int, given: str) -> None:
    """Call a finger by its word where it has no name, from this enrolment or an earlier one."""
    if not any(one.name for one in client.list().fingers if one.number == number):
        client.rename(number, given)


def _samples(
    client: FingerClient, name: str, serial: str, given: str | None, *, quiet: bool
) -> Iterator[Sampled]:
    remaining = client.begin(name)
    while remaining:
        sampled = _sample(client, serial, given, quiet=quiet)
        remaining = sampled.remaining
        if not quiet:
            click.echo(f"Sample: {sampled.status}, {remaining} to go.")
        if given is not None and sampled.status != "good":
            raise refused_sample(sampled.status, "klyuch finger list TOKEN")
        yield sampled


def _sample(client: FingerClient, serial: str, given: str | None, *, quiet: bool) -> Sampled:
    if given is not None:
        with put_once_awaited(serial, given):
            return client.capture()
    if not quiet:
        click.echo("Put the finger on the sensor.", err=True)
    return client.capture()


@finger.command("list", epilog="\b\nExample:\n  klyuch finger list Work\n")
@click.argument("token_name", metavar="TOKEN")
@_application
@secret_options(USER_PIN)
@json_option
def list_fingers(
    token_name: str, application: str, pin: str | None, pin_file: Path | None, as_json: bool
) -> None:
    """List the fingers that stand for a PIN, and the tries that the sensor has left."""
    with _proven(token_name, application, pin, pin_file) as (client, _):
        found = client.list()
    if as_json:
        print_json(asdict(found))
        return
    rows = [(str(one.number), one.name, ", ".join(one.opens)) for one in found.fingers]
    print_table(("Number", "Name", "Opens"), rows)
    click.echo(f"{found.tries_left} of {found.tries} tries left.")


@finger.command(epilog='\b\nExample:\n  klyuch finger rename Work 1 "left thumb"\n')
@click.argument("token_name", metavar="TOKEN")
@click.argument("number", metavar="NUMBER", type=click.IntRange(1, 255))
@click.argument("name", metavar="NAME")
@_application
@secret_options(USER_PIN)
@json_option
def rename(
    *,
    token_name: str,
    number: int,
    name: str,
    application: str,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Give a finger another name."""
    with _proven(token_name, application, pin, pin_file) as (client, _):
        client.rename(number, name)
    if as_json:
        print_json({"token": token_name, "number": number, "name": name, "done": "renamed"})
    else:
        click.echo(f"Finger {number} of {token_name} is called {name} now.")


@finger.command(epilog="\b\nExample:\n  klyuch finger remove Work 1\n")
@click.argument("token_name", metavar="TOKEN")
@click.argument("number", metavar="NUMBER", type=click.IntRange(1, 255))
@_application
@secret_options(USER_PIN)
@json_option
def remove(
    *,
    token_name: str,
    number: int,
    application: str,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Have a finger stand for a PIN no more."""
    with _proven(token_name, application, pin, pin_file) as (client, _):
        client.remove(number)
    if as_json:
        print_json({"token": token_name, "number": number, "done": "removed"})
    else:
        click.echo(f"Finger {number} of {token_name} is removed.")


@finger.command(
    epilog="""\b
Examples:
  klyuch finger present Work thumb
  klyuch finger present Work thumb --quality too-fast --wait
"""
)
@click.argument("token_name", metavar="TOKEN")
@click.argument("which", metavar="FINGER")
@click.option("--quality", type=click.Choice(tuple(QUALITIES)), default="good", show_default=True)
@click.option("--wait", is_flag=True, help="Wait until a program needs a finger.")
@json_option
def present(*, token_name: str, which: str, quality: str, wait: bool, as_json: bool) -> None:
    """Put a finger on the sensor, for the command that has waited longest for one.

    FINGER is any word: the same word is the same finger.
    """
    with control() as client:
        if wait:
            client.call("finger.await", token=token_name)
        client.call("finger.present", token=token_name, finger=which, quality=quality)
    if as_json:
        print_json({"token": token_name, "finger": which, "done": "presented"})
    else:
        click.echo(f"{which} was on the sensor of {token_name}.")


@finger.command(
    epilog="""\b
Examples:
  klyuch finger script Work thumb thumb thumb
  klyuch finger script Work thumb:too-fast thumb@2.5 -
  klyuch finger script Work --clear
"""
)
@click.argument("token_name", metavar="TOKEN")
@click.argument("steps", metavar="[STEP]...", nargs=-1)
@click.option("--clear", is_flag=True, help="Drop what is left of the script first.")
@json_option
def script(token_name: str, steps: tuple[str, ...], clear: bool, as_json: bool) -> None:
    """Say which fingers come when commands to come ask for one, a step for each.

    A step is FINGER, FINGER:QUALITY, FINGER@SECONDS or FINGER:QUALITY@SECONDS, or - where no
    finger comes. The script ends with the token's power.
    """
    if not steps and not clear:
        raise click.UsageError("Give steps, or --clear.")
    parsed = [_step(step) for step in steps]
    if clear:
        _clear(token_name)
    left = _script(token_name, parsed)
    if as_json:
        print_json({"token": token_name, "steps": left})
    else:
        click.echo(f"The script of {token_name} has {left} steps.")


def _step(text: str) -> Json:
    """A step as the daemon takes it; raises UsageError."""
    if text == _ABSENT:
        return {"absent": True}
    rest, at, seconds = text.partition("@")
    which, colon, quality = rest.partition(":")
    if not which or (colon and quality not in QUALITIES):
        raise click.UsageError(f"{text!r} is no step; qualities are {', '.join(QUALITIES)}.")
    step: Json = {"finger": which, "quality": quality or "good"}
    if at:
        try:
            step["delay"] = float(seconds)
        except ValueError:
            raise click.UsageError(f"{seconds!r} is no number of seconds.") from None
    return step


def _script(token_name: str, steps: list[Json]) -> object:
    with control() as client:
        return client.call("finger.script", token=token_name, steps=steps)["steps"]


def _clear(token_name: str) -> None:
    with control() as client:
        client.call("finger.clear", token=token_name)


@contextmanager
def _proven(
    token_name: str, application: str, pin: str | None, pin_file: Path | None
) -> Iterator[tuple[FingerClient, str]]:
    """The token's fingerprint application, to which the PIN is proven, and the serial number."""
    token = usable(token_name)
    value = USER_PIN.read(pin, pin_file)
    with control() as client:
        fingers = FingerClient(TokenTransport(client, token.serial))
        fingers.prove(application, value)
        yield fingers, token.serial
