"""Message-based encryption with AES-GCM (PKCS#11 3.0 5.9, 5.11; "Current Mechanisms" 3.0 2.13)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from pkcs11_module import _constants as ck
from pkcs11_module.facade.engines import Engine, cipher_engine
from pkcs11_module.facade.operations import KeyOperation, choose_key
from pkcs11_module.facade.registry import begin_function, operation_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.mechanisms.checks import check
from pkcs11_module.mechanisms.ciphers import CipherPlan, gcm
from pkcs11_module.rulebook import Function
from pkcs11_module.types import (
    Buffer,
    GcmMessageParams,
    Length,
    Mechanism,
    MessageOutput,
    Pkcs11Error,
)

if TYPE_CHECKING:
    from pkcs11_module.facade.slot import AnyObject

_Parameter = GcmMessageParams | bytes | None
_COUNTERS: Final = frozenset({ck.CKG_GENERATE_COUNTER, ck.CKG_GENERATE_COUNTER_XOR})
_RANDOM: Final = frozenset({ck.CKG_GENERATE, ck.CKG_GENERATE_RANDOM})
_LEAST_RANDOM_BITS: Final = 64
"""Fewer random bits than these would soon make a nonce a second time."""


class MessageCipher(KeyOperation):
    """A process of messages with one key, and the message that is in progress."""

    def __init__(self, session: Session, target: AnyObject, *, encrypting: bool) -> None:
        super().__init__(session, target, multipart=True)
        self.encrypting = encrypting
        self.engine: Engine | None = None
        self.tag_size = 0
        self.nonce: bytes | None = None

    def start(self, parameter: _Parameter, aad: bytes | None) -> Engine:
        """Begin a message; `nonce` is then the one that was made for it, None for the caller's.

        Raises Pkcs11Error (CKR_MECHANISM_PARAM_INVALID, CKR_DATA_LEN_RANGE where the counter of
        the nonces is used up).
        """
        wanted = message_parameter(parameter)
        nonce = self._nonce(wanted) if self.encrypting else wanted.iv or b""
        scheme = gcm(nonce, aad or b"", wanted.tag_bits)
        self.nonce = None if nonce == wanted.iv else nonce
        self.tag_size = scheme.tag_size
        self.engine = cipher_engine(
            self.session,
            self.target,
            CipherPlan(scheme),
            encrypting=self.encrypting,
            use=self.use_card,
        )
        return self.engine

    def _nonce(self, wanted: GcmMessageParams) -> bytes:
        given, generator = wanted.iv or b"", wanted.iv_generator
        if generator == ck.CKG_NO_GENERATE:
            return given
        free = 8 * len(given) - wanted.iv_fixed_bits
        least = 1 if generator in _COUNTERS else _LEAST_RANDOM_BITS
        if generator not in _COUNTERS | _RANDOM or not least <= free <= 8 * len(given):
            raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the nonce cannot be made so")
        number = int.from_bytes(given, "big")
        fixed = number >> free << free
        if generator in _RANDOM:
            made = fixed | secrets.randbits(free)
        elif generator == ck.CKG_GENERATE_COUNTER:
            made = fixed | self._count(free, fixed)
        else:
            made = number ^ self._count(free, number)
        return made.to_bytes(len(given), "big")

    def _count(self, free: int, base: int) -> int:
        """The next number, from zero, for nonces of that base with the key in this session."""
        counters = self.session.nonce_counters
        place = self.target, free, base
        count = counters.get(place, 0)
        if count >> free:
            raise Pkcs11Error(ck.CKR_DATA_LEN_RANGE, "no nonce is left that was not used")
        counters[place] = count + 1
        return count


def message_parameter(parameter: object) -> GcmMessageParams:
    """The parameter of a message; raises Pkcs11Error (CKR_MECHANISM_PARAM_INVALID)."""
    if not isinstance(parameter, GcmMessageParams):
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "GCM needs its parameters")
    return parameter


@begin_function("C_MessageEncryptInit")
def message_encrypt_init(session: Session, mechanism: Mechanism, key: int) -> MessageCipher:
    """C_MessageEncryptInit."""
    capability = check(mechanism, Function.MESSAGE_ENCRYPT)
    target = choose_key(session, key, capability, Function.MESSAGE_ENCRYPT)
    return MessageCipher(session, target, encrypting=True)


@operation_function("C_EncryptMessage")
def encrypt_message(
    operation: MessageCipher,
    parameter: _Parameter,
    aad: bytes | None,
    plaintext: bytes | None,
    buffer: Buffer,
) -> tuple[MessageOutput, bytes | Length]:
    """C_EncryptMessage: what makes a nonce comes after what could refuse the call."""
    plaintext = plaintext or b""
    answer = buffer.check(len(plaintext))
    if answer is not None:
        return MessageOutput(), answer
    sealed = operation.start(parameter, aad).whole(plaintext)
    tag = sealed[-operation.tag_size :]
    return MessageOutput(operation.nonce, tag), sealed[: -operation.tag_size]


@operation_function("C_EncryptMessageBegin")
def encrypt_message_begin(
    operation: MessageCipher, parameter: _Parameter, aad: bytes | None
) -> MessageOutput:
    """C_EncryptMessageBegin."""
    operation.start(parameter, aad)
    return MessageOutput(operation.nonce)


@operation_function("C_EncryptMessageNext")
def encrypt_message_next(
    operation: MessageCipher,
    _parameter: _Parameter,
    part: bytes | None,
    buffer: Buffer,
    flags: int,
) -> tuple[MessageOutput, bytes | Length]:
    """C_EncryptMessageNext: the tag comes with the last part."""
    engine, part = operation.engine, part or b""
    assert engine is not None
    if not flags & ck.CKF_END_OF_MESSAGE:
        size = engine.update_size(len(part))
        return MessageOutput(), buffer.fill(size, lambda: engine.update(part))
    answer = buffer.check(engine.gathered + len(part))
    if answer is not None:
        return MessageOutput(), answer
    sealed = engine.whole(part)
    return MessageOutput(tag=sealed[-operation.tag_size :]), sealed[: -operation.tag_size]


@operation_function("C_MessageEncryptFinal")
def message_encrypt_final(_operation: MessageCipher) -> None:
    """C_MessageEncryptFinal."""


@begin_function("C_MessageDecryptInit")
def message_decrypt_init(session: Session, mechanism: Mechanism, key: int) -> MessageCipher:
    """C_MessageDecryptInit."""
    capability = check(mechanism, Function.MESSAGE_DECRYPT)
    target = choose_key(session, key, capability, Function.MESSAGE_DECRYPT)
    return MessageCipher(session, target, encrypting=False)


@operation_function("C_DecryptMessage")
def decrypt_message(
    operation: MessageCipher,
    parameter: _Parameter,
    aad: bytes | None,
    ciphertext: bytes | None,
    buffer: Buffer,
) -> bytes | Length:
    """C_DecryptMessage."""
    ciphertext = ciphertext or b""
    answer = buffer.check(len(ciphertext))
    if answer is not None:
        return answer
    engine = operation.start(parameter, aad)
    return _opened(engine, ciphertext + _tag(operation, parameter))


@operation_function("C_DecryptMessageBegin")
def decrypt_message_begin(
    operation: MessageCipher, parameter: _Parameter, aad: bytes | None
) -> None:
    """C_DecryptMessageBegin."""
    operation.start(parameter, aad)


@operation_function("C_DecryptMessageNext")
def decrypt_message_next(
    operation: MessageCipher,
    parameter: _Parameter,
    part: bytes | None,
    buffer: Buffer,
    flags: int,
) -> bytes | Length:
    """C_DecryptMessageNext: the plaintext comes with the last part, when its tag was checked."""
    engine, part = operation.engine, part or b""
    assert engine is not None
    if not flags & ck.CKF_END_OF_MESSAGE:
        return buffer.fill(0, lambda: engine.update(part))
    answer = buffer.check(engine.gathered + len(part))
    if answer is not None:
        return answer
    return _opened(engine, part + _tag(operation, parameter))


@operation_function("C_MessageDecryptFinal")
def message_decrypt_final(_operation: MessageCipher) -> None:
    """C_MessageDecryptFinal."""


def _tag(operation: MessageCipher, parameter: _Parameter) -> bytes:
    tag = message_parameter(parameter).tag or b""
    if len(tag) != operation.tag_size:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "the tag is not as long as it says")
    return tag


def _opened(engine: Engine, sealed: bytes) -> bytes:
    try:
        return engine.whole(sealed)
    except Pkcs11Error as error:
        if error.rv != ck.CKR_ENCRYPTED_DATA_INVALID:
            raise
        raise Pkcs11Error(ck.CKR_AEAD_DECRYPT_FAILED) from error
