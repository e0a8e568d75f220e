"""What takes more than one command to see: Le, chains, PIN counters, the end of a login."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from apdu.codec import CHAINING, Command, Response
from apdu.model import SW, describe
from apdu.spec import Access, CommandSpec, DataField
from host_tools.conformance.checks import Check, DifferenceError, SkipError, tries_left
from host_tools.conformance.rules import header
from host_tools.conformance.subject import Subject

_GET_RESPONSE = 0xC0
_VERIFY = "VERIFY"
_LENGTHS = "ISO/IEC 7816-4:2013 5.2"
_CHAINING = "ISO/IEC 7816-4:2020 5.3.3"
_MOST_SPENT = 2
# Two parts that make no valid data of any command.
_PART = b"\x00"


@dataclass(frozen=True, slots=True)
class Pin:
    """A PIN of the card: P2 of VERIFY, the right value and a wrong one, as the card takes them."""

    name: str
    reference: int
    right: bytes
    wrong: bytes


def harmless(subject: Subject) -> Iterator[Check]:
    """What can be seen without changing the card."""
    for spec in subject.application.commands:
        if _readable(spec):
            yield from _le(subject, spec)
    for spec in subject.application.commands:
        if spec.chaining:
            yield _chain(subject, spec)


def logins(subject: Subject, pins: Mapping[str, Pin]) -> Iterator[Check]:
    """What can be seen by whoever knows the PINs; it spends tries, and gives them back."""
    for pin in pins.values():
        yield _counter(subject, pin)
        yield _ends(subject, pin, "reset")
        yield _ends(subject, pin, "SELECT")


def _readable(spec: CommandSpec) -> bool:
    always = spec.access is Access.ALWAYS and spec.harmless
    named = spec.p1 is not None and spec.p2 is not None
    return always and named and spec.data is DataField.NONE and spec.ins != _GET_RESPONSE


def _le(subject: Subject, spec: CommandSpec) -> Iterator[Check]:
    """No more than Le bytes come, and GET RESPONSE fetches the rest."""
    for p1, p2 in product(sorted(spec.p1 or ()), sorted(spec.p2 or ())):
        name = f"{spec.name} {p1:02X} {p2:02X}"
        group = "no more bytes come than Le asks for"
        with subject.check(group, name, spec.name, _LENGTHS) as outcome:
            subject.fresh()
            _compare_parts(subject, spec, Command(min(spec.cla), spec.ins, p1, p2, b"", 256))
        yield outcome[0]


def _compare_parts(subject: Subject, spec: CommandSpec, command: Command) -> None:
    whole = subject.client.send(command)
    subject.note(describe(whole.sw), describe(whole.sw))
    if whole.sw != SW.NO_ERROR:
        return
    first = subject.exchange(Command(command.cla, command.ins, command.p1, command.p2, b"", 1))
    subject.note("at most 1 byte, and the rest by GET RESPONSE", f"{len(first.data)} bytes")
    if len(first.data) > 1:
        raise DifferenceError("at most 1 byte", f"{len(first.data)} bytes")
    if spec.volatile:
        return
    joined, last = first.data, first
    while last.sw1 == SW.BYTES_AVAILABLE >> 8:
        last = subject.exchange(Command(0x00, _GET_RESPONSE, 0, 0, b"", last.sw2 or 256))
        joined += last.data
        if not last.data:
            raise DifferenceError("bytes that 61xx announced", "none")
    if last.sw1 != SW.WRONG_LE >> 8 and joined != whole.data:
        raise DifferenceError(f"the same {len(whole.data)} bytes", f"{len(joined)} others in parts")


def _chain(subject: Subject, spec: CommandSpec) -> Check:
    """A chain does what its data would do in one command."""
    cla, ins, p1, p2 = header(spec)
    with subject.check("a chain is put together", spec.name, spec.name, _CHAINING) as outcome:
        subject.fresh()
        whole = subject.exchange(Command(cla, ins, p1, p2, _PART * 2))
        subject.fresh()
        kept = subject.exchange(Command(cla | CHAINING, ins, p1, p2, _PART))
        subject.expect(kept, (SW.NO_ERROR,))
        subject.expect(subject.exchange(Command(cla, ins, p1, p2, _PART)), (whole.sw,))
    return outcome[0]


def verify(subject: Subject, pin: Pin, value: bytes = b"") -> Response:
    """VERIFY of a PIN; without a value it asks for its state."""
    spec = subject.application.command(_VERIFY)
    return subject.client.send(Command(min(spec.cla), spec.ins, 0x00, pin.reference, value))


def clause(subject: Subject) -> str:
    """Where the standard says what VERIFY does."""
    return subject.application.command(_VERIFY).clause


def _counter(subject: Subject, pin: Pin) -> Check:
    """Each wrong PIN costs one try, for good; the right one gives them back."""
    group = "a wrong PIN costs a try, the right one gives them back"
    with subject.check(group, f"{pin.name} PIN", _VERIFY, clause(subject)) as outcome:
        subject.fresh()
        before = tries_left(verify(subject, pin))
        spent = min(_MOST_SPENT, before - 1)
        if not spent:
            raise SkipError("the PIN has but one try left")
        for count in range(1, spent + 1):
            subject.expect(verify(subject, pin, pin.wrong), (SW.WRONG_PIN | before - count,))
            subject.fresh()
            subject.expect(verify(subject, pin), (SW.WRONG_PIN | before - count,))
        subject.expect(verify(subject, pin, pin.right), (SW.NO_ERROR,))
        subject.fresh()
        after = tries_left(verify(subject, pin))
        subject.note(f"{before} tries again", f"{after}")
        if after < before:
            raise DifferenceError(f"{before} tries again", f"{after}")
    return outcome[0]


def _ends(subject: Subject, pin: Pin, how: str) -> Check:
    """A login does not outlast a reset or another SELECT of the application."""
    name = f"{pin.name} PIN"
    with subject.check(f"{how} ends a login", name, _VERIFY, clause(subject)) as outcome:
        subject.fresh()
        subject.expect(verify(subject, pin, pin.right), (SW.NO_ERROR,))
        subject.expect(verify(subject, pin), (SW.NO_ERROR,))
        again = subject.reset() if how == "reset" else subject.select()
        subject.expect(again, (SW.NO_ERROR,))
        left = tries_left(verify(subject, pin))
        subject.note("the tries left (63Cx)", f"{left} left")
    return outcome[0]
