"""Searching for objects (PKCS#11 2.40 5.7)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import islice

from pkcs11_module import _constants as ck
from pkcs11_module.facade.attributes import ALL_SECRETS, collect
from pkcs11_module.facade.operations import ActiveOperation
from pkcs11_module.facade.registry import begin_function, operation_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.slot import AnyObject, Slot
from pkcs11_module.facade.values import read
from pkcs11_module.types import Attribute, Pkcs11Error


class Search(ActiveOperation):
    """What a search has found and not told yet."""

    def __init__(self, handles: Iterable[int]) -> None:
        self.handles = iter(handles)


@begin_function("C_FindObjectsInit")
def find_objects_init(session: Session, template: tuple[Attribute, ...]) -> Search:
    """C_FindObjectsInit: what is found is settled here."""
    slot = session.slot
    slot.refresh()
    wanted = collect_search(template)
    found = [] if wanted is None else search(slot, wanted)
    return Search([slot.handle(target) for target in found])


def collect_search(template: tuple[Attribute, ...]) -> dict[int, bytes] | None:
    """A search by type; None where it asks two values of one attribute, which nothing has."""
    try:
        return collect(template)
    except Pkcs11Error:
        return None


def search(slot: Slot, wanted: dict[int, bytes]) -> list[AnyObject]:
    """The objects that this application may see and that have all these attributes."""
    user = slot.user == ck.CKU_USER
    found = slot.token.candidates(wanted, lambda target, name: read(slot, target, name), user)
    candidates: list[AnyObject] = [*found, *slot.session_objects(wanted)]
    if not user:
        candidates = [target for target in candidates if not target.private]
    secret = not ALL_SECRETS.isdisjoint(wanted)
    return [target for target in candidates if _matches(slot, target, wanted, secret)]


def _matches(slot: Slot, target: AnyObject, wanted: dict[int, bytes], secret: bool) -> bool:
    """Whether an object has all of these; `secret`: some of them may be secrets of a key."""
    known = target.attributes
    if secret and not target.secrets.isdisjoint(wanted):
        return False
    # Whatever needs no value is compared first: reading values takes commands.
    unknown = []
    for name, value in wanted.items():
        own = known.get(name)
        if own is None:
            unknown.append(name)
        elif own != value:
            return False
    return all(read(slot, target, name) == wanted[name] for name in unknown)


@operation_function("C_FindObjects")
def find_objects(operation: Search, maximum: int) -> list[int]:
    """C_FindObjects: the next handles, none at the end."""
    return list(islice(operation.handles, min(maximum, sys.maxsize)))


@operation_function("C_FindObjectsFinal")
def find_objects_final(operation: Search) -> None:
    """C_FindObjectsFinal: the registry ends the search."""
