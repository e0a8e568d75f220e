"""What is measured: each workload prepares a token and gives the action to repeat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import cycle

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from bench.peers import Token
from host_tools.cryptoki import Template
from pkcs11_module import _constants as c

Action = Callable[[], object]

DIGEST = sha256(b"klyuch bench").digest()
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420") + DIGEST
"""RFC 8017 9.2 note 1: what CKM_RSA_PKCS is given to sign a SHA-256 digest."""

P256 = bytes.fromhex("06082a8648ce3d030107")
SMALL = 10
"""So many certificates are on a token for the first search; all of them for the second."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One row of the table; `plain` is the same work by `cryptography` without a token."""

    name: str
    prepare: Callable[[Token], Action]
    plain: Callable[[], Action] | None = None


def workloads(objects: int) -> list[Workload]:
    """All workloads in the order they must run in; searches end at `objects` certificates."""
    return [
        Workload("sign RSA-2048, PKCS #1", _sign_rsa, _plain_rsa),
        Workload("sign P-256, ECDSA", _sign_ec, _plain_ec),
        Workload("random 32 bytes", lambda token: lambda: token.session.random(32)),
        Workload(f"find by CKA_ID among {SMALL}", lambda token: _find(token, range(SMALL))),
        Workload("read 4 attributes", _read_attributes),
        Workload(
            f"find by CKA_ID among {objects}",
            lambda token: _find(token, range(SMALL, objects), fresh=False),
        ),
        Workload("initialize, open, log in", lambda token: token.restart),
    ]


def _key_pair(token: Token, mechanism: int, public: Template) -> int:
    """Generates a key pair on the token; gives the handle of the private key."""
    private: Template = {c.CKA_TOKEN: True, c.CKA_PRIVATE: True, c.CKA_SIGN: True}
    _, key = token.session.generate_key_pair(
        mechanism, {c.CKA_TOKEN: True, c.CKA_VERIFY: True, **public}, private
    )
    return key


def _sign_rsa(token: Token) -> Action:
    key = _key_pair(token, c.CKM_RSA_PKCS_KEY_PAIR_GEN, {c.CKA_MODULUS_BITS: 2048})
    return lambda: token.session.sign(c.CKM_RSA_PKCS, key, DIGEST_INFO)


def _sign_ec(token: Token) -> Action:
    key = _key_pair(token, c.CKM_EC_KEY_PAIR_GEN, {c.CKA_EC_PARAMS: P256})
    return lambda: token.session.sign(c.CKM_ECDSA, key, DIGEST)


def _plain_rsa() -> Action:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    scheme, digest = padding.PKCS1v15(), utils.Prehashed(hashes.SHA256())
    return lambda: key.sign(DIGEST, scheme, digest)


def _plain_ec() -> Action:
    key = ec.generate_private_key(ec.SECP256R1())
    scheme = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    return lambda: key.sign(DIGEST, scheme)


def _certificate() -> tuple[bytes, bytes]:
    """A self-signed certificate and its subject, both DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.DER), name.public_bytes()


def _identifier(index: int) -> bytes:
    return sha256(index.to_bytes(4)).digest()[:20]


def _find(token: Token, indexes: range, *, fresh: bool = True) -> Action:
    """Puts certificates on the token, then searches for each of all that are there in turn."""
    value, subject = _certificate()
    for index in indexes:
        certificate: Template = {
            c.CKA_CLASS: c.CKO_CERTIFICATE,
            c.CKA_CERTIFICATE_TYPE: c.CKC_X_509,
            c.CKA_TOKEN: True,
            c.CKA_PRIVATE: False,
            c.CKA_ID: _identifier(index),
            c.CKA_LABEL: f"certificate {index}",
            c.CKA_SUBJECT: subject,
            c.CKA_VALUE: value,
        }
        token.session.create(certificate)
    everything = indexes if fresh else range(indexes.stop)
    identifiers = cycle([_identifier(index) for index in everything])

    def find() -> None:
        wanted: Template = {c.CKA_CLASS: c.CKO_CERTIFICATE, c.CKA_ID: next(identifiers)}
        found = token.session.find(wanted)
        assert len(found) == 1, found

    return find


def _read_attributes(token: Token) -> Action:
    [handle] = token.session.find({c.CKA_CLASS: c.CKO_CERTIFICATE, c.CKA_ID: _identifier(0)})
    wanted = (c.CKA_CLASS, c.CKA_ID, c.CKA_LABEL, c.CKA_VALUE)
    return lambda: token.session.attributes(handle, *wanted)
