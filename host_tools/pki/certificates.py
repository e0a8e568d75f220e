"""Certificates (RFC 5280 4) and requests for them (RFC 2986), made and read."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asn1crypto import csr

from host_tools.pki import algorithms
from host_tools.pki.asn1 import keys, parse, read, x509
from host_tools.pki.errors import BadSignature
from host_tools.pki.signer import Signer

# RFC 5280 4.1.2.2: positive and at most 20 bytes.
_SERIAL_BYTES: Final = 16
_REQUEST_LABELS: Final = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")


@dataclass(frozen=True, slots=True)
class Validity:
    """From when to when a certificate is valid, in whole seconds of UTC."""

    not_before: datetime
    not_after: datetime

    @classmethod
    def of_days(cls, days: int, start: datetime | None = None) -> "Validity":
        """From a moment on, now if none is given."""
        start = now() if start is None else start
        return cls(start, start + timedelta(days=days))


def now() -> datetime:
    """The moment, in whole seconds of UTC."""
    return datetime.now(UTC).replace(microsecond=0)


def new_serial() -> int:
    """A serial number that cannot be foretold: 128 random bits under a leading one."""
    return int.from_bytes(b"\x01" + os.urandom(_SERIAL_BYTES), "big")


def time(moment: datetime) -> Any:
    """RFC 5280 4.1.2.5: UTCTime through the year 2049, GeneralizedTime from then on."""
    fits = 1950 <= moment.year < 2050
    return x509.Time(name="utc_time" if fits else "general_time", value=moment)


def key_info(signer: Signer) -> Any:
    """The SubjectPublicKeyInfo of who signs."""
    return keys.PublicKeyInfo.load(signer.public_key().to_spki())


def key_identifier(info: Any) -> bytes:
    """The 20 bytes of SHA-1 that name a key (RFC 5280 4.2.1.2, method 1)."""
    return bytes(info.sha1)


def request(signer: Signer, subject: Any, extensions: Iterable[Any] = ()) -> bytes:
    """A PKCS #10 certification request in DER, which asks for those extensions."""
    info = csr.CertificationRequestInfo(
        {"version": "v1", "subject": subject, "subject_pk_info": key_info(signer)}
    )
    wanted = x509.Extensions(list(extensions))
    asked = [{"type": "extension_request", "values": [wanted]}] if len(wanted) else []
    info["attributes"] = csr.CRIAttributes(asked)
    whole = csr.CertificationRequest(
        {
            "certification_request_info": info,
            "signature_algorithm": algorithms.signing(signer.spec).identifier(),
            "signature": signer.sign(info.dump()),
        }
    )
    return bytes(whole.dump())


def read_request(content: bytes) -> Any:
    """A request in PEM or DER whose signature is right, as asn1crypto's CertificationRequest.

    Raises Malformed, BadSignature, UnknownAlgorithm or UnusableKey.
    """
    found = read(csr.CertificationRequest, content, "certification request", *_REQUEST_LABELS)
    info = found["certification_request_info"]
    try:
        algorithms.verify(
            info["subject_pk_info"].dump(),
            found["signature_algorithm"],
            info.dump(),
            found["signature"].native,
        )
    except BadSignature as error:
        raise BadSignature(
            "The signature of the request is wrong: it was changed, or made with another key.",
            "Make the request anew.",
        ) from error
    return found


def requested_extensions(found: Any) -> dict[str, Any]:
    """The values of the extensions that a request asks for, by asn1crypto's names."""
    attributes = found["certification_request_info"]["attributes"]
    return {
        extension["extn_id"].native: extension["extn_value"].parsed
        for attribute in attributes
        if attribute["type"].native == "extension_request"
        for extension in attribute["values"][0]
    }


def issue(
    signer: Signer,
    *,
    issuer: Any,
    subject: Any,
    info: Any,
    validity: Validity,
    extensions: Iterable[Any],
) -> Any:
    """A version 3 certificate for the key ``info``, as asn1crypto's Certificate.

    One without extensions is of version 3 too, as verifiers take no CA of version 1.
    """
    algorithm = algorithms.signing(signer.spec).identifier()
    body = x509.TbsCertificate(
        {
            "version": "v3",
            "serial_number": new_serial(),
            "signature": algorithm,
            "issuer": issuer,
            "validity": {
                "not_before": time(validity.not_before),
                "not_after": time(validity.not_after),
            },
            "subject": subject,
            "subject_public_key_info": info,
        }
    )
    wanted = list(extensions)
    if wanted:
        body["extensions"] = wanted
    whole = x509.Certificate(
        {
            "tbs_certificate": body,
            "signature_algorithm": algorithm,
            "signature_value": signer.sign(body.dump()),
        }
    )
    return parse(x509.Certificate, whole.dump(), "certificate")


def self_signed(
    signer: Signer, subject: Any, validity: Validity, extensions: Iterable[Any] = ()
) -> Any:
    """A certificate for the key by the key itself."""
    return issue(
        signer,
        issuer=subject,
        subject=subject,
        info=key_info(signer),
        validity=validity,
        extensions=extensions,
    )
