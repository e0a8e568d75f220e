"""Keys and certificates made once for the tests of the facade."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from pkcs11_module import _constants as ck
from tests.unit.facade_rig import P256, Value

SERIAL_NUMBER = 0x1234567890


@cache
def certificate() -> bytes:
    """A self-signed certificate of 2020 to 2049, DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ключ")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(SERIAL_NUMBER)
        .not_valid_before(datetime(2020, 1, 2, tzinfo=UTC))
        .not_valid_after(datetime(2049, 12, 31, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    return signed.public_bytes(serialization.Encoding.DER)


@cache
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def rsa_private_key() -> dict[str, Value]:
    """A private RSA key as a template for C_CreateObject."""
    numbers = _rsa_key().private_numbers()
    parts = {
        "MODULUS": numbers.public_numbers.n,
        "PUBLIC_EXPONENT": numbers.public_numbers.e,
        "PRIVATE_EXPONENT": numbers.d,
        "PRIME_1": numbers.p,
        "PRIME_2": numbers.q,
        "EXPONENT_1": numbers.dmp1,
        "EXPONENT_2": numbers.dmq1,
        "COEFFICIENT": numbers.iqmp,
    }
    values: dict[str, Value] = {
        name: number.to_bytes((number.bit_length() + 7) // 8, "big")
        for name, number in parts.items()
    }
    return {"CLASS": ck.CKO_PRIVATE_KEY, "KEY_TYPE": ck.CKK_RSA, "ID": b"rsa", **values}


def ec_private_key() -> dict[str, Value]:
    """A private P-256 key as a template for C_CreateObject."""
    return {
        "CLASS": ck.CKO_PRIVATE_KEY,
        "KEY_TYPE": ck.CKK_EC,
        "ID": b"ec",
        "EC_PARAMS": P256,
        "VALUE": b"\x5a" * 32,
    }
