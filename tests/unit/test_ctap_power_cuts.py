"""A power cut at any commit leaves the authenticator before or after, and no counter behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from apdu.ctap import CtapCommand, Status
from host_tools.testing.faults import Cut, FailingStore, Moment, PowerCut, PowerCutStore
from tests.fido_cards import (
    OTHER_FINGER,
    USER_FINGER,
    Desk,
    Refused,
    check,
    ident_of,
    with_sensor,
)
from token_fw.finger_sensor import ScriptedSensor
from token_fw.pin import PinRef
from token_fw.storage.memory import Medium

MOMENTS = pytest.mark.parametrize("moment", [Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT])

Act = Callable[[Desk], object]


def on(medium: Medium) -> Desk:
    """A token on a copy of a medium."""
    store = PowerCutStore(Medium(dict(medium.records)))
    return Desk(store=store, sensor=ScriptedSensor(patience=0.01))


def cut_everywhere(start: Medium, moment: Moment, act: Act) -> Iterator[Medium]:
    """What each cut leaves, until the request has no more commits."""
    for count in range(1, 10):
        desk = on(start)
        assert isinstance(desk.store, PowerCutStore)
        desk.store.arm(Cut(moment, count))
        try:
            act(desk)
        except PowerCut:
            yield desk.store.medium
        except Refused:
            return
        else:
            assert count > 1, "no commit was cut"
            return
    pytest.fail("the request has too many commits")


def users(medium: Medium) -> list[bytes]:
    """The users that have discoverable credentials, the newest first."""
    core = on(medium).card.authenticator.core
    return [each.account.user_id for each in core.credentials.all() if each.account is not None]


@MOMENTS
def test_a_signature_that_a_cut_keeps_back_spends_its_counter_or_not(moment: Moment) -> None:
    desk = Desk()
    made = desk.make()
    for left in cut_everywhere(desk.store.medium, moment, lambda desk: desk.get(ident_of(made))):
        got = on(left).get(ident_of(made))
        check(made, got)
        assert got.auth_data.counter == (2 if moment is Moment.BEFORE_COMMIT else 3)


def test_no_signature_leaves_before_its_counter_is_durable() -> None:
    desk = Desk()
    ident = ident_of(desk.make())
    left = next(cut_everywhere(desk.store.medium, Moment.BEFORE_COMMIT, lambda it: it.get(ident)))
    assert left.records == desk.store.medium.records


@MOMENTS
def test_a_new_credential_is_there_or_not_and_the_last_one_with_it(moment: Moment) -> None:
    desk = Desk()
    first = desk.make(rk=True)
    for left in cut_everywhere(desk.store.medium, moment, lambda desk: desk.make(rk=True)):
        assert users(left) == [b"user"]
        got = on(left).get()
        assert (got.credential["id"] == ident_of(first)) == (moment is Moment.BEFORE_COMMIT)


@MOMENTS
def test_a_reset_is_done_or_not(moment: Moment) -> None:
    desk = with_sensor()
    desk.present(USER_FINGER)
    wrapped, kept = ident_of(desk.make()), ident_of(desk.make(rk=True, uv=True))

    def told(medium: Medium) -> tuple[object, ...]:
        desk = on(medium)
        works = tuple(status(desk, ident) for ident in (wrapped, kept))
        return desk.info(), works

    done = on(desk.store.medium)
    done.ask(CtapCommand.RESET)
    states = told(desk.store.medium), told(done.store.medium)
    assert states[0] != states[1]
    for left in cut_everywhere(desk.store.medium, moment, lambda desk: desk.ask(CtapCommand.RESET)):
        assert told(left) == states[moment is Moment.AFTER_COMMIT]


def status(desk: Desk, ident: bytes) -> Status:
    return outcome(lambda: desk.get(ident))


def outcome(act: Callable[[], object]) -> Status:
    try:
        act()
    except Refused as error:
        return error.status
    return Status.CTAP2_OK


def test_where_the_storage_fails_nothing_is_signed_and_nothing_is_lost() -> None:
    store = FailingStore()
    desk = Desk(store=store)
    ident = ident_of(desk.make())
    store.failing = True
    for act in (desk.make, lambda: desk.get(ident), lambda: desk.make(rk=True)):
        assert outcome(act) is Status.CTAP1_ERR_OTHER
    store.failing = False
    assert desk.get(ident).auth_data.counter == 2
    assert users(store.medium) == []


@MOMENTS
def test_a_wrong_finger_spends_its_try_before_it_is_compared(moment: Moment) -> None:
    desk = with_sensor()

    def try_wrong(desk: Desk) -> None:
        desk.present(OTHER_FINGER)
        desk.make(uv=True)

    for left in cut_everywhere(desk.store.medium, moment, try_wrong):
        tries = on(left).card.authenticator.core.matcher.tries(PinRef.FIDO)
        assert tries == (3 if moment is Moment.BEFORE_COMMIT else 2)


@MOMENTS
def test_an_application_that_a_cut_left_unmade_is_made_again(moment: Moment) -> None:
    desk = Desk()
    for left in cut_everywhere(desk.store.medium, moment, lambda desk: desk.make()):
        again = on(left)
        check(again.make(rk=True), again.get())
