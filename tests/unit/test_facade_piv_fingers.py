"""C_Login without a PIN on a PIV card whose user is known by a finger."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from apdu.model import SW
from host_tools.conformance import finger_commands
from host_tools.conformance import piv_commands as piv
from pkcs11_module import _constants as ck
from pkcs11_module.types import Mechanism
from tests import finger_cards, piv_cards
from tests.finger_cards import STRANGER, THUMB, step
from tests.unit.facade_rig import ROOM
from tests.unit.test_facade_piv import PivRig, private_key
from token_fw.fingerprint import SAMPLES
from token_fw.pin import PinRef

pytestmark = pytest.mark.usefixtures("cheap_hash")

OK, WRONG, LOCKED = "CKR_OK", "CKR_PIN_INCORRECT", "CKR_PIN_LOCKED"
REFUSED = "CKR_USER_NOT_LOGGED_IN"
DIGEST = bytes(32)
PATIENCE = 20


class Desk:
    """A PIV card for whose PIN a finger stands, and an application with a session."""

    def __init__(self, *, enrolled: bool = True) -> None:
        self.rig = PivRig()
        self.client = self.rig.application()
        self.session = self.client.open()
        if enrolled:
            self.enrol()

    def enrol(self) -> bytes:
        """Enrol the thumb; gives its identifier."""
        assert self.rig.reader.card is not None
        client = finger_cards.Client(self.rig.reader.card.connect())
        client.prove(PinRef.PIV)
        client.ok(finger_commands.begin())
        self.rig.sensor.script([step(THUMB)] * SAMPLES)
        *_, last = (client.ok(finger_commands.capture()) for _ in range(SAMPLES))
        return last[2:]

    def log_in(self, finger: bytes | None, user: int = ck.CKU_USER) -> str:
        """A login without a PIN, for which that finger comes."""
        if finger is not None:
            self.rig.sensor.script([step(finger)])
        return self.client.outcome("C_Login", self.session, user, None)

    def has_path(self) -> bool:
        flags = int(self.client("C_GetTokenInfo", 1)[4])
        return bool(flags & ck.CKF_PROTECTED_AUTHENTICATION_PATH)

    def state(self) -> int:
        return int(self.client("C_GetSessionInfo", self.session)[1])

    def signs(self) -> str:
        """What a signature with the one private key comes to."""
        key = private_key(self.client, self.session)
        self.client("C_SignInit", self.session, Mechanism(ck.CKM_ECDSA), key)
        return self.client.outcome("C_Sign", self.session, DIGEST, ROOM)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_finger_logs_the_user_in_and_opens_a_key_that_takes_one(desk: Desk) -> None:
    desk.rig.owner.make_key(piv.AUTHENTICATION, pin=piv.MATCH_ONCE)
    assert desk.has_path()
    assert desk.log_in(THUMB) == OK
    assert desk.state() == ck.CKS_RW_USER_FUNCTIONS
    assert [desk.signs(), desk.signs()] == [OK, OK]
    desk.client("C_Logout", desk.session)
    assert desk.state() == ck.CKS_RW_PUBLIC_SESSION


def test_a_wait_ends_with_its_session(desk: Desk) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(desk.log_in, None)
        assert desk.rig.sensor.awaited(PATIENCE)
        desk.client("C_CloseSession", desk.session)
        assert answer.result(PATIENCE) == "CKR_SESSION_CLOSED"


def test_a_key_that_takes_the_pin_alone_is_refused_until_there_was_one(desk: Desk) -> None:
    desk.rig.owner.make_key(piv.AUTHENTICATION, pin=piv.ONCE)
    assert desk.log_in(THUMB) == OK
    assert desk.signs() == REFUSED
    assert desk.state() == ck.CKS_RW_USER_FUNCTIONS
    desk.client("C_Logout", desk.session)
    desk.client("C_Login", desk.session, ck.CKU_USER, piv_cards.PIN)
    assert desk.signs() == OK


@pytest.mark.parametrize(
    ("policy", "after_finger"),
    [(piv.MATCH_ALWAYS, OK), (piv.ALWAYS, REFUSED)],
    ids=["finger", "PIN"],
)
def test_a_key_that_asks_each_time_asks_for_what_its_policy_has(
    desk: Desk, policy: int, after_finger: str
) -> None:
    desk.rig.owner.make_key(piv.AUTHENTICATION, pin=policy)
    assert desk.log_in(THUMB) == OK
    key = private_key(desk.client, desk.session)
    assert desk.client.get(desk.session, key, "ALWAYS_AUTHENTICATE") == [b"\1"]
    assert desk.signs() == REFUSED

    def sign(pin: bytes | None, finger: bytes = THUMB) -> tuple[str, str]:
        desk.client("C_SignInit", desk.session, Mechanism(ck.CKM_ECDSA), key)
        if pin is None:
            consent = desk.log_in(finger, ck.CKU_CONTEXT_SPECIFIC)
        else:
            wanted = ck.CKU_CONTEXT_SPECIFIC
            consent = desk.client.outcome("C_Login", desk.session, wanted, pin)
        return consent, desk.client.outcome("C_Sign", desk.session, DIGEST, ROOM)

    assert sign(None) == (OK, after_finger)
    assert sign(None, STRANGER) == (WRONG, REFUSED)
    assert desk.state() == ck.CKS_RW_USER_FUNCTIONS
    assert sign(None) == (OK, after_finger)
    assert sign(piv_cards.PIN) == (OK, OK)


def test_three_wrong_fingers_block_and_the_pin_unblocks(desk: Desk) -> None:
    assert [desk.log_in(STRANGER) for _ in range(3)] == [WRONG, WRONG, LOCKED]
    assert desk.log_in(None) == LOCKED
    assert not desk.has_path()
    assert desk.rig.owner.tries(piv.REF_PIN) == (3, 3)
    desk.client("C_Login", desk.session, ck.CKU_USER, piv_cards.PIN)
    assert desk.has_path()
    desk.client("C_Logout", desk.session)
    assert desk.log_in(THUMB) == OK


def test_a_finger_opens_a_card_whose_pin_is_locked(desk: Desk) -> None:
    desk.rig.owner.make_key(piv.AUTHENTICATION, pin=piv.MATCH_ONCE)
    while desk.rig.owner.status(piv.verify(piv_cards.WRONG)) != SW.AUTHENTICATION_METHOD_BLOCKED:
        continue
    assert desk.log_in(THUMB) == OK
    assert desk.signs() == OK


def test_a_new_pin_ends_the_login_by_a_finger(desk: Desk) -> None:
    desk.rig.owner.make_key(piv.AUTHENTICATION, pin=piv.MATCH_ONCE)
    assert desk.log_in(THUMB) == OK
    desk.rig.owner.ok(piv.change(piv.REF_PIN, piv_cards.PIN, piv_cards.NEW_PIN))
    assert desk.signs() == REFUSED
    assert desk.state() == ck.CKS_RW_PUBLIC_SESSION


def test_a_card_without_fingers_waits_for_none() -> None:
    desk = Desk(enrolled=False)
    assert not desk.has_path()
    assert desk.log_in(None) == "CKR_ARGUMENTS_BAD"
    ident = desk.enrol()
    assert desk.has_path()
    assert desk.log_in(None, ck.CKU_SO) == "CKR_ARGUMENTS_BAD"
    assert desk.rig.reader.card is not None
    owner = finger_cards.Client(desk.rig.reader.card.connect())
    owner.prove(PinRef.PIV)
    owner.ok(finger_commands.remove(ident))
    assert not desk.has_path()
    assert desk.log_in(None) == "CKR_ARGUMENTS_BAD"
