"""Directory entries as attributes of PKCS#11, and attributes as entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from pkcs11_module import _constants as ck
from pkcs11_module.cards import pkcs15
from pkcs11_module.cards.card_keys import POLICY_EXPORT, CardKey
from pkcs11_module.cards.entries import (
    AnyEntry,
    CertificateEntry,
    DataEntry,
    KeyAccess,
    KeyEntry,
    KeyUsage,
    PrivateKeyEntry,
    PublicKeyEntry,
    SecretKeyEntry,
)
from pkcs11_module.facade.attributes import (
    FALSE,
    TRUE,
    boolean,
    checked,
    day,
    defaults,
    number,
    parse_day,
    portable,
    rules,
    ulong,
)
from pkcs11_module.facade.keys import CURVE_TYPES, GENERATION, KEY_TYPES, set_attributes
from pkcs11_module.facade.secret_keys import KINDS
from pkcs11_module.types import Pkcs11Error
from token_fw.crypto import CryptoError, Hash, KeySpec, digest

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
_ACCESS: Final[dict[int, KeyAccess]] = {
    ck.CKA_SENSITIVE: KeyAccess.SENSITIVE,
    ck.CKA_EXTRACTABLE: KeyAccess.EXTRACTABLE,
    ck.CKA_ALWAYS_SENSITIVE: KeyAccess.ALWAYS_SENSITIVE,
    ck.CKA_NEVER_EXTRACTABLE: KeyAccess.NEVER_EXTRACTABLE,
    ck.CKA_LOCAL: KeyAccess.LOCAL,
}
_AUTHORITY: Final = 2
_ELSEWHERE: Final = frozenset(
    {ck.CKA_CLASS, ck.CKA_KEY_TYPE, ck.CKA_TOKEN, ck.CKA_PRIVATE, ck.CKA_VALUE, ck.CKA_VALUE_LEN}
)
"""Attributes that are never kept beside an entry: the entry's place and its value tell them."""
_UNIQUE_BYTES: Final = 8

Identity = tuple[str, object]


def identity(entry: AnyEntry) -> Identity:
    """What makes an object the same when its entry changes: its key's reference, file or name."""
    if isinstance(entry, PrivateKeyEntry | SecretKeyEntry) and entry.reference is not None:
        return "key", entry.reference
    if entry.path:
        return "file", entry.path
    own_name = entry.extra.get(ck.CKA_UNIQUE_ID)
    return ("name", (type(entry), own_name)) if own_name else ("entry", (type(entry), entry.direct))


def spec_of(entry: AnyEntry, key: CardKey | None) -> KeySpec | None:
    """The kind of key, as the card tells it of `key`, else as far as the entry itself does."""
    if key is not None:
        return key.spec
    if not isinstance(entry, KeyEntry):
        return None
    try:
        if isinstance(entry, SecretKeyEntry):
            kind = KINDS.get(entry.key_type)
            return None if kind is None else KeySpec.secret(kind, entry.bits)
        if entry.bits:
            return KeySpec.rsa(entry.bits)
        named = entry.algorithm or entry.curve
        return KeySpec.from_oid_der(named) if named else None
    except CryptoError:
        return None


def shown_attributes(
    entry: AnyEntry, spec: KeySpec | None, private: bool, key: CardKey | None
) -> dict[int, bytes]:
    """The attributes that need no value: those of the entry, with those kept beside it."""
    shown = _entry_attributes(entry, spec, private)
    table = rules(number(shown[ck.CKA_CLASS]), number(shown.get(ck.CKA_KEY_TYPE, FALSE)))
    for name, stored in entry.extra.items():
        if name in table and name not in _ELSEWHERE:
            try:
                shown[name] = checked(table[name].form, portable(name, stored))
            except Pkcs11Error:
                continue
    if isinstance(entry, SecretKeyEntry) and key is not None and not key.policy & POLICY_EXPORT:
        # The card has the last word, should a cut have come between it and the entry.
        shown[ck.CKA_EXTRACTABLE] = FALSE
    return shown


def _entry_attributes(entry: AnyEntry, spec: KeySpec | None, private: bool) -> dict[int, bytes]:
    """What an entry itself says; defaults where PKCS #15 has no place for an attribute."""
    object_class, key_type = kind_of_entry(entry, spec)
    attributes = {
        **defaults(object_class, key_type),
        ck.CKA_CLASS: ulong(object_class),
        ck.CKA_TOKEN: TRUE,
        ck.CKA_PRIVATE: boolean(private),
        ck.CKA_MODIFIABLE: boolean(entry.modifiable),
        ck.CKA_LABEL: entry.label.encode("utf-8"),
        ck.CKA_UNIQUE_ID: _unique_id(entry),
    }
    attributes.pop(ck.CKA_VALUE, None)
    if isinstance(entry, KeyEntry):
        return attributes | _key_attributes(entry, spec, attributes.keys(), key_type)
    if isinstance(entry, CertificateEntry):
        return attributes | {
            ck.CKA_CERTIFICATE_TYPE: ulong(ck.CKC_X_509),
            ck.CKA_ID: entry.id,
            ck.CKA_TRUSTED: boolean(entry.trusted),
            ck.CKA_CERTIFICATE_CATEGORY: ulong(_AUTHORITY if entry.authority else 0),
        }
    return attributes | {
        ck.CKA_APPLICATION: entry.application.encode("utf-8"),
        ck.CKA_OBJECT_ID: entry.object_id,
    }


_CLASSES: Final[dict[type, int]] = {
    DataEntry: ck.CKO_DATA,
    CertificateEntry: ck.CKO_CERTIFICATE,
    PublicKeyEntry: ck.CKO_PUBLIC_KEY,
    PrivateKeyEntry: ck.CKO_PRIVATE_KEY,
    SecretKeyEntry: ck.CKO_SECRET_KEY,
}


def kind_of_entry(entry: AnyEntry, spec: KeySpec | None) -> tuple[int, int]:
    """Object class and key type, 0 for what is no key."""
    if isinstance(entry, SecretKeyEntry):
        known = entry.key_type in KINDS
        return ck.CKO_SECRET_KEY, entry.key_type if known else ck.CKK_GENERIC_SECRET
    if not isinstance(entry, KeyEntry):
        return _CLASSES[type(entry)], 0
    key_type = KEY_TYPES[spec.kind] if spec else (ck.CKK_RSA if entry.bits else ck.CKK_EC)
    return _CLASSES[type(entry)], key_type


def _unique_id(entry: AnyEntry) -> bytes:
    """A CKA_UNIQUE_ID for an entry that has none beside it, as other programs make them."""
    source = repr((type(entry).__name__, identity(entry))).encode("utf-8")
    return digest.compute(Hash.SHA256, source)[:_UNIQUE_BYTES].hex().encode("ascii")


def _key_attributes(
    entry: KeyEntry, spec: KeySpec | None, known: Iterable[int], key_type: int
) -> dict[int, bytes]:
    local = KeyAccess.LOCAL in entry.access
    made_by = GENERATION.get(key_type) if local else None
    unknown = ck.CK_UNAVAILABLE_INFORMATION
    attributes = {
        ck.CKA_KEY_TYPE: ulong(key_type),
        ck.CKA_ID: entry.id,
        ck.CKA_START_DATE: day(entry.start),
        ck.CKA_END_DATE: day(entry.end),
        ck.CKA_KEY_GEN_MECHANISM: ulong(unknown if made_by is None else made_by),
    }
    for name in known:
        if name in _USAGE:
            attributes[name] = boolean(_USAGE[name] in entry.usage)
        elif name in _ACCESS:
            attributes[name] = boolean(_ACCESS[name] in entry.access)
    if isinstance(entry, SecretKeyEntry):
        if key_type in _WITH_LENGTH:
            attributes[ck.CKA_VALUE_LEN] = ulong(entry.bits // 8)
        return attributes
    attributes[ck.CKA_SUBJECT] = entry.subject
    if spec is not None and spec.oid:
        attributes |= set_attributes(spec) or {ck.CKA_EC_PARAMS: spec.oid_der}
    if isinstance(entry, PrivateKeyEntry):
        attributes |= {
            ck.CKA_SENSITIVE: TRUE,
            ck.CKA_EXTRACTABLE: FALSE,
            ck.CKA_ALWAYS_AUTHENTICATE: boolean(entry.consent),
        }
    elif entry.bits:
        attributes[ck.CKA_MODULUS_BITS] = ulong(entry.bits)
    return attributes


_WITH_LENGTH: Final = frozenset(
    key_type for key_type in KINDS if ck.CKA_VALUE_LEN in rules(ck.CKO_SECRET_KEY, key_type)
)


def new_entry(
    full: Mapping[int, bytes], *, spec: KeySpec | None = None, reference: int | None = None
) -> AnyEntry:
    """The entry for the complete attributes of an object, as `creation.stamped` gives them.

    `spec` and `reference` are those of a key; `path` is left for whoever stores the value.
    """
    entry = _bare_entry(full, spec, reference)
    shown = _entry_attributes(entry, spec, entry.private)
    extra = {
        name: portable(name, value)
        for name, value in full.items()
        if _is_extra(full, name) and shown.get(name) != value
    }
    return replace(entry, extra=extra)


def _is_extra(full: Mapping[int, bytes], name: int) -> bool:
    """Whether an attribute is kept beside the entry where the entry does not say it."""
    rule = rules(number(full[ck.CKA_CLASS]), number(full.get(ck.CKA_KEY_TYPE, FALSE))).get(name)
    if rule is None or rule.secret or name in _ELSEWHERE:
        return False
    if not rule.derived or not full[name]:
        # An empty check value is one that nobody wants computed.
        return not rule.derived or name == ck.CKA_CHECK_VALUE
    is_secret_key = full[ck.CKA_CLASS] == ulong(ck.CKO_SECRET_KEY)
    is_elsewhere = full[ck.CKA_CLASS] == ulong(ck.CKO_CERTIFICATE) and not full[ck.CKA_VALUE]
    return is_secret_key or is_elsewhere


def _bare_entry(full: Mapping[int, bytes], spec: KeySpec | None, reference: int | None) -> AnyEntry:
    private = full[ck.CKA_PRIVATE] == TRUE
    common: dict[str, Any] = {
        "label": _text(full[ck.CKA_LABEL]),
        "private": private,
        "modifiable": full[ck.CKA_MODIFIABLE] == TRUE,
        "auth_id": pkcs15.USER_AUTH_ID if private else b"",
    }
    object_class = number(full[ck.CKA_CLASS])
    if object_class == ck.CKO_CERTIFICATE:
        authority = number(full[ck.CKA_CERTIFICATE_CATEGORY]) == _AUTHORITY
        trusted = full[ck.CKA_TRUSTED] == TRUE
        return CertificateEntry(**common, id=full[ck.CKA_ID], authority=authority, trusted=trusted)
    if object_class == ck.CKO_DATA:
        application = _text(full[ck.CKA_APPLICATION])
        return DataEntry(**common, application=application, object_id=full[ck.CKA_OBJECT_ID])
    assert spec is not None
    common |= {
        "id": full[ck.CKA_ID],
        "usage": _with_flags(_USAGE, KeyUsage(0), full),
        "access": _with_flags(_ACCESS, KeyAccess(0), full),
        "reference": reference,
        "bits": spec.bits,
        "start": parse_day(full[ck.CKA_START_DATE]),
        "end": parse_day(full[ck.CKA_END_DATE]),
    }
    if object_class != ck.CKO_PUBLIC_KEY:
        common |= {"auth_id": pkcs15.USER_AUTH_ID, "path": pkcs15.DF}
    if object_class == ck.CKO_SECRET_KEY:
        return SecretKeyEntry(**common, key_type=number(full[ck.CKA_KEY_TYPE]))
    common |= {
        "subject": full[ck.CKA_SUBJECT],
        "curve" if KEY_TYPES[spec.kind] in CURVE_TYPES else "algorithm": spec.oid_der,
    }
    if object_class == ck.CKO_PUBLIC_KEY:
        return PublicKeyEntry(**common)
    return PrivateKeyEntry(**common, consent=full[ck.CKA_ALWAYS_AUTHENTICATE] == TRUE)


_Flags = TypeVar("_Flags", KeyUsage, KeyAccess)


def _with_flags(
    table: Mapping[int, _Flags], flags: _Flags, attributes: Mapping[int, bytes]
) -> _Flags:
    """The flags with those of the attributes that are given set or cleared."""
    for name, flag in table.items():
        if name in attributes:
            flags = flags | flag if attributes[name] == TRUE else flags & ~flag
    return flags


def changed_entry(
    entry: AnyEntry, changes: Mapping[int, bytes], *, spec: KeySpec | None, private: bool
) -> AnyEntry:
    """The entry after C_SetAttributeValue; CKA_VALUE of a data object is not its matter.

    `spec` is the kind of key, `private` the object's CKA_PRIVATE.
    """
    fields: dict[str, Any] = {}
    if isinstance(entry, KeyEntry):
        fields["usage"] = _with_flags(_USAGE, entry.usage, changes)
        fields["access"] = _with_flags(_ACCESS, entry.access, changes)
    for name, value in changes.items():
        if name in _FIELDS and hasattr(entry, _FIELDS[name][0]):
            field, read = _FIELDS[name]
            fields[field] = read(value)
    changed = replace(entry, **fields)
    shown = _entry_attributes(changed, spec, private)
    extra = dict(entry.extra)
    for name, value in changes.items():
        extra.pop(name, None)
        if name not in _ELSEWHERE and shown.get(name) != value:
            extra[name] = portable(name, value)
    return replace(changed, extra=extra)


def _text(value: bytes) -> str:
    return value.decode("utf-8")


def _is_true(value: bytes) -> bool:
    return value == TRUE


_FIELDS: Final[dict[int, tuple[str, Any]]] = {
    ck.CKA_LABEL: ("label", _text),
    ck.CKA_ID: ("id", bytes),
    ck.CKA_SUBJECT: ("subject", bytes),
    ck.CKA_START_DATE: ("start", parse_day),
    ck.CKA_END_DATE: ("end", parse_day),
    ck.CKA_APPLICATION: ("application", _text),
    ck.CKA_OBJECT_ID: ("object_id", bytes),
    ck.CKA_TRUSTED: ("trusted", _is_true),
}
