"""Readers and their cards through PC/SC (PC/SC Workgroup specifications, part 5), by pyscard.

Several programs may share a card: each holds a transaction around what must not be interleaved,
and selects its application again where another may have selected one or reset the card.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from apdu.codec import MAX_SHORT_DATA, ApduFormatError, Command
from apdu.transport import CardRemoved, TransportError
from host_tools import pcscd
from host_tools.closing import Closing
from host_tools.control import ControlError, ErrorCode
from host_tools.extras import missing

try:
    from smartcard import scard
except ImportError as error:
    raise missing("pyscard", "Readers") from error

_PROTOCOLS = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
_REMOVED = frozenset(
    (
        scard.SCARD_W_REMOVED_CARD,
        scard.SCARD_E_NO_SMARTCARD,
        scard.SCARD_E_UNKNOWN_READER,
        scard.SCARD_E_READER_UNAVAILABLE,
    )
)
# What a restarted pcscd makes of handles of its predecessor, and what becomes of a card that is
# pulled before pcscd has looked for it: nobody knows what such a card did, or whether it is there.
_LOST = frozenset(
    (
        scard.SCARD_E_NOT_TRANSACTED,
        scard.SCARD_W_UNPOWERED_CARD,
        scard.SCARD_W_UNRESPONSIVE_CARD,
        scard.SCARD_E_NO_SERVICE,
        scard.SCARD_E_SERVICE_STOPPED,
        scard.SCARD_E_INVALID_HANDLE,
        scard.SCARD_E_INVALID_VALUE,
        scard.SCARD_F_COMM_ERROR,
        scard.SCARD_F_INTERNAL_ERROR,
    )
)
_ATTEMPTS = 2
# A reader of that name tells of readers that come and go.
_ANY_READER = "\\\\?PnP?\\Notification"
_MISSING_PATIENCE = 1000
# An interrupt is lost that comes just before what it is to interrupt.
_PATIENCE = 10_000
_COUNT_SHIFT = 16
_NOTHING_NEW = frozenset(
    (scard.SCARD_E_TIMEOUT, scard.SCARD_E_CANCELLED, scard.SCARD_E_UNKNOWN_READER)
)


class ReaderError(ControlError):
    """PC/SC does not answer, or has no such reader."""


class _PcscError(Exception):
    """What a function of PC/SC returned."""

    def __init__(self, code: int) -> None:
        super().__init__(str(scard.SCardGetErrorMessage(code)).rstrip("."))
        self.code = code


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader as PC/SC lists it; `atr` is empty where no card is in it."""

    name: str
    atr: bytes

    @property
    def present(self) -> bool:
        return bool(self.atr)


def list_readers() -> list[Reader]:
    """The readers there are, with the cards in them. Raises ReaderError where pcscd is not."""
    try:
        context = _establish()
    except _PcscError as error:
        raise ReaderError(
            ErrorCode.DAEMON,
            f"The smart card service does not answer: {error}.",
            pcscd.remedy(),
        ) from error
    try:
        return [_look(context, name) for name in _names(context)]
    except _PcscError as error:
        raise ReaderError(ErrorCode.DAEMON, f"PC/SC failed: {error}.") from error
    finally:
        scard.SCardReleaseContext(context)


def find_reader(name: str) -> Reader:
    """The reader of that name, or the only one whose name has it as a part, in any case.

    Raises ReaderError where there is none, or several.
    """
    readers = list_readers()
    found = [reader for reader in readers if reader.name == name]
    found = found or [reader for reader in readers if name.casefold() in reader.name.casefold()]
    if len(found) == 1:
        return found[0]
    names = "; ".join(reader.name for reader in found or readers) or "none"
    if found:
        raise ReaderError(
            ErrorCode.AMBIGUOUS, f"Several readers are called {name!r}: {names}.", "Name one whole."
        )
    raise ReaderError(
        ErrorCode.NOT_FOUND,
        f"There is no reader {name!r}; there are: {names}.",
        "Name one of them.",
    )


class ReaderTransport(Closing):
    """The card in a reader, shared with other programs: a Transport for one thread.

    `epoch` differs after whatever made the card forget what was selected and verified: whoever
    keeps such a state compares it inside of `transaction`. `connections` counts how often the card
    had to be connected to: another one may be in the reader since.
    """

    def __init__(self, name: str) -> None:
        """Connect to the card. Raises CardRemoved without one, TransportError without PC/SC."""
        self.name = name
        self.epoch = self.connections = 0
        self._context: Any = None
        self._card: Any = None
        self._protocol = 0
        self._held = 0
        with _mapped():
            self._connect()

    def close(self) -> None:
        """Leave the card as it is to the other programs."""
        self._drop()

    @property
    def connected(self) -> bool:
        """Whether there is a connection; the next command or transaction makes one."""
        return self._card is not None

    @property
    def atr(self) -> bytes:
        """What the card answered to its last reset."""
        with _mapped():
            _, _, _, atr = _call(scard.SCardStatus, self._card)
            return bytes(atr)

    def transceive(self, command: bytes) -> bytes:
        """Exchange one APDU.

        Raises CardRemoved where the card is gone, TransportError where another program has reset
        it, which then did not see the command, or where PC/SC was restarted; the next call
        connects anew.
        """
        with _mapped():
            try:
                if self._card is None:
                    self._connect()
                return self._transmit(command)
            except _PcscError as error:
                if error.code == scard.SCARD_W_RESET_CARD:
                    self._reconnect()
                elif error.code in _LOST | _REMOVED:
                    self._drop()
                raise

    def reset(self) -> bytes:
        """Reset the card, warm; returns its ATR. Raises as `transceive`."""
        with _mapped():
            if self._card is None:
                self._connect()
            self._reconnect(scard.SCARD_RESET_CARD)
        return self.atr

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """No other program reaches the card meanwhile; transactions may be nested.

        It begins on a fresh connection where the card was reset or PC/SC restarted: see `epoch`.
        Raises as `transceive`.
        """
        if not self._held:
            with _mapped():
                self._begin()
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            if not self._held and self._card is not None:
                # Where this fails the card is gone or reset, and with it the transaction.
                scard.SCardEndTransaction(self._card, scard.SCARD_LEAVE_CARD)

    def _begin(self) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                if self._card is None:
                    self._connect()
                _call(scard.SCardBeginTransaction, self._card)
            except _PcscError as error:
                if error.code == scard.SCARD_W_RESET_CARD:
                    self._reconnect()
                else:
                    self._drop()
                if error.code in _REMOVED or attempt + 1 == _ATTEMPTS:
                    raise
            else:
                return

    def _connect(self) -> None:
        self._context = _establish()
        self._card, self._protocol = _call(
            scard.SCardConnect, self._context, self.name, scard.SCARD_SHARE_SHARED, _PROTOCOLS
        )
        self.epoch += 1
        self.connections += 1

    def _reconnect(self, how: int = scard.SCARD_LEAVE_CARD) -> None:
        (self._protocol,) = _call(
            scard.SCardReconnect, self._card, scard.SCARD_SHARE_SHARED, _PROTOCOLS, how
        )
        self.epoch += 1

    def _drop(self) -> None:
        card, self._card = self._card, None
        context, self._context = self._context, None
        if card is not None:
            scard.SCardDisconnect(card, scard.SCARD_LEAVE_CARD)
        if context is not None:
            scard.SCardReleaseContext(context)

    def _transmit(self, command: bytes) -> bytes:
        header = scard.SCARD_PCI_T1
        if self._protocol == scard.SCARD_PROTOCOL_T0:
            header, command = scard.SCARD_PCI_T0, _for_t0(command)
        (answer,) = _call(scard.SCardTransmit, self._card, header, list(command))
        return bytes(answer)


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a card is in a reader, and how many came and went before, which pcscd counts."""

    present: bool
    events: int


class ReaderWatch:
    """Sees cards come and go in some readers. One thread waits; `interrupt` is for others."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._context: Any = None
        self._known: dict[str, int] = {}

    def look(self) -> dict[str, Presence]:
        """The readers that there are, at once. Raises TransportError without PC/SC."""
        self._known = {}
        return self._ask(0)

    def wait(self) -> dict[str, Presence]:
        """As `look`, once something has changed, a reader came or went, or it was interrupted."""
        missing = not self._known.keys() >= set(self._names)
        return self._ask(_MISSING_PATIENCE if missing else _PATIENCE)

    def interrupt(self) -> None:
        """Have `wait` return; where nobody waits nothing happens."""
        if self._context is not None:
            scard.SCardCancel(self._context)

    def close(self) -> None:
        """Let go of PC/SC."""
        context, self._context = self._context, None
        if context is not None:
            scard.SCardReleaseContext(context)

    def _ask(self, patience: int) -> dict[str, Presence]:
        with _mapped():
            try:
                if self._context is None:
                    self._context = _establish()
                return self._status(patience)
            except _PcscError:
                self.close()
                raise

    def _status(self, patience: int) -> dict[str, Presence]:
        known, there = self._known, _names(self._context)
        watched = [name for name in (*self._names, _ANY_READER) if name in (*there, _ANY_READER)]
        asked = [(name, known.get(name, scard.SCARD_STATE_UNAWARE)) for name in watched]
        try:
            (states,) = _call(scard.SCardGetStatusChange, self._context, patience, asked)
        except _PcscError as error:
            if error.code not in _NOTHING_NEW:
                raise
            asked = [(name, scard.SCARD_STATE_UNAWARE) for name in watched]
            (states,) = _call(scard.SCardGetStatusChange, self._context, 0, asked)
        self._known = {name: flags & ~scard.SCARD_STATE_CHANGED for name, flags, _ in states}
        return {
            name: Presence(bool(flags & scard.SCARD_STATE_PRESENT), flags >> _COUNT_SHIFT)
            for name, flags in self._known.items()
            if name != _ANY_READER
        }


def _for_t0(command: bytes) -> bytes:
    """Case 4 without Le: T=0 has no room for it, GET RESPONSE fetches (ISO/IEC 7816-3).

    Anything else, malformed or extended, passes as it is.
    """
    try:
        parsed = Command.parse(command)
    except ApduFormatError:
        return command
    if parsed.ne and 0 < len(parsed.data) <= MAX_SHORT_DATA and command[4]:
        return command[:-1]
    return command


def _call(function: Any, *arguments: object) -> tuple[Any, ...]:
    """What a function of PC/SC gives beside its return code. Raises _PcscError."""
    outcome = function(*arguments)
    code, *values = outcome if isinstance(outcome, list | tuple) else (outcome,)
    if code != scard.SCARD_S_SUCCESS:
        raise _PcscError(code)
    return tuple(values)


def _establish() -> Any:
    (context,) = _call(scard.SCardEstablishContext, scard.SCARD_SCOPE_USER)
    return context


def _names(context: Any) -> list[str]:
    try:
        (names,) = _call(scard.SCardListReaders, context, [])
    except _PcscError as error:
        if error.code == scard.SCARD_E_NO_READERS_AVAILABLE:
            return []
        raise
    return [str(name) for name in names]


def _look(context: Any, name: str) -> Reader:
    unaware = [(name, scard.SCARD_STATE_UNAWARE)]
    ((state,),) = _call(scard.SCardGetStatusChange, context, 0, unaware)
    _, flags, atr = state
    return Reader(name, bytes(atr) if flags & scard.SCARD_STATE_PRESENT else b"")


@contextmanager
def _mapped() -> Iterator[None]:
    """The one place that turns PC/SC's errors into those of a Transport."""
    try:
        yield
    except _PcscError as error:
        kind = CardRemoved if error.code in _REMOVED else TransportError
        raise kind(f"PC/SC: {error}") from error
