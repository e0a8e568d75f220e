"""VERIFY ON TOKEN: a PIN that the user enters on the token itself."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from apdu.transport import CardRemoved
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.pki_commands import SO, USER
from host_tools.testing.faults import Cut, Moment, PowerCut, PowerCutStore
from tests import cards
from tests.cards import SO_PIN, USER_PIN
from token_fw.apps.pki import key_commands
from token_fw.card import Card
from token_fw.crypto import KeySpec, PrivateKey, generate
from token_fw.env import Env
from token_fw.errors import EntryCancelled, EntryTimedOut
from token_fw.factory import Profile, personalise
from token_fw.pin_pad import PinPad
from token_fw.storage.memory import Medium, MemoryStore

WRONG = b"000000"
PATIENCE = 20
OK, TIMED_OUT, CANCELLED = 0x9000, 0x6400, 0x6401


class Desk:
    """A token with a pad, and threads that send it commands."""

    def __init__(self, pad: PinPad | None = None, *, protected_path: bool = True) -> None:
        self.store = MemoryStore()
        personalise(self.store, Profile(cards.SERIAL, protected_path=protected_path))
        self.pad = pad or PinPad()
        self.card = Card(Env(self.store, path=self.pad))
        self.client().ok(pki.initialize(SO_PIN))
        client = self.client()
        client.log_in(SO)
        client.ok(pki.reset_by_so(USER_PIN))
        self.pool = ThreadPoolExecutor(4)

    def client(self) -> cards.Client:
        return cards.Client(self.card.connect())

    def begin(self, client: cards.Client, ref: int = USER) -> Future[int]:
        """The status word of VERIFY ON TOKEN; the pad shows the question already."""
        answer = self.pool.submit(client.status, pki.verify_on_token(ref))
        assert self.pad.shown(PATIENCE) is not None
        return answer


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize(("ref", "pin"), [(USER, USER_PIN), (SO, SO_PIN)])
def test_what_is_entered_on_the_token_verifies_the_pin_there(
    desk: Desk, ref: int, pin: bytes
) -> None:
    client, other = desk.client(), desk.client()
    answer = desk.begin(client, ref)
    assert desk.pad.shown() == ref
    assert desk.pad.enter(pin) == ref
    assert answer.result(PATIENCE) == OK
    assert client.status(pki.verify(ref)) == OK
    assert other.status(pki.verify(ref)) != OK
    assert desk.pad.shown() is None


def test_a_wrong_entry_spends_a_try_and_the_last_one_locks(desk: Desk) -> None:
    client = desk.client()
    client.log_in()
    statuses = []
    for _ in range(3):
        answer = desk.begin(client)
        desk.pad.enter(WRONG)
        statuses.append(answer.result(PATIENCE))
    assert statuses == [0x63C2, 0x63C1, 0x63C0]
    assert client.status(pki.verify(USER)) == 0x6983
    # Nobody is asked for what cannot be right.
    assert client.status(pki.verify_on_token(USER)) == 0x6983
    assert desk.pad.shown() is None


def test_a_right_entry_gives_the_tries_back(desk: Desk) -> None:
    client = desk.client()
    client.status(pki.verify(USER, WRONG))
    answer = desk.begin(client)
    desk.pad.enter(USER_PIN)
    assert answer.result(PATIENCE) == OK
    assert cards.tries_left(client, USER) == 3


def test_a_pin_without_a_value_is_not_asked_for() -> None:
    desk = Desk()
    client = desk.client()
    client.ok(pki.initialize(SO_PIN))
    assert client.status(pki.verify_on_token(USER)) == 0x6984
    assert desk.pad.shown() is None


def test_without_a_path_nothing_can_be_entered() -> None:
    without = Desk(protected_path=False).client()
    assert without.status(pki.verify_on_token(USER)) == 0x6985
    store = MemoryStore()
    personalise(store, Profile(cards.SERIAL, protected_path=True))
    client = cards.Client(Card(Env(store)).connect())
    client.ok(pki.initialize(SO_PIN))
    assert client.status(pki.verify_on_token(SO)) == 0x6985


def test_the_card_tells_of_its_path_and_keeps_it_over_restarts_and_initialising(
    desk: Desk,
) -> None:
    def told(card: Card) -> bool:
        return bytes.fromhex("8800") in cards.Client(card.connect()).ok(pki.get_data(0x04))

    assert told(desk.card)
    desk.client().ok(pki.initialize(SO_PIN))
    again = MemoryStore(Medium(dict(desk.store.medium.records)))
    assert told(Card(Env(again, path=PinPad())))
    assert not told(Desk(protected_path=False).card)


def test_calling_off_and_waiting_in_vain_spend_no_try(desk: Desk) -> None:
    client = desk.client()
    answer = desk.begin(client)
    assert desk.pad.cancel() == USER
    assert answer.result(PATIENCE) == CANCELLED
    assert cards.tries_left(client, USER) == 3
    impatient = Desk(PinPad(patience=0)).client()
    assert impatient.status(pki.verify_on_token(USER)) == TIMED_OUT
    assert cards.tries_left(impatient, USER) == 3


def test_the_time_is_the_one_that_is_passed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 159.0, 160.0])
    pad = PinPad(clock=lambda: next(now))
    question = pad.ask(USER)
    waits: list[float | None] = []
    monkeypatch.setattr(pad._questions._changed, "wait", waits.append)
    with pytest.raises(EntryTimedOut):
        question.wait()
    assert waits == [1.0]
    assert pad.shown() is None


def test_other_interfaces_work_while_one_waits(desk: Desk) -> None:
    waiting, other = desk.client(), desk.client()
    answer = desk.begin(waiting)
    other.log_in()
    other.ok(pki.change(USER, USER_PIN, b"another"))
    assert not answer.done()
    # What is compared is the value that is in force then.
    desk.pad.enter(USER_PIN)
    assert answer.result(PATIENCE) == 0x63C2


def test_questions_are_asked_one_after_the_other(desk: Desk) -> None:
    first, second = desk.client(), desk.client()
    answers = [desk.begin(first, USER)]
    queued = desk.pool.submit(second.status, pki.verify_on_token(SO))
    while len(desk.pad._questions) < 2:
        pass
    desk.pad.enter(USER_PIN)
    assert answers[0].result(PATIENCE) == OK
    assert desk.pad.enter(SO_PIN) == SO
    assert queued.result(PATIENCE) == OK
    assert first.status(pki.verify(SO)) != OK


def test_a_closed_interface_asks_no_more(desk: Desk) -> None:
    interface = desk.card.connect()
    answer = desk.begin(cards.Client(interface))
    interface.close()
    assert answer.result(PATIENCE) == CANCELLED
    assert desk.pad.enter(USER_PIN) is None


def test_an_interface_closed_before_the_question_was_there_asks_no_more(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    interface = desk.card.connect()
    client = cards.Client(interface)
    ask = desk.pad.ask

    def late(reference: int) -> object:
        interface.close()
        return ask(reference)

    monkeypatch.setattr(desk.pad, "ask", late)
    assert client.status(pki.verify_on_token(USER)) == CANCELLED


def test_a_pulled_token_ends_the_question_and_touches_no_store(desk: Desk) -> None:
    answer = desk.begin(desk.client())
    before = dict(desk.store.medium.records)
    desk.card.close()
    with pytest.raises(CardRemoved):
        answer.result(PATIENCE)
    assert desk.store.medium.records == before
    assert desk.pad.enter(USER_PIN) is None
    with pytest.raises(EntryCancelled):
        desk.pad.ask(USER).wait()


def test_a_token_pulled_while_it_makes_a_key_is_a_removed_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = threading.Event()

    def slowly(spec: KeySpec) -> PrivateKey:
        desk.card.close()
        made.set()
        return generate(spec)

    monkeypatch.setattr(key_commands, "generate", slowly)
    client = desk.client()
    client.log_in()
    with pytest.raises(CardRemoved):
        cards.make_key(client, 1)
    assert made.is_set()


@pytest.mark.parametrize("entered", [WRONG, USER_PIN])
def test_the_try_is_durable_before_the_entry_is_compared(entered: bytes) -> None:
    medium = Medium()
    store = PowerCutStore(medium)
    personalise(store, Profile(cards.SERIAL, protected_path=True))
    pad = PinPad()
    client = cards.Client(Card(Env(store, path=pad)).connect())
    client.ok(pki.initialize(SO_PIN))
    client.ok(pki.reset_by_so(USER_PIN))
    store.arm(Cut(Moment.AFTER_COMMIT, 1))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.status, pki.verify_on_token(USER))
        assert pad.shown(PATIENCE) == USER
        pad.enter(entered)
        with pytest.raises(PowerCut):
            answer.result(PATIENCE)
    left = cards.Client(Card(Env(MemoryStore(medium))).connect())
    assert cards.tries_left(left, USER) == 2


def test_an_entry_is_consent_to_one_use_of_a_key(desk: Desk) -> None:
    client = desk.client()
    client.log_in()
    cards.make_key(client, 0, pki.EC, pki.attributes(0x01, pki.ALWAYS_AUTHENTICATE))
    client.ok(pki.mse(pki.SIGN, pki.ECDSA, 0))
    answer = desk.begin(client)
    desk.pad.enter(USER_PIN)
    assert answer.result(PATIENCE) == OK
    assert client.status(pki.sign(bytes(32))) == OK
    assert client.status(pki.sign(bytes(32))) == 0x6982


def test_no_value_shows_in_what_is_printed(desk: Desk) -> None:
    question = desk.pad.ask(USER)
    desk.pad.enter(b"a secret PIN")
    assert "secret" not in repr(question) + repr(desk.pad)
    assert question.wait() == b"a secret PIN"
    assert question.value is None
