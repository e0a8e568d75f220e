"""Signatures in PDF documents (ISO 32000-2 12.8): our CMS over the bytes of the document.

pyHanko reads and writes the document; the package comes with the extra ``sign``.
"""

import logging
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from typing import Final

from asn1crypto import parser

from host_tools.extras import missing
from host_tools.pki.errors import Malformed, PkiError
from host_tools.signing import cms
from host_tools.signing.flaws import Flaw, VerificationError
from host_tools.signing.verification import Rules, SignerReport
from host_tools.signing.verification import verify as verify_cms

try:
    from pyhanko.pdf_utils import misc
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.diff_analysis import (
        DEFAULT_DIFF_POLICY,
        ModificationLevel,
        SuspiciousModification,
    )
    from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter
    from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigObjSetup
    from pyhanko.sign.signers.pdf_byterange import SignatureObject
    from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
except ImportError as error:
    raise missing("pyhanko", "Signatures in PDF documents") from error

# It logs what it finds odd in a document; what counts is told by our errors.
logging.getLogger("pyhanko").addHandler(logging.NullHandler())
logging.getLogger("pyhanko").propagate = False
# Of a signature with its chain; twice as much in hexadecimal.
_ROOM: Final = 32 * 1024
_DETACHED: Final = frozenset(("/ETSI.CAdES.detached", "/adbe.pkcs7.detached"))
# What pyHanko raises for a document that it cannot make sense of.
_UNREADABLE: Final = (
    misc.PdfError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    NotImplementedError,
    RecursionError,
    OverflowError,
)


def sign(document: bytes, identity: cms.Identity, signing_time: datetime) -> bytes:
    """The document with a signature (ETSI.CAdES.detached) added to it, as an update.

    The signing time is in the signature dictionary (ETSI EN 319 142-1 6.3). Raises Malformed for
    what is no PDF document, PkiError for a chain that has no room, and what the signer raises.
    """
    try:
        writer = IncrementalPdfFileWriter(BytesIO(document))
        steps = PdfCMSEmbedder().write_cms(_free_name(writer), writer=writer)
        next(steps)
        steps.send(SigObjSetup(sig_placeholder=_placeholder(signing_time)))
        # pyHanko digests by what it knows; the digest that counts is made below.
        prepared, output = steps.send(SigIOSetup(md_algorithm="sha256", in_place=False))
    except _UNREADABLE as error:
        raise Malformed("This is no PDF document that can be signed.") from error
    content = output.getvalue()
    covered = (
        content[: prepared.reserved_region_start],
        content[prepared.reserved_region_end :],
    )
    digest = cms.digests(covered, [identity.digest])[identity.digest]
    signature = cms.sign(identity, digest, signing_time=None)
    if len(signature) > _ROOM:
        raise PkiError(
            f"The signature has {len(signature)} bytes, and the document has room for {_ROOM}.",
            "Leave certificates out that it does not need.",
        )
    steps.send(signature)
    return bytes(output.getvalue())


def _placeholder(signing_time: datetime) -> SignatureObject:
    return SignatureObject(
        timestamp=signing_time, subfilter=SigSeedSubFilter.PADES, bytes_reserved=2 * _ROOM
    )


def _free_name(writer: IncrementalPdfFileWriter) -> str:
    """A name that no field of the document has."""
    taken = {one.fq_name for one in PdfFileReader(writer.prev.stream).embedded_signatures}
    number = 1
    while f"Signature{number}" in taken:
        number += 1
    return f"Signature{number}"


def verify(document: bytes, rules: Rules) -> list[SignerReport]:
    """Judge each signature of a document, in their order.

    What was changed after a signature was made has to be harmless: another signature, a form
    filled in. Raises Malformed and VerificationError (MALFORMED) where there is none to judge.
    """
    try:
        found = PdfFileReader(BytesIO(document)).embedded_signatures
    except _UNREADABLE as error:
        raise Malformed("This is no PDF document, or it is damaged.") from error
    if not found:
        raise VerificationError(Flaw.MALFORMED, "The document has no signature.")
    return [report for one in found for report in _reports(document, one, rules)]


def _reports(document: bytes, one: EmbeddedPdfSignature, rules: Rules) -> list[SignerReport]:
    try:
        if one.sig_object.get("/SubFilter") not in _DETACHED:
            raise VerificationError(Flaw.MALFORMED, "Signatures of this kind are not known here.")
        covered = _covered(document, one)
    except VerificationError as error:
        return [SignerReport(name=str(one.fq_name), failure=error)]
    try:
        claimed = one.self_reported_timestamp
    except _UNREADABLE as error:
        raise Malformed("The time of a signature is damaged.") from error
    signed = cms.load(_without_padding(one.pkcs7_content))
    reports = verify_cms(signed, lambda: covered, rules, claimed)
    later = len(document) - int(one.byte_range[2]) - int(one.byte_range[3])
    if not later:
        return reports
    harm = _harm(one)
    remark = f"{later} bytes were added to the document after it"
    return [replace(report, remark=remark, failure=report.failure or harm) for report in reports]


def _covered(document: bytes, one: EmbeddedPdfSignature) -> tuple[bytes, bytes]:
    """The two pieces that are signed: all from the start on but the signature between them.

    Raises VerificationError (TAMPERED) for any other ranges.
    """
    ranges = [int(number) for number in one.byte_range]
    if len(ranges) == 4 and not ranges[0] and 0 < ranges[1] < ranges[2] <= sum(ranges[2:]):
        _, first, second, size = ranges
        between = document[first:second].upper()
        whole = second + size <= len(document)
        if whole and between == b"<" + one.pkcs7_content.hex().upper().encode() + b">":
            return document[:first], document[second : second + size]
    raise VerificationError(
        Flaw.TAMPERED, "The signature leaves out more of the document than itself."
    )


def _without_padding(content: bytes) -> bytes:
    """The signature without the zeros that fill its place up. Raises Malformed."""
    try:
        size = parser.peek(content)
    except ValueError as error:
        raise Malformed("A signature in the document is damaged.") from error
    if content[size:].strip(b"\0"):
        raise Malformed("There is something behind a signature in its place.")
    return content[:size]


def _harm(one: EmbeddedPdfSignature) -> VerificationError | None:
    """What was done to the document after the signature, where that is not harmless."""
    changed = VerificationError(Flaw.TAMPERED, "The document was changed after it was signed.")
    if one.signed_revision + 1 == one.reader.total_revisions:
        return changed  # these bytes are no update that could be looked through
    try:
        # The next step asks for it; pyHanko's class declares it as None.
        one.coverage = one.evaluate_signature_coverage()  # type: ignore[assignment]
        found = one.evaluate_modifications(DEFAULT_DIFF_POLICY)
        strict = one.docmdp_level is MDPPerm.NO_CHANGES
    except _UNREADABLE as error:
        found, strict = SuspiciousModification(str(error)), True
    most = ModificationLevel.LTA_UPDATES if strict else ModificationLevel.FORM_FILLING
    if isinstance(found, SuspiciousModification) or found.modification_level > most:
        return changed
    return None
