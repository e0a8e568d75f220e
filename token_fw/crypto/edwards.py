"""Ed25519 and Ed448 signatures (RFC 8032), X25519 and X448 agreement (RFC 7748)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from cryptography import exceptions
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, x448, x25519

from token_fw.crypto import keys
from token_fw.crypto.errors import InvalidKey, InvalidSignature, Unsupported
from token_fw.crypto.keys import Algorithm, PrivateKey, PublicKey
from token_fw.crypto.kinds import KeyKind, KeySpec
from token_fw.crypto.schemes import EdDsa, SignScheme

EDWARDS_SIZES: Final = {
    KeyKind.ED25519: 32,
    KeyKind.X25519: 32,
    KeyKind.ED448: 57,
    KeyKind.X448: 56,
}
"""Bytes of a private or public key; a signature has twice as many."""

_SigningPublic = ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
_SigningPrivate = ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
_NativePublic = _SigningPublic | x25519.X25519PublicKey | x448.X448PublicKey
_NativePrivate = _SigningPrivate | x25519.X25519PrivateKey | x448.X448PrivateKey


@dataclass(frozen=True, slots=True)
class _Equation:
    """A curve a·x² + y² = 1 + d·x²·y² modulo p."""

    p: int
    a: int
    d: int

    def has(self, raw: bytes) -> bool:
        """Whether bytes decode to a point (RFC 8032 5.1.3, 5.2.3)."""
        sign_place = 8 * len(raw) - 1
        encoded = int.from_bytes(raw, "little")
        y, sign = encoded & (1 << sign_place) - 1, encoded >> sign_place
        if y >= self.p:
            return False
        x_squared = (y * y - 1) * pow(self.d * y * y - self.a, -1, self.p) % self.p
        if x_squared == 0:
            return sign == 0
        return pow(x_squared, (self.p - 1) // 2, self.p) == 1


_P25519: Final = 2**255 - 19
_P448: Final = 2**448 - 2**224 - 1
_EQUATIONS: Final = {
    KeyKind.ED25519: _Equation(_P25519, -1, -121665 * pow(121666, -1, _P25519) % _P25519),
    KeyKind.ED448: _Equation(_P448, 1, -39081),
}


@dataclass(frozen=True, slots=True)
class _Classes:
    """The classes of cryptography, whose constructors are the same for every kind."""

    private: Any
    public: Any


_CLASSES: Final = {
    KeyKind.ED25519: _Classes(ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
    KeyKind.X25519: _Classes(x25519.X25519PrivateKey, x25519.X25519PublicKey),
    KeyKind.ED448: _Classes(ed448.Ed448PrivateKey, ed448.Ed448PublicKey),
    KeyKind.X448: _Classes(x448.X448PrivateKey, x448.X448PublicKey),
}


class EdwardsPublicKey(PublicKey):
    """A public key of Ed25519, Ed448, X25519 or X448."""

    __slots__ = ("_native", "_spec")

    def __init__(self, kind: KeyKind, key: _NativePublic) -> None:
        self._native = key
        self._spec = KeySpec(kind)
        equation = _EQUATIONS.get(kind)
        if equation is not None and not equation.has(self.point):
            raise InvalidKey(f"not a point on {kind}")

    @property
    def spec(self) -> KeySpec:
        return self._spec

    @property
    def point(self) -> bytes:
        """The raw bytes of the standard."""
        return self._native.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def to_spki(self) -> bytes:
        return keys.to_spki(self._native)

    def verify(self, scheme: SignScheme, data: bytes, signature: bytes) -> None:
        if not isinstance(scheme, EdDsa) or not isinstance(self._native, _SigningPublic):
            raise self.cannot("verify", scheme)
        try:
            self._native.verify(signature, data)
        except (exceptions.InvalidSignature, ValueError):
            raise InvalidSignature(f"the {self._spec} signature is not valid") from None


class EdwardsPrivateKey(PrivateKey):
    """A private key of Ed25519, Ed448, X25519 or X448."""

    __slots__ = ("_native", "_spec")

    def __init__(self, kind: KeyKind, key: _NativePrivate) -> None:
        self._native = key
        self._spec = KeySpec(kind)

    @property
    def spec(self) -> KeySpec:
        return self._spec

    def public(self) -> EdwardsPublicKey:
        return EdwardsPublicKey(self._spec.kind, self._native.public_key())

    def to_pkcs8(self) -> bytes:
        return keys.to_pkcs8(self._native)

    def sign(self, scheme: SignScheme, data: bytes) -> bytes:
        if not isinstance(scheme, EdDsa) or not isinstance(self._native, _SigningPrivate):
            raise self.cannot("sign", scheme)
        return self._native.sign(data)

    def agree(self, peer_point: bytes) -> bytes:
        native, kind = self._native, self._spec.kind
        if isinstance(native, _SigningPrivate):
            raise self.cannot("agree on a secret")
        if len(peer_point) != EDWARDS_SIZES[kind]:
            raise InvalidKey(f"a point of {kind} has {EDWARDS_SIZES[kind]} bytes")
        try:
            shared: bytes = native.exchange(_CLASSES[kind].public.from_public_bytes(peer_point))
        except ValueError:
            # RFC 7748 6.1, 6.2: a point of low order gives zeros, which is no secret.
            raise InvalidKey("the peer's point gives no secret") from None
        return shared


def edwards_private(kind: KeyKind, seed: bytes) -> EdwardsPrivateKey:
    """Make a key from its secret bytes (EDWARDS_SIZES). Raises InvalidKey, Unsupported."""
    _check(kind, seed)
    return EdwardsPrivateKey(kind, _CLASSES[kind].private.from_private_bytes(seed))


def edwards_public(kind: KeyKind, raw: bytes) -> EdwardsPublicKey:
    """Make a key from its public bytes (EDWARDS_SIZES). Raises InvalidKey, Unsupported."""
    _check(kind, raw)
    return EdwardsPublicKey(kind, _CLASSES[kind].public.from_public_bytes(raw))


def _check(kind: KeyKind, raw: bytes) -> None:
    size = EDWARDS_SIZES.get(kind)
    if size is None:
        raise Unsupported(f"{kind} is not an Edwards or Montgomery curve")
    if len(raw) != size:
        raise InvalidKey(f"a key of {kind} has {size} bytes, not {len(raw)}")


def _register(kind: KeyKind, classes: _Classes) -> None:
    keys.register(
        Algorithm(
            kind=kind,
            native_private=classes.private,
            native_public=classes.public,
            generate=lambda _: EdwardsPrivateKey(kind, classes.private.generate()),
            wrap_private=lambda native: EdwardsPrivateKey(kind, native),
            wrap_public=lambda native: EdwardsPublicKey(kind, native),
        )
    )


for _kind, _classes in _CLASSES.items():
    _register(_kind, _classes)
