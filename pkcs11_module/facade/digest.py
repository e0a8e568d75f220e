"""Digests, computed in the middleware (PKCS#11 2.40 5.10)."""

from __future__ import annotations

from pkcs11_module import _constants as ck
from pkcs11_module.facade.operations import ending, finished
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.mechanisms import digest_of
from pkcs11_module.types import Buffer, Length, Mechanism, Pkcs11Error
from token_fw.crypto import Hash, RunningDigest
from token_fw.crypto import digest as digests

_KIND = "digest"


class DigestOperation:
    """A digest in progress."""

    def __init__(self, hash_: Hash) -> None:
        self.state: RunningDigest = digests.new(hash_)
        self.updated = False


@session_function("C_DigestInit")
def digest_init(session: Session, mechanism: Mechanism | None) -> None:
    """C_DigestInit."""
    session.begin(_KIND)
    if mechanism is None:
        raise Pkcs11Error(ck.CKR_ARGUMENTS_BAD)
    session.operations[_KIND] = DigestOperation(digest_of(mechanism))


@session_function("C_Digest")
def digest(session: Session, data: bytes | None, buffer: Buffer) -> bytes | Length:
    """C_Digest: not for what C_DigestUpdate has begun."""
    with ending(session, _KIND) as operation:
        if operation.updated:
            raise Pkcs11Error(ck.CKR_OPERATION_ACTIVE)
        hash_: Hash = operation.state.hash
        answer = buffer.fill(hash_.size, lambda: digests.compute(hash_, data or b""))
        return finished(session, _KIND, answer)


@session_function("C_DigestUpdate")
def digest_update(session: Session, part: bytes | None) -> None:
    """C_DigestUpdate."""
    operation: DigestOperation = session.operation(_KIND)
    operation.updated = True
    operation.state.update(part or b"")


@session_function("C_DigestFinal")
def digest_final(session: Session, buffer: Buffer) -> bytes | Length:
    """C_DigestFinal; without any part it is the digest of no data."""
    with ending(session, _KIND) as operation:
        state: RunningDigest = operation.state
        return finished(session, _KIND, buffer.fill(state.hash.size, state.finish))
