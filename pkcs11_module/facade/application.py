"""The module, its applications, and what an application keeps of every slot."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from apdu.model import SW, StatusWordError
from apdu.transport import CardRemoved, Transport, TransportError
from pkcs11_module import _constants as ck
from pkcs11_module.cards import open_card
from pkcs11_module.cards.card import TokenCard
from pkcs11_module.facade.events import SlotWatch
from pkcs11_module.facade.index import ENTRY_ATTRIBUTES, VALUE_ATTRIBUTES, Index
from pkcs11_module.facade.login_rules import PIN_REFERENCES
from pkcs11_module.facade.readers import Reader, Readers
from pkcs11_module.facade.registry import HANDLERS, end_refused
from pkcs11_module.facade.session_objects import SessionObject
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.token import Token
from pkcs11_module.facade.token_objects import TokenObject
from pkcs11_module.rulebook import State
from pkcs11_module.types import Pkcs11Error
from token_fw.crypto import RunningDigest

AnyObject = TokenObject | SessionObject
R = TypeVar("R")


def refusal(error: StatusWordError | TransportError) -> Pkcs11Error:
    """What a card's refusal or silence means where the function does not say more."""
    if isinstance(error, CardRemoved):
        return Pkcs11Error(ck.CKR_DEVICE_REMOVED)
    if isinstance(error, TransportError):
        return Pkcs11Error(ck.CKR_DEVICE_ERROR, str(error))
    return Pkcs11Error(ck.SW_TO_CKR.get(error.sw, ck.CKR_DEVICE_ERROR), str(error))


class Module:
    """Every reader with its tokens, shared by the applications of one daemon."""

    def __init__(self, readers: Readers, version: tuple[int, int] = (0, 1)) -> None:
        self._readers = readers
        self.version: Final = version
        self._lock = threading.Lock()
        self._tokens: dict[int, tuple[int, Token]] = {}

    def application(self) -> Application:
        """Start an application: one process between C_Initialize and C_Finalize."""
        return Application(self)

    def readers(self) -> list[Reader]:
        """Every reader, in a stable order."""
        return list(self._readers.readers())

    def watch(self) -> SlotWatch:
        """The flags of tokens that come and go from here on."""
        return self._readers.events.watch()

    def token(self, reader: Reader, generation: int) -> Token:
        """What is known of the token of that insertion."""
        with self._lock:
            known = self._tokens.get(reader.slot_id)
            if known is None or known[0] != generation:
                known = self._tokens[reader.slot_id] = (generation, Token())
            return known[1]


@dataclass(frozen=True, slots=True, eq=False)
class Connection:
    """A card and the transport that it is reached by."""

    card: TokenCard
    transport: Transport

    @classmethod
    def to(cls, reader: Reader) -> Connection:
        """Connect to the token in a reader.

        Raises Pkcs11Error: CKR_TOKEN_NOT_PRESENT, CKR_TOKEN_NOT_RECOGNIZED.
        """
        try:
            transport = reader.connect()
        except TransportError:
            raise Pkcs11Error(ck.CKR_TOKEN_NOT_PRESENT) from None
        try:
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

    def close(self) -> None:
        """End it, and what is verified on it."""
        _close(self.transport)


def _close(transport: Transport) -> None:
    close = getattr(transport, "close", None)
    if callable(close):
        close()


class Slot:
    """One reader as one application sees it: a connection, a login and handles of its own.

    `user` is who is logged in: CKU_USER, CKU_SO or None. Everything but `lock` is used with the
    lock held.
    """

    def __init__(self, application: Application, reader: Reader) -> None:
        self.application: Final = application
        self.reader: Final = reader
        self.lock: Final = threading.RLock()
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
        self.adopt(Connection.to(self.reader))
        self._generation = generation
        self._token = self.application.module.token(self.reader, generation)

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


class Application:
    """One process between C_Initialize and C_Finalize. Thread-safe."""

    def __init__(self, module: Module) -> None:
        self.module: Final = module
        self.closed: Final = threading.Event()
        self.events: Final = module.watch()
        self._lock = threading.Lock()
        self._readers: dict[int, Reader] = {}
        self._slots: dict[int, Slot] = {}
        self._sessions: dict[int, Session] = {}
        self._handle_numbers = itertools.count(1)
        self.list_slots()

    def call(self, name: str, *args: object) -> object:
        """Run the function of that name; raises Pkcs11Error."""
        if self.closed.is_set():
            raise Pkcs11Error(ck.CKR_CRYPTOKI_NOT_INITIALIZED)
        handler = HANDLERS.get(name)
        if handler is None:
            raise Pkcs11Error(ck.CKR_FUNCTION_NOT_SUPPORTED)
        try:
            return handler(self, *args)
        except (StatusWordError, TransportError) as error:
            raise refusal(error) from error

    def refused(self, name: str, session: int) -> None:
        """Do what an error of that function does in the session, if that is open."""
        # Without the session there is no operation either.
        with suppress(Pkcs11Error):
            end_refused(self, name, session)

    def close(self) -> None:
        """End every session and wake whoever waits; a second call does nothing."""
        self.closed.set()
        self.events.close()
        with self._lock:
            slots = list(self._slots.values())
            self._sessions.clear()
        for slot in slots:
            with slot.lock:
                slot.drop()

    def next_handle(self) -> int:
        """A number that no session or object of this application has had."""
        return next(self._handle_numbers)

    def list_slots(self) -> None:
        """Bring the application's list of slots up to date."""
        readers = {reader.slot_id: reader for reader in self.module.readers()}
        with self._lock:
            self._readers = readers

    @property
    def readers(self) -> list[Reader]:
        """The readers of the slots that the application knows of, in a stable order."""
        return list(self._readers.values())

    def slot(self, slot_id: int) -> Slot:
        """The slot of that number; raises Pkcs11Error (CKR_SLOT_ID_INVALID)."""
        with self._lock:
            slot = self._slots.get(slot_id)
            if slot is None:
                reader = self._readers.get(slot_id)
                if reader is None:
                    raise Pkcs11Error(ck.CKR_SLOT_ID_INVALID)
                slot = self._slots[slot_id] = Slot(self, reader)
            return slot

    def session(self, handle: int) -> Session:
        """The open session of that handle.

        Raises Pkcs11Error: CKR_SESSION_HANDLE_INVALID, CKR_DEVICE_REMOVED while the token that the
        session was with is out.
        """
        session = self._sessions.get(handle)
        if session is None:
            raise Pkcs11Error(ck.CKR_SESSION_HANDLE_INVALID)
        reader = session.slot.reader
        if not reader.present or reader.generation != session.generation or session.removed:
            self._end_removed(session)
        return session

    def _end_removed(self, session: Session) -> None:
        slot = session.slot
        with slot.lock:
            if not session.removed:
                slot.drop()
            if not slot.reader.present:
                raise Pkcs11Error(ck.CKR_DEVICE_REMOVED)
        self.remove_session(session)
        raise Pkcs11Error(ck.CKR_SESSION_HANDLE_INVALID)

    def add_session(self, session: Session) -> None:
        """Make a session known by its handle."""
        with self._lock:
            self._sessions[session.handle] = session

    def remove_session(self, session: Session) -> None:
        """Forget a session."""
        with self._lock:
            self._sessions.pop(session.handle, None)
