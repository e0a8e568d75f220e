"""Generating keys and key pairs, on the card or for the session (PKCS#11 3.1 5.18.1, 5.18.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pkcs11_module import _constants as ck
from pkcs11_module.attribute_model import Purpose
from pkcs11_module.cards.card_keys import KEPT
from pkcs11_module.facade import gost_keys, keys
from pkcs11_module.facade.attributes import TRUE, check_derived, collect, complete, number
from pkcs11_module.facade.card_rules import card_policy, card_usage
from pkcs11_module.facade.creation import (
    Origin,
    check_place,
    make_private_key,
    make_public_key,
    make_secret_key,
    stamped,
)
from pkcs11_module.facade.entry_attributes import new_entry
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.secret_keys import (
    derived_key,
    length_in,
    spec_of,
    type_in,
    without_length,
)
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.slot import AnyObject
from pkcs11_module.mechanisms.checks import check
from pkcs11_module.mechanisms.parameters import by_hash
from pkcs11_module.rulebook import Function
from pkcs11_module.types import Attribute, Mechanism, Pkcs5Pbkd2Params2, Pkcs11Error
from token_fw.crypto import Hash, KeyKind, KeySpec, PublicKey, generate, generate_secret, rsa
from token_fw.crypto.kdf import pbkdf2

_Template = tuple[Attribute, ...]
_Attributes = dict[int, bytes]

_HMAC_LENGTHS: Final = {
    key_type: hash_.size for key_type, hash_ in by_hash("CKK_{}_HMAC", "SHA_1").items()
}
"""How long the keys of an HMAC are, in bytes, where the template does not say."""
_PRFS: Final[dict[int, Hash]] = {
    ck.CKP_PKCS5_PBKD2_HMAC_SHA1: Hash.SHA1,
    ck.CKP_PKCS5_PBKD2_HMAC_SHA224: Hash.SHA224,
    ck.CKP_PKCS5_PBKD2_HMAC_SHA256: Hash.SHA256,
    ck.CKP_PKCS5_PBKD2_HMAC_SHA384: Hash.SHA384,
    ck.CKP_PKCS5_PBKD2_HMAC_SHA512: Hash.SHA512,
}
_MAX_ITERATIONS: Final = 10_000_000
"""Some seconds of work."""


@session_function("C_GenerateKey")
def generate_key(session: Session, mechanism: Mechanism | None, template: _Template) -> int:
    """C_GenerateKey: the handle of the secret key."""
    capability = check(mechanism, Function.GENERATE)
    assert mechanism is not None
    given = collect(template)
    key_type = _type_made(given, capability.key_types)
    length = length_in(given, key_type)
    full = complete(without_length(given, key_type), ck.CKO_SECRET_KEY, key_type, Purpose.GENERATE)
    spec = spec_of(
        key_type,
        _HMAC_LENGTHS.get(key_type, 0) if length is None else length,
        ck.CKR_ATTRIBUTE_VALUE_INVALID,
    )
    origin = Origin.generated(mechanism.type)
    if isinstance(mechanism.parameter, Pkcs5Pbkd2Params2):
        value = _from_password(session, mechanism.parameter, spec.bits // 8)
        made = make_secret_key(session, full, derived_key(key_type, value), origin)
    elif full[ck.CKA_TOKEN] == TRUE:
        made = _secret_on_card(session, spec, full, origin)
    else:
        made = make_secret_key(session, full, generate_secret(spec), origin)
    return session.slot.handle(made)


def _type_made(given: Mapping[int, bytes], possible: frozenset[int]) -> int:
    """The type of key that a mechanism makes; a template may name no other."""
    if ck.CKA_KEY_TYPE not in given and len(possible) == 1:
        return min(possible)
    named = type_in(given)
    if named not in possible:
        raise Pkcs11Error(ck.CKR_TEMPLATE_INCONSISTENT, "CKA_KEY_TYPE")
    return named


def _from_password(session: Session, parameter: Pkcs5Pbkd2Params2, length: int) -> bytes:
    """PBKDF2 (3.1 6.37.4); raises Pkcs11Error (CKR_MECHANISM_PARAM_INVALID)."""
    prf = _PRFS.get(parameter.prf)
    if prf is None or parameter.prf_data or parameter.salt_source != ck.CKZ_SALT_SPECIFIED:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the function or salt is not supported")
    if not 1 <= parameter.iterations <= _MAX_ITERATIONS:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the number of iterations")
    password, salt = parameter.password or b"", parameter.salt or b""
    with session.slot.released(session):
        return pbkdf2(prf, password, salt, parameter.iterations, length)


def _secret_on_card(
    session: Session, spec: KeySpec, full: _Attributes, origin: Origin
) -> AnyObject:
    """Generate on the card, then list the key."""
    check_place(session, full)
    slot = session.slot
    card, usage = slot.card, card_usage(full, spec)
    with slot.token.new_key(card) as reference:
        check_value = card.generate_secret(reference, spec, usage, card_policy(full))
        made = stamped(full, origin)
        wanted = made.pop(ck.CKA_CHECK_VALUE, None)
        if wanted == b"" or check_value:
            made[ck.CKA_CHECK_VALUE] = b"" if wanted == b"" else check_value
        check_derived(full, made)
        return slot.token.add(card, (new_entry(made, spec=spec, reference=reference), None))[0]


@session_function("C_GenerateKeyPair")
def generate_key_pair(
    session: Session, mechanism: Mechanism | None, public: _Template, private: _Template
) -> tuple[int, int]:
    """C_GenerateKeyPair: handles of the public and of the private key."""
    (key_type,) = check(mechanism, Function.GENERATE_KEY_PAIR).key_types
    assert mechanism is not None
    given_public = keys.normalised(collect(public), key_type)
    given_private = keys.normalised(collect(private), key_type)
    full_public = complete(given_public, ck.CKO_PUBLIC_KEY, key_type, Purpose.GENERATE)
    full_private = complete(given_private, ck.CKO_PRIVATE_KEY, key_type, Purpose.GENERATE)
    spec = _spec(full_public, key_type)
    origin = Origin.generated(mechanism.type)
    make = _pair_on_card if full_private[ck.CKA_TOKEN] == TRUE else _pair_in_session
    made_public, made_private = make(session, spec, full_public, full_private, origin)
    return session.slot.handle(made_public), session.slot.handle(made_private)


def _spec(full: Mapping[int, bytes], key_type: int) -> KeySpec:
    """The kind of key that a public template describes; raises Pkcs11Error."""
    if key_type in keys.PARAMETER_SETS:
        return keys.set_spec(full[ck.CKA_PARAMETER_SET], key_type)
    if key_type in gost_keys.KINDS:
        return gost_keys.spec_of(full[ck.CKA_GOSTR3410_PARAMS], key_type)
    if key_type in keys.CURVE_TYPES:
        return keys.curve_spec(full[ck.CKA_EC_PARAMS], key_type)
    if full.get(ck.CKA_PUBLIC_EXPONENT, keys.PUBLIC_EXPONENT) != keys.PUBLIC_EXPONENT:
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "the public exponent is not 65537")
    bits = number(full[ck.CKA_MODULUS_BITS])
    if bits not in rsa.GENERATED_SIZES:
        raise Pkcs11Error(ck.CKR_KEY_SIZE_RANGE)
    return KeySpec.rsa(bits)


def _pair_on_card(
    session: Session, spec: KeySpec, public: _Attributes, private: _Attributes, origin: Origin
) -> tuple[AnyObject, AnyObject]:
    """Generate on the card, meanwhile free for others, then list the public and the private key.

    Until the private key is listed, the public one counts as not there.
    """
    check_place(session, public)
    check_place(session, private)
    if spec not in KEPT:
        is_rsa = spec.kind is KeyKind.RSA
        error = ck.CKR_KEY_SIZE_RANGE if is_rsa else ck.CKR_CURVE_NOT_SUPPORTED
        raise Pkcs11Error(error, "the token makes no keys of that kind")
    slot = session.slot
    card, token = slot.card, slot.token
    with token.new_key(card) as reference:
        key = slot.meanwhile(
            session,
            lambda card: card.generate(
                reference, spec, card_usage(private, spec), card_policy(private)
            ),
        )
        card = slot.card
        told_private = _told(private, key, origin)
        private_entry = new_entry(told_private, spec=spec, reference=reference)
        if public[ck.CKA_TOKEN] != TRUE:
            made_public: AnyObject = make_public_key(session, public, key, origin)
            return made_public, token.add(card, (private_entry, None))[0]
        public_entry = new_entry(_told(public, key, origin), spec=spec, reference=reference)
        made_public, made_private = token.add(
            card, (public_entry, keys.write_public_key(key)), (private_entry, None)
        )
        return made_public, made_private


def _told(full: _Attributes, key: PublicKey, origin: Origin) -> _Attributes:
    """All attributes of one half of a pair; raises Pkcs11Error where the template is not true."""
    told = {**stamped(full, origin), **keys.own_attributes(full, key)}
    check_derived(full, told)
    return told


def _pair_in_session(
    session: Session, spec: KeySpec, public: _Attributes, private: _Attributes, origin: Origin
) -> tuple[AnyObject, AnyObject]:
    with session.slot.released(session):
        key = generate(spec)
    made_private = make_private_key(session, private, key, origin)
    return make_public_key(session, public, key.public(), origin), made_private
