"""``klyuch cert ca``: a small certification authority in the home folder."""

import click

from host_tools.cli.ca_create import create
from host_tools.cli.ca_issue import issue, revoke
from host_tools.cli.ca_show import export, list_authorities, show
from host_tools.cli.ca_status import crl, ocsp


@click.group()
def ca() -> None:
    """Run a small certification authority (удостоверяющий центр)."""


for _command in (create, issue, revoke, crl, ocsp, list_authorities, show, export):
    ca.add_command(_command)
