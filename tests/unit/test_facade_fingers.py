"""C_Login without a PIN on a token whose user is known by a finger."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from host_tools.conformance import finger_commands, pki_commands
from pkcs11_module import _constants as ck
from pkcs11_module.types import Mechanism
from tests import cards, finger_cards
from tests.finger_cards import STRANGER, THUMB, step
from tests.unit.facade_rig import ROOM, USER_PIN, Rig
from token_fw.fingerprint import SAMPLES

PATIENCE = 20
OK, WRONG, LOCKED = "CKR_OK", "CKR_PIN_INCORRECT", "CKR_PIN_LOCKED"


class Desk:
    """A token for whose user PIN a finger stands, and an application with a session."""

    def __init__(self, *, pad: bool = False, enrolled: bool = True) -> None:
        self.rig = Rig(protected_path=pad)
        self.client = self.rig.initialised()
        self.session = self.client.open()
        if enrolled:
            self.enrol()

    def enrol(self) -> None:
        card = self.rig.reader.card
        assert card is not None
        client = finger_cards.Client(card.connect())
        client.ok(finger_commands.verify(pki_commands.USER, USER_PIN))
        client.ok(finger_commands.begin())
        self.rig.sensor.script([step(THUMB)] * SAMPLES)
        for _ in range(SAMPLES):
            client.ok(finger_commands.capture())

    def log_in(self, finger: bytes | None, user: int = ck.CKU_USER) -> str:
        """A login without a PIN, for which that finger comes."""
        if finger is not None:
            self.rig.sensor.script([step(finger)])
        return self.client.outcome("C_Login", self.session, user, None)

    def state(self) -> int:
        return int(self.client("C_GetSessionInfo", self.session)[1])

    def has_path(self) -> bool:
        flags = int(self.client("C_GetTokenInfo", 1)[4])
        return bool(flags & ck.CKF_PROTECTED_AUTHENTICATION_PATH)

    def tries_left(self) -> int:
        """Those of the user PIN."""
        card = self.rig.reader.card
        assert card is not None
        return cards.tries_left(cards.Client(card.connect()), pki_commands.USER)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_finger_logs_the_user_in(desk: Desk) -> None:
    assert desk.has_path()
    assert desk.log_in(THUMB) == OK
    assert desk.state() == ck.CKS_RW_USER_FUNCTIONS
    _, private = desk.client.make_ec_pair(desk.session)
    assert len(desk.client.sign(desk.session, ck.CKM_ECDSA, private, bytes(32))) == 64


def test_a_token_without_fingers_waits_for_none() -> None:
    desk = Desk(enrolled=False)
    assert not desk.has_path()
    assert desk.log_in(None) == "CKR_ARGUMENTS_BAD"
    desk.enrol()
    assert desk.has_path()
    assert desk.log_in(THUMB) == OK


def test_no_finger_stands_for_the_so(desk: Desk) -> None:
    assert desk.log_in(None, ck.CKU_SO) == "CKR_ARGUMENTS_BAD"


def test_three_wrong_fingers_block_and_the_pin_unblocks(desk: Desk) -> None:
    assert [desk.log_in(STRANGER) for _ in range(3)] == [WRONG, WRONG, LOCKED]
    assert desk.log_in(None) == LOCKED
    assert not desk.has_path()
    assert desk.tries_left() == 3
    desk.client("C_Login", desk.session, ck.CKU_USER, USER_PIN)
    assert desk.has_path()
    desk.client("C_Logout", desk.session)
    assert desk.log_in(THUMB) == OK


def test_with_a_pad_the_pin_is_asked_for_once_the_sensor_is_blocked() -> None:
    desk = Desk(pad=True)
    assert [desk.log_in(STRANGER) for _ in range(3)] == [WRONG, WRONG, LOCKED]
    assert desk.has_path()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(desk.log_in, None)
        assert desk.rig.pad.shown(PATIENCE) == pki_commands.USER
        desk.rig.pad.enter(USER_PIN)
        assert answer.result(PATIENCE) == OK
    desk.client("C_Logout", desk.session)
    assert desk.log_in(THUMB) == OK


def test_other_threads_go_on_while_a_finger_is_waited_for(desk: Desk) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(desk.log_in, None)
        assert desk.rig.sensor.awaited(PATIENCE)
        assert len(desk.client("C_GenerateRandom", desk.client.open(), 8)) == 8
        assert not answer.done()
        desk.rig.sensor.present(finger_cards.sample(THUMB))
        assert answer.result(PATIENCE) == OK


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("C_CloseSession", "CKR_SESSION_CLOSED"),
        ("removal", "CKR_DEVICE_REMOVED"),
    ],
)
def test_what_ends_the_session_ends_the_wait(desk: Desk, end: str, expected: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(desk.log_in, None)
        assert desk.rig.sensor.awaited(PATIENCE)
        if end == "removal":
            desk.rig.reader.remove()
        else:
            desk.client(end, desk.session)
        assert answer.result(PATIENCE) == expected
    assert not desk.rig.sensor.present(finger_cards.sample(THUMB))


def test_a_key_that_asks_each_time_takes_a_finger_each_time(desk: Desk) -> None:
    assert desk.log_in(THUMB) == OK
    _, private = desk.client.make_ec_pair(desk.session, ALWAYS_AUTHENTICATE=True)

    def sign(finger: bytes) -> tuple[str, str]:
        desk.client("C_SignInit", desk.session, Mechanism(ck.CKM_ECDSA), private)
        consent = desk.log_in(finger, ck.CKU_CONTEXT_SPECIFIC)
        return consent, desk.client.outcome("C_Sign", desk.session, bytes(32), ROOM)

    assert sign(THUMB) == (OK, OK)
    assert sign(STRANGER) == (WRONG, "CKR_USER_NOT_LOGGED_IN")
    assert desk.state() == ck.CKS_RW_USER_FUNCTIONS
    assert sign(THUMB) == (OK, OK)
