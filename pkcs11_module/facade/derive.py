"""C_DeriveKey: a secret key, or data, from the keys there are (PKCS#11 3.1 5.18.5)."""

from __future__ import annotations

from collections.abc import Callable

from pkcs11_module import _constants as ck
from pkcs11_module.attribute_model import Purpose
from pkcs11_module.facade.attributes import FALSE, TRUE, collect, complete, with_template
from pkcs11_module.facade.base_keys import Base
from pkcs11_module.facade.creation import Origin, make_plain, make_secret_key
from pkcs11_module.facade.derivations import DERIVATIONS, Derivation
from pkcs11_module.facade.operations import choose_key, key_object
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.secret_keys import (
    KINDS,
    derived_key,
    length_in,
    spec_of,
    type_in,
    without_length,
)
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.slot import AnyObject
from pkcs11_module.mechanisms.checks import check
from pkcs11_module.rulebook import Function
from pkcs11_module.types import Attribute, Mechanism, Pkcs11Error
from token_fw.crypto import KeyKind

_Attributes = dict[int, bytes]


@session_function("C_DeriveKey")
def derive_key(
    session: Session, mechanism: Mechanism | None, base: int, template: tuple[Attribute, ...]
) -> int:
    """C_DeriveKey: the handle of the new object."""
    capability = check(mechanism, Function.DERIVE)
    assert mechanism is not None
    target = choose_key(session, base, capability, Function.DERIVE)
    derivation = DERIVATIONS[mechanism.type]
    targets = (target, *_others(session, derivation, mechanism.parameter))
    given = with_template(collect(template), target.attributes.get(ck.CKA_DERIVE_TEMPLATE, b""))
    if derivation.passes_on:
        given = _passed_on(given, targets)
    make = _data if mechanism.type == ck.CKM_HKDF_DATA else _secret

    def compute(length: int | None) -> bytes:
        bases = tuple(Base(session, each) for each in targets)
        return _cut(derivation, derivation.compute(bases, mechanism.parameter, length), length)

    return session.slot.handle(make(session, given, targets, compute))


def _others(session: Session, derivation: Derivation, parameter: object) -> list[AnyObject]:
    """The keys that the parameter names; raises Pkcs11Error."""
    others = [key_object(session, handle) for handle in derivation.others(parameter)]
    if any(other.object_class != ck.CKO_SECRET_KEY for other in others):
        raise Pkcs11Error(ck.CKR_KEY_TYPE_INCONSISTENT)
    return others


def _passed_on(given: _Attributes, targets: tuple[AnyObject, ...]) -> _Attributes:
    """A template with what the keys it is made of force upon the new one; raises Pkcs11Error."""
    forced: _Attributes = {}
    if any(target.attributes.get(ck.CKA_SENSITIVE) == TRUE for target in targets):
        forced[ck.CKA_SENSITIVE] = TRUE
    if any(target.attributes.get(ck.CKA_EXTRACTABLE) != TRUE for target in targets):
        forced[ck.CKA_EXTRACTABLE] = FALSE
    for name, value in forced.items():
        if given.get(name, value) != value:
            raise Pkcs11Error(ck.CKR_TEMPLATE_INCONSISTENT, ck.CKA_NAMES[name])
    return {**given, **forced}


def _cut(derivation: Derivation, material: bytes, length: int | None) -> bytes:
    """As many bytes as the template asks for; raises Pkcs11Error where there are fewer."""
    if length is None:
        return material
    if len(material) < length:
        raise Pkcs11Error(derivation.too_short, "the mechanism does not give as many bytes")
    return material[len(material) - length :] if derivation.from_end else material[:length]


def _secret(
    session: Session,
    given: _Attributes,
    targets: tuple[AnyObject, ...],
    compute: Callable[[int | None], bytes],
) -> AnyObject:
    key_type = type_in(given)
    length = length_in(given, key_type)
    if length is not None:
        spec_of(key_type, length, ck.CKR_TEMPLATE_INCONSISTENT)
    elif KINDS.get(key_type) is KeyKind.AES:
        raise Pkcs11Error(ck.CKR_TEMPLATE_INCOMPLETE, "CKA_VALUE_LEN")
    full = complete(without_length(given, key_type), ck.CKO_SECRET_KEY, key_type, Purpose.DERIVE)
    key = derived_key(key_type, compute(length))
    origin = Origin(
        always_sensitive=_all(targets, ck.CKA_ALWAYS_SENSITIVE),
        never_extractable=_all(targets, ck.CKA_NEVER_EXTRACTABLE),
    )
    return make_secret_key(session, full, key, origin)


def _all(targets: tuple[AnyObject, ...], name: int) -> bool:
    return all(target.attributes.get(name) == TRUE for target in targets)


def _data(
    session: Session,
    given: _Attributes,
    _targets: tuple[AnyObject, ...],
    compute: Callable[[int | None], bytes],
) -> AnyObject:
    """A data object; CKA_VALUE_LEN, which is no attribute of its own, tells how long."""
    length = length_in(given, ck.CKK_GENERIC_SECRET)
    if ck.CKA_VALUE in given or length == 0:
        raise Pkcs11Error(ck.CKR_TEMPLATE_INCONSISTENT, "the value is the mechanism's")
    wanted = {name: value for name, value in given.items() if name != ck.CKA_VALUE_LEN}
    full = complete(wanted, ck.CKO_DATA, 0, Purpose.DERIVE)
    return make_plain(session, {**full, ck.CKA_VALUE: compute(length)})
