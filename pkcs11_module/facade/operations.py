"""What the operations with a key have in common: choosing the key, and using it wherever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from apdu import tlv
from apdu.model import SW, StatusWordError
from apdu.tlv import TlvError
from apdu.transport import TransportError
from pkcs11_module import _constants as ck
from pkcs11_module.cards import der
from pkcs11_module.cards.card import TokenCard, key_reference
from pkcs11_module.cards.entries import PrivateKeyEntry
from pkcs11_module.facade.attributes import KEY_CLASSES, TRUE
from pkcs11_module.facade.keys import KEY_TYPES
from pkcs11_module.facade.session_objects import SessionObject
from pkcs11_module.facade.token_objects import TokenObject
from pkcs11_module.mechanisms import Operation
from pkcs11_module.types import BufferTooSmall, Length, Mechanism, Pkcs11Error
from token_fw.crypto import (
    CryptoError,
    DataLength,
    DecryptionFailed,
    KeyKind,
    KeySpec,
    PrivateKey,
    PublicKey,
    RsaOaep,
    RsaPkcs1,
    RsaPss,
    curve_of,
    digest,
)

if TYPE_CHECKING:
    from pkcs11_module.facade.application import AnyObject
    from pkcs11_module.facade.sessions import Session

_MAX_GATHERED: Final = 1 << 16
_RSA_OVERHEAD: Final = 11


class KeyOperation:
    """An operation in progress: its key, and what was put into it so far.

    `size` is the length of an RSA modulus, of an ECDSA signature or an Ed25519 one, in bytes.
    `needs_consent`: the key asks for a login of its own, which `consent` says has happened.
    """

    def __init__(self, session: Session, target: AnyObject, operation: Operation) -> None:
        spec = target.spec
        if spec is None:
            raise Pkcs11Error(ck.CKR_KEY_HANDLE_INVALID, "the key cannot be read")
        self.session = session
        self.target = target
        self.operation = operation
        self.spec: KeySpec = spec
        self.size = _size(spec)
        self.updated = False
        self.result: bytes | None = None
        attributes = target.attributes
        self.needs_consent = attributes.get(ck.CKA_ALWAYS_AUTHENTICATE) == TRUE and target.token
        self.consent = False
        self._hash = digest.new(operation.hash) if operation.hash is not None else None
        self._gathered = bytearray()

    def update(self, data: bytes) -> None:
        """Put in a part of the data; raises Pkcs11Error."""
        self.updated = True
        if self._hash is not None:
            self._hash.update(data)
            return
        if not self.operation.gathers:
            raise Pkcs11Error(ck.CKR_FUNCTION_NOT_SUPPORTED, "the mechanism takes one part only")
        self._gathered += data
        if len(self._gathered) > _MAX_GATHERED:
            raise Pkcs11Error(ck.CKR_DATA_LEN_RANGE)

    def input(self) -> bytes:
        """What the scheme gets for the data put in; raises Pkcs11Error (CKR_DATA_LEN_RANGE)."""
        if self._hash is not None:
            return self._fitted(self.operation.finish(self._hash.finish()))
        return self._fitted(bytes(self._gathered))

    def take(self, data: bytes) -> bytes:
        """What the scheme gets for data given in one part; raises Pkcs11Error."""
        if self._hash is not None:
            self._hash.update(data)
            return self.input()
        if self.operation.data_size not in (None, len(data)):
            raise Pkcs11Error(ck.CKR_DATA_LEN_RANGE)
        return self._fitted(data)

    def _fitted(self, data: bytes) -> bytes:
        kind = self.spec.kind
        if kind is KeyKind.EC:
            if not data:
                raise Pkcs11Error(ck.CKR_DATA_LEN_RANGE)
            # Only the leftmost bits count, as many as the order has (FIPS 186-5 6.4.1).
            return data[: self.size // 2]
        if kind is KeyKind.ED25519 and len(data) > _MAX_GATHERED:
            raise Pkcs11Error(ck.CKR_DATA_LEN_RANGE)
        is_pkcs1 = isinstance(self.operation.scheme, RsaPkcs1)
        if is_pkcs1 and len(data) > self.size - _RSA_OVERHEAD:
            raise Pkcs11Error(ck.CKR_DATA_LEN_RANGE)
        return data

    def need_parts(self) -> None:
        """Whether C_SignFinal or C_VerifyFinal may follow; raises Pkcs11Error."""
        if self._hash is None and not self.operation.gathers:
            raise Pkcs11Error(ck.CKR_OPERATION_NOT_INITIALIZED, "the mechanism takes one part only")

    def use(
        self, on_card: Callable[[TokenCard, bytes], bytes], in_session: Callable[[Any], bytes]
    ) -> bytes:
        """Run the private operation where the key is; raises Pkcs11Error, TransportError.

        `on_card` gets the card and the MSE data objects, `in_session` the key.
        """
        target = self.target
        if not target.alive:
            raise Pkcs11Error(ck.CKR_KEY_HANDLE_INVALID, "the key is gone")
        if isinstance(target, SessionObject):
            return _crypto(lambda: in_session(target.key))
        if self.needs_consent and not self.consent:
            raise Pkcs11Error(ck.CKR_USER_NOT_LOGGED_IN, "the key asks for a login for each use")
        self.consent = False
        entry = target.entry
        assert isinstance(entry, PrivateKeyEntry)
        environment = self.operation.environment + key_reference(entry.reference or 0)
        try:
            return on_card(self.session.slot.card, environment)
        except StatusWordError as error:
            if error.sw == SW.REFERENCED_DATA_NOT_FOUND:
                self.session.slot.token.forget()
                raise Pkcs11Error(ck.CKR_KEY_HANDLE_INVALID, "the key is gone") from error
            raise


def _size(spec: KeySpec) -> int:
    if spec.kind is KeyKind.RSA:
        return (spec.bits + 7) // 8
    return 2 * curve_of(spec).size if spec.kind is KeyKind.EC else 64


def choose_key(
    session: Session,
    handle: int,
    mechanism: Mechanism | None,
    *,
    object_class: int,
    usage: int,
    find: Callable[[Mechanism], Operation],
) -> KeyOperation:
    """The operation of a mechanism with a key; raises Pkcs11Error.

    `usage` is the attribute that has to be true of the key.
    """
    if mechanism is None:
        raise Pkcs11Error(ck.CKR_ARGUMENTS_BAD)
    operation = find(mechanism)
    target = key_object(session, handle)
    wrong_kind = target.key_type != KEY_TYPES[operation.kind]
    if target.object_class != object_class or wrong_kind:
        raise Pkcs11Error(ck.CKR_KEY_TYPE_INCONSISTENT)
    if target.attributes.get(usage) != TRUE:
        raise Pkcs11Error(ck.CKR_KEY_FUNCTION_NOT_PERMITTED)
    if object_class == ck.CKO_PRIVATE_KEY and target.token:
        session.need_user()
    started = KeyOperation(session, target, operation)
    _check_size(started)
    return started


def key_object(session: Session, handle: int) -> AnyObject:
    """The key of a handle; raises Pkcs11Error (CKR_KEY_HANDLE_INVALID)."""
    slot = session.slot
    try:
        target = slot.object(handle)
        if target.token:
            user = slot.user
            slot.refresh()
            if slot.user != user:
                raise Pkcs11Error(ck.CKR_USER_NOT_LOGGED_IN, "the login was ended elsewhere")
            target = slot.object(handle)
    except Pkcs11Error as error:
        if error.rv != ck.CKR_OBJECT_HANDLE_INVALID:
            raise
        raise Pkcs11Error(ck.CKR_KEY_HANDLE_INVALID) from error
    if target.object_class not in KEY_CLASSES:
        raise Pkcs11Error(ck.CKR_KEY_HANDLE_INVALID)
    return target


def _check_size(started: KeyOperation) -> None:
    """The padding has to fit into the modulus (RFC 8017 7.1.1, 9.1.1); raises Pkcs11Error."""
    scheme = started.operation.scheme
    if isinstance(scheme, RsaPss):
        room = (started.spec.bits + 6) // 8 - 2 - scheme.hash.size - scheme.salt_length
    elif isinstance(scheme, RsaOaep):
        room = started.size - 2 - 2 * scheme.hash.size
    else:
        return
    if room < 0:
        raise Pkcs11Error(ck.CKR_KEY_SIZE_RANGE, "hash and salt do not fit into the modulus")


def public_key(session: Session, target: AnyObject) -> PublicKey:
    """The public key of an object; raises Pkcs11Error (CKR_KEY_HANDLE_INVALID)."""
    if isinstance(target, TokenObject):
        slot = session.slot
        try:
            return target.public_key(slot.card, slot.token.counter)
        except (CryptoError, ValueError) as error:
            raise Pkcs11Error(ck.CKR_KEY_HANDLE_INVALID, "the key cannot be read") from error
    assert isinstance(target.key, PublicKey)
    return target.key


def session_key(key: object) -> PrivateKey:
    """The private key of a session object."""
    assert isinstance(key, PrivateKey)
    return key


@contextmanager
def ending(session: Session, kind: str) -> Iterator[Any]:
    """The active operation of that kind, which ends unless its result was not fetched yet.

    A size query (see `keep`) and a short buffer keep it; any other error ends it (5.2).
    """
    operation = session.operation(kind)
    try:
        yield operation
    except BufferTooSmall:
        raise
    except (Pkcs11Error, StatusWordError, TransportError):
        session.end(kind)
        raise


def finished(session: Session, kind: str, answer: bytes | Length) -> bytes | Length:
    """The answer; the operation is over unless it was only asked for the length."""
    if not isinstance(answer, Length):
        session.end(kind)
    return answer


def crypto_refusal(error: CryptoError) -> Pkcs11Error:
    """What an error of an algorithm means as a return value."""
    if isinstance(error, DataLength):
        return Pkcs11Error(ck.CKR_DATA_LEN_RANGE)
    if isinstance(error, DecryptionFailed):
        return Pkcs11Error(ck.CKR_ENCRYPTED_DATA_INVALID)
    return Pkcs11Error(ck.CKR_FUNCTION_FAILED)


def _crypto(run: Callable[[], bytes]) -> bytes:
    try:
        return run()
    except CryptoError as error:
        raise crypto_refusal(error) from error


def raw_ecdsa(signature: bytes, size: int) -> bytes:
    """The `size` bytes r || s of a DER ECDSA-Sig-Value; raises TransportError."""
    half = size // 2
    try:
        outer, _ = tlv.parse_one(signature)
        r, s = tlv.parse(outer.value)
        if r.tag == s.tag == der.INTEGER:
            return b"".join(
                number.value.lstrip(b"\0").rjust(half, b"\0")[-half:] for number in (r, s)
            )
    except (TlvError, ValueError):
        pass
    raise TransportError("the card's ECDSA signature is malformed")
