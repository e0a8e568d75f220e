"""``klyuch cert ca issue`` and ``revoke``."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from host_tools.cli.armour import out_options, write
from host_tools.cli.ca_access import (
    CaSecrets,
    authorities_of_home,
    document_of,
    serial_of,
    warn_of_revoked,
)
from host_tools.cli.certificate_options import (
    PROFILE_NAMES,
    moment_option,
    parsed_subject,
    subject_option,
    validity,
    validity_options,
    wish_options,
    wishes,
)
from host_tools.cli.failures import Exit, Failure
from host_tools.cli.out_file import OutFile
from host_tools.cli.output import json_option, print_json
from host_tools.cli.secret_input import (
    PASSPHRASE,
    USER_PIN,
    secret_options,
)
from host_tools.cli.signing_key import passphrase_file_option

if TYPE_CHECKING:
    from host_tools.ca import Authority
    from host_tools.pki.certificates import Validity

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_REASONS = (
    "unspecified",
    "key-compromise",
    "ca-compromise",
    "affiliation-changed",
    "superseded",
    "cessation-of-operation",
    "privilege-withdrawn",
    "aa-compromise",
)


@click.command(
    epilog="""\b
Examples:
  klyuch cert ca issue Root mail.csr --profile client --out mail.pem
  klyuch cert ca issue Root web.csr --profile server --san DNS:a.example --days 90
  klyuch cert ca issue Root old.csr --profile client --not-before 2020-01-01 --days 30
"""
)
@click.argument("name", metavar="CA")
@click.argument("file", metavar="REQUEST", type=_FILE)
@click.option(
    "--profile",
    type=click.Choice(PROFILE_NAMES),
    default="client",
    show_default=True,
    help="What the certificate is for.",
)
@subject_option(required=False)
@wish_options
@click.option(
    "--path-length", type=click.IntRange(0, 20), help="Of a CA: how many may follow below it."
)
@validity_options(None)
@passphrase_file_option(PASSPHRASE, "the CA's key")
@out_options
@secret_options(USER_PIN)
@json_option
def issue(
    *,
    name: str,
    file: Path,
    profile: str,
    out: OutFile | None,
    der: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Issue a certificate for a REQUEST (PKCS #10), whose signature is checked.

    Names come from the request where no option gives others. It is valid for a year where nothing
    else is said, and not longer than the CA.
    """
    from host_tools.pki import certificates
    from host_tools.pki.profiles import PROFILES, completed

    authorities = authorities_of_home()
    authority = authorities.open(name)
    warn_of_revoked(authorities, authority)
    found = certificates.read_request(file.read_bytes())
    info = found["certification_request_info"]
    subject = _subject(info["subject"], options["subject"], options["any_numbers"])
    asked = replace(wishes(options), path_length=options["path_length"])
    if asked.names is None:
        names = certificates.requested_extensions(found).get("subject_alt_name")
        asked = replace(asked, names=names)
    asked = completed(PROFILES[profile], asked, subject)
    period = _period(authority, options)
    secrets = CaSecrets(PASSPHRASE, options["passphrase_file"], options["pin"], options["pin_file"])
    with secrets.signer(authority) as signer:
        made = authority.issue(
            signer,
            subject=subject,
            info=info["subject_pk_info"],
            profile=profile,
            validity=period,
            wishes=asked,
        )
    write(
        "CERTIFICATE",
        made.dump(),
        out=out,
        der=der,
        as_json=as_json,
        serial=f"{made.serial_number:x}",
    )


def _subject(requested: Any, given: str | None, any_numbers: bool) -> Any:
    """The name that is given, else the requested one, its numbers checked either way."""
    from host_tools.pki.errors import BadName
    from host_tools.pki.names import format_name, parse_name

    if given is not None:
        return parsed_subject(given, any_numbers)
    try:
        parse_name(format_name(requested), checked=not any_numbers)
    except BadName as error:
        raise Failure(
            Exit.GENERAL,
            f"The name in the request is refused. {error.message}",
            error.hint or "Give another: --subject NAME",
        ) from error
    return requested


_YEAR = 365


def _period(authority: "Authority", options: dict[str, Any]) -> "Validity":
    """When it is valid: as asked for, else for a year, or until the CA's own end."""
    asked = validity(options["days"] or _YEAR, options["not_before"], options["not_after"])
    end: datetime = authority.certificate["tbs_certificate"]["validity"]["not_after"].native
    if options["not_after"] is not None or asked.not_after <= end or asked.not_before >= end:
        return asked
    if options["days"] is not None:
        raise Failure(
            Exit.USAGE,
            f"The CA {authority.name} is valid until {end:%Y-%m-%d} only.",
            f"Give at most --days {(end - asked.not_before).days}",
        )
    return replace(asked, not_after=end)


@click.command(
    epilog="""\b
Examples:
  klyuch cert ca revoke Root mail.pem --reason key-compromise
  klyuch cert ca revoke Root 1a2b3c --at 2026-01-31
"""
)
@click.argument("name", metavar="CA")
@click.argument("certificate", metavar="CERTIFICATE")
@click.option(
    "--reason", type=click.Choice(_REASONS), default="unspecified", show_default=True, help="Why."
)
@moment_option("--at", "Since when; now")
@click.option("--planned", is_flag=True, help="Take a --at that is still to come.")
@json_option
def revoke(
    *,
    name: str,
    certificate: str,
    reason: str,
    at: datetime | None,
    planned: bool,
    as_json: bool,
) -> None:
    """Revoke a CERTIFICATE, a file or a serial number in hexadecimal, for good.

    Nobody learns of it but from a new CRL (klyuch cert ca crl) or an OCSP answer.
    """
    from host_tools.pki.certificates import now
    from host_tools.pki.revocation import Revocation

    if at is not None and at > now() and not planned:
        raise Failure(
            Exit.USAGE,
            f"{at:%Y-%m-%d %H:%M} UTC is still to come.",
            "If it is to be revoked from then on: --planned",
        )
    authority = authorities_of_home().open(name)
    why = Revocation(at or now(), reason.replace("-", "_"))
    entry = authority.revoke(serial_of(authority, certificate), why)
    if as_json:
        print_json(document_of(entry))
    else:
        click.echo(f"The certificate {entry.serial} ({entry.subject}) is revoked.")
