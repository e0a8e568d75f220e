"""C_CopyObject (PKCS#11 3.1 5.7.2): from the session or the token, to the session or the token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pkcs11_module import _constants as ck
from pkcs11_module.facade.attributes import FALSE, check_consistent, collect, copy_changes
from pkcs11_module.facade.base_keys import value_of
from pkcs11_module.facade.creation import (
    Origin,
    make_plain,
    make_private_key,
    make_public_key,
    make_secret_key,
)
from pkcs11_module.facade.operations import public_key
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.secret_keys import key_of
from pkcs11_module.facade.session_objects import SessionObject
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.slot import AnyObject
from pkcs11_module.facade.values import all_of
from pkcs11_module.types import Attribute, Pkcs11Error
from token_fw.crypto import PrivateKey

_Attributes = dict[int, bytes]


@session_function("C_CopyObject")
def copy_object(session: Session, handle: int, template: tuple[Attribute, ...]) -> int:
    """C_CopyObject: the handle of the copy.

    What never leaves the card has no copy, in the session or beside it on the card, which has no
    command for it: CKR_ACTION_PROHIBITED, as where CKA_COPYABLE is false.
    """
    slot = session.slot
    target = slot.object(handle)
    if target.attributes[ck.CKA_COPYABLE] == FALSE:
        raise Pkcs11Error(ck.CKR_ACTION_PROHIBITED, "the object is not to be copied")
    changed = copy_changes(target.attributes, collect(template))
    full = {**all_of(slot, target), **target.attributes, **changed}
    check_consistent(full)
    return slot.handle(_COPIERS[target.object_class](session, target, full))


def _copy_plain(session: Session, target: AnyObject, full: _Attributes) -> AnyObject:
    return make_plain(session, full)


def _copy_public(session: Session, target: AnyObject, full: _Attributes) -> AnyObject:
    key = public_key(session, target)
    return make_public_key(session, full, key, Origin.of(target.attributes))


def _copy_private(session: Session, target: AnyObject, full: _Attributes) -> AnyObject:
    if not isinstance(target, SessionObject):
        raise Pkcs11Error(ck.CKR_ACTION_PROHIBITED, "the key never leaves the card")
    assert isinstance(target.key, PrivateKey)
    return make_private_key(session, full, target.key, Origin.of(target.attributes))


def _copy_secret(session: Session, target: AnyObject, full: _Attributes) -> AnyObject:
    value = value_of(session, target, ck.CKR_ACTION_PROHIBITED)
    key = key_of(target.key_type, value, ck.CKR_DEVICE_ERROR)
    return make_secret_key(session, full, key, Origin.of(target.attributes))


_COPIERS: Final[dict[int, Callable[[Session, AnyObject, _Attributes], AnyObject]]] = {
    ck.CKO_DATA: _copy_plain,
    ck.CKO_CERTIFICATE: _copy_plain,
    ck.CKO_PUBLIC_KEY: _copy_public,
    ck.CKO_PRIVATE_KEY: _copy_private,
    ck.CKO_SECRET_KEY: _copy_secret,
}
