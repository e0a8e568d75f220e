"""Digests, computed in the middleware (PKCS#11 2.40 5.10)."""

from __future__ import annotations

from pkcs11_module import _constants as ck
from pkcs11_module.facade.base_keys import value_of
from pkcs11_module.facade.operations import ActiveOperation, key_object
from pkcs11_module.facade.registry import begin_function, operation_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.mechanisms.checks import check
from pkcs11_module.mechanisms.parameters import digest_of
from pkcs11_module.rulebook import Function
from pkcs11_module.types import Buffer, Length, Mechanism, Pkcs11Error
from token_fw.crypto import RunningDigest
from token_fw.crypto import digest as digests


class DigestOperation(ActiveOperation):
    """A digest in progress."""

    def __init__(self, session: Session, running: RunningDigest) -> None:
        self.session = session
        self.running = running

    @property
    def size(self) -> int:
        """The length of the digest in bytes."""
        return self.running.hash.size


@begin_function("C_DigestInit")
def digest_init(session: Session, mechanism: Mechanism) -> DigestOperation:
    """C_DigestInit."""
    check(mechanism, Function.DIGEST)
    return DigestOperation(session, digests.new(digest_of(mechanism)))


@operation_function("C_Digest")
def digest(operation: DigestOperation, data: bytes | None, buffer: Buffer) -> bytes | Length:
    """C_Digest."""
    hash_ = operation.running.hash
    return buffer.fill(operation.size, lambda: digests.compute(hash_, data or b""))


@operation_function("C_DigestUpdate")
def digest_update(operation: DigestOperation, part: bytes | None) -> None:
    """C_DigestUpdate."""
    operation.running.update(part or b"")


@operation_function("C_DigestKey")
def digest_key(operation: DigestOperation, handle: int) -> None:
    """C_DigestKey: secret keys, but those that never leave the card."""
    target = key_object(operation.session, handle)
    if target.object_class != ck.CKO_SECRET_KEY:
        raise Pkcs11Error(ck.CKR_KEY_INDIGESTIBLE)
    operation.running.update(value_of(operation.session, target, ck.CKR_KEY_INDIGESTIBLE))


@operation_function("C_DigestFinal")
def digest_final(operation: DigestOperation, buffer: Buffer) -> bytes | Length:
    """C_DigestFinal; without any part it is the digest of no data."""
    return buffer.fill(operation.size, operation.running.finish)
