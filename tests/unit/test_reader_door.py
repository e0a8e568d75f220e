"""The daemon's door for readers, without sockets: what a driver is told, and what it may do."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from apdu.codec import Response
from apdu.model import APPLICATIONS, SW
from apdu.wire.frames import WireError
from apdu.wire.ifd import DriverEnd, FromDaemon, FromDriver, Hello, Inserted, Removed
from apdu.wire.reader import Answer, PowerDown, PowerUp, Reset, Transmit
from host_tools import tokens
from host_tools.bridge.ifd import ReaderPeer
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from host_tools.home import Home
from host_tools.rack import Rack
from host_tools.tokens import TokenReader
from tests import piv_cards
from token_fw.card import ATR
from token_fw.factory import Profile
from token_fw.touch_pad import TouchPad

PATIENCE = 30
SELECT = Transmit(pki.select_application().encode())
LIFECYCLE = Transmit(pki.get_data(4).encode())
THERE, GONE = Inserted(ATR), Removed()


class Driver:
    """The other end of one connection."""

    def __init__(self, rack: Rack, slot: int | None = 0, shown: str = "pki") -> None:
        self.connected: list[int] = []
        self.peer = ReaderPeer(rack, self._take, self.connected)
        self.wire = DriverEnd()
        self._news = threading.Condition()
        self._told: list[FromDaemon] = []
        if slot is not None:
            self.say(Hello(slot, shown))

    def say(self, *events: FromDriver) -> None:
        for event in events:
            assert self.peer.receive(self.wire.send(event)) == ()

    def ask(self, command: Transmit) -> bytes:
        """The response; nothing else may be told meanwhile."""
        self.say(command)
        [answer] = self.told(1)
        assert isinstance(answer, Answer)
        return answer.response

    def told(self, count: int) -> list[FromDaemon]:
        """Everything told so far, once it is so much."""
        with self._news:
            assert self._news.wait_for(lambda: len(self._told) >= count, PATIENCE), self._told
            told, self._told = self._told, []
            return told

    def _take(self, data: bytes) -> None:
        with self._news:
            self._told.extend(self.wire.receive(data))
            self._news.notify_all()


class Asked:
    """A driver's card as a Transport."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def transceive(self, command: bytes) -> bytes:
        return self._driver.ask(Transmit(command))


@pytest.fixture
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    home = Home(tmp_path_factory.mktemp("readers") / "home")
    home.make()
    made = Rack(home)
    yield made
    made.close()


def make(rack: Rack) -> TokenReader:
    reader = rack.create(Profile(os.urandom(8)), None)
    rack.keep(reader, "")
    return reader


@pytest.fixture
def token(rack: Rack) -> TokenReader:
    return make(rack)


@pytest.fixture
def driver(rack: Rack, token: TokenReader) -> Iterator[Driver]:
    """A driver that has been told of the token in slot 0."""
    made = Driver(rack)
    assert made.told(1) == [THERE]
    yield made
    made.peer.closed()


def test_an_empty_slot_is_told_and_its_first_token_when_it_comes(rack: Rack) -> None:
    driver = Driver(rack)
    assert driver.told(1) == [GONE]
    make(rack)
    assert driver.told(1) == [THERE]
    driver.peer.closed()


def test_a_driver_hears_of_its_own_slot_alone(rack: Rack, driver: Driver) -> None:
    second = make(rack)
    rack.remove(second)
    rack.remove(rack.find("0"))
    assert driver.told(1) == [GONE]


def test_removal_insertion_and_exchange_are_told(
    rack: Rack, token: TokenReader, driver: Driver
) -> None:
    rack.remove(token)
    assert driver.told(1) == [GONE]
    rack.insert(token)
    assert driver.told(1) == [THERE]
    rack.wipe(token, Profile(bytes.fromhex(token.serial)))
    moves = driver.told(2)
    while moves[-1] != THERE:
        moves += driver.told(1)
    assert moves == [GONE, THERE]
    rack.delete(token)
    assert driver.told(1) == [GONE]


def test_a_card_answers_only_with_power(driver: Driver) -> None:
    assert driver.ask(SELECT) == b""
    driver.say(PowerUp())
    assert Response.parse(driver.ask(SELECT)).sw == SW.NO_ERROR
    driver.say(PowerDown())
    assert driver.ask(SELECT) == b""
    driver.say(Reset())
    assert driver.ask(SELECT) == b""


@pytest.mark.parametrize("power", [Reset(), PowerUp()], ids=["warm", "cold"])
def test_what_was_selected_ends_with_a_reset(driver: Driver, power: FromDriver) -> None:
    driver.say(PowerUp())
    driver.ask(SELECT)
    assert Response.parse(driver.ask(LIFECYCLE)).sw == SW.NO_ERROR
    driver.say(power)
    assert Response.parse(driver.ask(LIFECYCLE)).sw == SW.INS_NOT_SUPPORTED


def test_two_readers_of_one_slot_have_a_status_each(rack: Rack, driver: Driver) -> None:
    other = Driver(rack)
    assert other.told(1) == [THERE]
    for one in (driver, other):
        one.say(PowerUp())
        one.ask(SELECT)
    other.say(Reset())
    assert Response.parse(driver.ask(LIFECYCLE)).sw == SW.NO_ERROR
    other.peer.closed()


def test_a_token_pulled_under_power_answers_no_more(
    rack: Rack, token: TokenReader, driver: Driver
) -> None:
    driver.say(PowerUp())
    driver.ask(SELECT)
    rack.remove(token)
    assert driver.told(1) == [GONE]
    assert driver.ask(LIFECYCLE) == b""
    rack.insert(token)
    assert driver.told(1) == [THERE]
    # Not before it has power: the reader has not noticed the new card yet.
    assert driver.ask(LIFECYCLE) == b""
    driver.say(PowerUp())
    assert Response.parse(driver.ask(SELECT)).sw == SW.NO_ERROR


def test_a_token_that_cannot_be_opened_is_mute_and_then_gone(
    rack: Rack, token: TokenReader, driver: Driver, tmp_path_factory: pytest.TempPathFactory
) -> None:
    [store] = tmp_path_factory.getbasetemp().rglob(f"{token.serial}.sqlite")
    store.write_bytes(b"no database" * 1000)
    driver.say(PowerUp())
    assert driver.told(1) == [GONE]
    assert driver.ask(SELECT) == b""


def test_a_driver_that_leaves_takes_the_wait_for_a_touch_with_it(
    rack: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "TouchPad", partial(TouchPad, patience=3600))
    token = make(rack)
    driver = Driver(rack, shown="piv")
    assert driver.told(1) == [THERE]
    driver.say(PowerUp())
    card = piv_cards.Client(Asked(driver))
    card.prove()
    card.log_in()
    card.make_key(piv.AUTHENTICATION, pin=piv.NEVER, touch=piv.TOUCH_ALWAYS)
    use = Transmit(piv.use(piv.AUTHENTICATION, piv.P256, bytes(32)).encode())
    with ThreadPoolExecutor(1) as pool:
        # The second of them would wait for ever as well.
        waiting = pool.submit(driver.say, use, use)
        assert token.touch is not None
        assert token.touch.awaited(PATIENCE)
        driver.peer.left()
        waiting.result(PATIENCE)
        assert not token.touch.give()
    driver.peer.closed()


def test_the_readers_that_are_connected_are_known(driver: Driver) -> None:
    assert driver.connected == [0]
    driver.peer.closed()
    assert driver.connected == []


def test_a_peer_that_is_no_driver_is_refused_and_leaves_nothing(rack: Rack) -> None:
    driver = Driver(rack, slot=None)
    with pytest.raises(WireError):
        driver.peer.receive(b"GET / HTTP/1.1\r\n\r\n")
    driver.peer.closed()
    assert driver.connected == []


@pytest.mark.parametrize(
    ("shown", "found"),
    [("pki", {"pki"}), ("piv", {"piv", "management"}), ("all", set(APPLICATIONS))],
)
def test_a_reader_shows_the_applications_that_its_name_stands_for(
    rack: Rack, shown: str, found: set[str]
) -> None:
    make(rack)
    driver = Driver(rack, shown=shown)
    driver.told(1)
    driver.say(PowerUp())
    selects = {
        name: Transmit(pki.select_application(spec).encode()) for name, spec in APPLICATIONS.items()
    }
    answers = {name: driver.ask(select)[-2:] for name, select in selects.items()}
    assert {name for name, sw in answers.items() if sw == b"\x90\0"} == found
    assert {sw for name, sw in answers.items() if name not in found} <= {b"\x6a\x82"}


def test_a_driver_that_wants_to_show_something_else_is_refused(rack: Rack) -> None:
    driver = Driver(rack, None)
    with pytest.raises(WireError, match="acme"):
        driver.say(Hello(0, "acme"))
    driver.peer.closed()
    assert driver.connected == []
