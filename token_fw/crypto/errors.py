"""Errors of the algorithms. Their text names what was wrong, never the data."""

from __future__ import annotations


class CryptoError(Exception):
    """An operation could not be done."""


class InvalidKey(CryptoError):
    """Not a key: malformed, inconsistent, not on its curve, or out of range."""


class DataLength(CryptoError):
    """The data is too long or too short for the key and the scheme."""


class InvalidSignature(CryptoError):
    """The signature does not belong to the data and the key."""


class DecryptionFailed(CryptoError):
    """The cryptogram was not made for this key; why is not told."""


class Unsupported(CryptoError):
    """The kind of key, its size or the scheme is not supported, or they do not go together."""
