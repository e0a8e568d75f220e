"""The tokens of a home as readers with cards in them: what every door of the daemon opens onto.

A token is opened when it is first talked to. The files of a few that were used last are open, those
of the others are at rest: of a thousand tokens that an application lists, most cost little memory
and no file. One that cannot be opened leaves its slot empty and the others alone;
:attr:`TokenReader.fault` says why.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from apdu.transport import CardRemoved, Transport, TransportError
from host_tools.home import Home
from host_tools.registry import Record
from host_tools.token_files import lasts, load_key
from host_tools.tracing import Tracer
from host_tools.wakeful import Wakeful
from token_fw.card import Card, Interface
from token_fw.env import Env
from token_fw.finger_sensor import ScriptedSensor
from token_fw.pin_pad import PinPad
from token_fw.state import Attestation
from token_fw.storage import keyfile
from token_fw.storage.base import StorageError
from token_fw.storage.sqlite import SqliteStore
from token_fw.touch_pad import TouchPad

if TYPE_CHECKING:
    from host_tools.inspection import TokenFacts
    from host_tools.watched import Watched

_log = logging.getLogger("klyuch.tokens")

SERIAL_BYTES = 8


class TokenState(StrEnum):
    """What is in a token's slot."""

    INSERTED = "inserted"
    UNREADABLE = "unreadable"  # its files could not be read just now: the next use tries again
    REMOVED = "removed"
    LOCKED = "locked"  # under a passphrase that was not given
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True)
class _OpenCard:
    """A card with the store under it, and what its user enters PINs on, touches and is known by."""

    store: SqliteStore
    card: Card
    pad: PinPad
    touch: TouchPad
    fingers: ScriptedSensor
    wakeful: Wakeful

    def close(self) -> None:
        """Every interface ends; a command that runs is finished first."""
        self.card.close()
        self.wakeful.discard(self.card)
        self.store.close()


class Door:
    """One application's way to a card: an interface of its own, traced while somebody watches.

    Its transceive() raises CardRemoved from the moment the token is removed.
    """

    def __init__(
        self, interface: Interface, tracer: Tracer, serial: str, number: int | None = None
    ) -> None:
        self._interface = interface
        self._tracer = tracer
        self._serial = serial
        self._number = tracer.number() if number is None else number
        self._watched: Watched | None = None

    def transceive(self, command: bytes) -> bytes:
        if self._tracer.watched:
            return self._around().transceive(command)
        self._watched = None
        return self._interface.transceive(command)

    @property
    def unwatched(self) -> Transport:
        """The same way for the daemon itself: who watches is shown what others send."""
        return self._interface

    def changes(self) -> int:
        return self._interface.changes()

    def reset(self) -> bytes:
        """Forget what was selected and verified on this way; returns the ATR."""
        if self._tracer.watched:
            self._around().was_reset()
        return self._interface.reset()

    def power_up(self) -> None:
        """As `reset`, for a reader, which takes the power away."""
        self._interface.power_up()

    def _around(self) -> "Watched":
        """What tells the APDUs: anew whenever somebody watches, to begin with what is selected."""
        if self._watched is None:
            self._watched = self._tracer.around(self._interface, self._serial, self._number)
        return self._watched

    def branch(self) -> "Door":
        """Another way to the card, with the login of this one."""
        # Recorded as the same way: whoever plays a recording has no other with that login.
        return Door(self._interface.branch(), self._tracer, self._serial, self._number)

    def close(self) -> None:
        self._interface.close()


class TokenReader:
    """The slot of one token, as the PKCS#11 side and the control door see it. Thread-safe.

    `moved` is called after each insertion and removal, `changed` after a change of the contents.
    """

    def __init__(
        self,
        home: Home,
        record: Record,
        tracer: Tracer,
        wakeful: Wakeful,
        *,
        moved: Callable[[int], None],
        changed: Callable[[], None],
    ) -> None:
        self._home = home
        self._tracer = tracer
        self._wakeful = wakeful
        self._moved = moved
        self._told_change = changed
        self._lock = threading.RLock()
        self._opened: _OpenCard | None = None
        self._storage_key: bytes | None = None
        self._changes: int | None = None
        self.record = record
        self.generation = 1
        self._powered = time.monotonic()
        self.fault = ""
        """Why the token is damaged, until it is inserted anew."""
        self._unread = ""
        self.deleted = False

    @property
    def slot_id(self) -> int:
        return self.record.slot

    @property
    def serial(self) -> str:
        return self.record.serial

    @property
    def description(self) -> str:
        return f"Klyuch slot {self.record.slot}"

    @property
    def application(self) -> str:
        return "pki"

    @property
    def shared(self) -> bool:
        return False

    @property
    def present(self) -> bool:
        """Whether there is a token to talk to: inserted, unlocked and not known to be damaged.

        One whose files could not be read just now is there, and fails when it is talked to.
        """
        # Asked several times in every call: an open card answers without the lock.
        return self._opened is not None or self.state in _PRESENT

    @property
    def state(self) -> TokenState:
        with self._lock:
            if self.deleted or not self.record.inserted:
                return TokenState.REMOVED
            unlocked = not self.fault and self._unlocked()
            if self.fault:
                return TokenState.CORRUPT
            if self._unread:
                return TokenState.UNREADABLE
            return TokenState.INSERTED if unlocked else TokenState.LOCKED

    @property
    def trouble(self) -> str:
        """The last failure of the storage that may pass, such as a full disk; empty without one."""
        opened = self._opened
        return opened.card.trouble if opened is not None else self._unread

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    def changed(self) -> bool:
        """Whether the open token's content changed since this was asked last."""
        opened = self._opened
        if opened is None or opened.card.changes == self._changes:
            return False
        self._changes = opened.card.changes
        return True

    def connect(self, *names: str) -> Door:
        """A new interface to the token, to the applications of these names, to all without any.

        Raises TransportError where there is no token to talk to.
        """
        with self._lock:
            return Door(self._card().connect(*names), self._tracer, self.serial)

    def authority(self) -> tuple[Attestation, bytes]:
        """See Card.authority. Raises TransportError where there is no token, StorageError."""
        return self._card().authority()

    def _card(self) -> Card:
        """The token, opened where it was not. Raises TransportError where there is none."""
        with self._lock:
            if not self.present:
                raise CardRemoved(f"There is no usable token in slot {self.record.slot}.")
            return self._open().card

    @property
    def pad(self) -> PinPad | None:
        """What PINs are entered on: that of the open token; None where nobody can be waiting."""
        opened = self._opened
        return opened.pad if opened is not None else None

    @property
    def touch(self) -> TouchPad | None:
        """What is touched: that of the open token; None where nobody can be waiting."""
        opened = self._opened
        return opened.touch if opened is not None else None

    @property
    def fingers(self) -> ScriptedSensor | None:
        """The fingerprint sensor of the open token; None where nobody can be waiting."""
        opened = self._opened
        return opened.fingers if opened is not None else None

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """What happens under the lock may bring a token, or take one away, which is then told."""
        with self._lock:
            before = self.present and self.generation
            yield
            moved = before != (self.present and self.generation)
        if moved:
            self._moved(self.slot_id)

    def storage_key(self) -> bytes | None:
        """The storage key where it is there and open."""
        with self._lock:
            return self._storage_key if self._unlocked() else None

    def unlock(self, passphrase: bytes) -> None:
        """Open the storage key with its passphrase. Raises WrongKey."""
        key = keyfile.load(self._home.key(self.serial), passphrase)
        with self._moving():
            self._storage_key = key
            self._appear()

    def insert(self, record: Record) -> None:
        """Take the token in; a damaged one is tried again."""
        with self._moving():
            self.fault = self._unread = ""
            if not self.record.inserted:
                self._appear()
            self.record = record

    def _appear(self) -> None:
        self.generation += 1
        self._powered = time.monotonic()

    def eject(self, record: Record) -> None:
        """Take the token out; a command that runs is finished first, later ones find no card."""
        with self._moving():
            self.record = record
            self.close()

    def close(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _unlocked(self) -> bool:
        if self._storage_key is None:
            try:
                self._storage_key = load_key(self._home.key(self.serial))
            except StorageError as error:
                self._note(error, lasting=lasts(error))
                return False
            self._unread = ""
        return self._storage_key is not None

    def _open(self) -> _OpenCard:
        if self._opened is None:
            if not self._unlocked() or self._storage_key is None:
                why = self.fault or self._unread
                raise TransportError(f"The token cannot be opened: {why}.")
            path = self._home.store(self.serial)
            try:
                self._opened = _open_card(
                    path, self._storage_key, self._wakeful, self._told_change, self._powered
                )
            except StorageError as error:
                self._note(error, lasting=lasts(error))
                raise TransportError(f"The token cannot be opened: {error}.") from error
            self._changes = None
            self._unread = ""
        return self._opened

    def _note(self, error: StorageError, *, lasting: bool) -> None:
        if str(error) != self._unread:
            _log.error("token %s: %s: %s", self.serial, type(error).__name__, error)
        if lasting:
            self.fault, self._unread = str(error), ""
            self._moved(self.slot_id)
        else:
            self._unread = str(error)


_PRESENT = frozenset((TokenState.INSERTED, TokenState.UNREADABLE))


def _open_card(
    path: Path,
    storage_key: bytes,
    wakeful: Wakeful,
    changed: Callable[[], None],
    powered: float,
) -> _OpenCard:
    store = SqliteStore(path, storage_key, create=False)
    try:
        pad, touch, fingers = PinPad(), TouchPad(), ScriptedSensor()
        env = Env(
            store,
            path=pad,
            changed=changed,
            presence=touch,
            sensor=fingers,
            powered=powered,
        )
        card = Card(env)
    except BaseException:
        store.close()
        raise
    store.on_wake = partial(wakeful.add, card)
    wakeful.add(card)
    return _OpenCard(store, card, pad, touch, fingers, wakeful)


def look(reader: TokenReader) -> "TokenFacts":
    """A token's account of itself. Raises TransportError where there is none to ask."""
    from host_tools.inspection import inspect  # noqa: PLC0415  for who asks at the control door

    door = reader.connect()
    try:
        return inspect(door.unwatched)
    finally:
        door.close()
