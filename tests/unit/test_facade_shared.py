"""A card that other programs use too, where real parts do not show it: the edges of transactions,
connections that fail, and PIV cards that tell less than ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from apdu.codec import Command, Response
from apdu.model import SW
from apdu.transport import CardRemoved, Transport, TransportError
from host_tools.conformance import piv_commands as piv
from pkcs11_module import _constants as ck
from pkcs11_module.facade import Module
from pkcs11_module.types import Mechanism
from tests import piv_cards
from tests.unit.facade_rig import (
    ROOM,
    SO_PIN,
    USER_PIN,
    Client,
    Rig,
    SlotReader,
    data_template,
    template,
)
from token_fw.card import Interface

HASHED = bytes(32)
_SELECT = 0xA4


class OneWay:
    """The only interface of a card, with a turn for each transaction; counts what is sent in it."""

    def __init__(self, card: Interface) -> None:
        self.card = card
        self.epoch = 0
        self.open = 0
        self.sent: list[Command] = []
        self.answers: dict[int, Callable[[Command], Response | None]] = {}
        self.fault: TransportError | None = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self.fault is not None:
            raise self.fault
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    def transceive(self, command: bytes) -> bytes:
        assert self.open, "a command outside of a transaction"
        if self.fault is not None:
            raise self.fault
        parsed = Command.parse(command)
        self.sent.append(parsed)
        ask = self.answers.get(parsed.ins)
        answer = None if ask is None else ask(parsed)
        return self.card.transceive(command) if answer is None else answer.encode()

    def reset(self) -> None:
        """Another program resets the card."""
        self.card.reset()
        self.epoch += 1


class SharedReader(SlotReader):
    """A reader whose card has one interface for all."""

    shared = True
    way: OneWay | None = None

    def connect(self) -> Transport:
        if self.card is None:
            raise TransportError("no token")
        if self.way is None:
            self.way = OneWay(self.card.connect())
        return self.way


class SharedRig(Rig):
    """A token in such a reader; with PIV its application of that name, and keys in it."""

    def __init__(self, application: str = "pki") -> None:
        super().__init__()
        card = self.reader.card
        assert card is not None
        self.reader = SharedReader(1, self.events)
        self.reader.application = application
        self.reader.insert(card)
        self.all = [self.reader]
        self.module = Module(self)
        if application == "piv":
            owner = piv_cards.Client(card.connect())
            owner.prove()
            self.public = owner.make_key(piv.AUTHENTICATION)

    @property
    def way(self) -> OneWay:
        assert isinstance(self.reader, SharedReader)
        assert self.reader.way is not None
        return self.reader.way

    def logged_in(self, pin: bytes = USER_PIN) -> tuple[Client, int]:
        client = self.application()
        session = client.open()
        client("C_Login", session, ck.CKU_USER, pin)
        return client, session


def signing_key(client: Client, session: int) -> int:
    (key,) = client.find(session, CLASS=ck.CKO_PRIVATE_KEY)
    return key


def test_no_command_is_outside_of_a_transaction_and_none_outlives_its_call() -> None:
    rig = SharedRig()
    client = rig.initialised()
    session = client.user()
    _, key = client.make_ec_pair(session)
    assert rig.way.open == 0
    calls: list[Callable[[], object]] = [
        lambda: client.sign(session, ck.CKM_ECDSA, key, HASHED),
        lambda: client("C_GetTokenInfo", 1),
        lambda: client("C_GetSessionInfo", session),
        lambda: client("C_GenerateRandom", session, 100),
        lambda: client("C_SetPIN", session, USER_PIN, b"4321"),
        lambda: client.fails("C_SetPIN", session, USER_PIN, b"1234"),
        # The card has one login: a wrong PIN ends it.
        lambda: client("C_Login", session, ck.CKU_USER, b"4321"),
        lambda: client("C_DestroyObject", session, signing_key(client, session)),
        lambda: client("C_CloseAllSessions", 1),
        lambda: client.fails("C_InitToken", 1, b"wrong wrong", b"label".ljust(32)),
        lambda: client("C_InitToken", 1, SO_PIN, b"label".ljust(32)),
        client.application.close,
    ]
    for call in calls:
        before = len(rig.way.sent)
        call()
        assert rig.way.open == 0
        assert len(rig.way.sent) > before or call is calls[-1]


def test_an_application_that_is_selected_still_is_not_selected_again() -> None:
    rig = SharedRig()
    client = rig.initialised()
    session = client.user()
    client.make_ec_pair(session)
    rig.way.sent.clear()
    other = rig.application()
    other.find(other.open())
    client.sign(session, ck.CKM_ECDSA, signing_key(client, session), HASHED)
    by_name = [sent for sent in rig.way.sent if (sent.ins, sent.p1) == (_SELECT, 0x04)]
    assert by_name == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [(TransportError("silence"), "CKR_DEVICE_ERROR"), (CardRemoved("gone"), "CKR_DEVICE_REMOVED")],
)
def test_a_transaction_that_does_not_begin_ends_the_login(fault: TransportError, said: str) -> None:
    rig = SharedRig()
    rig.initialised()
    client, session = rig.logged_in()
    rig.way.fault = fault
    assert client.fails("C_GenerateRandom", session, 8) == said
    rig.way.fault = None
    assert client("C_GetSessionInfo", session)[1] == ck.CKS_RW_PUBLIC_SESSION
    assert rig.way.open == 0


def test_a_login_that_the_card_keeps_outlives_the_end_of_another_application() -> None:
    rig = SharedRig()
    rig.initialised()
    one, session = rig.logged_in()
    other, _ = rig.logged_in()
    other.application.close()
    assert one("C_GetSessionInfo", session)[1] == ck.CKS_RW_USER_FUNCTIONS
    one.application.close()
    third = rig.application()
    third.open()
    asked = rig.way.card.transceive(Command(0x00, 0x20, 0x00, 0x01).encode())
    assert asked == bytes.fromhex("63C3")


def test_without_a_login_of_its_own_an_application_changes_nothing() -> None:
    rig = SharedRig()
    rig.initialised()
    one, session = rig.logged_in()
    one.make_ec_pair(session, PRIVATE=False)
    value = template(**data_template("shared"), PRIVATE=False)
    one("C_CreateObject", session, value)
    other = rig.application()
    beside = other.open()
    (data,) = other.find(beside, CLASS=ck.CKO_DATA)
    key, public = (
        other.find(beside, CLASS=kind)[0] for kind in (ck.CKO_PRIVATE_KEY, ck.CKO_PUBLIC_KEY)
    )
    relabelled = template(LABEL="mine")
    calls: list[tuple[object, ...]] = [
        ("C_CreateObject", value),
        ("C_SetAttributeValue", data, relabelled),
        ("C_SetAttributeValue", public, relabelled),
        ("C_CopyObject", data, relabelled),
        ("C_DestroyObject", data),
        ("C_DestroyObject", key),
        ("C_SignInit", Mechanism(ck.CKM_ECDSA), key),
    ]
    said = [other.outcome(str(name), beside, *arguments) for name, *arguments in calls]
    assert said == ["CKR_USER_NOT_LOGGED_IN"] * len(calls)
    assert one("C_GetSessionInfo", session)[1] == ck.CKS_RW_USER_FUNCTIONS


@pytest.fixture
def poor_card() -> SharedRig:
    """A PIV card with neither the discovery object nor metadata, as SP 800-73-4 allows."""
    rig = SharedRig("piv")
    rig.reader.connect()

    def get_data(command: Command) -> Response | None:
        return Response(SW.FILE_NOT_FOUND) if command.data.endswith(b"\x7e") else None

    rig.way.answers = {0xCB: get_data, 0xF7: lambda _: Response(SW.INS_NOT_SUPPORTED)}
    return rig


def test_a_piv_card_that_does_not_tell_what_is_selected_is_selected_each_time(
    poor_card: SharedRig,
) -> None:
    client, session = poor_card.logged_in(piv_cards.PIN)
    # Ours forgets the PIN by that, which is noticed.
    assert client("C_GetSessionInfo", session)[1] == ck.CKS_RW_PUBLIC_SESSION

    def select(command: Command) -> Response | None:
        return Response(SW.NO_ERROR) if command.p1 == 0x04 else None

    # A card on which nothing changes by it (SP 800-73-4 part 2, 3.1.1).
    poor_card.way.answers[_SELECT] = select
    client("C_Login", session, ck.CKU_USER, piv_cards.PIN)
    assert client("C_GetSessionInfo", session)[1] == ck.CKS_RW_USER_FUNCTIONS


@pytest.mark.parametrize("reset", [False, True])
def test_consent_goes_with_its_use_unless_the_card_was_reset(reset: bool) -> None:
    rig = SharedRig()
    rig.initialised()
    client, session = rig.logged_in()
    client.make_ec_pair(session, ALWAYS_AUTHENTICATE=True)
    key = signing_key(client, session)
    client("C_SignInit", session, Mechanism(ck.CKM_ECDSA), key)
    client("C_Login", session, ck.CKU_CONTEXT_SPECIFIC, USER_PIN)
    rig.way.sent.clear()
    if reset:
        rig.way.reset()
        assert client.fails("C_Sign", session, HASHED, ROOM) == "CKR_USER_NOT_LOGGED_IN"
    else:
        assert len(client("C_Sign", session, HASHED, ROOM)) == 64
        assert [sent.ins for sent in rig.way.sent[-2:]] == [0x20, 0x2A]
