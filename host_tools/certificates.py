"""Certificate requests and self-signed certificates."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from asn1crypto import csr, keys, x509

from host_tools.pki import algorithms
from host_tools.pki.signer import Signer

# RFC 5280 4.1.2.2: positive and at most 20 bytes.
_SERIAL_BYTES = 16


def _key_info(signer: Signer) -> Any:
    return keys.PublicKeyInfo.load(signer.public_key().to_spki())


def _time(moment: datetime) -> x509.Time:
    """RFC 5280 4.1.2.5: UTCTime through the year 2049, GeneralizedTime from then on."""
    name = "utc_time" if moment.year < 2050 else "general_time"
    return x509.Time(name=name, value=moment)


def request(signer: Signer, subject: x509.Name) -> bytes:
    """A PKCS #10 certification request (RFC 2986) in DER."""
    info = csr.CertificationRequestInfo(
        {"version": "v1", "subject": subject, "subject_pk_info": _key_info(signer)}
    )
    info["attributes"] = csr.CRIAttributes([])
    whole = csr.CertificationRequest(
        {
            "certification_request_info": info,
            "signature_algorithm": algorithms.signing(signer.spec).identifier(),
            "signature": signer.sign(info.dump()),
        }
    )
    return bytes(whole.dump())


def self_signed(signer: Signer, subject: x509.Name, days: int) -> bytes:
    """A version 3 certificate for the key by the key itself, valid from now on, in DER."""
    algorithm = algorithms.signing(signer.spec).identifier()
    start = datetime.now(UTC).replace(microsecond=0)
    certificate = x509.TbsCertificate(
        {
            "version": "v3",
            "serial_number": int.from_bytes(b"\x01" + os.urandom(_SERIAL_BYTES), "big"),
            "signature": algorithm,
            "issuer": subject,
            "validity": {
                "not_before": _time(start),
                "not_after": _time(start + timedelta(days=days)),
            },
            "subject": subject,
            "subject_public_key_info": _key_info(signer),
        }
    )
    whole = x509.Certificate(
        {
            "tbs_certificate": certificate,
            "signature_algorithm": algorithm,
            "signature_value": signer.sign(certificate.dump()),
        }
    )
    return bytes(whole.dump())
