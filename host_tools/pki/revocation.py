"""What tells that certificates are revoked: CRLs (RFC 5280 5) and OCSP answers (RFC 6960)."""

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from asn1crypto import crl, ocsp

from host_tools.pki import algorithms
from host_tools.pki.asn1 import core, parse, x509
from host_tools.pki.certificates import Validity, key_identifier, time
from host_tools.pki.errors import Malformed, PkiError
from host_tools.pki.signer import Signer

REASONS: Final = (
    "unspecified",
    "key_compromise",
    "ca_compromise",
    "affiliation_changed",
    "superseded",
    "cessation_of_operation",
    "privilege_withdrawn",
    "aa_compromise",
)
"""Why a certificate is revoked for good, by asn1crypto's names (RFC 5280 5.3.1)."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """That a certificate was revoked: when, in whole seconds of UTC, and why, of REASONS."""

    at: datetime
    reason: str


def authority_identifier(certificate: Any) -> bytes:
    """What an authority's certificate says its key is called."""
    named = certificate.key_identifier_value
    if named is not None:
        return bytes(named.native)
    return key_identifier(certificate.public_key)


def revocation_list(
    signer: Signer,
    issuer: Any,
    revoked: Iterable[tuple[int, Revocation]],
    number: int,
    period: Validity,
) -> bytes:
    """A version 2 CRL in DER by the authority with that certificate.

    The period is from this update to the next one.
    """
    algorithm = algorithms.signing(signer.spec).identifier()
    named = x509.AuthorityKeyIdentifier({"key_identifier": authority_identifier(issuer)})
    body = crl.TbsCertList(
        {
            "version": "v2",
            "signature": algorithm,
            "issuer": issuer.subject,
            "this_update": time(period.not_before),
            "next_update": time(period.not_after),
            "crl_extensions": [
                {"extn_id": "authority_key_identifier", "extn_value": named},
                {"extn_id": "crl_number", "extn_value": core.Integer(number)},
            ],
        }
    )
    entries = [_entry(serial, revocation) for serial, revocation in revoked]
    if entries:
        body["revoked_certificates"] = entries
    whole = crl.CertificateList(
        {
            "tbs_cert_list": body,
            "signature_algorithm": algorithm,
            "signature": signer.sign(body.dump()),
        }
    )
    return bytes(whole.dump())


def _entry(serial: int, revocation: Revocation) -> Any:
    entry = crl.RevokedCertificate(
        {"user_certificate": serial, "revocation_date": time(revocation.at)}
    )
    # RFC 5280 5.3.1: no reason is better than "unspecified".
    if revocation.reason != "unspecified":
        reason = crl.CRLReason(revocation.reason)
        entry["crl_entry_extensions"] = [{"extn_id": "crl_reason", "extn_value": reason}]
    return entry


Status = Callable[[int], Revocation | None]
"""Tells of a serial number whether it is revoked. Raises LookupError for an unknown one."""


def answer(
    request: bytes,
    issuer: Any,
    status: Status,
    *,
    signer: Signer,
    period: Validity,
    responder: Any = None,
) -> bytes:
    """The OCSPResponse (DER) to an OCSPRequest about certificates of the authority ``issuer``.

    Certificates that others issued are unknown. The answer is signed by the authority, or by the
    ``responder`` whose certificate goes with it. Raises Malformed.
    """
    asked = parse(ocsp.OCSPRequest, request, "OCSP request")
    if not len(asked["tbs_request"]["request_list"]):
        raise Malformed("The OCSP request asks about no certificate.")
    body = ocsp.ResponseData(
        {
            "responder_id": ocsp.ResponderId(
                name="by_key",
                value=core.OctetString(key_identifier((responder or issuer).public_key)),
            ),
            "produced_at": period.not_before,
            "responses": [
                {
                    "cert_id": one["req_cert"],
                    "cert_status": _status(one["req_cert"], issuer, status),
                    "this_update": period.not_before,
                    "next_update": period.not_after,
                }
                for one in asked["tbs_request"]["request_list"]
            ],
        }
    )
    nonce = asked.nonce_value
    if nonce is not None:
        body["response_extensions"] = [{"extn_id": "nonce", "extn_value": nonce}]
    return _signed(body, signer, responder)


def _signed(body: Any, signer: Signer, responder: Any) -> bytes:
    """The OCSPResponse (DER) with that ResponseData, by the authority or its responder."""
    basic = ocsp.BasicOCSPResponse(
        {
            "tbs_response_data": body,
            "signature_algorithm": algorithms.signing(signer.spec).identifier(),
            "signature": signer.sign(body.dump()),
        }
    )
    if responder is not None:
        basic["certs"] = [responder]
    whole = ocsp.OCSPResponse(
        {
            "response_status": "successful",
            "response_bytes": {"response_type": "basic_ocsp_response", "response": basic},
        }
    )
    return bytes(whole.dump())


def _status(asked: Any, issuer: Any, status: Status) -> Any:
    unknown = ocsp.CertStatus(name="unknown", value=ocsp.StatusUnknown())
    if not _is_of(asked, issuer):
        return unknown
    try:
        revocation = status(asked["serial_number"].native)
    except LookupError:
        return unknown
    if revocation is None:
        return ocsp.CertStatus(name="good", value=ocsp.StatusGood())
    told = {"revocation_time": revocation.at}
    info = ocsp.RevokedInfo(told)
    if revocation.reason != "unspecified":
        info["revocation_reason"] = revocation.reason
    return ocsp.CertStatus(name="revoked", value=info)


def _is_of(asked: Any, issuer: Any) -> bool:
    """Whether a CertID names the authority (RFC 6960 4.1.1), by any hash known here."""
    key = issuer.public_key["public_key"].contents[1:]
    pairs = (
        (asked["issuer_name_hash"].native, issuer.subject.dump()),
        (asked["issuer_key_hash"].native, key),
    )
    return all(
        hmac.compare_digest(named, _hash_of(asked["hash_algorithm"], content))
        for named, content in pairs
    )


def _hash_of(algorithm: Any, content: bytes) -> bytes:
    try:
        running = algorithms.new_digest(algorithm["algorithm"].native)
    except PkiError:
        return b""
    running.update(content)
    return running.finish()
