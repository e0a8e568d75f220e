"""Kinds of key, their sizes and their object identifiers, without the keys."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from token_fw.crypto.errors import Unsupported


class KeyKind(StrEnum):
    """The kinds of key; the Edwards and Montgomery curves are kinds of their own.

    GOST_256 and GOST_512 are keys of GOST R 34.10-2012 by the length of their numbers in bits.
    """

    RSA = "RSA"
    EC = "EC"
    ED25519 = "Ed25519"
    X25519 = "X25519"
    ED448 = "Ed448"
    X448 = "X448"
    ML_DSA = "ML-DSA"
    ML_KEM = "ML-KEM"
    GOST_256 = "GOST-256"
    GOST_512 = "GOST-512"
    AES = "AES"
    DES3 = "DES3"
    KUZNYECHIK = "Kuznyechik"
    KUZNYECHIK_TWIN = "Kuznyechik-twin"
    MAGMA = "Magma"
    MAGMA_TWIN = "Magma-twin"
    GENERIC = "generic"


MAX_GENERIC_BYTES = 4096
_SECRET_BITS: dict[KeyKind, frozenset[int]] = {
    KeyKind.AES: frozenset({128, 192, 256}),
    KeyKind.DES3: frozenset({128, 192}),
    KeyKind.KUZNYECHIK: frozenset({256}),
    KeyKind.KUZNYECHIK_TWIN: frozenset({512}),
    KeyKind.MAGMA: frozenset({256}),
    KeyKind.MAGMA_TWIN: frozenset({512}),
    KeyKind.GENERIC: frozenset(range(8, 8 * MAX_GENERIC_BYTES + 1, 8)),
}
SECRET_KINDS = frozenset(_SECRET_BITS)


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
    """What kind of key, without the key.

    `bits` for RSA and secret keys, `curve` for EC and GOST, `level` for ML-DSA and ML-KEM: the
    number in the name of the parameter set.
    """

    kind: KeyKind
    bits: int = 0
    curve: str = ""
    level: int = 0

    ED25519: ClassVar[KeySpec]
    X25519: ClassVar[KeySpec]
    ED448: ClassVar[KeySpec]
    X448: ClassVar[KeySpec]

    @classmethod
    def rsa(cls, bits: int) -> KeySpec:
        return cls(KeyKind.RSA, bits=bits)

    @classmethod
    def ec(cls, curve: str) -> KeySpec:
        """Name a curve: "P-192", "P-256", "P-384" or "P-521". Raises Unsupported for another."""
        return _with_identifier(cls(KeyKind.EC, curve=curve), f"the curve {curve!r}")

    @classmethod
    def ml_dsa(cls, level: int) -> KeySpec:
        """Name a parameter set of FIPS 204 4: 44, 65 or 87. Raises Unsupported for another."""
        return _with_identifier(cls(KeyKind.ML_DSA, level=level), f"ML-DSA-{level}")

    @classmethod
    def ml_kem(cls, level: int) -> KeySpec:
        """Name a parameter set of FIPS 203 8: 768 or 1024. Raises Unsupported for another."""
        return _with_identifier(cls(KeyKind.ML_KEM, level=level), f"ML-KEM-{level}")

    @classmethod
    def gost(cls, name: str) -> KeySpec:
        """Name a parameter set of GOST R 34.10-2012. Raises Unsupported for another.

        "tc26-256-A" to "-D" and "tc26-512-A" to "-C" (RFC 7836 A), "CryptoPro-A", "-B", "-C",
        "-XchA" and "-XchB" (RFC 4357 11.4).
        """
        kind = KeyKind.GOST_512 if name.startswith("tc26-512-") else KeyKind.GOST_256
        return _with_identifier(cls(kind, curve=name), f"the parameter set {name!r}")

    @classmethod
    def secret(cls, kind: KeyKind, bits: int) -> KeySpec:
        """Name a secret key by the length of its value in bits.

        AES: 128, 192 or 256. DES3, parity bits counted: 128 (two keys) or 192. KUZNYECHIK and
        MAGMA: 256; their twins, a key for codes and then one for encryption: 512. GENERIC: 8 to
        32768 in whole bytes. Raises Unsupported for another length or kind.
        """
        if bits not in _SECRET_BITS.get(kind, ()):
            raise Unsupported(f"secret keys of kind {kind} with {bits} bits are not supported")
        return cls(kind, bits=bits)

    @property
    def oid(self) -> str:
        """The dotted identifier of the curve or parameter set; empty for kinds without one."""
        return _OIDS.get(self, "")

    @property
    def oid_der(self) -> bytes:
        """The same in DER, 06 and length included; empty for kinds without one."""
        return _OIDS_DER.get(self, b"")

    @classmethod
    def from_oid(cls, oid: str) -> KeySpec:
        """Find the key kind of a dotted identifier. Raises Unsupported."""
        try:
            return _BY_OID[oid]
        except KeyError:
            raise Unsupported(f"the kind of key {oid} is not supported") from None

    @classmethod
    def from_oid_der(cls, der: bytes) -> KeySpec:
        """The same for the DER of the identifier, 06 and length included."""
        try:
            return _BY_OID_DER[der]
        except KeyError:
            raise Unsupported("the kind of key is not supported") from None

    def __str__(self) -> str:
        return self.curve or "-".join(filter(None, (self.kind, str(self.bits or self.level or ""))))


KeySpec.ED25519 = KeySpec(KeyKind.ED25519)
KeySpec.X25519 = KeySpec(KeyKind.X25519)
KeySpec.ED448 = KeySpec(KeyKind.ED448)
KeySpec.X448 = KeySpec(KeyKind.X448)

# SEC 2 (RFC 5480 2.1.1.1), RFC 8410 3, NIST's arcs of ML-DSA (RFC 9881 2) and ML-KEM
# (RFC 9935 3), and the arcs of TC26 and of CryptoPro (RFC 9215 4.2).
_OIDS: dict[KeySpec, str] = {
    KeySpec(KeyKind.EC, curve="P-192"): "1.2.840.10045.3.1.1",
    KeySpec(KeyKind.EC, curve="P-256"): "1.2.840.10045.3.1.7",
    KeySpec(KeyKind.EC, curve="P-384"): "1.3.132.0.34",
    KeySpec(KeyKind.EC, curve="P-521"): "1.3.132.0.35",
    KeySpec.ED25519: "1.3.101.112",
    KeySpec.X25519: "1.3.101.110",
    KeySpec.ED448: "1.3.101.113",
    KeySpec.X448: "1.3.101.111",
    KeySpec(KeyKind.ML_DSA, level=44): "2.16.840.1.101.3.4.3.17",
    KeySpec(KeyKind.ML_DSA, level=65): "2.16.840.1.101.3.4.3.18",
    KeySpec(KeyKind.ML_DSA, level=87): "2.16.840.1.101.3.4.3.19",
    KeySpec(KeyKind.ML_KEM, level=768): "2.16.840.1.101.3.4.4.2",
    KeySpec(KeyKind.ML_KEM, level=1024): "2.16.840.1.101.3.4.4.3",
    KeySpec(KeyKind.GOST_256, curve="tc26-256-A"): "1.2.643.7.1.2.1.1.1",
    KeySpec(KeyKind.GOST_256, curve="tc26-256-B"): "1.2.643.7.1.2.1.1.2",
    KeySpec(KeyKind.GOST_256, curve="tc26-256-C"): "1.2.643.7.1.2.1.1.3",
    KeySpec(KeyKind.GOST_256, curve="tc26-256-D"): "1.2.643.7.1.2.1.1.4",
    KeySpec(KeyKind.GOST_256, curve="CryptoPro-A"): "1.2.643.2.2.35.1",
    KeySpec(KeyKind.GOST_256, curve="CryptoPro-B"): "1.2.643.2.2.35.2",
    KeySpec(KeyKind.GOST_256, curve="CryptoPro-C"): "1.2.643.2.2.35.3",
    KeySpec(KeyKind.GOST_256, curve="CryptoPro-XchA"): "1.2.643.2.2.36.0",
    KeySpec(KeyKind.GOST_256, curve="CryptoPro-XchB"): "1.2.643.2.2.36.1",
    KeySpec(KeyKind.GOST_512, curve="tc26-512-A"): "1.2.643.7.1.2.1.2.1",
    KeySpec(KeyKind.GOST_512, curve="tc26-512-B"): "1.2.643.7.1.2.1.2.2",
    KeySpec(KeyKind.GOST_512, curve="tc26-512-C"): "1.2.643.7.1.2.1.2.3",
}
GOST_SIZES = {KeyKind.GOST_256: 32, KeyKind.GOST_512: 64}
"""Bytes of a private number and of each coordinate, by the kind of key."""
GOST_SPECS = frozenset(spec for spec in _OIDS if spec.kind in GOST_SIZES)
"""The parameter sets of GOST R 34.10-2012."""
_OIDS_DER = {spec: encode_oid(oid) for spec, oid in _OIDS.items()}
_BY_OID = {oid: spec for spec, oid in _OIDS.items()}
_BY_OID_DER = {der: spec for spec, der in _OIDS_DER.items()}


def _with_identifier(spec: KeySpec, name: str) -> KeySpec:
    if spec not in _OIDS:
        raise Unsupported(f"{name} is not supported")
    return spec
