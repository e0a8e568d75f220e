"""``klyuch fido credentials``: those that the token can find by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_tools.cli.card import card_options
from host_tools.cli.confirmation import confirm, yes_option
from host_tools.cli.failures import Exit, Failure
from host_tools.cli.fido_session import Authenticator, opened
from host_tools.cli.output import json_option, print_json, print_table
from host_tools.cli.secret_input import FIDO_PIN, secret_options

if TYPE_CHECKING:
    from fido2.ctap2.credman import CredentialManagement
    from fido2.webauthn import PublicKeyCredentialDescriptor

_PROTECTION = {1: "no", 2: "without its identifier", 3: "always"}
_SHORT = 16


@dataclass(frozen=True, slots=True)
class _Credential:
    """A discoverable credential; `id` in hexadecimal."""

    id: str
    relying_party: str
    user: str
    display_name: str
    user_verification: str


@click.group()
def credentials() -> None:
    """List and delete discoverable credentials."""


@credentials.command(
    "list",
    epilog="""\b
Examples:
  klyuch fido credentials list
  klyuch fido credentials list --json
""",
)
@card_options
@secret_options(FIDO_PIN)
@json_option
def list_credentials(
    *,
    reader: str | None,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """List the credentials, with the websites and users that they are for.

    Those of which the website keeps the identifier are not on the token.
    """
    value = FIDO_PIN.read(pin, pin_file)
    with opened(reader, token_name) as authenticator:
        found = list(_find(_manager(authenticator, value)))
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [
        (one.id[:_SHORT], one.relying_party, one.user, one.display_name, one.user_verification)
        for one in found
    ]
    print_table(("ID", "Website", "User", "Name", "Wants verification"), rows)


@credentials.command(
    epilog="""\b
Examples:
  klyuch fido credentials delete 5f2a
  klyuch fido credentials delete 5f2a --yes
"""
)
@click.argument("ident", metavar="ID")
@card_options
@yes_option
@secret_options(FIDO_PIN)
@json_option
def delete(
    *,
    ident: str,
    reader: str | None,
    token_name: str | None,
    yes: bool,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Delete the credential whose identifier begins so."""
    value = FIDO_PIN.read(pin, pin_file)
    with opened(reader, token_name) as authenticator:
        manager = _manager(authenticator, value)
        # Every identifier begins with nothing, which is no way to name one.
        begun = [one for one in _find(manager) if ident and one.id.startswith(ident.lower())]
        found = _only(begun, ident)
        confirm(f"Delete the credential of {found.user} at {found.relying_party}?", yes)
        manager.delete_cred(_descriptor(found.id))
    if as_json:
        print_json({"id": found.id, "deleted": True})
    else:
        click.echo(f"The credential of {found.user} at {found.relying_party} is deleted.")


def _manager(authenticator: Authenticator, pin: str) -> CredentialManagement:
    from fido2.ctap2.credman import CredentialManagement

    token = authenticator.token(pin, "CREDENTIAL_MGMT")
    return CredentialManagement(authenticator.ctap2, authenticator.client_pin.protocol, token)


def _find(manager: CredentialManagement) -> Iterator[_Credential]:
    result = type(manager).RESULT
    for party in manager.enumerate_rps():
        for one in manager.enumerate_creds(party[result.RP_ID_HASH]):
            user = one[result.USER]
            yield _Credential(
                id=one[result.CREDENTIAL_ID]["id"].hex(),
                relying_party=party[result.RP]["id"],
                user=user.get("name") or user["id"].hex(),
                display_name=user.get("displayName", ""),
                user_verification=_PROTECTION.get(one.get(result.CRED_PROTECT, 1), "always"),
            )


def _only(found: list[_Credential], ident: str) -> _Credential:
    if len(found) == 1:
        return found[0]
    if found:
        raise Failure(
            Exit.CONFLICT,
            f"{len(found)} credentials have an identifier that begins with {ident}.",
            "Give more of it: klyuch fido credentials list --json",
        )
    raise Failure(
        Exit.NOT_FOUND,
        f"No credential has an identifier that begins with {ident or repr(ident)}.",
        "See: klyuch fido credentials list",
    )


def _descriptor(ident: str) -> PublicKeyCredentialDescriptor:
    from fido2.webauthn import PublicKeyCredentialDescriptor, PublicKeyCredentialType

    return PublicKeyCredentialDescriptor(
        type=PublicKeyCredentialType.PUBLIC_KEY, id=bytes.fromhex(ident)
    )
