"""Whether a certificate was revoked: by the CRLs and OCSP responses a verifier was given.

Evidence that covers a certificate and cannot be used (forged, stale) is a failure where nothing
else tells: it is not as good as none. What says "revoked" counts also after its time. What was
made after the moment that is judged at tells of that moment too (ETSI EN 319 102-1 5.2.5).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from asn1crypto import crl, ocsp, x509

from host_tools.pki import algorithms
from host_tools.pki.errors import UnknownAlgorithm
from host_tools.signing.flaws import Flaw, VerificationError
from host_tools.signing.purposes import check_extensions
from host_tools.signing.structures import Evidence, certificate_trouble, signature_trouble
from host_tools.signing.wording import day, who

# RFC 6960 4.2.2.1: without nextUpdate newer information is there at any time.
_FRESH_WITHOUT_NEXT: Final = timedelta(days=1)
# A CRL with another critical extension covers less, or other, than all of its issuer's.
_CRL_EXTENSIONS: Final = frozenset(("crl_number", "authority_key_identifier"))


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one piece of evidence says: from when the certificate is revoked, or that it is not.

    `unusable` tells, in words that follow the name of the evidence, why it proves nothing good.
    """

    source: str
    since: datetime | None = None
    reason: str = ""
    unusable: str = ""


def check(
    certificate: x509.Certificate, issuer: x509.Certificate, evidence: Evidence, moment: datetime
) -> str:
    """What showed that the certificate was not revoked: "OCSP", "CRL" or, for nothing, "".

    Of one that was revoked after the moment it tells when, as in "CRL: revoked later, on ...".
    Raises VerificationError (REVOKED, NO_REVOCATION_DATA).
    """
    answers = [
        *_by_responses(certificate, issuer, evidence, moment),
        *_by_lists(certificate, issuer, evidence, moment),
    ]
    name = who(certificate)
    for one in answers:
        if one.since is not None and one.since <= moment:
            raise VerificationError(
                Flaw.REVOKED,
                f"The certificate of {name} was revoked on {day(one.since)}"
                f" ({one.reason or 'no reason given'}), says {one.source}.",
            )
    good = [one for one in answers if not one.unusable]
    for one in good:
        if one.since is not None:
            return f"{one.source}: revoked later, on {day(one.since)}"
    if good:
        return good[0].source
    if not (answers or evidence.require_revocation):
        return ""
    why = "; ".join(f"{one.source} {one.unusable}" for one in answers)
    raise VerificationError(
        Flaw.NO_REVOCATION_DATA,
        f"Nothing shows that the certificate of {name} is not revoked"
        + (f": {why}." if why else "; no CRL and no OCSP response covers it."),
    )


@dataclass(frozen=True, slots=True)
class _Times:
    """When evidence was made, and when the next is to follow."""

    this: datetime
    following: datetime | None

    def unusable(
        self, certificate: x509.Certificate, now: datetime, moment: datetime, *, listed: bool
    ) -> str:
        """Why a certificate may have been revoked at that moment and it does not say so.

        `listed` tells whether it says that the certificate was revoked later.
        """
        if self.this > max(now, moment):
            return f"is made only on {day(self.this)}"
        if self.this > certificate.not_valid_after and not listed:
            # RFC 5280 3.3: what has expired may be taken off the lists.
            return f"is of {day(self.this)}, when the certificate had expired"
        last = self.following or self.this + _FRESH_WITHOUT_NEXT
        return f"is out of date since {day(last)}" if last < moment else ""


def _by_lists(
    certificate: x509.Certificate, issuer: x509.Certificate, evidence: Evidence, moment: datetime
) -> Iterator[_Answer]:
    for one in evidence.crls:
        if one.issuer != certificate.issuer:
            continue
        forgery = _forgery(one, issuer)
        if forgery:
            yield _Answer("CRL", unusable=forgery)
            continue
        body = one["tbs_cert_list"]
        since, reason, strange = _entry(body, certificate.serial_number)
        times = _Times(body["this_update"].native, body["next_update"].native)
        stale = times.unusable(certificate, evidence.now, moment, listed=since is not None)
        yield _Answer("CRL", since, reason, _limits(body, certificate) or strange or stale)


def _forgery(one: crl.CertificateList, issuer: x509.Certificate) -> str:
    """Why a CRL of the issuer's name is not the issuer's (RFC 5280 6.3.3 f and g)."""
    body, identifier = one["tbs_cert_list"], one["signature_algorithm"]
    usage = issuer.key_usage_value
    if usage is not None and "crl_sign" not in usage.native:
        return "is by a key that is not for CRLs"
    trouble = signature_trouble(issuer, identifier, body.dump(), one.signature)
    if trouble or body["signature"].dump() != identifier.dump():
        return "has a wrong signature"
    return ""


def _limits(body: Any, certificate: x509.Certificate) -> str:
    """Why a CRL that does not name a certificate proves nothing of it (RFC 5280 5.2)."""
    for extension in body["crl_extensions"]:
        kind = extension["extn_id"].native
        if kind == "issuing_distribution_point":
            if not _covers(extension["extn_value"].parsed, certificate):
                return "is not for such certificates"
        elif extension["critical"].native and kind not in _CRL_EXTENSIONS:
            return f"has a critical extension that is not known here ({kind})"
    return ""


def _covers(point: Any, certificate: x509.Certificate) -> bool:
    """RFC 5280 5.2.5, of CRLs that are direct and hold all reasons."""
    partial = (
        point["indirect_crl"].native
        or point["only_some_reasons"].native
        or point["only_contains_attribute_certs"].native
    )
    left_out = "only_contains_user_certs" if certificate.ca else "only_contains_ca_certs"
    return not partial and not point[left_out].native


def _entry(body: Any, serial: int) -> tuple[datetime | None, str, str]:
    """When and why a serial number was revoked, and what forbids to say that it was not.

    From an entry with a certificate issuer on, the numbers are another's (RFC 5280 5.3.3).
    """
    strange = ""
    for entry in body["revoked_certificates"]:
        reason = ""
        for extension in entry["crl_entry_extensions"]:
            kind = extension["extn_id"].native
            if kind == "crl_reason":
                reason = _words(extension["extn_value"].parsed)
            elif kind == "certificate_issuer":
                return None, "", "is about certificates of others too"
            elif extension["critical"].native and kind != "invalidity_date":
                strange = f"has an entry with a critical extension that is not known here ({kind})"
        if entry["user_certificate"].native == serial and reason != "remove from crl":
            return entry["revocation_date"].native, reason, ""
    return None, "", strange


def _words(reason: Any) -> str:
    """A CRLReason (RFC 5280 5.3.1) in words; nothing where there is none."""
    return str(reason.native or "").replace("_", " ")


def _by_responses(
    certificate: x509.Certificate, issuer: x509.Certificate, evidence: Evidence, moment: datetime
) -> Iterator[_Answer]:
    for response in evidence.responses:
        for single in response["tbs_response_data"]["responses"]:
            if not _is_about(single["cert_id"], certificate, issuer):
                continue
            trouble = _responder_trouble(response, issuer, evidence, moment)
            if trouble:
                yield _Answer("OCSP", unusable=trouble)
            else:
                yield _single(single, certificate, evidence, moment)


def _single(
    single: ocsp.SingleResponse,
    certificate: x509.Certificate,
    evidence: Evidence,
    moment: datetime,
) -> _Answer:
    status = single["cert_status"]
    if status.name == "unknown":
        return _Answer("OCSP", unusable="does not know it")
    since, reason = None, ""
    if status.name == "revoked":
        since = status.chosen["revocation_time"].native
        reason = _words(status.chosen["revocation_reason"])
    times = _Times(single["this_update"].native, single["next_update"].native)
    stale = times.unusable(certificate, evidence.now, moment, listed=since is not None)
    return _Answer("OCSP", since, reason, stale)


def _is_about(
    identifier: ocsp.CertId, certificate: x509.Certificate, issuer: x509.Certificate
) -> bool:
    """RFC 6960 4.1.1: hashes of the issuer's name and of its key, without the unused bits."""
    if identifier["serial_number"].native != certificate.serial_number:
        return False
    try:
        name, key = (
            _digest(identifier["hash_algorithm"], content)
            for content in (certificate.issuer.dump(), _key_bits(issuer))
        )
    except UnknownAlgorithm:
        return False
    return bool(
        identifier["issuer_name_hash"].native == name
        and identifier["issuer_key_hash"].native == key
    )


def _digest(identifier: Any, content: bytes) -> bytes:
    running = algorithms.new_digest(identifier["algorithm"].native)
    running.update(content)
    return running.finish()


def _key_bits(certificate: x509.Certificate) -> bytes:
    """The contents of the BIT STRING of a public key, without the count of unused bits."""
    return bytes(certificate.public_key["public_key"].contents[1:])


def _responder_trouble(
    response: ocsp.BasicOCSPResponse,
    issuer: x509.Certificate,
    evidence: Evidence,
    moment: datetime,
) -> str:
    """Why the signer of a response may not speak for the issuer (RFC 6960 4.2.2.2)."""
    for one in (issuer, *response["certs"]):
        if not signature_trouble(
            one,
            response["signature_algorithm"],
            response["tbs_response_data"].dump(),
            response["signature"].native,
        ):
            if one is issuer:
                return ""
            made = response["tbs_response_data"]["produced_at"].native
            return _delegate_trouble(one, issuer, evidence, max(made, moment))
    return "has a wrong signature"


def _delegate_trouble(
    one: x509.Certificate, issuer: x509.Certificate, evidence: Evidence, moment: datetime
) -> str:
    purposes, usage = one.extended_key_usage_value, one.key_usage_value
    if one.issuer != issuer.subject or certificate_trouble(one, issuer):
        return "is by a responder that the issuer did not name"
    if purposes is None or "ocsp_signing" not in purposes.native:
        return "is by a certificate that is not for OCSP"
    if usage is not None and not usage.native & {"digital_signature", "non_repudiation"}:
        return "is by a responder whose key is not for signatures"
    try:
        check_extensions(one)
    except VerificationError:
        return "is by a responder whose certificate has a critical extension that is not known here"
    if not one.not_valid_before <= moment <= one.not_valid_after:
        return "is by a responder whose certificate is out of date"
    return "" if one.ocsp_no_check_value is not None else _own_state(one, issuer, evidence, moment)


def _own_state(
    one: x509.Certificate, issuer: x509.Certificate, evidence: Evidence, moment: datetime
) -> str:
    """RFC 6960 4.2.2.2.1: a responder's own revocation, by the CRLs that there are."""
    try:
        check(one, issuer, replace(evidence, responses=()), moment)
    except VerificationError as error:
        revoked = error.flaw is Flaw.REVOKED
        return (
            "is by a responder that was revoked"
            if revoked
            else ("is by a responder that nothing shows to be not revoked")
        )
    return ""
