"""Searching for objects (PKCS#11 2.40 5.7)."""

from __future__ import annotations

from pkcs11_module import _constants as ck
from pkcs11_module.facade.application import AnyObject, Slot
from pkcs11_module.facade.attributes import collect
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.values import read
from pkcs11_module.types import Attribute, Pkcs11Error

_KIND = "find"


@session_function("C_FindObjectsInit")
def find_objects_init(session: Session, template: tuple[Attribute, ...]) -> None:
    """C_FindObjectsInit: what is found is settled here."""
    session.begin(_KIND)
    slot = session.slot
    slot.refresh()
    wanted = collect_search(template)
    found = [] if wanted is None else search(slot, wanted)
    session.operations[_KIND] = [slot.handle(target) for target in found]


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
    candidates: list[AnyObject] = [*found, *slot.session_objects()]
    if not user:
        candidates = [target for target in candidates if not target.private]
    return [target for target in candidates if _matches(slot, target, wanted)]


def _matches(slot: Slot, target: AnyObject, wanted: dict[int, bytes]) -> bool:
    known = target.attributes
    if not target.secrets.isdisjoint(wanted):
        return False
    # Whatever needs no value is compared first: reading values takes commands.
    unknown = [name for name in wanted if name not in known]
    if any(known[name] != value for name, value in wanted.items() if name in known):
        return False
    return all(read(slot, target, name) == wanted[name] for name in unknown)


@session_function("C_FindObjects")
def find_objects(session: Session, maximum: int) -> list[int]:
    """C_FindObjects: the next handles, none at the end."""
    handles: list[int] = session.operation(_KIND)
    given, session.operations[_KIND] = handles[:maximum], handles[maximum:]
    return given


@session_function("C_FindObjectsFinal")
def find_objects_final(session: Session) -> None:
    """C_FindObjectsFinal."""
    session.operation(_KIND)
    session.end(_KIND)
