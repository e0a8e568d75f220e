"""All checks of one card, in the order in which the first that fails explains the later ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from apdu.model import APPLICATIONS
from host_tools.conformance import behaviour, pki_commands, rules, vectors
from host_tools.conformance.behaviour import Pin
from host_tools.conformance.checks import Check, Verdict
from host_tools.conformance.pki import PkiDialect
from host_tools.conformance.subject import Card, Subject
from host_tools.conformance.vectors import Blank, Dialect, Pins

_NO_PIN = "it needs the {} PIN"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is said of an application beside its catalogue.

    `references` are P2 of VERIFY by the name of the PIN, `padded` is a PIN as VERIFY takes it.
    """

    dialect: Callable[[Subject, Pins, Blank | None], Dialect]
    references: Mapping[str, int]
    padded: Callable[[bytes], bytes] = bytes


KINDS: Mapping[str, Kind] = {
    "pki": Kind(PkiDialect, {"user": pki_commands.USER, "so": pki_commands.SO}),
}
"""The applications whose cards can be examined."""


class Examination:
    """The checks of one card's application.

    `pins` are the values of its PINs by name. Only a `destructive` one changes the card: it spends
    tries, and erases the card for every vector; `blank` brings it back to the factory.
    """

    def __init__(
        self,
        card: Card,
        application: str,
        pins: Pins,
        *,
        destructive: bool = False,
        blank: Blank | None = None,
    ) -> None:
        self._subject = Subject(card, APPLICATIONS[application])
        self._kind = KINDS[application]
        table = vectors.load(application)
        self._vectors = table.vectors if table else ()
        self._tries = table.tries if table else {}
        self._values = {**(table.pins if table else {}), **pins}
        self._given = pins
        self._destructive = destructive
        self._blank = blank

    def run(self) -> Iterator[Check]:
        """Make the checks. Raises CardRemoved when there is no card any more."""
        yield from rules.examine(self._subject, destructive=self._destructive)
        yield from behaviour.harmless(self._subject)
        if self._destructive:
            yield from behaviour.logins(self._subject, self._pins())
        yield from self._run_vectors()

    def destroys(self) -> list[str]:
        """What a destructive examination does to the card, a line for each step."""
        commands = [spec for spec in self._subject.application.commands if rules.risky(spec)]
        steps = [f"rules: {spec.name} is sent with wrong headers" for spec in commands]
        steps += [f"counters: wrong values of the {name} PIN spend tries" for name in self._pins()]
        return steps + [
            f"vector: {vector.name}: the card is erased and made {vector.card}"
            for vector in self._vectors
        ]

    def restore(self) -> None:
        """Leave the card with the PINs that were given. Raises StatusWordError, SkipError."""
        self._dialect().begin("operational")

    def _pins(self) -> dict[str, Pin]:
        padded, values = self._kind.padded, self._values
        return {
            name: Pin(
                name,
                reference,
                padded(values[name].encode()),
                padded(values[f"{name}-wrong"].encode()),
            )
            for name, reference in self._kind.references.items()
            if name in self._given
        }

    def _dialect(self) -> Dialect:
        return self._kind.dialect(self._subject, self._values, self._blank)

    def _run_vectors(self) -> Iterator[Check]:
        missing = [name for name in self._tries if name not in self._given]
        dialect = self._dialect()
        for vector in self._vectors:
            if not self._destructive:
                yield vectors.unexamined(self._subject, vector)
            elif missing:
                reason = _NO_PIN.format(" and the ".join(missing))
                yield vectors.unexamined(self._subject, vector, reason)
            else:
                yield from vectors.examine(self._subject, dialect, vector, self._tries)


def sound(checks: list[Check]) -> bool:
    """Whether no check failed."""
    return all(check.verdict is not Verdict.FAILED for check in checks)
