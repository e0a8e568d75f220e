"""Signing, and making message authentication codes (PKCS#11 2.40 5.11)."""

from __future__ import annotations

from pkcs11_module.facade.registry import begin_function, operation_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.signing import SignatureOperation, begin_signature
from pkcs11_module.rulebook import Function
from pkcs11_module.types import Buffer, Length, Mechanism


@begin_function("C_SignInit")
def sign_init(session: Session, mechanism: Mechanism, key: int) -> SignatureOperation:
    """C_SignInit."""
    return begin_signature(session, mechanism, key, Function.SIGN)


@operation_function("C_Sign")
def sign(operation: SignatureOperation, data: bytes | None, buffer: Buffer) -> bytes | Length:
    """C_Sign: the length asked for is exact."""
    answer = buffer.check(operation.size)
    if answer is not None:
        return answer
    operation.update(data or b"")
    return operation.sign()


@operation_function("C_SignUpdate")
def sign_update(operation: SignatureOperation, part: bytes | None) -> None:
    """C_SignUpdate."""
    operation.update(part or b"")


@operation_function("C_SignFinal")
def sign_final(operation: SignatureOperation, buffer: Buffer) -> bytes | Length:
    """C_SignFinal; without any part it is the signature of no data."""
    return buffer.fill(operation.size, operation.sign)


@begin_function("C_SignRecoverInit")
def sign_recover_init(session: Session, mechanism: Mechanism, key: int) -> SignatureOperation:
    """C_SignRecoverInit."""
    return begin_signature(session, mechanism, key, Function.SIGN_RECOVER)


operation_function("C_SignRecover")(sign)
