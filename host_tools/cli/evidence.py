"""Certificates, CRLs and OCSP responses that a command is given as files and folders."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from host_tools.cli.failures import Exit, Failure

if TYPE_CHECKING:
    from asn1crypto import crl, ocsp, x509

_T = TypeVar("_T")


def certificates_of(places: Iterable[Path]) -> "list[x509.Certificate]":
    """The certificates in files (PEM or DER), and in those files of folders that hold any."""
    from host_tools.signing.structures import certificates_in

    return _found(places, certificates_in)


def crls_of(places: Iterable[Path]) -> "list[crl.CertificateList]":
    """The revocation lists, likewise."""
    from host_tools.signing.structures import crls_in

    return _found(places, crls_in)


def responses_of(places: Iterable[Path]) -> "list[ocsp.BasicOCSPResponse]":
    """The OCSP responses, likewise; DER only."""
    from host_tools.signing.structures import response_in

    return _found(places, lambda content: [response_in(content)])


def authorities_of_home() -> "list[x509.Certificate]":
    """The certificates of the authorities in the home folder; what is damaged there is told."""
    from host_tools.ca import Authorities
    from host_tools.control import ControlError
    from host_tools.home import current

    found, authorities = [], Authorities(current())
    for name in authorities.names():
        try:
            found.append(authorities.open(name).certificate)
        except ControlError as error:
            click.echo(f"{error.message} It is passed over.", err=True)
    return found


def _found(places: Iterable[Path], read: Callable[[bytes], list[_T]]) -> list[_T]:
    """What is read. Raises Failure for a file that is named and holds nothing of it."""
    from host_tools.pki.errors import Malformed

    found: list[_T] = []
    for place in places:
        before = len(found)
        for file in sorted(place.iterdir()) if place.is_dir() else [place]:
            try:
                found += read(file.read_bytes()) if file.is_file() else []
            except Malformed as error:
                if file is place:
                    raise Failure(Exit.USAGE, f"{file}: {error.message}") from error
        if len(found) == before:
            raise Failure(Exit.USAGE, f"There is nothing of that kind in {place}.")
    return found
