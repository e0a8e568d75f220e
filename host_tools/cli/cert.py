"""``klyuch cert``: certificates on the token, and requests for them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_tools.cli.confirmation import yes_option
from host_tools.cli.deletion import delete_found
from host_tools.cli.failures import Exit, Failure
from host_tools.cli.key import id_option
from host_tools.cli.output import json_option, print_json, print_table
from host_tools.cli.secret_input import USER_PIN, secret_options
from host_tools.cli.session import opened, token_option, usable

if TYPE_CHECKING:
    from asn1crypto.x509 import Name


def _new_file(_ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and not value.exists() and not os.access(value.parent, os.W_OK | os.X_OK):
        raise click.BadParameter(f"There is no folder {value.parent} that can be written to.")
    return value


_OUT = click.option(
    "--out",
    "-o",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_new_file,
    help="Write to a file rather than to the standard output.",
)
_DER = click.option("--der", is_flag=True, help="DER rather than PEM.")


@click.group()
def cert() -> None:
    """Request, import, list and export certificates."""


@cert.command(
    epilog="""\b
Examples:
  klyuch cert request mail --subject "CN=Ann Lee,O=Acme,C=GB" --out mail.csr
  klyuch cert request login --subject CN=Ann --self-signed --days 30
"""
)
@click.argument("key", metavar="KEY")
@click.option("--subject", required=True, help="The name, as in CN=Ann Lee,O=Acme,C=GB.")
@click.option("--self-signed", is_flag=True, help="Make a certificate and store it on the token.")
@click.option("--days", type=click.IntRange(1, 36500), default=365, show_default=True)
@_OUT
@_DER
@token_option
@secret_options(USER_PIN)
@json_option
def request(
    *,
    key: str,
    subject: str,
    self_signed: bool,
    days: int,
    out: Path | None,
    der: bool,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Make a certification request (PKCS #10) for a KEY of the token, signed by it.

    With --self-signed it becomes a certificate at once, and is stored beside its key.
    """
    from host_tools import certificates, objects
    from host_tools.pki.signer import TokenSigner

    name = _name(subject)
    token = usable(token_name)
    user_pin = USER_PIN.read(pin, pin_file)
    with opened(token, user_pin) as session:
        signer = TokenSigner.find(session, key, user_pin)
        if self_signed:
            content = certificates.self_signed(signer, name, days)
            objects.store_certificate(session, signer.key.label, signer.key.id, content)
        else:
            content = certificates.request(signer, name)
    _write(content, "CERTIFICATE" if self_signed else "CERTIFICATE REQUEST", out, der, as_json)


def _name(subject: str) -> "Name":
    from host_tools.pki.errors import BadName
    from host_tools.pki.names import parse_name

    try:
        return parse_name(subject)
    except BadName as error:
        raise click.BadParameter(f"{error.message} {error.hint}", param_hint="--subject") from error


@cert.command(
    "import",
    epilog="""\b
Examples:
  klyuch cert import mail.crt
  klyuch cert import root.pem --label root
""",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--label", help="The label; that of its key where the token has it.")
@id_option
@token_option
@secret_options(USER_PIN)
@json_option
def import_certificate(
    *,
    file: Path,
    label: str | None,
    ident: bytes | None,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Put a certificate on the token; it takes the id of the key it belongs to."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from host_tools import objects
    from host_tools.key_files import UnreadableFile, load_certificate

    try:
        certificate = load_certificate(file.read_bytes())
    except UnreadableFile as error:
        raise Failure(Exit.GENERAL, f"{file}: {error}", "Give a PEM or DER certificate.") from error
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    token = usable(token_name)
    with opened(token, USER_PIN.read(pin, pin_file)) as session:
        owner = objects.key_of_certificate(session, spki)
        label = label or (owner.label if owner else file.stem)
        ident = ident or (owner.id if owner else objects.new_id(session))
        value = certificate.public_bytes(Encoding.DER)
        objects.store_certificate(session, label, ident, value)
    if as_json:
        print_json({"token": token.label, "label": label, "id": ident.hex(), "key": bool(owner)})
    else:
        belongs = "beside its key" if owner else "its key is not there"
        click.echo(f"Certificate {label} (id {ident.hex()}) is on {token.label}, {belongs}.")


@cert.command("list", epilog="\b\nExample:\n  klyuch cert list --json\n")
@token_option
@json_option
def list_certificates(*, token_name: str | None, as_json: bool) -> None:
    """List the certificates; no PIN is needed."""
    from host_tools import objects
    from host_tools.key_files import load_certificate

    token = usable(token_name)
    with opened(token) as session:
        found = objects.find_certificates(session)
    documents = []
    for one in found:
        certificate = load_certificate(one.value)
        documents.append(
            {
                "label": one.label,
                "id": one.id.hex(),
                "subject": certificate.subject.rfc4514_string(),
                "issuer": certificate.issuer.rfc4514_string(),
                "serial": f"{certificate.serial_number:x}",
                "not_after": certificate.not_valid_after_utc.isoformat(),
            }
        )
    if as_json:
        print_json(documents)
    elif not documents:
        click.echo("No certificates. Import one: klyuch cert import FILE")
    else:
        names = ("label", "id", "subject", "issuer", "not_after")
        rows = [[one[name] for name in names] for one in documents]
        print_table(("Label", "Id", "Subject", "Issuer", "Valid until"), rows)


@cert.command(
    epilog="""\b
Examples:
  klyuch cert export mail > mail.pem
  klyuch cert export mail --der --out mail.der
"""
)
@click.argument("name", metavar="CERTIFICATE")
@_OUT
@_DER
@token_option
@json_option
def export(
    *, name: str, out: Path | None, der: bool, token_name: str | None, as_json: bool
) -> None:
    """Write a certificate, named by its label or id; no PIN is needed."""
    from host_tools import objects

    with opened(usable(token_name)) as session:
        content = objects.find_certificate(session, name).value
    _write(content, "CERTIFICATE", out, der, as_json)


@cert.command(epilog="\b\nExample:\n  klyuch cert delete mail --yes\n")
@click.argument("name", metavar="CERTIFICATE")
@yes_option
@token_option
@secret_options(USER_PIN)
@json_option
def delete(
    *,
    name: str,
    yes: bool,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Delete a certificate, named by its label or id; its key stays."""
    from host_tools import objects

    delete_found(
        "certificate",
        lambda session: objects.find_certificate(session, name),
        usable(token_name),
        USER_PIN.read(pin, pin_file),
        yes=yes,
        as_json=as_json,
    )


def _write(content: bytes, kind: str, out: Path | None, der: bool, as_json: bool) -> None:
    from asn1crypto import pem

    armoured: bytes = pem.armor(kind, content)
    text = content if der else armoured
    if out is not None:
        out.write_bytes(text)
    if as_json:
        print_json({"pem": armoured.decode(), "file": str(out) if out else None})
    elif out is not None:
        click.echo(f"Written: {out}")
    else:
        click.echo(text, nl=False)
