"""The power-cut machines can fail: they find faults put into card and authenticator on purpose."""

from __future__ import annotations

import hmac
from dataclasses import replace

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from host_tools.testing.faults import ForgetfulStore
from tests.card_machine import CardMachine
from tests.ctap_machine import CtapMachine
from token_fw import pin
from token_fw.errors import PinBlocked, PinNotInitialised, WrongPin
from token_fw.pin import PinRef, Pins

HUNT = settings(
    max_examples=200,
    stateful_step_count=50,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    print_blob=False,
)


def assert_found(machine: type[CardMachine | CtapMachine]) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=HUNT)


pytestmark = pytest.mark.usefixtures("cheap_hash")


def compare_first(self: Pins, ref: PinRef, value: bytes) -> None:
    """The fault: a wrong value costs a try only after it was found wrong."""
    record = self.record(ref)
    if not record.initialised:
        raise PinNotInitialised
    if not record.tries_left:
        raise PinBlocked
    if hmac.compare_digest(pin._hash(value, record.salt), record.hash):
        self._put(ref, replace(record, tries_left=record.tries_max))
        return
    self._put(ref, replace(record, tries_left=record.tries_left - 1))
    self._transaction.commit()
    raise WrongPin(record.tries_left - 1)


MACHINES = pytest.mark.parametrize("machine", [CardMachine, CtapMachine])


@MACHINES
def test_a_storage_that_forgets_a_commit_is_found(
    machine: type[CardMachine | CtapMachine],
) -> None:
    forgetful = type("Forgetful", (machine,), {"store_type": ForgetfulStore})
    assert_found(forgetful)


def test_a_comparison_before_the_try_is_spent_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pins, "check", compare_first)
    assert_found(CardMachine)


@MACHINES
def test_a_try_that_a_wrong_pin_rolls_back_is_found(
    monkeypatch: pytest.MonkeyPatch, machine: type[CardMachine | CtapMachine]
) -> None:
    check = Pins.check

    def without_commit(self: Pins, ref: PinRef, value: bytes) -> None:
        """The fault: the try is spent in the command's own transaction, which an error undoes."""
        with monkeypatch.context() as patch:
            patch.setattr(self._transaction, "commit", lambda: False)
            check(self, ref, value)

    monkeypatch.setattr(Pins, "check", without_commit)
    assert_found(machine)


def test_the_hunt_finds_nothing_in_the_card_as_it_is() -> None:
    run_state_machine_as_test(CardMachine, settings=HUNT)
