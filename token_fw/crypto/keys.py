"""What keys of all kinds can do, and the registry of the algorithms with public keys.

A key checks itself when it is made from parts or from an encoding, so one that exists is usable.
Numbers are big-endian bytes. No message or repr() carries key material.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from token_fw.crypto import der
from token_fw.crypto.der import Reader
from token_fw.crypto.errors import InvalidKey, Unsupported
from token_fw.crypto.kinds import KeyKind, KeySpec
from token_fw.crypto.schemes import CipherScheme, RecoverScheme, Scheme, SignScheme


class Key(ABC):
    """What private, public and secret keys have in common."""

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

    def recover(self, scheme: RecoverScheme, signature: bytes) -> bytes:
        """Give the data out of a signature. Raises InvalidSignature, DataLength, Unsupported."""
        raise self.cannot("recover data", scheme)

    def encapsulate(self) -> tuple[bytes, bytes]:
        """Make a secret of 32 bytes for the owner of the private key (FIPS 203 7.2).

        Gives the ciphertext (1088 or 1568 bytes), then the secret. Raises Unsupported.
        """
        raise self.cannot("encapsulate a secret")


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
        long as the field (SP 800-56A 5.7.1.2). X25519: 32 bytes each, X448: 56 (RFC 7748 6).
        Raises InvalidKey for a point that is not on the curve or gives no secret, or Unsupported.
        """
        raise self.cannot("agree on a secret")

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Give the secret of 32 bytes that `encapsulate` made (FIPS 203 7.3).

        A ciphertext of the right length that was not made for this key gives a secret that nobody
        else has (implicit rejection). Raises DataLength or Unsupported.
        """
        raise self.cannot("decapsulate a secret")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """How one kind of key that cryptography has is made.

    `native_private` and `native_public` are the classes of cryptography, one for each level.
    """

    kind: KeyKind
    native_private: type | tuple[type, ...]
    native_public: type | tuple[type, ...]
    generate: Callable[[KeySpec], PrivateKey]
    wrap_private: Callable[[Any], PrivateKey]
    wrap_public: Callable[[Any], PublicKey]


@dataclass(frozen=True, slots=True)
class OwnAlgorithm:
    """How one kind of key that cryptography does not have is made.

    `oid_der` names the algorithm of its keys in encodings, 06 and length included. What reads an
    encoding raises ValueError, InvalidKey or Unsupported.
    """

    kind: KeyKind
    oid_der: bytes
    generate: Callable[[KeySpec], PrivateKey]
    load_private: Callable[[bytes], PrivateKey]
    load_public: Callable[[bytes], PublicKey]


_ALGORITHMS: dict[KeyKind, Algorithm] = {}
_OWN: dict[KeyKind, OwnAlgorithm] = {}


def register(algorithm: Algorithm | OwnAlgorithm) -> None:
    """Make an algorithm known; every algorithm's module calls it once."""
    if algorithm.kind in _ALGORITHMS or algorithm.kind in _OWN:
        raise ValueError(f"{algorithm.kind} is registered twice")
    if isinstance(algorithm, OwnAlgorithm):
        _OWN[algorithm.kind] = algorithm
    else:
        _ALGORITHMS[algorithm.kind] = algorithm


def _own(algorithm: Reader, what: str) -> OwnAlgorithm:
    """Find who reads a key by its AlgorithmIdentifier. Raises ValueError, Unsupported."""
    oid = der.encode(der.OID, algorithm.take(der.OID))
    for own in _OWN.values():
        if own.oid_der == oid:
            return own
    raise Unsupported(f"the kind of {what} key is not supported")


def _load_own_private(pkcs8: bytes) -> PrivateKey:
    info = Reader(pkcs8).reader(der.SEQUENCE)
    info.take(der.INTEGER)
    return _own(info.reader(der.SEQUENCE), "private").load_private(pkcs8)


def _is_own(pkcs8: bytes) -> bool:
    """Whether the private key is of a kind that cryptography does not have; raises ValueError."""
    info = Reader(pkcs8).reader(der.SEQUENCE)
    info.take(der.INTEGER)
    oid = der.encode(der.OID, info.reader(der.SEQUENCE).take(der.OID))
    return any(own.oid_der == oid for own in _OWN.values())


def _load_own_public(spki: bytes) -> PublicKey:
    info = Reader(spki).reader(der.SEQUENCE)
    return _own(info.reader(der.SEQUENCE), "public").load_public(spki)


def generate(spec: KeySpec) -> PrivateKey:
    """Make a key; other threads run meanwhile. Raises Unsupported for a size that is not made."""
    algorithm = _ALGORITHMS.get(spec.kind) or _OWN.get(spec.kind)
    if algorithm is None:
        raise Unsupported(f"there are no private keys of kind {spec.kind}")
    return algorithm.generate(spec)


def load_private(pkcs8: bytes, *, checked: bool = False) -> PrivateKey:
    """Read a DER PrivateKeyInfo.

    `checked` leaves out the proof that RSA primes are prime (0.4 s for 4096 bits): only for what
    this program itself wrote and kept authentic. Raises InvalidKey or Unsupported.
    """
    try:
        try:
            native = serialization.load_der_private_key(
                pkcs8, None, unsafe_skip_rsa_key_validation=checked
            )
        except UnsupportedAlgorithm:
            return _load_own_private(pkcs8)
        except ValueError:
            # The examples of RFC 9548 A miscount the bits of a public key, which own kinds ignore.
            if not _is_own(pkcs8):
                raise
            return _load_own_private(pkcs8)
    except (ValueError, TypeError):
        raise InvalidKey("the private key is not valid") from None
    for algorithm in _ALGORITHMS.values():
        if isinstance(native, algorithm.native_private):
            return algorithm.wrap_private(native)
    raise Unsupported("the kind of private key is not supported")


def load_public(spki: bytes) -> PublicKey:
    """Read a DER SubjectPublicKeyInfo. Raises InvalidKey or Unsupported."""
    try:
        try:
            native = serialization.load_der_public_key(spki)
        except UnsupportedAlgorithm:
            return _load_own_public(spki)
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
