"""Certificates that say where a key was made, in the form of Yubico's PIV attestation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from apdu import tlv
from token_fw.apps.piv.slots import SlotKey
from token_fw.apps.yubikey import FORM_FACTOR, VERSION
from token_fw.crypto import KeyKind, PrivateKey
from token_fw.errors import ConditionsNotSatisfied

NUMBER_SIZE = 16
"""Bytes of a certificate's serial number."""

_ARC = "1.3.6.1.4.1.41482.3"
_FIRMWARE, _SERIAL, _POLICIES, _FORM_FACTOR = 3, 7, 8, 9
# The card has no calendar: from the year of the firmware, without an end (RFC 5280 4.1.2.5).
_NOT_BEFORE = datetime(2024, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_HASHES = {KeyKind.RSA: SHA256(), KeyKind.EC: SHA256(), KeyKind.ED25519: None}
"""What a key of that kind signs certificates with; others cannot."""

_Extensions = Iterable[tuple[x509.ExtensionType, bool]]


@dataclass(frozen=True, slots=True, repr=False)
class Signer:
    """The attestation key, and the name in its certificate."""

    private: PrivateKey
    name: x509.Name

    @classmethod
    def of(cls, private: PrivateKey, content: bytes) -> Signer:
        """`content` is the data object with the key's certificate.

        Raises ConditionsNotSatisfied where it holds none.
        """
        try:
            certificate = x509.load_der_x509_certificate(tlv.to_dict(tlv.parse(content))[0x70])
        except (tlv.TlvError, KeyError, ValueError):
            raise ConditionsNotSatisfied("the attestation key has no certificate") from None
        return cls(private, certificate.subject)

    def attest(self, key: SlotKey, slot: int, serial: bytes, number: bytes) -> bytes:
        """The DER certificate of a key that was generated on the card.

        `serial` are the 4 bytes of the card's serial number, `number` the 16 of the certificate's.
        Raises ConditionsNotSatisfied where the attestation key cannot sign.
        """
        values = {
            _FIRMWARE: bytes(VERSION),
            _SERIAL: _integer(serial),
            _POLICIES: bytes((key.policies.pin, key.policies.touch)),
            _FORM_FACTOR: bytes((FORM_FACTOR,)),
        }
        extensions = [
            (x509.UnrecognizedExtension(x509.ObjectIdentifier(f"{_ARC}.{arc}"), value), False)
            for arc, value in values.items()
        ]
        subject = _name(f"Klyuch PIV Attestation {slot:02x}")
        return self._issue(key.private, subject, number, extensions)

    def _issue(
        self, private: PrivateKey, subject: x509.Name, number: bytes, extensions: _Extensions
    ) -> bytes:
        kind = self.private.spec.kind
        if kind not in _HASHES:
            raise ConditionsNotSatisfied("the attestation key cannot sign")
        # Of what kinds the keys are only their slots know.
        public: Any = serialization.load_der_public_key(private.public().to_spki())
        signer: Any = serialization.load_der_private_key(self.private.to_pkcs8(), None)
        builder = x509.CertificateBuilder(
            self.name,
            subject,
            public,
            # A positive number, as RFC 5280 4.1.2.2 wants it.
            int.from_bytes(number, "big") >> 1 | 1,
            _NOT_BEFORE,
            _NOT_AFTER,
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(signer, _HASHES[kind])
        return certificate.public_bytes(serialization.Encoding.DER)


def attestation_certificate(private: PrivateKey, serial: bytes, number: bytes) -> bytes:
    """The data object with a certificate of the attestation key, signed by itself."""
    name = _name(f"Klyuch PIV Attestation {int.from_bytes(serial, 'big')}")
    authority = x509.BasicConstraints(ca=True, path_length=0)
    certificate = Signer(private, name)._issue(private, name, number, [(authority, True)])
    return tlv.encode(0x70, certificate) + tlv.encode(0x71, b"\x00") + tlv.encode(0xFE, b"")


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _integer(number: bytes) -> bytes:
    """The DER INTEGER of an unsigned number."""
    value = int.from_bytes(number, "big")
    return tlv.encode(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))
