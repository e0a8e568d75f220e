"""Slots of cards that other programs use as well, such as those in a PC/SC reader.

There selection, login and security environment are the card's, not a connection's: whoever comes
between may change them. Hence a call that needs the card has it alone from its first command until
the slot is left, begins with a look at what is selected and verified, and takes nothing else to be
as it was. A login that went lost is noticed there; what needs it is then answered with
CKR_USER_NOT_LOGGED_IN.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Final

from apdu.codec import Command, Response
from apdu.model import SW, StatusWordError
from apdu.transport import Shared, Transport, TransportError
from pkcs11_module.cards.pkcs15 import USER_PIN
from pkcs11_module.facade.login_rules import PIN_REFERENCES
from pkcs11_module.facade.slot import Connection, Slot
from pkcs11_module.types import Pkcs11Error

if TYPE_CHECKING:
    from pkcs11_module.facade.application import Application
    from pkcs11_module.facade.readers import Reader
    from pkcs11_module.facade.sessions import Session

_REFUSED: Final = Response(SW.SECURITY_STATUS_NOT_SATISFIED).encode()
_DONE: Final = Response(SW.NO_ERROR).encode()
_PROPRIETARY: Final = 0x80
_USES: Final = frozenset({(0x00, 0x2A), (0x00, 0x87), (0x80, 0xCA)})
"""Commands that use a key: class (00, or 80 for any proprietary one) and INS."""


class Consenting:
    """A way to a card; `consent` is sent on it right before the next command that uses a key."""

    def __init__(self, way: Shared) -> None:
        self._way = way
        self.consent: Command | None = None

    @property
    def epoch(self) -> int:
        return self._way.epoch

    def transaction(self) -> AbstractContextManager[None]:
        return self._way.transaction()

    def transceive(self, command: bytes) -> bytes:
        """Exchange one APDU; raises as the way."""
        kind = command[0] & _PROPRIETARY, command[1]
        if self.consent is not None and kind in _USES:
            consent, self.consent = self.consent, None
            if self._way.transceive(consent.encode()) != _DONE:
                return _REFUSED
        return self._way.transceive(command)

    def close(self) -> None:
        close = getattr(self._way, "close", None)
        if callable(close):
            close()


class CardLock:
    """A lock as threading.RLock; `let_go` is called before its thread leaves it for good."""

    def __init__(self, let_go: Callable[[], None]) -> None:
        self._lock = threading.RLock()
        self._let_go = let_go
        self._depth = 0

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._lock.acquire()
        self._depth += 1
        return True

    def release(self) -> None:
        """Leave it as often as it was acquired."""
        try:
            if self._depth == 1:
                self._let_go()
        finally:
            self._depth -= 1
            self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Borrowed(Connection):
    """The slot's own connection in the place of one beside it: the card has one login for all."""

    way: Consenting
    # Has the card alone; says who is logged in.
    _look: Callable[[], int | None]
    # What proves a login for one use again, which other commands than the use come between.
    _again: list[Command] = field(default_factory=list)

    def verify(self, reference: int, pin: bytes) -> None:
        """Check a PIN now, and once more right before the use that it is consent to."""
        self.card.verify(reference, pin)
        self._again[:] = [self.card.verify_command(reference, pin)]

    def verify_on_token(self, reference: int) -> None:
        """As `verify`, where the card lends what proves it again."""
        again = self.card.verify_on_token(reference)
        self._again[:] = [] if again is None else [again]

    @contextmanager
    def use(self) -> Iterator[None]:
        """Let one command have the consent."""
        logged_in = self._look() is not None
        self.way.consent = self._again.pop() if self._again and logged_in else None
        try:
            yield
        finally:
            self.way.consent = None

    def close(self) -> None:
        self._again.clear()


class SharedSlot(Slot):
    """A slot whose card other programs use too; see the module."""

    def __init__(self, application: Application, reader: Reader) -> None:
        super().__init__(application, reader)
        self._held: ExitStack | None = None
        self._way: Consenting | None = None
        self._epoch = 0

    def _make_lock(self) -> CardLock:
        return CardLock(self._let_go)

    # Having the card alone

    def _attach(self) -> None:
        super()._attach()
        if self._held is None:
            self._hold()

    def _connect(self) -> None:
        super()._connect()
        assert self._token is not None
        with self._token.lock:
            self._token.slots.add(self)

    def _reach(self) -> Connection:
        connection = Connection.to(self.reader, self._consenting)
        assert self._way is not None
        self._epoch = self._way.epoch
        return connection

    def _consenting(self, transport: Transport) -> Transport:
        assert isinstance(transport, Shared)
        self._way = Consenting(transport)
        return self._way

    def _hold(self) -> None:
        """Have the card alone from here on, and look at what others have left of it."""
        card, way = self._card, self._way
        assert card is not None
        assert way is not None
        with ExitStack() as stack:
            stack.enter_context(way.transaction())
            self._held = stack.pop_all()
        lost, self._epoch = way.epoch != self._epoch, way.epoch
        reference = USER_PIN if self.user is None else PIN_REFERENCES[self.user]
        if not card.resume(reference, lost=lost) and self.user is not None:
            self.logged_out()

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.close()

    def disconnect(self) -> None:
        self._let_go()
        super().disconnect()

    # The one login that the card has

    def current_user(self) -> int | None:
        self._attach()
        return self.user

    def another(self) -> Connection:
        card, way = self.card, self._way
        assert way is not None
        return Borrowed(card, way, way, self.current_user)

    def adopt(self, connection: Connection) -> None:
        if not isinstance(connection, Borrowed):
            super().adopt(connection)

    @contextmanager
    def released(self, session: Session, connection: Connection | None = None) -> Iterator[None]:
        """As of any slot, but with the card in use nobody is let in."""
        if connection is None:
            with super().released(session):
                yield
            return
        try:
            yield
        finally:
            self._check_still_open(session)

    def log_out(self) -> None:
        """End the login of this application; on the card where no other one relies on it."""
        if self.user is not None:
            self._attach()
        if self._is_relied_on():
            self.logged_out()
        else:
            super().log_out()

    def _is_relied_on(self) -> bool:
        if self._token is None:
            return False
        with self._token.lock:
            others = [slot for slot in self._token.slots if slot is not self]
        return any(slot.user == self.user for slot in others)

    def drop(self) -> None:
        """As of any slot; the card, where it is still there, forgets the login."""
        inserted = self.reader.present and self.reader.generation == self._generation
        if self.user is not None and self._card is not None and inserted:
            with suppress(Pkcs11Error, StatusWordError, TransportError):
                self.log_out()
        super().drop()
