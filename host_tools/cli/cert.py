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
from host_tools.cli.out_file import OutFile, OutPath, out_option
from host_tools.cli.output import json_option, print_json, print_table
from host_tools.cli.secret_input import (
    CONTAINER_PASSPHRASE,
    PASSPHRASE,
    USER_PIN,
    secret_options,
)
from host_tools.cli.session import opened, token_option, usable
from host_tools.cli.signing_key import (
    KeyChoice,
    file_key,
    key_file_options,
    passphrase_file_option,
)
from host_tools.control import Json
from host_tools.pki.errors import Malformed, PkiError

if TYPE_CHECKING:
    from host_tools.key_files import KeyParts
    from host_tools.pki.asn1 import x509
    from host_tools.pki.signer import Signer


@click.group()
def cert() -> None:
    """Request, issue, import and export certificates."""


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
    out: OutFile | None,
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
  klyuch cert import mail.p12 --passphrase-file secret.txt
""",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--label", help="The label; that of its key where the token has it.")
@id_option
@passphrase_file_option(PASSPHRASE, "a container")
@token_option
@secret_options(USER_PIN)
@json_option
def import_certificate(
    *,
    file: Path,
    label: str | None,
    ident: bytes | None,
    passphrase_file: Path | None,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Put a certificate on the token; it takes the id of the key it belongs to.

    Of a PKCS #12 container (.p12, .pfx) the key and all certificates are put there.
    """
    from host_tools import objects

    parts, spki, found = _found_in(file, passphrase_file)
    token = usable(token_name)
    with opened(token, USER_PIN.read(pin, pin_file)) as session:
        placed = objects.put(session, parts, spki, found, label=label, ident=ident, name=file.stem)
    if as_json:
        facts = {"label": placed.label, "id": placed.id.hex(), "key": placed.owned}
        more = {"certificates": placed.certificates} if parts else {}
        print_json({"token": token.label, **facts, **more})
    else:
        belongs = "beside its key" if placed.owned else "its key is not there"
        what = f"{placed.label} (id {placed.id.hex()}) is on {token.label}"
        click.echo(f"{'Container' if parts else 'Certificate'} {what}, {belongs}.")


def _found_in(
    file: Path, passphrase_file: Path | None
) -> "tuple[KeyParts | None, bytes, list[x509.Certificate]]":
    """The key of a container, none of a certificate; its public half (DER), the certificates.

    Raises Failure where there is nothing that the token takes.
    """
    from host_tools.key_files import WrongPassphrase, key_parts, load_container
    from host_tools.pki.algorithms import check_key
    from host_tools.pki.asn1 import read_certificates
    from host_tools.pki.pkcs12 import is_container

    content = file.read_bytes()
    parts = None
    try:
        if is_container(content):
            passphrase = PASSPHRASE.read(None, passphrase_file)
            container = load_container(content, passphrase.encode())
            parts, found = key_parts(container.key), list(container.certificates)
            spki = container.key.public().to_spki()
        else:
            found = read_certificates(content)[:1]
            spki = found[0].public_key.dump()
        for one in found:
            check_key(one.public_key.dump())
    except PkiError as error:
        code, hint = Exit.GENERAL, error.hint
        if isinstance(error, WrongPassphrase):
            code, hint = Exit.PIN_WRONG, PASSPHRASE.source
        elif isinstance(error, Malformed):
            hint = hint or "Give a certificate in PEM or DER, or a container (PKCS #12)."
        raise Failure(code, f"{file}: {error}", hint) from error
    return parts, spki, found


@cert.command(
    epilog="""\b
Examples:
  klyuch cert pack mail.pem root.pem --key-file mail.key --out mail.p12
  klyuch cert pack mail.pem --key-file mail.key --container-passphrase-file new.txt -o mail.p12
"""
)
@click.argument(
    "files",
    metavar="CERTIFICATE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@key_file_options
@click.option("--name", help="What programs show it as; the name of the first file.")
@passphrase_file_option(CONTAINER_PASSPHRASE, "the new container")
@out_option(
    "--out", "-o", required=True, type=OutPath(private=True), help="The container to write."
)
@json_option
def pack(
    *,
    files: tuple[Path, ...],
    key_file: Path | None,
    passphrase_file: Path | None,
    name: str | None,
    container_passphrase_file: Path | None,
    out: OutFile,
    as_json: bool,
) -> None:
    """Put a private key and its certificates into a PKCS #12 container (.p12, .pfx).

    The key is one in a file: those of a token never leave it. A GOST key makes a container by
    RFC 9548, with Kuznyechik and Streebog.
    """
    from host_tools.pki import pkcs12
    from host_tools.pki.algorithms import normalized
    from host_tools.pki.asn1 import read_certificates

    if key_file is None:
        raise click.UsageError("Give the private key by --key-file: no token gives one away.")
    certificates = [one for file in files for one in read_certificates(file.read_bytes())]
    key = file_key(key_file, PASSPHRASE, passphrase_file)
    if normalized(certificates[0].public_key.dump()) != key.public().to_spki():
        raise Failure(
            Exit.GENERAL,
            f"The key in {key_file} does not belong to the certificate in {files[0]}.",
            "Name the certificate of the key first.",
        )
    passphrase = CONTAINER_PASSPHRASE.read(None, container_passphrase_file, confirm=True)
    out.write(pkcs12.write(key, certificates, name or files[0].stem, passphrase))
    if as_json:
        print_json({"file": str(out), "certificates": len(certificates)})
    else:
        click.echo(f"Written: {out}")


@cert.command("list", epilog="\b\nExample:\n  klyuch cert list --json\n")
@token_option
@json_option
def list_certificates(*, token_name: str | None, as_json: bool) -> None:
    """List the certificates; no PIN is needed."""
    from host_tools import objects

    token = usable(token_name)
    with opened(token) as session:
        found = objects.find_certificates(session)
    documents = [{"label": one.label, "id": one.id.hex(), **_shown(one.value)} for one in found]
    if as_json:
        print_json(documents)
    elif not documents:
        click.echo("No certificates. Import one: klyuch cert import FILE")
    else:
        names = ("label", "id", "subject", "issuer", "not_after")
        rows = [[str(one[name]) for name in names] for one in documents]
        print_table(("Label", "Id", "Subject", "Issuer", "Valid until"), rows)


def _shown(value: bytes) -> Json:
    """What is told of a certificate in DER. Raises Malformed."""
    from host_tools.pki.asn1 import read_certificates
    from host_tools.pki.names import format_name

    body = read_certificates(value)[0]["tbs_certificate"]
    return {
        "subject": format_name(body["subject"]),
        "issuer": format_name(body["issuer"]),
        "serial": f"{body['serial_number'].native:x}",
        "not_after": body["validity"]["not_after"].native.isoformat(),
    }


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
    *, name: str, out: OutFile | None, der: bool, token_name: str | None, as_json: bool
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
