"""``klyuch cert``: certificates on the token, and requests for them."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from host_tools.cli.armour import out_options, write
from host_tools.cli.ca import ca
from host_tools.cli.certificate_options import (
    PROFILE_NAMES,
    parsed_subject,
    subject_option,
    validity,
    validity_options,
    wish_options,
    wishes,
)
from host_tools.cli.confirmation import yes_option
from host_tools.cli.deletion import delete_found
from host_tools.cli.failures import Exit, Failure
from host_tools.cli.key import id_option
from host_tools.cli.output import json_option, print_json, print_table
from host_tools.cli.secret_input import USER_PIN, secret_options
from host_tools.cli.session import opened, token_option, usable
from host_tools.cli.signing_key import KeyChoice, key_file_options

if TYPE_CHECKING:
    from host_tools.pki.signer import Signer


@click.group()
def cert() -> None:
    """Request, import, list and export certificates."""


cert.add_command(ca)


@cert.command(
    epilog="""\b
Examples:
  klyuch cert request mail --subject "CN=Ann Lee,O=Acme,C=GB" --out mail.csr
  klyuch cert request login --subject CN=Ann --self-signed --days 30
  klyuch cert request web --subject CN=a.example --profile server --san DNS:a.example
  klyuch cert request --key-file gost.pem --subject "CN=Иванов,ИНН=500100732259"
"""
)
@click.argument("key", metavar="[KEY]", required=False)
@key_file_options
@subject_option(required=True)
@click.option(
    "--profile", type=click.Choice(PROFILE_NAMES), help="What it is for: adds the extensions."
)
@wish_options
@click.option("--self-signed", is_flag=True, help="Make a certificate and store it on the token.")
@validity_options(365)
@out_options
@token_option
@secret_options(USER_PIN)
@json_option
def request(
    *,
    key: str | None,
    key_file: Path | None,
    passphrase_file: Path | None,
    subject: str,
    any_numbers: bool,
    profile: str | None,
    self_signed: bool,
    days: int,
    not_before: datetime | None,
    not_after: datetime | None,
    out: Path | None,
    der: bool,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
    **wanted: Any,
) -> None:
    """Make a certification request (PKCS #10) for a KEY of the token, signed by it.

    With --self-signed it becomes a certificate at once, and is stored beside its key. A key in a
    file takes --key-file rather than KEY; what is made for it is only written.
    """
    from host_tools.pki import certificates
    from host_tools.pki.profiles import PROFILES, completed, extensions

    name = parsed_subject(subject, any_numbers)
    asked = wishes(wanted)
    purpose = PROFILES[profile] if profile else None
    if purpose is not None:
        asked = completed(purpose, asked, name)
    period = validity(days, not_before, not_after)
    choice = KeyChoice(key, key_file, passphrase_file, token_name, pin, pin_file)
    with choice.opened() as signer:
        info = certificates.key_info(signer)
        own = certificates.key_identifier(info) if self_signed else None
        added = extensions(purpose, asked, info, own)
        if self_signed:
            content = certificates.self_signed(signer, name, period, added).dump()
            _store_beside_its_key(signer, content)
        else:
            content = certificates.request(signer, name, added)
    kind = "CERTIFICATE" if self_signed else "CERTIFICATE REQUEST"
    write(kind, content, out=out, der=der, as_json=as_json)


def _store_beside_its_key(signer: "Signer", content: bytes) -> None:
    from host_tools.pki.signer import TokenSigner

    if isinstance(signer, TokenSigner):
        signer.store_certificate(content)


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
@out_options
@token_option
@json_option
def export(
    *, name: str, out: Path | None, der: bool, token_name: str | None, as_json: bool
) -> None:
    """Write a certificate, named by its label or id; no PIN is needed."""
    from host_tools import objects

    with opened(usable(token_name)) as session:
        content = objects.find_certificate(session, name).value
    write("CERTIFICATE", content, out=out, der=der, as_json=as_json)


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
