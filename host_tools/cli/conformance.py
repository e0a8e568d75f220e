"""``klyuch conformance``: examine a card and report what differs from the standard."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from apdu.transport import TransportError
from host_tools.cli.card import (
    SECRETS,
    Place,
    application_option,
    card_options,
    make_blank,
    place,
)
from host_tools.cli.confirmation import confirm, yes_option
from host_tools.cli.failures import Exit, Failure
from host_tools.cli.interruption import postponed
from host_tools.cli.out_file import OutFile, out_option
from host_tools.cli.output import json_option, print_json, print_table, printable, working
from host_tools.cli.secret_input import (
    MANAGEMENT_KEY,
    PUK,
    SO_PIN,
    USER_PIN,
    management_key,
    secret_options,
)
from host_tools.cli.session import control
from host_tools.control import ControlError

if TYPE_CHECKING:
    from host_tools.conformance.checks import Check
    from host_tools.conformance.examination import Examination, WrongPinError
    from host_tools.conformance.report import Report

_WITH_PINS = "with the PINs that were given"


@click.group()
def conformance() -> None:
    """Examine cards by the catalogue's rules and the vectors."""


@conformance.command(
    epilog="""\b
Examples:
  klyuch conformance run --token Work
  klyuch conformance run --reader Gemalto --html report.html
  klyuch conformance run --token Scratch --destructive --pin-file pin.txt --so-pin-file so.txt
  klyuch conformance run --reader Yubico --app piv
"""
)
@card_options
@application_option
@click.option(
    "--destructive", is_flag=True, help="Also what spends tries of PINs and erases the card."
)
@yes_option
@out_option("--html", help="Write the report as a page for a browser.")
@out_option("--output", help="Write the report as JSON to a file.")
@secret_options(USER_PIN, SO_PIN, PUK, MANAGEMENT_KEY)
@json_option
def run(
    *,
    reader: str | None,
    token_name: str | None,
    application: str,
    destructive: bool,
    yes: bool,
    html: OutFile | None,
    output: OutFile | None,
    as_json: bool,
    **secrets: str | Path | None,
) -> None:
    """Examine a card; the exit code is 1 where it differs from what it should do.

    Each command of the application is tried with wrong classes, instructions, parameters, data
    and lengths, and before any PIN is verified. With --destructive its PIN counters are tried as
    well, and the vectors run: they erase the card, which is left with the PINs that were given.
    The PKI application has a user and an SO PIN, PIV a PIN (--pin), a PUK and a management key, in
    hexadecimal.
    """
    import json

    where = place(reader, token_name)
    _require(where, application)
    pins = _read(application, secrets) if destructive else {}
    report = _examine(where, application, pins, yes)
    if as_json:
        print_json(report.document())
    else:
        _print(report)
    if output is not None:
        document = json.dumps(report.document(), ensure_ascii=False, indent=2)
        output.write(f"{document}\n".encode())
    if html is not None:
        html.write(report.html().encode())
    if not report.sound:
        raise click.exceptions.Exit(1)


def _require(where: Place, application: str) -> None:
    """Raises Failure where the card has no such application."""
    from host_tools.conformance.examination import applications

    with where.opened() as card:
        there = applications(card)
    if application not in there:
        raise Failure(
            Exit.USAGE,
            f"The card in {where.name} has no {application.upper()} application.",
            "; ".join(f"It has {name.upper()}: try --app {name}" for name in there)
            or "It has none that can be examined; insert another card.",
        )


def _read(application: str, options: Mapping[str, str | Path | None]) -> dict[str, str]:
    """The PINs and keys of an application. Raises Failure for what is none."""
    from host_tools.conformance.examination import KINDS, taken

    wanted = ((name, SECRETS[name]) for name in KINDS[application].secrets)
    pins = {name: secret.read(*secret.among(options)) for name, secret in wanted}
    if clashing := taken(application, pins):
        raise Failure(
            Exit.USAGE,
            f"The vectors use the value of the {clashing[0]} PIN for another one.",
            "Change it on the card first.",
        )
    if (key := pins.get("management-key")) is not None:
        management_key(key)
    return pins


def _examine(where: Place, application: str, pins: dict[str, str], yes: bool) -> Report:
    from host_tools.conformance.examination import Examination, WrongPinError, destroys
    from host_tools.conformance.report import Report

    if pins:
        for line in destroys(application, pins, blank=where.details is not None):
            click.echo(f"  {line}", err=True)
        if _left_blank(where, application):
            click.echo("  the token has no PINs yet: it is left blank, as it is", err=True)
        confirm(f"Do all this to the card in {where.name}?", yes)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    blank = partial(make_blank, where) if where.details is not None else None
    # Ctrl+C does not break off what makes the card usable again either.
    with where.opened() as card, working(f"Examining {where.name}"), postponed() as pressed:
        examination = Examination(card, application, pins, destructive=bool(pins), blank=blank)
        checks: list[Check] = []
        interrupted = False
        try:
            for check in examination.run():
                checks.append(check)
                if interrupted := pressed():
                    click.echo("Interrupted: the report ends here.", err=True)
                    break
        except WrongPinError as error:
            raise Failure(
                Exit.PIN_LOCKED if error.locked else Exit.PIN_WRONG,
                f"The card refuses the {error.name}: {error}.",
                _after(error),
            ) from error
        finally:
            if examination.changing:
                _restore(examination, where, application, pins)
    return Report(where.name, application, began, bool(pins), tuple(checks), interrupted)


def _after(error: WrongPinError) -> str:
    """What it cost, and what to do next."""
    if error.locked:
        return "It is locked; nothing else was changed. Unblock it, or take another card."
    if error.spent:
        return "One try was spent, nothing else was changed; give the right one."
    return "Nothing was changed; give the right one."


def _restore(
    examination: Examination, where: Place, application: str, pins: dict[str, str]
) -> None:
    """Leave the card usable, with the PINs that were given; a token of ours with its files.

    Tells how the card was left.
    """
    from host_tools.conformance.checks import DifferenceError, SkipError

    try:
        if _left_blank(where, application):
            make_blank(where)
        elif where.details is None or application != "pki":
            examination.restore()
        else:
            _make_anew(where, pins)
    except (DifferenceError, SkipError, TransportError, ControlError) as error:
        click.echo(
            f"The card could not be left with its PINs: {printable(str(error)).removesuffix('.')}.",
            err=True,
        )
        click.echo("What was on it may be lost; initialise it before it is used again.", err=True)
    else:
        how = "blank, as it was" if _left_blank(where, application) else _WITH_PINS
        click.echo(f"The card in {where.name} is left {how}.", err=True)


def _left_blank(where: Place, application: str) -> bool:
    """Whether it is a blank token, of which nothing but the PKI application is examined."""
    return application == "pki" and where.blank


def _make_anew(where: Place, pins: dict[str, str]) -> None:
    assert where.details is not None
    label = where.details["label"] or where.serial
    with control() as client:
        client.call(
            "token.reset", token=where.serial, label=label, so_pin=pins["so"], pin=pins["user"]
        )


def _print(report: Report) -> None:
    """What differs, and how many checks there were of each group."""
    from host_tools.conformance.checks import Verdict

    differing = [check for check in report.checks if check.verdict is Verdict.FAILED]
    groups: dict[str, list[Verdict]] = {}
    for check in report.checks:
        groups.setdefault(check.group, []).append(check.verdict)
    rows = [
        (group, *(str(verdicts.count(verdict)) for verdict in Verdict))
        for group, verdicts in groups.items()
    ]
    print_table(("Checks", *map(str, Verdict)), rows, f"{report.application} in {report.card}")
    if differing:
        columns = ("Check", "Command", "Clause", "Expected", "Got")
        table = [
            (check.group, check.name, check.clause, check.expected, check.got)
            for check in differing
        ]
        print_table(columns, table, "What differs")
    for check in differing:
        click.echo(printable(f"{check.group}: {check.name}"))
        for line in check.exchanges:
            click.echo(printable(f"  {line}"))
    reasons = {check.reason for check in report.checks if check.reason}
    for reason in sorted(reasons):
        click.echo(printable(f"Skipped: {reason.removesuffix('.')}."))
    click.echo(f"{report.summary}.")
