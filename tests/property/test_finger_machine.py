"""Fingers, PINs, enrolments and power cuts in any order, against a small model of the sensor.

Whatever happens, the sensor has no more tries than the model, which gives them back for nothing but
a right finger and a right PIN.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from host_tools.conformance import finger_commands as finger
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from host_tools.testing.faults import Cut, Moment, PowerCut
from tests.finger_cards import PINS, Desk, step
from token_fw.fingerprint import MAX_TEMPLATES, MAX_TRIES, SAMPLES
from token_fw.pin import PinRef

USER, PIV = PinRef.USER, PinRef.PIV
REFS = st.sampled_from([USER, PIV])
FINGERS = st.sampled_from([f"finger {number}" for number in range(MAX_TEMPLATES + 1)])
MOMENTS = st.sampled_from([Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT])
OK = 0x9000


class FingerMachine(RuleBasedStateMachine):
    """One token, of which the model keeps what each finger opens and the tries."""

    @initialize()
    def begin(self) -> None:
        self.desk = Desk()
        self.opens: dict[str, set[PinRef]] = {}
        self.sensor = MAX_TRIES
        self.own = dict.fromkeys((USER, PIV), MAX_TRIES)

    def _tries(self, ref: PinRef) -> int:
        return min(self.sensor, self.own[ref])

    def _spend(self, ref: PinRef) -> None:
        self.sensor -= 1
        self.own[ref] -= 1

    def _give_back(self, refs: set[PinRef]) -> None:
        self.sensor = MAX_TRIES
        self.own.update(dict.fromkeys(refs, MAX_TRIES))

    def _proven(self, ref: PinRef) -> None:
        if self._guarded(ref):
            self._give_back(set().union(*(one for one in self.opens.values() if ref in one)))

    def _compare(self, ref: PinRef, which: str) -> int:
        self.desk.sensor.script([step(which.encode())])
        if ref is PIV:
            return self.desk.piv().status(piv.match())
        return self.desk.pki().status(pki.verify_on_token(USER))

    def _guarded(self, ref: PinRef) -> bool:
        return any(ref in opens for opens in self.opens.values())

    @rule(ref=REFS, which=FINGERS)
    def put_a_finger_on_the_sensor(self, ref: PinRef, which: str) -> None:
        status = self._compare(ref, which)
        if not self._guarded(ref):
            assert status in {0x6984, 0x6985}
        elif not self._tries(ref):
            assert status == 0x6983
        elif ref in self.opens.get(which, set()):
            assert status == OK
            self._give_back(self.opens[which])
        else:
            self._spend(ref)
            assert status == 0x63C0 | self._tries(ref)
        self.desk.sensor.forget()

    @rule(ref=REFS, which=FINGERS, moment=MOMENTS, count=st.integers(1, 2))
    def cut_the_power_at_a_finger(
        self, ref: PinRef, which: str, moment: Moment, count: int
    ) -> None:
        self.desk.store.arm(Cut(moment, count))
        usable = self._guarded(ref) and self._tries(ref)
        right = ref in self.opens.get(which, set())
        try:
            self._compare(ref, which)
        except PowerCut:
            durable = count - (moment is Moment.BEFORE_COMMIT)
            assert usable
            if durable == 1:
                self._spend(ref)
            elif durable:
                self._give_back(self.opens[which])
        else:
            assert not usable or (count == 2 and not right)
            if usable:
                self._spend(ref)
        self.desk = self.desk.powered_again()

    @rule(ref=REFS, right=st.booleans())
    def enter_a_pin(self, ref: PinRef, right: bool) -> None:
        value = PINS[ref] if right else b"000000"
        client = self.desk.fingerprints()
        status = client.status(finger.verify(ref, value))
        if right:
            assert status == OK
            self._proven(ref)
        else:
            assert status == 0x63C2
            # The PIN is no part of the model: a new connection proves it again.
            self._prove(ref)

    def _prove(self, ref: PinRef) -> None:
        self.desk.fingerprints(ref)
        self._proven(ref)

    @rule(refs=st.sets(REFS, min_size=1), which=FINGERS, cut=st.booleans())
    def enrol(self, refs: set[PinRef], which: str, cut: bool) -> None:
        for ref in refs:
            self._prove(ref)
        client = self.desk.fingerprints(*refs)
        full = len(self.opens) == MAX_TEMPLATES
        begun = client.status(finger.begin(which))
        if full and all(refs <= opens for opens in self.opens.values()):
            assert begun == 0x6A84
            return
        assert begun == OK
        self.desk.sensor.script([step(which.encode())] * SAMPLES)
        statuses = {client.ok(finger.capture())[0] for _ in range(SAMPLES - 1)}
        known = self.opens.get(which)
        if known is not None and refs <= known:
            assert statuses == {0x0B}
        elif known is None and full:
            assert statuses == {0x0C}
        elif cut:
            # Before the last sample nothing is kept.
            self.desk = self.desk.powered_again()
        else:
            assert statuses == {0x00}
            assert client.ok(finger.capture())[:2] == b"\x00\x00"
            self.opens.setdefault(which, set()).update(refs)
        self.desk.sensor.forget()

    @precondition(lambda self: self.opens)
    @rule(ref=REFS, data=st.data())
    def remove(self, ref: PinRef, data: st.DataObject) -> None:
        self._prove(ref)
        client = self.desk.fingerprints(ref)
        found = client.fingers()
        assert set(found.values()) == {one for one, opens in self.opens.items() if ref in opens}
        if not found:
            return
        ident = data.draw(st.sampled_from(sorted(found)))
        client.ok(finger.remove(ident))
        opens = self.opens[found[ident]]
        opens.discard(ref)
        if not opens:
            del self.opens[found[ident]]

    @rule()
    def power_again(self) -> None:
        self.desk = self.desk.powered_again()

    @invariant()
    def the_tries_are_those_of_the_model(self) -> None:
        matcher = self.desk.card.authenticator.core.matcher
        for ref in (USER, PIV):
            assert matcher.tries(ref) == self._tries(ref)
        if self._guarded(PIV):
            told = self.desk.piv().metadata(piv.FINGER)[piv.RETRIES]
            assert told == bytes((self._tries(PIV),))


@pytest.mark.usefixtures("cheap_hash")
def test_no_order_of_things_gives_a_try_for_nothing() -> None:
    examples = max(30, settings.default.max_examples // 10) if settings.default else 30
    run_state_machine_as_test(
        FingerMachine, settings=settings(max_examples=examples, stateful_step_count=40)
    )
