"""``klyuch fido fingerprints``: fingers that stand for the PIN of the authenticator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_tools.cli.card import card_options, need_own
from host_tools.cli.failures import Exit, Failure
from host_tools.cli.fido_session import Authenticator, Refusals, opened
from host_tools.cli.finger_option import finger_option, need_free_sensor, refused_sample
from host_tools.cli.output import json_option, print_json, print_table
from host_tools.cli.secret_input import FIDO_PIN, secret_options
from host_tools.cli.session import control

if TYPE_CHECKING:
    from fido2.ctap2.bio import FPBioEnrollment


_REFUSALS: Refusals = {
    "FP_DATABASE_FULL": (
        Exit.TOKEN_STATE,
        "As many fingers are enrolled as the token can hold.",
        "Remove one: klyuch fido fingerprints remove ID",
    ),
    "INVALID_OPTION": (
        Exit.NOT_FOUND,
        "There is no such fingerprint.",
        "See: klyuch fido fingerprints list",
    ),
    "NOT_ALLOWED": (
        Exit.TOKEN_STATE,
        "Another program used the token meanwhile; nothing is enrolled.",
        "Try again.",
    ),
    "INVALID_PARAMETER": (
        Exit.USAGE,
        "The token refuses the name.",
        "A name is printable, and as short as the token wants it.",
    ),
}


@click.group()
def fingerprints() -> None:
    """Enrol, list, rename and remove fingers."""


@fingerprints.command("list", epilog="\b\nExample:\n  klyuch fido fingerprints list --token Work\n")
@card_options
@secret_options(FIDO_PIN)
@json_option
def list_fingers(
    *,
    reader: str | None,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """List the enrolled fingers."""
    with _proven(reader, token_name, pin, pin_file) as (_, sensor):
        found = {ident.hex(): name or "" for ident, name in sensor.enumerate_enrollments().items()}
    if as_json:
        print_json([{"id": ident, "name": name} for ident, name in found.items()])
    else:
        print_table(("ID", "Name"), found.items())


@fingerprints.command(
    epilog="""\b
Examples:
  klyuch fido fingerprints add --name "right thumb"
  klyuch fido fingerprints add --token Work --finger thumb
"""
)
@click.option("--name", default="", help="What to call it.")
@finger_option
@card_options
@secret_options(FIDO_PIN)
@json_option
def add(
    *,
    name: str,
    given: str | None,
    reader: str | None,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Enrol a finger, which takes several samples.

    A sample that does not come within 15 seconds ends it.
    """
    if given is not None:
        need_own(reader, "--finger")
    with _proven(reader, token_name, pin, pin_file) as (authenticator, sensor):
        _check_name(sensor, name)
        if given is not None:
            need_free_sensor(authenticator.where.serial)
        ident = _enrol(authenticator, sensor, given, quiet=as_json)
        # One that is known from elsewhere has a name, which its word does not change.
        known = sensor.enumerate_enrollments().get(ident) or ""
        called = name or known or given or ""
        if called != known:
            _name(sensor, ident, called)
        where = authenticator.where.name
    if as_json:
        print_json({"id": ident.hex(), "name": called})
    else:
        click.echo(f"Finger {ident.hex()} of {where} is enrolled.")


def _enrol(
    authenticator: Authenticator, sensor: FPBioEnrollment, given: str | None, *, quiet: bool
) -> bytes:
    from fido2.ctap2.bio import CaptureError

    put = None if given is None else _putting(authenticator.where.serial, given)
    # Whoever does not say how long gets the token's own patience, of 15 seconds.
    enrolment = sensor.enroll()
    ident: bytes | None = None
    while ident is None:
        if put is None:
            click.echo("Put the finger on the sensor.", err=True)
        try:
            ident = enrolment.capture(on_keepalive=put)
        except CaptureError as error:
            if error.code == sensor.FEEDBACK.NO_USER_ACTIVITY:
                enrolment.cancel()
                raise Failure(
                    Exit.TOKEN_STATE,
                    "No finger was put on the sensor in time; nothing is enrolled.",
                    "Put one on it: klyuch finger present TOKEN FINGER --wait",
                ) from error
            if given is not None:
                enrolment.cancel()
                raise refused_sample(_word(error.code), "klyuch fido fingerprints list") from error
            click.echo(f"The sample was refused: {_word(error.code)}.", err=True)
        if not quiet:
            click.echo(f"{enrolment.remaining} samples to go.")
    return ident


def _word(feedback: int) -> str:
    """What a sample was like, in the words of ``klyuch finger`` (CTAP 2.1 6.7.4)."""
    name = getattr(feedback, "name", f"status {feedback}")
    return name.removeprefix("FP_").lower().replace("_", "-")


def _check_name(sensor: FPBioEnrollment, name: str) -> None:
    """Raises Failure for a name that is longer than the sensor keeps."""
    from fido2.ctap2.bio import BioEnrollment

    told = sensor.get_fingerprint_sensor_info()
    most = told.get(BioEnrollment.RESULT.MAX_TEMPLATE_FRIENDLY_NAME)
    if most is not None and len(name.encode()) > most:
        raise Failure(Exit.USAGE, f"A name has up to {most} bytes.", "Give a shorter one.")


def _name(sensor: FPBioEnrollment, ident: bytes, name: str) -> None:
    """Name a finger that was just enrolled; it is not where its name is refused."""
    from fido2.ctap import CtapError

    try:
        sensor.set_name(ident, name)
    except CtapError:
        sensor.remove_enrollment(ident)
        raise


def _putting(serial: str, finger: str) -> Callable[[int], None]:
    """Put the finger on the sensor once a request says that it waits for its user."""
    from fido2.ctap import STATUS

    def hear(status: int) -> None:
        if status == STATUS.UPNEEDED:
            with control() as client:
                client.call("finger.present", token=serial, finger=finger)

    return hear


@fingerprints.command(epilog='\b\nExample:\n  klyuch fido fingerprints rename 1f0e "left thumb"\n')
@click.argument("ident", metavar="ID")
@click.argument("name", metavar="NAME")
@card_options
@secret_options(FIDO_PIN)
@json_option
def rename(
    *,
    ident: str,
    name: str,
    reader: str | None,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Call a finger otherwise."""
    with _proven(reader, token_name, pin, pin_file) as (_, sensor):
        _check_name(sensor, name)
        sensor.set_name(_identifier(ident), name)
    _tell(ident, "renamed", as_json)


@fingerprints.command(epilog="\b\nExample:\n  klyuch fido fingerprints remove 1f0e\n")
@click.argument("ident", metavar="ID")
@card_options
@secret_options(FIDO_PIN)
@json_option
def remove(
    *,
    ident: str,
    reader: str | None,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Have a finger stand for the PIN no more."""
    with _proven(reader, token_name, pin, pin_file) as (_, sensor):
        sensor.remove_enrollment(_identifier(ident))
    _tell(ident, "removed", as_json)


def _tell(ident: str, done: str, as_json: bool) -> None:
    if as_json:
        print_json({"id": ident, "done": done})
    else:
        click.echo(f"Finger {ident} is {done}.")


def _identifier(text: str) -> bytes:
    try:
        ident = bytes.fromhex(text)
    except ValueError:
        ident = b""
    if not ident:
        raise click.UsageError(f"{text!r} is no identifier of a finger.")
    return ident


@contextmanager
def _proven(
    reader: str | None, token_name: str | None, pin: str | None, pin_file: Path | None
) -> Iterator[tuple[Authenticator, FPBioEnrollment]]:
    """The authenticator and its sensor, to which the PIN is proven."""
    value = FIDO_PIN.read(pin, pin_file)
    with opened(reader, token_name, _REFUSALS) as authenticator:
        from fido2.ctap2.bio import FPBioEnrollment

        if "bioEnroll" not in authenticator.ctap2.info.options:
            raise Failure(
                Exit.TOKEN_STATE, f"{authenticator.where.name} has no fingerprint sensor."
            )
        token = authenticator.token(value, "BIO_ENROLL")
        protocol = authenticator.client_pin.protocol
        yield authenticator, FPBioEnrollment(authenticator.ctap2, protocol, token)
