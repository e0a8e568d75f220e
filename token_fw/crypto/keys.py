"""Keys, schemes and errors that every algorithm shares, and the registry of algorithms.

A key checks itself when it is made from parts or from an encoding, so one that exists is usable.
Numbers are big-endian bytes. No message or repr() carries key material.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from token_fw.crypto.digest import Hash
from token_fw.crypto.errors import InvalidKey, Unsupported


class KeyKind(StrEnum):
    """The kinds of key; Ed25519 and X25519 are kinds of their own."""

    RSA = "RSA"
    EC = "EC"
    ED25519 = "Ed25519"
    X25519 = "X25519"


# Object identifiers: SEC 2 (RFC 5480 2.1.1.1) and RFC 8410 3.
CURVE_OIDS = {
    "P-256": "1.2.840.10045.3.1.7",
    "P-384": "1.3.132.0.34",
    "P-521": "1.3.132.0.35",
}
EDWARDS_OIDS = {KeyKind.ED25519: "1.3.101.112", KeyKind.X25519: "1.3.101.110"}


def encode_oid(dotted: str) -> bytes:
    """Give the DER of an object identifier, tag and length included (X.690 8.19)."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    body = bytearray()
    for arc in (40 * first + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        body += bytes(reversed(groups))
    return bytes((0x06, len(body))) + bytes(body)


@dataclass(frozen=True, slots=True)
class KeySpec:
    """What kind of key, without the key: `bits` for RSA, `curve` for EC."""

    kind: KeyKind
    bits: int = 0
    curve: str = ""

    ED25519: ClassVar[KeySpec]
    X25519: ClassVar[KeySpec]

    @classmethod
    def rsa(cls, bits: int) -> KeySpec:
        return cls(KeyKind.RSA, bits=bits)

    @classmethod
    def ec(cls, curve: str) -> KeySpec:
        """Name a curve: "P-256", "P-384" or "P-521". Raises Unsupported for another."""
        if curve not in CURVE_OIDS:
            raise Unsupported(f"the curve {curve!r} is not supported")
        return cls(KeyKind.EC, curve=curve)

    @property
    def oid(self) -> str:
        """The dotted object identifier of the curve; empty for RSA, which has none."""
        return CURVE_OIDS.get(self.curve) or EDWARDS_OIDS.get(self.kind, "")

    @property
    def oid_der(self) -> bytes:
        """The same in DER, 06 and length included; empty for RSA."""
        return encode_oid(self.oid) if self.oid else b""

    @classmethod
    def from_oid(cls, oid: str) -> KeySpec:
        """Find the key kind of a curve's dotted identifier. Raises Unsupported."""
        for curve, known in CURVE_OIDS.items():
            if known == oid:
                return cls.ec(curve)
        for kind, known in EDWARDS_OIDS.items():
            if known == oid:
                return cls(kind)
        raise Unsupported(f"the curve {oid} is not supported")

    @classmethod
    def from_oid_der(cls, der: bytes) -> KeySpec:
        """The same for the DER of the identifier, 06 and length included."""
        for oid in (*CURVE_OIDS.values(), *EDWARDS_OIDS.values()):
            if encode_oid(oid) == der:
                return cls.from_oid(oid)
        raise Unsupported("the curve is not supported")

    def __str__(self) -> str:
        if self.kind is KeyKind.RSA:
            return f"RSA-{self.bits}"
        return self.curve or str(self.kind)


KeySpec.ED25519 = KeySpec(KeyKind.ED25519)
KeySpec.X25519 = KeySpec(KeyKind.X25519)


@dataclass(frozen=True, slots=True)
class RsaPkcs1:
    """RSAES/RSASSA-PKCS1-v1_5 (RFC 8017 7.2, 8.2).

    For signatures the data goes into the padding as it is, up to k - 11 bytes: the caller adds
    the DigestInfo. Decryption of a badly padded cryptogram gives random bytes of a length that
    depends on the cryptogram alone (implicit rejection), so that padding cannot be probed.
    """


@dataclass(frozen=True, slots=True)
class RsaPss:
    """RSASSA-PSS (RFC 8017 8.1) over a digest made with `hash`; the salt's length in bytes."""

    hash: Hash
    mgf_hash: Hash
    salt_length: int


@dataclass(frozen=True, slots=True)
class RsaOaep:
    """RSAES-OAEP (RFC 8017 7.1). SHA-3 is not supported here."""

    hash: Hash
    mgf_hash: Hash
    label: bytes = b""


@dataclass(frozen=True, slots=True)
class Ecdsa:
    """ECDSA over a digest of 1 byte or more (FIPS 186-5 6.4): its leftmost bits count.

    The signature is r || s, each as long as the order (32, 48 or 66 bytes).
    """


@dataclass(frozen=True, slots=True)
class EdDsa:
    """Pure Ed25519 over the message (RFC 8032 5.1); the signature has 64 bytes."""


SignScheme = RsaPkcs1 | RsaPss | Ecdsa | EdDsa
CipherScheme = RsaPkcs1 | RsaOaep
Scheme = SignScheme | CipherScheme


class Key(ABC):
    """What private and public keys have in common."""

    __slots__ = ()

    @property
    @abstractmethod
    def spec(self) -> KeySpec:
        """The kind and size of the key."""

    def cannot(self, what: str, scheme: Scheme | None = None) -> Unsupported:
        """Make the error of an operation that the kind of key does not have."""
        with_scheme = f" with {type(scheme).__name__}" if scheme else ""
        return Unsupported(f"a key of kind {self.spec} cannot {what}{with_scheme}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec}>"


class PublicKey(Key):
    """A public key. What its kind cannot do raises Unsupported."""

    __slots__ = ()

    @abstractmethod
    def to_spki(self) -> bytes:
        """Give the DER SubjectPublicKeyInfo (RFC 5280 4.1)."""

    def verify(self, scheme: SignScheme, data: bytes, signature: bytes) -> None:
        """Check a signature. Raises InvalidSignature, DataLength or Unsupported."""
        raise self.cannot("verify", scheme)

    def encrypt(self, scheme: CipherScheme, data: bytes) -> bytes:
        """Encrypt. Raises DataLength or Unsupported."""
        raise self.cannot("encrypt", scheme)


class PrivateKey(Key):
    """A private key. What its kind cannot do raises Unsupported."""

    __slots__ = ()

    @abstractmethod
    def public(self) -> PublicKey:
        """Give the public key."""

    @abstractmethod
    def to_pkcs8(self) -> bytes:
        """Give the DER PrivateKeyInfo, not encrypted (RFC 5958)."""

    def sign(self, scheme: SignScheme, data: bytes) -> bytes:
        """Sign. Raises DataLength or Unsupported."""
        raise self.cannot("sign", scheme)

    def decrypt(self, scheme: CipherScheme, data: bytes) -> bytes:
        """Decrypt. Raises DecryptionFailed, DataLength or Unsupported."""
        raise self.cannot("decrypt", scheme)

    def agree(self, peer_point: bytes) -> bytes:
        """Give the shared secret with a peer's public point, not hashed.

        EC: the point is 04 || X || Y or compressed (SEC 1 2.3.3), the secret the X coordinate as
        long as the field (SP 800-56A 5.7.1.2). X25519: 32 bytes each (RFC 7748 6.1). Raises
        InvalidKey for a point that is not on the curve or gives no secret, or Unsupported.
        """
        raise self.cannot("agree on a secret")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """How one kind of key is made; `native_private` and `native_public` are cryptography's."""

    kind: KeyKind
    native_private: type
    native_public: type
    generate: Callable[[KeySpec], PrivateKey]
    wrap_private: Callable[[Any], PrivateKey]
    wrap_public: Callable[[Any], PublicKey]


_ALGORITHMS: dict[KeyKind, Algorithm] = {}


def register(algorithm: Algorithm) -> None:
    """Make an algorithm known; every algorithm's module calls it once."""
    if algorithm.kind in _ALGORITHMS:
        raise ValueError(f"{algorithm.kind} is registered twice")
    _ALGORITHMS[algorithm.kind] = algorithm


def generate(spec: KeySpec) -> PrivateKey:
    """Make a key; other threads run meanwhile. Raises Unsupported for a size that is not made."""
    return _ALGORITHMS[spec.kind].generate(spec)


def load_private(pkcs8: bytes, *, checked: bool = False) -> PrivateKey:
    """Read a DER PrivateKeyInfo.

    `checked` leaves out the proof that RSA primes are prime (0.4 s for 4096 bits): only for what
    this program itself wrote and kept authentic. Raises InvalidKey or Unsupported.
    """
    try:
        native = serialization.load_der_private_key(
            pkcs8, None, unsafe_skip_rsa_key_validation=checked
        )
    except UnsupportedAlgorithm:
        raise Unsupported("the kind of private key is not supported") from None
    except (ValueError, TypeError):
        raise InvalidKey("the private key is not valid") from None
    for algorithm in _ALGORITHMS.values():
        if isinstance(native, algorithm.native_private):
            return algorithm.wrap_private(native)
    raise Unsupported("the kind of private key is not supported")


def load_public(spki: bytes) -> PublicKey:
    """Read a DER SubjectPublicKeyInfo. Raises InvalidKey or Unsupported."""
    try:
        native = serialization.load_der_public_key(spki)
    except UnsupportedAlgorithm:
        raise Unsupported("the kind of public key is not supported") from None
    except ValueError:
        raise InvalidKey("the public key is not valid") from None
    for algorithm in _ALGORITHMS.values():
        if isinstance(native, algorithm.native_public):
            return algorithm.wrap_public(native)
    raise Unsupported("the kind of public key is not supported")


def to_pkcs8(native: Any) -> bytes:
    """Encode a private key of cryptography's."""
    der: bytes = native.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return der


def to_spki(native: Any) -> bytes:
    """Encode a public key of cryptography's."""
    der: bytes = native.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return der
