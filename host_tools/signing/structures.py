"""Certificates, CRLs and OCSP responses of others, read to the last field before their use."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from asn1crypto import core, crl, ocsp, x509

from host_tools.pki import algorithms, asn1
from host_tools.pki.certificates import now
from host_tools.pki.errors import Malformed, PkiError, UnusableKey


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verifier knows: whom it trusts, what else it was given, and what time it is."""

    anchors: tuple[x509.Certificate, ...] = ()
    others: tuple[x509.Certificate, ...] = ()
    crls: tuple[crl.CertificateList, ...] = ()
    responses: tuple[ocsp.BasicOCSPResponse, ...] = ()
    require_revocation: bool = False
    now: datetime = field(default_factory=now)


def parse(kind: type[core.Asn1Value], der: bytes, what: str) -> Any:
    """As :func:`asn1.parse`, and all names in it can be compared. Raises Malformed."""
    value = asn1.parse(kind, der, what)
    try:
        for name in _names(value):
            assert name.hashable is not None
    except (ValueError, TypeError, KeyError) as error:
        raise Malformed(f"This is no {what}, or a name in it is damaged.") from error
    for one in _certificates(value):
        _check_extensions_once(one)
    return value


def _parts(value: Any) -> Iterator[Any]:
    """A structure and all its parts but the contents of strings."""
    yield value
    if isinstance(value, core.Choice):
        yield from _parts(value.chosen)
    elif isinstance(value, core.Sequence):
        for index in range(len(value)):
            yield from _parts(value[index])
    elif isinstance(value, core.SequenceOf | core.SetOf):
        for one in value:
            yield from _parts(one)


def _names(value: Any) -> Iterator[x509.Name]:
    return (one for one in _parts(value) if isinstance(one, x509.Name))


def _certificates(value: Any) -> Iterator[x509.Certificate]:
    return (one for one in _parts(value) if isinstance(one, x509.Certificate))


def _check_extensions_once(one: x509.Certificate) -> None:
    """RFC 5280 4.2: an extension comes once. Raises Malformed."""
    kinds = [extension["extn_id"].dotted for extension in one["tbs_certificate"]["extensions"]]
    if len(set(kinds)) != len(kinds):
        raise Malformed("A certificate has an extension twice.")


def certificates_in(content: bytes) -> list[x509.Certificate]:
    """The certificate in a DER file, or all of a PEM file. Raises Malformed."""
    return [
        parse(x509.Certificate, one.dump(), "certificate")
        for one in asn1.read_certificates(content)
    ]


def key_of(one: x509.Certificate) -> bytes:
    """The public key as a SubjectPublicKeyInfo of ours; "" where it cannot be used.

    The same key may be written in several ways: RFC 9215 4.2 lets parameters be left out.
    """
    try:
        return algorithms.load_key(one.public_key.dump()).to_spki()
    except UnusableKey:
        return b""


def crls_in(content: bytes) -> list[crl.CertificateList]:
    """The CRL (RFC 5280 5) in a DER file, or all of a PEM file. Raises Malformed."""
    return [
        parse(crl.CertificateList, der, "revocation list")
        for _label, der in asn1.blocks(content, "revocation list")
    ]


_BASIC: Final = "basic_ocsp_response"


def response_in(content: bytes) -> ocsp.BasicOCSPResponse:
    """The basic response (RFC 6960 4.2.1) of a DER file.

    Raises Malformed, also for a response that only reports an error.
    """
    whole = parse(ocsp.OCSPResponse, content, "OCSP response")
    status, body = whole["response_status"].native, whole["response_bytes"]
    if status != "successful" or not body.native:
        raise Malformed(f"The OCSP response says no more than: {status}.")
    if body["response_type"].native != _BASIC:
        raise Malformed(f"OCSP responses of the type {body['response_type'].dotted} are not known.")
    return parse(ocsp.BasicOCSPResponse, bytes(body["response"]), "OCSP response")


def signature_trouble(
    issuer: x509.Certificate,
    identifier: Any,
    signed: bytes,
    signature: bytes,
    *,
    any_strength: bool = False,
) -> str:
    """What is wrong with a signature by the key of a certificate, in a sentence; "" for nothing.

    With `any_strength` an old hash or a short key is nothing wrong.
    """
    try:
        algorithm = algorithms.named(identifier)
        if algorithm.weak and not any_strength:
            return f"Signatures by {algorithm.name} prove nothing any more."
        key = algorithms.load_key(issuer.public_key.dump())
        algorithm.verify(key, signed, signature)
    except PkiError as error:
        return error.message
    return "" if any_strength else algorithms.weakness(key)


def certificate_trouble(
    one: x509.Certificate, issuer: x509.Certificate, *, any_strength: bool = False
) -> str:
    """The same of the signature of a certificate by the issuer's key."""
    body, identifier = one["tbs_certificate"], one["signature_algorithm"]
    if body["signature"].dump() != identifier.dump():
        return "It names two algorithms for its signature."
    return signature_trouble(
        issuer, identifier, body.dump(), one.signature, any_strength=any_strength
    )
