"""Signing with private keys (PKCS#11 2.40 5.11)."""

from __future__ import annotations

from pkcs11_module import _constants as ck
from pkcs11_module.facade.operations import (
    KeyOperation,
    choose_key,
    ending,
    finished,
    raw_ecdsa,
    session_key,
)
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.mechanisms import signature
from pkcs11_module.types import Buffer, Length, Mechanism, Pkcs11Error
from token_fw.crypto import Ecdsa, EdDsa, RsaPkcs1, RsaPss

_KIND = "sign"


@session_function("C_SignInit")
def sign_init(session: Session, mechanism: Mechanism | None, key: int) -> None:
    """C_SignInit."""
    session.begin(_KIND)
    session.operations[_KIND] = choose_key(
        session,
        key,
        mechanism,
        object_class=ck.CKO_PRIVATE_KEY,
        usage=ck.CKA_SIGN,
        find=signature,
    )


@session_function("C_Sign")
def sign(session: Session, data: bytes | None, buffer: Buffer) -> bytes | Length:
    """C_Sign: not for what C_SignUpdate has begun."""
    with ending(session, _KIND) as operation:
        if operation.updated:
            raise Pkcs11Error(ck.CKR_OPERATION_ACTIVE)
        answer = buffer.fill(operation.size, lambda: _run(operation, operation.take(data or b"")))
        return finished(session, _KIND, answer)


@session_function("C_SignUpdate")
def sign_update(session: Session, part: bytes | None) -> None:
    """C_SignUpdate."""
    with ending(session, _KIND) as operation:
        operation.update(part or b"")


@session_function("C_SignFinal")
def sign_final(session: Session, buffer: Buffer) -> bytes | Length:
    """C_SignFinal."""
    with ending(session, _KIND) as operation:
        operation.need_parts()
        answer = buffer.fill(operation.size, lambda: _run(operation, operation.input()))
        return finished(session, _KIND, answer)


def _run(operation: KeyOperation, data: bytes) -> bytes:
    scheme = operation.operation.scheme
    assert isinstance(scheme, RsaPkcs1 | RsaPss | Ecdsa | EdDsa)
    if isinstance(scheme, Ecdsa) and operation.target.token:
        der = operation.use(lambda card, environment: card.sign(environment, data), lambda _: b"")
        return raw_ecdsa(der, operation.size)
    return operation.use(
        lambda card, environment: card.sign(environment, data),
        lambda key: session_key(key).sign(scheme, data),
    )
