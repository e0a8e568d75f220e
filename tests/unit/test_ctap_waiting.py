"""A request that waits for its user: cancelled, told of, and alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest

from apdu.ctap import CtapCommand, Status
from apdu.transport import CardRemoved
from tests.fido_cards import USER_FINGER, Desk
from tests.fido_platform import Platform, status
from tests.piv_cards import Finger
from token_fw.apps.fido2 import Channel, Keepalive
from token_fw.finger_sensor import ScriptedSensor
from token_fw.pin import PinRef
from token_fw.touch_pad import TouchPad

LONG = 20
SELECTION = CtapCommand.SELECTION


@contextmanager
def waiting() -> Iterator[tuple[Desk, TouchPad, ThreadPoolExecutor]]:
    pad = TouchPad(patience=LONG)
    with ThreadPoolExecutor() as pool:
        yield Desk(pad), pad, pool
        pad.close()


def keepalive(desk: Desk) -> int:
    return desk.channel.keepalive


def test_a_touch_selects_the_token() -> None:
    assert Desk().status(SELECTION) is Status.CTAP2_OK


def test_without_a_touch_in_time_the_request_ends() -> None:
    assert Desk(Finger(touches=False)).status(SELECTION) is Status.CTAP2_ERR_USER_ACTION_TIMEOUT


def test_where_nobody_can_touch_the_token_it_is_denied() -> None:
    assert Desk(None).status(SELECTION) is Status.CTAP2_ERR_OPERATION_DENIED


def test_a_client_sees_that_the_user_is_waited_for_and_cancels() -> None:
    with waiting() as (desk, pad, pool):
        answer = pool.submit(desk.status, SELECTION)
        assert pad.awaited(LONG)
        assert keepalive(desk) == Keepalive.UPNEEDED
        desk.channel.cancel()
        assert answer.result(LONG) is Status.CTAP2_ERR_KEEPALIVE_CANCEL
        assert keepalive(desk) == Keepalive.PROCESSING


def test_a_finger_is_waited_for_no_longer_either() -> None:
    sensor = ScriptedSensor(patience=LONG)
    desk = Desk(sensor=sensor)
    desk.info()
    desk.enrol()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(status, lambda: desk.make(uv=True))
        assert sensor.awaited(LONG)
        assert keepalive(desk) == Keepalive.UPNEEDED
        desk.channel.cancel()
        assert answer.result(LONG) is Status.CTAP2_ERR_KEEPALIVE_CANCEL
    assert desk.card.authenticator.core.matcher.tries(PinRef.FIDO) == 3


def test_a_token_that_is_pulled_waits_for_nobody() -> None:
    with waiting() as (desk, pad, pool):
        answer = pool.submit(desk.status, SELECTION)
        assert pad.awaited(LONG)
        desk.card.close()
        with pytest.raises(CardRemoved):
            answer.result(LONG)
        with pytest.raises(CardRemoved):
            desk.info()


def test_a_request_that_waits_for_a_touch_is_gone_when_the_power_comes_again() -> None:
    with waiting() as (desk, pad, pool):
        answer = pool.submit(desk.status, CtapCommand.RESET)
        assert pad.awaited(LONG)
        desk.card.power_up()
        assert answer.result(LONG) is Status.CTAP2_ERR_KEEPALIVE_CANCEL
        assert not pad.give()
        again = pool.submit(desk.status, SELECTION)
        assert pad.awaited(LONG)
        assert pad.give()
        assert again.result(LONG) is Status.CTAP2_OK


def test_the_power_leaves_the_next_one_of_another_channel_alone() -> None:
    with waiting() as (desk, pad, pool):
        first = pool.submit(desk.status, SELECTION)
        assert pad.awaited(LONG)
        desk.card.power_up()
        other = Channel()
        second = pool.submit(desk.status, SELECTION, channel=other)
        assert first.result(LONG) is Status.CTAP2_ERR_KEEPALIVE_CANCEL
        assert pad.awaited(LONG)
        assert desk.status(SELECTION) is Status.CTAP1_ERR_CHANNEL_BUSY
        assert pad.give()
        assert second.result(LONG) is Status.CTAP2_OK


def test_a_finger_that_is_right_gets_no_token_that_the_power_ended() -> None:
    sensor = ScriptedSensor(patience=LONG)
    desk = Desk(sensor=sensor)
    desk.info()
    desk.enrol()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(status, Platform(desk).uv_token)
        assert sensor.awaited(LONG)
        desk.card.power_up()
        assert not sensor.present(USER_FINGER)
        assert answer.result(LONG) is Status.CTAP2_ERR_KEEPALIVE_CANCEL


class Slow:
    """A user who does not hear that nobody waits any more; the next one touches at once."""

    def __init__(self) -> None:
        self.asked, self.hears = Event(), Event()

    def ask(self, _patience: float | None = None) -> Slow:
        return self

    def wait(self) -> bool:
        if not self.asked.is_set():
            self.asked.set()
            assert self.hears.wait(LONG)
        return True

    def cancel(self) -> None: ...

    def close(self) -> None: ...


def test_a_request_that_was_cancelled_and_has_not_ended_keeps_nobody_out() -> None:
    user = Slow()
    desk = Desk(user)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(desk.status, SELECTION)
        assert user.asked.wait(LONG)
        desk.channel.close()
        assert desk.status(SELECTION, channel=Channel()) is Status.CTAP2_OK
        user.hears.set()
        assert first.result(LONG) is Status.CTAP2_ERR_KEEPALIVE_CANCEL
        assert desk.status(SELECTION, channel=Channel()) is Status.CTAP2_OK


def test_another_channel_is_told_that_the_token_is_busy_and_cancels_nothing() -> None:
    with waiting() as (desk, pad, pool):
        answer = pool.submit(desk.status, SELECTION)
        assert pad.awaited(LONG)
        other = Channel()
        assert desk.status(SELECTION, channel=other) is Status.CTAP1_ERR_CHANNEL_BUSY
        other.cancel()
        assert pad.give()
        assert answer.result(LONG) is Status.CTAP2_OK


def test_the_rest_of_the_card_works_meanwhile() -> None:
    with waiting() as (desk, pad, pool):
        answer = pool.submit(desk.status, SELECTION)
        assert pad.awaited(LONG)
        assert (
            desk.card.connect().transceive(bytes.fromhex("00A4040005A000000308"))[-2:] == b"\x90\0"
        )
        assert pad.give()
        assert answer.result(LONG) is Status.CTAP2_OK


def test_a_cancel_without_a_request_is_forgotten() -> None:
    desk = Desk()
    desk.channel.cancel()
    assert desk.status(SELECTION) is Status.CTAP2_OK


def test_a_channel_that_is_closed_waits_for_nobody() -> None:
    with waiting() as (desk, _, _pool):
        desk.channel.close()
        assert desk.status(SELECTION) is Status.CTAP2_ERR_KEEPALIVE_CANCEL
