"""Attributes of objects: applying the rules of spec/pkcs11/attributes.toml to templates.

An object's attributes are kept by type as bytes, in the one form that `checked` gives: a CK_ULONG
in the caller's byte order, an array of attributes as `packed` gives it.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Final

from pkcs11_module import _constants as ck
from pkcs11_module._attributes import CONFLICTS, KINDS
from pkcs11_module.attribute_model import Change, Conflict, Form, Match, Purpose, Rule
from pkcs11_module.types import Attribute, Pkcs11Error

TRUE: Final = b"\x01"
FALSE: Final = b"\x00"
ULONG_SIZE: Final = 8
KEY_CLASSES: Final = frozenset({ck.CKO_PUBLIC_KEY, ck.CKO_PRIVATE_KEY, ck.CKO_SECRET_KEY})
_Rules = Mapping[int, Rule]
_PACKED: Final = struct.Struct("<QI")


def ulong(number: int) -> bytes:
    """A CK_ULONG in the caller's form."""
    return number.to_bytes(ULONG_SIZE, sys.byteorder)


def number(value: bytes) -> int:
    """The number in a CK_ULONG."""
    return int.from_bytes(value, sys.byteorder)


def numbers(value: bytes) -> list[int]:
    """The numbers in an array of CK_ULONG, such as CKA_ALLOWED_MECHANISMS."""
    return [number(value[at : at + ULONG_SIZE]) for at in range(0, len(value), ULONG_SIZE)]


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


# Arrays of attributes


def packed(template: Iterable[Attribute]) -> bytes:
    """An array of attributes as bytes, equal for equal ones in any order.

    Type (8 bytes, little-endian), length (4) and value of each, by ascending type. Raises
    Pkcs11Error (CKR_TEMPLATE_INCONSISTENT) where a type has two values, and
    CKR_ATTRIBUTE_VALUE_INVALID for a value that no attribute of that type has.
    """
    given = collect(template)
    parts = []
    for name in sorted(given):
        value = given[name] if name not in _FORMS else checked(_FORMS[name], given[name])
        parts.append(_PACKED.pack(name, len(value)) + value)
    return b"".join(parts)


def unpacked(value: bytes) -> dict[int, bytes]:
    """The attributes in what `packed` gave, by type; raises ValueError for anything else."""
    found: dict[int, bytes] = {}
    position = 0
    while position < len(value):
        if len(value) - position < _PACKED.size:
            raise ValueError("not an array of attributes")
        name, size = _PACKED.unpack_from(value, position)
        position += _PACKED.size
        if len(value) - position < size:
            raise ValueError("not an array of attributes")
        found[name] = value[position : position + size]
        position += size
    return found


def as_template(value: bytes) -> tuple[Attribute, ...]:
    """The same as the caller gets it."""
    return tuple(
        Attribute(name, None, as_template(own))
        if form_of(name) is Form.TEMPLATE
        else Attribute(name, own)
        for name, own in unpacked(value).items()
    )


def template_matches(attributes: Mapping[int, bytes], template: bytes) -> bool:
    """Whether an object has all the attributes of a packed CKA_WRAP_TEMPLATE or its like."""
    return all(attributes.get(name) == value for name, value in unpacked(template).items())


def with_template(given: Mapping[int, bytes], template: bytes) -> dict[int, bytes]:
    """A template with the attributes that a packed CKA_UNWRAP_TEMPLATE or its like asks for.

    Raises Pkcs11Error (CKR_TEMPLATE_INCONSISTENT) where the two have different values.
    """
    asked = unpacked(template)
    for name, value in asked.items():
        if given.get(name, value) != value:
            raise _refusal(ck.CKR_TEMPLATE_INCONSISTENT, name)
    return {**given, **asked}


# The rules


def rules(object_class: int, key_type: int) -> _Rules:
    """The rules of a kind of object; `key_type` is of no matter where it is no key.

    Raises Pkcs11Error (CKR_ATTRIBUTE_VALUE_INVALID) for a kind this module does not have.
    """
    found = KINDS.get((object_class, key_type if object_class in KEY_CLASSES else 0))
    if found is None:
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "the kind of object is not supported")
    return found


def _default(rule: Rule) -> bytes | None:
    """The value of an attribute that nobody has given."""
    if isinstance(rule.default, bool):
        return boolean(rule.default)
    return ulong(rule.default) if isinstance(rule.default, int) else rule.default


_DEFAULTS: Final = {
    kind: {name: default for name, rule in table.items() if (default := _default(rule)) is not None}
    for kind, table in KINDS.items()
}
_NEEDED: Final = {
    (kind, purpose): tuple(name for name, rule in table.items() if purpose in rule.need)
    for kind, table in KINDS.items()
    for purpose in Purpose
}
_SECRETS: Final = {
    kind: frozenset(name for name, rule in table.items() if rule.secret)
    for kind, table in KINDS.items()
}
ALL_SECRETS: Final = frozenset().union(*_SECRETS.values())
"""Attributes that some kind of key does not tell."""
_FORMS: Final = {name: rule.form for table in KINDS.values() for name, rule in table.items()}
_NOTHING: Final[frozenset[int]] = frozenset()


def defaults(object_class: int, key_type: int) -> Mapping[int, bytes]:
    """The values that nobody has to give an object of that kind (key type 0: no key)."""
    return _DEFAULTS[object_class, key_type]


def form_of(name: int) -> Form:
    """The C type of an attribute, which is the same for every kind of object."""
    return _FORMS.get(name, Form.BYTES)


def untold(attributes: Mapping[int, bytes]) -> frozenset[int]:
    """The attributes that an object has and does not tell: a key's that is sensitive or stays."""
    sensitive = attributes.get(ck.CKA_SENSITIVE)
    if sensitive is None or (sensitive == FALSE and attributes[ck.CKA_EXTRACTABLE] == TRUE):
        return _NOTHING
    return _SECRETS[number(attributes[ck.CKA_CLASS]), number(attributes[ck.CKA_KEY_TYPE])]


def collect(template: Iterable[Attribute]) -> dict[int, bytes]:
    """A template by type; raises Pkcs11Error where a type has two different values."""
    given: dict[int, bytes] = {}
    for attribute in template:
        value = attribute.value or b""
        if attribute.nested is not None:
            value = packed(attribute.nested)
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
        raise _refusal(ck.CKR_TEMPLATE_INCOMPLETE, name)
    return number(checked(Form.ULONG, given[name]))


def complete(
    given: Mapping[int, bytes], object_class: int, key_type: int, purpose: Purpose
) -> dict[int, bytes]:
    """A template with every default filled in, checked against the rules of its kind of object.

    Raises Pkcs11Error: CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID,
    CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCOMPLETE or CKR_TEMPLATE_INCONSISTENT (4.1.1).
    """
    table = rules(object_class, key_type)
    is_key = object_class in KEY_CLASSES
    kind = object_class, key_type if is_key else 0
    full = dict(_DEFAULTS[kind])
    for name, value in given.items():
        rule = table.get(name)
        if rule is None:
            raise _refusal(ck.CKR_ATTRIBUTE_TYPE_INVALID, name)
        if purpose in rule.refuse:
            raise _refusal(rule.error, name)
        full[name] = _allowed(rule, name, value)
    for name in _NEEDED[kind, purpose]:
        if name not in full:
            raise _refusal(ck.CKR_TEMPLATE_INCOMPLETE, name)
    own = {ck.CKA_CLASS: object_class, ck.CKA_KEY_TYPE: key_type}
    for name in own if is_key else (ck.CKA_CLASS,):
        expected = ulong(own[name])
        if full.setdefault(name, expected) != expected:
            raise _refusal(ck.CKR_TEMPLATE_INCONSISTENT, name)
    check_consistent(full)
    return full


def check_consistent(full: Mapping[int, bytes]) -> None:
    """Whether the values of an object go together; raises Pkcs11Error."""
    for conflict in CONFLICTS:
        if full[ck.CKA_CLASS] == ulong(conflict.object_class) and _is_met(conflict, full):
            raise Pkcs11Error(conflict.error, conflict.rule)


def _is_met(conflict: Conflict, full: Mapping[int, bytes]) -> bool:
    return all(_fits(full.get(name, b""), wanted) for name, wanted in conflict.when)


def _fits(value: bytes, wanted: bool | int | Match) -> bool:
    if isinstance(wanted, Match):
        return bool(value) == (wanted is Match.ANY)
    return value == (boolean(wanted) if isinstance(wanted, bool) else ulong(wanted))


def check_derived(given: Mapping[int, bytes], actual: Mapping[int, bytes]) -> None:
    """What a template says of derived attributes must be true; raises Pkcs11Error."""
    object_class = number(actual[ck.CKA_CLASS])
    table = rules(object_class, number(actual.get(ck.CKA_KEY_TYPE, FALSE)))
    for name, value in given.items():
        rule = table[name]
        if rule.derived and actual.get(name, value) != value:
            raise _refusal(rule.error, name)


def check_so(given: Mapping[int, bytes], object_class: int, key_type: int, *, so: bool) -> None:
    """Whether what the SO alone may give was given by the SO; raises Pkcs11Error."""
    table = rules(object_class, key_type)
    for name, value in given.items():
        rule = table.get(name)
        if rule is not None and rule.so and value != FALSE and not so:
            raise _refusal(ck.CKR_ATTRIBUTE_READ_ONLY, name)


def given_by_so(attributes: Mapping[int, bytes], names: Iterable[int]) -> bool:
    """Whether a template for C_SetAttributeValue names nothing but what the SO gives."""
    table = _rules_of(attributes)
    named = set(names)
    return bool(named) and all(name in table and table[name].so for name in named)


def check_vouched(attributes: Mapping[int, bytes], changed: Mapping[int, bytes]) -> None:
    """Nobody but the SO changes what CKA_TRUSTED vouches for, unless the trust ends with it.

    Raises Pkcs11Error (CKR_ATTRIBUTE_READ_ONLY).
    """
    if {**attributes, **changed}.get(ck.CKA_TRUSTED) != TRUE:
        return
    table = _rules_of(attributes)
    for name, value in changed.items():
        if table[name].vouched and attributes.get(name) != value:
            raise _refusal(ck.CKR_ATTRIBUTE_READ_ONLY, name)


def _rules_of(attributes: Mapping[int, bytes]) -> _Rules:
    return rules(number(attributes[ck.CKA_CLASS]), number(attributes.get(ck.CKA_KEY_TYPE, FALSE)))


def changes(
    attributes: Mapping[int, bytes], given: Mapping[int, bytes], *, token: bool
) -> dict[int, bytes]:
    """What a template of C_SetAttributeValue changes on an object; raises Pkcs11Error."""

    def refused(rule: Rule, old: bytes | None, new: bytes) -> int | None:
        if rule.change is Change.SESSION and not token:
            return None
        return None if _is_way(rule.change, old, new) else ck.CKR_ATTRIBUTE_READ_ONLY

    return _changed(attributes, given, refused)


def copy_changes(attributes: Mapping[int, bytes], given: Mapping[int, bytes]) -> dict[int, bytes]:
    """What a template of C_CopyObject makes different on the copy; raises Pkcs11Error."""
    return _changed(
        attributes,
        given,
        lambda rule, old, new: None if _is_way(rule.copy, old, new) else rule.copy_error,
    )


_WAYS: Final = {Change.TO_TRUE: TRUE, Change.TO_FALSE: FALSE}


def _is_way(change: Change, old: bytes | None, new: bytes) -> bool:
    """Whether a value may become another one; where there is one way, staying is allowed too."""
    if change in _WAYS:
        return new in (old, _WAYS[change])
    return change is Change.YES


def _changed(
    attributes: Mapping[int, bytes],
    given: Mapping[int, bytes],
    refused: Callable[[Rule, bytes | None, bytes], int | None],
) -> dict[int, bytes]:
    table = _rules_of(attributes)
    changed: dict[int, bytes] = {}
    for name, value in given.items():
        rule = table.get(name)
        if rule is None:
            raise _refusal(ck.CKR_ATTRIBUTE_TYPE_INVALID, name)
        wanted = checked(rule.form, value) if rule.form is Form.BOOL else value
        error = refused(rule, attributes.get(name), wanted)
        if error is not None:
            raise _refusal(error, name)
        changed[name] = _allowed(rule, name, value)
    return changed


def _allowed(rule: Rule, name: int, value: bytes) -> bytes:
    """A value in its one form; raises Pkcs11Error (CKR_ATTRIBUTE_VALUE_INVALID)."""
    kept = checked(rule.form, value)
    if rule.values and number(kept) not in rule.values:
        raise _refusal(ck.CKR_ATTRIBUTE_VALUE_INVALID, name)
    return kept


def _refusal(error: int, name: int) -> Pkcs11Error:
    return Pkcs11Error(error, ck.CKA_NAMES.get(name, f"{name:#x}"))


# Forms


def checked(form: Form, value: bytes) -> bytes:
    """The value in the one form it is kept in; raises Pkcs11Error (CKR_ATTRIBUTE_VALUE_INVALID)."""
    if form is Form.BOOL and len(value) == 1:
        return boolean(value != FALSE)
    if form is Form.DATE and _is_date(value):
        return value.lstrip(b"\0")
    check = _CHECKS.get(form)
    if check is None or not check(value):
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, f"not a {form.name}")
    return value


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


def _is_packed(value: bytes) -> bool:
    try:
        unpacked(value)
    except ValueError:
        return False
    return True


_CHECKS: Final[dict[Form, Callable[[bytes], bool]]] = {
    Form.ULONG: lambda value: len(value) == ULONG_SIZE,
    Form.BYTES: lambda value: True,
    Form.UTF8: _is_utf8,
    Form.MECHANISMS: lambda value: len(value) % ULONG_SIZE == 0,
    Form.TEMPLATE: _is_packed,
}


# Forms on a card, which another host may read


def portable(name: int, value: bytes) -> bytes:
    """A value as it is stored, numbers with the lowest byte first; its own inverse."""
    if sys.byteorder == "little":
        return value
    form = form_of(name)
    if form is Form.TEMPLATE:
        return b"".join(
            _PACKED.pack(inner, len(own)) + portable(inner, own)
            for inner, own in unpacked(value).items()
        )
    if form is Form.ULONG:
        return value[::-1]
    if form is Form.MECHANISMS:
        sizes = range(0, len(value), ULONG_SIZE)
        return b"".join(value[at : at + ULONG_SIZE][::-1] for at in sizes)
    return value
