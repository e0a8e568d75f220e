"""How records are encrypted and how a set of records is made whole.

Each record is sealed with AES-256-GCM; its kind, identifier and version are authenticated with
it, so that neither its content nor its place can be changed. The manifest is the sum of a keyed
mark of every record (a multiset hash): a record that was removed, added or put back to an earlier
version does not add up. What it cannot notice is the whole file put back to an earlier state.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from token_fw.storage.base import StorageCorrupt

KEY_SIZE = 32
SALT_SIZE = 32
NONCE_SIZE = 12
TAG_SIZE = 16
CHECK_SIZE = 16

_RECORD_FORMAT = 1
_MARK_MODULUS = 2**256
_MARK_SIZE = 32
_MANIFEST = ("", b"")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A record as it is stored; `version` counts its writes from 1."""

    version: int
    nonce: bytes
    tag: bytes
    data: bytes = b""


class Sealer:
    """Seals and opens the records of one token.

    The keys are derived from the 32-byte storage key and the token's own salt, so tokens that
    share a storage key cannot exchange records. `check` tells a wrong storage key apart.
    """

    def __init__(
        self, storage_key: bytes, salt: bytes, rng: Callable[[int], bytes] = os.urandom
    ) -> None:
        if len(storage_key) != KEY_SIZE:
            raise ValueError(f"a storage key has {KEY_SIZE} bytes")
        length = 2 * KEY_SIZE + CHECK_SIZE
        derived = HKDF(hashes.SHA256(), length, salt, b"klyuch token storage").derive(storage_key)
        self._cipher = AESGCM(derived[:KEY_SIZE])
        self._mark_key = derived[KEY_SIZE : 2 * KEY_SIZE]
        self._rng = rng
        self.check = derived[2 * KEY_SIZE :]

    def seal(self, kind: str, ident: bytes, version: int, value: bytes) -> Sealed:
        """Encrypt under a fresh nonce."""
        nonce = self._rng(NONCE_SIZE)
        sealed = self._cipher.encrypt(nonce, value, _place(kind.encode(), ident, version))
        return Sealed(version, nonce, sealed[-TAG_SIZE:], sealed[:-TAG_SIZE])

    def open(self, kind: str, ident: bytes, sealed: Sealed) -> bytes:
        """Decrypt. Raises StorageCorrupt, naming the record."""
        place = _place(kind.encode(), ident, sealed.version)
        try:
            return self._cipher.decrypt(sealed.nonce, sealed.data + sealed.tag, place)
        except (InvalidTag, ValueError):
            raise StorageCorrupt(f"the record {name(kind, ident)} is damaged") from None

    def mark(self, kind: bytes, ident: bytes, sealed: Sealed) -> int:
        """Give a record's part of the manifest; its data counts through the tag."""
        place = _place(kind, ident, sealed.version)
        message = sealed.nonce + sealed.tag + place
        return int.from_bytes(hmac.digest(self._mark_key, message, "sha256"), "big")

    def seal_manifest(self, version: int, total: int) -> Sealed:
        """Encrypt the sum of all marks; `version` counts the commits."""
        return self.seal(*_MANIFEST, version, (total % _MARK_MODULUS).to_bytes(_MARK_SIZE, "big"))

    def open_manifest(self, sealed: Sealed) -> int:
        """Give the sum of all marks. Raises StorageCorrupt."""
        try:
            return int.from_bytes(self.open(*_MANIFEST, sealed), "big")
        except StorageCorrupt:
            raise StorageCorrupt("the list of records is damaged") from None


def adds_up(total: int, manifest: int) -> bool:
    """Whether a sum of marks is the one of the manifest."""
    return (total - manifest) % _MARK_MODULUS == 0


def name(kind: str, ident: bytes) -> str:
    """Name a record in a message."""
    return f"{kind}/{ident.hex()}"


def _place(kind: bytes, ident: bytes, version: int) -> bytes:
    """Encode what is authenticated with a record; lengths first, so no two places are alike."""
    head = struct.pack(">BQHI", _RECORD_FORMAT, version, len(kind), len(ident))
    return b"klyuch" + head + kind + ident
