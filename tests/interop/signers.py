"""An authority with a root, an issuer below it and signers; CRLs and OCSP responses of theirs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

NOW: Final = datetime.now(UTC).replace(microsecond=0)
DAY: Final = timedelta(days=1)
SIGNER_USAGE: Final = ("digital_signature", "content_commitment")
AUTHORITY_USAGE: Final = ("key_cert_sign", "crl_sign")
_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{one: one in names for one in _USAGES})


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


@dataclass(frozen=True)
class Holder:
    """A key and its certificate."""

    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    certificate: x509.Certificate

    def write(self, file: Path) -> Path:
        """The key and the certificate in files beside each other; gives that of the key."""
        file.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        file.with_suffix(".pem").write_bytes(pem(self.certificate))
        return file


def holder(
    name: str,
    issuer: Holder | None = None,
    *,
    key: CertificatePublicKeyTypes | None = None,
    number: int | None = None,
    start: datetime = NOW - 10 * DAY,
    end: datetime = NOW + 10 * DAY,
    usages: tuple[str, ...] = SIGNER_USAGE,
    authority: bool = False,
    path_length: int | None = None,
    purpose: ObjectIdentifier | None = None,
    extension: x509.ExtensionType | None = None,
) -> Holder:
    """Somebody whose certificate the issuer signed, or he himself; `extension` is critical."""
    own = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder(
            issuer_name=issuer.certificate.subject if issuer else subject,
            subject_name=subject,
            public_key=key or own.public_key(),
            serial_number=number or x509.random_serial_number(),
            not_valid_before=start,
            not_valid_after=end,
        )
        .add_extension(x509.BasicConstraints(authority, path_length), critical=True)
        .add_extension(usage(*usages), critical=True)
    )
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    return Holder(own, builder.sign(issuer.key if issuer else own, hashes.SHA256()))


def authority(
    name: str,
    issuer: Holder | None = None,
    *,
    path_length: int | None = None,
    usages: tuple[str, ...] = AUTHORITY_USAGE,
    start: datetime = NOW - 100 * DAY,
    end: datetime = NOW + 100 * DAY,
    extension: x509.ExtensionType | None = None,
) -> Holder:
    """Somebody who may issue certificates and CRLs."""
    return holder(
        name,
        issuer,
        start=start,
        end=end,
        usages=usages,
        authority=True,
        path_length=path_length,
        extension=extension,
    )


def revocation_list(
    issuer: Holder,
    *revoked: x509.Certificate,
    by: Holder | None = None,
    since: datetime = NOW - 2 * DAY,
    made: datetime = NOW - DAY,
    following: datetime = NOW + DAY,
    extension: x509.ExtensionType | None = None,
) -> bytes:
    """A CRL of the issuer's name (DER), signed by it or `by` another; `extension` is critical."""
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=issuer.certificate.subject, last_update=made, next_update=following
    )
    for one in revoked:
        entry = (
            x509.RevokedCertificateBuilder(one.serial_number, since)
            .add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
            .build()
        )
        builder = builder.add_revoked_certificate(entry)
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    made_by = by or issuer
    return builder.sign(made_by.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def response(
    of: x509.Certificate,
    issuer: Holder,
    *,
    by: Holder | None = None,
    revoked: datetime | None = None,
    made: datetime = NOW - timedelta(hours=1),
    following: datetime | None = NOW + DAY,
    status: ocsp.OCSPCertStatus | None = None,
) -> bytes:
    """An OCSP response (DER) by the issuer, or `by` a responder whose certificate is in it."""
    signer = by or issuer
    bad = revoked is not None
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=of,
            issuer=issuer.certificate,
            algorithm=hashes.SHA1(),  # what everybody takes to find the certificate by
            cert_status=status or (ocsp.OCSPCertStatus.REVOKED if bad else GOOD),
            this_update=made,
            next_update=following,
            revocation_time=revoked,
            revocation_reason=x509.ReasonFlags.superseded if bad else None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    )
    if by is not None:
        builder = builder.certificates([by.certificate])
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


GOOD: Final = ocsp.OCSPCertStatus.GOOD
UNKNOWN: Final = ocsp.OCSPCertStatus.UNKNOWN
OCSP_PURPOSE: Final = ExtendedKeyUsageOID.OCSP_SIGNING
SERVER_PURPOSE: Final = ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True)
class Files:
    """What a verifier has in a folder: a letter, who signs it, and the authorities."""

    folder: Path
    letter: Path
    root: Holder
    issuer: Holder

    def put(self, name: str, content: bytes) -> Path:
        file = self.folder / name
        file.write_bytes(content)
        return file


def files(folder: Path) -> Files:
    """A letter, and the root in `root.pem`, the issuer in `issuer.pem`."""
    root = authority("Root")
    issuer = authority("Issuer", root, path_length=0)
    (folder / "root.pem").write_bytes(pem(root.certificate))
    (folder / "issuer.pem").write_bytes(pem(issuer.certificate))
    letter = folder / "letter.txt"
    letter.write_text("Dear Bob\n")
    return Files(folder, letter, root, issuer)
