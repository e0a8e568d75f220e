"""All checks of one card, in the order in which the first that fails explains the later ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from apdu.model import APPLICATIONS, SW, StatusWordError, describe
from apdu.transport import CardRemoved, TransportError
from host_tools.conformance import (
    behaviour,
    pin_uses,
    piv,
    piv_commands,
    piv_information,
    piv_login,
    pki,
    pki_login,
    rules,
    vectors,
)
from host_tools.conformance.behaviour import Credential
from host_tools.conformance.checks import Check, DifferenceError
from host_tools.conformance.pin_uses import PinData
from host_tools.conformance.subject import EXECUTED, Card, Subject
from host_tools.conformance.vectors import Blank, Dialect, Pins, Vectors

_TRIES_LEFT = range(SW.WRONG_PIN + 1, SW.WRONG_PIN + 16)
_TAKES = "the card takes the PINs that are given"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is said of an application beside its catalogue.

    `secrets` are the names of the PINs and keys that a destructive examination needs, and
    `credentials` what they are for; `references` are P2 of VERIFY by the name of the PIN, `padded`
    is a PIN as VERIFY takes it, `pin_data` makes the data fields of all commands that take PINs;
    `harmless` are checks of this application alone. In the vectors the secrets take the `place` of
    the table's, or the card has those of the table meanwhile.
    `extended` says whether its cards take extended length fields: those of PIV need only chains.
    """

    dialect: Callable[[Subject, Vectors, Pins, Blank | None], Dialect]
    secrets: Sequence[str]
    credentials: Callable[[Vectors, Pins], Sequence[Credential]]
    references: Mapping[str, int]
    pin_data: PinData
    padded: Callable[[bytes], bytes] = bytes
    harmless: Callable[[Subject], Iterator[Check]] = lambda _: iter(())
    place: bool = False
    extended: bool = True


KINDS: Mapping[str, Kind] = {
    "pki": Kind(
        pki.PkiDialect,
        tuple(pki_login.REFS),
        pki_login.credentials,
        pki_login.REFS,
        pki_login.PIN_DATA,
        harmless=pki.challenges,
        place=True,
    ),
    "piv": Kind(
        piv.PivDialect,
        piv_login.SECRETS,
        piv_login.credentials,
        piv_login.VERIFIED,
        piv_login.PIN_DATA,
        piv_commands.padded,
        piv_information.harmless,
        extended=False,
    ),
}
"""The applications whose cards can be examined."""


class WrongPinError(Exception):
    """The card refuses a PIN or key that was given; the message is what it answers.

    `spent` says whether that cost one of its tries, `locked` that it has none.
    """

    def __init__(self, item: Credential, sw: int) -> None:
        super().__init__(describe(sw))
        self.name = item.name
        self.locked = sw in {SW.AUTHENTICATION_METHOD_BLOCKED, SW.WRONG_PIN}
        self.spent = item.counted and sw in _TRIES_LEFT


def destroys(application: str, given: Pins, *, blank: bool) -> list[str]:
    """What a destructive examination does to the card that has these PINs, in order.

    `blank` says whether anything can make the card blank.
    """
    table = vectors.load(application)
    risky = [spec.name for spec in APPLICATIONS[application].commands if rules.risky(spec)]
    counted = [item for item in KINDS[application].credentials(table, given) if item.counted]
    whole = given.keys() >= set(KINDS[application].secrets)
    return [
        *(f"{name} is sent where it has to be refused" for name in risky),
        *(
            f"wrong values of the {item.name} spend tries, the right one gives them back"
            for item in counted
        ),
        *(
            f"the {item.name} is locked, and unlocked by erasing the card"
            for item in counted
            if whole and (blank or not item.final)
        ),
        *(
            f"the card is erased and made {item.card}: {item.name}"
            for item in table.vectors
            if blank or item.card != vectors.BLANK
        ),
    ]


def taken(application: str, given: Pins) -> list[str]:
    """The names of those PINs whose values the vectors use for another, as for a wrong one."""
    if not KINDS[application].place:
        return []
    others = {value for name, value in vectors.load(application).pins.items() if name not in given}
    return [name for name, value in given.items() if value in others]


def applications(card: Card) -> list[str]:
    """Those of KINDS that the card has, by SELECT. Raises CardRemoved where there is no card."""
    return [name for name in KINDS if _selects(Subject(card, APPLICATIONS[name]))]


def _selects(subject: Subject) -> bool:
    try:
        return subject.reset().sw1 in EXECUTED
    except CardRemoved:
        raise
    except (DifferenceError, TransportError):
        # What no card may answer is for the checks to tell.
        return True


class Examination:
    """The checks of one card's application.

    `pins` are the values of its PINs and keys by name. Only a `destructive` one changes the card:
    it spends tries, and erases the card for every vector; `blank` brings it back to the factory.
    Once it is `changing` the card, only `restore` makes that usable again.
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
        self._kind = KINDS[application]
        self._subject = Subject(card, APPLICATIONS[application], extended=self._kind.extended)
        self._table = vectors.load(application)
        self._credentials = self._kind.credentials(self._table, pins)
        self._missing = [name for name in self._kind.secrets if name not in pins]
        self._destructive = destructive
        self._unset = False
        self._blank = blank is not None
        self.changing = False
        self._dialect = self._kind.dialect(self._subject, self._table, pins, blank)

    def run(self) -> Iterator[Check]:
        """Make the checks; where there is no card any more, the one that broke off is the last.

        Raises WrongPinError, before a destructive examination begins, where the card refuses a PIN
        that it needs again and again.
        """
        try:
            yield from self._run()
        except CardRemoved:
            if self._subject.broken_off is None:
                raise
            yield self._subject.broken_off

    def _run(self) -> Iterator[Check]:
        if self._destructive:
            yield from self._try_pins()
            self.changing = True
        yield from rules.examine(self._subject, destructive=self._destructive)
        yield from behaviour.harmless(self._subject)
        yield from self._kind.harmless(self._subject)
        if self._destructive:
            if self._unset:
                yield self._set_pins()
            yield from behaviour.logins(self._subject, self._credentials)
            yield from pin_uses.examine(self._subject, self._uses(self._credentials), self._begin)
            if not self._missing:
                yield from self._run_locks()
        yield from self._run_vectors()

    def restore(self) -> None:
        """Leave the card with the PINs that were given. Raises DifferenceError, SkipError."""
        try:
            self._dialect.leave()
        except StatusWordError as error:
            raise DifferenceError(describe(SW.NO_ERROR), str(error)) from error

    def _try_pins(self) -> Iterator[Check]:
        for item in self._credentials:
            clause = item.clause(self._subject)
            with self._subject.check(_TAKES, item.name, item.command, clause) as outcome:
                self._subject.fresh()
                response = item.enter(self._subject)
                unset = self._kind.place and response.sw == SW.REFERENCE_DATA_NOT_USABLE
                if response.sw != SW.NO_ERROR and not unset:
                    raise WrongPinError(item, response.sw)
                self._unset = self._unset or unset
            yield outcome[0]

    def _set_pins(self) -> Check:
        """Give a card without PINs those that are given, for the checks that enter them."""
        item = self._credentials[0]
        clause = item.clause(self._subject)
        with self._subject.check(_TAKES, "PINs never set", item.command, clause) as outcome:
            self._begin()
            for credential in self._credentials:
                self._subject.expect(credential.enter(self._subject), (SW.NO_ERROR,))
        return outcome[0]

    def _uses(self, credentials: Iterable[Credential]) -> list[pin_uses.Use]:
        return pin_uses.uses(self._subject, credentials, self._kind.pin_data)

    def _begin(self) -> None:
        with vectors.differences():
            self._dialect.begin(vectors.OPERATIONAL)

    def _run_locks(self) -> Iterator[Check]:
        """As in the vectors the PINs have the values that the dialect gives them."""
        names = [item.pin for item in self._credentials if item.pin]
        values = {name: self._dialect.pins[name] for name in names}
        found = self._uses(self._kind.credentials(self._table, values))
        yield from pin_uses.locks(self._subject, found, self._begin, blank=self._blank)

    def _run_vectors(self) -> Iterator[Check]:
        for vector in self._table.vectors:
            if not self._destructive:
                yield vectors.unexamined(self._subject, vector)
            elif self._missing:
                reason = f"it needs the {' and the '.join(self._missing)}"
                yield vectors.unexamined(self._subject, vector, reason)
            else:
                yield from vectors.examine(self._subject, self._dialect, vector, self._table.tries)
