"""``klyuch cert ca list``, ``show`` and ``export``."""

from typing import TYPE_CHECKING

import click

from host_tools.cli.armour import out_options, write
from host_tools.cli.ca_access import authorities_of_home, document_of, serial_of
from host_tools.cli.out_file import OutFile
from host_tools.cli.output import json_option, print_facts, print_json, print_table
from host_tools.control import Json

if TYPE_CHECKING:
    from host_tools.ca import Authority


@click.command("list", epilog="\b\nExample:\n  klyuch cert ca list --json\n")
@json_option
def list_authorities(*, as_json: bool) -> None:
    """List the certification authorities of the home folder."""
    authorities = authorities_of_home()
    documents = [_summary(authorities.open(name)) for name in authorities.names()]
    if as_json:
        print_json(documents)
    elif not documents:
        click.echo("No CA. Make one: klyuch cert ca create NAME --subject CN=…")
    else:
        names = ("name", "subject", "key", "not_after", "issued")
        rows = [[str(one[column]) for column in names] for one in documents]
        print_table(("Name", "Subject", "Key", "Valid until", "Issued"), rows)


def _summary(authority: "Authority") -> Json:
    from host_tools.pki.algorithms import load_key
    from host_tools.pki.names import format_name

    body = authority.certificate["tbs_certificate"]
    place = authority.state.key
    spec = load_key(body["subject_public_key_info"].dump()).spec
    return {
        "name": authority.name,
        "subject": format_name(body["subject"]),
        "key": f"{spec}, {f'on token {place.token}' if place.token else 'in a file'}",
        "not_before": body["validity"]["not_before"].native.isoformat(),
        "not_after": body["validity"]["not_after"].native.isoformat(),
        "under": authority.state.issuer or None,
        "crl_number": authority.state.crl_number,
        "issued": len(authority.state.issued),
    }


@click.command(epilog="\b\nExample:\n  klyuch cert ca show Root\n")
@click.argument("name", metavar="CA")
@json_option
def show(*, name: str, as_json: bool) -> None:
    """Show a CA and the certificates it issued."""
    authority = authorities_of_home().open(name)
    summary = _summary(authority)
    issued = [document_of(one) for one in authority.state.issued.values()]
    if as_json:
        print_json({**summary, "issued": issued})
        return
    print_facts((title, str(value)) for title, value in summary.items() if value is not None)
    if issued:
        columns = ("serial", "subject", "profile", "not_after", "state")
        rows = [[str(one[column]) for column in columns] for one in issued]
        print_table(("Serial", "Subject", "Profile", "Valid until", "State"), rows)


@click.command(
    epilog="""\b
Examples:
  klyuch cert ca export Root --out root.pem
  klyuch cert ca export Issuing --chain --out chain.pem
  klyuch cert ca export Root --serial 1a2b3c
"""
)
@click.argument("name", metavar="CA")
@click.option("--chain", is_flag=True, help="And the certificates of the CAs above it.")
@click.option("--serial", help="Not its own certificate but this one that it issued.")
@out_options
@json_option
def export(
    *, name: str, chain: bool, serial: str | None, out: OutFile | None, der: bool, as_json: bool
) -> None:
    """Write the certificate of a CA, or one that it issued."""
    authorities = authorities_of_home()
    authority = authorities.open(name)
    if serial is not None and chain:
        raise click.UsageError("--chain and --serial do not go together.")
    if serial is not None:
        contents = [authority.issued_certificate(serial_of(authority, serial))]
    elif chain:
        contents = [one.dump() for one in authorities.chain(authority)]
    else:
        contents = [authority.certificate.dump()]
    write("CERTIFICATE", *contents, out=out, der=der, as_json=as_json)
