"""``klyuch sign``: signatures of files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from host_tools.cli.certified_key import CertifiedKey, certified_key_options
from host_tools.cli.evidence import certificates_of
from host_tools.cli.failures import Exit, Failure
from host_tools.cli.out_file import OutFile, OutPath, out_option
from host_tools.cli.output import json_option, print_json

if TYPE_CHECKING:
    from host_tools.signing.cms import Identity

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SIGNATURE = OutPath(
    hint="Name another by --out; where it holds signatures, sign beside them: --add {};"
    " or write over it: --force"
)


@click.command(
    epilog="""\b
Examples:
  klyuch sign contract.txt
  klyuch sign contract.txt --key mail --attached --out contract.p7m
  klyuch sign contract.txt --add contract.txt.p7s --token Second
  klyuch sign report.pdf --pdf
  klyuch sign contract.txt --key-file gost.key --cert gost.pem
"""
)
@click.argument("file", type=_FILE)
@click.option("--attached", is_flag=True, help="Put the content into the signature: FILE.p7m.")
@click.option("--pem", is_flag=True, help="PEM rather than DER.")
@click.option("--add", "existing", type=_FILE, help="Add to the signatures in that file.")
@click.option("--pdf", is_flag=True, help="Put the signature into the PDF document.")
@click.option(
    "--cert",
    "certificates",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Certificates of the signer and of authorities, a file or a folder; can be repeated.",
)
@click.option(
    "--any-certificate",
    is_flag=True,
    help="Sign also by a certificate that no verifier takes: expired, or for something else.",
)
@out_option("--out", "-o", type=_SIGNATURE, help="The file to write, not FILE but for --pdf.")
@certified_key_options
@json_option
def sign(
    *,
    file: Path,
    attached: bool,
    pem: bool,
    existing: Path | None,
    pdf: bool,
    certificates: tuple[Path, ...],
    any_certificate: bool,
    out: OutFile | None,
    as_json: bool,
    **key: Any,
) -> None:
    """Sign a FILE: a CMS signature of the form CAdES-BES goes into FILE.p7s.

    With it go the signer's certificate, which has to be valid now and for documents, and those
    above it, as far as --cert, the token or the container has them.

    A file that exists is written over with --force alone; --add puts one more signature into it.
    """
    from host_tools.signing.identity import identity
    from host_tools.signing.wording import who

    if pdf and (attached or pem or existing):
        raise click.UsageError(
            "--pdf puts the signature into the document: only --out goes with it."
        )
    if existing and attached:
        raise click.UsageError("--add leaves the content where it is: give no --attached.")
    if out is not None:
        if not pdf and out.path.exists() and out.path.samefile(file):
            raise click.UsageError("--out names the document itself: give the signature a file.")
        target = out
    elif existing is not None:
        target = OutFile(existing, force=True)
    else:
        target = _SIGNATURE.named(_beside(file, attached=attached, pdf=pdf)).check()
    choice, known = CertifiedKey(**key), certificates_of(certificates)
    with choice.opened() as (signer, held):
        made = identity(signer, known, held, datetime.now(UTC), any_certificate=any_certificate)
        if pdf:
            content = _pdf(file, made)
        else:
            content = _cms(file, made, existing, attached=attached, pem=pem)
    target.write(content)
    document = {"file": str(file), "signature": str(target), "signer": who(made.certificate)}
    if as_json:
        print_json(document)
    else:
        click.echo(f"Signed by {document['signer']}: {target}")


def _beside(file: Path, *, attached: bool, pdf: bool) -> Path:
    from host_tools.signing import files

    if pdf:
        return file.with_name(f"{file.stem}.signed{file.suffix}")
    return files.beside(file, files.ATTACHED_SUFFIX if attached else files.DETACHED_SUFFIX)


def _cms(
    file: Path, made: "Identity", existing: Path | None, *, attached: bool, pem: bool
) -> bytes:
    from asn1crypto import pem as armour

    from host_tools.signing import cms, files
    from host_tools.signing.verification import is_signed_content

    before = None
    if existing is not None:
        before = cms.load(existing.read_bytes())
        if not is_signed_content(before, lambda: files.pieces(file)):
            raise Failure(
                Exit.TAMPERED,
                f"{file} is not what the signatures in {existing} are of.",
                "Sign the file they are of, or sign this one without --add.",
            )
    content = file.read_bytes() if attached else None
    pieces = files.pieces(file) if content is None else [content]
    der = cms.sign(
        made,
        cms.digests(pieces, [made.digest])[made.digest],
        signing_time=datetime.now(UTC),
        content=content,
        existing=before,
    )
    return bytes(armour.armor("CMS", der)) if pem else der


def _pdf(file: Path, made: "Identity") -> bytes:
    from host_tools.signing import pdf

    return pdf.sign(file.read_bytes(), made, datetime.now(UTC))
