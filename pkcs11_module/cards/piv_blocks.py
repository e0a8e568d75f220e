"""What a PIV card leaves to its client: padding before RSA, and taking it off afterwards.

Algorithms are named as in the security environment of the PKI application, which the mechanisms
give (docs/pki-application.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from apdu.model import SW, StatusWordError
from token_fw.crypto import (
    CryptoError,
    DataLength,
    Hash,
    KeySpec,
    RsaOaep,
    RsaPss,
    curve_of,
    digest,
    oaep,
)
from token_fw.crypto.blocks import pkcs1_message, pkcs1_signature_block, pss_signature_block

_COMMAND: Final = "GENERAL AUTHENTICATE"
_RAW, _PKCS1, _PSS, _OAEP, _ECDSA, _EDDSA = 0x10, 0x11, 0x12, 0x13, 0x20, 0x22
_HASHES: Final = dict(enumerate(digest.ALGORITHMS, start=1))

Fields = Mapping[int, bytes]


def signature_input(fields: Fields, spec: KeySpec, data: bytes) -> bytes:
    """What the card is to raise to its power, or sign; raises StatusWordError (6700, 6A81)."""
    padding = _PADDINGS.get(fields[0x80][0])
    if padding is None:
        raise StatusWordError(SW.FUNCTION_NOT_SUPPORTED, _COMMAND)
    try:
        return padding(fields, spec, data)
    except DataLength:
        raise StatusWordError(SW.WRONG_LENGTH, _COMMAND) from None


def decipher(fields: Fields, block: bytes) -> bytes:
    """The message in what the card gave; raises StatusWordError (6A80, 6A81)."""
    removal = _REMOVALS.get(fields[0x80][0])
    if removal is None:
        raise StatusWordError(SW.FUNCTION_NOT_SUPPORTED, _COMMAND)
    try:
        return removal(fields, block)
    except CryptoError:
        raise StatusWordError(SW.INCORRECT_DATA, _COMMAND) from None


def _raw(_: Fields, spec: KeySpec, data: bytes) -> bytes:
    size = spec.bits // 8
    if len(data) > size:
        raise DataLength("the number is longer than the modulus")
    return data.rjust(size, b"\x00")


def _pkcs1(_: Fields, spec: KeySpec, data: bytes) -> bytes:
    return pkcs1_signature_block(data, spec.bits // 8)


def _pss(fields: Fields, spec: KeySpec, hashed: bytes) -> bytes:
    salt = int.from_bytes(fields[0xC3], "big")
    scheme = RsaPss(_hash(fields[0xC1]), _hash(fields[0xC2]), salt)
    return pss_signature_block(scheme, hashed, spec.bits)


def _ecdsa(_: Fields, spec: KeySpec, hashed: bytes) -> bytes:
    """The card takes no more than the leftmost bits that count (FIPS 186-5 6.4.1)."""
    return hashed[: curve_of(spec).size]


def _eddsa(_: Fields, _spec: KeySpec, message: bytes) -> bytes:
    return message


def _oaep(fields: Fields, block: bytes) -> bytes:
    scheme = RsaOaep(_hash(fields[0xC1]), _hash(fields[0xC2]), fields.get(0xC4, b""))
    return oaep.decode(scheme, block)


def _hash(code: bytes) -> Hash:
    return _HASHES[code[0]]


_PADDINGS: Final[dict[int, Callable[[Fields, KeySpec, bytes], bytes]]] = {
    _RAW: _raw,
    _PKCS1: _pkcs1,
    _PSS: _pss,
    _ECDSA: _ecdsa,
    _EDDSA: _eddsa,
}
_REMOVALS: Final[dict[int, Callable[[Fields, bytes], bytes]]] = {
    _RAW: lambda _, block: block,
    _PKCS1: lambda _, block: pkcs1_message(block),
    _OAEP: _oaep,
}
