"""Private keys and certificates in files, as the attributes a token takes them by."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x448, x25519

from host_tools.pki.errors import Malformed, PkiError, UnknownAlgorithm
from pkcs11_module import _constants as ck
from token_fw.crypto import CryptoError, KeySpec, PrivateKey, load_private
from token_fw.crypto.keys import to_pkcs8

_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_PEM: Final = b"-----BEGIN"


class UnreadableFile(PkiError):
    """The file holds nothing that can be used; the text says why, without its content."""


class EncryptedFile(UnreadableFile):
    """The file opens with a passphrase, and none was given."""


class WrongPassphrase(UnreadableFile):
    """The passphrase does not open the file."""


@dataclass(frozen=True, slots=True)
class KeyParts:
    """A key as CKA_ attributes; the private ones are not shown."""

    spec: KeySpec
    private: dict[int, bytes] = field(repr=False)
    public: dict[int, bytes]


def load_key(content: bytes, passphrase: bytes | None) -> KeyParts:
    """A private key in PEM or DER (PKCS #8, PKCS #1, SEC 1), encrypted or not.

    Raises UnreadableFile, also for a wrong or missing passphrase.
    """
    key = _native(content, passphrase)
    for kind, split in _SPLITTERS.items():
        if isinstance(key, kind):
            return split(key)
    raise UnreadableFile("Keys of this kind do not fit on the token.")


def load_private_key(content: bytes, passphrase: bytes | None = None) -> PrivateKey:
    """The same to work with here. Raises UnreadableFile."""
    try:
        return load_private(_pkcs8(content, passphrase))
    except CryptoError as error:
        raise UnreadableFile(f"The private key cannot be used: {error}.") from error


def _pkcs8(content: bytes, passphrase: bytes | None) -> bytes:
    """The PrivateKeyInfo of a key of any kind, also of one that cryptography does not know."""
    from host_tools.pki import pbes2  # noqa: PLC0415  slow to load
    from host_tools.pki.asn1 import keys, read  # noqa: PLC0415

    for kind, label in (
        (keys.PrivateKeyInfo, "PRIVATE KEY"),
        (keys.EncryptedPrivateKeyInfo, "ENCRYPTED PRIVATE KEY"),
    ):
        try:
            found = read(kind, content, "private key", label)
            if kind is keys.PrivateKeyInfo:
                return bytes(found.dump())
            if passphrase is None:
                raise EncryptedFile("The key needs a passphrase.")
            return pbes2.decrypt(found, passphrase)
        except pbes2.WrongPassphrase as error:
            raise WrongPassphrase(error.message) from error
        except (Malformed, UnknownAlgorithm):
            continue
    return to_pkcs8(_native(content, passphrase))


def _native(content: bytes, passphrase: bytes | None) -> Any:
    load: Callable[..., Any] = serialization.load_der_private_key
    if _PEM in content:
        load = serialization.load_pem_private_key
    try:
        return load(content, passphrase)
    except TypeError as error:
        if passphrase is None:
            raise EncryptedFile("The key needs a passphrase.") from error
        raise UnreadableFile("The key is not encrypted.") from error
    except Exception as error:
        # ValueError, UnsupportedAlgorithm and the library's own: none is told apart by its type.
        raise UnreadableFile("The file is no private key, or the passphrase is wrong.") from error


def load_certificate(content: bytes) -> x509.Certificate:
    """A certificate in PEM or DER. Raises UnreadableFile."""
    load = x509.load_pem_x509_certificate if _PEM in content else x509.load_der_x509_certificate
    try:
        return load(content)
    except ValueError as error:
        raise UnreadableFile("The file is no certificate.") from error


def _number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _split_rsa(key: rsa.RSAPrivateKey) -> KeyParts:
    numbers = key.private_numbers()
    public = {
        ck.CKA_MODULUS: _number(numbers.public_numbers.n),
        ck.CKA_PUBLIC_EXPONENT: _number(numbers.public_numbers.e),
    }
    private = {
        ck.CKA_PRIVATE_EXPONENT: _number(numbers.d),
        ck.CKA_PRIME_1: _number(numbers.p),
        ck.CKA_PRIME_2: _number(numbers.q),
        ck.CKA_EXPONENT_1: _number(numbers.dmp1),
        ck.CKA_EXPONENT_2: _number(numbers.dmq1),
        ck.CKA_COEFFICIENT: _number(numbers.iqmp),
    }
    return KeyParts(KeySpec.rsa(key.key_size), {**public, **private}, public)


def _split_ec(key: ec.EllipticCurvePrivateKey) -> KeyParts:
    if key.curve.name not in _CURVES:
        raise UnreadableFile(f"Keys on the curve {key.curve.name} do not fit on the token.")
    point = key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    value = key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")
    return _with_point(KeySpec.ec(_CURVES[key.curve.name]), value, _octet_string(point))


def _split_edwards(spec: KeySpec) -> Callable[[Any], KeyParts]:
    def split(key: Any) -> KeyParts:
        return _with_point(spec, key.private_bytes_raw(), key.public_key().public_bytes_raw())

    return split


def _with_point(spec: KeySpec, value: bytes, point: bytes) -> KeyParts:
    parameters = {ck.CKA_EC_PARAMS: spec.oid_der}
    return KeyParts(
        spec, {**parameters, ck.CKA_VALUE: value}, {**parameters, ck.CKA_EC_POINT: point}
    )


def _octet_string(value: bytes) -> bytes:
    """DER of an OCTET STRING of at most 255 bytes."""
    length = bytes((len(value),)) if len(value) < 0x80 else bytes((0x81, len(value)))
    return b"\x04" + length + value


_SPLITTERS: Final[dict[Any, Callable[[Any], KeyParts]]] = {
    rsa.RSAPrivateKey: _split_rsa,
    ec.EllipticCurvePrivateKey: _split_ec,
    ed25519.Ed25519PrivateKey: _split_edwards(KeySpec.ED25519),
    x25519.X25519PrivateKey: _split_edwards(KeySpec.X25519),
    ed448.Ed448PrivateKey: _split_edwards(KeySpec.ED448),
    x448.X448PrivateKey: _split_edwards(KeySpec.X448),
}
