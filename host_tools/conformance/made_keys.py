"""Keys that are made here and imported by a card: one of each kind, thrown away afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x448, x25519

EdwardsKey: TypeAlias = (
    ed25519.Ed25519PrivateKey
    | x25519.X25519PrivateKey
    | ed448.Ed448PrivateKey
    | x448.X448PrivateKey
)
PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | EdwardsKey

_MAKERS: Mapping[str, Callable[[], PrivateKey]] = {
    "RSA-2048": partial(rsa.generate_private_key, 65537, 2048),
    "RSA-3072": partial(rsa.generate_private_key, 65537, 3072),
    "RSA-4096": partial(rsa.generate_private_key, 65537, 4096),
    "P-256": partial(ec.generate_private_key, ec.SECP256R1()),
    "P-384": partial(ec.generate_private_key, ec.SECP384R1()),
    "P-521": partial(ec.generate_private_key, ec.SECP521R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "X25519": x25519.X25519PrivateKey.generate,
    "Ed448": ed448.Ed448PrivateKey.generate,
    "X448": x448.X448PrivateKey.generate,
}


@cache
def made_key(kind: str) -> PrivateKey:
    """The key of a kind as the vectors name it; long ones take seconds to make."""
    return _MAKERS[kind]()


def secret_bytes(key: ec.EllipticCurvePrivateKey | EdwardsKey) -> bytes:
    """What a card keeps of it: the number, as long as the curve's order, or the bytes."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")
    return key.private_bytes_raw()
