"""What the operations of a session have in common: their state, choosing a key, and using it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from apdu.model import SW, StatusWordError
from pkcs11_module import _constants as ck
from pkcs11_module.cards.card import TokenCard
from pkcs11_module.cards.card_keys import MAX_REFERENCE, key_reference
from pkcs11_module.cards.entries import KeyEntry, PublicKeyEntry
from pkcs11_module.facade.attributes import KEY_CLASSES, TRUE
from pkcs11_module.facade.token_objects import TokenObject
from pkcs11_module.mechanisms.checks import check_key
from pkcs11_module.rulebook import Capability, Function, State
from pkcs11_module.types import Pkcs11Error
from token_fw.crypto import (
    CryptoError,
    DataLength,
    DecryptionFailed,
    KeySpec,
    PrivateKey,
    PublicKey,
    SecretKey,
)

if TYPE_CHECKING:
    from pkcs11_module.facade.sessions import Session
    from pkcs11_module.facade.slot import AnyObject, Connection

CardRun = Callable[[TokenCard, bytes], bytes]
"""What is done on a card, given the MSE data object of the key."""
OnCard = Callable[[CardRun], bytes]

_key_reference: Final = lru_cache(maxsize=MAX_REFERENCE + 1)(key_reference)
_AT_ONCE: Final = frozenset(
    {
        Function.DERIVE,
        Function.UNWRAP,
        Function.UNWRAP_AUTHENTICATED,
        Function.DECAPSULATE,
    }
)
"""What a private key does in one call."""
_SECRET_CLASSES: Final = frozenset({ck.CKO_PRIVATE_KEY, ck.CKO_SECRET_KEY})


class ActiveOperation:
    """An operation of a session; `state` is what spec/pkcs11/rules.toml goes by.

    `private`: it uses a private object. `needs_consent`: its key asks for a login of its own for
    each use; `consent` is where that has happened, a connection for one use.
    """

    state = State.READY
    private = False
    needs_consent = False
    consent: Connection | None = None


class KeyOperation(ActiveOperation):
    """An operation with a key. Raises Pkcs11Error (CKR_KEY_HANDLE_INVALID) for an unreadable one.

    `on_card`: the key is on the token and works there; public keys work in the middleware.
    """

    def __init__(self, session: Session, target: AnyObject, *, multipart: bool) -> None:
        spec = target.spec
        if spec is None:
            raise Pkcs11Error(ck.CKR_KEY_HANDLE_INVALID, "the key cannot be read")
        self.session = session
        self.target = target
        self.spec: KeySpec = spec
        self.private = target.private
        self.on_card = isinstance(target, TokenObject) and not isinstance(
            target.entry, PublicKeyEntry
        )
        self.state = State.READY if multipart else State.SINGLE
        self.needs_consent = asks_every_time(target)

    def use_card(self, run: CardRun) -> bytes:
        """Use the key on its card; raises Pkcs11Error, StatusWordError, TransportError."""
        if not self.target.alive:
            raise Pkcs11Error(ck.CKR_KEY_HANDLE_INVALID, "the key is gone")
        if not self.needs_consent:
            return on_card(self.session, self.target, run)
        with self.use_consent() as card:
            return on_card(self.session, self.target, run, card)

    @contextmanager
    def use_consent(self) -> Iterator[TokenCard | None]:
        """Use the user's consent to one use up; gives the card that knows of it.

        Raises Pkcs11Error (CKR_USER_NOT_LOGGED_IN) where the key asks for one and there is none.
        """
        if not self.needs_consent:
            yield None
            return
        consent, self.consent = self.consent, None
        if consent is None:
            raise no_consent()
        try:
            with consent.use():
                yield consent.card
        finally:
            consent.close()

    def session_key(self) -> Any:
        """The key of a session object, for one use; raises Pkcs11Error where it is gone."""
        if not self.target.alive:
            raise Pkcs11Error(ck.CKR_KEY_HANDLE_INVALID, "the key is gone")
        with self.use_consent():
            return session_key(self.target)


def asks_every_time(target: AnyObject) -> bool:
    """Whether the key asks for a login for each use."""
    return target.attributes.get(ck.CKA_ALWAYS_AUTHENTICATE) == TRUE


def no_consent() -> Pkcs11Error:
    """The key asks for a login for each use, and there was none."""
    return Pkcs11Error(ck.CKR_USER_NOT_LOGGED_IN, "the key asks for a login for each use")


def on_card(
    session: Session, target: AnyObject, run: CardRun, card: TokenCard | None = None
) -> bytes:
    """Use a key of the token, on the slot's connection unless another one is named.

    Raises Pkcs11Error (CKR_KEY_HANDLE_INVALID), StatusWordError, TransportError.
    """
    assert isinstance(target, TokenObject)
    entry = target.entry
    assert isinstance(entry, KeyEntry)
    assert entry.reference is not None
    try:
        return run(card or session.slot.card, _key_reference(entry.reference))
    except StatusWordError as error:
        if error.sw == SW.REFERENCED_DATA_NOT_FOUND:
            session.slot.token.forget()
            raise Pkcs11Error(ck.CKR_KEY_HANDLE_INVALID, "the key is gone") from error
        raise


def choose_key(
    session: Session,
    handle: int,
    capability: Capability,
    function: Function,
    error: int = ck.CKR_KEY_HANDLE_INVALID,
) -> AnyObject:
    """The key of a handle, which the mechanism may be used with for that; raises Pkcs11Error.

    `error` is the return value for the handle of no key.
    """
    target = key_object(session, handle, error)
    check_key(capability.mechanism, function, target)
    if function in _AT_ONCE and asks_every_time(target):
        # There is no operation between whose beginning and end the user could log in.
        raise no_consent()
    # The card works with its private and secret keys for the user alone.
    logged_in = not target.token or session.slot.user == ck.CKU_USER
    if not logged_in and target.object_class in _SECRET_CLASSES:
        raise Pkcs11Error(ck.CKR_USER_NOT_LOGGED_IN)
    return target


def key_object(session: Session, handle: int, error: int = ck.CKR_KEY_HANDLE_INVALID) -> AnyObject:
    """The key of a handle; raises Pkcs11Error, with `error` where it is the handle of none."""
    slot = session.slot
    try:
        target = slot.object(handle)
        if target.token:
            user = slot.user
            slot.refresh()
            if slot.user != user:
                raise Pkcs11Error(ck.CKR_USER_NOT_LOGGED_IN, "the login was ended elsewhere")
            target = slot.object(handle)
    except Pkcs11Error as refused:
        if refused.rv != ck.CKR_OBJECT_HANDLE_INVALID:
            raise
        raise Pkcs11Error(error) from refused
    if target.object_class not in KEY_CLASSES:
        raise Pkcs11Error(error)
    return target


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


def session_key(target: AnyObject) -> PrivateKey | SecretKey:
    """The private or secret key of a session object."""
    assert not isinstance(target, TokenObject)
    key = target.key
    assert isinstance(key, PrivateKey | SecretKey)
    return key


def crypto_refusal(error: CryptoError) -> Pkcs11Error:
    """What an error of an algorithm means as a return value."""
    if isinstance(error, DataLength):
        return Pkcs11Error(ck.CKR_DATA_LEN_RANGE)
    if isinstance(error, DecryptionFailed):
        return Pkcs11Error(ck.CKR_ENCRYPTED_DATA_INVALID)
    return Pkcs11Error(ck.CKR_FUNCTION_FAILED)
