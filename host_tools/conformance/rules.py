"""What every command of a catalogue has to refuse: a row here is a rule for all of them.

The probes of a rule are commands that no sound card executes. Where one that is broken might, their
data field is a single zero byte, which is no valid data of any command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from apdu.codec import CHAINING, Command, Response
from apdu.model import SW
from apdu.spec import Access, ApplicationSpec, CommandSpec, DataField
from apdu.transport import CardRemoved, TransportError
from host_tools.conformance.checks import Check, SkipError
from host_tools.conformance.subject import Subject

_INVALID = b"\x00"
_CLASS = "ISO/IEC 7816-4:2013 5.4.1"
_INSTRUCTION = "ISO/IEC 7816-4:2013 5.4.2"
_LENGTHS = "ISO/IEC 7816-4:2013 5.2"
_CHAINING = "ISO/IEC 7816-4:2020 5.3.3"
# Classes that applications hardly use, and instructions that ISO/IEC 7816 has not given.
_CLASSES = (0xE0, 0xC0, 0xA0, 0x80)
_INSTRUCTIONS = (0x1A, 0x3A, 0x5A, 0x7A)
_MOST_PROBES = 16
_OPEN = frozenset((Access.ALWAYS, Access.FILE, Access.OBJECT, Access.KEY))

Probes = Callable[[ApplicationSpec, CommandSpec], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What is sent for each command, and with which status words it may be refused.

    Without a clause of its own it is the command's clause that demands it; `anew`: the card is
    reset before them; `malformed` probes are no APDUs, and not every reader carries them.
    """

    name: str
    accepted: tuple[int, ...]
    probes: Probes
    clause: str = ""
    anew: bool = False
    malformed: bool = False


def header(spec: CommandSpec) -> tuple[int, int, int, int]:
    """A header that the command takes; parameters that may be anything are FF, which is nothing."""
    p1 = 0xFF if spec.p1 is None else min(spec.p1)
    p2 = 0xFF if spec.p2 is None else min(spec.p2)
    return min(spec.cla), spec.ins, p1, p2


def sample(spec: CommandSpec) -> Command:
    """The command with a header it takes and, where it needs data, with invalid ones."""
    data = _INVALID if spec.data is DataField.REQUIRED else b""
    return Command(*header(spec), data)


def risky(spec: CommandSpec) -> bool:
    """Whether a broken card might do harm by executing `sample`."""
    asks = spec.secret and spec.data is DataField.OPTIONAL
    return not (spec.harmless or spec.data is DataField.REQUIRED or asks)


def guarded(spec: CommandSpec) -> bool:
    """Whether the command itself asks for a login, whatever it acts on."""
    return spec.access not in _OPEN


def _with(spec: CommandSpec, **fields: int | bytes) -> bytes:
    base = sample(spec)
    parts = {"cla": base.cla, "ins": base.ins, "p1": base.p1, "p2": base.p2, "data": base.data}
    return Command(**{**parts, **fields}).encode()  # type: ignore[arg-type]  # names fit their types


def _wrong_class(application: ApplicationSpec, spec: CommandSpec) -> Iterator[bytes]:
    free = (cla for cla in _CLASSES if not application.knows_class(cla))
    yield from islice((_with(spec, cla=cla) for cla in free), 1)


def _secure_messaging(_: ApplicationSpec, spec: CommandSpec) -> Iterator[bytes]:
    if 0x00 in spec.cla:
        yield _with(spec, cla=0x0C)


def _other_channel(_: ApplicationSpec, spec: CommandSpec) -> Iterator[bytes]:
    if 0x00 in spec.cla:
        yield _with(spec, cla=0x01)


def _unknown_instruction(application: ApplicationSpec, spec: CommandSpec) -> Iterator[bytes]:
    cla = min(spec.cla)
    # One command of a class stands for all of them.
    if next(other for other in application.commands if cla in other.cla) is spec:
        for ins in _INSTRUCTIONS:
            if application.match(cla, ins) is None:
                yield Command(cla, ins, 0x00, 0x00).encode()


def _like(taken: frozenset[int], others: Iterable[int]) -> Iterator[int]:
    """Bytes that a careless card takes for one of `taken`, the likeliest first, some twice.

    They differ in the highest bit, which in P2 tells local references from global ones, are next
    to one that is taken, differ in another bit, or are what `others` take.
    """
    for value in sorted(taken):
        yield value ^ 0x80
    for value in sorted(taken):
        yield from ((value + 1) & 0xFF, (value - 1) & 0xFF)
    yield from (min(taken) ^ 1 << bit for bit in range(7))
    yield from sorted(set(others))


def _wrong_p1(application: ApplicationSpec, spec: CommandSpec) -> Iterator[bytes]:
    if spec.p1 is None:
        return
    cla, ins, _, p2 = header(spec)
    if spec.pins:
        p2 = spec.pins[0].p2
    others = (p1 for other in application.commands for p1 in other.p1 or ())
    free = (p1 for p1 in _like(spec.p1, others) if application.match(cla, ins, p1, p2) is None)
    yield from (_with(spec, p1=p1, p2=p2) for p1 in islice(dict.fromkeys(free), _MOST_PROBES))


def _wrong_p2(application: ApplicationSpec, spec: CommandSpec) -> Iterator[bytes]:
    cla, ins, p1, _ = header(spec)
    taken = spec.p2 or spec.references
    if taken is None:
        return
    others = (p2 for other in application.commands for p2 in other.p2 or other.references or ())
    free = (
        p2
        for p2 in _like(taken, others)
        if p2 not in taken and application.match(cla, ins, p1, p2) in {None, spec}
    )
    yield from (_with(spec, p2=p2) for p2 in islice(dict.fromkeys(free), _MOST_PROBES))


def _missing_data(_: ApplicationSpec, spec: CommandSpec) -> Iterator[bytes]:
    if spec.data is DataField.REQUIRED:
        yield _with(spec, data=b"")


def _superfluous_data(_: ApplicationSpec, spec: CommandSpec) -> Iterator[bytes]:
    if spec.data is DataField.NONE:
        yield _with(spec, data=_INVALID)


def _wrong_lc(_: ApplicationSpec, spec: CommandSpec) -> Iterator[bytes]:
    if spec.data is not DataField.NONE:
        # Lc promises more bytes than there are.
        yield sample(spec).header + b"\x05\x00\x00"


def _chain_not_taken(_: ApplicationSpec, spec: CommandSpec) -> Iterator[bytes]:
    if not spec.chaining and spec.ins != _GET_RESPONSE:
        yield _with(spec, cla=min(spec.cla) | CHAINING)


def _before_a_login(_: ApplicationSpec, spec: CommandSpec) -> Iterator[bytes]:
    if guarded(spec):
        yield sample(spec).encode()


_GET_RESPONSE = 0xC0
_REFUSED_CLASS = (SW.CLA_NOT_SUPPORTED, SW.CLA_FUNCTION_NOT_SUPPORTED)
_REFUSED_PARAMETERS = (SW.INCORRECT_P1P2, SW.WRONG_P1P2, SW.REFERENCED_DATA_NOT_FOUND)
_REFUSED_LENGTH = (SW.WRONG_LENGTH, SW.NC_INCONSISTENT_WITH_P1P2)

RULES: tuple[Rule, ...] = (
    Rule("a class nobody knows is refused", _REFUSED_CLASS, _wrong_class, _CLASS),
    Rule(
        "secure messaging is refused",
        (SW.SECURE_MESSAGING_NOT_SUPPORTED, *_REFUSED_CLASS),
        _secure_messaging,
        _CLASS,
    ),
    Rule(
        "another logical channel is refused",
        (SW.LOGICAL_CHANNEL_NOT_SUPPORTED, *_REFUSED_CLASS),
        _other_channel,
        _CLASS,
    ),
    Rule(
        "an unknown instruction is refused",
        (SW.INS_NOT_SUPPORTED,),
        _unknown_instruction,
        _INSTRUCTION,
    ),
    Rule("a wrong P1 is refused", _REFUSED_PARAMETERS, _wrong_p1),
    Rule("a wrong P2 is refused", _REFUSED_PARAMETERS, _wrong_p2),
    Rule("missing data are refused", _REFUSED_LENGTH, _missing_data),
    Rule("superfluous data are refused", _REFUSED_LENGTH, _superfluous_data),
    Rule(
        "an Lc that promises too much is refused",
        (SW.WRONG_LENGTH,),
        _wrong_lc,
        _LENGTHS,
        malformed=True,
    ),
    Rule(
        "a chain is refused where none is taken",
        (SW.CHAINING_NOT_SUPPORTED, *_REFUSED_CLASS),
        _chain_not_taken,
        _CHAINING,
    ),
    Rule(
        "nothing is done before the login",
        (SW.SECURITY_STATUS_NOT_SATISFIED,),
        _before_a_login,
        anew=True,
    ),
)


def examine(subject: Subject, *, destructive: bool) -> Iterator[Check]:
    """All rules for all commands of the subject's application."""
    for rule in RULES:
        for spec in subject.application.commands:
            probes = list(rule.probes(subject.application, spec))
            if not probes:
                continue
            clause = rule.clause or spec.clause
            with subject.check(rule.name, spec.name, spec.name, clause) as outcome:
                if risky(spec) and not destructive:
                    raise SkipError("a broken card might execute it: give --destructive")
                if rule.anew:
                    subject.fresh()
                else:
                    subject.expect(subject.select(), (SW.NO_ERROR,))
                for probe in probes:
                    subject.expect(_answer(subject, rule, probe), rule.accepted)
            yield outcome[0]


def _answer(subject: Subject, rule: Rule, probe: bytes) -> Response:
    try:
        return subject.answer(probe)
    except CardRemoved:
        raise
    except TransportError as error:
        if rule.malformed:
            raise SkipError(f"the reader does not carry it: {error}") from error
        raise
