"""Message-based signing and verifying (PKCS#11 3.0 5.14, 5.16).

No mechanism here has a parameter of a single message: there it has to be empty.
"""

from __future__ import annotations

from pkcs11_module import _constants as ck
from pkcs11_module.facade.registry import begin_function, operation_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.signing import SignatureOperation, begin_signature
from pkcs11_module.rulebook import Function
from pkcs11_module.types import Buffer, Length, Mechanism, Pkcs11Error


@begin_function("C_MessageSignInit")
def message_sign_init(session: Session, mechanism: Mechanism, key: int) -> SignatureOperation:
    """C_MessageSignInit."""
    return begin_signature(session, mechanism, key, Function.MESSAGE_SIGN)


@operation_function("C_SignMessage")
def sign_message(
    operation: SignatureOperation, parameter: bytes | None, data: bytes | None, buffer: Buffer
) -> bytes | Length:
    """C_SignMessage."""
    _begin(operation, parameter)
    answer = buffer.check(operation.size)
    if answer is not None:
        return answer
    operation.update(data or b"")
    return operation.sign()


@operation_function("C_SignMessageBegin")
def sign_message_begin(operation: SignatureOperation, parameter: bytes | None) -> None:
    """C_SignMessageBegin."""
    _begin(operation, parameter)


@operation_function("C_SignMessageNext")
def sign_message_next(
    operation: SignatureOperation,
    parameter: bytes | None,
    part: bytes | None,
    buffer: Buffer | None,
) -> bytes | Length | None:
    """C_SignMessageNext: the last part is the one with a buffer, or with its length asked for."""
    _check(parameter)
    if buffer is not None:
        answer = buffer.check(operation.size)
        if answer is not None:
            return answer
    operation.update(part or b"")
    return operation.sign() if buffer is not None else None


@operation_function("C_MessageSignFinal")
def message_sign_final(_operation: SignatureOperation) -> None:
    """C_MessageSignFinal."""


@begin_function("C_MessageVerifyInit")
def message_verify_init(session: Session, mechanism: Mechanism, key: int) -> SignatureOperation:
    """C_MessageVerifyInit."""
    return begin_signature(session, mechanism, key, Function.MESSAGE_VERIFY)


@operation_function("C_VerifyMessage")
def verify_message(
    operation: SignatureOperation,
    parameter: bytes | None,
    data: bytes | None,
    signature: bytes | None,
) -> None:
    """C_VerifyMessage."""
    _begin(operation, parameter)
    operation.update(data or b"")
    operation.verify(signature or b"")


operation_function("C_VerifyMessageBegin")(sign_message_begin)


@operation_function("C_VerifyMessageNext")
def verify_message_next(
    operation: SignatureOperation,
    parameter: bytes | None,
    part: bytes | None,
    signature: bytes | None,
) -> None:
    """C_VerifyMessageNext: the last part is the one with the signature."""
    _check(parameter)
    operation.update(part or b"")
    if signature is not None:
        operation.verify(signature)


operation_function("C_MessageVerifyFinal")(message_sign_final)


def _begin(operation: SignatureOperation, parameter: bytes | None) -> None:
    _check(parameter)
    operation.restart()


def _check(parameter: bytes | None) -> None:
    if parameter:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "a message has no parameter")
