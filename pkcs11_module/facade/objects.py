"""Objects: making, reading, changing and destroying them (PKCS#11 3.1 5.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pkcs11_module import _constants as ck
from pkcs11_module.attribute_model import Form, Purpose
from pkcs11_module.cards.entries import SecretKeyEntry
from pkcs11_module.facade import certificates, keys
from pkcs11_module.facade.attributes import (
    FALSE,
    KEY_CLASSES,
    as_template,
    changes,
    check_so,
    check_vouched,
    collect,
    complete,
    form_of,
    given_by_so,
    kind_of,
)
from pkcs11_module.facade.base_keys import value_of
from pkcs11_module.facade.card_rules import card_policy, card_usage
from pkcs11_module.facade.creation import (
    Origin,
    check_name,
    make_plain,
    make_private_key,
    make_public_key,
    make_secret_key,
)
from pkcs11_module.facade.entry_attributes import changed_entry
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.secret_keys import key_of
from pkcs11_module.facade.session_objects import SessionObject
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.slot import AnyObject
from pkcs11_module.facade.token_objects import TokenObject
from pkcs11_module.facade.values import SENSITIVE, all_of, read
from pkcs11_module.types import (
    UNAVAILABLE,
    Attribute,
    AttributeAnswer,
    AttributeRequest,
    Pkcs11Error,
)


@session_function("C_CreateObject")
def create_object(session: Session, template: tuple[Attribute, ...]) -> int:
    """C_CreateObject: data, X.509 certificates, public, private and secret keys."""
    given = collect(template)
    object_class, key_type = kind_of(given)
    given = _normalised(given, object_class, key_type)
    full = complete(given, object_class, key_type, Purpose.CREATE)
    make = _MAKERS.get(object_class, _make_plain)
    return session.slot.handle(make(session, full, key_type))


def _normalised(given: dict[int, bytes], object_class: int, key_type: int) -> dict[int, bytes]:
    if object_class in KEY_CLASSES:
        return keys.normalised(given, key_type)
    if object_class == ck.CKO_CERTIFICATE:
        return certificates.normalised(given)
    return given


def _make_plain(session: Session, full: dict[int, bytes], _: int) -> AnyObject:
    return make_plain(session, full)


def _make_public(session: Session, full: dict[int, bytes], _: int) -> AnyObject:
    return make_public_key(session, full, keys.public_key(full), Origin())


def _make_private(session: Session, full: dict[int, bytes], _: int) -> AnyObject:
    return make_private_key(session, full, keys.private_key(full), Origin())


def _make_secret(session: Session, full: dict[int, bytes], key_type: int) -> AnyObject:
    key = key_of(key_type, full[ck.CKA_VALUE], ck.CKR_ATTRIBUTE_VALUE_INVALID)
    return make_secret_key(session, full, key, Origin())


_MAKERS: Final[dict[int, Callable[[Session, dict[int, bytes], int], AnyObject]]] = {
    ck.CKO_PUBLIC_KEY: _make_public,
    ck.CKO_PRIVATE_KEY: _make_private,
    ck.CKO_SECRET_KEY: _make_secret,
}


@session_function("C_DestroyObject")
def destroy_object(session: Session, handle: int) -> None:
    """C_DestroyObject."""
    slot = session.slot
    target = slot.object(handle)
    if isinstance(target, TokenObject):
        session.need_writable()
        session.need_user()
    if target.attributes[ck.CKA_DESTROYABLE] == FALSE:
        raise Pkcs11Error(ck.CKR_ACTION_PROHIBITED, "the object is not to be destroyed")
    if isinstance(target, TokenObject):
        slot.token.remove(slot.card, target)
    target.alive = False
    slot.forget(target)


@session_function("C_GetObjectSize")
def get_object_size(session: Session, handle: int) -> int:
    """C_GetObjectSize: the length of all attributes that are told, in bytes."""
    slot = session.slot
    target = slot.object(handle)
    return sum(map(len, all_of(slot, target).values()))


@session_function("C_GetAttributeValue")
def get_attribute_value(
    session: Session, handle: int, requests: tuple[AttributeRequest, ...]
) -> tuple[int, list[AttributeAnswer]]:
    """C_GetAttributeValue: what cannot be told does not keep the others from being told."""
    slot = session.slot
    target = slot.object(handle)
    result = ck.CKR_OK
    answers: list[AttributeAnswer] = []
    for request in requests:
        value = read(slot, target, request.type)
        if isinstance(value, bytes):
            is_array = request.type & ck.CKF_ARRAY_ATTRIBUTE
            answer = request.fill(_array(request.type, value) if is_array else value)
            problem = ck.CKR_BUFFER_TOO_SMALL if answer is UNAVAILABLE else ck.CKR_OK
        else:
            answer = UNAVAILABLE
            sensitive = value is SENSITIVE
            problem = ck.CKR_ATTRIBUTE_SENSITIVE if sensitive else ck.CKR_ATTRIBUTE_TYPE_INVALID
        answers.append(answer)
        result = result or problem
    return result, answers


def _array(name: int, value: bytes) -> bytes | tuple[Attribute, ...]:
    return as_template(value) if form_of(name) is Form.TEMPLATE else value


@session_function("C_SetAttributeValue")
def set_attribute_value(session: Session, handle: int, template: tuple[Attribute, ...]) -> None:
    """C_SetAttributeValue: all of the template, or nothing."""
    slot = session.slot
    target = slot.object(handle)
    on_token = isinstance(target, TokenObject)
    so = slot.user == ck.CKU_SO
    if on_token:
        session.need_writable()
        if not (so and given_by_so(target.attributes, (each.type for each in template))):
            session.need_user()
    if target.attributes[ck.CKA_MODIFIABLE] == FALSE:
        raise Pkcs11Error(ck.CKR_ACTION_PROHIBITED, "the object is not modifiable")
    given = collect(template)
    changed = changes(target.attributes, given, token=on_token)
    check_so(changed, target.object_class, target.key_type, so=so)
    if not so:
        check_vouched(target.attributes, changed)
    if changed.get(ck.CKA_SUBJECT):
        check_name(changed[ck.CKA_SUBJECT])
    if isinstance(target, SessionObject):
        target.attributes = target.attributes | changed
        slot.changed(target)
        return
    changed = {
        name: value for name, value in changed.items() if target.attributes.get(name) != value
    }
    if changed:
        _change_on_token(session, target, changed)


def _change_on_token(session: Session, target: TokenObject, changed: Mapping[int, bytes]) -> None:
    slot = session.slot
    entry = changed_entry(target.entry, changed, spec=target.spec, private=target.private)
    if ck.CKA_VALUE in changed:
        slot.token.change_value(slot.card, target, entry, changed[ck.CKA_VALUE])
    elif changed.get(ck.CKA_EXTRACTABLE) == FALSE:
        slot.token.change(slot.card, target, entry, first=lambda: _lock_in(session, target))
    else:
        slot.token.change(slot.card, target, entry, user=slot.user == ck.CKU_USER)


def _lock_in(session: Session, target: TokenObject) -> None:
    """Have the card never again give away the value of a secret key, by importing it anew."""
    entry = target.entry
    assert isinstance(entry, SecretKeyEntry)
    assert entry.reference is not None
    value = value_of(session, target, ck.CKR_ATTRIBUTE_READ_ONLY)
    key = key_of(target.key_type, value, ck.CKR_DEVICE_ERROR)
    full = {**target.attributes, ck.CKA_EXTRACTABLE: FALSE}
    usage, policy = card_usage(full, key.spec), card_policy(full)
    session.slot.card.put_secret(entry.reference, key, usage, policy)
