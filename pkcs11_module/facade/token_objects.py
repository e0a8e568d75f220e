"""Objects of a token: what a directory entry and the value it points to are as attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pkcs11_module import _constants as ck
from pkcs11_module.cards.card import TokenCard
from pkcs11_module.cards.card_keys import CardKey
from pkcs11_module.cards.entries import (
    AnyEntry,
    CertificateEntry,
    DataEntry,
    PrivateKeyEntry,
    SecretKeyEntry,
)
from pkcs11_module.facade.attributes import untold
from pkcs11_module.facade.certificates import certificate_attributes
from pkcs11_module.facade.entry_attributes import kind_of_entry, shown_attributes, spec_of
from pkcs11_module.facade.keys import own_attributes, read_public_key
from token_fw.crypto import CryptoError, KeySpec, PublicKey


class TokenObject:
    """An object of the token, shared by every application; its attributes are never secret.

    `alive` ends when the object is not listed any more. `key_type` is CKA_KEY_TYPE, 0 for what is
    no key; `spec` the kind of key, None where it is none or not known before its value is read.
    """

    __slots__ = (
        "_loaded",
        "_loaded_at",
        "_public",
        "alive",
        "attributes",
        "card_key",
        "entry",
        "key_type",
        "object_class",
        "private",
        "spec",
    )

    token: Final = True

    def __init__(self) -> None:
        self.alive = True
        self.entry: AnyEntry = DataEntry()
        self.object_class = ck.CKO_DATA
        self.key_type = 0
        self.private = False
        self.spec: KeySpec | None = None
        self.card_key: CardKey | None = None
        self.attributes: dict[int, bytes] = {}
        self._loaded: Mapping[int, bytes] = {}
        self._loaded_at: bytes | None = None
        self._public: tuple[bytes, PublicKey] | None = None

    def show(self, entry: AnyEntry, private: bool, key: CardKey | None) -> None:
        """Take the attributes of an entry; `key` is what the card tells of its key."""
        self.entry = entry
        self.private = private
        self.card_key = key
        self.spec = spec_of(entry, key)
        self.attributes = shown_attributes(entry, self.spec, private, key)
        self.object_class, self.key_type = kind_of_entry(entry, self.spec)
        self._loaded_at = None

    @property
    def secrets(self) -> frozenset[int]:
        """Attributes that exist but are not told."""
        return untold(self.attributes)

    def loaded(self, card: TokenCard, counter: bytes) -> Mapping[int, bytes]:
        """The attributes that are in the value, read once a state of the change counter.

        Raises StatusWordError, TransportError. A value that makes no sense has none.
        """
        if self._loaded_at != counter:
            self._loaded = self._load(card, counter)
            # Data objects may be large and confidential, secret keys are: they are not kept.
            kept = not isinstance(self.entry, DataEntry | SecretKeyEntry)
            self._loaded_at = counter if kept else None
        return self._loaded

    def public_key(self, card: TokenCard, counter: bytes) -> PublicKey:
        """The public key, or that of a private key, read once a state of the change counter.

        Raises CryptoError, ValueError, StatusWordError, TransportError.
        """
        if self._public is None or self._public[0] != counter:
            self._public = counter, self._read_public_key(card)
        return self._public[1]

    def _read_public_key(self, card: TokenCard) -> PublicKey:
        entry = self.entry
        if isinstance(entry, PrivateKeyEntry):
            if self.spec is None or entry.reference is None:
                raise ValueError("the card does not tell the public key")
            return card.public_key(entry.reference, self.spec)
        return read_public_key(self._value(card), self.spec)

    def _value(self, card: TokenCard) -> bytes:
        return self.entry.direct or card.read(self.entry.path)

    def _load(self, card: TokenCard, counter: bytes) -> Mapping[int, bytes]:
        entry = self.entry
        if isinstance(entry, DataEntry):
            return {ck.CKA_VALUE: self._value(card)}
        if isinstance(entry, SecretKeyEntry):
            known = entry.reference is not None
            return {ck.CKA_VALUE: card.secret_value(entry.reference or 0)} if known else {}
        try:
            if isinstance(entry, CertificateEntry):
                value = self._value(card)
                return certificate_attributes(value) if value else {ck.CKA_VALUE: b""}
            return own_attributes(self.attributes, self.public_key(card, counter))
        except (CryptoError, ValueError):
            return {}
