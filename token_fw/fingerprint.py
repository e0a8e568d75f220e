"""Fingerprints: the templates, the one matcher with its tries, and the enrolment of a finger.

A finger stands for the PINs that were proven when it was enrolled, and for no other: who can set
the PIN of one application enrols no finger that opens another one. All share the sensor's tries,
and each PIN counts besides the tries that were spent on its own fingers: what gives the sensor its
tries back gives them back for those PINs alone that it speaks for. A try is spent in a committed
transaction of its own before the comparison, as those of a PIN are.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, replace

from apdu import tlv
from token_fw.env import Sample, SampleStatus, Sensor
from token_fw.errors import (
    ConditionsNotSatisfied,
    FingerMismatch,
    FingersBlocked,
    IncorrectData,
    NoFinger,
    NotEnoughMemory,
    ReferencedDataNotFound,
)
from token_fw.pin import PinRef, Pins
from token_fw.storage.base import StorageCorrupt
from token_fw.transaction import Transaction

MAX_TEMPLATES = 5
MAX_TRIES = 3
"""Fingers in a row that may be wrong; then only the right PIN counts."""
SAMPLES = 4
"""Good samples of a finger that make a template."""
MAX_NAME = 64
"""Bytes of UTF-8 in the name of a template."""

_TEMPLATE, _TRIES = "finger", "finger-tries"
_SENSOR = 0x00
"""Whose tries the record of all PINs together holds; the others are called as the PIN."""


@dataclass(frozen=True, slots=True, repr=False)
class Template:
    """An enrolled finger: identifier of 1 byte, name, the PINs it stands for, what is compared."""

    ident: bytes
    name: str
    opens: frozenset[PinRef]
    finger: bytes

    def encode(self) -> bytes:
        return (
            tlv.encode(0x80, self.name.encode())
            + tlv.encode(0x81, bytes(sorted(self.opens)))
            + tlv.encode(0x82, self.finger)
        )

    @classmethod
    def decode(cls, ident: bytes, record: bytes) -> Template:
        """Raises StorageCorrupt."""
        try:
            fields = tlv.to_dict(tlv.parse(record))
            opens = frozenset(map(PinRef, fields[0x81]))
            return cls(ident, fields[0x80].decode(), opens, fields[0x82])
        except (tlv.TlvError, KeyError, ValueError):
            raise StorageCorrupt("the template of a finger cannot be read") from None


class Matcher:
    """The fingers of one token. `sensor` is None where there is none.

    What waits for a finger does so before `match`, with the card released.
    """

    def __init__(self, transaction: Transaction, pins: Pins, sensor: Sensor | None = None) -> None:
        self._transaction = transaction
        self._enrolment: Enrolment | None = None
        self.sensor = sensor
        self.mismatches = 0
        """Moves with each finger that was wrong; volatile."""
        self.removals = 0
        """Moves with each finger that stands for a PIN no more; volatile."""
        pins.proven.append(self._proven)

    # What there is

    def templates(self, ref: PinRef | None = None) -> list[Template]:
        """The enrolled fingers that stand for that PIN, for any of them where None is named."""
        found = (self._load(ident) for ident in sorted(self._transaction.idents(_TEMPLATE)))
        return [template for template in found if ref is None or ref in template.opens]

    def tries(self, *refs: PinRef) -> int:
        """The tries left for fingers that stand for all of those PINs, uvRetries of CTAP.

        Raises StorageCorrupt.
        """
        return min(self._left(whose) for whose in (_SENSOR, *refs))

    def usable(self, ref: PinRef) -> int:
        """The tries left, where a finger could stand for that PIN now.

        Raises NoFinger or FingersBlocked.
        """
        if self.sensor is None or not self.templates(ref):
            raise NoFinger("no finger was enrolled")
        left = self.tries(ref)
        if not left:
            raise FingersBlocked("too many fingers were wrong; the PIN is asked for")
        return left

    def ready(self, ref: PinRef) -> bool:
        """Whether a finger could stand for that PIN now."""
        return self.sensor is not None and bool(self.tries(ref) and self.templates(ref))

    # The comparison

    def match(self, sample: Sample, ref: PinRef) -> Template:
        """Spend a try, compare, and on success give the tries back with the transaction.

        Raises NoFinger or FingersBlocked with nothing spent, FingerMismatch with one try spent,
        also for a sample that is not good; StorageError when the try could not be spent: then
        nothing was compared.
        """
        assert not self._transaction.pending, "a try is spent in a transaction of its own"
        left = self.usable(ref) - 1
        for whose in (_SENSOR, ref):
            self._put_left(whose, self._left(whose) - 1)
        self._transaction.commit()
        found = self._find(sample.finger)
        if sample.status is not SampleStatus.GOOD or found is None or ref not in found.opens:
            self.mismatches += 1
            raise FingerMismatch(left)
        self._give_back(found.opens)
        return found

    def _proven(self, ref: PinRef) -> None:
        """The PIN was right: it speaks for its fingers, and for the other PINs that they open."""
        opens = [template.opens for template in self.templates(ref)]
        if opens:
            self._give_back(frozenset().union(*opens))

    def _give_back(self, refs: Iterable[PinRef]) -> None:
        for whose in (_SENSOR, *refs):
            if self._left(whose) < MAX_TRIES:
                self._put_left(whose, MAX_TRIES)

    # Changes

    def begin(self, opens: frozenset[PinRef], name: str = "") -> Enrolment:
        """Begin to enrol a finger for PINs that were proven; what was begun before is dropped.

        Raises NoFinger without a sensor, NotEnoughMemory where no finger can be added, and
        IncorrectData for the name.
        """
        _check_name(name)
        if self.sensor is None:
            raise NoFinger("there is no fingerprint sensor")
        known = self.templates()
        if len(known) >= MAX_TEMPLATES and all(opens <= template.opens for template in known):
            raise NotEnoughMemory("as many fingers are enrolled as there can be")
        taken = self._transaction.idents(_TEMPLATE)
        free = next(ident for ident in map(_one_byte, range(1, 256)) if ident not in taken)
        self._enrolment = Enrolment(self, free, opens, name)
        return self._enrolment

    def cancel(self) -> None:
        """Drop the enrolment that was begun, if there is one."""
        self._enrolment = None

    def rename(self, ident: bytes, ref: PinRef, name: str) -> None:
        """Name a finger that stands for that PIN; raises ReferencedDataNotFound, IncorrectData."""
        _check_name(name)
        self._put(replace(self._get(ident, ref), name=name))

    def remove(self, ident: bytes, ref: PinRef) -> None:
        """Have a finger stand for that PIN no more; raises ReferencedDataNotFound."""
        self._close(self._get(ident, ref), ref)

    def forget(self, ref: PinRef) -> None:
        """Have no finger stand for that PIN any more, as whatever it opened is erased.

        The sensor's tries are there again; those of other PINs are what they were.
        """
        self.cancel()
        for template in self.templates(ref):
            self._close(template, ref)
        self._give_back([ref])

    def _close(self, template: Template, ref: PinRef) -> None:
        self.removals += 1
        left = template.opens - {ref}
        if left:
            self._put(replace(template, opens=left))
        else:
            self._transaction.delete(_TEMPLATE, template.ident)

    # For the enrolment

    def enrols(self, enrolment: Enrolment) -> bool:
        """Whether that enrolment is the one that goes on."""
        return self._enrolment is enrolment

    def judge(self, finger: bytes, opens: frozenset[PinRef]) -> SampleStatus:
        """What stands against enrolling that finger for those PINs; GOOD where nothing does."""
        known = self._find(finger)
        if known is None:
            full = len(self._transaction.idents(_TEMPLATE)) >= MAX_TEMPLATES
            return SampleStatus.DATABASE_FULL if full else SampleStatus.GOOD
        return SampleStatus.EXISTS if opens <= known.opens else SampleStatus.GOOD

    def keep(self, new: Template) -> Template:
        """Keep a finger; the enrolment is over.

        One that is known stands for more PINs then, and goes by its new identifier, which the
        enrolment has told already.
        """
        self.cancel()
        known = self._find(new.finger)
        if known is not None:
            self._transaction.delete(_TEMPLATE, known.ident)
            new = replace(new, name=new.name or known.name, opens=known.opens | new.opens)
        self._put(new)
        return new

    def _find(self, finger: bytes) -> Template | None:
        """The template of a finger; every one is compared, each in constant time."""
        found = None
        for template in self.templates():
            if hmac.compare_digest(template.finger, finger):
                found = template
        return found

    def _get(self, ident: bytes, ref: PinRef) -> Template:
        if ident in self._transaction.idents(_TEMPLATE):
            template = self._load(ident)
            if ref in template.opens:
                return template
        raise ReferencedDataNotFound("there is no such finger")

    def _load(self, ident: bytes) -> Template:
        return Template.decode(ident, self._transaction.get(_TEMPLATE, ident) or b"")

    def _put(self, template: Template) -> None:
        self._transaction.put(_TEMPLATE, template.ident, template.encode())

    def _left(self, whose: int) -> int:
        record = self._transaction.get(_TRIES, _one_byte(whose))
        if record is None:
            return MAX_TRIES
        if len(record) != 1 or record[0] > MAX_TRIES:
            raise StorageCorrupt("the tries of the sensor cannot be read")
        return record[0]

    def _put_left(self, whose: int, left: int) -> None:
        # What programs are told of the token depends on whether there is one.
        visible = not left or not self._left(whose)
        self._transaction.put(_TRIES, _one_byte(whose), _one_byte(left), visible=visible)


class Enrolment:
    """A finger that is being enrolled, in memory alone: `remaining` good samples are missing.

    `ident` is the identifier of 1 byte that the template will have. It ends with `Matcher.cancel`,
    with the next that begins, and with the power.
    """

    def __init__(self, matcher: Matcher, ident: bytes, opens: frozenset[PinRef], name: str) -> None:
        self._matcher = matcher
        self.ident = ident
        self.opens = opens
        self._name = name
        self._finger: bytes | None = None
        self.remaining = SAMPLES
        self.template: Template | None = None
        """What was enrolled, once no sample is missing."""

    def add(self, sample: Sample) -> SampleStatus:
        """Take a sample; only a good one counts. With the last one the template is kept.

        Raises ConditionsNotSatisfied where the enrolment has ended.
        """
        if not self._matcher.enrols(self):
            raise ConditionsNotSatisfied("the enrolment has ended")
        status = sample.status
        if status is SampleStatus.GOOD:
            status = self._matcher.judge(sample.finger, self.opens)
        if status is SampleStatus.GOOD and self._finger not in {None, sample.finger}:
            status = SampleStatus.MERGE_FAILURE
        if status is SampleStatus.GOOD:
            self._finger = sample.finger
            self.remaining -= 1
            if not self.remaining:
                made = Template(self.ident, self._name, self.opens, sample.finger)
                self.template = self._matcher.keep(made)
        return status


def _one_byte(number: int) -> bytes:
    return bytes((number,))


def _check_name(name: str) -> None:
    """Raises IncorrectData."""
    if len(name.encode()) > MAX_NAME or not (name.isprintable() or not name):
        raise IncorrectData("the name of a finger has up to 64 bytes of printable UTF-8")
