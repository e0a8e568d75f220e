"""The vectors of spec/vectors: steps by meaning, made commands by an application's dialect."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import apdu
from apdu.codec import Response
from apdu.model import SW, StatusWordError, describe
from host_tools.conformance.checks import Check, DifferenceError, SkipError, Verdict
from host_tools.conformance.subject import RESET, RESET_CLAUSE, Subject

Step = Mapping[str, Any]
Pins = Mapping[str, str]
Blank = Callable[[], None]
"""What brings a card back to the factory, where anything can."""

DIGEST = bytes(range(32))
"""What is signed, and a challenge."""
SECRET = b"a session key"
"""What is enciphered."""
FACTORY, OPERATIONAL, BLANK = "factory-new", "operational", "blank"
_RETRIES = re.compile(r"RemainingRetries\((\d+)\)")
_CHANGES_THE_CARD = "it erases the card: give --destructive"


class Dialect(Protocol):
    """What the catalogue cannot say of an application."""

    @property
    def pins(self) -> Pins:
        """The values of the PINs by name, which the card has once it has begun."""
        ...

    def begin(self, card: str) -> None:
        """Bring the card to where a vector begins: `blank`, `operational` or `factory-new`.

        Raises SkipError where this card cannot be brought there, StatusWordError where it refuses.
        """
        ...

    def run(self, step: Step) -> Response:
        """Send the commands of a step; what the last one answered.

        Raises DifferenceError for a wrong answer, StatusWordError where one before the last is
        refused.
        """
        ...

    def leave(self) -> None:
        """Leave the card with the PINs that were given. Raises as `begin`."""
        ...

    def tries(self, name: str) -> int:
        """The tries that a PIN has left. Raises DifferenceError where the card does not tell."""
        ...

    def counted(self, step: Step) -> str:
        """The name of the PIN whose tries a step may spend."""
        ...


@dataclass(frozen=True, slots=True)
class Vector:
    """Steps on a card that is `blank`, `operational` or as it left the `factory` at first."""

    name: str
    card: str
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True)
class Vectors:
    """The table of an application: values of PINs by name, the tries they are written for.

    A card may have more `tries`: what its PINs have left is that many more, and a step that spends
    the last try is repeated as often.

    `table` is the whole of it, for what only one application has.
    """

    pins: Pins
    tries: Mapping[str, int]
    vectors: tuple[Vector, ...]
    table: Mapping[str, Any]


def spec_folder() -> Path:
    """The tables: in a checkout beside the packages, in an installation within `apdu`."""
    package = Path(apdu.__file__).parent
    installed = package / "_spec"
    return installed if installed.is_dir() else package.parent / "spec"


def load(application: str) -> Vectors:
    """The vectors of an application."""
    path = spec_folder() / "vectors" / f"{application}.toml"
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    vectors = (
        Vector(item["name"], item.get("card", FACTORY), item["steps"]) for item in table["vector"]
    )
    return Vectors(table["pins"], table.get("tries", {}), tuple(vectors), table)


def expected(step: Step, more: int = 0) -> list[int]:
    """The status words that a step has to end with, one for each time that it is run.

    The card has so many `more` tries of the PIN than the table is written for.
    """
    wanted, left = step["expect"], _left(step)
    if left is None:
        return [SW.NO_ERROR if wanted == "Valid" else int(getattr(SW, wanted))]
    if left == 0:
        return [SW.WRONG_PIN | more - spent for spent in range(more + 1)]
    return [SW.WRONG_PIN | left + more]


def _left(step: Step) -> int | None:
    """The tries that a step leaves, where it expects a number of them."""
    retries = _RETRIES.fullmatch(step["expect"])
    return None if retries is None else int(retries[1])


def examine(
    subject: Subject, dialect: Dialect, vector: Vector, tries: Mapping[str, int]
) -> Iterator[Check]:
    """A check for the beginning of a vector and for each step; none runs after one that failed."""
    group = f"vector: {vector.name}"
    more: Mapping[str, int] = {}
    with subject.check(group, f"a card that is {vector.card}", RESET, RESET_CLAUSE) as outcome:
        more = _begin(dialect, vector, tries)
    yield outcome[0]
    hindrance = outcome[0].reason or "a step before it failed"
    sound = outcome[0].verdict is Verdict.PASSED
    for number, step in enumerate(vector.steps, 1):
        name = f"{number}: {_told(step)}"
        with subject.check(group, name, step["command"], _clause(subject, step)) as outcome:
            if not sound:
                raise SkipError(hindrance)
            _run(subject, dialect, step, more)
        yield outcome[0]
        sound = outcome[0].verdict is Verdict.PASSED


def unexamined(subject: Subject, vector: Vector, reason: str = _CHANGES_THE_CARD) -> Check:
    """The vector as one check that was not made."""
    group, clause = f"vector: {vector.name}", _clause(subject, vector.steps[0])
    steps = f"{len(vector.steps)} steps"
    return Check(group, steps, "", clause, Verdict.SKIPPED, reason=reason)


def _begin(dialect: Dialect, vector: Vector, tries: Mapping[str, int]) -> Mapping[str, int]:
    """Begin a vector; how many more tries than in the table the card has, by the PIN's name."""
    counting = [step for step in vector.steps if _left(step) is not None]
    more: dict[str, int] = {}
    with differences():
        if counting and tries:
            # A card that is blank does not tell.
            dialect.begin(OPERATIONAL)
            more = {name: dialect.tries(name) - count for name, count in tries.items()}
        if vector.card != OPERATIONAL or not more:
            dialect.begin(vector.card)
    for step in counting:
        name, left = dialect.counted(step), _left(step) or 0
        # A try that is the last is spent only where the vector means to.
        if left + more.get(name, 0) < min(left, 1):
            found = tries[name] + more[name]
            raise SkipError(f"it takes more tries of the {name} PIN than {found}")
    return more


def _run(subject: Subject, dialect: Dialect, step: Step, more: Mapping[str, int]) -> None:
    for wanted in expected(step, more.get(dialect.counted(step), 0)):
        with differences():
            response = dialect.run(step)
        subject.expect(response, (wanted,))


@contextmanager
def differences() -> Iterator[None]:
    """A command before the one that counts has to succeed, and its answer to have its form."""
    try:
        yield
    except StatusWordError as error:
        raise DifferenceError(describe(SW.NO_ERROR), str(error)) from error
    except (LookupError, ValueError) as error:
        # Nothing of it is told: an answer may hold a secret key.
        raise DifferenceError("an answer of the right form", "one of another form") from error


def _clause(subject: Subject, step: Step) -> str:
    command = step["command"]
    return RESET_CLAUSE if command == RESET else subject.application.command(command).clause


def _told(step: Step) -> str:
    """A step for people: its command with what it is given."""
    given = [f"{key} {value}" for key, value in step.items() if key not in {"command", "expect"}]
    return " ".join([step["command"], *([f"({', '.join(given)})"] if given else [])])
