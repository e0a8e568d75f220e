"""Ed25519 signatures (RFC 8032) and X25519 agreement (RFC 7748)."""

from __future__ import annotations

from cryptography import exceptions
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519

from token_fw.crypto import keys
from token_fw.crypto.errors import InvalidKey, InvalidSignature, Unsupported
from token_fw.crypto.keys import Algorithm, PrivateKey, PublicKey
from token_fw.crypto.kinds import KeyKind, KeySpec
from token_fw.crypto.schemes import EdDsa, SignScheme

_KINDS = frozenset({KeyKind.ED25519, KeyKind.X25519})
KEY_SIZE = 32
SIGNATURE_SIZE = 64
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P

_NativePublic = ed25519.Ed25519PublicKey | x25519.X25519PublicKey
_NativePrivate = ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey


def _is_ed25519_point(raw: bytes) -> bool:
    """Whether 32 bytes decode to a point (RFC 8032 5.1.3)."""
    encoded = int.from_bytes(raw, "little")
    y, sign = encoded & (2**255 - 1), encoded >> 255
    if y >= _P:
        return False
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if x_squared == 0:
        return sign == 0
    return pow(x_squared, (_P - 1) // 2, _P) == 1


class EdwardsPublicKey(PublicKey):
    """A public key of Ed25519 or X25519."""

    __slots__ = ("_native", "_spec")

    def __init__(self, key: _NativePublic) -> None:
        self._native = key
        is_signing = isinstance(key, ed25519.Ed25519PublicKey)
        self._spec = KeySpec.ED25519 if is_signing else KeySpec.X25519
        if is_signing and not _is_ed25519_point(self.point):
            raise InvalidKey("not a point on Ed25519")

    @property
    def spec(self) -> KeySpec:
        return self._spec

    @property
    def point(self) -> bytes:
        """The raw 32 bytes of the standard."""
        return self._native.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def to_spki(self) -> bytes:
        return keys.to_spki(self._native)

    def verify(self, scheme: SignScheme, data: bytes, signature: bytes) -> None:
        if not isinstance(scheme, EdDsa) or not isinstance(self._native, ed25519.Ed25519PublicKey):
            raise self.cannot("verify", scheme)
        try:
            self._native.verify(signature, data)
        except (exceptions.InvalidSignature, ValueError):
            raise InvalidSignature("the Ed25519 signature is not valid") from None


class EdwardsPrivateKey(PrivateKey):
    """A private key of Ed25519 or X25519."""

    __slots__ = ("_native", "_spec")

    def __init__(self, key: _NativePrivate) -> None:
        self._native = key
        is_signing = isinstance(key, ed25519.Ed25519PrivateKey)
        self._spec = KeySpec.ED25519 if is_signing else KeySpec.X25519

    @property
    def spec(self) -> KeySpec:
        return self._spec

    def public(self) -> EdwardsPublicKey:
        return EdwardsPublicKey(self._native.public_key())

    def to_pkcs8(self) -> bytes:
        return keys.to_pkcs8(self._native)

    def sign(self, scheme: SignScheme, data: bytes) -> bytes:
        if not isinstance(scheme, EdDsa) or not isinstance(self._native, ed25519.Ed25519PrivateKey):
            raise self.cannot("sign", scheme)
        return self._native.sign(data)

    def agree(self, peer_point: bytes) -> bytes:
        if not isinstance(self._native, x25519.X25519PrivateKey):
            raise self.cannot("agree on a secret")
        if len(peer_point) != KEY_SIZE:
            raise InvalidKey(f"a point of X25519 has {KEY_SIZE} bytes")
        try:
            return self._native.exchange(x25519.X25519PublicKey.from_public_bytes(peer_point))
        except ValueError:
            # RFC 7748 6.1: a point of low order gives zeros, which is no secret.
            raise InvalidKey("the peer's point gives no secret") from None


def edwards_private(kind: KeyKind, seed: bytes) -> EdwardsPrivateKey:
    """Make a key from its 32 secret bytes. Raises InvalidKey, Unsupported."""
    _check(kind, seed)
    if kind is KeyKind.ED25519:
        return EdwardsPrivateKey(ed25519.Ed25519PrivateKey.from_private_bytes(seed))
    return EdwardsPrivateKey(x25519.X25519PrivateKey.from_private_bytes(seed))


def edwards_public(kind: KeyKind, raw: bytes) -> EdwardsPublicKey:
    """Make a key from its 32 public bytes. Raises InvalidKey, Unsupported."""
    _check(kind, raw)
    if kind is KeyKind.ED25519:
        return EdwardsPublicKey(ed25519.Ed25519PublicKey.from_public_bytes(raw))
    return EdwardsPublicKey(x25519.X25519PublicKey.from_public_bytes(raw))


def _check(kind: KeyKind, raw: bytes) -> None:
    if kind not in _KINDS:
        raise Unsupported(f"{kind} is not an Edwards or Montgomery curve")
    if len(raw) != KEY_SIZE:
        raise InvalidKey(f"a key of {kind} has {KEY_SIZE} bytes, not {len(raw)}")


keys.register(
    Algorithm(
        kind=KeyKind.ED25519,
        native_private=ed25519.Ed25519PrivateKey,
        native_public=ed25519.Ed25519PublicKey,
        generate=lambda _: EdwardsPrivateKey(ed25519.Ed25519PrivateKey.generate()),
        wrap_private=EdwardsPrivateKey,
        wrap_public=EdwardsPublicKey,
    )
)
keys.register(
    Algorithm(
        kind=KeyKind.X25519,
        native_private=x25519.X25519PrivateKey,
        native_public=x25519.X25519PublicKey,
        generate=lambda _: EdwardsPrivateKey(x25519.X25519PrivateKey.generate()),
        wrap_private=EdwardsPrivateKey,
        wrap_public=EdwardsPublicKey,
    )
)
