"""The power-cut machines can fail: they find faults put into card and authenticator on purpose."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from host_tools.testing.faults import ForgetfulStore
from tests.card_machine import CardMachine
from tests.ctap_machine import CtapMachine
from token_fw import pin
from token_fw.apps.fido2.core import Call
from token_fw.apps.fido2.credentials import Credential, Credentials
from token_fw.apps.fido2.pin_token import PinUvAuthToken
from token_fw.apps.fido2.pin_uv import PinUvAuth
from token_fw.env import Sample
from token_fw.errors import FingerMismatch, PinBlocked, PinNotInitialised, WrongPin
from token_fw.fingerprint import Matcher, Template
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


# Where it takes a token and two uses of it in the right order.
LONG_HUNT = settings(HUNT, max_examples=1000)


def assert_found(machine: type[CardMachine | CtapMachine], hunt: settings = HUNT) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=hunt)


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


def resume_for_anybody(self: Call, kind: type[Any]) -> Any:
    """The fault: what a request left is for every channel, and for ever."""
    left = self.before
    return left.value if left is not None and isinstance(left.value, kind) else None


def sign_without_counting(self: Credentials, credential: Credential) -> int:
    """The fault: a signature's counter is told and not kept."""
    record = self._transaction.get("fido-counter", self._secrets.name(credential.id))
    return 1 + int.from_bytes(record or b"", "big")


def match_without_commit(self: Matcher, sample: Sample, ref: PinRef) -> Template:
    """The fault: a finger's try is spent in the command's transaction, which an error undoes."""
    found = self._find(sample.finger)
    left = self.usable(ref) - 1
    self._put_left(ref, left)
    if found is None:
        raise FingerMismatch(left)
    self._give_back(found.opens)
    return found


MACHINES = pytest.mark.parametrize("machine", [CardMachine, CtapMachine])


@MACHINES
def test_a_storage_that_forgets_a_commit_is_found(
    machine: type[CardMachine | CtapMachine],
) -> None:
    forgetful = type("Forgetful", (machine,), {"store_type": ForgetfulStore})
    assert_found(forgetful)


@MACHINES
def test_a_comparison_before_the_try_is_spent_is_found(
    monkeypatch: pytest.MonkeyPatch, machine: type[CardMachine | CtapMachine]
) -> None:
    monkeypatch.setattr(Pins, "check", compare_first)
    assert_found(machine)


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


@pytest.mark.parametrize(
    ("owner", "name", "fault"),
    [
        (Matcher, "match", match_without_commit),
        (Credentials, "count", sign_without_counting),
        (Call, "resume", resume_for_anybody),
        (PinUvAuth, "end_tokens", lambda self: None),
        (PinUvAuthToken, "spend", lambda self: None),
        (PinUvAuthToken, "bind", lambda self, rp_id: None),
        (PinUvAuthToken, "_current", lambda self: self._use),
    ],
    ids=[
        "a wrong finger gets its try back",
        "a counter falls back",
        "an enumeration is for every channel",
        "a token outlives its PIN",
        "a token keeps its permissions",
        "a token is for every relying party",
        "a token lives for ever",
    ],
)
def test_a_fault_of_the_authenticator_is_found(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, fault: Callable[..., Any]
) -> None:
    monkeypatch.setattr(owner, name, fault)
    assert_found(CtapMachine, LONG_HUNT)


def test_the_hunt_finds_nothing_in_the_card_as_it_is() -> None:
    run_state_machine_as_test(CardMachine, settings=HUNT)
