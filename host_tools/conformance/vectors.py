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
from host_tools.conformance.subject import Subject

Step = Mapping[str, Any]
Pins = Mapping[str, str]
Blank = Callable[[], None]
"""What brings a card back to the factory, where anything can."""

DIGEST = bytes(range(32))
"""What is signed, and a challenge."""
SECRET = b"a session key"
"""What is enciphered."""
RESET = "CARD RESET"
FACTORY = "factory-new"
_RESET_CLAUSE = "ISO/IEC 7816-3"
_RETRIES = re.compile(r"RemainingRetries\((\d+)\)")
_CHANGES_THE_CARD = "it erases the card: give --destructive"


class Dialect(Protocol):
    """What the catalogue cannot say of an application."""

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


@dataclass(frozen=True, slots=True)
class Vector:
    """Steps on a card that is `blank`, `operational` or as it left the `factory` at first."""

    name: str
    card: str
    steps: Sequence[Step]

    @property
    def counts(self) -> bool:
        """Whether a step expects a number of tries."""
        return any(_RETRIES.fullmatch(step["expect"]) for step in self.steps)


@dataclass(frozen=True, slots=True)
class Vectors:
    """The table of an application: values of PINs by name, the tries they are written for.

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


def expected(step: Step) -> int:
    """The status word that a step has to end with."""
    wanted = step["expect"]
    if retries := _RETRIES.fullmatch(wanted):
        return SW.WRONG_PIN | int(retries[1])
    return SW.NO_ERROR if wanted == "Valid" else int(getattr(SW, wanted))


def examine(
    subject: Subject, dialect: Dialect, vector: Vector, tries: Mapping[str, int]
) -> Iterator[Check]:
    """A check for the beginning of a vector and for each step; none runs after one that failed."""
    group = f"vector: {vector.name}"
    with subject.check(group, f"a card that is {vector.card}", RESET, _RESET_CLAUSE) as outcome:
        _begin(dialect, vector, tries)
    yield outcome[0]
    hindrance = outcome[0].reason or "a step before it failed"
    sound = outcome[0].verdict is Verdict.PASSED
    for number, step in enumerate(vector.steps, 1):
        name = f"{number}: {_told(step)}"
        with subject.check(group, name, step["command"], _clause(subject, step)) as outcome:
            if not sound:
                raise SkipError(hindrance)
            _run(subject, dialect, step)
        yield outcome[0]
        sound = outcome[0].verdict is Verdict.PASSED


def unexamined(subject: Subject, vector: Vector, reason: str = _CHANGES_THE_CARD) -> Check:
    """The vector as one check that was not made."""
    group, clause = f"vector: {vector.name}", _clause(subject, vector.steps[0])
    steps = f"{len(vector.steps)} steps"
    return Check(group, steps, "", clause, Verdict.SKIPPED, reason=reason)


def _begin(dialect: Dialect, vector: Vector, tries: Mapping[str, int]) -> None:
    with _differences():
        dialect.begin(vector.card)
    if vector.card == "operational" and vector.counts:
        for name, count in tries.items():
            if (found := dialect.tries(name)) != count:
                raise SkipError(f"it counts {count} tries of the {name} PIN, this card has {found}")


def _run(subject: Subject, dialect: Dialect, step: Step) -> None:
    with _differences():
        response = dialect.run(step)
    subject.expect(response, (expected(step),))


@contextmanager
def _differences() -> Iterator[None]:
    """A command before the one that counts has to succeed, and its answer to have its form."""
    try:
        yield
    except StatusWordError as error:
        raise DifferenceError(describe(SW.NO_ERROR), str(error)) from error
    except (LookupError, ValueError) as error:
        # Neither is told: an answer may hold a secret key.
        raise DifferenceError("an answer of the right form", type(error).__name__) from error


def _clause(subject: Subject, step: Step) -> str:
    command = step["command"]
    return _RESET_CLAUSE if command == RESET else subject.application.command(command).clause


def _told(step: Step) -> str:
    """A step for people: its command with what it is given."""
    given = [f"{key} {value}" for key, value in step.items() if key not in {"command", "expect"}]
    return " ".join([step["command"], *([f"({', '.join(given)})"] if given else [])])
