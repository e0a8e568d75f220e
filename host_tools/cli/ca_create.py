"""``klyuch cert ca create``: a new certification authority."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from host_tools.cli.armour import out_options, write
from host_tools.cli.ca_access import CaSecrets, authorities_of_home, warn_of_revoked
from host_tools.cli.certificate_options import (
    parsed_subject,
    subject_option,
    validity,
    validity_options,
)
from host_tools.cli.failures import Exit, Failure
from host_tools.cli.key import KeyType
from host_tools.cli.out_file import OutFile
from host_tools.cli.output import json_option
from host_tools.cli.secret_input import (
    ISSUER_PASSPHRASE,
    PASSPHRASE,
    USER_PIN,
    secret_options,
)
from host_tools.cli.session import opened, resolve, token_option, usable
from host_tools.cli.signing_key import passphrase_file_option

if TYPE_CHECKING:
    from host_tools.ca import Authorities, Authority
    from host_tools.pki.certificates import Validity
    from host_tools.pki.signer import Signer, TokenSigner
    from token_fw.crypto import PrivateKey


# Those of algorithms.SIGNING_SPECS, which is slow to load.
KEY_TYPES = (
    "RSA-2048",
    "RSA-3072",
    "RSA-4096",
    "P-256",
    "P-384",
    "P-521",
    "Ed25519",
    "Ed448",
    "tc26-256-A",
    "tc26-256-B",
    "tc26-256-C",
    "tc26-256-D",
    "tc26-512-A",
    "tc26-512-B",
    "tc26-512-C",
    "CryptoPro-A",
    "CryptoPro-B",
    "CryptoPro-C",
    "CryptoPro-XchA",
    "CryptoPro-XchB",
)


@click.command(
    epilog="""\b
Examples:
  klyuch cert ca create Root --subject "CN=Acme Root,O=Acme,C=RU" --passphrase-file secret.txt
  klyuch cert ca create Issuing --subject "CN=Acme Issuing,C=RU" --under Root --path-length 0
  klyuch cert ca create Home --subject CN=Home --key root --token Work
"""
)
@click.argument("name", metavar="NAME")
@subject_option(required=True)
@click.option(
    "--type",
    "kind",
    type=KeyType(KEY_TYPES),
    default="P-256",
    metavar="TYPE",
    show_default=True,
    help="The type of its new key, which is kept in an encrypted file.",
)
@click.option("--key", help="Take this key of the token rather than make one in a file.")
@click.option("--under", help="The CA that is to issue its certificate; else it is a root.")
@click.option("--path-length", type=click.IntRange(0, 20), help="How many CAs may follow below it.")
@click.option("--crl-url", multiple=True, help="Where its CRLs are; goes into what it issues.")
@click.option("--ocsp-url", multiple=True, help="Where its OCSP responder is.")
@click.option("--issuer-url", multiple=True, help="Where its own certificate is.")
@validity_options(3650)
@passphrase_file_option(PASSPHRASE, "the new CA's key")
@passphrase_file_option(ISSUER_PASSPHRASE, "the key of the CA above it")
@out_options
@token_option
@secret_options(USER_PIN)
@json_option
def create(*, name: str, out: OutFile | None, der: bool, as_json: bool, **options: Any) -> None:
    """Make a certification authority: a root, or one under another (--under).

    Its certificate is written, and kept with all it will issue in the home folder.

    TYPE is RSA-2048, RSA-3072, RSA-4096, P-256, P-384, P-521, Ed25519, Ed448, or a parameter set
    of GOST R 34.10-2012: tc26-256-A to D, tc26-512-A to C, CryptoPro-A, B, C, XchA or XchB.
    """
    authorities = authorities_of_home()
    authorities.check_free(name)
    subject = parsed_subject(options["subject"], options["any_numbers"])
    period = validity(options["days"], options["not_before"], options["not_after"])
    made = _create(authorities, name, subject, period, options)
    write(
        "CERTIFICATE",
        made.certificate.dump(),
        out=out,
        der=der,
        as_json=as_json,
        ca=name,
        serial=f"{made.certificate.serial_number:x}",
    )


def _create(
    authorities: "Authorities",
    name: str,
    subject: Any,
    period: "Validity",
    options: dict[str, Any],
) -> "Authority":
    from host_tools.ca import KeyPlace, State, encrypted
    from host_tools.pki.profiles import Urls
    from host_tools.pki.signer import FileSigner

    urls = Urls(*(options[one] for one in ("crl_url", "ocsp_url", "issuer_url")))
    state = State(KeyPlace(), options["under"] or "", urls)
    under = authorities.open(options["under"]) if options["under"] else None
    if under is not None:
        warn_of_revoked(authorities, under)

    def certified(signer: "Signer") -> Any:
        return _certificate(signer, under, subject, period, options)

    if options["key"]:
        with _token_key(options) as signer:
            place = KeyPlace(str(resolve(options["token_name"])["serial"]), signer.key.id.hex())
            return authorities.create(name, replace(state, key=place), certified(signer))
    key = _new_key(options["kind"])
    passphrase = PASSPHRASE.read(None, options["passphrase_file"], confirm=True)
    if not passphrase:
        raise Failure(Exit.USAGE, "The passphrase is empty.", "Give one: --passphrase-file FILE")
    return authorities.create(name, state, certified(FileSigner(key)), encrypted(key, passphrase))


@contextmanager
def _token_key(options: dict[str, Any]) -> "Iterator[TokenSigner]":
    from host_tools.pki.signer import TokenSigner

    user_pin = USER_PIN.read(options["pin"], options["pin_file"])
    with opened(usable(options["token_name"]), user_pin) as session:
        yield TokenSigner.find(session, options["key"], user_pin)


def _new_key(kind: str) -> "PrivateKey":
    from host_tools.pki.algorithms import SIGNING_SPECS
    from token_fw.crypto import generate

    return generate(SIGNING_SPECS[kind])


def _certificate(
    signer: "Signer",
    under: "Authority | None",
    subject: Any,
    period: "Validity",
    options: dict[str, Any],
) -> Any:
    """The new authority's certificate, by its own key or by that of the one above it."""
    from host_tools.pki import certificates
    from host_tools.pki.profiles import PROFILES, Wishes, extensions

    info = certificates.key_info(signer)
    asked = Wishes(path_length=options["path_length"])
    if under is None:
        own = certificates.key_identifier(info)
        added = extensions(PROFILES["ca"], asked, info, own)
        return certificates.self_signed(signer, subject, period, added)
    secrets = CaSecrets(
        ISSUER_PASSPHRASE,
        options["issuer_passphrase_file"],
        options["pin"],
        options["pin_file"],
    )
    with secrets.signer(under) as issuer:
        return under.issue(
            issuer, subject=subject, info=info, profile="ca", validity=period, wishes=asked
        )
