"""Certificate requests and self-signed certificates, signed by a key that stays on its token."""

import os
from datetime import UTC, datetime, timedelta

from asn1crypto import algos, core, csr, keys, x509
from cryptography.x509 import Name

from host_tools.cryptoki import Session
from host_tools.objects import KeyOnToken, public_key, sign, signature_algorithm

# RFC 5280 4.1.2.2: positive and at most 20 bytes.
_SERIAL_BYTES = 16


class BadSubject(Exception):
    """The text is no distinguished name."""


def subject_name(text: str) -> x509.Name:
    """A name as RFC 4514 writes it: ``CN=Ann Lee,O=Acme,C=GB``. Raises BadSubject."""
    try:
        return x509.Name.load(Name.from_rfc4514_string(text).public_bytes())
    except ValueError as error:
        raise BadSubject(str(error)) from error


def _algorithm(name: str) -> algos.SignedDigestAlgorithm:
    algorithm = algos.SignedDigestAlgorithm({"algorithm": name})
    if name.endswith("_rsa"):
        # RFC 4055 5: PKCS #1 v1.5 signatures carry NULL parameters, the others none.
        algorithm["parameters"] = core.Null()
    return algorithm


def _key_info(session: Session, key: KeyOnToken) -> keys.PublicKeyInfo:
    spki = public_key(session, key.public or key.private).to_spki()
    return keys.PublicKeyInfo.load(spki)


def _time(moment: datetime) -> x509.Time:
    """RFC 5280 4.1.2.5: UTCTime through the year 2049, GeneralizedTime from then on."""
    name = "utc_time" if moment.year < 2050 else "general_time"
    return x509.Time(name=name, value=moment)


def request(session: Session, key: KeyOnToken, subject: x509.Name, pin: str = "") -> bytes:
    """A PKCS #10 certification request (RFC 2986) in DER; the PIN as for :func:`sign`."""
    info = csr.CertificationRequestInfo(
        {"version": "v1", "subject": subject, "subject_pk_info": _key_info(session, key)}
    )
    info["attributes"] = csr.CRIAttributes([])
    whole = csr.CertificationRequest(
        {
            "certification_request_info": info,
            "signature_algorithm": _algorithm(signature_algorithm(key)),
            "signature": sign(session, key, info.dump(), pin),
        }
    )
    return bytes(whole.dump())


def self_signed(
    session: Session, key: KeyOnToken, subject: x509.Name, days: int, pin: str = ""
) -> bytes:
    """A version 3 certificate for the key by the key itself, valid from now on, in DER."""
    algorithm = _algorithm(signature_algorithm(key))
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
            "subject_public_key_info": _key_info(session, key),
        }
    )
    whole = x509.Certificate(
        {
            "tbs_certificate": certificate,
            "signature_algorithm": algorithm,
            "signature_value": sign(session, key, certificate.dump(), pin),
        }
    )
    return bytes(whole.dump())
