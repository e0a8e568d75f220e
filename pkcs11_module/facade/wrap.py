"""Wrapping and unwrapping keys (PKCS#11 3.1 5.18.3, 5.18.4; 3.2 5.18.6, 5.18.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from apdu.model import SW, StatusWordError
from pkcs11_module import _constants as ck
from pkcs11_module.attribute_model import Purpose
from pkcs11_module.facade import keys, pkcs8
from pkcs11_module.facade.attributes import (
    FALSE,
    TRUE,
    collect,
    complete,
    kind_of,
    template_matches,
    with_template,
)
from pkcs11_module.facade.base_keys import value_of
from pkcs11_module.facade.creation import Origin, make_private_key, make_secret_key
from pkcs11_module.facade.engines import Engine, cipher_engine
from pkcs11_module.facade.messages import MessageCipher, message_parameter
from pkcs11_module.facade.operations import KeyOperation, choose_key, key_object
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.secret_keys import (
    key_of,
    length_in,
    lengths_of,
    without_length,
)
from pkcs11_module.facade.session_objects import SessionObject
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.slot import AnyObject
from pkcs11_module.mechanisms.checks import check
from pkcs11_module.mechanisms.ciphers import cipher
from pkcs11_module.rulebook import Function
from pkcs11_module.types import (
    Attribute,
    Buffer,
    Length,
    Mechanism,
    MessageOutput,
    Pkcs11Error,
)
from token_fw.crypto import PrivateKey

_Template = tuple[Attribute, ...]
_WRAPPABLE: Final = frozenset({ck.CKO_SECRET_KEY, ck.CKO_PRIVATE_KEY})


@dataclass(frozen=True, slots=True)
class _Form:
    """What a mechanism makes of a key's encoding before it encrypts that.

    `block`: zeros are put after it up to a multiple of that many bytes, 1 where the length stays.
    `whole`: it fills the modulus, zeros before it. `private_keys`: it takes those too.
    """

    block: int = 1
    whole: bool = False
    private_keys: bool = False

    def filled(self, size: int) -> int:
        """How long an encoding of `size` bytes becomes by what is put after it."""
        return size + -size % self.block

    def lengths(self, size: int) -> range:
        """How long an encoding may have been that was `size` bytes when it was encrypted."""
        return range(1 if self.whole else size - self.block + 1, size + 1)


_ZEROED_16: Final = _Form(block=16)
_ZEROED_8: Final = _Form(block=8)
_ANY: Final = _Form(private_keys=True)
_FORMS: Final[dict[int, _Form]] = {
    ck.CKM_RSA_PKCS: _Form(),
    ck.CKM_RSA_PKCS_OAEP: _Form(),
    ck.CKM_RSA_X_509: _Form(whole=True),
    ck.CKM_AES_ECB: _ZEROED_16,
    ck.CKM_AES_CBC: _ZEROED_16,
    ck.CKM_AES_CBC_PAD: _ANY,
    ck.CKM_AES_CTR: _ANY,
    ck.CKM_AES_GCM: _ANY,
    ck.CKM_AES_KEY_WRAP: _Form(block=8, private_keys=True),
    ck.CKM_AES_KEY_WRAP_PAD: _ANY,
    ck.CKM_AES_KEY_WRAP_KWP: _ANY,
    ck.CKM_DES3_ECB: _ZEROED_8,
    ck.CKM_DES3_CBC: _ZEROED_8,
    ck.CKM_DES3_CBC_PAD: _ANY,
    ck.CKM_KUZNYECHIK_ECB: _ZEROED_16,
    ck.CKM_MAGMA_ECB: _ZEROED_8,
    ck.CKM_KUZNYECHIK_KEXP_15_WRAP: _ANY,
    ck.CKM_MAGMA_KEXP_15_WRAP: _ANY,
}
"""Every mechanism of C_WrapKey."""


@session_function("C_WrapKey")
def wrap_key(
    session: Session, mechanism: Mechanism | None, wrapping: int, key: int, buffer: Buffer
) -> bytes | Length:
    """C_WrapKey: the wrapped key, or how long it is."""
    wrapper, target = _pair(session, mechanism, Function.WRAP, wrapping, key)
    assert mechanism is not None
    engine = _engine(session, mechanism, wrapper, encrypting=True)
    form = _FORMS[mechanism.type]
    size = engine.whole_size(form.filled(_encoded_size(target)))
    return buffer.fill(size, lambda: _wrapped(session, engine, form, target))


@session_function("C_WrapKeyAuthenticated")
def wrap_key_authenticated(  # noqa: PLR0917  the standard's arguments
    session: Session,
    mechanism: Mechanism | None,
    wrapping: int,
    key: int,
    aad: bytes | None,
    buffer: Buffer,
) -> tuple[MessageOutput, bytes | Length]:
    """C_WrapKeyAuthenticated: the nonce and the tag, and the wrapped key without them."""
    wrapper, target = _pair(session, mechanism, Function.WRAP_AUTHENTICATED, wrapping, key)
    assert mechanism is not None
    length = buffer.check(_encoded_size(target))
    if length is not None:
        return MessageOutput(), length
    message = MessageCipher(session, wrapper, encrypting=True)
    engine = message.start(message_parameter(mechanism.parameter), aad)
    wrapped = _wrapped(session, engine, _ANY, target)
    end = len(wrapped) - message.tag_size
    return MessageOutput(message.nonce, wrapped[end:]), wrapped[:end]


def _engine(
    session: Session, mechanism: Mechanism, target: AnyObject, *, encrypting: bool
) -> Engine:
    use = KeyOperation(session, target, multipart=False).use_card
    return cipher_engine(session, target, cipher(mechanism), encrypting=encrypting, use=use)


def _pair(
    session: Session, mechanism: Mechanism | None, function: Function, wrapping: int, key: int
) -> tuple[AnyObject, AnyObject]:
    """The wrapping key and the one to be wrapped, if the one may wrap the other."""
    capability, no_key = check(mechanism, function), ck.CKR_WRAPPING_KEY_HANDLE_INVALID
    wrapper = choose_key(session, wrapping, capability, function, no_key)
    target = key_object(session, key)
    if target.object_class not in _WRAPPABLE:
        raise Pkcs11Error(ck.CKR_KEY_NOT_WRAPPABLE, "not a secret or private key")
    attributes, own = target.attributes, wrapper.attributes
    if attributes.get(ck.CKA_EXTRACTABLE) != TRUE:
        raise Pkcs11Error(ck.CKR_KEY_UNEXTRACTABLE)
    if attributes.get(ck.CKA_WRAP_WITH_TRUSTED) == TRUE and own.get(ck.CKA_TRUSTED) != TRUE:
        raise Pkcs11Error(ck.CKR_KEY_NOT_WRAPPABLE, "the wrapping key is not trusted")
    if not template_matches(attributes, own.get(ck.CKA_WRAP_TEMPLATE, b"")):
        raise Pkcs11Error(ck.CKR_KEY_HANDLE_INVALID, "CKA_WRAP_TEMPLATE")
    if target.object_class == ck.CKO_PRIVATE_KEY and not _FORMS[capability.mechanism].private_keys:
        raise Pkcs11Error(ck.CKR_KEY_NOT_WRAPPABLE, "the mechanism wraps secret keys only")
    return wrapper, target


def _encoded_size(target: AnyObject) -> int:
    if target.object_class == ck.CKO_PRIVATE_KEY:
        return len(_private(target).to_pkcs8())
    assert target.spec is not None
    return target.spec.bits // 8


def _private(target: AnyObject) -> PrivateKey:
    # Private keys of the token are never extractable.
    assert isinstance(target, SessionObject)
    assert isinstance(target.key, PrivateKey)
    return target.key


def _wrapped(session: Session, engine: Engine, form: _Form, target: AnyObject) -> bytes:
    if target.object_class == ck.CKO_PRIVATE_KEY:
        encoded = _private(target).to_pkcs8()
    else:
        encoded = value_of(session, target, ck.CKR_KEY_UNEXTRACTABLE)
    try:
        return engine.whole(encoded.ljust(form.filled(len(encoded)), b"\0"))
    except Pkcs11Error as error:
        if error.rv != ck.CKR_DATA_LEN_RANGE:
            raise
        raise Pkcs11Error(ck.CKR_KEY_SIZE_RANGE, "the mechanism wraps no key so long") from error
    except StatusWordError as error:
        if error.sw != SW.WRONG_LENGTH:
            raise
        raise Pkcs11Error(ck.CKR_KEY_SIZE_RANGE, "the mechanism wraps no key so long") from error


@session_function("C_UnwrapKey")
def unwrap_key(
    session: Session,
    mechanism: Mechanism | None,
    unwrapping: int,
    wrapped: bytes | None,
    template: _Template,
) -> int:
    """C_UnwrapKey: the handle of the key that comes out."""
    unwrapper = _unwrapper(session, mechanism, Function.UNWRAP, unwrapping)
    assert mechanism is not None
    wanted = _wanted(unwrapper, template)
    engine = _engine(session, mechanism, unwrapper, encrypting=False)
    made = _unwrapped(session, engine, _FORMS[mechanism.type], wrapped or b"", wanted)
    return session.slot.handle(made)


@session_function("C_UnwrapKeyAuthenticated")
def unwrap_key_authenticated(  # noqa: PLR0917  the standard's arguments
    session: Session,
    mechanism: Mechanism | None,
    unwrapping: int,
    wrapped: bytes | None,
    template: _Template,
    aad: bytes | None,
) -> int:
    """C_UnwrapKeyAuthenticated: the tag is in the mechanism's parameter."""
    unwrapper = _unwrapper(session, mechanism, Function.UNWRAP_AUTHENTICATED, unwrapping)
    assert mechanism is not None
    wanted = _wanted(unwrapper, template)
    parameter = message_parameter(mechanism.parameter)
    engine = MessageCipher(session, unwrapper, encrypting=False).start(parameter, aad)
    data = (wrapped or b"") + (parameter.tag or b"")
    return session.slot.handle(_unwrapped(session, engine, _ANY, data, wanted))


_REFUSALS: Final = {
    ck.CKR_ENCRYPTED_DATA_INVALID: ck.CKR_WRAPPED_KEY_INVALID,
    ck.CKR_AEAD_DECRYPT_FAILED: ck.CKR_WRAPPED_KEY_INVALID,
    ck.CKR_ENCRYPTED_DATA_LEN_RANGE: ck.CKR_WRAPPED_KEY_LEN_RANGE,
    ck.CKR_DATA_LEN_RANGE: ck.CKR_WRAPPED_KEY_LEN_RANGE,
}
"""What errors of decryption mean here."""


def _unwrapper(
    session: Session, mechanism: Mechanism | None, function: Function, handle: int
) -> AnyObject:
    capability, no_key = check(mechanism, function), ck.CKR_UNWRAPPING_KEY_HANDLE_INVALID
    return choose_key(session, handle, capability, function, no_key)


def _wanted(unwrapper: AnyObject, template: _Template) -> dict[int, bytes]:
    """What the new key is to be; raises Pkcs11Error (CKR_TEMPLATE_INCONSISTENT)."""
    asked = unwrapper.attributes.get(ck.CKA_UNWRAP_TEMPLATE, b"")
    return with_template(collect(template), asked)


def _unwrapped(
    session: Session, engine: Engine, form: _Form, wrapped: bytes, given: dict[int, bytes]
) -> AnyObject:
    object_class, key_type = kind_of(given)
    is_private = object_class == ck.CKO_PRIVATE_KEY
    if object_class not in _WRAPPABLE or (is_private and not form.private_keys):
        raise Pkcs11Error(ck.CKR_TEMPLATE_INCONSISTENT, "the mechanism unwraps no such object")
    if not (is_private and given.get(ck.CKA_TOKEN, FALSE) != FALSE):
        # A private key of the token is never extractable, and another is unless it shall not be.
        given.setdefault(ck.CKA_EXTRACTABLE, TRUE)
    length = None if is_private else length_in(given, key_type)
    full = complete(without_length(given, key_type), object_class, key_type, Purpose.UNWRAP)
    try:
        encoded = engine.whole(wrapped)
    except Pkcs11Error as error:
        raise Pkcs11Error(_REFUSALS.get(error.rv, error.rv), error.reason) from error
    if is_private:
        return make_private_key(session, full, _private_key(key_type, encoded), Origin())
    value = _value(form, encoded, key_type, length)
    key = key_of(key_type, value, ck.CKR_WRAPPED_KEY_INVALID)
    return make_secret_key(session, full, key, Origin())


def _private_key(key_type: int, encoded: bytes) -> PrivateKey:
    key = pkcs8.decode(encoded)
    if keys.KEY_TYPES.get(key.spec.kind) != key_type:
        raise Pkcs11Error(ck.CKR_WRAPPED_KEY_INVALID, "a key of another type")
    return key


def _value(form: _Form, encoded: bytes, key_type: int, length: int | None) -> bytes:
    """The key's value without the zeros that filled it (3.2 5.18.4); raises Pkcs11Error."""
    possible = form.lengths(len(encoded))
    if length is None:
        fitting = [each for each in lengths_of(key_type) if each in possible]
        if len(fitting) > 1:
            raise Pkcs11Error(ck.CKR_TEMPLATE_INCOMPLETE, "CKA_VALUE_LEN")
        length = fitting[0] if fitting else None
    if length is None or length not in possible:
        raise Pkcs11Error(ck.CKR_WRAPPED_KEY_LEN_RANGE, "no key of that type has that length")
    return encoded[-length:] if form.whole else encoded[:length]
