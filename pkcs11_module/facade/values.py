"""Reading an attribute of any object, wherever its value is."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, Literal

from apdu.model import SW, StatusWordError
from pkcs11_module import _constants as ck
from pkcs11_module.cards.entries import SecretKeyEntry
from pkcs11_module.facade.attributes import ALL_SECRETS, rules
from pkcs11_module.facade.slot import AnyObject, Slot
from pkcs11_module.facade.token_objects import TokenObject
from pkcs11_module.types import Pkcs11Error


class _Hidden(Enum):
    SENSITIVE = "sensitive"


SENSITIVE: Final = _Hidden.SENSITIVE
"""The object has the attribute, and does not tell it."""
Sensitive = Literal[_Hidden.SENSITIVE]


def read(slot: Slot, target: AnyObject, name: int) -> bytes | Sensitive | None:
    """An attribute's value; None where the object does not have it.

    Raises Pkcs11Error (CKR_OBJECT_HANDLE_INVALID) where the value is gone, StatusWordError,
    TransportError.
    """
    value = target.attributes.get(name)
    if name in ALL_SECRETS and name in target.secrets:
        return SENSITIVE
    if value is None and isinstance(target, TokenObject) and has(target, name):
        if isinstance(target.entry, SecretKeyEntry):
            if name != ck.CKA_VALUE:
                return None
            if slot.user != ck.CKU_USER:
                # The card tells the value of a public secret key to its user alone.
                return SENSITIVE
        return loaded(slot, target).get(name)
    return value


def all_of(slot: Slot, target: AnyObject) -> dict[int, bytes]:
    """Every attribute that an object tells, by type; raises as `read`."""
    found = {name: read(slot, target, name) for name in rules(target.object_class, target.key_type)}
    return {name: value for name, value in found.items() if isinstance(value, bytes)}


def has(target: AnyObject, name: int) -> bool:
    """Whether objects of that kind have the attribute."""
    return name in rules(target.object_class, target.key_type)


def loaded(slot: Slot, target: TokenObject) -> Mapping[int, bytes]:
    """The attributes in the value of a token object; raises as `read`."""
    try:
        return target.loaded(slot.card, slot.token.counter)
    except StatusWordError as error:
        if error.sw not in (SW.FILE_NOT_FOUND, SW.REFERENCED_DATA_NOT_FOUND):
            raise
        slot.token.forget()
        raise Pkcs11Error(ck.CKR_OBJECT_HANDLE_INVALID, "the value is gone") from error
