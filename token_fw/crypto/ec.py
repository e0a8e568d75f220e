"""ECDSA and ECDH on the NIST prime curves (FIPS 186-5, SP 800-186, SP 800-56A)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from cryptography import exceptions
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec as native
from cryptography.hazmat.primitives.asymmetric import utils

from token_fw.crypto import keys
from token_fw.crypto.errors import DataLength, InvalidKey, InvalidSignature, Unsupported
from token_fw.crypto.keys import Algorithm, PrivateKey, PublicKey
from token_fw.crypto.kinds import KeyKind, KeySpec
from token_fw.crypto.schemes import Ecdsa, SignScheme


@dataclass(frozen=True, slots=True)
class Curve:
    """Domain parameters of y² = x³ + ax + b over the integers modulo p; the cofactor is 1.

    SP 800-186 3.2.1; P-192, which is for old keys, FIPS 186-4 D.1.2.1. `size` is the length in
    bytes of a coordinate and of the order alike.
    """

    name: str
    p: int
    a: int
    b: int
    generator: tuple[int, int]
    order: int
    native: native.EllipticCurve
    cofactor: int = 1

    @property
    def spec(self) -> KeySpec:
        return KeySpec.ec(self.name)

    @property
    def oid(self) -> str:
        return self.spec.oid

    @property
    def size(self) -> int:
        return (self.p.bit_length() + 7) // 8

    @property
    def generator_point(self) -> bytes:
        """The base point, 04 || X || Y."""
        x, y = self.generator
        return b"\x04" + x.to_bytes(self.size, "big") + y.to_bytes(self.size, "big")


_P192 = 2**192 - 2**64 - 1
_P256 = 2**256 - 2**224 + 2**192 + 2**96 - 1
_P384 = 2**384 - 2**128 - 2**96 + 2**32 - 1
_P521 = 2**521 - 1

CURVES: dict[str, Curve] = {
    curve.name: curve
    for curve in (
        Curve(
            "P-192",
            p=_P192,
            a=_P192 - 3,
            b=0x64210519E59C80E70FA7E9AB72243049FEB8DEECC146B9B1,
            generator=(
                0x188DA80EB03090F67CBF20EB43A18800F4FF0AFD82FF1012,
                0x07192B95FFC8DA78631011ED6B24CDD573F977A11E794811,
            ),
            order=0xFFFFFFFFFFFFFFFFFFFFFFFF99DEF836146BC9B1B4D22831,
            native=native.SECP192R1(),
        ),
        Curve(
            "P-256",
            p=_P256,
            a=_P256 - 3,
            b=0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
            generator=(
                0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
                0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
            ),
            order=0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
            native=native.SECP256R1(),
        ),
        Curve(
            "P-384",
            p=_P384,
            a=_P384 - 3,
            b=int(
                "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe814112"
                "0314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
                16,
            ),
            generator=(
                int(
                    "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b98"
                    "59f741e082542a385502f25dbf55296c3a545e3872760ab7",
                    16,
                ),
                int(
                    "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147c"
                    "e9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
                    16,
                ),
            ),
            order=int(
                "ffffffffffffffffffffffffffffffffffffffffffffffff"
                "c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
                16,
            ),
            native=native.SECP384R1(),
        ),
        Curve(
            "P-521",
            p=_P521,
            a=_P521 - 3,
            b=int(
                "051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e1"
                "56193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
                16,
            ),
            generator=(
                int(
                    "0c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dba"
                    "a14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66",
                    16,
                ),
                int(
                    "11839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c"
                    "97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650",
                    16,
                ),
            ),
            order=int(
                "1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
                "a51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
                16,
            ),
            native=native.SECP521R1(),
        ),
    )
}
_BY_NATIVE_NAME = {curve.native.name: curve for curve in CURVES.values()}


def curve_of(spec: KeySpec) -> Curve:
    """Give the parameters of an EC key kind. Raises Unsupported for another kind."""
    try:
        return CURVES[spec.curve]
    except KeyError:
        raise Unsupported(f"{spec} has no curve parameters") from None


def _curve_by_native(key: native.EllipticCurvePrivateKey | native.EllipticCurvePublicKey) -> Curve:
    try:
        return _BY_NATIVE_NAME[key.curve.name]
    except KeyError:
        raise Unsupported(f"the curve {key.curve.name} is not supported") from None


def _prehashed(curve: Curve, digest: bytes) -> tuple[bytes, native.ECDSA]:
    """Give the bytes that count and the algorithm for a digest of any length."""
    if not digest:
        raise DataLength("ECDSA needs a digest of at least one byte")
    leftmost = digest[: curve.size]
    return leftmost, _algorithm(len(leftmost))


@cache
def _algorithm(size: int) -> native.ECDSA:
    """ECDSA over a digest of that many bytes.

    The library takes a digest only together with a hash of that size and then never looks at the
    hash; SHAKE256 is the one whose size can be chosen.
    """
    return native.ECDSA(utils.Prehashed(hashes.SHAKE256(size)))


class EcPublicKey(PublicKey):
    """A point on P-256, P-384 or P-521."""

    __slots__ = ("_curve", "_native")

    def __init__(self, key: native.EllipticCurvePublicKey) -> None:
        self._native = key
        self._curve = _curve_by_native(key)

    @property
    def spec(self) -> KeySpec:
        return self._curve.spec

    @property
    def point(self) -> bytes:
        """04 || X || Y: 65, 97 or 133 bytes (SEC 1 2.3.3)."""
        return self._native.public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )

    def to_spki(self) -> bytes:
        return keys.to_spki(self._native)

    def verify(self, scheme: SignScheme, data: bytes, signature: bytes) -> None:
        if not isinstance(scheme, Ecdsa) or scheme.der:
            raise self.cannot("verify", scheme)
        digest, algorithm = _prehashed(self._curve, data)
        size = self._curve.size
        if len(signature) != 2 * size:
            raise InvalidSignature(f"an ECDSA signature of this curve has {2 * size} bytes")
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        try:
            self._native.verify(utils.encode_dss_signature(r, s), digest, algorithm)
        except (exceptions.InvalidSignature, ValueError):
            raise InvalidSignature("the ECDSA signature is not valid") from None


class EcPrivateKey(PrivateKey):
    """A private key on P-256, P-384 or P-521."""

    __slots__ = ("_curve", "_native")

    def __init__(self, key: native.EllipticCurvePrivateKey) -> None:
        self._native = key
        self._curve = _curve_by_native(key)

    @property
    def spec(self) -> KeySpec:
        return self._curve.spec

    def public(self) -> EcPublicKey:
        return EcPublicKey(self._native.public_key())

    def to_pkcs8(self) -> bytes:
        return keys.to_pkcs8(self._native)

    def sign(self, scheme: SignScheme, data: bytes) -> bytes:
        if not isinstance(scheme, Ecdsa):
            raise self.cannot("sign", scheme)
        signature = self._native.sign(*_prehashed(self._curve, data))
        if scheme.der:
            return signature
        r, s = utils.decode_dss_signature(signature)
        size = self._curve.size
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def agree(self, peer_point: bytes) -> bytes:
        peer = ec_public(self._curve.name, peer_point)
        return self._native.exchange(native.ECDH(), peer._native)


def ec_private(curve: str, d: bytes) -> EcPrivateKey:
    """Make a key from its number, big-endian, of any length. Raises InvalidKey, Unsupported."""
    parameters = curve_of(KeySpec.ec(curve))
    number = int.from_bytes(d, "big")
    if not 0 < number < parameters.order:
        raise InvalidKey("the private number is not between 1 and the order of the curve")
    return EcPrivateKey(native.derive_private_key(number, parameters.native))


def ec_public(curve: str, point: bytes) -> EcPublicKey:
    """Make a key from 04 || X || Y or a compressed point. Raises InvalidKey, Unsupported."""
    parameters = curve_of(KeySpec.ec(curve))
    try:
        key = native.EllipticCurvePublicKey.from_encoded_point(parameters.native, point)
    except ValueError:
        raise InvalidKey(f"not a point on {curve}") from None
    return EcPublicKey(key)


def ecdsa_numbers(spec: KeySpec, der: bytes) -> bytes:
    """The r || s, each as long as the order, of a SEQUENCE of r and s (RFC 3279 2.2.3).

    Raises InvalidSignature for what is no DER, and for numbers longer than the order.
    """
    size = curve_of(spec).size
    try:
        return b"".join(n.to_bytes(size, "big") for n in utils.decode_dss_signature(der))
    except (ValueError, OverflowError):
        raise InvalidSignature("the signature is no SEQUENCE of two numbers") from None


def _generate(spec: KeySpec) -> EcPrivateKey:
    return EcPrivateKey(native.generate_private_key(curve_of(spec).native))


keys.register(
    Algorithm(
        kind=KeyKind.EC,
        native_private=native.EllipticCurvePrivateKey,
        native_public=native.EllipticCurvePublicKey,
        generate=_generate,
        wrap_private=EcPrivateKey,
        wrap_public=EcPublicKey,
    )
)
