"""The certification authorities of the home as commands get at them, and what opens their keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_tools.cli.failures import Exit, Failure
from host_tools.cli.secret_input import (
    USER_PIN,
    Secret,
)
from host_tools.cli.session import opened, usable
from host_tools.cli.signing_key import file_signer
from host_tools.control import Json

if TYPE_CHECKING:
    from host_tools.ca import Authorities, Authority, Issued
    from host_tools.pki.signer import Signer

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def authorities_of_home() -> "Authorities":
    """The authorities of this process's home."""
    from host_tools.ca import Authorities
    from host_tools.home import current

    return Authorities(current())


def warn_of_revoked(authorities: "Authorities", authority: "Authority") -> None:
    """Say it where the authority, or one above it, was revoked: nobody takes what it issues."""
    for name, by in authorities.revoked(authority):
        click.echo(
            f"The CA {name} was revoked by {by}: verifiers that know refuse what it issues.",
            err=True,
        )


@dataclass(frozen=True, slots=True)
class CaSecrets:
    """What opens the key of an authority: a passphrase or a PIN."""

    secret: Secret
    passphrase_file: Path | None
    pin: str | None
    pin_file: Path | None

    @contextmanager
    def signer(self, authority: "Authority") -> "Iterator[Signer]":
        from host_tools.pki.signer import TokenSigner

        place = authority.state.key
        if not place.token:
            yield file_signer(authority.key_file, self.secret, self.passphrase_file)
            return
        user_pin = USER_PIN.read(self.pin, self.pin_file)
        with opened(usable(place.token), user_pin) as session:
            yield TokenSigner.find(session, place.ident, user_pin)


def serial_of(authority: "Authority", named: str) -> int:
    """The serial number that is written, or that of the certificate in a file."""
    from host_tools.pki.asn1 import read_certificates

    if not Path(named).is_file():
        try:
            return int(named.replace(":", ""), 16)
        except ValueError as error:
            raise Failure(
                Exit.NOT_FOUND, f"{named!r} is no file and no serial number in hexadecimal."
            ) from error
    certificate = read_certificates(Path(named).read_bytes())[0]
    serial: int = certificate.serial_number
    if authority.issued_certificate(serial) != certificate.dump():
        raise Failure(Exit.NOT_FOUND, f"The CA {authority.name} did not issue {named}.")
    return serial


def document_of(one: "Issued") -> Json:
    """An issued certificate as the commands print it."""
    revoked = one.revoked
    return {
        "serial": one.serial,
        "subject": one.subject,
        "profile": one.profile,
        "not_before": one.not_before.isoformat(),
        "not_after": one.not_after.isoformat(),
        "state": _state(one),
        "revoked": revoked.at.isoformat() if revoked else None,
        "reason": revoked.reason.replace("_", "-") if revoked else None,
    }


def _state(one: "Issued") -> str:
    from host_tools.pki.certificates import now

    if one.revoked:
        return "revoked"
    if one.not_after < now():
        return "expired"
    return "valid" if one.not_before <= now() else "not yet valid"
