"""``klyuch cert ca crl`` and ``ocsp``: what tells of revoked certificates."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_tools.cli.armour import out_options, write
from host_tools.cli.ca_access import CaSecrets, authorities_of_home
from host_tools.cli.out_file import OutFile, out_option
from host_tools.cli.output import json_option, print_json
from host_tools.cli.secret_input import (
    PASSPHRASE,
    USER_PIN,
    secret_options,
)
from host_tools.cli.session import token_option
from host_tools.cli.signing_key import KeyChoice, passphrase_file_option

if TYPE_CHECKING:
    pass

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog="\b\nExample:\n  klyuch cert ca crl Root --days 7 --out root.crl\n")
@click.argument("name", metavar="CA")
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=7,
    show_default=True,
    help="Days until the next one.",
)
@passphrase_file_option(PASSPHRASE, "the CA's key")
@out_options
@secret_options(USER_PIN)
@json_option
def crl(
    *,
    name: str,
    days: int,
    passphrase_file: Path | None,
    out: OutFile | None,
    der: bool,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Write the next list of revoked certificates (CRL, СОС)."""
    from host_tools.pki.certificates import Validity

    authority = authorities_of_home().open(name)
    with CaSecrets(PASSPHRASE, passphrase_file, pin, pin_file).signer(authority) as signer:
        content = authority.revocation_list(signer, Validity.of_days(days))
    number = authority.state.crl_number
    write("X509 CRL", content, out=out, der=der, as_json=as_json, number=number)


@click.command(
    epilog="""\b
Examples:
  openssl ocsp -issuer root.pem -cert mail.pem -reqout request.der
  klyuch cert ca ocsp Root request.der --out answer.der
  klyuch cert ca ocsp Root request.der --responder ocsp.pem --key-file ocsp.key -o answer.der
"""
)
@click.argument("name", metavar="CA")
@click.argument("file", metavar="REQUEST", type=_FILE)
@out_option("--out", "-o", required=True, help="Where to write the answer (DER).")
@click.option(
    "--days", type=click.IntRange(1, 3650), default=1, show_default=True, help="How long it holds."
)
@click.option(
    "--responder", type=_FILE, help="The certificate of a responder that signs for the CA."
)
@click.option("--key", help="The responder's key on the token.")
@click.option("--key-file", type=_FILE, help="The responder's key in a file.")
@passphrase_file_option(PASSPHRASE, "the key of the CA or of the responder")
@token_option
@secret_options(USER_PIN)
@json_option
def ocsp(
    *,
    name: str,
    file: Path,
    out: OutFile,
    days: int,
    responder: Path | None,
    key: str | None,
    key_file: Path | None,
    passphrase_file: Path | None,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Answer an OCSP REQUEST (DER) about certificates of the CA: good, revoked or unknown."""
    from host_tools.pki.asn1 import read_certificates
    from host_tools.pki.certificates import Validity

    if responder is None and (key or key_file):
        raise click.UsageError("A key is for a --responder; the CA has its own.")
    authority = authorities_of_home().open(name)
    certificate = read_certificates(responder.read_bytes())[0] if responder else None
    if certificate is None:
        opening = CaSecrets(PASSPHRASE, passphrase_file, pin, pin_file).signer(authority)
    else:
        opening = KeyChoice(key, key_file, passphrase_file, token_name, pin, pin_file).opened()
    with opening as signer:
        answer = authority.answer(file.read_bytes(), signer, Validity.of_days(days), certificate)
    out.write(answer)
    if as_json:
        print_json({"file": str(out)})
    else:
        click.echo(f"Written: {out}")
