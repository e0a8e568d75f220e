"""All checks of one card, in the order in which the first that fails explains the later ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from apdu.model import APPLICATIONS, SW, StatusWordError, describe
from host_tools.conformance import behaviour, piv_commands, pki_commands, rules, vectors
from host_tools.conformance.behaviour import Pin
from host_tools.conformance.checks import Check, DifferenceError
from host_tools.conformance.piv import PivDialect
from host_tools.conformance.pki import PkiDialect
from host_tools.conformance.subject import Card, Subject
from host_tools.conformance.vectors import Blank, Dialect, Pins, Vectors

_NO_PIN = "it needs the {} PIN"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is said of an application beside its catalogue.

    `references` are P2 of VERIFY by the name of the PIN, `wrong` the names of wrong values in the
    vectors' table, `padded` is a PIN as VERIFY takes it.
    """

    dialect: Callable[[Subject, Vectors, Pins, Blank | None], Dialect]
    references: Mapping[str, int]
    wrong: Mapping[str, str]
    padded: Callable[[bytes], bytes] = bytes


def _pki(subject: Subject, table: Vectors, given: Pins, blank: Blank | None) -> Dialect:
    return PkiDialect(subject, {**table.pins, **given}, blank)


def _piv(subject: Subject, table: Vectors, given: Pins, _: Blank | None) -> Dialect:
    return PivDialect(subject, table.pins, table.table["management_keys"], given)


KINDS: Mapping[str, Kind] = {
    "pki": Kind(
        _pki,
        {"user": pki_commands.USER, "so": pki_commands.SO},
        {"user": "user-wrong", "so": "so-wrong"},
    ),
    "piv": Kind(
        _piv,
        {"user": piv_commands.REF_PIN},
        {"user": "pin-wrong"},
        piv_commands.padded,
    ),
}
"""The applications whose cards can be examined."""


class WrongPinError(Exception):
    """The card refuses a PIN that was given, by its name; the message is what it answers."""

    def __init__(self, name: str, sw: int) -> None:
        super().__init__(describe(sw))
        self.name = name
        self.locked = sw == SW.AUTHENTICATION_METHOD_BLOCKED


def destroys(application: str, pins: Iterable[str]) -> list[str]:
    """What a destructive examination does to the card that has PINs of these names, in order."""
    risky = [spec.name for spec in APPLICATIONS[application].commands if rules.risky(spec)]
    return [
        *(f"{name} is sent where it has to be refused" for name in risky),
        *(
            f"wrong values of the {name} PIN spend tries, the right one gives them back"
            for name in pins
        ),
        *(
            f"the card is erased and made {vector.card}: {vector.name}"
            for vector in vectors.load(application).vectors
        ),
    ]


def taken(application: str, pins: Pins) -> list[str]:
    """The names of those PINs whose values the vectors use for another, as for a wrong one."""
    values, wrong = vectors.load(application).pins, KINDS[application].wrong
    return [
        name
        for name, value in pins.items()
        if value in {values[other] for other in values if other != _own(wrong[name])}
    ]


def _own(wrong: str) -> str:
    """What the vectors call the right value, where they call a wrong one so."""
    return wrong.removesuffix("-wrong")


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
        self._table = vectors.load(application)
        self._given = pins
        self._destructive = destructive
        self._blank = blank

    def run(self) -> Iterator[Check]:
        """Make the checks.

        Raises CardRemoved when there is no card any more, and, before a destructive examination
        begins, WrongPinError where the card refuses a PIN that it needs again and again.
        """
        if self._destructive:
            yield from self._try_pins()
        yield from rules.examine(self._subject, destructive=self._destructive)
        yield from behaviour.harmless(self._subject)
        if self._destructive:
            yield from behaviour.logins(self._subject, self._pins())
        yield from self._run_vectors()

    def restore(self) -> None:
        """Leave the card with the PINs that were given. Raises DifferenceError, SkipError."""
        try:
            self._dialect().leave()
        except StatusWordError as error:
            raise DifferenceError(describe(SW.NO_ERROR), str(error)) from error

    def _try_pins(self) -> Iterator[Check]:
        clause = behaviour.clause(self._subject)
        for pin in self._pins().values():
            group = "the card takes the PINs that are given"
            with self._subject.check(group, f"{pin.name} PIN", "VERIFY", clause) as outcome:
                self._subject.fresh()
                response = behaviour.verify(self._subject, pin, pin.right)
                # Where it was never set, the first vector sets it.
                if response.sw not in {SW.NO_ERROR, SW.REFERENCE_DATA_NOT_USABLE}:
                    raise WrongPinError(pin.name, response.sw)
            yield outcome[0]

    def _pins(self) -> dict[str, Pin]:
        kind, given = self._kind, self._given
        return {
            name: Pin(
                name,
                reference,
                kind.padded(given[name].encode()),
                kind.padded(self._table.pins[kind.wrong[name]].encode()),
            )
            for name, reference in kind.references.items()
            if name in given
        }

    def _dialect(self) -> Dialect:
        return self._kind.dialect(self._subject, self._table, self._given, self._blank)

    def _run_vectors(self) -> Iterator[Check]:
        missing = [name for name in self._kind.references if name not in self._given]
        dialect = self._dialect()
        for vector in self._table.vectors:
            if not self._destructive:
                yield vectors.unexamined(self._subject, vector)
            elif missing:
                reason = _NO_PIN.format(" and the ".join(missing))
                yield vectors.unexamined(self._subject, vector, reason)
            else:
                yield from vectors.examine(self._subject, dialect, vector, self._table.tries)
