"""Entries of PKCS #15 directories (PKCS #15 v1.1 6.3 to 6.7) as typed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum, IntFlag
from typing import Final


class DirectoryKind(Enum):
    """Kinds of directory file; the value is the tag of its ODF entry (PKCS #15 v1.1 6.2)."""

    PRIVATE_KEYS = 0xA0
    PUBLIC_KEYS = 0xA1
    SECRET_KEYS = 0xA3
    CERTIFICATES = 0xA4
    DATA_OBJECTS = 0xA7
    AUTH_OBJECTS = 0xA8


class KeyUsage(IntFlag):
    """KeyUsageFlags (6.1.14)."""

    ENCRYPT = 1 << 0
    DECRYPT = 1 << 1
    SIGN = 1 << 2
    SIGN_RECOVER = 1 << 3
    WRAP = 1 << 4
    UNWRAP = 1 << 5
    VERIFY = 1 << 6
    VERIFY_RECOVER = 1 << 7
    DERIVE = 1 << 8
    NON_REPUDIATION = 1 << 9


class KeyAccess(IntFlag):
    """KeyAccessFlags (6.1.14)."""

    SENSITIVE = 1 << 0
    EXTRACTABLE = 1 << 1
    ALWAYS_SENSITIVE = 1 << 2
    NEVER_EXTRACTABLE = 1 << 3
    LOCAL = 1 << 4


_NO_USAGE: Final = KeyUsage(0)
_NO_ACCESS: Final = KeyAccess(0)


@dataclass(frozen=True, slots=True)
class Unknown:
    """An entry that is not understood."""

    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What every entry has (CommonObjectAttributes, 6.1.8).

    `path` is where the value is, from the MF (3F00 …); empty where `direct` holds it. `extra` are
    PKCS#11 attributes that PKCS #15 has no place for: the canonical value by the CKA_ number.
    `kept` are components that are not looked at, by place, for writing them back.
    """

    label: str = ""
    private: bool = False
    modifiable: bool = True
    auth_id: bytes = b""
    path: bytes = b""
    direct: bytes = b""
    extra: Mapping[int, bytes] = field(default_factory=dict, hash=False)
    kept: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry(Entry):
    """A key.

    `bits` is the modulus length of an RSA key and the length of a secret key, 0 for other keys;
    `curve` the DER identifier of the curve, empty where the entry does not tell; `algorithm` that
    of an ML-DSA, ML-KEM or GOST key, empty for other keys. `subject` is a DER Name or empty.
    """

    id: bytes = b""
    usage: KeyUsage = _NO_USAGE
    access: KeyAccess = _NO_ACCESS
    reference: int | None = None
    bits: int = 0
    curve: bytes = b""
    algorithm: bytes = b""
    subject: bytes = b""
    start: date | None = None
    end: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKeyEntry(KeyEntry):
    """An entry of a PrKDF; `consent`: every use needs the PIN afresh (userConsent)."""

    consent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKeyEntry(KeyEntry):
    """An entry of a PuKDF; `reference` is that of the private key made with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKeyEntry(KeyEntry):
    """An entry of a SKDF (6.5): `key_type` is a CKK_ number, `bits` the value's length in bits."""

    key_type: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateEntry(Entry):
    """An X.509 certificate (6.6)."""

    id: bytes = b""
    authority: bool = False
    trusted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DataEntry(Entry):
    """An opaque data object (6.7).

    `object_id` is the identifier as the application gave it: DER, or the bare contents.
    """

    application: str = ""
    object_id: bytes = b""


AnyEntry = PrivateKeyEntry | PublicKeyEntry | SecretKeyEntry | CertificateEntry | DataEntry

KIND_OF_ENTRY: Final[dict[type, DirectoryKind]] = {
    PrivateKeyEntry: DirectoryKind.PRIVATE_KEYS,
    PublicKeyEntry: DirectoryKind.PUBLIC_KEYS,
    SecretKeyEntry: DirectoryKind.SECRET_KEYS,
    CertificateEntry: DirectoryKind.CERTIFICATES,
    DataEntry: DirectoryKind.DATA_OBJECTS,
}
