"""The module, and its applications: what each keeps beside what it keeps of its slots."""

from __future__ import annotations

import itertools
import threading
from contextlib import suppress
from typing import Final

from apdu.model import StatusWordError
from apdu.transport import TransportError
from pkcs11_module import _constants as ck
from pkcs11_module.facade.events import SlotWatch
from pkcs11_module.facade.functions import handler
from pkcs11_module.facade.readers import Reader, Readers
from pkcs11_module.facade.registry import end_refused
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.shared import SharedSlot
from pkcs11_module.facade.slot import Slot, refusal
from pkcs11_module.facade.token import Token
from pkcs11_module.types import Pkcs11Error


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
        run = handler(name)
        if run is None:
            raise Pkcs11Error(ck.CKR_FUNCTION_NOT_SUPPORTED)
        try:
            return run(self, *args)
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
                kind = SharedSlot if reader.shared else Slot
                slot = self._slots[slot_id] = kind(self, reader)
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
