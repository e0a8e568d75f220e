"""The card: interfaces, reset, selection, dispatch, one transaction a command.

This is the only place that turns an error into a status word.
"""

from __future__ import annotations

import logging
import threading
from functools import cache, reduce
from operator import xor
from typing import TYPE_CHECKING, Any

from apdu.chaining import (
    ChainInterrupted,
    ChainTooLong,
    CommandChain,
    NoResponseQueued,
    ResponseQueue,
)
from apdu.codec import CHAINING, MAX_SHORT_NE, ApduFormatError, Command, Response
from apdu.model import SW
from apdu.spec import CommandSpec
from apdu.tlv import TlvError
from apdu.transport import CardRemoved
from token_fw import crypto, errors
from token_fw.apps import (
    Application,
    Handler,
    Parts,
    Session,
    Told,
    Work,
    check_data,
    class_error,
)
from token_fw.apps.installed import NAMES, Installed
from token_fw.env import Env
from token_fw.fingerprint import Matcher
from token_fw.pin import MAX_TRIES, Pins
from token_fw.state import Attestation, Token
from token_fw.storage.base import StorageError
from token_fw.transaction import Transaction

if TYPE_CHECKING:
    from token_fw.apps import fido2

MAX_RESPONSE = 65533
"""Data bytes in one response: pcscd takes no more (ISO/IEC 7816-4 would allow 65536)."""

_log = logging.getLogger(__name__)
_GET_RESPONSE = 0xC0
_SELECT, _BY_NAME, _NO_ANSWER = 0xA4, 0x04, 0x0C

_STATUS: dict[type[Exception], int] = {
    errors.WrongPin: SW.WRONG_PIN,
    errors.PinNotVerified: SW.WRONG_PIN,
    errors.PinBlocked: SW.AUTHENTICATION_METHOD_BLOCKED,
    errors.EntryCancelled: SW.ENTRY_CANCELLED,
    errors.EntryTimedOut: SW.ENTRY_TIMED_OUT,
    errors.PinNotInitialised: SW.REFERENCE_DATA_NOT_USABLE,
    errors.SecurityStatusNotSatisfied: SW.SECURITY_STATUS_NOT_SATISFIED,
    errors.ConditionsNotSatisfied: SW.CONDITIONS_NOT_SATISFIED,
    errors.IncorrectData: SW.INCORRECT_DATA,
    errors.FunctionNotSupported: SW.FUNCTION_NOT_SUPPORTED,
    errors.WrongLength: SW.WRONG_LENGTH,
    errors.FileNotFound: SW.FILE_NOT_FOUND,
    errors.FileExists: SW.FILE_EXISTS,
    errors.DfNameExists: SW.DF_NAME_EXISTS,
    errors.NoCurrentFile: SW.NO_CURRENT_EF,
    errors.CommandNotAllowed: SW.NO_CURRENT_EF,
    errors.IncompatibleFile: SW.INCOMPATIBLE_FILE_STRUCTURE,
    errors.OffsetOutsideFile: SW.WRONG_P1P2,
    errors.NotEnoughMemory: SW.NOT_ENOUGH_MEMORY,
    errors.ReferencedDataNotFound: SW.REFERENCED_DATA_NOT_FOUND,
    errors.IncorrectParameters: SW.INCORRECT_P1P2,
    errors.InstructionNotSupported: SW.INS_NOT_SUPPORTED,
    errors.ClassNotSupported: SW.CLA_NOT_SUPPORTED,
    errors.SecureMessagingNotSupported: SW.SECURE_MESSAGING_NOT_SUPPORTED,
    errors.LogicalChannelNotSupported: SW.LOGICAL_CHANNEL_NOT_SUPPORTED,
    errors.ChainingNotSupported: SW.CHAINING_NOT_SUPPORTED,
    ApduFormatError: SW.WRONG_LENGTH,
    TlvError: SW.INCORRECT_DATA,
    ChainInterrupted: SW.LAST_COMMAND_EXPECTED,
    ChainTooLong: SW.WRONG_LENGTH,
    NoResponseQueued: SW.CONDITIONS_NOT_SATISFIED,
    crypto.InvalidKey: SW.INCORRECT_DATA,
    crypto.DataLength: SW.WRONG_LENGTH,
    crypto.InvalidSignature: SW.VERIFICATION_FAILED,
    crypto.DecryptionFailed: SW.INCORRECT_DATA,
    crypto.Unsupported: SW.FUNCTION_NOT_SUPPORTED,
    StorageError: SW.MEMORY_FAILURE,
}


def _status(error: Exception) -> int:
    """The status word of an error; 6F00, which is a fault of this program, for an unknown one."""
    for kind in type(error).__mro__:
        sw = _STATUS.get(kind)
        if sw is not None:
            if isinstance(error, StorageError):
                # It names a file and a reason, nothing that is kept in it.
                _log.error("the storage failed: %s", error)
            if isinstance(error, errors.WrongPin | errors.PinNotVerified):
                return sw | min(error.tries_left, MAX_TRIES)
            return sw
    # Neither the message nor a traceback: either may hold what the command carried.
    _log.error("unexpected %s while a command ran", type(error).__name__)
    return SW.UNKNOWN_ERROR


def _atr() -> bytes:
    """T=0 and T=1, historical bytes in COMPACT-TLV (ISO/IEC 7816-3:2006, 8.2; 7816-4:2013, 12.1).

    31 A8: selection by full name, EF.DIR with READ BINARY, a master file. 73 B0 01 C0: selection
    by name, path and identifier; units of one byte; chaining, extended lengths.
    """
    historical = bytes.fromhex("80 31A8 73B001C0 56") + b"Klyuch"
    after_ts = bytes((0x80 | len(historical), 0x80, 0x01)) + historical
    return b"\x3b" + after_ts + bytes((reduce(xor, after_ts),))


ATR = _atr()


class Card:
    """A token's durable state with its applications; any number of interfaces, from any thread.

    A verification holds on the interface where it was made. Giving a PIN a new value, or erasing
    the token, ends it on every other one; a PIN that gets blocked stays verified where it was.
    """

    def __init__(self, env: Env) -> None:
        """Open a personalised token; raises StorageError, StorageCorrupt when there is none."""
        self._lock = threading.Lock()
        self._transaction = Transaction(env.store, self._lock)
        token = Token(self._transaction)
        pins = Pins(self._transaction, token.policy, env.rng)
        matcher = Matcher(self._transaction, pins, env.sensor)
        parts = Parts(
            transaction=self._transaction,
            token=token,
            pins=pins,
            matcher=matcher,
            env=env,
            changes=lambda: self.changes,
            run=self.run,
        )
        powered = env.clock() if env.powered is None else env.powered
        self._applications = tuple(Installed(name, parts, powered) for name in NAMES)
        # Volatile, hence from a random start: a reader of the last run must see a difference.
        self.changes = int.from_bytes(env.rng(4), "big")
        self._asking = (env.path, env.presence, env.sensor)
        self._tell_change = env.changed
        self.used = True
        """A command ran since somebody cleared this."""

    @property
    def authenticator(self) -> fido2.Authenticator:
        """That of the FIDO2 application."""
        authenticator: fido2.Authenticator = self._fido2.core
        return authenticator

    @property
    def _fido2(self) -> Installed:
        return next(item for item in self._applications if item.spec.name == "fido2")

    def connect(self, *names: str) -> Interface:
        """Open a door to the card, with a reset, selection and security status of its own.

        It leads to the applications of these names alone, to all where none is named: some
        programs take the first one that they know. Raises ValueError for an unknown name.
        """
        known = {item.spec.name for item in self._applications}
        if unknown := set(names) - known:
            raise ValueError(f"the card has no application {', '.join(sorted(unknown))}")
        shown = [item for item in self._applications if not names or item.spec.name in names]
        return Interface(self, tuple(shown))

    def close(self) -> None:
        """End every interface: their next command raises CardRemoved. The store stays open."""
        with self._lock:
            self._transaction.closed = True
        for waited_for in self._asking:
            if waited_for is not None:
                waited_for.close()

    @property
    def closed(self) -> bool:
        """Whether the token was pulled."""
        return self._transaction.closed

    @property
    def trouble(self) -> str:
        """The storage's last failure that no durable change has followed; empty without one."""
        return self._transaction.trouble

    def rest(self) -> bool:
        """Give back memory and files until the next command; interfaces notice nothing of it.

        Returns False, and does nothing, while a command runs. Never raises an Exception.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return self._transaction.rest()
        except StorageError as error:
            _log.error("the storage failed: %s", error)
            return True
        finally:
            self._lock.release()

    def run(self, work: Work) -> tuple[Response, Exception | None]:
        """Run one command's `work` as one transaction; gives the cause of a refusal with it.

        Raises CardRemoved, and no other Exception, where the token was pulled meanwhile.
        """
        with self._lock:
            self.used = True
            try:
                if self._transaction.pending:
                    # An interpreter's interrupt left it behind; no answer promised it.
                    self._transaction.rollback()
                answer = work()
                self._transaction.commit()
            except CardRemoved:
                raise
            except Exception as error:  # noqa: BLE001  a card answers, whatever happens in it
                return Response(self._fail(error)), error
            finally:
                # What a refused command has committed, as the last try of a finger, counts too.
                if self._transaction.changed():
                    self._count_change()
        whole = answer if isinstance(answer, Response) else Response(SW.NO_ERROR, answer)
        return whole, None

    def ctap(self, channel: fido2.Channel, request: bytes) -> bytes:
        """Run one CTAP request on a channel of CTAPHID, see Authenticator.ctap."""
        return self.authenticator.ctap(channel, request)

    def u2f(self, channel: fido2.Channel, command: bytes) -> bytes:
        """Run one command APDU of U2F on a channel of CTAPHID, where nothing is selected.

        Raises CardRemoved, and no other Exception, where the token was pulled.
        """
        from token_fw.apps import fido2  # noqa: PLC0415  whoever has a channel has loaded it

        session = fido2.FidoSession(self.authenticator, channel)
        return Interface(self, (self._fido2,), session).transceive(command)

    def authority(self) -> tuple[Attestation, bytes]:
        """How FIDO credentials are attested, and who certifies that: the authority's certificate.

        It is in DER, and empty where no statement leads to it. Raises StorageError, and CardRemoved
        where the token was pulled.
        """
        core = self.authenticator.core
        kind = core.token.attestation

        def look() -> bytes:
            core.furnish()
            leads = kind is Attestation.CERTIFICATE or core.settings.enterprise_attestation
            return core.attester.chain()[-1] if leads else b""

        answer, error = self.run(look)
        if error is not None:
            raise error
        return kind, answer.data

    def power_up(self) -> None:
        """The power was taken from the card and given again, as far as its authenticator can tell.

        What is selected and verified on interfaces is their own affair.
        """
        with self._lock:
            self._fido2.power_up()

    def _fail(self, error: Exception) -> int:
        sw = _status(error)
        if isinstance(error, StorageError):
            self._transaction.trouble = str(error)
        if sw == SW.MEMORY_FAILURE:
            # The changes may be durable or not: whoever keeps a copy has to look again.
            self._count_change()
        try:
            self._transaction.rollback()
        except StorageError as failure:
            return _status(failure)
        return sw

    def _count_change(self) -> None:
        self.changes = (self.changes + 1) & 0xFFFFFFFF
        self._tell_change()


@cache
def _found(*names: str) -> frozenset[str]:
    """The applications that are found through an interface, the same object for many of them."""
    return frozenset(names)


class Interface:
    """One door to the card: a Transport that never raises for any bytes of a command.

    Calls from several threads follow one another. After `close`, or when the card is closed,
    `transceive` raises CardRemoved.
    """

    def __init__(
        self,
        card: Card,
        applications: tuple[Installed, ...],
        session: Session | None = None,
    ) -> None:
        """With a session, of the first application, that one is selected."""
        self._card = card
        self._applications = applications
        self._lock = threading.Lock()
        self._chain = CommandChain()
        self._queue = ResponseQueue()
        self._selected: tuple[Application[Any, Any], Session] | None = (
            None if session is None else (applications[0].application, session)
        )
        self._told = Told(applications=_found(*(item.spec.name for item in applications)))
        self._closed = False
        self.cause: Exception | None = None
        """Why the last command was refused, for a trace; None when it was not."""

    @property
    def application(self) -> str:
        """The name of the selected application; empty before a SELECT."""
        selected = self._selected
        return "" if selected is None else selected[0].spec.name

    def branch(self) -> Interface:
        """A further door with the application selected on which the same PINs are verified.

        Like a logical channel of a card with one security status for all: a login or logout on
        either holds for both. What else is chosen is forgotten.
        """
        other = Interface(self._card, self._applications)
        selected = self._selected
        if selected is not None:
            other._selected = selected[0], selected[1].branch()
        return other

    def reset(self) -> bytes:
        """Forget selection, security status and unfinished chains; returns the ATR.

        What the client was told stays: the program that resets a card is not always the one that
        asked, and that one does not ask again.
        """
        with self._lock:
            self._chain.reset()
            self._queue.clear()
            self._deselect()
        return ATR

    def power_up(self) -> bytes:
        """As `reset`, in a reader that takes the power away and gives it again."""
        atr = self.reset()
        if any(item.spec.name == "fido2" for item in self._applications):
            self._card.power_up()
        return atr

    def close(self) -> None:
        """End this interface; a command that runs on it still gets its answer.

        One that waits for its user is cancelled.
        """
        self._closed = True
        selected = self._selected
        if selected is not None:
            selected[1].end()

    def changes(self) -> int:
        """What GET DATA of the change counter would tell; raises CardRemoved as `transceive`."""
        if self._closed or self._card.closed:
            raise CardRemoved("the card was removed")
        return self._card.changes

    def transceive(self, command: bytes) -> bytes:
        """Run one command APDU; raises CardRemoved when there is no card any more."""
        with self._lock:
            if self._closed or self._card.closed:
                raise CardRemoved("the card was removed")
            self.cause = None
            try:
                return self._exchange(Command.parse(command)).encode()
            except CardRemoved:
                raise
            except Exception as error:  # noqa: BLE001  a card answers, whatever it is sent
                self._chain.reset()
                self._queue.clear()
                if self._selected is not None:
                    self._selected[1].begin(None)
                self.cause = error
                return Response(_status(error)).encode()

    def _exchange(self, command: Command) -> Response:
        if command.cla & CHAINING or self._chain.active:
            whole = self._continue_chain(command)
            if whole is None:
                return Response(SW.NO_ERROR)
            command = whole
        if command.ins == _GET_RESPONSE and command.cla == 0x00:
            return self._get_response(command)
        self._queue.clear()
        if command.ins == _SELECT and command.p1 == _BY_NAME and command.cla == 0x00:
            for item in self._applications:
                if item.spec.is_named(command.data):
                    return self._select(item, command)
        if self._selected is None:
            raise self._without_application(command)
        application, session = self._selected
        spec, handler = application.find(command)
        session.begin(spec)
        response, self.cause = self._card.run(lambda: _execute(session, spec, handler, command))
        return self._queue.answer(response, self._ne(command))

    def _continue_chain(self, command: Command) -> Command | None:
        """Take a part of a chain; returns the whole command with the last one."""
        self._queue.clear()
        if not self._chain.active:
            if self._selected is None:
                raise self._without_application(command)
            spec, _ = self._selected[0].find(command)
            if not spec.chaining:
                raise errors.ChainingNotSupported("the command cannot be sent as a chain")
        return self._chain.feed(command)

    def _get_response(self, command: Command) -> Response:
        if command.p1p2:
            raise errors.IncorrectParameters("GET RESPONSE has P1 P2 0000")
        ne = self._ne(command)
        if command.data or not ne:
            raise errors.WrongLength("GET RESPONSE has Le and no data field")
        if self._selected is not None:
            self._selected[1].begin(None)
        return self._queue.get_response(ne)

    def _select(self, item: Installed, command: Command) -> Response:
        """Begin a session; whatever the interface had verified or chosen is forgotten.

        Where the storage fails nothing is selected afterwards: its status word promises no state
        (ISO/IEC 7816-4:2013, 5.6), and so none in which access rights are left.
        """
        application = item.application
        application.find(command)
        self._deselect()
        session = application.open_session(item.core, self._told)
        response, self.cause = self._card.run(lambda: application.select(session))
        if response.sw == SW.NO_ERROR:
            self._selected = application, session
            if command.p2 == _NO_ANSWER:
                response = Response(SW.NO_ERROR)
        # Clients that send no Le expect the answer all the same.
        return self._queue.answer(response, min(command.ne or MAX_SHORT_NE, MAX_RESPONSE))

    def _deselect(self) -> None:
        """End the session: a request of it that still runs waits for its user no more."""
        selected, self._selected = self._selected, None
        if selected is not None:
            selected[1].end()

    def _ne(self, command: Command) -> int:
        """How many bytes are answered at once."""
        default = self._selected[0].spec.default_ne if self._selected is not None else 0
        return min(command.ne or default, MAX_RESPONSE)

    def _without_application(self, command: Command) -> Exception:
        """Only SELECT works before an application is selected (ISO/IEC 7816-4:2013, 12.2.2)."""
        if not any(item.spec.knows_class(command.cla) for item in self._applications):
            return class_error(command.cla)
        if command.ins == _SELECT and command.cla == 0x00:
            return errors.FileNotFound("no application has that name")
        return errors.InstructionNotSupported("no application is selected")


def _execute(
    session: Session, spec: CommandSpec, handler: Handler[Any, Any], command: Command
) -> bytes | Response:
    check_data(spec, command)
    if not session.permits(spec.access):
        raise errors.SecurityStatusNotSatisfied("a PIN or a key has to be proven first")
    return handler.execute(session, handler.parse(command))
