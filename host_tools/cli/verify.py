"""``klyuch verify``: whether the signatures of a file hold, and if not, why."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from host_tools.cli.evidence import authorities_of_home, certificates_of, crls_of, responses_of
from host_tools.cli.failures import Exit, Failure
from host_tools.cli.out_file import OutFile, out_option
from host_tools.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from host_tools.control import Json
    from host_tools.signing.flaws import VerificationError
    from host_tools.signing.verification import Rules, SignerReport

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_PLACES = click.Path(exists=True, path_type=Path)
_PDF_HEADER: Final = b"%PDF-"
_PDF_HEADER_ROOM: Final = 1024
"""Within so many bytes readers look for the header of a PDF document."""
_SIGNING_TIME: Final = "signing-time"
_HINTS: Final = {
    "untrusted": "If you trust it, name it: --trust FILE",
    "broken chain": "If you have what is missing: --cert FILE",
    "no revocation data": "Give a CRL by --crl FILE, or an OCSP response by --ocsp FILE.",
    "signed in the future": "Look at the clock of this computer: the signer's may be right.",
}
_AT_HINT: Final = "If you know when it was signed: --at TIME; as the signer says: --at signing-time"


def _moment(_ctx: click.Context, _parameter: click.Parameter, value: str) -> datetime | None:
    """The moment to judge at; None for the signing time."""
    if value == _SIGNING_TIME:
        return None
    if value == "now":
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is none of: now, {_SIGNING_TIME}, 2026-01-31, 2026-01-31T12:00:00Z."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.command(
    epilog="""\b
Examples:
  klyuch verify contract.txt --trust root.pem
  klyuch verify contract.txt other-name.p7s --trust roots/ --crl root.crl --require-revocation
  klyuch verify contract.p7m --trust root.pem --out contract.txt
  klyuch verify report.pdf --pdf --trust root.pem --at signing-time
"""
)
@click.argument("file", type=_FILE)
@click.argument("signature", type=_FILE, required=False)
@click.option(
    "--trust",
    "--ca",
    "trusted",
    multiple=True,
    type=_PLACES,
    help="Certificates to trust, a file or a folder; can be repeated.",
)
@click.option(
    "--cert",
    "certificates",
    multiple=True,
    type=_PLACES,
    help="Certificates the signature may lack, a file or a folder; can be repeated.",
)
@click.option(
    "--crl",
    "crls",
    multiple=True,
    type=_PLACES,
    help="Revocation lists, a file or a folder; can be repeated.",
)
@click.option(
    "--ocsp",
    "responses",
    multiple=True,
    type=_PLACES,
    help="OCSP responses, a file or a folder; can be repeated.",
)
@click.option(
    "--require-revocation",
    is_flag=True,
    help="Fail where no CRL and no OCSP response tells of a certificate.",
)
@click.option(
    "--at",
    "moment",
    default="now",
    show_default=True,
    callback=_moment,
    metavar="TIME",
    help="When the certificates have to hold: now, signing-time, or a date and time (UTC).",
)
@click.option("--pdf", is_flag=True, help="Verify the signatures in a PDF document.")
@out_option("--out", "-o", help="Write the content of an attached signature there, if it holds.")
@json_option
def verify(
    *,
    file: Path,
    signature: Path | None,
    trusted: tuple[Path, ...],
    certificates: tuple[Path, ...],
    crls: tuple[Path, ...],
    responses: tuple[Path, ...],
    require_revocation: bool,
    moment: datetime | None,
    pdf: bool,
    out: OutFile | None,
    as_json: bool,
) -> None:
    """Verify the signatures of a FILE.

    Trusted are the roots in --trust, and those of the home folder: klyuch cert ca list.

    SIGNATURE is where they are: FILE.p7s, FILE.sig or FILE.sgn where there is one, else in FILE
    itself. All have to hold; the exit code is that of the first that does not. Nothing is fetched
    from a network.
    """
    from host_tools.signing.structures import Evidence
    from host_tools.signing.verification import Rules

    if pdf and (signature or out):
        raise click.UsageError("A PDF document has its signatures in it: give it alone.")
    ours = authorities_of_home()
    roots = [one for one in ours if one.subject == one.issuer]
    evidence = Evidence(
        anchors=(*certificates_of(trusted), *roots),
        others=(*certificates_of(certificates), *ours),
        crls=tuple(crls_of(crls)),
        responses=tuple(responses_of(responses)),
        require_revocation=require_revocation,
    )
    judge = _pdf if pdf else _cms
    reports, content = _read(lambda: judge(file, signature, Rules(evidence, moment)))
    _show(file, reports, as_json=as_json)
    failures = [one.failure for one in reports if one.failure is not None]
    if failures:
        raise _failure(failures)
    if out is not None:
        _extract(out, content)


_Judged = tuple[list["SignerReport"], bytes | None]


def _read(judge: Callable[[], _Judged]) -> _Judged:
    """What is found. Raises Failure where there is no signature to judge."""
    from host_tools.pki.errors import Malformed
    from host_tools.signing.flaws import VerificationError

    try:
        return judge()
    except Malformed as error:
        raise Failure(Exit.MALFORMED, error.message, error.hint) from error
    except VerificationError as error:
        raise _failure([error]) from error


def _cms(file: Path, signature: Path | None, rules: "Rules") -> _Judged:
    from host_tools.pki.errors import Malformed
    from host_tools.signing import cms, files
    from host_tools.signing.verification import verify

    place = signature or files.signature_of(file) or file
    text = place.read_bytes()
    try:
        signed = cms.load(text)
    except Malformed as error:
        if place is file and not files.is_named_as_signature(file):
            raise _unsigned(file, text, str(error)) from error
        raise
    content = cms.content_of(signed)
    if content is not None and place is file:
        return verify(signed, lambda: [content], rules), content
    if content is not None:
        raise Failure(
            Exit.USAGE,
            f"{place} has its content in it.",
            f"Verify it alone: klyuch verify {place}; by --out FILE its content is written.",
        )
    named = file if place is not file else files.signed_by(file)
    if named is None:
        raise Failure(
            Exit.USAGE,
            f"{file} is a detached signature: the file it is of has to be named.",
            f"As in: klyuch verify FILE {file}",
        )
    return verify(signed, lambda: files.pieces(named), rules), None


def _unsigned(file: Path, content: bytes, found: str) -> Failure:
    """There is no signature of a file beside it; `found` says why there is none in it."""
    from host_tools.signing import files

    names = ", ".join(one.name for one in files.places_beside(file))
    hint = f"Name the file that it is in: klyuch verify {file} SIGNATURE"
    if _PDF_HEADER in content[:_PDF_HEADER_ROOM]:
        hint = f"For the signatures in a PDF document: klyuch verify {file} --pdf"
    return Failure(
        Exit.MALFORMED,
        f"No signature of {file} was found beside it ({names}) or in it: {found}",
        hint,
    )


def _pdf(file: Path, _signature: Path | None, rules: "Rules") -> _Judged:
    from host_tools.signing import pdf

    return pdf.verify(file.read_bytes(), rules), None


def _failure(failures: Sequence["VerificationError"]) -> Failure:
    first = failures[0]
    message = "\n".join(dict.fromkeys(str(one) for one in failures))
    hint = _AT_HINT if first.at_other_times else _HINTS.get(first.flaw, "")
    return Failure(Exit[first.flaw.name], message, hint)


def _show(file: Path, reports: Sequence["SignerReport"], *, as_json: bool) -> None:
    from host_tools.signing.wording import day

    documents = [_document(one) for one in reports]
    if as_json:
        valid = not any(one.failure for one in reports)
        print_json({"file": str(file), "valid": valid, "signatures": documents})
        return
    names = ("signer", "form", "algorithm", "revocation", "remark", "verdict")
    rows = []
    for one, document in zip(reports, documents, strict=True):
        name, *others = (str(document[name]) for name in names)
        rows.append([name, day(one.signing_time) if one.signing_time else "", *others])
    columns = ("Signer", "Signed at", "Form", "Algorithm", "Revocation", "Remarks", "Verdict")
    print_table(columns, rows)


def _document(one: "SignerReport") -> "Json":
    from host_tools.signing.wording import who

    path = one.path
    checked = [] if path is None else [source or "not checked" for source in path.revocation]
    return {
        "signer": one.name,
        "serial": f"{one.serial:x}",
        "algorithm": one.algorithm,
        "form": one.form,
        "signing_time": one.signing_time.isoformat() if one.signing_time else None,
        "chain": [who(each) for each in path.certificates] if path else [],
        "revocation": ", ".join(dict.fromkeys(checked)),
        "remark": one.remark,
        "verdict": one.failure.flaw.value if one.failure else "ok",
        "message": str(one.failure) if one.failure else "",
    }


def _extract(out: OutFile, content: bytes | None) -> None:
    if content is None:
        raise click.UsageError("The signature is detached: there is no content to write by --out.")
    out.write(content)
