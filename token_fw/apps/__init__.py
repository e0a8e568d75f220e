"""What an application is: a table of commands, and for each the function that runs it.

It is the same on every card; what it keeps of one it makes of the card's parts, when it is first
reached there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from apdu.codec import CHAINING, Command, Response
from apdu.spec import Access, ApplicationSpec, CommandSpec, DataField
from token_fw.env import Env
from token_fw.errors import (
    ClassNotSupported,
    FileNotFound,
    IncorrectParameters,
    InstructionNotSupported,
    LogicalChannelNotSupported,
    SecureMessagingNotSupported,
    WrongLength,
)
from token_fw.fingerprint import Matcher
from token_fw.pin import Pins
from token_fw.state import Token
from token_fw.transaction import Transaction

CARD_COMMANDS = frozenset({"GET RESPONSE"})
"""Commands in a catalogue that the card itself runs, for every application."""


Work = Callable[[], "bytes | Response"]
"""One command: it gives response data, or a whole response where 9000 is not its status word."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What every application of a card finds there: the token's durable state and the effects.

    `changes` is the card's change counter; `run` runs work as one transaction, as Card.run does.
    """

    transaction: Transaction
    token: Token
    pins: Pins
    matcher: Matcher
    env: Env
    changes: Callable[[], int]
    run: Callable[[Work], tuple[Response, Exception | None]]


@dataclass(slots=True)
class Told:
    """What the client of one interface was told; it holds until the power goes.

    `version`: that of the PKI application's command set, for which clients of version 1 ask once,
    when they find the card, and others never. `applications`: the names of those that it finds.
    """

    version: bool = False
    applications: frozenset[str] = frozenset()


class Session(Protocol):
    """What an application keeps for one interface between a SELECT and the next."""

    def permits(self, access: Access) -> bool:
        """Whether the security status of the interface satisfies an access rule."""

    def begin(self, command: CommandSpec | None) -> None:
        """Called before every whole command; None for one that is not in the catalogue."""

    def branch(self) -> Session:
        """One for a further interface, on which the same PINs are verified as on this one."""

    def end(self) -> None:
        """The interface is closed: no command waits for its user any more. From any thread."""


K = TypeVar("K")
S = TypeVar("S", bound=Session)
C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Handler(Generic[S, C]):
    """Runs one command: `parse` makes a typed one of it or refuses it, `execute` runs that.

    Both raise CardError or CryptoError; the data field is there, or not, as the catalogue says.
    `execute` gives the response data, or a whole response where 9000 is not its status word.
    """

    parse: Callable[[Command], C]
    execute: Callable[[S, C], bytes | Response]


def _no_such_name(_: Command) -> None:
    raise FileNotFound("no application has that name")


SELECT_NAME: Handler[Any, None] = Handler(_no_such_name, lambda _session, _command: b"")
"""SELECT of an application without files: the card has found no application of that name."""


class Application(Generic[K, S]):
    """An application: its catalogue, its handlers, and how it begins on a card and in a session."""

    def __init__(
        self,
        spec: ApplicationSpec,
        handlers: Mapping[str, Handler[S, Any]],
        install: Callable[[Parts, float], K],
        open_session: Callable[[K, Told], S],
        *,
        select: Callable[[S], bytes] = lambda _: b"",
        power_up: Callable[[K], None] = lambda _: None,
    ) -> None:
        """`install` makes what all interfaces of a card share, of its parts and when it got power.

        `select` runs when the application is selected and gives what SELECT answers; `power_up`
        when the power was taken from a card where it is installed, and given again.

        Raises ValueError when handlers and catalogue do not name the same commands.
        """
        names = {command.name for command in spec.commands} - CARD_COMMANDS
        if differing := names ^ handlers.keys():
            raise ValueError(
                f"handlers and catalogue of {spec.name} disagree on: {', '.join(sorted(differing))}"
            )
        self.spec = spec
        self.install = install
        self.open_session = open_session
        self.select = select
        self.power_up = power_up
        self._table: dict[tuple[int, int], tuple[tuple[CommandSpec, Handler[S, Any]], ...]] = {}
        for command in spec.commands:
            if command.name in CARD_COMMANDS:
                continue
            for cla in command.cla:
                known = self._table.get((cla, command.ins), ())
                entry = (command, handlers[command.name])
                self._table[cla, command.ins] = (*known, entry)

    def find(self, command: Command) -> tuple[CommandSpec, Handler[S, Any]]:
        """The catalogue's entry and the handler of a command; the chaining bit is ignored.

        Raises ClassNotSupported, LogicalChannelNotSupported, SecureMessagingNotSupported,
        InstructionNotSupported or IncorrectParameters.
        """
        entries = self._table.get((command.cla & ~CHAINING, command.ins))
        if entries is None:
            raise self._unknown(command)
        p1, p2 = command.p1, command.p2
        for entry in entries:
            if entry[0].takes(p1, p2):
                return entry
        raise IncorrectParameters("the command does not take these parameters")

    def _unknown(self, command: Command) -> Exception:
        if self.spec.knows_class(command.cla):
            return InstructionNotSupported("the application has no such instruction")
        return class_error(command.cla)


def class_error(cla: int) -> Exception:
    """What is wrong with a class that no command has (ISO/IEC 7816-4:2013, 5.4.1)."""
    if cla & 0xE0 == 0x00:
        if cla & 0x0C:
            return SecureMessagingNotSupported("secure messaging is not supported")
        if cla & 0x03:
            return LogicalChannelNotSupported("there is only the basic logical channel")
    if cla & 0xC0 == 0x40:
        return LogicalChannelNotSupported("there is only the basic logical channel")
    return ClassNotSupported("no command has that class")


def check_data(spec: CommandSpec, command: Command) -> None:
    """Raises WrongLength when the data field is there and must not be, or the other way round."""
    if command.data:
        if spec.data is DataField.NONE:
            raise WrongLength("the command has no data field")
    elif spec.data is DataField.REQUIRED:
        raise WrongLength("the command needs a data field")
