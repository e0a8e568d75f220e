"""Who signs attestation statements: the token's attestation key, read once and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from token_fw.apps.fido2 import cbor
from token_fw.apps.fido2.cose import ES256
from token_fw.crypto import CryptoError, PrivateKey, load_private
from token_fw.storage.base import StorageCorrupt
from token_fw.transaction import Transaction

_KIND, _IDENT = "fido-attestation", b"\x00"
_KEY, _CHAIN, _ENTERPRISE_CHAIN = 1, 2, 3


class Attester:
    """The attestation key of one token with its certificates; a reset leaves them."""

    def __init__(self, transaction: Transaction, rng: Callable[[int], bytes]) -> None:
        self._transaction = transaction
        self._rng = rng
        self._known: tuple[PrivateKey, dict[int, Any]] | None = None
        transaction.on_rollback(self._forget)

    def furnish(self, serial: bytes) -> None:
        """Make key and certificates of a token with that serial number."""
        from token_fw.apps.fido2 import attestation  # noqa: PLC0415  slow to load

        self._transaction.put(_KIND, _IDENT, cbor.encode(attestation.make(serial, self._rng)))

    def sign(self, message: bytes) -> bytes:
        """The ES256 signature with the attestation key."""
        return ES256.sign(self._load()[0], message)

    def chain(self, *, enterprise: bool = False) -> list[bytes]:
        """DER certificates, that of the key first and the CA's last."""
        chain = self._load()[1][_ENTERPRISE_CHAIN if enterprise else _CHAIN]
        return list(chain)

    def self_certificate(self, private: PrivateKey) -> bytes:
        """The DER certificate of a credential's P-256 key by itself, which tells of no token."""
        from token_fw.apps.fido2 import attestation  # noqa: PLC0415  slow to load

        return attestation.self_certificate(private, self._rng)

    def _load(self) -> tuple[PrivateKey, dict[int, Any]]:
        if self._known is None:
            try:
                members = cbor.decode(self._transaction.get(_KIND, _IDENT) or b"")
                self._known = load_private(members[_KEY], checked=True), members
            except (cbor.CborError, CryptoError, KeyError, TypeError):
                raise StorageCorrupt("the attestation key cannot be read") from None
        return self._known

    def _forget(self) -> None:
        self._known = None
