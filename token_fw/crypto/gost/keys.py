"""Keys of GOST R 34.10-2012 (RFC 7091) on the parameter sets of TC26 and CryptoPro."""

from __future__ import annotations

import secrets
from typing import Final

from token_fw.crypto import keys
from token_fw.crypto.errors import DataLength, InvalidKey, InvalidSignature
from token_fw.crypto.gost import curve, encodings
from token_fw.crypto.gost.backend import backend
from token_fw.crypto.gost.interface import PrivateNumber, PublicPoint
from token_fw.crypto.gost.keg import keg
from token_fw.crypto.gost.nonces import deterministic_nonce
from token_fw.crypto.gost.parameter_sets import ParameterSet, parameter_set
from token_fw.crypto.gost.vko import vko
from token_fw.crypto.keys import OwnAlgorithm, PrivateKey, PublicKey
from token_fw.crypto.kinds import KeySpec
from token_fw.crypto.schemes import Gost3410, SignScheme

_KEY_SIZES: Final = frozenset({32, 64})


def _check_digest(parameters: ParameterSet, digest: bytes) -> None:
    if len(digest) != parameters.size:
        raise DataLength(f"a key of {parameters.name} takes a digest of {parameters.size} bytes")


def _point_on_curve(parameters: ParameterSet, encoded: bytes) -> tuple[int, int]:
    point = encodings.point_of(parameters, encoded)
    if not parameters.has(*point):
        raise InvalidKey(f"not a point on the curve of {parameters.name}")
    return point


class GostPublicKey(PublicKey):
    """A point of the group of a parameter set."""

    __slots__ = ("_parameters", "_point", "_ready")

    def __init__(self, parameters: ParameterSet, point: tuple[int, int]) -> None:
        self._parameters = parameters
        self._point = point
        self._ready: PublicPoint | None = None

    @property
    def spec(self) -> KeySpec:
        return self._parameters.spec

    @property
    def point(self) -> bytes:
        """X || Y, little-endian: 64 or 128 bytes (RFC 9215 4.3)."""
        return encodings.point_bytes(self._parameters, self._point)

    def to_spki(self) -> bytes:
        return encodings.to_spki(self._parameters, self._point)

    def verify(self, scheme: SignScheme, data: bytes, signature: bytes) -> None:
        if not isinstance(scheme, Gost3410) or scheme.deterministic:
            raise self.cannot("verify", scheme)
        _check_digest(self._parameters, data)
        if len(signature) != 2 * self._parameters.size:
            size = 2 * self._parameters.size
            raise InvalidSignature(f"a signature of {self.spec} has {size} bytes")
        if self._ready is None:
            self._ready = backend().public(self._parameters, self._point)
        if not self._ready.verify(data, signature):
            raise InvalidSignature("the GOST signature is not valid")


class GostPrivateKey(PrivateKey):
    """A private number of a parameter set, 1 to q - 1."""

    __slots__ = ("_d", "_parameters", "_ready")

    def __init__(self, parameters: ParameterSet, d: int) -> None:
        if not 0 < d < parameters.q:
            raise InvalidKey("the private number is not between 1 and the order of the group")
        self._parameters = parameters
        self._d = d
        self._ready: PrivateNumber | None = None

    @property
    def spec(self) -> KeySpec:
        return self._parameters.spec

    @property
    def d(self) -> bytes:
        """The private number, big-endian, 32 or 64 bytes."""
        return self._d.to_bytes(self._parameters.size, "big")

    def public(self) -> GostPublicKey:
        return GostPublicKey(self._parameters, self._number().point)

    def to_pkcs8(self) -> bytes:
        return encodings.to_pkcs8(self._parameters, self._d)

    def sign(self, scheme: SignScheme, data: bytes) -> bytes:
        if not isinstance(scheme, Gost3410):
            raise self.cannot("sign", scheme)
        _check_digest(self._parameters, data)
        k = deterministic_nonce(self._parameters, self._d, data) if scheme.deterministic else None
        return self._number().sign(data, k)

    def _number(self) -> PrivateNumber:
        if self._ready is None:
            self._ready = backend().private(self._parameters, self._d)
        return self._ready

    def vko(self, peer_point: bytes, ukm: bytes, key_size: int) -> bytes:
        """Agree on a key of 32 or 64 bytes (RFC 7836 4.3.1, 4.3.2).

        `peer_point` is X || Y of the same parameter set and `ukm` a number, both little-endian;
        the UKM has at least one byte that is not zero, and no more bytes than q. Raises InvalidKey
        or DataLength.
        """
        number = int.from_bytes(ukm, "little")
        if key_size not in _KEY_SIZES:
            raise DataLength("VKO gives a key of 32 or 64 bytes")
        if len(ukm) > self._parameters.size or not number % self._parameters.q:
            raise DataLength("the UKM is not a number between 1 and the order of the group")
        point = _point_on_curve(self._parameters, peer_point)
        return vko(self._parameters, self._d, point, number, key_size)

    def keg(self, peer_point: bytes, ukm: bytes) -> bytes:
        """Agree on the 64 bytes of a twin key by a UKM of 32 bytes (RFC 9189 8.3.1).

        `peer_point` is X || Y of the same parameter set. Raises InvalidKey or DataLength.
        """
        return keg(self._parameters, self._d, _point_on_curve(self._parameters, peer_point), ukm)


def _public(parameters: ParameterSet, encoded: bytes) -> GostPublicKey:
    """Make a key from X || Y, which has to be on the curve and of order q."""
    point = _point_on_curve(parameters, encoded)
    if parameters.cofactor > 1 and curve.multiply(parameters, parameters.q, point):
        raise InvalidKey(f"not a point of the group of {parameters.name}")
    return GostPublicKey(parameters, point)


def gost_private(name: str, d: bytes) -> GostPrivateKey:
    """Make a key from its number, big-endian, of any length. Raises InvalidKey, Unsupported."""
    return GostPrivateKey(parameter_set(KeySpec.gost(name)), int.from_bytes(d, "big"))


def gost_public(name: str, point: bytes) -> GostPublicKey:
    """Make a key from X || Y, little-endian. Raises InvalidKey, Unsupported."""
    return _public(parameter_set(KeySpec.gost(name)), point)


def _generate(spec: KeySpec) -> GostPrivateKey:
    parameters = parameter_set(spec)
    return GostPrivateKey(parameters, secrets.randbelow(parameters.q - 1) + 1)


for _kind, _oid_der in encodings.KEY_OIDS.items():
    keys.register(
        OwnAlgorithm(
            kind=_kind,
            oid_der=_oid_der,
            generate=_generate,
            load_private=lambda pkcs8: GostPrivateKey(*encodings.read_pkcs8(pkcs8)),
            load_public=lambda spki: _public(*encodings.read_spki(spki)),
        )
    )
