"""Every command that takes a PIN: which tries it costs, and who is logged in afterwards.

The catalogue says of each what it compares, sets, gives back, verifies and ends (`PinUse`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from apdu.codec import Command, Response
from apdu.model import SW, describe
from apdu.spec import CommandSpec, PinUse
from host_tools.conformance.behaviour import Credential
from host_tools.conformance.checks import Check, DifferenceError, SkipError, tries_left
from host_tools.conformance.rules import guarded, sample
from host_tools.conformance.subject import Subject

COUNTS = "a wrong PIN costs a try, the right one gives them back"
LOCKS = "the last try locks"
ENDS = "a wrong PIN ends a login"
LEAVES = "a PIN command logs in whom it should, and nobody else"
_MOST_SPENT = 2
_ONE_TRY = "the PIN has but one try left"
_SPENT = "it has but one try, which is spent now"
_MOST_TOLD, _UNTOLD = 15, "63Cx does not tell how many tries it has"

PinData = Mapping[str, Callable[[bytes, bytes], bytes]]
"""By the name of a command: its data field of the value that it compares and the one it sets."""
Begin = Callable[[], None]
"""What gives all PINs their values and their tries again."""


@dataclass(frozen=True, slots=True)
class Use:
    """A command with P1 and P2, and the PINs by the names that the catalogue gives them."""

    spec: CommandSpec
    effect: PinUse
    credentials: Mapping[str, Credential]
    data: Callable[[bytes, bytes], bytes]

    @property
    def name(self) -> str:
        """The command for people."""
        return f"{self.spec.name} {self.effect.p1:02X} {self.effect.p2:02X}"

    @property
    def compared(self) -> Credential:
        """The PIN whose value is compared, where one is."""
        return self.credentials[self.effect.compares]

    def send(self, subject: Subject, *, right: bool = True) -> Response:
        """The command with the right value or the wrong one; what it sets stays what it is."""
        value = new = b""
        if self.effect.compares:
            value = self.compared.right if right else self.compared.wrong
        if self.effect.sets:
            new = self.credentials[self.effect.sets].right
        cla, ins = min(self.spec.cla), self.spec.ins
        data = self.data(value, new)
        return subject.client.send(Command(cla, ins, self.effect.p1, self.effect.p2, data))

    def verified(self, before: frozenset[str], *, right: bool) -> frozenset[str]:
        """Which PINs are verified afterwards, where those were before."""
        effect = self.effect
        if not right:
            return before - effect.wrong_ends
        return before - effect.ends - effect.clears | effect.verifies


def uses(subject: Subject, credentials: Iterable[Credential], data: PinData) -> list[Use]:
    """All uses of PINs that the catalogue knows, of those PINs that are given."""
    by_name = {item.pin: item for item in credentials if item.pin}
    return [
        Use(spec, effect, by_name, data[spec.name])
        for spec in subject.application.commands
        for effect in spec.pins
        if {effect.compares, effect.sets, *effect.clears} - {""} <= by_name.keys()
    ]


def examine(subject: Subject, found: Iterable[Use], begin: Begin) -> Iterator[Check]:
    """What spends no last try; `begin` is called where a PIN has lost its value."""
    for use in found:
        if use.effect.compares:
            yield _counts(subject, use, begin)
        everybody = frozenset(name for name, item in use.credentials.items() if item.ask)
        opened = {access for item in use.credentials.values() for access in item.opens}
        if not guarded(use.spec):
            yield _leaves(subject, use, frozenset(), begin)
        if not guarded(use.spec) or use.spec.access in opened:
            yield _leaves(subject, use, everybody, begin)
        if use.effect.compares:
            yield _wrong_ends(subject, use, everybody)


def locks(subject: Subject, found: Iterable[Use], begin: Begin, *, blank: bool) -> Iterator[Check]:
    """What spends all tries; `begin` unlocks the PINs, the final ones where they can be `blank`."""
    for use in found:
        if use.effect.compares:
            yield _locks(subject, use, begin, blank=blank)


def _counts(subject: Subject, use: Use, begin: Begin) -> Check:
    """Each wrong value costs one try, for good; the right one gives them back."""
    with subject.check(COUNTS, use.name, use.spec.name, use.spec.clause) as outcome:
        subject.fresh()
        before = _most(subject, use.compared)
        others = {name: use.credentials[name] for name in use.effect.restores}
        others.pop(use.effect.compares, None)
        most = {name: _spend(subject, item) for name, item in others.items()}
        _spend_tries(subject, use, before)
        subject.expect(use.send(subject), (SW.NO_ERROR,))
        subject.fresh()
        for name, item in others.items():
            _has_tries(subject, item, most[name])
        if use.effect.compares in use.effect.restores:
            _has_tries(subject, use.compared, before)
        else:
            subject.expect(use.compared.enter(subject), (SW.NO_ERROR,))
        if use.effect.clears:
            begin()
    return outcome[0]


def _spend_tries(subject: Subject, use: Use, left: int) -> None:
    """Wrong values while more than one try is left, two at most; a reset brings none back."""
    pin = use.compared
    for _ in range(min(_MOST_SPENT if pin.ask else 1, left - 1)):
        left -= 1
        _is_spent(subject, pin, use.send(subject, right=False), left)
        subject.fresh()
        if pin.ask is not None:
            subject.expect(subject.client.send(pin.ask), (SW.WRONG_PIN | left,))
    if pin.ask is None and left > 1:
        # Only another wrong value tells.
        subject.expect(pin.enter(subject, right=False), (SW.WRONG_PIN | left - 1,))


def _most(subject: Subject, pin: Credential) -> int:
    """The tries that a PIN has. Raises SkipError where it is only one, which may be spent then."""
    if pin.ask is not None:
        left = tries_left(subject.client.send(pin.ask))
        if left == 1:
            raise SkipError(_ONE_TRY)
        return left
    subject.expect(pin.enter(subject), (SW.NO_ERROR,))
    left = tries_left(pin.enter(subject, right=False))
    if not left:
        raise SkipError(_SPENT)
    subject.expect(pin.enter(subject), (SW.NO_ERROR,))
    return min(left + 1, _MOST_TOLD)


def _spend(subject: Subject, pin: Credential) -> int:
    """Spend a try of a PIN by its own command; how many it had."""
    most = _most(subject, pin)
    _is_spent(subject, pin, pin.enter(subject, right=False), most - 1)
    return most


def _is_spent(subject: Subject, pin: Credential, response: Response, left: int) -> None:
    """Raises DifferenceError unless a wrong value has left so many tries; SkipError, see below."""
    if left + 1 == _MOST_TOLD and response.sw == SW.WRONG_PIN | _MOST_TOLD:
        # Where there are more than four bits can say, they say 15.
        subject.expect(pin.enter(subject), (SW.NO_ERROR,))
        raise SkipError(_UNTOLD)
    subject.expect(response, (SW.WRONG_PIN | left,))


def _has_tries(subject: Subject, pin: Credential, most: int) -> None:
    """Raises DifferenceError unless a PIN has its tries again."""
    if pin.ask is None:
        subject.expect(pin.enter(subject, right=False), (SW.WRONG_PIN | most - 1,))
        subject.expect(pin.enter(subject), (SW.NO_ERROR,))
        return
    wanted = f"{most} tries of the {pin.name} again"
    left = tries_left(subject.client.send(pin.ask))
    subject.note(wanted, f"{left}")
    if left < most:
        raise DifferenceError(wanted, f"{left}")


def _leaves(subject: Subject, use: Use, before: frozenset[str], begin: Begin) -> Check:
    """What is verified once the command is done."""
    name = f"{use.name} after {_told(before)}"
    with subject.check(LEAVES, name, use.spec.name, use.spec.clause) as outcome:
        _log_in(subject, use, before)
        subject.expect(use.send(subject), (SW.NO_ERROR,))
        _compare_logins(subject, use, use.verified(before, right=True))
        for cleared in sorted(use.effect.clears):
            if ask := use.credentials[cleared].ask:
                subject.expect(subject.client.send(ask), (SW.REFERENCE_DATA_NOT_USABLE,))
        if use.effect.clears:
            begin()
    return outcome[0]


def _wrong_ends(subject: Subject, use: Use, before: frozenset[str]) -> Check:
    """What is verified still after a wrong value."""
    with subject.check(ENDS, use.name, use.spec.name, use.spec.clause) as outcome:
        subject.fresh()
        _most(subject, use.compared)
        _log_in(subject, use, before)
        tries_left(use.send(subject, right=False))
        _compare_logins(subject, use, use.verified(before, right=False))
        subject.expect(use.compared.enter(subject), (SW.NO_ERROR,))
    return outcome[0]


def _told(names: frozenset[str]) -> str:
    return f"a login as {' and '.join(sorted(names))}" if names else "no login"


def _log_in(subject: Subject, use: Use, names: frozenset[str]) -> None:
    subject.fresh()
    for name in sorted(names):
        subject.expect(use.credentials[name].enter(subject), (SW.NO_ERROR,))


def _compare_logins(subject: Subject, use: Use, verified: frozenset[str]) -> None:
    """Ask for each PIN, and try what the others open. Raises DifferenceError."""
    for name, item in use.credentials.items():
        if item.ask is None or name in use.effect.clears:
            continue
        told = subject.client.send(item.ask)
        wanted = f"the {item.name} {'verified' if name in verified else 'not verified'}"
        subject.note(wanted, describe(told.sw))
        if (told.sw == SW.NO_ERROR) != (name in verified):
            raise DifferenceError(wanted, describe(told.sw))
    opened = {access for name in verified for access in use.credentials[name].opens}
    for spec in subject.application.commands:
        if guarded(spec) and spec.access not in opened:
            refused = subject.exchange(sample(spec))
            subject.expect(refused, (SW.SECURITY_STATUS_NOT_SATISFIED,))


def _locks(subject: Subject, use: Use, begin: Begin, *, blank: bool) -> Check:
    """The tries count down to none, and then the right value is refused as well, for good."""
    with subject.check(LOCKS, use.name, use.spec.name, use.spec.clause) as outcome:
        pin = use.compared
        if pin.final and not blank:
            raise SkipError(f"no command unlocks the {pin.name} again")
        begin()
        left = tries_left(use.send(subject, right=False))
        while left:
            left -= 1
            subject.expect(use.send(subject, right=False), (SW.WRONG_PIN | left,))
        locked = (SW.AUTHENTICATION_METHOD_BLOCKED,)
        subject.expect(use.send(subject), locked)
        subject.fresh()
        subject.expect(use.send(subject), locked)
        subject.expect(pin.enter(subject), locked)
        if pin.ask is not None:
            subject.expect(subject.client.send(pin.ask), locked)
    return outcome[0]
