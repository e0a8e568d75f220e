"""How reports name certificates and moments."""

from datetime import UTC, datetime

from asn1crypto import x509

from host_tools.pki.names import format_name


def who(certificate: x509.Certificate) -> str:
    """The subject, or the serial number where there is none."""
    return format_name(certificate.subject) or f"serial number {certificate.serial_number:x}"


def issuer_of(certificate: x509.Certificate) -> str:
    """The issuer."""
    return format_name(certificate.issuer) or "an issuer without a name"


def day(moment: datetime) -> str:
    """A moment to the second, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
