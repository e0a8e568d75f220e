"""Verifying signatures: in the middleware, with public keys only (PKCS#11 2.40 5.12)."""

from __future__ import annotations

from pkcs11_module import _constants as ck
from pkcs11_module.facade.operations import (
    KeyOperation,
    choose_key,
    crypto_refusal,
    ending,
    public_key,
)
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.mechanisms import signature as find_operation
from pkcs11_module.types import Mechanism, Pkcs11Error
from token_fw.crypto import CryptoError, Ecdsa, EdDsa, InvalidSignature, RsaPkcs1, RsaPss

_KIND = "verify"


@session_function("C_VerifyInit")
def verify_init(session: Session, mechanism: Mechanism | None, key: int) -> None:
    """C_VerifyInit."""
    session.begin(_KIND)
    session.operations[_KIND] = choose_key(
        session,
        key,
        mechanism,
        object_class=ck.CKO_PUBLIC_KEY,
        usage=ck.CKA_VERIFY,
        find=find_operation,
    )


@session_function("C_Verify")
def verify(session: Session, data: bytes | None, signature: bytes | None) -> None:
    """C_Verify: not for what C_VerifyUpdate has begun. Any answer ends the operation."""
    with ending(session, _KIND) as operation:
        if operation.updated:
            raise Pkcs11Error(ck.CKR_OPERATION_ACTIVE)
        _check(operation, operation.take(data or b""), signature or b"")
        session.end(_KIND)


@session_function("C_VerifyUpdate")
def verify_update(session: Session, part: bytes | None) -> None:
    """C_VerifyUpdate."""
    with ending(session, _KIND) as operation:
        operation.update(part or b"")


@session_function("C_VerifyFinal")
def verify_final(session: Session, signature: bytes | None) -> None:
    """C_VerifyFinal."""
    with ending(session, _KIND) as operation:
        operation.need_parts()
        _check(operation, operation.input(), signature or b"")
        session.end(_KIND)


def _check(operation: KeyOperation, data: bytes, signature: bytes) -> None:
    scheme = operation.operation.scheme
    assert isinstance(scheme, RsaPkcs1 | RsaPss | Ecdsa | EdDsa)
    if len(signature) != operation.size:
        raise Pkcs11Error(ck.CKR_SIGNATURE_LEN_RANGE)
    try:
        public_key(operation.session, operation.target).verify(scheme, data, signature)
    except InvalidSignature as error:
        raise Pkcs11Error(ck.CKR_SIGNATURE_INVALID) from error
    except CryptoError as error:
        raise crypto_refusal(error) from error
