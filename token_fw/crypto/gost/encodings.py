"""Encodings of GOST R 34.10-2012 keys: SubjectPublicKeyInfo (RFC 9215 4) and PKCS #8.

Numbers are little-endian in them, apart from the INTEGER of a private key. What reads raises
ValueError for what is malformed, InvalidKey for a key that is not right and Unsupported for an
unknown parameter set.
"""

from __future__ import annotations

from typing import Final

from token_fw.crypto import der
from token_fw.crypto.der import Reader
from token_fw.crypto.errors import InvalidKey, Unsupported
from token_fw.crypto.gost.parameter_sets import ParameterSet, parameter_set
from token_fw.crypto.kinds import KeyKind, KeySpec, encode_oid

KEY_OIDS: Final = {
    KeyKind.GOST_256: encode_oid("1.2.643.7.1.1.1.1"),
    KeyKind.GOST_512: encode_oid("1.2.643.7.1.1.1.2"),
}
"""DER of id-tc26-gost3410-12-256 and -512."""

_DIGEST_OIDS: Final = {
    KeyKind.GOST_256: encode_oid("1.2.643.7.1.1.2.2"),
    KeyKind.GOST_512: encode_oid("1.2.643.7.1.1.2.3"),
}
_VERSION: Final = der.encode(der.INTEGER, b"\x00")


def point_bytes(parameters: ParameterSet, point: tuple[int, int]) -> bytes:
    """Give X || Y, little-endian, 64 or 128 bytes."""
    x, y = point
    return x.to_bytes(parameters.size, "little") + y.to_bytes(parameters.size, "little")


def point_of(parameters: ParameterSet, encoded: bytes) -> tuple[int, int]:
    """Read X || Y; whether it is on the curve is not looked at. Raises InvalidKey."""
    size = parameters.size
    if len(encoded) != 2 * size:
        raise InvalidKey(f"a point of {parameters.name} has {2 * size} bytes")
    return int.from_bytes(encoded[:size], "little"), int.from_bytes(encoded[size:], "little")


def to_spki(parameters: ParameterSet, point: tuple[int, int]) -> bytes:
    """Give the DER SubjectPublicKeyInfo."""
    encoded = der.encode(der.OCTET_STRING, point_bytes(parameters, point))
    bits = der.encode(der.BIT_STRING, b"\x00", encoded)
    return der.encode(der.SEQUENCE, _algorithm(parameters), bits)


def to_pkcs8(parameters: ParameterSet, d: int) -> bytes:
    """Give the DER PrivateKeyInfo."""
    number = der.encode(der.OCTET_STRING, d.to_bytes(parameters.size, "little"))
    return der.encode(der.SEQUENCE, _VERSION, _algorithm(parameters), number)


def read_spki(encoded: bytes) -> tuple[ParameterSet, bytes]:
    """Give the parameter set and X || Y."""
    outer = Reader(encoded)
    info = outer.reader(der.SEQUENCE)
    outer.finish()
    parameters = _read_algorithm(info.reader(der.SEQUENCE))
    bits = info.take(der.BIT_STRING)
    info.finish()
    if bits[:1] != b"\x00":
        raise ValueError("a public key of whole bytes has no unused bits")
    point = Reader(bits[1:])
    coordinates = point.take(der.OCTET_STRING)
    point.finish()
    return parameters, coordinates


def read_pkcs8(encoded: bytes) -> tuple[ParameterSet, int]:
    """Give the parameter set and the private number."""
    outer = Reader(encoded)
    info = outer.reader(der.SEQUENCE)
    outer.finish()
    if info.take(der.INTEGER) not in {b"\x00", b"\x01"}:
        raise ValueError("the version is not one of PKCS #8")
    parameters = _read_algorithm(info.reader(der.SEQUENCE))
    return parameters, _read_number(parameters, info.take(der.OCTET_STRING))


def _algorithm(parameters: ParameterSet) -> bytes:
    """AlgorithmIdentifier: the digest is named with CryptoPro's sets alone (RFC 9215 4.2)."""
    spec = parameters.spec
    digest = _DIGEST_OIDS[spec.kind] if parameters.name.startswith("CryptoPro-") else b""
    sets = der.encode(der.SEQUENCE, spec.oid_der, digest)
    return der.encode(der.SEQUENCE, KEY_OIDS[spec.kind], sets)


def _read_algorithm(fields: Reader) -> ParameterSet:
    algorithm = der.encode(der.OID, fields.take(der.OID))
    sets = fields.reader(der.SEQUENCE)
    fields.finish()
    spec = KeySpec.from_oid_der(der.encode(der.OID, sets.take(der.OID)))
    parameters = parameter_set(spec)
    if algorithm != KEY_OIDS[spec.kind]:
        raise InvalidKey(f"the key is not as long as {spec} says")
    if sets.next_is(der.OID):
        digest = der.encode(der.OID, sets.take(der.OID))
        if digest != _DIGEST_OIDS[spec.kind]:
            raise Unsupported(f"a key of {spec} goes with Streebog of its length only")
    sets.finish()
    return parameters


def _read_number(parameters: ParameterSet, value: bytes) -> int:
    """Read what stands in privateKey: the number itself, or an OCTET STRING or INTEGER with it."""
    size = parameters.size
    if len(value) == size:
        return int.from_bytes(value, "little")
    if len(value) % size == 0 and value:
        raise Unsupported("the private key is masked: export it without a mask")
    inner = Reader(value)
    if inner.next_is(der.INTEGER):
        number = int.from_bytes(inner.take(der.INTEGER), "big", signed=True)
        inner.finish()
        return number
    nested = inner.take(der.OCTET_STRING)
    inner.finish()
    if len(nested) != size:
        raise ValueError("the private number has a wrong length")
    return int.from_bytes(nested, "little")
