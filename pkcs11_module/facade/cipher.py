"""Encryption and decryption (PKCS#11 2.40 5.8, 5.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkcs11_module.facade.engines import Engine, cipher_engine
from pkcs11_module.facade.operations import KeyOperation, choose_key
from pkcs11_module.facade.registry import begin_function, operation_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.mechanisms.checks import check
from pkcs11_module.mechanisms.ciphers import CipherPlan, cipher
from pkcs11_module.rulebook import Function
from pkcs11_module.types import Buffer, Length, Mechanism

if TYPE_CHECKING:
    from pkcs11_module.facade.slot import AnyObject


class CipherOperation(KeyOperation):
    """Encrypting or decrypting.

    `whole` and `last` are what C_Decrypt and C_DecryptFinal made, and did not fit the caller's
    buffer.
    """

    def __init__(
        self,
        session: Session,
        target: AnyObject,
        plan: CipherPlan,
        *,
        encrypting: bool,
        multipart: bool,
    ) -> None:
        super().__init__(session, target, multipart=multipart)
        self._plan = plan
        self._encrypting = encrypting
        self.engine = self.fresh_engine()
        self.whole: bytes | None = None
        self.last: bytes | None = None

    def fresh_engine(self) -> Engine:
        """An engine that nothing was put in; raises Pkcs11Error."""
        return cipher_engine(
            self.session,
            self.target,
            self._plan,
            encrypting=self._encrypting,
            use=self.use_card,
        )

    def decrypted(self, data: bytes) -> bytes:
        """All of the plaintext at once; raises Pkcs11Error."""
        if self.on_card:
            return self.engine.whole(data)
        with self.use_consent():
            return self.engine.whole(data)


def _begin(
    session: Session, mechanism: Mechanism, handle: int, function: Function
) -> CipherOperation:
    capability = check(mechanism, function)
    plan = cipher(mechanism)
    target = choose_key(session, handle, capability, function)
    return CipherOperation(
        session,
        target,
        plan,
        encrypting=function is Function.ENCRYPT,
        multipart=capability.multipart,
    )


@begin_function("C_EncryptInit")
def encrypt_init(session: Session, mechanism: Mechanism, key: int) -> CipherOperation:
    """C_EncryptInit."""
    return _begin(session, mechanism, key, Function.ENCRYPT)


@operation_function("C_Encrypt")
def encrypt(operation: CipherOperation, data: bytes | None, buffer: Buffer) -> bytes | Length:
    """C_Encrypt: the length asked for is exact."""
    engine, data = operation.engine, data or b""
    return buffer.fill(engine.whole_size(len(data)), lambda: engine.whole(data))


@operation_function("C_EncryptUpdate")
def update(operation: CipherOperation, part: bytes | None, buffer: Buffer) -> bytes | Length:
    """C_EncryptUpdate and C_DecryptUpdate: the length asked for is exact."""
    engine, part = operation.engine, part or b""
    return buffer.fill(engine.update_size(len(part)), lambda: engine.update(part))


@operation_function("C_EncryptFinal")
def encrypt_final(operation: CipherOperation, buffer: Buffer) -> bytes | Length:
    """C_EncryptFinal: the length asked for is exact."""
    engine = operation.engine
    return buffer.fill(engine.finish_size(), engine.finish)


@begin_function("C_DecryptInit")
def decrypt_init(session: Session, mechanism: Mechanism, key: int) -> CipherOperation:
    """C_DecryptInit."""
    return _begin(session, mechanism, key, Function.DECRYPT)


@operation_function("C_Decrypt")
def decrypt(operation: CipherOperation, data: bytes | None, buffer: Buffer) -> bytes | Length:
    """C_Decrypt: the length asked for is an upper bound, a buffer for the data itself does."""
    data, result = data or b"", operation.whole
    if result is None:
        if buffer.capacity is None:
            return Length(operation.engine.whole_size(len(data)))
        result = operation.whole = operation.decrypted(data)
        # The caller of a buffer that was too short may still turn to parts.
        operation.engine = operation.fresh_engine()
    return buffer.fill(len(result), lambda: result)


operation_function("C_DecryptUpdate")(update)


@operation_function("C_DecryptFinal")
def decrypt_final(operation: CipherOperation, buffer: Buffer) -> bytes | Length:
    """C_DecryptFinal: as C_Decrypt."""
    result = operation.last
    if result is None:
        if buffer.capacity is None:
            return Length(operation.engine.finish_size())
        result = operation.last = operation.engine.finish()
    return buffer.fill(len(result), lambda: result)
