"""The frozen types of which the generated catalogue is made (`apdu/_catalogue.py`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from apdu.codec import CHAINING


class Access(StrEnum):
    """Who may run a command; FILE, OBJECT and KEY leave it to the rule of what it acts on."""

    ALWAYS = "always"
    USER = "user"
    SO = "so"
    USER_OR_SO = "user-or-so"
    MANAGEMENT = "management"
    USER_AND_MANAGEMENT = "user-and-management"
    FILE = "file"
    OBJECT = "object"
    KEY = "key"


class DataField(StrEnum):
    """Whether a command has a data field."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class StatusWord:
    """A status word, or a family of them: the lowest `bits` bits of `value` carry a number.

    A `general` one may end any command, hence no CommandSpec names it.
    """

    value: int
    name: str
    title: str
    bits: int = 0
    general: bool = False

    def matches(self, sw: int) -> bool:
        """Whether `sw` is this status word or of this family."""
        return sw >> self.bits == self.value >> self.bits


@dataclass(frozen=True, slots=True)
class PinUse:
    """What a command does with P1 P2 to PINs, which have the names of spec/vectors.

    Its data field holds the value of the PIN that it `compares` and the new one of the PIN that it
    `sets`. Once that is done, those it `restores` have all their tries, those it `verifies` are
    verified, those it `ends` are not, and those it `clears` have no value. Those in `wrong_ends`
    are verified no more after a wrong value. What is not named stays as it was.
    """

    p1: int
    p2: int
    compares: str = ""
    sets: str = ""
    restores: frozenset[str] = frozenset()
    verifies: frozenset[str] = frozenset()
    ends: frozenset[str] = frozenset()
    clears: frozenset[str] = frozenset()
    wrong_ends: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A command of an application, as its table in spec/commands says.

    `cla` holds classes without the chaining bit; `p1` and `p2` hold the allowed values, None
    meaning any; `status` holds the names of the status words it may end with, beyond the general
    ones; `secret` and `secret_response` mask the data fields in a trace; `chaining` says whether
    it may be sent as a chain; a `harmless` command changes nothing that outlasts a reset; a
    `silent` one answers no data, but for the values of P2 in `answering`; `volatile` says what is
    in the response where that differs from card to card or from time to time; `references` holds
    the values of P2 that may name something on a card, None meaning any; `pins` says what it does
    to PINs; `clause` is the place in the standard.
    """

    name: str
    cla: frozenset[int]
    ins: int
    title: str
    data: DataField
    access: Access
    clause: str
    p1: frozenset[int] | None = None
    p2: frozenset[int] | None = None
    secret: bool = False
    secret_response: bool = False
    chaining: bool = False
    harmless: bool = False
    silent: bool = False
    answering: frozenset[int] = frozenset()
    volatile: str = ""
    references: frozenset[int] | None = None
    pins: tuple[PinUse, ...] = ()
    status: tuple[str, ...] = ()

    def takes(self, p1: int, p2: int) -> bool:
        """Whether both parameter bytes are allowed."""
        return (self.p1 is None or p1 in self.p1) and (self.p2 is None or p2 in self.p2)

    def answers(self, p2: int) -> bool:
        """Whether there may be data in its answer with that P2."""
        return not self.silent or p2 in self.answering


@dataclass(frozen=True, slots=True)
class ApplicationSpec:
    """An application: its AID (5 to 16 bytes) and its commands in the order of the table.

    Two commands may share CLA and INS when no P1 P2 fits both. `shortest_aid` says to how many
    bytes the AID may be cut in SELECT (0: not at all), `default_ne` how many response bytes are
    answered at once to a command without Le.
    """

    name: str
    aid: bytes
    title: str
    clause: str
    commands: tuple[CommandSpec, ...]
    shortest_aid: int = 0
    default_ne: int = 0
    _index: dict[tuple[int, int], tuple[CommandSpec, ...]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        index: dict[tuple[int, int], tuple[CommandSpec, ...]] = {}
        for command in self.commands:
            for cla in command.cla:
                key = cla, command.ins
                index[key] = (*index.get(key, ()), command)
        object.__setattr__(self, "_index", index)

    def is_named(self, name: bytes) -> bool:
        """Whether SELECT by that name means this application (ISO/IEC 7816-4:2013, 12.2.3)."""
        if 0 < self.shortest_aid <= len(name):
            return self.aid.startswith(name)
        return name == self.aid

    def match(
        self, cla: int, ins: int, p1: int | None = None, p2: int | None = None
    ) -> CommandSpec | None:
        """The command with that class (the chaining bit is ignored) and instruction, or None.

        With P1 and P2, only a command that takes them; without, the first one of the table.
        """
        commands = self._index.get((cla & ~CHAINING, ins), ())
        if p1 is None or p2 is None:
            return commands[0] if commands else None
        for command in commands:
            if command.takes(p1, p2):
                return command
        return None

    def command(self, name: str) -> CommandSpec:
        """The command with that name; raises KeyError when there is none."""
        for command in self.commands:
            if command.name == name:
                return command
        raise KeyError(name)

    def knows_class(self, cla: int) -> bool:
        """Whether any command has that class (the chaining bit is ignored)."""
        return any(cla & ~CHAINING in command.cla for command in self.commands)


@dataclass(frozen=True, slots=True)
class TagSpec:
    """How a trace shows a data object: by its name and its `members`, if it is a template.

    A `text` value is shown as text, a `secret` one not at all, one of `values` by its name. A
    `volatile` one differs from card to card.
    """

    tag: int
    name: str
    members: tuple[TagSpec, ...] = ()
    values: tuple[tuple[bytes, str], ...] = ()
    text: bool = False
    secret: bool = False
    volatile: bool = False
