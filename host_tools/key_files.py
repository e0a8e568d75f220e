"""Private keys in files, as the attributes a token takes them by."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x448, x25519

from host_tools.pki.errors import Malformed, PkiError, UnknownAlgorithm
from pkcs11_module import _constants as ck
from token_fw.crypto import (
    CryptoError,
    GostPrivateKey,
    KeySpec,
    PrivateKey,
    Unsupported,
    load_private,
)
from token_fw.crypto.keys import to_pkcs8

if TYPE_CHECKING:
    from host_tools.pki.pkcs12 import Container

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
    """A private key in PEM or DER (PKCS #8, PKCS #1, SEC 1), encrypted or not, or in PKCS #12.

    Raises UnreadableFile, also for a wrong or missing passphrase.
    """
    return _parts(_pkcs8(content, passphrase))


def key_parts(key: PrivateKey) -> KeyParts:
    """A key at hand. Raises UnreadableFile for a kind that does not fit on the token."""
    return _parts(key.to_pkcs8())


def _parts(pkcs8: bytes) -> KeyParts:
    try:
        key = serialization.load_der_private_key(pkcs8, None)
    except UnsupportedAlgorithm as error:
        return _split_gost(pkcs8, error)
    except ValueError as error:
        raise UnreadableFile("The private key is damaged.") from error
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


def load_certified_key(
    content: bytes, passphrase: bytes | None = None
) -> tuple[PrivateKey, tuple[Any, ...]]:
    """The same with the certificates (asn1crypto's) that a container has beside the key."""
    from host_tools.pki import pkcs12  # noqa: PLC0415  slow to load

    if not pkcs12.is_container(content):
        return load_private_key(content, passphrase), ()
    container = load_container(content, passphrase)
    return container.key, container.certificates


def _pkcs8(content: bytes, passphrase: bytes | None) -> bytes:
    """The PrivateKeyInfo of a key of any kind, also of one that cryptography does not know."""
    from host_tools.pki import pbes2, pkcs12  # noqa: PLC0415  slow to load
    from host_tools.pki.asn1 import keys, read  # noqa: PLC0415

    if pkcs12.is_container(content):
        return load_container(content, passphrase).key.to_pkcs8()
    try:
        found = read(keys.PrivateKeyInfo, content, "private key", "PRIVATE KEY")
        return bytes(found.dump())
    except Malformed:
        pass  # not of this form: the next ones are tried
    try:
        found = read(keys.EncryptedPrivateKeyInfo, content, "private key", "ENCRYPTED PRIVATE KEY")
        return pbes2.decrypt(found, _needed(passphrase))
    except pbes2.WrongPassphrase as error:
        raise WrongPassphrase(error.message) from error
    except (Malformed, UnknownAlgorithm):
        return to_pkcs8(_native(content, passphrase))


def load_container(content: bytes, passphrase: bytes | None) -> "Container":
    """A PKCS #12 container in DER. Raises UnreadableFile."""
    from host_tools.pki import pbes2, pkcs12  # noqa: PLC0415  slow to load

    try:
        return pkcs12.read(content, _needed(passphrase).decode())
    except pbes2.WrongPassphrase as error:
        raise WrongPassphrase(error.message) from error
    except (Malformed, UnknownAlgorithm) as error:
        raise UnreadableFile(error.message, error.hint) from error


def _needed(passphrase: bytes | None) -> bytes:
    if passphrase is None:
        raise EncryptedFile("The key needs a passphrase.")
    return passphrase


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


def _split_gost(pkcs8: bytes, error: UnsupportedAlgorithm) -> KeyParts:
    """A key that cryptography does not know, if it is one of GOST; numbers are little-endian."""
    try:
        key = load_private(pkcs8)
    except Unsupported:
        raise UnreadableFile("Keys of this kind do not fit on the token.") from error
    except CryptoError:
        raise UnreadableFile("The private key is damaged.") from error
    if not isinstance(key, GostPrivateKey):
        raise UnreadableFile("Keys of this kind do not fit on the token.") from error
    parameters = {ck.CKA_GOSTR3410_PARAMS: key.spec.oid_der}
    return KeyParts(
        key.spec,
        {**parameters, ck.CKA_VALUE: key.d[::-1]},
        {**parameters, ck.CKA_VALUE: key.public().point},
    )


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
