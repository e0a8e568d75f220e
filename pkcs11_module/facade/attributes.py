"""Attributes of the objects this module has: their form, who may give them, their defaults.

PKCS#11 2.40 4.1 to 4.9, and the key types of "Current Mechanisms" 2.40 2.1, 2.3 and 3.0 2.3.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum, Flag, auto
from typing import Final

from pkcs11_module import _constants as ck
from pkcs11_module.types import Attribute, Pkcs11Error

TRUE: Final = b"\x01"
FALSE: Final = b"\x00"
ULONG_SIZE: Final = 8


def ulong(number: int) -> bytes:
    """A CK_ULONG in the caller's form."""
    return number.to_bytes(ULONG_SIZE, sys.byteorder)


def number(value: bytes) -> int:
    """The number in a CK_ULONG."""
    return int.from_bytes(value, sys.byteorder)


def boolean(value: bool) -> bytes:
    """A CK_BBOOL."""
    return TRUE if value else FALSE


def day(value: date | None) -> bytes:
    """A CK_DATE of 8 digits; empty for none."""
    if value is None:
        return b""
    return f"{value.year:04}{value.month:02}{value.day:02}".encode("ascii")


def parse_day(value: bytes) -> date | None:
    """The date in a CK_DATE that was checked."""
    text = value.decode("ascii")
    return date(int(text[:4]), int(text[4:6]), int(text[6:])) if text else None


class Form(Enum):
    """The C type of a value."""

    BOOL = auto()
    ULONG = auto()
    BYTES = auto()
    UTF8 = auto()
    DATE = auto()


class Mark(Flag):
    """What is special about an attribute of a kind of object."""

    NONE = 0
    NEEDED_TO_CREATE = auto()
    NEEDED_TO_GENERATE = auto()
    COMPUTED = auto()
    """The token alone sets it: any template that names it is refused."""
    DERIVED = auto()
    """Follows from other attributes: a template may name it with the value it has anyway."""
    FIXED = auto()
    """Has its default here; another value is refused."""
    CHANGEABLE = auto()
    """C_SetAttributeValue may change it."""
    SECRET = auto()
    """Not told of a key that is sensitive or not extractable."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Form, default (None: it has none, and is absent where nobody gives it) and marks."""

    form: Form
    default: bytes | None = None
    marks: Mark = Mark.NONE


class Purpose(Enum):
    """What a template is for."""

    CREATE = Mark.NEEDED_TO_CREATE
    GENERATE = Mark.NEEDED_TO_GENERATE


_CREATE, _GENERATE = Mark.NEEDED_TO_CREATE, Mark.NEEDED_TO_GENERATE
_CHANGEABLE, _COMPUTED, _DERIVED, _SECRET = (
    Mark.CHANGEABLE,
    Mark.COMPUTED,
    Mark.DERIVED,
    Mark.SECRET,
)
_Rules = Mapping[int, Rule]


def _storage(*, private: bytes) -> _Rules:
    return {
        ck.CKA_CLASS: Rule(Form.ULONG, None, _CREATE),
        ck.CKA_TOKEN: Rule(Form.BOOL, FALSE),
        ck.CKA_PRIVATE: Rule(Form.BOOL, private),
        ck.CKA_MODIFIABLE: Rule(Form.BOOL, TRUE),
        ck.CKA_LABEL: Rule(Form.UTF8, b"", _CHANGEABLE),
        ck.CKA_COPYABLE: Rule(Form.BOOL, TRUE, Mark.FIXED),
        ck.CKA_DESTROYABLE: Rule(Form.BOOL, TRUE, Mark.FIXED),
    }


_KEY: Final[_Rules] = {
    ck.CKA_KEY_TYPE: Rule(Form.ULONG, None, _CREATE),
    ck.CKA_ID: Rule(Form.BYTES, b"", _CHANGEABLE),
    ck.CKA_SUBJECT: Rule(Form.BYTES, b"", _CHANGEABLE),
    ck.CKA_START_DATE: Rule(Form.DATE, b"", _CHANGEABLE),
    ck.CKA_END_DATE: Rule(Form.DATE, b"", _CHANGEABLE),
    ck.CKA_DERIVE: Rule(Form.BOOL, FALSE, _CHANGEABLE),
    ck.CKA_LOCAL: Rule(Form.BOOL, FALSE, _COMPUTED),
    ck.CKA_KEY_GEN_MECHANISM: Rule(Form.ULONG, ulong(ck.CK_UNAVAILABLE_INFORMATION), _COMPUTED),
    ck.CKA_PUBLIC_KEY_INFO: Rule(Form.BYTES, None, _DERIVED),
}


def _public_key(*, encrypt: bytes, verify: bytes) -> _Rules:
    return {
        **_storage(private=FALSE),
        **_KEY,
        ck.CKA_ENCRYPT: Rule(Form.BOOL, encrypt, _CHANGEABLE),
        ck.CKA_VERIFY: Rule(Form.BOOL, verify, _CHANGEABLE),
        ck.CKA_VERIFY_RECOVER: Rule(Form.BOOL, FALSE, _CHANGEABLE),
        ck.CKA_WRAP: Rule(Form.BOOL, FALSE, _CHANGEABLE),
        ck.CKA_TRUSTED: Rule(Form.BOOL, FALSE, Mark.FIXED),
    }


def _private_key(*, decrypt: bytes, sign: bytes) -> _Rules:
    return {
        **_storage(private=TRUE),
        **_KEY,
        ck.CKA_SENSITIVE: Rule(Form.BOOL, TRUE),
        ck.CKA_EXTRACTABLE: Rule(Form.BOOL, FALSE),
        ck.CKA_ALWAYS_SENSITIVE: Rule(Form.BOOL, FALSE, _COMPUTED),
        ck.CKA_NEVER_EXTRACTABLE: Rule(Form.BOOL, FALSE, _COMPUTED),
        ck.CKA_DECRYPT: Rule(Form.BOOL, decrypt),
        ck.CKA_SIGN: Rule(Form.BOOL, sign),
        ck.CKA_SIGN_RECOVER: Rule(Form.BOOL, FALSE),
        ck.CKA_UNWRAP: Rule(Form.BOOL, FALSE),
        ck.CKA_WRAP_WITH_TRUSTED: Rule(Form.BOOL, FALSE, Mark.FIXED),
        ck.CKA_ALWAYS_AUTHENTICATE: Rule(Form.BOOL, FALSE),
    }


_RSA_PUBLIC: Final[_Rules] = {
    **_public_key(encrypt=TRUE, verify=TRUE),
    ck.CKA_MODULUS: Rule(Form.BYTES, None, _CREATE | _DERIVED),
    ck.CKA_MODULUS_BITS: Rule(Form.ULONG, None, _GENERATE | _DERIVED),
    ck.CKA_PUBLIC_EXPONENT: Rule(Form.BYTES, None, _CREATE | _DERIVED),
}
_EC_PUBLIC: Final[_Rules] = {
    **_public_key(encrypt=FALSE, verify=TRUE),
    ck.CKA_EC_PARAMS: Rule(Form.BYTES, None, _CREATE | _GENERATE | _DERIVED),
    ck.CKA_EC_POINT: Rule(Form.BYTES, None, _CREATE | _DERIVED),
}
_RSA_PRIVATE: Final[_Rules] = {
    **_private_key(decrypt=TRUE, sign=TRUE),
    ck.CKA_MODULUS: Rule(Form.BYTES, None, _CREATE | _DERIVED),
    ck.CKA_PUBLIC_EXPONENT: Rule(Form.BYTES, None, _DERIVED),
    ck.CKA_PRIVATE_EXPONENT: Rule(Form.BYTES, None, _CREATE | _SECRET),
    ck.CKA_PRIME_1: Rule(Form.BYTES, None, _CREATE | _SECRET),
    ck.CKA_PRIME_2: Rule(Form.BYTES, None, _CREATE | _SECRET),
    ck.CKA_EXPONENT_1: Rule(Form.BYTES, None, _SECRET),
    ck.CKA_EXPONENT_2: Rule(Form.BYTES, None, _SECRET),
    ck.CKA_COEFFICIENT: Rule(Form.BYTES, None, _SECRET),
}
_EC_PRIVATE: Final[_Rules] = {
    **_private_key(decrypt=FALSE, sign=TRUE),
    ck.CKA_EC_PARAMS: Rule(Form.BYTES, None, _CREATE | _DERIVED),
    ck.CKA_EC_POINT: Rule(Form.BYTES, None, _DERIVED),
    ck.CKA_VALUE: Rule(Form.BYTES, None, _CREATE | _SECRET),
}
_DERIVES: Final[_Rules] = {ck.CKA_DERIVE: Rule(Form.BOOL, TRUE, _CHANGEABLE)}
_CERTIFICATE: Final[_Rules] = {
    **_storage(private=FALSE),
    ck.CKA_CERTIFICATE_TYPE: Rule(Form.ULONG, None, _CREATE),
    ck.CKA_VALUE: Rule(Form.BYTES, None, _CREATE),
    ck.CKA_ID: Rule(Form.BYTES, b"", _CHANGEABLE),
    ck.CKA_SUBJECT: Rule(Form.BYTES, None, _DERIVED),
    ck.CKA_ISSUER: Rule(Form.BYTES, None, _DERIVED),
    ck.CKA_SERIAL_NUMBER: Rule(Form.BYTES, None, _DERIVED),
    ck.CKA_CHECK_VALUE: Rule(Form.BYTES, None, _DERIVED),
    ck.CKA_START_DATE: Rule(Form.DATE, None, _DERIVED),
    ck.CKA_END_DATE: Rule(Form.DATE, None, _DERIVED),
    ck.CKA_TRUSTED: Rule(Form.BOOL, FALSE, Mark.FIXED),
    ck.CKA_CERTIFICATE_CATEGORY: Rule(Form.ULONG, ulong(0)),
    ck.CKA_JAVA_MIDP_SECURITY_DOMAIN: Rule(Form.ULONG, ulong(0), Mark.FIXED),
    ck.CKA_URL: Rule(Form.BYTES, b"", Mark.FIXED),
    ck.CKA_HASH_OF_SUBJECT_PUBLIC_KEY: Rule(Form.BYTES, b"", Mark.FIXED),
    ck.CKA_HASH_OF_ISSUER_PUBLIC_KEY: Rule(Form.BYTES, b"", Mark.FIXED),
}
_DATA: Final[_Rules] = {
    **_storage(private=FALSE),
    ck.CKA_APPLICATION: Rule(Form.UTF8, b"", _CHANGEABLE),
    ck.CKA_OBJECT_ID: Rule(Form.BYTES, b"", _CHANGEABLE),
    ck.CKA_VALUE: Rule(Form.BYTES, b"", _CHANGEABLE),
}
_RULES: Final[dict[tuple[int, int], _Rules]] = {
    (ck.CKO_DATA, 0): _DATA,
    (ck.CKO_CERTIFICATE, 0): _CERTIFICATE,
    (ck.CKO_PUBLIC_KEY, ck.CKK_RSA): _RSA_PUBLIC,
    (ck.CKO_PUBLIC_KEY, ck.CKK_EC): _EC_PUBLIC,
    (ck.CKO_PUBLIC_KEY, ck.CKK_EC_EDWARDS): _EC_PUBLIC,
    (ck.CKO_PUBLIC_KEY, ck.CKK_EC_MONTGOMERY): {**_EC_PUBLIC, **_DERIVES},
    (ck.CKO_PRIVATE_KEY, ck.CKK_RSA): _RSA_PRIVATE,
    (ck.CKO_PRIVATE_KEY, ck.CKK_EC): _EC_PRIVATE,
    (ck.CKO_PRIVATE_KEY, ck.CKK_EC_EDWARDS): _EC_PRIVATE,
    (ck.CKO_PRIVATE_KEY, ck.CKK_EC_MONTGOMERY): {
        **_EC_PRIVATE,
        **_DERIVES,
        ck.CKA_SIGN: Rule(Form.BOOL, FALSE),
    },
}
KEY_CLASSES: Final = frozenset({ck.CKO_PUBLIC_KEY, ck.CKO_PRIVATE_KEY})


def rules(object_class: int, key_type: int) -> _Rules:
    """The rules of a kind of object; `key_type` is 0 where it is no key.

    Raises Pkcs11Error (CKR_ATTRIBUTE_VALUE_INVALID) for a kind this module does not have.
    """
    found = _RULES.get((object_class, key_type if object_class in KEY_CLASSES else 0))
    if found is None:
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "the kind of object is not supported")
    return found


def secrets(object_class: int, key_type: int) -> frozenset[int]:
    """The attributes of a kind of object that a sensitive one does not tell."""
    return _SECRETS.get((object_class, key_type), frozenset())


_SECRETS: Final = {
    kind: frozenset(name for name, rule in table.items() if Mark.SECRET in rule.marks)
    for kind, table in _RULES.items()
}


def collect(template: Iterable[Attribute]) -> dict[int, bytes]:
    """A template by type; raises Pkcs11Error where a type has two different values."""
    given: dict[int, bytes] = {}
    for attribute in template:
        value = attribute.value or b""
        if given.setdefault(attribute.type, value) != value:
            raise Pkcs11Error(ck.CKR_TEMPLATE_INCONSISTENT, "an attribute has two values")
    return given


def kind_of(given: Mapping[int, bytes]) -> tuple[int, int]:
    """Object class and key type (0 for what is no key) that a template for C_CreateObject names.

    Raises Pkcs11Error.
    """
    object_class = _number_in(given, ck.CKA_CLASS)
    if object_class in KEY_CLASSES:
        return object_class, _number_in(given, ck.CKA_KEY_TYPE)
    return object_class, 0


def _number_in(given: Mapping[int, bytes], name: int) -> int:
    if name not in given:
        raise Pkcs11Error(ck.CKR_TEMPLATE_INCOMPLETE, ck.CKA_NAMES[name])
    return number(checked(Form.ULONG, given[name]))


def complete(
    given: Mapping[int, bytes], object_class: int, key_type: int, purpose: Purpose
) -> dict[int, bytes]:
    """A template with every default filled in, checked against the rules of its kind of object.

    Raises Pkcs11Error: CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID,
    CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCOMPLETE or CKR_TEMPLATE_INCONSISTENT (4.1.1).
    """
    table = rules(object_class, key_type)
    full = {name: rule.default for name, rule in table.items() if rule.default is not None}
    for name, value in given.items():
        rule = table.get(name)
        if rule is None:
            raise Pkcs11Error(ck.CKR_ATTRIBUTE_TYPE_INVALID, f"{name:#x}")
        if Mark.COMPUTED in rule.marks:
            raise Pkcs11Error(ck.CKR_ATTRIBUTE_READ_ONLY, ck.CKA_NAMES[name])
        full[name] = checked(rule.form, value)
        if Mark.FIXED in rule.marks and full[name] != rule.default:
            raise Pkcs11Error(ck.CKR_TEMPLATE_INCONSISTENT, ck.CKA_NAMES[name])
    for name, rule in table.items():
        if purpose.value in rule.marks and name not in full:
            raise Pkcs11Error(ck.CKR_TEMPLATE_INCOMPLETE, ck.CKA_NAMES[name])
    own = {ck.CKA_CLASS: object_class}
    if object_class in KEY_CLASSES:
        own[ck.CKA_KEY_TYPE] = key_type
    for name, expected in own.items():
        if full.setdefault(name, ulong(expected)) != ulong(expected):
            raise Pkcs11Error(ck.CKR_TEMPLATE_INCONSISTENT, ck.CKA_NAMES[name])
    return full


def check_derived(given: Mapping[int, bytes], actual: Mapping[int, bytes]) -> None:
    """What a template says of derived attributes must be true; raises Pkcs11Error."""
    object_class = number(actual[ck.CKA_CLASS])
    table = rules(object_class, number(actual.get(ck.CKA_KEY_TYPE, FALSE)))
    for name, value in given.items():
        if Mark.DERIVED in table[name].marks and actual.get(name, value) != value:
            raise Pkcs11Error(ck.CKR_TEMPLATE_INCONSISTENT, ck.CKA_NAMES[name])


def checked(form: Form, value: bytes) -> bytes:
    """The value in the one form it is kept in; raises Pkcs11Error (CKR_ATTRIBUTE_VALUE_INVALID)."""
    if form is Form.BOOL and len(value) == 1:
        return boolean(value != FALSE)
    if form is Form.ULONG and len(value) == ULONG_SIZE:
        return value
    if form is Form.BYTES or (form is Form.UTF8 and _is_utf8(value)):
        return value
    if form is Form.DATE and _is_date(value):
        return value.lstrip(b"\0")
    raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, f"not a {form.name}")


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_date(value: bytes) -> bool:
    if value in (b"", bytes(8)):
        return True
    try:
        return len(value) == 8 and value.isdigit() and parse_day(value) is not None
    except ValueError:
        return False
