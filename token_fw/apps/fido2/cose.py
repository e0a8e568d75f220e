"""The algorithms of credentials: COSE's numbers and keys, and how a private key is kept.

RFC 9053 for ES256 to EdDSA, RFC 8812 for RS256, RFC 9864 for the fully-specified ones, and COSE's
registry for ML-DSA. A private key is kept as few bytes as it follows from, since it travels in
credential identifiers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from token_fw.crypto import (
    Ecdsa,
    EcPublicKey,
    EdDsa,
    EdwardsPublicKey,
    Hash,
    KeyKind,
    KeySpec,
    MlDsa,
    MlDsaPublicKey,
    PrivateKey,
    PublicKey,
    RsaPkcs1,
    RsaPrivateKey,
    RsaPss,
    RsaPublicKey,
    curve_of,
    digest,
    digest_info,
    generate,
    load_private,
    rsa_of_primes,
)

_KTY, _ALG, _CRV = 1, 3, -1
_OKP, _EC2, _RSA, _AKP = 1, 2, 3, 7
_CURVES = {"P-256": 1, "P-384": 2, "P-521": 3}
_EDWARDS = {KeyKind.ED25519: 6, KeyKind.ED448: 7}
_RSA_BITS = 2048

CoseKey = dict[int, Any]
Sign = Callable[[PrivateKey, bytes], bytes]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """An algorithm of COSE: its number, the kind of key, and how it signs a message."""

    alg: int
    spec: KeySpec
    sign: Sign

    def generate(self) -> PrivateKey:
        """A new key. Takes about a second for RSA; other threads run meanwhile."""
        return generate(self.spec)

    def public(self, key: PublicKey) -> CoseKey:
        """The COSE_Key of a public key of this algorithm."""
        return {_ALG: self.alg} | _PUBLIC[type(key)](key)


def _ecdsa(hash_: Hash) -> Sign:
    return lambda key, message: key.sign(Ecdsa(der=True), digest.compute(hash_, message))


def _rs256(key: PrivateKey, message: bytes) -> bytes:
    info = digest_info(Hash.SHA256, digest.compute(Hash.SHA256, message))
    return key.sign(RsaPkcs1(), info)


def _ps256(key: PrivateKey, message: bytes) -> bytes:
    scheme = RsaPss(Hash.SHA256, Hash.SHA256, Hash.SHA256.size)
    return key.sign(scheme, digest.compute(Hash.SHA256, message))


def _eddsa(key: PrivateKey, message: bytes) -> bytes:
    return key.sign(EdDsa(), message)


def _ml_dsa(key: PrivateKey, message: bytes) -> bytes:
    return key.sign(MlDsa(), message)


def _ec2(key: Any) -> CoseKey:
    assert isinstance(key, EcPublicKey)
    size = curve_of(key.spec).size
    point = key.point
    return {
        _KTY: _EC2,
        _CRV: _CURVES[key.spec.curve],
        -2: point[1 : 1 + size],
        -3: point[1 + size :],
    }


def _okp(key: Any) -> CoseKey:
    assert isinstance(key, EdwardsPublicKey)
    return {_KTY: _OKP, _CRV: _EDWARDS[key.spec.kind], -2: key.point}


def _rsa(key: Any) -> CoseKey:
    assert isinstance(key, RsaPublicKey)
    return {_KTY: _RSA, -1: key.modulus, -2: key.exponent}


def _akp(key: Any) -> CoseKey:
    assert isinstance(key, MlDsaPublicKey)
    return {_KTY: _AKP, -1: key.raw}


_PUBLIC: dict[type[PublicKey], Callable[[Any], CoseKey]] = {
    EcPublicKey: _ec2,
    EdwardsPublicKey: _okp,
    RsaPublicKey: _rsa,
    MlDsaPublicKey: _akp,
}

_P256, _P384, _P521 = (KeySpec.ec(curve) for curve in _CURVES)
_RSA_2048 = KeySpec.rsa(_RSA_BITS)
ALGORITHMS = {
    algorithm.alg: algorithm
    for algorithm in (
        Algorithm(-7, _P256, _ecdsa(Hash.SHA256)),
        Algorithm(-9, _P256, _ecdsa(Hash.SHA256)),
        Algorithm(-35, _P384, _ecdsa(Hash.SHA384)),
        Algorithm(-51, _P384, _ecdsa(Hash.SHA384)),
        Algorithm(-36, _P521, _ecdsa(Hash.SHA512)),
        Algorithm(-52, _P521, _ecdsa(Hash.SHA512)),
        Algorithm(-8, KeySpec.ED25519, _eddsa),
        Algorithm(-19, KeySpec.ED25519, _eddsa),
        Algorithm(-53, KeySpec.ED448, _eddsa),
        Algorithm(-257, _RSA_2048, _rs256),
        Algorithm(-37, _RSA_2048, _ps256),
        Algorithm(-48, KeySpec.ml_dsa(44), _ml_dsa),
        Algorithm(-49, KeySpec.ml_dsa(65), _ml_dsa),
        Algorithm(-50, KeySpec.ml_dsa(87), _ml_dsa),
    )
}
"""By their numbers, in the order of preference."""

ES256 = ALGORITHMS[-7]


def pack(key: PrivateKey) -> bytes:
    """What a private key is kept as: the primes of an RSA key, others in PKCS #8."""
    return b"".join(key.primes()) if isinstance(key, RsaPrivateKey) else key.to_pkcs8()


def unpack(algorithm: Algorithm, packed: bytes) -> PrivateKey:
    """The private key that `pack` has packed and that was kept authentic."""
    if algorithm.spec.kind is KeyKind.RSA:
        half = len(packed) // 2
        return rsa_of_primes(packed[:half], packed[half:])
    return load_private(packed, checked=True)
