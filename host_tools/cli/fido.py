"""``klyuch fido``: the token as an authenticator, with python-fido2 as its client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_tools.cli.armour import out_options, write
from host_tools.cli.card import card_options, need_own, place
from host_tools.cli.confirmation import confirm, yes_option
from host_tools.cli.failures import Exit, Failure
from host_tools.cli.fido_credentials import credentials
from host_tools.cli.fido_fingerprints import fingerprints
from host_tools.cli.fido_session import Authenticator, Refusals, opened
from host_tools.cli.out_file import OutFile
from host_tools.cli.output import json_option, print_facts, print_json
from host_tools.cli.secret_input import FIDO_PIN, NEW_PIN, secret_options
from host_tools.cli.session import control, token_option
from host_tools.control import Json

if TYPE_CHECKING:
    from fido2.cose import CoseKey


_MAX_PIN = 63
_RESET_REFUSALS: Refusals = {
    "NOT_ALLOWED": (
        Exit.TOKEN_STATE,
        "The token takes a reset only in the first 10 seconds after it was inserted.",
        "Insert it again, and go on at once.",
    ),
}


@click.group()
def fido() -> None:
    """Look at the token as an authenticator: PIN, credentials, fingerprints, attestation, reset."""


fido.add_command(credentials)
fido.add_command(fingerprints)


@fido.command(
    epilog="""\b
Examples:
  klyuch fido info
  klyuch fido info --token Work --json
  klyuch fido info --reader Yubico
"""
)
@card_options
@json_option
def info(reader: str | None, token_name: str | None, as_json: bool) -> None:
    """Show what the authenticator can do and how it is set up."""
    with opened(reader, token_name) as authenticator:
        facts = _facts(authenticator)
    if as_json:
        print_json(facts)
    else:
        print_facts((name.replace("_", " ").capitalize(), _shown(facts[name])) for name in facts)


def _facts(authenticator: Authenticator) -> Json:
    told = authenticator.ctap2.get_info()
    tries: Json = {}
    if told.options.get("clientPin"):
        tries["pin_tries"] = authenticator.client_pin.get_pin_retries()[0]
    if told.options.get("uv"):
        tries["fingerprint_tries"] = authenticator.client_pin.get_uv_retries()
    return {
        "versions": told.versions,
        "aaguid": str(told.aaguid),
        "pin_set": told.options.get("clientPin"),
        "pin_must_be_changed": told.force_pin_change,
        **tries,
        "min_pin_length": told.min_pin_length,
        "pin_complexity_policy": told.pin_complexity_policy,
        "fingerprints_enrolled": told.options.get("bioEnroll"),
        "always_verifies_the_user": told.options.get("alwaysUv", False),
        "enterprise_attestation": told.options.get("ep", False),
        "room_for_credentials": told.remaining_disc_creds,
        "large_blob_bytes": told.max_large_blob,
        "extensions": told.extensions,
        "algorithms": [_algorithm(one["alg"]) for one in told.algorithms],
        "transports": told.transports,
    }


def _algorithm(number: int) -> str:
    from fido2.cose import CoseKey, UnsupportedKey

    kind: type[CoseKey] = CoseKey.for_alg(number)
    return str(number) if kind is UnsupportedKey else kind.__name__


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


@fido.command(
    epilog="""\b
Examples:
  klyuch fido pin
  KLYUCH_FIDO_PIN=... KLYUCH_NEW_PIN=... klyuch fido pin --token Work
"""
)
@card_options
@secret_options(FIDO_PIN, NEW_PIN)
@json_option
def pin(
    *,
    reader: str | None,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    new_pin: str | None,
    new_pin_file: Path | None,
    as_json: bool,
) -> None:
    """Set the PIN of the authenticator, or change the one that it has.

    It is not the user PIN of the token, and has tries of its own: eight. Three wrong ones in a row
    have the token take none until it is inserted again.
    """
    with opened(reader, token_name) as authenticator:
        changes = authenticator.pin_is_set
        old = FIDO_PIN.read(pin, pin_file) if changes else ""
        new = _checked(NEW_PIN.read(new_pin, new_pin_file, confirm=True))
        try:
            if changes:
                authenticator.client_pin.change_pin(old, new)
            else:
                authenticator.client_pin.set_pin(new)
        except ValueError as error:
            # What is too short python-fido2 does not even send.
            raise Failure(Exit.UNACCEPTABLE, f"{error}.", "See: klyuch fido info") from error
        name = authenticator.where.name
    done = "changed" if changes else "set"
    if as_json:
        print_json({"token": name, "pin": "fido", "done": done})
    else:
        click.echo(f"The FIDO PIN of {name} is {done}.")


def _checked(new: str) -> str:
    """A new PIN that is as short as CTAP wants it (CTAP 2.1 6.5.1). Raises Failure."""
    if len(new.encode()) > _MAX_PIN:
        raise Failure(
            Exit.USAGE,
            f"A FIDO PIN has 4 code points to {_MAX_PIN} bytes of UTF-8; this one is longer.",
            "Give a shorter one.",
        )
    return new


@fido.command(
    epilog="""\b
Examples:
  klyuch fido attestation
  klyuch fido attestation --token Work -o authority.pem
"""
)
@token_option
@out_options
@json_option
def attestation(*, token_name: str | None, out: OutFile | None, der: bool, as_json: bool) -> None:
    """Print the certificate that the attestations of a token of this home lead to.

    Each token has an authority of its own: a website that is to trust the token trusts that one.
    """
    where = place(None, token_name)
    with control() as client:
        told = client.call("fido.authority", token=where.serial)
    kind, certificate = told["attestation"], told["certificate"]
    if certificate is None:
        raise Failure(
            Exit.NOT_FOUND,
            f"The attestations of {where.name} lead to no certificate: it was made with {kind}.",
            "Make one whose do: klyuch token create LABEL --attestation certificate",
        )
    content = bytes.fromhex(str(certificate))
    facts = {"token": where.name, "attestation": kind}
    write("CERTIFICATE", content, out=out, der=der, as_json=as_json, **facts)


@fido.command(
    epilog="""\b
Examples:
  klyuch fido reset --token Work
  klyuch fido reset --token Work --yes --touch
"""
)
@card_options
@click.option("--touch", is_flag=True, help="Touch the token, too.")
@yes_option
@json_option
def reset(
    *, reader: str | None, token_name: str | None, touch: bool, yes: bool, as_json: bool
) -> None:
    """Erase the credentials, the fingerprints and the PIN of the authenticator.

    The token is taken out and put in again for that, and has to be touched; in a reader, put the
    card in right before. Keys and PINs of its other applications stay.
    """
    if touch:
        need_own(reader, "--touch")
    where = place(reader, token_name)
    name = where.name
    confirm(f"Erase the credentials and the FIDO PIN of {name}?", yes)
    if reader is None:
        with control() as client:
            client.call("token.remove", token=where.serial)
            client.call("token.insert", token=where.serial)
    with opened(reader, token_name, _RESET_REFUSALS) as authenticator:
        hear = _touching(where.serial) if touch else authenticator.hear
        authenticator.ctap2.reset(on_keepalive=hear)
    if as_json:
        print_json({"token": name, "done": "reset"})
    else:
        click.echo(f"The authenticator of {name} is as new.")


def _touching(serial: str) -> Callable[[int], None]:
    """Touch the token once a request says that it waits for that; one refused leaves no touch."""
    from fido2.ctap import STATUS

    def hear(status: int) -> None:
        if status == STATUS.UPNEEDED:
            with control() as client:
                client.call("touch.give", token=serial)

    return hear
