"""The token's FIDO secret: what wraps credentials, names records and makes other secrets.

It is made with the application and again with each reset, after which nothing that was wrapped
under the last one is known any more.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from token_fw.crypto import (
    DataLength,
    DecryptionFailed,
    Gcm,
    Hash,
    KeyKind,
    KeySpec,
    SecretKey,
    kdf,
    secret_key,
)
from token_fw.storage.base import StorageCorrupt
from token_fw.transaction import Transaction

NONCE_SIZE = 12
OVERHEAD = NONCE_SIZE + 16
"""Bytes that wrapping adds: nonce and tag."""

_KIND, _IDENT = "fido-secret", b"\x00"
_SIZE = 32
_AES_256 = KeySpec.secret(KeyKind.AES, 256)


@dataclass(frozen=True, slots=True, repr=False)
class _Keys:
    wrapping: SecretKey
    naming: bytes
    making: bytes


class Secrets:
    """What follows from the secret of one token; read once and kept."""

    def __init__(self, transaction: Transaction, rng: Callable[[int], bytes]) -> None:
        self._transaction = transaction
        self._rng = rng
        self._known: _Keys | None = None
        transaction.on_rollback(self._forget)

    @property
    def exist(self) -> bool:
        """Whether the application was ever used on this token."""
        return self._transaction.get(_KIND, _IDENT) is not None

    def renew(self) -> None:
        """Make a new secret in the place of the last one."""
        self._transaction.put(_KIND, _IDENT, self._rng(_SIZE))
        self._forget()

    def wrap(self, content: bytes, bound_to: bytes) -> bytes:
        """Encrypt: nonce of 12 bytes, ciphertext, tag of 16; bound to what is authenticated."""
        nonce = self._rng(NONCE_SIZE)
        return nonce + self._keys().wrapping.encrypt(Gcm(nonce, bound_to), content)

    def unwrap(self, wrapped: bytes, bound_to: bytes) -> bytes | None:
        """What was wrapped here and bound to the same; None for anything else."""
        if len(wrapped) < OVERHEAD:
            return None
        scheme = Gcm(wrapped[:NONCE_SIZE], bound_to)
        try:
            return self._keys().wrapping.decrypt(scheme, wrapped[NONCE_SIZE:])
        except (DecryptionFailed, DataLength):
            return None

    def name(self, content: bytes) -> bytes:
        """16 bytes under which something is kept, from which it cannot be told."""
        return hmac.digest(self._keys().naming, content, "sha256")[:16]

    def make(self, purpose: bytes) -> bytes:
        """A secret of 32 bytes for one purpose, always the same."""
        return hmac.digest(self._keys().making, purpose, "sha256")

    def _keys(self) -> _Keys:
        if self._known is None:
            secret = self._transaction.get(_KIND, _IDENT)
            if secret is None or len(secret) != _SIZE:
                raise StorageCorrupt("the secret of the authenticator cannot be read")
            wrapping, naming, making = (
                kdf.hkdf_expand(Hash.SHA256, secret, purpose, _SIZE)
                for purpose in (b"wrapping", b"naming", b"making")
            )
            self._known = _Keys(secret_key(_AES_256, wrapping), naming, making)
        return self._known

    def _forget(self) -> None:
        self._known = None
