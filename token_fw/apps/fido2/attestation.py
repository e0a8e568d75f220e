"""Attestation: the token's certificates, and the statement about a new credential.

Each token has its own small CA, whose private key is forgotten once it has signed two
certificates over the token's attestation key: one for everybody, and one with the serial number
for enterprises (WebAuthn 8.2.1). A relying party that knows the CA's certificate, the last of
the chain, knows that a credential is of this token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from token_fw.apps.fido2.auth_data import AAGUID
from token_fw.crypto import KeySpec, PrivateKey, generate

_NUMBER_SIZE = 16
_AAGUID_OID = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
_SERIAL_OID = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.2")
# The card has no calendar: from the year of the firmware, without an end (RFC 5280 4.1.2.5).
_NOT_BEFORE = datetime(2024, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

Rng = Callable[[int], bytes]
_Extensions = dict[x509.ExtensionType, bool]


@dataclass(frozen=True, slots=True, repr=False)
class _Party:
    """A private key under a name."""

    private: PrivateKey
    name: x509.Name


def make(serial: bytes, rng: Rng) -> dict[int, Any]:
    """A token's attestation key and certificates: 1 key, 2 and 3 chains, the leaf first."""
    authority, leaf = (
        _Party(generate(KeySpec.ec("P-256")), _name(common_name, unit))
        for common_name, unit in (
            ("Klyuch FIDO Attestation CA", "Authenticator Attestation CA"),
            ("Klyuch FIDO Attestation", "Authenticator Attestation"),
        )
    )
    anchor = _issue(authority, authority, rng, {x509.BasicConstraints(True, 0): True})
    everybody: _Extensions = {
        x509.BasicConstraints(False, None): True,
        x509.UnrecognizedExtension(_AAGUID_OID, _octets(AAGUID)): False,
    }
    enterprise = everybody | {x509.UnrecognizedExtension(_SERIAL_OID, _octets(serial)): False}
    chains = ([_issue(authority, leaf, rng, each), anchor] for each in (everybody, enterprise))
    return {1: leaf.private.to_pkcs8(), **dict(zip((2, 3), chains, strict=True))}


def self_certificate(private: PrivateKey, rng: Rng) -> bytes:
    """A P-256 key's DER certificate by itself, with nothing in it that two of a token share."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "FIDO U2F")])
    party = _Party(private, name)
    return _issue(party, party, rng, {x509.BasicConstraints(False, None): True})


def _issue(issuer: _Party, subject: _Party, rng: Rng, extensions: _Extensions) -> bytes:
    public: Any = serialization.load_der_public_key(subject.private.public().to_spki())
    signer: Any = serialization.load_der_private_key(issuer.private.to_pkcs8(), None)
    # A positive number, as RFC 5280 4.1.2.2 wants it.
    number = int.from_bytes(rng(_NUMBER_SIZE), "big") >> 1 | 1
    builder = x509.CertificateBuilder(
        issuer.name, subject.name, public, number, _NOT_BEFORE, _NOT_AFTER
    )
    for extension, critical in extensions.items():
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, SHA256()).public_bytes(serialization.Encoding.DER)


def _name(common_name: str, unit: str) -> x509.Name:
    members = {
        NameOID.COUNTRY_NAME: "XX",
        NameOID.ORGANIZATION_NAME: "Klyuch",
        NameOID.ORGANIZATIONAL_UNIT_NAME: unit,
        NameOID.COMMON_NAME: common_name,
    }
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in members.items()])


def _octets(content: bytes) -> bytes:
    """The DER OCTET STRING of up to 127 bytes."""
    return bytes((0x04, len(content))) + content
