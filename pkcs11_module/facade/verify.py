"""Verifying signatures and message authentication codes (PKCS#11 2.40 5.12, 3.2 5.15)."""

from __future__ import annotations

from pkcs11_module.facade.registry import begin_function, operation_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.signing import SignatureOperation, begin_signature
from pkcs11_module.rulebook import Function
from pkcs11_module.types import Buffer, Length, Mechanism


@begin_function("C_VerifyInit")
def verify_init(session: Session, mechanism: Mechanism, key: int) -> SignatureOperation:
    """C_VerifyInit."""
    return begin_signature(session, mechanism, key, Function.VERIFY)


@operation_function("C_Verify")
def verify(operation: SignatureOperation, data: bytes | None, signature: bytes | None) -> None:
    """C_Verify."""
    operation.update(data or b"")
    operation.verify(signature or b"")


@operation_function("C_VerifyUpdate")
def verify_update(operation: SignatureOperation, part: bytes | None) -> None:
    """C_VerifyUpdate."""
    operation.update(part or b"")


@operation_function("C_VerifyFinal")
def verify_final(operation: SignatureOperation, signature: bytes | None) -> None:
    """C_VerifyFinal; without any part it is the signature of no data."""
    operation.verify(signature or b"")


@begin_function("C_VerifyRecoverInit")
def verify_recover_init(session: Session, mechanism: Mechanism, key: int) -> SignatureOperation:
    """C_VerifyRecoverInit."""
    return begin_signature(session, mechanism, key, Function.VERIFY_RECOVER)


@operation_function("C_VerifyRecover")
def verify_recover(
    operation: SignatureOperation, signature: bytes | None, buffer: Buffer
) -> bytes | Length:
    """C_VerifyRecover: a wrong signature is told before a short buffer (5.12)."""
    data = operation.recover(signature or b"")
    return buffer.fill(len(data), lambda: data)


@begin_function("C_VerifySignatureInit")
def verify_signature_init(
    session: Session, mechanism: Mechanism, key: int, signature: bytes | None
) -> SignatureOperation:
    """C_VerifySignatureInit: the signature comes before the data."""
    operation = begin_signature(session, mechanism, key, Function.VERIFY)
    operation.given = signature or b""
    return operation


@operation_function("C_VerifySignature")
def verify_signature(operation: SignatureOperation, data: bytes | None) -> None:
    """C_VerifySignature."""
    operation.update(data or b"")
    operation.verify(operation.given)


operation_function("C_VerifySignatureUpdate")(verify_update)


@operation_function("C_VerifySignatureFinal")
def verify_signature_final(operation: SignatureOperation) -> None:
    """C_VerifySignatureFinal."""
    operation.verify(operation.given)
