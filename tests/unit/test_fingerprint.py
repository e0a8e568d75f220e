"""The matcher of fingerprints: enrolment, tries that are spent first, and what a finger opens."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from host_tools.testing.faults import Cut, Moment, PowerCut, PowerCutStore
from tests import cards
from token_fw.env import Sample, SampleStatus
from token_fw.errors import (
    ConditionsNotSatisfied,
    EntryCancelled,
    EntryTimedOut,
    FingerMismatch,
    FingersBlocked,
    IncorrectData,
    NoFinger,
    NotEnoughMemory,
    ReferencedDataNotFound,
    WrongPin,
)
from token_fw.factory import Profile, personalise
from token_fw.finger_sensor import PATIENCE, ScriptedSensor, Step
from token_fw.fingerprint import MAX_TEMPLATES, MAX_TRIES, SAMPLES, Matcher, Template
from token_fw.pin import PinRef, Pins
from token_fw.state import Token
from token_fw.storage.base import StorageCorrupt
from token_fw.storage.memory import Medium
from token_fw.transaction import Transaction

pytestmark = pytest.mark.usefixtures("cheap_hash")

USER, PIV = PinRef.USER, PinRef.PIV
THUMB, INDEX, STRANGER = Sample(b"thumb"), Sample(b"index"), Sample(b"somebody else's")
PIN = b"481516"
LONG = 20


@dataclass
class Hand:
    """A matcher over a medium that outlives it, as a token's outlives its power."""

    medium: Medium = field(default_factory=Medium)

    def __post_init__(self) -> None:
        self.store = PowerCutStore(self.medium)
        fresh = not self.medium.records
        if fresh:
            personalise(self.store, Profile(cards.SERIAL))
        self.transaction = Transaction(self.store, threading.Lock())
        self.pins = Pins(self.transaction, Token(self.transaction).policy, bytes)
        if fresh:
            self.pins.set(USER, PIN)
            self.transaction.commit()
        self.matcher = Matcher(self.transaction, self.pins, ScriptedSensor())

    def powered_again(self) -> Hand:
        return Hand(Medium(dict(self.medium.records)))

    def enrol(self, sample: Sample, *opens: PinRef, name: str = "") -> Template:
        enrolment = self.matcher.begin(frozenset(opens or {USER}), name)
        statuses = {enrolment.add(sample) for _ in range(SAMPLES)}
        self.transaction.commit()
        assert statuses == {SampleStatus.GOOD}
        assert enrolment.template is not None
        return enrolment.template

    def matches(self, sample: Sample, ref: PinRef = USER) -> bool:
        try:
            self.matcher.match(sample, ref)
        except FingerMismatch:
            self.transaction.rollback()
            return False
        self.transaction.commit()
        return True

    def block(self) -> None:
        for _ in range(MAX_TRIES):
            assert not self.matches(STRANGER)


@pytest.fixture
def hand() -> Hand:
    return Hand()


def test_a_finger_is_enrolled_by_good_samples_and_then_matches(hand: Hand) -> None:
    enrolment = hand.matcher.begin(frozenset({USER}), "right thumb")
    left = []
    for _ in range(SAMPLES):
        assert enrolment.template is None
        assert enrolment.add(THUMB) is SampleStatus.GOOD
        left.append(enrolment.remaining)
    hand.transaction.commit()
    assert left == [3, 2, 1, 0]
    again = hand.powered_again()
    assert [(one.ident, one.name) for one in again.matcher.templates()] == [(b"\1", "right thumb")]
    assert again.matches(THUMB)
    assert not again.matches(INDEX)


def test_a_sample_that_is_no_good_does_not_count(hand: Hand) -> None:
    enrolment = hand.matcher.begin(frozenset({USER}))
    assert enrolment.add(THUMB) is SampleStatus.GOOD
    assert enrolment.add(Sample(b"thumb", SampleStatus.TOO_FAST)) is SampleStatus.TOO_FAST
    assert enrolment.add(INDEX) is SampleStatus.MERGE_FAILURE
    assert enrolment.remaining == SAMPLES - 1


def test_a_finger_that_is_known_is_not_enrolled_again(hand: Hand) -> None:
    hand.enrol(THUMB)
    enrolment = hand.matcher.begin(frozenset({USER}))
    assert enrolment.add(THUMB) is SampleStatus.EXISTS
    assert enrolment.remaining == SAMPLES


def test_there_is_room_for_five_fingers(hand: Hand) -> None:
    for number in range(MAX_TEMPLATES):
        hand.enrol(Sample(bytes((number,))))
    with pytest.raises(NotEnoughMemory):
        hand.matcher.begin(frozenset({USER}))
    # A known one may come to stand for another PIN; a further one may not.
    enrolment = hand.matcher.begin(frozenset({PIV}))
    assert enrolment.add(THUMB) is SampleStatus.DATABASE_FULL
    assert enrolment.add(Sample(bytes((0,)))) is SampleStatus.GOOD
    hand.matcher.remove(b"\3", USER)
    hand.transaction.commit()
    assert hand.enrol(THUMB).ident == b"\3"


@pytest.mark.parametrize("end", ["cancel", "another", "power", "erased"])
def test_an_enrolment_that_ended_keeps_nothing(hand: Hand, end: str) -> None:
    enrolment = hand.matcher.begin(frozenset({USER}))
    for _ in range(SAMPLES - 1):
        enrolment.add(THUMB)
    if end == "power":
        assert not hand.powered_again().matcher.templates()
        return
    if end == "cancel":
        hand.matcher.cancel()
    elif end == "another":
        hand.matcher.begin(frozenset({USER}))
    else:
        hand.matcher.forget(USER)
    with pytest.raises(ConditionsNotSatisfied):
        enrolment.add(THUMB)
    assert not hand.matcher.templates()


def test_a_finger_stands_for_the_pins_that_were_proven_and_no_other(hand: Hand) -> None:
    hand.enrol(THUMB, USER)
    hand.enrol(INDEX, PIV)
    assert hand.matches(THUMB, USER)
    assert not hand.matches(INDEX, USER)
    assert hand.matches(INDEX, PIV)
    assert [one.finger for one in hand.matcher.templates(PIV)] == [b"index"]


def test_a_known_finger_comes_to_stand_for_more(hand: Hand) -> None:
    first = hand.enrol(THUMB, USER, name="thumb")
    second = hand.enrol(THUMB, PIV)
    assert second.ident != first.ident
    assert [(one.ident, one.name) for one in hand.matcher.templates()] == [(second.ident, "thumb")]
    assert hand.matches(THUMB, USER)
    assert hand.matches(THUMB, PIV)
    hand.matcher.remove(second.ident, PIV)
    hand.transaction.commit()
    assert [one.opens for one in hand.matcher.templates()] == [{USER}]
    hand.matcher.forget(USER)
    hand.transaction.commit()
    assert not hand.matcher.templates()


def test_fingers_have_names_that_can_be_changed(hand: Hand) -> None:
    ident = hand.enrol(THUMB, name="thumb").ident
    hand.matcher.rename(ident, USER, "большой палец")
    assert [one.name for one in hand.matcher.templates()] == ["большой палец"]
    for name in ("x" * 65, "two\nlines"):
        with pytest.raises(IncorrectData):
            hand.matcher.rename(ident, USER, name)
    for wrong, ref in ((b"\7", USER), (ident, PIV)):
        with pytest.raises(ReferencedDataNotFound):
            hand.matcher.rename(wrong, ref, "thumb")
        with pytest.raises(ReferencedDataNotFound):
            hand.matcher.remove(wrong, ref)


def test_three_wrong_fingers_block_the_sensor_and_the_right_pin_opens_it(hand: Hand) -> None:
    hand.enrol(THUMB)
    left = []
    for _ in range(MAX_TRIES):
        with pytest.raises(FingerMismatch) as refused:
            hand.matcher.match(STRANGER, USER)
        left.append(refused.value.tries_left)
    assert left == [2, 1, 0]
    with pytest.raises(FingersBlocked):
        hand.matcher.match(THUMB, USER)
    with pytest.raises(WrongPin):
        hand.pins.check(USER, b"000000")
    assert hand.powered_again().matcher.tries(USER) == 0
    hand.pins.check(USER, PIN)
    hand.transaction.commit()
    assert hand.powered_again().matches(THUMB)


def test_a_right_finger_gives_the_tries_back(hand: Hand) -> None:
    hand.enrol(THUMB)
    for _ in range(3):
        assert not hand.matches(STRANGER)
        assert not hand.matches(STRANGER)
        assert hand.matches(THUMB)
    assert hand.matcher.tries(USER) == MAX_TRIES


def test_the_pin_that_no_finger_stands_for_gives_no_tries_back(hand: Hand) -> None:
    hand.enrol(THUMB, PIV)
    for _ in range(MAX_TRIES):
        assert not hand.matches(STRANGER, PIV)
    hand.pins.check(USER, PIN)
    hand.transaction.commit()
    assert hand.matcher.tries(PIV) == 0


def test_a_finger_and_a_pin_give_no_try_back_of_a_pin_they_do_not_speak_for(hand: Hand) -> None:
    hand.enrol(INDEX, PIV)
    hand.enrol(THUMB)
    for left in (2, 1, 0):
        assert not hand.matches(THUMB, PIV)
        hand.pins.check(USER, PIN)
        hand.transaction.commit()
        assert hand.matches(THUMB)
        assert (hand.matcher.tries(USER), hand.matcher.tries(PIV)) == (MAX_TRIES, left)
    with pytest.raises(FingersBlocked):
        hand.powered_again().matcher.match(INDEX, PIV)


def test_the_pin_gives_the_tries_back_of_all_that_its_fingers_open(hand: Hand) -> None:
    hand.enrol(THUMB, USER, PIV)
    for _ in range(MAX_TRIES):
        assert not hand.matches(STRANGER, PIV)
    hand.pins.check(USER, PIN)
    hand.transaction.commit()
    assert hand.matches(THUMB, PIV)


def test_a_pin_that_is_erased_gives_the_sensors_tries_back_and_no_other_pins(hand: Hand) -> None:
    hand.enrol(THUMB, USER, PIV)
    for _ in range(MAX_TRIES):
        assert not hand.matches(STRANGER, PIV)
    hand.matcher.forget(USER)
    hand.transaction.commit()
    assert (hand.matcher.tries(USER), hand.matcher.tries(PIV)) == (MAX_TRIES, 0)


def test_a_sample_that_is_no_good_is_a_wrong_one(hand: Hand) -> None:
    hand.enrol(THUMB)
    assert not hand.matches(Sample(b"thumb", SampleStatus.POOR_QUALITY))
    assert hand.matcher.tries(USER) == MAX_TRIES - 1


@pytest.mark.parametrize("sample", [THUMB, STRANGER])
@pytest.mark.parametrize("moment", [Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT])
def test_the_try_is_durable_before_the_comparison(moment: Moment, sample: Sample) -> None:
    hand = Hand()
    hand.enrol(THUMB)
    hand.store.arm(Cut(moment, 1))
    with pytest.raises(PowerCut):
        hand.matches(sample)
    assert hand.matcher.mismatches == 0
    spent = moment is Moment.AFTER_COMMIT
    assert hand.powered_again().matcher.tries(USER) == MAX_TRIES - spent


@pytest.mark.parametrize("moment", [Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT])
def test_a_cut_at_the_last_sample_keeps_all_of_the_finger_or_nothing(moment: Moment) -> None:
    hand = Hand()
    hand.store.arm(Cut(moment, 1))
    with pytest.raises(PowerCut):
        hand.enrol(THUMB)
    kept = hand.powered_again().matcher.templates()
    assert [one.finger for one in kept] == [b"thumb"] * (moment is Moment.AFTER_COMMIT)


def test_without_a_finger_or_a_sensor_nothing_is_matched(hand: Hand) -> None:
    with pytest.raises(NoFinger):
        hand.matcher.match(THUMB, USER)
    hand.enrol(THUMB)
    hand.matcher.sensor = None
    with pytest.raises(NoFinger):
        hand.matcher.usable(USER)
    with pytest.raises(NoFinger):
        hand.matcher.begin(frozenset({USER}))
    assert hand.matcher.tries(USER) == MAX_TRIES


@pytest.mark.parametrize(
    ("kind", "ident", "record"),
    [
        ("finger", 1, b"\x80\x01"),
        ("finger-tries", 0, b"\x04"),
        ("finger-tries", USER, b"\x04"),
        ("finger-tries", 0, b""),
    ],
)
def test_a_record_that_cannot_be_read_is_no_chance(
    hand: Hand, kind: str, ident: int, record: bytes
) -> None:
    hand.enrol(THUMB)
    hand.transaction.put(kind, bytes((ident,)), record)
    hand.transaction.commit()
    with pytest.raises(StorageCorrupt):
        hand.matcher.match(THUMB, USER)


def test_no_finger_shows_in_what_is_printed(hand: Hand) -> None:
    assert b"thumb".decode() not in repr(THUMB) + repr(hand.enrol(THUMB))


# The sensor


def test_nobody_puts_a_finger_on_the_sensor_by_default() -> None:
    sensor = ScriptedSensor(patience=0)
    assert not sensor.present(THUMB)
    with pytest.raises(EntryTimedOut):
        sensor.ask().wait()


def test_a_finger_is_for_the_command_that_waited_longest() -> None:
    sensor = ScriptedSensor()
    first, second = sensor.ask(), sensor.ask()
    assert sensor.awaited(LONG)
    assert sensor.present(THUMB)
    assert sensor.present(INDEX)
    assert (first.wait(), second.wait()) == (THUMB, INDEX)
    assert not sensor.awaited()


def test_a_script_is_for_the_commands_to_come() -> None:
    sensor = ScriptedSensor(patience=0.001)
    assert sensor.script([Step(THUMB), Step(None), Step(INDEX)]) == 3
    assert sensor.ask().wait() == THUMB
    with pytest.raises(EntryTimedOut):
        sensor.ask().wait()
    assert sensor.forget() == 1
    with pytest.raises(EntryTimedOut):
        sensor.ask().wait()


@pytest.mark.parametrize(
    ("delay", "patience", "waited"), [(3.0, None, 3.0), (20.0, None, PATIENCE), (3.0, 2.0, 2.0)]
)
def test_a_scripted_finger_comes_after_its_delay_or_too_late(
    delay: float, patience: float | None, waited: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    sensor = ScriptedSensor(clock=lambda: now[0])

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(sensor._captures._changed, "wait", sleep)
    sensor.script([Step(THUMB, delay)])
    capture = sensor.ask(patience)
    if delay == waited:
        assert capture.wait() == THUMB
    else:
        with pytest.raises(EntryTimedOut):
            capture.wait()
    assert now[0] == 100.0 + waited


@pytest.mark.parametrize("end", ["cancel", "close"])
@pytest.mark.parametrize("script", [[], [Step(THUMB, 3600)]])
def test_a_capture_can_be_called_off(end: str, script: list[Step]) -> None:
    sensor = ScriptedSensor(patience=7200)
    sensor.script(script)
    with ThreadPoolExecutor(1) as pool:
        capture = sensor.ask()
        answer = pool.submit(capture.wait)
        assert sensor.awaited(LONG)
        (capture.cancel if end == "cancel" else sensor.close)()
        with pytest.raises(EntryCancelled):
            answer.result(LONG)
    assert not sensor.present(THUMB)
