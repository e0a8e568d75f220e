"""The tries of both PINs through the C interface: their flags, their end, kill -9 and restarts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from host_tools.cryptoki import Cryptoki, CryptokiError, Session
from host_tools.testing import Command, Scratch, ScratchToken
from pkcs11_module import _constants as ck

USER_FLAGS = {
    3: 0,
    2: ck.CKF_USER_PIN_COUNT_LOW,
    1: ck.CKF_USER_PIN_COUNT_LOW | ck.CKF_USER_PIN_FINAL_TRY,
    0: ck.CKF_USER_PIN_LOCKED,
}
SO_FLAGS = {
    3: 0,
    2: ck.CKF_SO_PIN_COUNT_LOW,
    1: ck.CKF_SO_PIN_COUNT_LOW | ck.CKF_SO_PIN_FINAL_TRY,
    0: ck.CKF_SO_PIN_LOCKED,
}
_WRONG = b"000000"


@contextmanager
def opened(token: ScratchToken) -> Iterator[tuple[Session, Callable[[], tuple[int, int]]]]:
    """A session, and a look at the flags: those of the user's and those of the SO's tries."""
    with Cryptoki() as library:
        session = library.open_session(token.slot)

        def flags() -> tuple[int, int]:
            now = library.token_info(token.slot).flags
            return now & _union(USER_FLAGS), now & _union(SO_FLAGS)

        yield session, flags


def _union(flags: dict[int, int]) -> int:
    union = 0
    for value in flags.values():
        union |= value
    return union


def refusal(session: Session, who: int, pin: bytes) -> str:
    with pytest.raises(CryptokiError) as refused:
        session.login(who, pin)
    return refused.value.name


def test_user_tries_fall_to_locked_and_only_the_so_gives_them_back(
    home: Scratch, token: ScratchToken, command: Command
) -> None:
    right = token.pin.encode()
    with opened(token) as (session, flags):
        assert flags() == (USER_FLAGS[3], SO_FLAGS[3])
        for left in (2, 1, 0):
            expected = "CKR_PIN_INCORRECT" if left else "CKR_PIN_LOCKED"
            assert refusal(session, ck.CKU_USER, _WRONG) == expected
            assert flags() == (USER_FLAGS[left], SO_FLAGS[3])
        assert refusal(session, ck.CKU_USER, right) == "CKR_PIN_LOCKED"
    for restart in (home.kill_daemon, lambda: command("stop")):
        restart()
        with opened(token) as (session, flags):
            assert flags() == (USER_FLAGS[0], SO_FLAGS[3])
            assert refusal(session, ck.CKU_USER, right) == "CKR_PIN_LOCKED"
    with opened(token) as (session, flags):
        session.login(ck.CKU_SO, token.so_pin.encode())
        session.init_pin(b"271828")
        session.logout()
        assert flags() == (USER_FLAGS[3], SO_FLAGS[3])
        session.login(ck.CKU_USER, b"271828")


def test_a_right_pin_gives_the_tries_back(token: ScratchToken) -> None:
    with opened(token) as (session, flags):
        refusal(session, ck.CKU_USER, _WRONG)
        refusal(session, ck.CKU_USER, _WRONG)
        session.login(ck.CKU_USER, token.pin.encode())
        assert flags() == (USER_FLAGS[3], SO_FLAGS[3])


@pytest.mark.parametrize("after", [1, 2])
def test_a_killed_daemon_gives_no_try_back(home: Scratch, token: ScratchToken, after: int) -> None:
    with opened(token) as (session, _):
        for _try in range(after):
            refusal(session, ck.CKU_USER, _WRONG)
    home.kill_daemon()
    with opened(token) as (session, flags):
        assert flags() == (USER_FLAGS[3 - after], SO_FLAGS[3])


def test_the_so_pin_has_tries_of_its_own_and_locks_for_good(home: Scratch) -> None:
    token = home.create_token("Strict", so_tries=3)
    with opened(token) as (session, flags):
        for left in (2, 1, 0):
            expected = "CKR_PIN_INCORRECT" if left else "CKR_PIN_LOCKED"
            assert refusal(session, ck.CKU_SO, _WRONG) == expected
            assert flags() == (USER_FLAGS[3], SO_FLAGS[left])
        session.login(ck.CKU_USER, token.pin.encode())
    home.kill_daemon()
    with opened(token) as (session, flags):
        assert refusal(session, ck.CKU_SO, token.so_pin.encode()) == "CKR_PIN_LOCKED"
        assert flags() == (USER_FLAGS[3], SO_FLAGS[0])
    with Cryptoki() as library, pytest.raises(CryptokiError, match="CKR_PIN_LOCKED"):
        library.init_token(token.slot, token.so_pin.encode(), "Again")


def test_a_changed_pin_survives_kill_and_the_old_one_is_wrong(
    home: Scratch, token: ScratchToken
) -> None:
    with opened(token) as (session, _):
        session.set_pin(token.pin.encode(), b"314159")
        home.kill_daemon()
    with opened(token) as (session, _):
        assert refusal(session, ck.CKU_USER, token.pin.encode()) == "CKR_PIN_INCORRECT"
        session.login(ck.CKU_USER, b"314159")


def test_a_wrong_old_pin_at_a_change_spends_a_try(token: ScratchToken) -> None:
    with opened(token) as (session, flags):
        with pytest.raises(CryptokiError, match="CKR_PIN_INCORRECT"):
            session.set_pin(_WRONG, b"314159")
        assert flags() == (USER_FLAGS[2], SO_FLAGS[3])


def test_the_strict_policy_refuses_weak_pins_without_spending_a_try(home: Scratch) -> None:
    token = home.create_token("Strict", pin="481516", pin_policy="strict6")
    with opened(token) as (session, flags):
        for weak in (b"123456", b"654321", b"111122", b"12345", b"1234567", b"12345a"):
            with pytest.raises(CryptokiError, match=r"CKR_PIN_(INVALID|LEN_RANGE)"):
                session.set_pin(token.pin.encode(), weak)
        assert flags() == (USER_FLAGS[3], SO_FLAGS[3])
        session.set_pin(token.pin.encode(), b"112233")
