"""Objects: making, reading, changing and destroying them (PKCS#11 2.40 5.7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from apdu.model import SW, StatusWordError
from pkcs11_module import _constants as ck
from pkcs11_module.cards.card import GENERATED_SIZES
from pkcs11_module.facade import certificates, keys
from pkcs11_module.facade.application import AnyObject
from pkcs11_module.facade.attributes import (
    FALSE,
    KEY_CLASSES,
    TRUE,
    Mark,
    Purpose,
    check_derived,
    checked,
    collect,
    complete,
    kind_of,
    number,
    rules,
    ulong,
)
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.session_objects import SessionObject
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.token_objects import (
    TokenObject,
    card_policy,
    card_usage,
    changed_entry,
    new_entry,
)
from pkcs11_module.facade.values import SENSITIVE, has, read
from pkcs11_module.types import (
    UNAVAILABLE,
    Attribute,
    AttributeRequest,
    Length,
    Pkcs11Error,
    Unavailable,
)
from token_fw.crypto import KeyKind, PrivateKey, PublicKey

_CATEGORIES: Final = (0, 2)
"""Unspecified and authority: what an entry of a directory tells of a certificate."""


@session_function("C_CreateObject")
def create_object(session: Session, template: tuple[Attribute, ...]) -> int:
    """C_CreateObject: data, X.509 certificates, public and private keys."""
    given = collect(template)
    object_class, key_type = kind_of(given)
    given = _normalised(given, object_class, key_type)
    full = complete(given, object_class, key_type, Purpose.CREATE)
    check_place(session, full)
    if full[ck.CKA_TOKEN] == TRUE:
        target: AnyObject = _create_on_token(session, given, full)
    else:
        target = _create_in_session(session, given, full)
    return session.slot.handle(target)


def _normalised(given: dict[int, bytes], object_class: int, key_type: int) -> dict[int, bytes]:
    if object_class in KEY_CLASSES:
        return keys.normalised(given, key_type)
    if object_class == ck.CKO_CERTIFICATE:
        return certificates.normalised(given)
    return given


def check_place(session: Session, full: Mapping[int, bytes]) -> None:
    """Whether an object of these attributes may be made in this session; raises Pkcs11Error."""
    on_token = full[ck.CKA_TOKEN] == TRUE
    if on_token:
        session.need_writable()
    if on_token or full[ck.CKA_PRIVATE] == TRUE:
        session.need_user()
    is_private_key = number(full[ck.CKA_CLASS]) == ck.CKO_PRIVATE_KEY
    told = full.get(ck.CKA_SENSITIVE) == FALSE or full.get(ck.CKA_EXTRACTABLE) == TRUE
    if on_token and is_private_key and told:
        raise Pkcs11Error(ck.CKR_TEMPLATE_INCONSISTENT, "private keys of the token are never told")
    subject = full.get(ck.CKA_SUBJECT)
    if subject:
        check_name(subject)


def check_name(value: bytes) -> None:
    """A CKA_SUBJECT has to be a DER Name; raises Pkcs11Error (CKR_ATTRIBUTE_VALUE_INVALID)."""
    if not keys.is_sequence(value):
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_SUBJECT")


def _derive(
    given: Mapping[int, bytes], full: dict[int, bytes]
) -> tuple[dict[int, bytes], PrivateKey | PublicKey | None]:
    """All attributes of a new object, and its key; raises Pkcs11Error where they do not agree."""
    object_class = number(full[ck.CKA_CLASS])
    key: PrivateKey | PublicKey | None = None
    if object_class == ck.CKO_CERTIFICATE:
        _check_certificate(full)
        try:
            full = full | certificates.certificate_attributes(full[ck.CKA_VALUE])
        except ValueError:
            raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "not a certificate") from None
    elif object_class == ck.CKO_PUBLIC_KEY:
        key = keys.public_key(full)
        full = full | keys.public_attributes(key)
    elif object_class == ck.CKO_PRIVATE_KEY:
        key = keys.private_key(full)
        full = full | own_attributes(full, key.public())
    check_derived(given, full)
    return full, key


def own_attributes(full: Mapping[int, bytes], key: PublicKey) -> dict[int, bytes]:
    """What a public key says, as far as objects of this kind have such attributes."""
    known = rules(number(full[ck.CKA_CLASS]), number(full[ck.CKA_KEY_TYPE]))
    return {name: value for name, value in keys.public_attributes(key).items() if name in known}


def _check_certificate(full: Mapping[int, bytes]) -> None:
    wrong = full[ck.CKA_CERTIFICATE_TYPE] != ulong(ck.CKC_X_509)
    if wrong or number(full[ck.CKA_CERTIFICATE_CATEGORY]) not in _CATEGORIES:
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "the certificate's type or category")


def _create_in_session(
    session: Session, given: Mapping[int, bytes], full: dict[int, bytes]
) -> SessionObject:
    return SessionObject(session, *_derive(given, full))


def _create_on_token(
    session: Session, given: Mapping[int, bytes], full: dict[int, bytes]
) -> TokenObject:
    if number(full[ck.CKA_CLASS]) == ck.CKO_PRIVATE_KEY:
        return _import_key(session, given, full)
    full, key = _derive(given, full)
    if isinstance(key, PublicKey):
        entry, value = new_entry(full, spec=key.spec), key.to_spki()
    else:
        entry, value = new_entry(full), full[ck.CKA_VALUE]
    slot = session.slot
    return slot.token.add(slot.card, (entry, value))[0]


def _import_key(
    session: Session, given: Mapping[int, bytes], full: Mapping[int, bytes]
) -> TokenObject:
    """Import a private key: the card has it before it is listed."""
    material = keys.key_material(full)
    spec = material.spec
    if spec.kind is KeyKind.RSA and spec.bits not in GENERATED_SIZES:
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "the token has no keys of that size")
    slot = session.slot
    with slot.token.new_key(slot.card) as reference:
        try:
            slot.card.put_key(reference, material, card_usage(full, spec), card_policy(full))
        except StatusWordError as error:
            if error.sw != SW.INCORRECT_DATA:
                raise
            raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "not a private key") from error
        actual = own_attributes(full, slot.card.public_key(reference, spec))
        check_derived(given, {**full, **actual})
        entry = new_entry(full, spec=spec, reference=reference)
        return slot.token.add(slot.card, (entry, None))[0]


@session_function("C_DestroyObject")
def destroy_object(session: Session, handle: int) -> None:
    """C_DestroyObject."""
    slot = session.slot
    target = slot.object(handle)
    if isinstance(target, TokenObject):
        session.need_writable()
        session.need_user()
        slot.token.remove(slot.card, target)
    target.alive = False
    slot.forget(target)


@session_function("C_GetObjectSize")
def get_object_size(session: Session, handle: int) -> int:
    """C_GetObjectSize: the length of all attributes that are told, in bytes."""
    slot = session.slot
    target = slot.object(handle)
    values = [read(slot, target, name) for name in rules(target.object_class, target.key_type)]
    return sum(len(value) for value in values if isinstance(value, bytes))


@session_function("C_GetAttributeValue")
def get_attribute_value(
    session: Session, handle: int, requests: tuple[AttributeRequest, ...]
) -> tuple[int, list[bytes | Length | Unavailable]]:
    """C_GetAttributeValue: what cannot be told does not keep the others from being told."""
    slot = session.slot
    target = slot.object(handle)
    result = ck.CKR_OK
    answers: list[bytes | Length | Unavailable] = []
    for request in requests:
        value = read(slot, target, request.type)
        if isinstance(value, bytes):
            answer = request.fill(value)
            problem = ck.CKR_BUFFER_TOO_SMALL if answer is UNAVAILABLE else ck.CKR_OK
        else:
            answer = UNAVAILABLE
            sensitive = value is SENSITIVE
            problem = ck.CKR_ATTRIBUTE_SENSITIVE if sensitive else ck.CKR_ATTRIBUTE_TYPE_INVALID
        answers.append(answer)
        result = result or problem
    return result, answers


@session_function("C_SetAttributeValue")
def set_attribute_value(session: Session, handle: int, template: tuple[Attribute, ...]) -> None:
    """C_SetAttributeValue: all of the template, or nothing."""
    slot = session.slot
    target = slot.object(handle)
    if isinstance(target, TokenObject):
        session.need_writable()
        session.need_user()
    if target.attributes[ck.CKA_MODIFIABLE] == FALSE:
        raise Pkcs11Error(ck.CKR_ACTION_PROHIBITED, "the object is not modifiable")
    changes = _checked_changes(target, collect(template))
    if isinstance(target, SessionObject):
        target.attributes = target.attributes | changes
    elif changes:
        entry = changed_entry(target.entry, changes)
        if ck.CKA_VALUE in changes:
            slot.token.change_value(slot.card, target, entry, changes[ck.CKA_VALUE])
        else:
            slot.token.change(slot.card, target, entry)


_ONE_WAY: Final = {ck.CKA_SENSITIVE: TRUE, ck.CKA_EXTRACTABLE: FALSE}
"""Attributes that may be changed to this value, and not back."""


def _checked_changes(target: AnyObject, given: Mapping[int, bytes]) -> dict[int, bytes]:
    changes: dict[int, bytes] = {}
    table: Mapping[int, Any] = rules(target.object_class, target.key_type)
    for name, value in given.items():
        if not has(target, name):
            raise Pkcs11Error(ck.CKR_ATTRIBUTE_TYPE_INVALID, f"{name:#x}")
        rule = table[name]
        if Mark.CHANGEABLE not in rule.marks and _ONE_WAY.get(name) != value:
            raise Pkcs11Error(ck.CKR_ATTRIBUTE_READ_ONLY, ck.CKA_NAMES[name])
        changes[name] = checked(rule.form, value)
        if name == ck.CKA_SUBJECT and value:
            check_name(value)
    if isinstance(target, TokenObject):
        # A key of the token is as sensitive as can be already.
        changes = {name: value for name, value in changes.items() if name not in _ONE_WAY}
    return changes
