"""C_Login without a PIN on a token whose user enters it there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module.types import Mechanism
from tests.unit.facade_rig import ROOM, SO_PIN, USER_PIN, Client, Rig

PATIENCE = 20
OK = "CKR_OK"


class Desk:
    """A token with a pad, an application with a session, and threads that log in."""

    def __init__(self) -> None:
        self.rig = Rig(protected_path=True)
        self.client = self.rig.initialised()
        self.session = self.client.open()
        self.pool = ThreadPoolExecutor(4)

    def begin(
        self,
        user: int = ck.CKU_USER,
        *,
        client: Client | None = None,
        session: int | None = None,
        name: str = "C_Login",
    ) -> Future[str]:
        """A login in a thread of its own; the pad shows its question already."""
        who = client or self.client
        more = (b"",) if name == "C_LoginUser" else ()
        where = session or self.session
        answer = self.pool.submit(who.outcome, name, where, user, None, *more)
        assert self.rig.pad.shown(PATIENCE) is not None
        return answer

    def state(self) -> int:
        return int(self.client("C_GetSessionInfo", self.session)[1])

    def flags(self) -> int:
        return int(self.client("C_GetTokenInfo", 1)[4])


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.client.application.close()
    made.pool.shutdown()


@pytest.mark.parametrize("name", ["C_Login", "C_LoginUser"])
@pytest.mark.parametrize(
    ("user", "pin", "state"),
    [
        (ck.CKU_USER, USER_PIN, ck.CKS_RW_USER_FUNCTIONS),
        (ck.CKU_SO, SO_PIN, ck.CKS_RW_SO_FUNCTIONS),
    ],
)
def test_a_pin_entered_on_the_token_logs_in(
    desk: Desk, name: str, user: int, pin: bytes, state: int
) -> None:
    answer = desk.begin(user, name=name)
    assert desk.state() == ck.CKS_RW_PUBLIC_SESSION
    assert desk.rig.pad.enter(pin) == (1 if user == ck.CKU_USER else 2)
    assert answer.result(PATIENCE) == OK
    assert desk.state() == state
    if user == ck.CKU_USER:
        _, private = desk.client.make_ec_pair(desk.session)
        assert len(desk.client.sign(desk.session, ck.CKM_ECDSA, private, bytes(32))) == 64
    else:
        desk.client("C_InitPIN", desk.session, b"5555")
    desk.client("C_Logout", desk.session)
    assert desk.state() == ck.CKS_RW_PUBLIC_SESSION


def test_only_a_token_with_a_path_says_so_and_waits() -> None:
    assert Desk().flags() & ck.CKF_PROTECTED_AUTHENTICATION_PATH
    client = Rig().initialised()
    assert not client("C_GetTokenInfo", 1)[4] & ck.CKF_PROTECTED_AUTHENTICATION_PATH
    session = client.open()
    for user in (ck.CKU_USER, ck.CKU_SO):
        assert client.fails("C_Login", session, user, None) == "CKR_ARGUMENTS_BAD"


def test_a_program_may_give_the_pin_all_the_same(desk: Desk) -> None:
    desk.client("C_Login", desk.session, ck.CKU_USER, USER_PIN)
    assert desk.state() == ck.CKS_RW_USER_FUNCTIONS


def test_wrong_entries_spend_tries_and_lock(desk: Desk) -> None:
    outcomes = []
    for _ in range(3):
        answer = desk.begin()
        desk.rig.pad.enter(b"wrong")
        outcomes.append(answer.result(PATIENCE))
    assert outcomes == ["CKR_PIN_INCORRECT", "CKR_PIN_INCORRECT", "CKR_PIN_LOCKED"]
    assert desk.flags() & ck.CKF_USER_PIN_LOCKED
    refusal = desk.client.fails("C_Login", desk.session, ck.CKU_USER, None)
    assert refusal == "CKR_PIN_LOCKED"
    assert desk.state() == ck.CKS_RW_PUBLIC_SESSION


def test_calling_the_entry_off_spends_no_try(desk: Desk) -> None:
    answer = desk.begin()
    desk.rig.pad.cancel()
    assert answer.result(PATIENCE) == "CKR_FUNCTION_CANCELED"
    assert not desk.flags() & ck.CKF_USER_PIN_COUNT_LOW
    assert desk.state() == ck.CKS_RW_PUBLIC_SESSION


def test_other_threads_sessions_and_applications_go_on_while_one_waits(desk: Desk) -> None:
    answer = desk.begin()
    other = desk.client.open()
    assert len(desk.client("C_GenerateRandom", other, 8)) == 8
    assert desk.client("C_GetSessionInfo", desk.session)[1] == ck.CKS_RW_PUBLIC_SESSION
    assert desk.flags() & ck.CKF_TOKEN_INITIALIZED
    stranger = desk.rig.application()
    session = stranger.user()
    _, private = stranger.make_ec_pair(session)
    assert len(stranger.sign(session, ck.CKM_ECDSA, private, bytes(32))) == 64
    assert not answer.done()
    desk.rig.pad.enter(USER_PIN)
    assert answer.result(PATIENCE) == OK
    assert len(desk.client.find(other, CLASS=ck.CKO_PRIVATE_KEY)) == 1


def test_two_applications_wait_each_for_its_own(desk: Desk) -> None:
    other = desk.rig.application()
    session = other.open()
    first = desk.begin()
    second = desk.pool.submit(other.outcome, "C_Login", session, ck.CKU_USER, None)
    while len(desk.rig.pad._questions) < 2:
        pass
    desk.rig.pad.enter(USER_PIN)
    assert first.result(PATIENCE) == OK
    assert not second.done()
    desk.rig.pad.cancel()
    assert second.result(PATIENCE) == "CKR_FUNCTION_CANCELED"
    assert desk.state() == ck.CKS_RW_USER_FUNCTIONS
    assert other("C_GetSessionInfo", session)[1] == ck.CKS_RW_PUBLIC_SESSION


ENDS: dict[str, tuple[Callable[[Desk], object], str]] = {
    "C_Finalize": (lambda desk: desk.client.application.close(), "CKR_CRYPTOKI_NOT_INITIALIZED"),
    "removal": (lambda desk: desk.rig.reader.remove(), "CKR_DEVICE_REMOVED"),
    "removal and insertion": (lambda desk: desk.rig.reinsert(), "CKR_DEVICE_REMOVED"),
    "C_CloseSession": (
        lambda desk: desk.client("C_CloseSession", desk.session),
        "CKR_SESSION_CLOSED",
    ),
    "C_CloseAllSessions": (
        lambda desk: desk.client("C_CloseAllSessions", 1),
        "CKR_SESSION_CLOSED",
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_ends_the_session_ends_the_waiting(desk: Desk, name: str) -> None:
    end, expected = ENDS[name]
    answer, pad = desk.begin(), desk.rig.pad
    end(desk)
    assert answer.result(PATIENCE) == expected
    assert pad.enter(USER_PIN) is None
    again = desk.rig.application()
    if name != "removal":
        session = again.user()
        assert again("C_GetSessionInfo", session)[1] == ck.CKS_RW_USER_FUNCTIONS


def test_the_session_of_another_thread_can_be_closed_meanwhile(desk: Desk) -> None:
    other = desk.client.open()
    answer = desk.begin()
    desk.client("C_CloseSession", other)
    desk.rig.pad.enter(USER_PIN)
    assert answer.result(PATIENCE) == OK


def test_rules_hold_for_what_happened_while_a_login_waited(desk: Desk) -> None:
    answer = desk.begin()
    desk.client("C_Login", desk.session, ck.CKU_USER, USER_PIN)
    desk.rig.pad.enter(USER_PIN)
    assert answer.result(PATIENCE) == "CKR_USER_ALREADY_LOGGED_IN"
    desk.client("C_Logout", desk.session)
    answer = desk.begin(ck.CKU_SO)
    readable = desk.client.open(rw=False)
    desk.rig.pad.enter(SO_PIN)
    assert answer.result(PATIENCE) == "CKR_SESSION_READ_ONLY_EXISTS"
    assert desk.state() == ck.CKS_RW_PUBLIC_SESSION
    desk.client("C_CloseSession", readable)


def test_a_login_that_may_not_be_asks_nobody(desk: Desk) -> None:
    readable = desk.client.open(rw=False)
    login = partial(desk.client.fails, "C_Login", readable)
    assert login(ck.CKU_SO, None) == "CKR_SESSION_READ_ONLY_EXISTS"
    assert login(ck.CKU_CONTEXT_SPECIFIC, None) == "CKR_OPERATION_NOT_INITIALIZED"
    assert login(9, None) == "CKR_USER_TYPE_INVALID"
    desk.client("C_Login", desk.session, ck.CKU_USER, USER_PIN)
    assert login(ck.CKU_USER, None) == "CKR_USER_ALREADY_LOGGED_IN"
    assert desk.rig.pad.shown() is None


def signing(desk: Desk) -> None:
    desk.client("C_Login", desk.session, ck.CKU_USER, USER_PIN)
    _, private = desk.client.make_ec_pair(desk.session, ALWAYS_AUTHENTICATE=True)
    desk.client("C_SignInit", desk.session, Mechanism(ck.CKM_ECDSA), private)


def sign(desk: Desk) -> str:
    return desk.client.outcome("C_Sign", desk.session, bytes(32), ROOM)


def test_an_entry_is_the_consent_to_one_signature(desk: Desk) -> None:
    signing(desk)
    for entered, expected in ((b"wrong", "CKR_PIN_INCORRECT"), (USER_PIN, OK)):
        answer = desk.begin(ck.CKU_CONTEXT_SPECIFIC)
        desk.rig.pad.enter(entered)
        assert answer.result(PATIENCE) == expected
        assert desk.state() == ck.CKS_RW_USER_FUNCTIONS
    assert sign(desk) == OK


def test_a_consent_comes_too_late_for_an_operation_that_has_ended(desk: Desk) -> None:
    signing(desk)
    answer = desk.begin(ck.CKU_CONTEXT_SPECIFIC)
    assert sign(desk) == "CKR_USER_NOT_LOGGED_IN"
    (private,) = desk.client.find(desk.session, CLASS=ck.CKO_PRIVATE_KEY)
    desk.client("C_SignInit", desk.session, Mechanism(ck.CKM_ECDSA), private)
    desk.rig.pad.enter(USER_PIN)
    assert answer.result(PATIENCE) == "CKR_OPERATION_NOT_INITIALIZED"
    assert sign(desk) == "CKR_USER_NOT_LOGGED_IN"
