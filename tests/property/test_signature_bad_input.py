"""Damaged signatures, certificates, CRLs, OCSP responses and documents: an error, nothing else."""

from base64 import encodebytes
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from host_tools.pki.errors import Malformed
from host_tools.pki.signer import FileSigner
from host_tools.signing import cms, pdf
from host_tools.signing.flaws import VerificationError
from host_tools.signing.identity import identity
from host_tools.signing.structures import Evidence, certificates_in, crls_in, response_in
from host_tools.signing.verification import Rules, verify
from tests.interop import signers
from tests.interop.test_sign_pdf import document

LETTER = b"Dear Bob\n"
NOW = datetime.now(UTC)
ROOT = signers.authority("Root")
ANN = signers.holder("Ann", ROOT)
CRL = signers.revocation_list(ROOT, ANN.certificate)
GOOD_CRL = signers.revocation_list(ROOT)
OCSP = signers.response(ANN.certificate, ROOT)
DER = ANN.certificate.public_bytes(Encoding.DER)
KNOWN = certificates_in(signers.pem(ANN.certificate, ROOT.certificate))


def who() -> cms.Identity:
    key = ANN.key.private_bytes(
        Encoding.PEM,
        PrivateFormat.PKCS8,
        NoEncryption(),
    )
    return identity(FileSigner.load(key), KNOWN, (), NOW)


SIGNATURE = cms.sign(
    who(),
    cms.digests([LETTER], ["sha256"])["sha256"],
    signing_time=NOW,
    content=LETTER,
)
PAPER = pdf.sign(document(), who(), NOW)
SIGNED = cms.load(SIGNATURE)
REVOKING = crls_in(CRL)
RULES = Rules(Evidence(anchors=(KNOWN[1],)), NOW)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Some bytes changed, taken out or put in."""
    made = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(made) - 1))
        how = draw(st.sampled_from(("change", "delete", "insert", "cut")))
        if how == "change":
            made[at] ^= draw(st.integers(1, 255))
        elif how == "delete":
            del made[at : at + draw(st.integers(1, 20))]
        elif how == "insert":
            made[at:at] = draw(st.binary(min_size=1, max_size=20))
        else:
            del made[max(at, 1) :]
        made = made or bytearray(b"0")
    return bytes(made)


@given(damaged(SIGNATURE))
def test_a_damaged_signature_is_refused(content: bytes) -> None:
    """What is not signed may be changed: then the letter and the signer are still the same."""
    try:
        signed = cms.load(content)
        inside = cms.content_of(signed)
        reports = verify(signed, lambda: [inside or b""], RULES)
    except (Malformed, VerificationError):
        return
    for one in reports:
        assert one.failure is not None or (inside, one.name) == (LETTER, "CN=Ann")


WRAPPED = {
    "base64": encodebytes(SIGNATURE),
    "message": (
        b"MIME-Version: 1.0\nContent-Type: multipart/signed; boundary=x\n\n--x\n\nDear Bob\n--x\n"
        b"Content-Type: application/pkcs7-signature\nContent-Transfer-Encoding: base64\n\n"
        + encodebytes(SIGNATURE)
        + b"--x--\n"
    ),
}


@pytest.mark.parametrize("wrapping", WRAPPED)
@given(data=st.data())
def test_a_damaged_wrapping_is_refused(*, wrapping: str, data: st.DataObject) -> None:
    whole = WRAPPED[wrapping]
    assert cms.content_of(cms.load(whole)) == LETTER
    try:
        signed = cms.load(data.draw(damaged(whole)))
        inside = cms.content_of(signed)
        reports = verify(signed, lambda: [inside or b""], RULES)
    except (Malformed, VerificationError):
        return
    for one in reports:
        assert one.failure is not None or (inside, one.name) == (LETTER, "CN=Ann")


def test_messages_in_messages_come_to_an_end() -> None:
    deep = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (one, one)
        for one in range(3000)
    )
    with pytest.raises(Malformed):
        cms.load(deep)


def test_an_undamaged_signature_holds() -> None:
    (one,) = verify(SIGNED, lambda: [LETTER], RULES)
    assert one.failure is None


@given(st.binary(max_size=200))
def test_bytes_are_no_signature(content: bytes) -> None:
    for read in (cms.load, certificates_in, crls_in, response_in):
        with pytest.raises(Malformed):
            read(content)


@given(damaged(DER), damaged(GOOD_CRL), damaged(OCSP))
def test_damaged_evidence_never_makes_a_signature_hold_by_itself(
    certificate: bytes, crl: bytes, response: bytes
) -> None:
    """With a CRL that revokes the signer; a damaged one beside it cannot take that back."""

    def read(reader: object, content: bytes) -> tuple[object, ...]:
        assert callable(reader)
        try:
            found = reader(content)
        except Malformed:
            return ()
        return tuple(found) if isinstance(found, list) else (found,)

    evidence = Evidence(
        anchors=(KNOWN[1],),
        others=read(certificates_in, certificate),
        crls=(*read(crls_in, crl), *REVOKING),
        responses=read(response_in, response),
    )
    (one,) = verify(SIGNED, lambda: [LETTER], Rules(evidence, NOW))
    assert one.failure is not None


@given(damaged(PAPER))
def test_a_damaged_document_is_refused(content: bytes) -> None:
    try:
        reports = pdf.verify(content, RULES)
    except (Malformed, VerificationError):
        return
    assert all(one.failure is not None for one in reports) or covered(content) == covered(PAPER)


def covered(paper: bytes) -> tuple[bytes, bytes]:
    """What is signed; the letters of hexadecimal digits between may be large or small."""
    before, _, rest = paper.partition(b"/Contents <")
    return before, rest.partition(b">")[2]
