"""C_EncapsulateKey and C_DecapsulateKey: secrets by ML-KEM (PKCS#11 3.2 5.18.8, 5.18.9)."""

from __future__ import annotations

from typing import Final

from pkcs11_module import _constants as ck
from pkcs11_module.attribute_model import Purpose
from pkcs11_module.facade.attributes import TRUE, collect, complete, with_template
from pkcs11_module.facade.creation import Origin, make_secret_key
from pkcs11_module.facade.operations import choose_key, on_card, public_key
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.secret_keys import (
    derived_key,
    length_in,
    spec_of,
    type_in,
    without_length,
)
from pkcs11_module.facade.session_objects import SessionObject
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.slot import AnyObject
from pkcs11_module.mechanisms.checks import check
from pkcs11_module.mechanisms.parameters import algorithm
from pkcs11_module.rulebook import Function
from pkcs11_module.types import Attribute, Buffer, Length, Mechanism, Pkcs11Error
from token_fw.crypto import KeySpec, PrivateKey

_SIZES: Final = {KeySpec.ml_kem(768): 1088, KeySpec.ml_kem(1024): 1568}
"""Lengths of the ciphertext in bytes (FIPS 203 8)."""
_SECRET_SIZE: Final = 32
_ML_KEM: Final = algorithm(0x32)


@session_function("C_EncapsulateKey")
def encapsulate_key(
    session: Session,
    mechanism: Mechanism | None,
    public: int,
    template: tuple[Attribute, ...],
    buffer: Buffer,
) -> tuple[bytes | Length, int]:
    """C_EncapsulateKey: the ciphertext and the new key's handle; a mere length makes no key."""
    capability = check(mechanism, Function.ENCAPSULATE)
    target = choose_key(session, public, capability, Function.ENCAPSULATE)
    full = _complete(target, ck.CKA_ENCAPSULATE_TEMPLATE, template)
    size = buffer.check(_ciphertext_size(target))
    if size is not None:
        return size, 0
    ciphertext, secret = public_key(session, target).encapsulate()
    return ciphertext, _made(session, full, secret)


@session_function("C_DecapsulateKey")
def decapsulate_key(
    session: Session,
    mechanism: Mechanism | None,
    private: int,
    template: tuple[Attribute, ...],
    ciphertext: bytes | None,
) -> int:
    """C_DecapsulateKey: the new key's handle.

    A ciphertext that was not made for the key gives a key that nobody else has (FIPS 203 6.3).
    """
    capability = check(mechanism, Function.DECAPSULATE)
    target = choose_key(session, private, capability, Function.DECAPSULATE)
    full = _complete(target, ck.CKA_DECAPSULATE_TEMPLATE, template)
    data = ciphertext or b""
    if len(data) != _ciphertext_size(target):
        raise Pkcs11Error(ck.CKR_WRAPPED_KEY_LEN_RANGE)
    return _made(session, full, _decapsulated(session, target, data))


def _ciphertext_size(target: AnyObject) -> int:
    assert target.spec is not None
    return _SIZES[target.spec]


def _decapsulated(session: Session, target: AnyObject, ciphertext: bytes) -> bytes:
    if isinstance(target, SessionObject):
        assert isinstance(target.key, PrivateKey)
        return target.key.decapsulate(ciphertext)
    return on_card(session, target, lambda card, key: card.decipher(_ML_KEM + key, ciphertext))


def _complete(target: AnyObject, name: int, template: tuple[Attribute, ...]) -> dict[int, bytes]:
    """The new key's attributes; raises Pkcs11Error for a key of more than 32 bytes."""
    given = with_template(collect(template), target.attributes.get(name, b""))
    given.setdefault(ck.CKA_EXTRACTABLE, TRUE)
    key_type = type_in(given)
    length = length_in(given, key_type)
    if length is not None and length > _SECRET_SIZE:
        raise Pkcs11Error(ck.CKR_TEMPLATE_INCONSISTENT, "the secret has 32 bytes")
    full = complete(without_length(given, key_type), ck.CKO_SECRET_KEY, key_type, Purpose.DERIVE)
    spec_of(key_type, _SECRET_SIZE if length is None else length, ck.CKR_TEMPLATE_INCONSISTENT)
    return full


def _made(session: Session, full: dict[int, bytes], secret: bytes) -> int:
    """The new key: of the secret, as many of its first bytes as the template asks for."""
    key_type = type_in(full)
    key = derived_key(key_type, secret[: length_in(full, key_type)])
    return session.slot.handle(make_secret_key(session, full, key, Origin()))
