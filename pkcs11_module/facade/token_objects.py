"""Objects of a token: what a directory entry and the value it points to are as attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pkcs11_module import _constants as ck
from pkcs11_module.cards import pkcs15
from pkcs11_module.cards.card import (
    POLICY_ALWAYS_AUTHENTICATE,
    USAGE_DECRYPT,
    USAGE_DERIVE,
    USAGE_SIGN,
    CardKey,
    TokenCard,
)
from pkcs11_module.cards.entries import (
    AnyEntry,
    CertificateEntry,
    DataEntry,
    KeyAccess,
    KeyEntry,
    KeyUsage,
    PrivateKeyEntry,
    PublicKeyEntry,
)
from pkcs11_module.facade.attributes import (
    FALSE,
    TRUE,
    boolean,
    day,
    number,
    parse_day,
    rules,
    secrets,
    ulong,
)
from pkcs11_module.facade.certificates import certificate_attributes
from pkcs11_module.facade.keys import GENERATION, KEY_TYPES, public_attributes, read_public_key
from token_fw.crypto import CryptoError, KeyKind, KeySpec, PublicKey

_USAGE: Final[dict[int, KeyUsage]] = {
    ck.CKA_ENCRYPT: KeyUsage.ENCRYPT,
    ck.CKA_DECRYPT: KeyUsage.DECRYPT,
    ck.CKA_SIGN: KeyUsage.SIGN,
    ck.CKA_SIGN_RECOVER: KeyUsage.SIGN_RECOVER,
    ck.CKA_WRAP: KeyUsage.WRAP,
    ck.CKA_UNWRAP: KeyUsage.UNWRAP,
    ck.CKA_VERIFY: KeyUsage.VERIFY,
    ck.CKA_VERIFY_RECOVER: KeyUsage.VERIFY_RECOVER,
    ck.CKA_DERIVE: KeyUsage.DERIVE,
}
_CARD_USAGE: Final[tuple[tuple[int, int, frozenset[KeyKind]], ...]] = (
    (ck.CKA_SIGN, USAGE_SIGN, frozenset({KeyKind.RSA, KeyKind.EC, KeyKind.ED25519})),
    (ck.CKA_DECRYPT, USAGE_DECRYPT, frozenset({KeyKind.RSA})),
    (ck.CKA_UNWRAP, USAGE_DECRYPT, frozenset({KeyKind.RSA})),
    (ck.CKA_DERIVE, USAGE_DERIVE, frozenset({KeyKind.EC, KeyKind.X25519})),
)
_AUTHORITY: Final = 2

Identity = tuple[str, object]


class TokenObject:
    """An object of the token, shared by every application; its attributes are never secret.

    `alive` ends when the object is not listed any more. `spec` is the kind of key, None where it
    is no key or not known before its value is read.
    """

    __slots__ = (
        "_loaded",
        "_loaded_at",
        "_public",
        "alive",
        "attributes",
        "card_key",
        "entry",
        "private",
        "spec",
    )

    token: Final = True

    def __init__(self) -> None:
        self.alive = True
        self.entry: AnyEntry = DataEntry()
        self.private = False
        self.spec: KeySpec | None = None
        self.card_key: CardKey | None = None
        self.attributes: dict[int, bytes] = {}
        self._loaded: Mapping[int, bytes] = {}
        self._loaded_at: bytes | None = None
        self._public: tuple[bytes, PublicKey] | None = None

    def show(self, entry: AnyEntry, private: bool, key: CardKey | None) -> None:
        """Take the attributes of an entry; `key` is what the card tells of a private key."""
        self.entry = entry
        self.private = private
        self.card_key = key
        self.spec = _spec(entry, key)
        self.attributes = entry_attributes(entry, self.spec, private)
        self._loaded_at = None

    @property
    def object_class(self) -> int:
        return number(self.attributes[ck.CKA_CLASS])

    @property
    def key_type(self) -> int:
        """CKA_KEY_TYPE, 0 for what is no key."""
        return number(self.attributes.get(ck.CKA_KEY_TYPE, FALSE))

    @property
    def secrets(self) -> frozenset[int]:
        """Attributes that exist but are never told."""
        return secrets(self.object_class, self.key_type)

    def loaded(self, card: TokenCard, counter: bytes) -> Mapping[int, bytes]:
        """The attributes that are in the value, read once a state of the card's change counter.

        Raises StatusWordError, TransportError. A value that makes no sense has none.
        """
        if self._loaded_at != counter:
            self._loaded = self._load(card, counter)
            # Data objects may be large and confidential: they are not kept.
            self._loaded_at = None if isinstance(self.entry, DataEntry) else counter
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
        if isinstance(self.entry, DataEntry):
            return {ck.CKA_VALUE: self._value(card)}
        try:
            if isinstance(self.entry, CertificateEntry):
                return certificate_attributes(self._value(card))
            known = rules(self.object_class, self.key_type)
            found = public_attributes(self.public_key(card, counter))
            return {name: value for name, value in found.items() if name in known}
        except (CryptoError, ValueError):
            return {}


def identity(entry: AnyEntry) -> Identity:
    """What makes an object the same when its entry changes: its key's reference or its file."""
    if isinstance(entry, PrivateKeyEntry) and entry.reference is not None:
        return "key", entry.reference
    return ("file", entry.path) if entry.path else ("entry", (type(entry), entry.direct))


def _spec(entry: AnyEntry, key: CardKey | None) -> KeySpec | None:
    if key is not None:
        return key.spec
    if isinstance(entry, KeyEntry):
        if entry.bits:
            return KeySpec.rsa(entry.bits)
        if entry.curve:
            try:
                return KeySpec.from_oid_der(entry.curve)
            except CryptoError:
                return None
    return None


def entry_attributes(entry: AnyEntry, spec: KeySpec | None, private: bool) -> dict[int, bytes]:
    """The attributes that need no value."""
    attributes = {
        ck.CKA_TOKEN: TRUE,
        ck.CKA_PRIVATE: boolean(private),
        ck.CKA_MODIFIABLE: boolean(entry.modifiable),
        ck.CKA_LABEL: entry.label.encode("utf-8"),
        ck.CKA_COPYABLE: TRUE,
        ck.CKA_DESTROYABLE: TRUE,
    }
    if isinstance(entry, KeyEntry):
        return attributes | _key_attributes(entry, spec)
    if isinstance(entry, CertificateEntry):
        return attributes | {
            ck.CKA_CLASS: ulong(ck.CKO_CERTIFICATE),
            ck.CKA_CERTIFICATE_TYPE: ulong(ck.CKC_X_509),
            ck.CKA_ID: entry.id,
            ck.CKA_TRUSTED: boolean(entry.trusted),
            ck.CKA_CERTIFICATE_CATEGORY: ulong(_AUTHORITY if entry.authority else 0),
            ck.CKA_JAVA_MIDP_SECURITY_DOMAIN: ulong(0),
            ck.CKA_URL: b"",
            ck.CKA_HASH_OF_SUBJECT_PUBLIC_KEY: b"",
            ck.CKA_HASH_OF_ISSUER_PUBLIC_KEY: b"",
        }
    return attributes | {
        ck.CKA_CLASS: ulong(ck.CKO_DATA),
        ck.CKA_APPLICATION: entry.application.encode("utf-8"),
        ck.CKA_OBJECT_ID: entry.object_id,
    }


def _key_attributes(entry: KeyEntry, spec: KeySpec | None) -> dict[int, bytes]:
    key_type = KEY_TYPES[spec.kind] if spec else (ck.CKK_RSA if entry.bits else ck.CKK_EC)
    local = KeyAccess.LOCAL in entry.access
    made_by = GENERATION[key_type] if local else ck.CK_UNAVAILABLE_INFORMATION
    is_private = isinstance(entry, PrivateKeyEntry)
    object_class = ck.CKO_PRIVATE_KEY if is_private else ck.CKO_PUBLIC_KEY
    known = rules(object_class, key_type)
    attributes = {
        ck.CKA_CLASS: ulong(object_class),
        ck.CKA_KEY_TYPE: ulong(key_type),
        ck.CKA_ID: entry.id,
        ck.CKA_SUBJECT: entry.subject,
        ck.CKA_START_DATE: day(entry.start),
        ck.CKA_END_DATE: day(entry.end),
        ck.CKA_LOCAL: boolean(local),
        ck.CKA_KEY_GEN_MECHANISM: ulong(made_by),
    }
    for name, flag in _USAGE.items():
        if name in known:
            attributes[name] = boolean(flag in entry.usage)
    if spec is not None and spec.oid:
        attributes[ck.CKA_EC_PARAMS] = spec.oid_der
    if isinstance(entry, PrivateKeyEntry):
        attributes |= {
            ck.CKA_SENSITIVE: TRUE,
            ck.CKA_EXTRACTABLE: FALSE,
            ck.CKA_ALWAYS_SENSITIVE: boolean(KeyAccess.ALWAYS_SENSITIVE in entry.access),
            ck.CKA_NEVER_EXTRACTABLE: boolean(KeyAccess.NEVER_EXTRACTABLE in entry.access),
            ck.CKA_WRAP_WITH_TRUSTED: FALSE,
            ck.CKA_ALWAYS_AUTHENTICATE: boolean(entry.consent),
        }
    else:
        attributes[ck.CKA_TRUSTED] = FALSE
        if entry.bits:
            attributes[ck.CKA_MODULUS_BITS] = ulong(entry.bits)
    return attributes


def card_usage(full: Mapping[int, bytes], spec: KeySpec) -> int:
    """Usage flags of the card for a private key; what the kind of key cannot do is left out."""
    usage = 0
    for name, flag, kinds in _CARD_USAGE:
        if full.get(name) == TRUE and spec.kind in kinds:
            usage |= flag
    return usage


def card_policy(full: Mapping[int, bytes]) -> int:
    """Policy flags of the card for a private key."""
    return POLICY_ALWAYS_AUTHENTICATE if full[ck.CKA_ALWAYS_AUTHENTICATE] == TRUE else 0


def new_entry(
    full: Mapping[int, bytes],
    *,
    spec: KeySpec | None = None,
    reference: int | None = None,
    local: bool = False,
) -> AnyEntry:
    """The entry for a complete set of attributes; `path` is left for whoever stores the value."""
    private = full[ck.CKA_PRIVATE] == TRUE
    common: dict[str, Any] = {
        "label": full[ck.CKA_LABEL].decode("utf-8"),
        "private": private,
        "modifiable": full[ck.CKA_MODIFIABLE] == TRUE,
        "auth_id": pkcs15.USER_AUTH_ID if private else b"",
    }
    object_class = number(full[ck.CKA_CLASS])
    if object_class == ck.CKO_CERTIFICATE:
        authority = number(full[ck.CKA_CERTIFICATE_CATEGORY]) == _AUTHORITY
        return CertificateEntry(**common, id=full[ck.CKA_ID], authority=authority)
    if object_class == ck.CKO_DATA:
        application = full[ck.CKA_APPLICATION].decode("utf-8")
        return DataEntry(**common, application=application, object_id=full[ck.CKA_OBJECT_ID])
    assert spec is not None
    common |= {
        "id": full[ck.CKA_ID],
        "usage": _usage(full),
        "reference": reference,
        "bits": spec.bits,
        "curve": spec.oid_der,
        "subject": full[ck.CKA_SUBJECT],
        "start": parse_day(full[ck.CKA_START_DATE]),
        "end": parse_day(full[ck.CKA_END_DATE]),
    }
    if object_class == ck.CKO_PUBLIC_KEY:
        return PublicKeyEntry(**common, access=KeyAccess.LOCAL if local else KeyAccess(0))
    access = KeyAccess.SENSITIVE
    if local:
        access |= KeyAccess.LOCAL | KeyAccess.ALWAYS_SENSITIVE | KeyAccess.NEVER_EXTRACTABLE
    common["auth_id"] = pkcs15.USER_AUTH_ID
    consent = full[ck.CKA_ALWAYS_AUTHENTICATE] == TRUE
    return PrivateKeyEntry(**common, access=access, path=pkcs15.DF, consent=consent)


def _usage(full: Mapping[int, bytes]) -> KeyUsage:
    usage = KeyUsage(0)
    for name, flag in _USAGE.items():
        if full.get(name) == TRUE:
            usage |= flag
    return usage


def changed_entry(entry: AnyEntry, changes: Mapping[int, bytes]) -> AnyEntry:
    """The entry after C_SetAttributeValue; CKA_VALUE of a data object is not its matter."""
    fields: dict[str, Any] = {}
    usage = entry.usage if isinstance(entry, KeyEntry) else KeyUsage(0)
    for name, value in changes.items():
        if name in _USAGE:
            flag = _USAGE[name]
            usage = usage | flag if value == TRUE else usage & ~flag
            fields["usage"] = usage
        elif name in _FIELDS:
            field, read = _FIELDS[name]
            fields[field] = read(value)
    return replace(entry, **fields)


def _text(value: bytes) -> str:
    return value.decode("utf-8")


_FIELDS: Final[dict[int, tuple[str, Any]]] = {
    ck.CKA_LABEL: ("label", _text),
    ck.CKA_ID: ("id", bytes),
    ck.CKA_SUBJECT: ("subject", bytes),
    ck.CKA_START_DATE: ("start", parse_day),
    ck.CKA_END_DATE: ("end", parse_day),
    ck.CKA_APPLICATION: ("application", _text),
    ck.CKA_OBJECT_ID: ("object_id", bytes),
}
