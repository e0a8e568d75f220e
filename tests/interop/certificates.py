"""A certificate authority of its own for each test: loopback servers and users of a token."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

ADDRESS: Final = "127.0.0.1"
_DAYS: Final = 30


class Authority:
    """Signs certificates. In `folder`: `authority.pem`, its own; `server.pem`, a server's, and key.

    The server's certificate is for ADDRESS.
    """

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Loopback CA")])
        self.certificate: Final = folder / "authority.pem"
        self.server: Final = folder / "server.pem"
        own = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate.write_bytes(_pem(own))
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ADDRESS)])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ADDRESS))])
        server = self._leaf(name, key.public_key(), ExtendedKeyUsageOID.SERVER_AUTH)
        signed = server.add_extension(address, critical=False).sign(self._key, hashes.SHA256())
        self.server.write_bytes(
            _pem(signed)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    def sign(self, request: bytes) -> bytes:
        """The certificate (PEM) of a client, for its certification request (PEM)."""
        asked = x509.load_pem_x509_csr(request)
        assert asked.is_signature_valid
        key = asked.public_key()
        client = self._leaf(asked.subject, key, ExtendedKeyUsageOID.CLIENT_AUTH)
        return _pem(client.sign(self._key, hashes.SHA256()))

    def _leaf(
        self, subject: x509.Name, key: CertificatePublicKeyTypes, purpose: ObjectIdentifier
    ) -> x509.CertificateBuilder:
        return (
            self._builder(subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        )

    def _builder(
        self, subject: x509.Name, key: CertificatePublicKeyTypes
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(days=1),
            not_valid_after=now + datetime.timedelta(days=_DAYS),
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
