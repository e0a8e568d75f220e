"""RSA encryption with public and decryption with private keys (PKCS#11 2.40 5.8, 5.9)."""

from __future__ import annotations

from apdu.model import SW, StatusWordError
from pkcs11_module import _constants as ck
from pkcs11_module.facade.operations import (
    KeyOperation,
    choose_key,
    crypto_refusal,
    ending,
    finished,
    public_key,
    session_key,
)
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.mechanisms import cipher
from pkcs11_module.types import Buffer, Length, Mechanism, Pkcs11Error
from token_fw.crypto import CryptoError, RsaOaep, RsaPkcs1

_ENCRYPT, _DECRYPT = "encrypt", "decrypt"


@session_function("C_EncryptInit")
def encrypt_init(session: Session, mechanism: Mechanism | None, key: int) -> None:
    """C_EncryptInit."""
    session.begin(_ENCRYPT)
    session.operations[_ENCRYPT] = choose_key(
        session,
        key,
        mechanism,
        object_class=ck.CKO_PUBLIC_KEY,
        usage=ck.CKA_ENCRYPT,
        find=cipher,
    )


@session_function("C_Encrypt")
def encrypt(session: Session, data: bytes | None, buffer: Buffer) -> bytes | Length:
    """C_Encrypt."""
    with ending(session, _ENCRYPT) as operation:
        answer = buffer.fill(operation.size, lambda: _encrypted(operation, data or b""))
        return finished(session, _ENCRYPT, answer)


@session_function("C_DecryptInit")
def decrypt_init(session: Session, mechanism: Mechanism | None, key: int) -> None:
    """C_DecryptInit."""
    session.begin(_DECRYPT)
    session.operations[_DECRYPT] = choose_key(
        session,
        key,
        mechanism,
        object_class=ck.CKO_PRIVATE_KEY,
        usage=ck.CKA_DECRYPT,
        find=cipher,
    )


@session_function("C_Decrypt")
def decrypt(session: Session, data: bytes | None, buffer: Buffer) -> bytes | Length:
    """C_Decrypt: the length asked for is an upper bound, a buffer for the data itself does."""
    with ending(session, _DECRYPT) as operation:
        if buffer.capacity is None and operation.result is None:
            return Length(operation.size)
        if operation.result is None:
            operation.result = _decrypted(operation, data or b"")
        result: bytes = operation.result
        return finished(session, _DECRYPT, buffer.fill(len(result), lambda: result))


@session_function("C_EncryptUpdate")
def encrypt_update(session: Session, _part: bytes | None, _buffer: Buffer) -> bytes | Length:
    """C_EncryptUpdate: RSA takes one part only."""
    return _one_part_only(session, _ENCRYPT)


@session_function("C_EncryptFinal")
def encrypt_final(session: Session, _buffer: Buffer) -> bytes | Length:
    """C_EncryptFinal: RSA takes one part only."""
    return _one_part_only(session, _ENCRYPT)


@session_function("C_DecryptUpdate")
def decrypt_update(session: Session, _part: bytes | None, _buffer: Buffer) -> bytes | Length:
    """C_DecryptUpdate: RSA takes one part only."""
    return _one_part_only(session, _DECRYPT)


@session_function("C_DecryptFinal")
def decrypt_final(session: Session, _buffer: Buffer) -> bytes | Length:
    """C_DecryptFinal: RSA takes one part only."""
    return _one_part_only(session, _DECRYPT)


def _one_part_only(session: Session, kind: str) -> bytes | Length:
    with ending(session, kind):
        raise Pkcs11Error(ck.CKR_FUNCTION_NOT_SUPPORTED, "the mechanism takes one part only")


def _encrypted(operation: KeyOperation, data: bytes) -> bytes:
    scheme = operation.operation.scheme
    assert isinstance(scheme, RsaPkcs1 | RsaOaep)
    try:
        return public_key(operation.session, operation.target).encrypt(scheme, data)
    except CryptoError as error:
        raise crypto_refusal(error) from error


def _decrypted(operation: KeyOperation, data: bytes) -> bytes:
    scheme = operation.operation.scheme
    assert isinstance(scheme, RsaPkcs1 | RsaOaep)
    if len(data) != operation.size:
        raise Pkcs11Error(ck.CKR_ENCRYPTED_DATA_LEN_RANGE)
    try:
        return operation.use(
            lambda card, environment: card.decipher(environment, data),
            lambda key: session_key(key).decrypt(scheme, data),
        )
    except StatusWordError as error:
        if error.sw != SW.INCORRECT_DATA:
            raise
        raise Pkcs11Error(ck.CKR_ENCRYPTED_DATA_INVALID) from error
