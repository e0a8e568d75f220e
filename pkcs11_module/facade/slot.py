"""What an application keeps of one slot: its connection to the card, its login and its handles."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from apdu.model import SW, StatusWordError
from apdu.transport import CardRemoved, Shared, Transport, TransportError
from pkcs11_module import _constants as ck
from pkcs11_module.cards import open_card
from pkcs11_module.cards.card import TokenCard
from pkcs11_module.facade.index import ENTRY_ATTRIBUTES, VALUE_ATTRIBUTES, Index
from pkcs11_module.facade.login_rules import PIN_REFERENCES
from pkcs11_module.facade.readers import Reader
from pkcs11_module.facade.session_objects import SessionObject
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.token import Token
from pkcs11_module.facade.token_objects import TokenObject
from pkcs11_module.rulebook import State
from pkcs11_module.types import Pkcs11Error
from token_fw.crypto import RunningDigest

if TYPE_CHECKING:
    from pkcs11_module.facade.application import Application

AnyObject = TokenObject | SessionObject
R = TypeVar("R")


def refusal(error: StatusWordError | TransportError) -> Pkcs11Error:
    """What a card's refusal or silence means where the function does not say more."""
    if isinstance(error, CardRemoved):
        return Pkcs11Error(ck.CKR_DEVICE_REMOVED)
    if isinstance(error, TransportError):
        return Pkcs11Error(ck.CKR_DEVICE_ERROR, str(error))
    return Pkcs11Error(ck.SW_TO_CKR.get(error.sw, ck.CKR_DEVICE_ERROR), str(error))


@dataclass(frozen=True, slots=True, eq=False)
class Connection:
    """A card and the transport that it is reached by."""

    card: TokenCard
    transport: Transport

    @classmethod
    def to(
        cls, reader: Reader, around: Callable[[Transport], Transport] = lambda bare: bare
    ) -> Connection:
        """Connect to the token in a reader, with something around the transport.

        Raises Pkcs11Error: CKR_TOKEN_NOT_PRESENT, CKR_TOKEN_NOT_RECOGNIZED.
        """
        try:
            transport = around(reader.connect())
        except TransportError:
            raise Pkcs11Error(ck.CKR_TOKEN_NOT_PRESENT) from None
        try:
            with transport.transaction() if isinstance(transport, Shared) else nullcontext():
                return cls(open_card(transport, reader.application), transport)
        except (TransportError, StatusWordError) as error:
            _close(transport)
            if isinstance(error, TransportError):
                raise Pkcs11Error(ck.CKR_TOKEN_NOT_PRESENT) from None
            raise Pkcs11Error(ck.CKR_TOKEN_NOT_RECOGNIZED, str(error)) from error

    def branch(self) -> Connection | None:
        """Another one with the same login; None where the transport cannot give one."""
        branch = getattr(self.transport, "branch", None)
        if branch is None:
            return None
        transport = branch()
        return Connection(type(self.card)(transport, selected=True), transport)

    def verify(self, reference: int, pin: bytes) -> None:
        """Have the card check a PIN; raises StatusWordError, TransportError."""
        self.card.verify(reference, pin)

    def verify_on_token(self, reference: int) -> None:
        """Wait for the user at the token itself; raises as that of the card."""
        self.card.verify_on_token(reference)

    def use(self) -> AbstractContextManager[None]:
        """What is verified on it is consent to what is done here, one use of a key."""
        return nullcontext()

    def close(self) -> None:
        """End it, and what is verified on it."""
        _close(self.transport)


def _close(transport: Transport) -> None:
    close = getattr(transport, "close", None)
    if callable(close):
        close()


class Mutex(Protocol):
    """A lock that its thread may take several times."""

    def acquire(self) -> bool:
        """Wait for the lock."""
        ...

    def release(self) -> None:
        """Leave it as often as it was acquired."""
        ...

    def __enter__(self) -> bool: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...


class Slot:
    """One reader as one application sees it: a connection, a login and handles of its own.

    `user` is who is logged in: CKU_USER, CKU_SO or None. Everything but `lock` is used with the
    lock held.
    """

    def __init__(self, application: Application, reader: Reader) -> None:
        self.application: Final = application
        self.reader: Final = reader
        self.lock: Final = self._make_lock()
        self.user: int | None = None
        self.sessions: dict[int, Session] = {}
        self.seed = b""
        self.saved_states: dict[bytes, tuple[RunningDigest, State]] = {}
        self._generation: int | None = None
        self._token: Token | None = None
        self._card: TokenCard | None = None
        self._connection: Connection | None = None
        self._aside: dict[Connection, Session] = {}
        self._objects: dict[int, AnyObject] = {}
        self._handles: dict[AnyObject, int] = {}
        self._of_session: dict[Session, dict[SessionObject, None]] = {}
        self._index: Index[SessionObject] = Index((*ENTRY_ATTRIBUTES, *VALUE_ATTRIBUTES))

    def _make_lock(self) -> Mutex:
        return threading.RLock()

    @property
    def token(self) -> Token:
        """The inserted token; raises as `card`."""
        self._attach()
        assert self._token is not None
        return self._token

    @property
    def generation(self) -> int:
        """The insertion that the connection belongs to."""
        assert self._generation is not None
        return self._generation

    @property
    def card(self) -> TokenCard:
        """The connection to the inserted token, made where there is none.

        Raises Pkcs11Error: CKR_TOKEN_NOT_PRESENT, CKR_TOKEN_NOT_RECOGNIZED.
        """
        self._attach()
        assert self._card is not None
        return self._card

    def _attach(self) -> None:
        self.notice_removal()
        if self._card is None:
            self._connect()

    def _connect(self) -> None:
        generation = self.reader.generation
        self.adopt(self._reach())
        self._generation = generation
        self._token = self.application.module.token(self.reader, generation)

    def _reach(self) -> Connection:
        return Connection.to(self.reader)

    def notice_removal(self) -> None:
        """End what belonged to a token that is not inserted any more."""
        inserted = self.reader.present and self.reader.generation == self._generation
        if self._generation is not None and not inserted:
            self.drop()
        if not self.reader.present:
            raise Pkcs11Error(ck.CKR_TOKEN_NOT_PRESENT)

    def drop(self) -> None:
        """The token is gone: so are sessions, login, handles and the connection."""
        for session in self.sessions.values():
            session.closed = session.removed = True
        self._count(-len(self.sessions))
        self.sessions = {}
        self.saved_states.clear()
        self.user = None
        for connection in self._aside:
            connection.close()
        self._generation = None
        self._objects.clear()
        self._handles.clear()
        self._of_session.clear()
        self._index.clear()
        self.disconnect()

    def begin(self, session: Session) -> None:
        """A session was opened."""
        self.sessions[session.handle] = session
        self._count(1)

    def end(self, session: Session) -> None:
        """A session was closed: its objects end, and with the last session the login."""
        session.closed = True
        session.operations.clear()
        for connection, owner in self._aside.items():
            if owner is session:
                connection.close()
        if self.sessions.pop(session.handle, None) is not None:
            self._count(-1)
        for target in self._of_session.pop(session, ()):
            target.alive = False
            self.forget(target)
        if not self.sessions:
            self.log_out()

    def _count(self, sessions: int) -> None:
        if self._token is not None:
            with self._token.lock:
                self._token.sessions += sessions

    def log_out(self) -> None:
        """End the login of this application, on the card as well."""
        user = self.user
        self.logged_out()
        if user is not None and self._card is not None:
            self._card.log_out(PIN_REFERENCES[user])

    def disconnect(self) -> None:
        """Close the connection; the next use makes another."""
        connection = self._connection
        self._connection = self._card = None
        if connection is not None:
            connection.close()

    def adopt(self, connection: Connection) -> None:
        """Use that connection, with what is verified on it, in the place of the one there was."""
        self.disconnect()
        self._connection, self._card = connection, connection.card

    def another(self) -> Connection:
        """A connection beside the slot's, whose login it cannot hurt; raises as `card`."""
        return Connection.to(self.reader)

    def current_user(self) -> int | None:
        """Who is logged in, asked of the card where others may have changed that there."""
        return self.user

    @contextmanager
    def released(self, session: Session, connection: Connection | None = None) -> Iterator[None]:
        """Leave the slot to other threads, while this one is busy or waits.

        It may use a connection of its own, which the end of the session closes. Raises Pkcs11Error
        at the end, whatever came of it: CKR_CRYPTOKI_NOT_INITIALIZED, CKR_DEVICE_REMOVED,
        CKR_SESSION_CLOSED.
        """
        if connection is not None:
            self._aside[connection] = session
        self.lock.release()
        try:
            yield
        finally:
            self.lock.acquire()
            if connection is not None:
                del self._aside[connection]
            self._check_still_open(session)

    def meanwhile(self, session: Session, work: Callable[[TokenCard], R]) -> R:
        """Have the card do what takes long, while other threads use the slot.

        A transport that gives no second connection is kept until it is done. Raises as `released`.
        """
        card, connection = self.card, None
        if self._connection is not None:
            connection = self._connection.branch()
        if connection is None:
            return work(card)
        try:
            with self.released(session, connection):
                made = work(connection.card)
        finally:
            connection.close()
        # What was changed beside this card was changed from here all the same.
        card.changes += connection.card.changes
        return made

    def _check_still_open(self, session: Session) -> None:
        if self.application.closed.is_set():
            raise Pkcs11Error(ck.CKR_CRYPTOKI_NOT_INITIALIZED)
        inserted = self.reader.present and self.reader.generation == session.generation
        if session.removed or not inserted:
            if not session.removed:
                self.drop()
            raise Pkcs11Error(ck.CKR_DEVICE_REMOVED)
        if session.closed:
            raise Pkcs11Error(ck.CKR_SESSION_CLOSED)

    def refresh(self) -> None:
        """Bring the objects of the token up to date.

        A login that somebody ended, by giving the PIN a new value, is noticed here.
        """
        try:
            self.token.refresh(self.card, self.user == ck.CKU_USER)
        except StatusWordError as error:
            if error.sw != SW.SECURITY_STATUS_NOT_SATISFIED:
                raise
            self.check_login()
            self.token.refresh(self.card, self.user == ck.CKU_USER)

    # Handles

    def handle(self, target: AnyObject) -> int:
        """The application's handle of an object, the same every time."""
        handle = self._handles.get(target)
        if handle is None:
            handle = self._handles[target] = self.application.next_handle()
            self._objects[handle] = target
            if isinstance(target, SessionObject):
                self._of_session.setdefault(target.owner, {})[target] = None
                self.changed(target)
        return handle

    def changed(self, target: SessionObject) -> None:
        """A session object that has a handle got other attributes."""
        untold = target.secrets
        told = {name: value for name, value in target.attributes.items() if name not in untold}
        self._index.put(target, told)

    def object(self, handle: int) -> AnyObject:
        """The object of a handle; raises Pkcs11Error (CKR_OBJECT_HANDLE_INVALID)."""
        target = self._objects.get(handle)
        if target is None or not target.alive or (target.private and self.user != ck.CKU_USER):
            raise Pkcs11Error(ck.CKR_OBJECT_HANDLE_INVALID)
        return target

    def session_objects(self, wanted: Mapping[int, bytes]) -> Collection[SessionObject]:
        """The session objects of every session of this slot that may have these attributes."""
        return self._index.matching(wanted)

    def forget(self, target: AnyObject) -> None:
        """The object is no more."""
        handle = self._handles.pop(target, None)
        if handle is not None:
            del self._objects[handle]
        if isinstance(target, SessionObject):
            self._of_session.get(target.owner, {}).pop(target, None)
            self._index.discard(target)

    def forget_private(self) -> None:
        """Nobody is logged in: handles of private objects end, private session objects too."""
        for target in [known for known in self._handles if known.private]:
            self.forget(target)

    def check_login(self) -> None:
        """The card refused what a login allows: somebody may have ended it there."""
        if self.user is not None and self._card is not None:
            pin = self._card.info().pins.get(PIN_REFERENCES[self.user])
            if pin is None or not pin.verified:
                self.logged_out()

    def lost_contact(self) -> None:
        """An exchange failed: what the card did is not known, and the login is not counted on."""
        self.disconnect()
        self.logged_out()
        if self._token is not None:
            self._token.forget()

    def logged_out(self) -> None:
        """Take note that nobody is logged in."""
        self.user = None
        self.forget_private()
        for session in self.sessions.values():
            session.end_private_operations()
