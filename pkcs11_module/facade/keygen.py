"""Generating key pairs: on the card, or for the session in the middleware (PKCS#11 2.40 5.14)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pkcs11_module import _constants as ck
from pkcs11_module.cards.card import GENERATED_SIZES
from pkcs11_module.cards.entries import AnyEntry
from pkcs11_module.facade import keys
from pkcs11_module.facade.application import AnyObject
from pkcs11_module.facade.attributes import (
    TRUE,
    Purpose,
    boolean,
    check_derived,
    collect,
    complete,
    number,
    ulong,
)
from pkcs11_module.facade.objects import check_place, own_attributes
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.session_objects import SessionObject
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.token_objects import card_policy, card_usage, new_entry
from pkcs11_module.types import Attribute, Mechanism, Pkcs11Error
from token_fw.crypto import KeySpec, PublicKey, generate

_KEY_TYPES: Final = {mechanism: key_type for key_type, mechanism in keys.GENERATION.items()}
_Template = tuple[Attribute, ...]
_Attributes = dict[int, bytes]


@session_function("C_GenerateKeyPair")
def generate_key_pair(
    session: Session, mechanism: Mechanism | None, public: _Template, private: _Template
) -> tuple[int, int]:
    """C_GenerateKeyPair: handles of the public and of the private key."""
    if mechanism is None:
        raise Pkcs11Error(ck.CKR_ARGUMENTS_BAD)
    key_type = _KEY_TYPES.get(mechanism.type)
    if key_type is None:
        raise Pkcs11Error(ck.CKR_MECHANISM_INVALID)
    if mechanism.parameter not in (None, b""):
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID)
    given_public = keys.normalised(_given(public), key_type)
    given_private = keys.normalised(_given(private), key_type)
    full_public = complete(given_public, ck.CKO_PUBLIC_KEY, key_type, Purpose.GENERATE)
    full_private = complete(given_private, ck.CKO_PRIVATE_KEY, key_type, Purpose.GENERATE)
    check_place(session, full_public)
    check_place(session, full_private)
    spec = _spec(full_public, key_type)
    if full_private[ck.CKA_TOKEN] == TRUE:
        made = _on_card(session, spec, full_public, full_private)
    else:
        made = _in_session(session, spec, full_public, full_private)
    return session.slot.handle(made[0]), session.slot.handle(made[1])


def _given(template: _Template) -> _Attributes:
    given = collect(template)
    for name in (ck.CKA_MODULUS, ck.CKA_EC_POINT, ck.CKA_PUBLIC_KEY_INFO, *_SECRET):
        if name in given:
            raise Pkcs11Error(ck.CKR_TEMPLATE_INCONSISTENT, ck.CKA_NAMES[name])
    return given


_SECRET: Final = (
    ck.CKA_VALUE,
    ck.CKA_PRIVATE_EXPONENT,
    ck.CKA_PRIME_1,
    ck.CKA_PRIME_2,
    ck.CKA_EXPONENT_1,
    ck.CKA_EXPONENT_2,
    ck.CKA_COEFFICIENT,
)


def _spec(full: Mapping[int, bytes], key_type: int) -> KeySpec:
    """The kind of key that a public template describes; raises Pkcs11Error."""
    if key_type != ck.CKK_RSA:
        return keys.curve_spec(full[ck.CKA_EC_PARAMS], key_type)
    if full.get(ck.CKA_PUBLIC_EXPONENT, keys.PUBLIC_EXPONENT) != keys.PUBLIC_EXPONENT:
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "the public exponent is not 65537")
    bits = number(full[ck.CKA_MODULUS_BITS])
    if bits not in GENERATED_SIZES:
        raise Pkcs11Error(ck.CKR_KEY_SIZE_RANGE)
    return KeySpec.rsa(bits)


def _on_card(
    session: Session, spec: KeySpec, public: _Attributes, private: _Attributes
) -> tuple[AnyObject, AnyObject]:
    """Generate on the card, then list the public and at last the private key.

    Until the private key is listed, the public one counts as not there.
    """
    slot = session.slot
    card, token = slot.card, slot.token
    with token.new_key(card) as reference:
        key = card.generate(reference, spec, card_usage(private, spec), card_policy(private))
        check_derived(private, {**private, **own_attributes(private, key)})
        private_entry: AnyEntry = new_entry(private, spec=spec, reference=reference, local=True)
        if public[ck.CKA_TOKEN] != TRUE:
            made = token.add(card, (private_entry, None))[0]
            return _session_public(session, public, key), made
        public_entry = new_entry(public, spec=spec, reference=reference, local=True)
        made_public, made_private = token.add(
            card, (public_entry, key.to_spki()), (private_entry, None)
        )
        return made_public, made_private


def _in_session(
    session: Session, spec: KeySpec, public: _Attributes, private: _Attributes
) -> tuple[AnyObject, AnyObject]:
    key = generate(spec)
    sensitive, extractable = private[ck.CKA_SENSITIVE], private[ck.CKA_EXTRACTABLE]
    attributes = (
        private
        | own_attributes(private, key.public())
        | keys.secret_attributes(key)
        | _generated(spec)
        | {
            ck.CKA_ALWAYS_SENSITIVE: sensitive,
            ck.CKA_NEVER_EXTRACTABLE: boolean(extractable != TRUE),
        }
    )
    made_private = SessionObject(session, attributes, key)
    if public[ck.CKA_TOKEN] != TRUE:
        return _session_public(session, public, key.public()), made_private
    slot = session.slot
    entry = new_entry(public, spec=spec, local=True)
    return slot.token.add(slot.card, (entry, key.public().to_spki()))[0], made_private


def _session_public(session: Session, public: _Attributes, key: PublicKey) -> SessionObject:
    attributes = public | own_attributes(public, key) | _generated(key.spec)
    return SessionObject(session, attributes, key)


def _generated(spec: KeySpec) -> _Attributes:
    mechanism = keys.GENERATION[keys.KEY_TYPES[spec.kind]]
    return {ck.CKA_LOCAL: TRUE, ck.CKA_KEY_GEN_MECHANISM: ulong(mechanism)}
