"""Touch policies, with somebody at the token and with nobody."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import pytest

from apdu.codec import Command
from apdu.model import SW
from apdu.transport import CardRemoved
from host_tools.conformance import piv_commands as piv
from host_tools.conformance.piv_commands import (
    AUTHENTICATION,
    NEVER,
    P256,
    RETIRED,
    TOUCH_ALWAYS,
    TOUCH_CACHED,
)
from tests import cards, piv_cards
from tests.piv_cards import Finger
from token_fw.apps.piv.session import TOUCH_SECONDS
from token_fw.card import Card, Interface
from token_fw.env import Env
from token_fw.factory import Profile, personalise
from token_fw.storage.memory import MemoryStore
from token_fw.touch_pad import PATIENCE, TouchPad

DIGEST = bytes(range(32))
USE = piv.use(AUTHENTICATION, P256, DIGEST)
LONG = 20
DENIED = SW.SECURITY_STATUS_NOT_SATISFIED


@dataclass
class Desk:
    """A card with a finger near it and a clock that somebody else turns."""

    finger: Finger = field(default_factory=Finger)
    sensor: TouchPad | None = None
    now: float = 1000.0

    def __post_init__(self) -> None:
        store = MemoryStore()
        personalise(store, Profile(cards.SERIAL))
        self.card = Card(Env(store, clock=lambda: self.now, presence=self.sensor or self.finger))

    def managed(self) -> piv_cards.Client:
        client = piv_cards.Client(self.card.connect())
        client.prove()
        client.log_in()
        return client


def test_nobody_is_there_unless_the_environment_says_so() -> None:
    client = piv_cards.managed()
    for touch in (TOUCH_ALWAYS, TOUCH_CACHED):
        client.make_key(AUTHENTICATION, touch=touch)
        assert client.status(USE) == DENIED


def test_a_key_that_wants_a_touch_asks_for_one_each_time() -> None:
    desk = Desk()
    client = desk.managed()
    client.make_key(AUTHENTICATION, touch=TOUCH_ALWAYS)
    client.ok(USE)
    client.ok(USE)
    assert desk.finger.asked == 2


def test_without_the_touch_the_key_is_not_used() -> None:
    desk = Desk(Finger(touches=False))
    client = desk.managed()
    client.make_key(AUTHENTICATION, touch=TOUCH_CACHED)
    assert [client.status(USE), client.status(USE)] == [DENIED, DENIED]
    assert desk.finger.asked == 2


def test_a_touch_counts_for_15_seconds_where_the_policy_says_so() -> None:
    desk = Desk()
    client = desk.managed()
    client.make_key(AUTHENTICATION, touch=TOUCH_CACHED)
    client.ok(USE)
    desk.now += TOUCH_SECONDS
    client.ok(USE)
    assert desk.finger.asked == 1
    desk.now += 0.1
    client.ok(USE)
    assert desk.finger.asked == 2


def test_who_may_not_use_the_key_is_not_asked_to_touch() -> None:
    desk = Desk()
    desk.managed().make_key(AUTHENTICATION, touch=TOUCH_ALWAYS)
    assert piv_cards.Client(desk.card.connect()).status(USE) == DENIED
    assert desk.finger.asked == 0


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (piv.move(0xFF, AUTHENTICATION), SW.REFERENCED_DATA_NOT_FOUND),
        (piv.generate(AUTHENTICATION, piv.P384), SW.INCORRECT_P1P2),
        (piv.change(piv.REF_PIN, piv_cards.PIN, piv_cards.NEW_PIN), DENIED),
    ],
    ids=["key deleted", "another key", "another PIN"],
)
def test_what_changed_during_the_wait_counts(change: Command, status: int) -> None:
    desk = Desk()
    client, other = desk.managed(), desk.managed()
    client.make_key(AUTHENTICATION, touch=TOUCH_ALWAYS)
    desk.finger.before = lambda: other.ok(change)
    assert client.status(USE) == status


def test_a_token_pulled_during_the_wait_answers_nothing() -> None:
    desk = Desk()
    client = desk.managed()
    client.make_key(AUTHENTICATION, pin=NEVER, touch=TOUCH_ALWAYS)
    desk.finger.before = desk.card.close
    with pytest.raises(CardRemoved):
        client.send(USE)


def test_the_management_key_may_want_a_touch() -> None:
    desk = Desk()
    client = desk.managed()
    client.ok(piv.set_management_key(piv.AES_192, piv_cards.MANAGEMENT_KEY, touch=0xFE))
    assert client.metadata(piv.MANAGEMENT)[0x02] == bytes((0x00, TOUCH_ALWAYS))
    client.prove()
    assert desk.finger.asked == 1
    desk.finger.touches = False
    witness = client.ask(piv.AES_192, {0x80: b""})[0x80]
    answer = {0x80: piv.decipher(piv_cards.MANAGEMENT_KEY, witness), 0x81: bytes(16)}
    assert client.status(piv.authenticate(piv.AES_192, piv.MANAGEMENT, answer)) == DENIED
    assert client.status(piv.put_data(piv.CHUID, b"x")) == DENIED


def test_a_management_key_changed_during_the_wait_is_not_proven() -> None:
    desk = Desk()
    client, other = desk.managed(), desk.managed()
    client.ok(piv.set_management_key(piv.AES_192, piv_cards.MANAGEMENT_KEY, touch=0xFE))
    other.prove()
    desk.finger.before = lambda: other.ok(piv.set_management_key(piv.AES_192, bytes(24)))
    client.prove()
    assert client.status(piv.put_data(piv.CHUID, b"x")) == DENIED


def begin(pool: ThreadPoolExecutor, desk: Desk, client: piv_cards.Client) -> Future[int]:
    """A use of the key for which the token waits to be touched already."""
    assert desk.sensor is not None
    answer = pool.submit(client.status, USE)
    assert desk.sensor.awaited(LONG)
    return answer


def test_a_touch_given_to_the_sensor_lets_the_key_be_used_once() -> None:
    desk = Desk(sensor=(sensor := TouchPad()))
    client = desk.managed()
    client.make_key(AUTHENTICATION, touch=TOUCH_ALWAYS)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            answer = begin(pool, desk, client)
            assert sensor.give()
            assert answer.result(LONG) == SW.NO_ERROR
    assert not sensor.awaited()


def test_a_touch_before_it_is_asked_for_is_none() -> None:
    sensor = TouchPad(patience=0)
    assert not sensor.give()
    assert not sensor.ask().wait()


def test_a_finger_that_stays_is_one_touch_until_it_is_taken_away() -> None:
    sensor = TouchPad(patience=0)
    sensor.press()
    assert sensor.ask().wait()
    assert not sensor.ask().wait()
    sensor.press()
    sensor.release()
    assert not sensor.ask().wait()
    waiting = TouchPad()
    wish = waiting.ask()
    waiting.press()
    assert wish.wait()
    waiting.press()
    waiting.close()
    assert not waiting.ask().wait()


def test_one_touch_is_for_one_use_of_those_that_wait() -> None:
    desk = Desk(sensor=(sensor := TouchPad()))
    clients = [desk.managed(), desk.managed()]
    clients[0].make_key(AUTHENTICATION, touch=TOUCH_ALWAYS)
    with ThreadPoolExecutor(2) as pool:
        answers = [begin(pool, desk, client) for client in clients]
        assert sensor.give()
        done, waiting = wait(answers, LONG, FIRST_COMPLETED)
        assert (len(done), len(waiting)) == (1, 1)
        assert sensor.awaited(LONG)
        assert sensor.give()
        assert [answer.result(LONG) for answer in answers] == [SW.NO_ERROR] * 2


def test_the_sensor_waits_15_seconds() -> None:
    now = iter((0.0, PATIENCE - 0.001, PATIENCE))
    sensor = TouchPad(clock=lambda: next(now))
    assert PATIENCE == 15
    assert not sensor.ask().wait()
    assert next(now, None) is None
    assert not sensor.awaited()


def test_other_interfaces_work_while_the_card_waits_for_a_touch() -> None:
    desk = Desk(sensor=(sensor := TouchPad()))
    client, other = desk.managed(), desk.managed()
    client.make_key(AUTHENTICATION, touch=TOUCH_ALWAYS)
    with ThreadPoolExecutor(1) as pool:
        answer = begin(pool, desk, client)
        other.make_key(RETIRED)
        other.use(RETIRED, P256, DIGEST)
        assert not answer.done()
        sensor.give()
        assert answer.result(LONG) == SW.NO_ERROR


def test_a_token_pulled_while_its_sensor_waits_answers_nothing() -> None:
    desk = Desk(sensor=(sensor := TouchPad()))
    client = desk.managed()
    client.make_key(AUTHENTICATION, touch=TOUCH_ALWAYS)
    with ThreadPoolExecutor(1) as pool:
        answer = begin(pool, desk, client)
        desk.card.close()
        with pytest.raises(CardRemoved):
            answer.result(LONG)
    assert not sensor.give()
    assert not sensor.ask().wait()


@pytest.mark.parametrize("when", ["meanwhile", "before it asks"])
def test_an_interface_that_is_closed_waits_for_no_touch(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(sensor=(sensor := TouchPad(patience=3600)))
    client = desk.managed()
    client.make_key(AUTHENTICATION, touch=TOUCH_ALWAYS)
    interface = client.transport
    assert isinstance(interface, Interface)
    with ThreadPoolExecutor(1) as pool:
        if when == "meanwhile":
            answer = begin(pool, desk, client)
            interface.close()
        else:
            ask = sensor.ask

            def late() -> object:
                interface.close()
                return ask()

            monkeypatch.setattr(sensor, "ask", late)
            answer = pool.submit(client.status, USE)
        assert answer.result(LONG) == DENIED
    assert not sensor.give()
