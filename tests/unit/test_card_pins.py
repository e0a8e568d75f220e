"""PINs: tries, lock, unblocking, and on which interface they are verified."""

from __future__ import annotations

import hmac

import pytest

from apdu.codec import Command
from apdu.model import SW
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.pki_commands import SO, USER
from tests import cards
from tests.cards import SO_PIN, USER_PIN
from token_fw import pin
from token_fw._pins import POLICIES
from token_fw.errors import IncorrectData
from token_fw.factory import Profile

WRONG = b"000000"
NEW = b"314159265"


def lock(client: cards.Client, ref: int) -> None:
    while client.status(pki.verify(ref, WRONG)) != 0x6983:
        pass


def test_tries_fall_and_at_zero_the_right_pin_is_refused_too() -> None:
    client = cards.operational().client()
    answers = [client.status(pki.verify(USER, WRONG)) for _ in range(4)]
    assert answers == [0x63C2, 0x63C1, 0x63C0, 0x6983]
    assert client.status(pki.verify(USER, USER_PIN)) == 0x6983
    assert client.status(pki.verify(USER)) == 0x6983


def test_the_lock_survives_a_restart() -> None:
    bench = cards.operational()
    lock(bench.client(), USER)
    again = bench.restarted()
    assert again.client().status(pki.verify(USER, USER_PIN)) == 0x6983


def test_the_right_pin_restores_the_tries() -> None:
    client = cards.operational().client()
    client.status(pki.verify(USER, WRONG))
    client.log_in()
    assert cards.tries_left(client, USER) == 3


def test_wrong_pin_spends_a_try_before_comparing(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = cards.operational()
    client = bench.client()
    seen: list[int] = []

    def compare(one: bytes, other: bytes) -> bool:
        seen.append(cards.tries_left(bench.restarted().client(), USER))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    client.status(pki.verify(USER, WRONG))
    client.status(pki.verify(USER, USER_PIN))
    assert seen == [2, 1]


def test_tries_are_as_the_token_was_made() -> None:
    client = cards.operational(Profile(cards.SERIAL, user_tries=1, so_tries=15)).client()
    assert client.status(pki.verify(SO, WRONG)) == 0x63CE
    assert client.status(pki.verify(USER, WRONG)) == 0x63C0
    assert client.status(pki.verify(USER, USER_PIN)) == 0x6983


def test_the_so_pin_has_tries_of_its_own() -> None:
    client = cards.operational().client()
    lock(client, USER)
    assert cards.tries_left(client, SO) == 10
    client.log_in(SO)


def test_padding_is_not_part_of_a_pin() -> None:
    client = cards.operational().client()
    client.ok(pki.verify(USER, USER_PIN.ljust(16, b"\0")))


def test_a_pin_of_zeros_alone_is_a_wrong_one() -> None:
    client = cards.operational().client()
    assert client.status(pki.verify(USER, bytes(16))) == 0x63C2


def test_a_pin_longer_than_64_bytes_is_no_try() -> None:
    client = cards.operational().client()
    assert client.status(pki.verify(USER, b"1" * 65)) == SW.WRONG_LENGTH
    assert cards.tries_left(client, USER) == 3


def test_asking_tells_the_state() -> None:
    bench = cards.Bench()
    client = bench.client()
    assert client.status(pki.verify(USER)) == SW.REFERENCE_DATA_NOT_USABLE
    assert client.status(pki.verify(USER, USER_PIN)) == SW.REFERENCE_DATA_NOT_USABLE
    client.ok(pki.initialize(SO_PIN))
    assert client.status(pki.verify(SO)) == SW.NO_ERROR
    client.ok(pki.reset_by_so(USER_PIN))
    assert client.status(pki.verify(USER)) == 0x63C3


def test_logging_out_and_a_wrong_pin_end_the_verification() -> None:
    client = cards.logged_in()
    client.ok(pki.log_out(USER))
    assert client.status(pki.verify(USER)) == 0x63C3
    client.log_in()
    client.status(pki.verify(USER, WRONG))
    assert client.status(pki.verify(USER)) == 0x63C2


def test_verification_is_of_one_interface() -> None:
    bench = cards.operational()
    one, other = cards.logged_in(bench), bench.client()
    assert one.status(pki.verify(USER)) == SW.NO_ERROR
    assert other.status(pki.verify(USER)) == 0x63C3
    assert cards.pin_info(one, USER)[0x83] == b"\x03"
    assert cards.pin_info(other, USER)[0x83] == b"\x01"


def test_a_changed_pin_ends_the_verification_on_other_interfaces_only() -> None:
    bench = cards.operational()
    one, other = cards.logged_in(bench), cards.logged_in(bench)
    one.ok(pki.change(USER, USER_PIN, NEW))
    assert one.status(pki.verify(USER)) == SW.NO_ERROR
    assert other.status(pki.verify(USER)) == 0x63C3
    assert other.status(pki.verify(USER, USER_PIN)) == 0x63C2
    other.log_in(USER, NEW)


def test_changing_a_pin_does_not_verify_it() -> None:
    client = cards.operational().client()
    client.ok(pki.change(USER, USER_PIN, NEW))
    assert client.status(pki.verify(USER)) == 0x63C3


def test_a_wrong_old_pin_costs_a_try() -> None:
    client = cards.operational().client()
    assert client.status(pki.change(USER, WRONG, NEW)) == 0x63C2
    client.log_in()


@pytest.mark.parametrize("new", [b"123", b"1" * 65, b"1234\0"])
def test_a_new_pin_is_checked_before_a_try_is_spent(new: bytes) -> None:
    bench = cards.operational()
    client = bench.client()
    before = bench.digest()
    assert client.status(pki.change(USER, WRONG, new)) == SW.INCORRECT_DATA
    assert client.status(pki.unblock(WRONG, new)) == SW.INCORRECT_DATA
    assert bench.digest() == before


def test_the_puk_unblocks_and_verifies_nobody() -> None:
    bench = cards.operational()
    client, other = bench.client(), cards.logged_in(bench)
    lock(client, USER)
    assert client.status(pki.unblock(WRONG, NEW)) == 0x63C9
    client.ok(pki.unblock(SO_PIN, NEW))
    assert cards.tries_left(client, SO) == 10
    assert client.status(pki.verify(USER)) == 0x63C3
    assert client.status(pki.verify(SO)) == 0x63CA
    assert other.status(pki.verify(USER)) == 0x63C3
    client.log_in(USER, NEW)


def test_a_locked_puk_unblocks_nothing() -> None:
    client = cards.operational().client()
    lock(client, SO)
    assert client.status(pki.unblock(SO_PIN, NEW)) == 0x6983
    assert client.status(pki.initialize(SO_PIN)) == 0x6983
    client.log_in()


def test_the_so_sets_the_user_pin_for_the_first_time_and_again() -> None:
    client = cards.Bench().client()
    client.ok(pki.initialize(SO_PIN))
    assert client.status(pki.unblock(SO_PIN, NEW)) == SW.REFERENCE_DATA_NOT_USABLE
    client.ok(pki.reset_by_so(NEW))
    client.log_in(USER, NEW)
    lock(client, USER)
    client.ok(pki.reset_by_so(USER_PIN))
    client.log_in()


def test_a_blocked_pin_stays_verified_where_it_was() -> None:
    bench = cards.operational()
    one, other = cards.logged_in(bench), bench.client()
    lock(other, USER)
    assert one.status(pki.verify(USER)) == SW.NO_ERROR


def test_pins_are_set_without_a_pin_on_a_blank_card_alone() -> None:
    client = cards.Bench().client()
    so, user = Command(0, 0x24, 1, SO, SO_PIN), Command(0, 0x24, 1, USER, USER_PIN)
    assert client.status(user) == SW.CONDITIONS_NOT_SATISFIED
    client.ok(so)
    client.ok(user)
    assert cards.lifecycle(client) == 5
    assert client.status(so) == SW.CONDITIONS_NOT_SATISFIED
    client.log_in()


def test_the_same_pin_is_stored_differently_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = cards.operational()
    client = bench.client()
    kept = bench.medium.records["pin", bytes((USER,))]
    client.ok(pki.change(USER, USER_PIN, USER_PIN))
    assert bench.medium.records["pin", bytes((USER,))] != kept
    assert USER_PIN not in kept
    # Less would make the hash cheap to try out, more would be felt at every login.
    assert pin.HASH_COST == 1024


STRICT = POLICIES["strict6"].user
DEFAULT = POLICIES["default"].user


@pytest.mark.parametrize(
    "value",
    [b"111222", b"112233", b"123457", b"023456", b"098764", b"901234", b"246802", b"121212"],
)
def test_strict6_takes_six_digits_that_are_no_run(value: bytes) -> None:
    STRICT.check(value)


@pytest.mark.parametrize(
    "value",
    [
        b"12345",
        b"1234567",
        b"12345a",
        b"12 456",
        "١٢٣٤٥٦".encode()[:6],
        b"111123",
        b"231111",
        b"000000",
        b"123456",
        b"654321",
        b"012345",
        b"456789",
        b"987654",
        b"543210",
    ],
)
def test_strict6_refuses_what_is_easy_to_guess(value: bytes) -> None:
    with pytest.raises(IncorrectData) as refusal:
        STRICT.check(value)
    assert value.decode(errors="replace") not in str(refusal.value)


def test_strict6_holds_on_the_card_for_the_user_pin() -> None:
    client = cards.Bench(Profile(cards.SERIAL, pin_policy="strict6")).client()
    client.ok(pki.initialize(SO_PIN))
    assert client.status(pki.reset_by_so(b"123456")) == SW.INCORRECT_DATA
    client.ok(pki.reset_by_so(b"135790"))
    info = cards.pin_info(client, USER)
    assert (info[0x84], info[0x85], info[0x86]) == (b"\x06", b"\x06", b"strict6")
    assert cards.pin_info(client, SO)[0x85] == b"\x40"


@pytest.mark.parametrize("value", [b"1234", b"aaaa", "пароль".encode(), b"x" * 64])
def test_the_default_policy_asks_for_4_to_64_bytes(value: bytes) -> None:
    DEFAULT.check(value)
