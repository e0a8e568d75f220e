"""What takes more than one command to see: Le, chains, nearly right PINs, the end of a login."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

from apdu.codec import CHAINING, Command, Response
from apdu.model import SW, describe
from apdu.spec import Access, CommandSpec, DataField
from host_tools.conformance.checks import Check, DifferenceError, SkipError, compare, tries_left
from host_tools.conformance.rules import guarded, header, sample
from host_tools.conformance.subject import EXECUTED, RESET, RESET_CLAUSE, Subject

_GET_RESPONSE = 0xC0
_SELECT = 0xA4
_LENGTHS = "ISO/IEC 7816-4:2013 5.2"
_CHAINING = "ISO/IEC 7816-4:2020 5.3.3"
_RESETS = 3
# A value that cannot be a PIN may be refused without being compared.
_REFUSED = frozenset(
    (
        *range(SW.WRONG_PIN + 1, SW.WRONG_PIN + 16),
        SW.INCORRECT_DATA,
        SW.WRONG_LENGTH,
        SW.NC_INCONSISTENT_WITH_P1P2,
    )
)
# Two parts that make no valid data of any command.
_PART = b"\x00"
# Its first digit F says that nobody registers it (ISO/IEC 7816-4).
_UNKNOWN_AID = bytes.fromhex("F0436F6E666F726D616E6365")


@dataclass(frozen=True, slots=True)
class Credential:
    """A PIN or a key by which somebody logs in.

    `present` gives a value to the card by `command`, `ask` tells the state of a PIN where there is
    such a command; `right` and `wrong` are values as `present` takes them. A `counted` one has
    tries; `opens` is what it gives leave for, `near` commands that present what is nearly right.
    `pin` is what the catalogue calls a PIN; no command unlocks a `final` one.
    """

    name: str
    command: str
    present: Callable[[Subject, bytes], Response]
    right: bytes = field(repr=False)
    wrong: bytes
    ask: Command | None = None
    counted: bool = True
    opens: frozenset[Access] = frozenset()
    near: Mapping[str, Command] = field(default_factory=dict, repr=False)
    pin: str = ""
    final: bool = False

    def enter(self, subject: Subject, *, right: bool = True) -> Response:
        """Present the right value, or the wrong one."""
        return self.present(subject, self.right if right else self.wrong)

    def clause(self, subject: Subject) -> str:
        """Where the standard says what its command does."""
        return subject.application.command(self.command).clause


def near_values(right: bytes) -> dict[str, bytes]:
    """Values that differ from the right one in a byte at its end."""
    return {
        "another last byte": right[:-1] + bytes((right[-1] ^ 1,)),
        "the last byte missing": right[:-1],
        "a byte more": right + right[-1:],
    }


def harmless(subject: Subject) -> Iterator[Check]:
    """What can be seen without changing the card."""
    for spec in subject.application.commands:
        if _readable(spec):
            yield from _le(subject, spec)
    for spec in subject.application.commands:
        if spec.chaining:
            yield _chain(subject, spec)
    yield _unknown_application(subject)
    yield _nothing_waits(subject)
    yield _same_atr(subject)
    yield _extended(subject)


def logins(subject: Subject, credentials: Iterable[Credential]) -> Iterator[Check]:
    """What can be seen by whoever may log in; it spends tries, and gives them back."""
    for credential in credentials:
        if credential.ask is not None:
            yield _ends(subject, credential, credential.ask, "reset")
            yield _ends(subject, credential, credential.ask, "SELECT")
        for name, command in credential.near.items():
            yield _nearly_right(subject, credential, name, command)
        if credential.opens:
            yield from _opens_no_more(subject, credential)


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


def _unknown_application(subject: Subject) -> Check:
    """SELECT finds no application by a name that is none's."""
    spec = subject.application.command("SELECT")
    group = "an unknown application is not found"
    with subject.check(group, spec.name, spec.name, spec.clause) as outcome:
        subject.fresh()
        unknown = Command(0x00, _SELECT, 0x04, 0x00, _UNKNOWN_AID)
        subject.expect(subject.exchange(unknown), (SW.FILE_NOT_FOUND,))
    return outcome[0]


def _nothing_waits(subject: Subject) -> Check:
    """GET RESPONSE has nothing to go on with, as the answer before it was whole."""
    spec = subject.application.command("GET RESPONSE")
    group = "no answer goes on that has ended"
    with subject.check(group, spec.name, spec.name, spec.clause) as outcome:
        subject.fresh()
        response = subject.exchange(Command(*header(spec), b"", 256))
        subject.note("a refusal", describe(response.sw))
        if response.sw1 in EXECUTED:
            raise DifferenceError("a refusal", describe(response.sw))
    return outcome[0]


def _same_atr(subject: Subject) -> Check:
    """Each reset is answered by the same bytes, which tell what the card is."""
    group = "the answer to reset stays the same"
    with subject.check(group, RESET, RESET, RESET_CLAUSE) as outcome:
        first, *others = (subject.pull_reset() for _ in range(_RESETS))
        told = first.hex(" ").upper()
        subject.note(told, told)
        for other in others:
            if other != first:
                raise DifferenceError(told, other.hex(" ").upper())
    return outcome[0]


def _extended(subject: Subject) -> Check:
    """Lc and Le say the same in extended form."""
    spec = subject.application.command("SELECT")
    group = "extended length fields say what short ones do"
    with subject.check(group, spec.name, spec.name, _LENGTHS) as outcome:
        subject.pull_reset()
        select = Command(0x00, _SELECT, 0x04, 0x00, subject.application.aid, 256)
        whole = subject.client.send(select)
        subject.pull_reset()
        response = subject.extended(select)
        subject.expect(response, (whole.sw,))
        compare(response, whole.data)
    return outcome[0]


def _nearly_right(subject: Subject, pin: Credential, name: str, command: Command) -> Check:
    """A value that is nearly right is refused; the right one gives back what that costs."""
    group = f"the whole {pin.name} is compared"
    with subject.check(group, name, pin.command, pin.clause(subject)) as outcome:
        subject.fresh()
        if pin.ask is not None and tries_left(subject.client.send(pin.ask)) == 1:
            raise SkipError("the PIN has but one try left")
        refused = subject.client.send(command)
        if refused.sw == SW.WRONG_PIN:
            raise SkipError("it has but one try, which is spent now")
        again = pin.enter(subject)
        if refused.sw not in _REFUSED:
            raise DifferenceError("a wrong PIN (63Cx) or wrong data", describe(refused.sw))
        subject.expect(again, (SW.NO_ERROR,))
        subject.note("a wrong PIN (63Cx) or wrong data", describe(refused.sw))
    return outcome[0]


def _ends(subject: Subject, pin: Credential, ask: Command, how: str) -> Check:
    """A login does not outlast a reset or another SELECT of the application."""
    group = f"{how} ends a login"
    with subject.check(group, pin.name, pin.command, pin.clause(subject)) as outcome:
        subject.fresh()
        subject.expect(pin.enter(subject), (SW.NO_ERROR,))
        subject.expect(subject.client.send(ask), (SW.NO_ERROR,))
        if how == "reset":
            subject.pull_reset()
            # Nothing is selected again: SELECT alone would end the login as well.
            if subject.client.send(ask).sw == SW.NO_ERROR:
                raise DifferenceError("no login after a reset", "the PIN is verified still")
        subject.expect(subject.select(), (SW.NO_ERROR,))
        left = tries_left(subject.client.send(ask))
        subject.note("the tries left (63Cx)", f"{left} left")
    return outcome[0]


def _opens_no_more(subject: Subject, credential: Credential) -> Iterator[Check]:
    """A login gives leave for what is its own, and for nothing that others guard."""
    group = f"the {credential.name} opens its own alone"
    for spec in subject.application.commands:
        if not guarded(spec) or spec.access in credential.opens:
            continue
        with subject.check(group, spec.name, spec.name, spec.clause) as outcome:
            subject.fresh()
            subject.expect(credential.enter(subject), (SW.NO_ERROR,))
            refused = subject.exchange(sample(spec))
            subject.expect(refused, (SW.SECURITY_STATUS_NOT_SATISFIED,))
        yield outcome[0]
