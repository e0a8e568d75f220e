"""The PIV PIN and PUK: tries, lock, unblocking, and on which interface they are verified."""

from __future__ import annotations

import hmac

import pytest

from apdu.codec import Command
from apdu.model import SW
from host_tools.conformance import piv_commands as piv
from host_tools.conformance.piv_commands import REF_PIN, REF_PUK
from tests import cards, piv_cards
from tests.piv_cards import NEW_PIN, NEW_PUK, PIN, PUK, WRONG

BLOCKED = SW.AUTHENTICATION_METHOD_BLOCKED


def block(client: piv_cards.Client, command: Command) -> None:
    while client.status(command) != BLOCKED:
        pass


def test_tries_fall_and_at_zero_the_right_pin_is_refused_too() -> None:
    client = piv_cards.client()
    answers = [client.status(piv.verify(WRONG)) for _ in range(4)]
    assert answers == [0x63C2, 0x63C1, 0x63C0, BLOCKED]
    assert client.status(piv.verify(PIN)) == BLOCKED
    assert client.status(piv.verify()) == BLOCKED


def test_the_lock_survives_a_restart() -> None:
    bench = cards.Bench()
    block(piv_cards.client(bench), piv.verify(WRONG))
    assert piv_cards.client(bench.restarted()).status(piv.verify(PIN)) == BLOCKED


@pytest.mark.parametrize(
    ("ref", "wrong", "right"),
    [
        (REF_PIN, piv.verify(WRONG), piv.verify(PIN)),
        (REF_PIN, piv.change(REF_PIN, WRONG, NEW_PIN), piv.change(REF_PIN, PIN, NEW_PIN)),
        (REF_PUK, piv.change(REF_PUK, WRONG, NEW_PUK), piv.change(REF_PUK, PUK, NEW_PUK)),
        (REF_PUK, piv.unblock(WRONG, NEW_PIN), piv.unblock(PUK, NEW_PIN)),
    ],
    ids=["VERIFY", "change PIN", "change PUK", "unblock"],
)
def test_a_wrong_value_costs_a_try_for_good_and_the_right_one_gives_all_back(
    ref: int, wrong: Command, right: Command
) -> None:
    bench = cards.Bench()
    client = piv_cards.client(bench)
    assert client.status(wrong) == 0x63C2
    assert piv_cards.client(bench.restarted()).tries(ref) == (3, 2)
    client.ok(right)
    assert piv_cards.client(bench.restarted()).tries(ref) == (3, 3)


def test_wrong_pin_spends_a_try_before_comparing(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = cards.Bench()
    client = piv_cards.client(bench)
    seen: list[int] = []

    def compare(one: bytes, other: bytes) -> bool:
        # Asked without a PIN, so that nothing is compared meanwhile.
        seen.append(piv_cards.client(bench.restarted()).status(piv.verify()) & 0x0F)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    client.status(piv.verify(WRONG))
    client.status(piv.verify(PIN))
    assert seen == [2, 1]


def test_asking_tells_the_state() -> None:
    client = piv_cards.client()
    assert client.status(piv.verify()) == 0x63C3
    client.log_in()
    assert client.status(piv.verify()) == SW.NO_ERROR
    client.ok(piv.log_out())
    assert client.status(piv.verify()) == 0x63C3


def test_a_wrong_pin_ends_the_verification() -> None:
    client = piv_cards.client()
    client.log_in()
    client.status(piv.verify(WRONG))
    assert client.status(piv.verify()) == 0x63C2


def test_verification_is_of_one_interface() -> None:
    bench = cards.Bench()
    one, other = piv_cards.client(bench), piv_cards.client(bench)
    one.log_in()
    assert one.status(piv.verify()) == SW.NO_ERROR
    assert other.status(piv.verify()) == 0x63C3


def test_a_branch_shares_the_pin_but_not_the_management_key() -> None:
    interface = cards.Bench().connect()
    client = piv_cards.Client(interface)
    client.prove()
    client.log_in()
    branch = interface.branch()
    status = int.from_bytes(branch.transceive(piv.verify().encode()), "big")
    assert status == SW.NO_ERROR
    refused = branch.transceive(piv.put_data(piv.CHUID, b"x").encode())
    assert int.from_bytes(refused, "big") == SW.SECURITY_STATUS_NOT_SATISFIED


def test_a_changed_pin_ends_the_verification_on_other_interfaces_only() -> None:
    bench = cards.Bench()
    one, other = piv_cards.client(bench), piv_cards.client(bench)
    one.log_in()
    other.log_in()
    one.ok(piv.change(REF_PIN, PIN, NEW_PIN))
    assert one.status(piv.verify()) == SW.NO_ERROR
    assert other.status(piv.verify()) == 0x63C3
    other.log_in(pin=NEW_PIN)


def test_the_puk_unblocks_and_verifies_nobody() -> None:
    client = piv_cards.client()
    client.log_in()
    block(client, piv.verify(WRONG))
    client.ok(piv.unblock(PUK, NEW_PIN))
    assert client.status(piv.verify()) == 0x63C3
    client.log_in(pin=NEW_PIN)


def test_who_changes_the_pin_is_logged_in() -> None:
    client = piv_cards.client()
    client.ok(piv.change(REF_PIN, PIN, NEW_PIN))
    assert client.status(piv.verify()) == SW.NO_ERROR


def test_the_right_puk_leaves_a_login_and_a_wrong_one_ends_it() -> None:
    bench = cards.Bench()
    one, other = piv_cards.client(bench), piv_cards.client(bench)
    one.log_in()
    other.log_in()
    one.ok(piv.unblock(PUK, NEW_PIN))
    assert one.status(piv.verify()) == SW.NO_ERROR
    assert other.status(piv.verify()) == 0x63C3
    assert one.status(piv.unblock(WRONG, PIN)) == 0x63C2
    assert one.status(piv.verify()) == 0x63C3


def test_a_blocked_puk_unblocks_nothing_and_is_not_changed() -> None:
    client = piv_cards.client()
    block(client, piv.unblock(WRONG, NEW_PIN))
    assert client.status(piv.unblock(PUK, NEW_PIN)) == BLOCKED
    assert client.status(piv.change(REF_PUK, PUK, NEW_PUK)) == BLOCKED
    client.log_in()


@pytest.mark.parametrize("new", [b"12345", b"", b"\xff" * 8], ids=["short", "none", "padding"])
def test_a_new_pin_has_six_to_eight_bytes(new: bytes) -> None:
    bench = cards.Bench()
    client = piv_cards.client(bench)
    before = bench.digest()
    assert client.status(piv.change(REF_PIN, WRONG, new)) == SW.INCORRECT_DATA
    assert client.status(piv.unblock(PUK, new)) == SW.INCORRECT_DATA
    assert bench.digest() == before
    client.log_in()


def test_the_puk_costs_a_try_even_where_the_new_pin_is_none() -> None:
    """Clients block the PUK so before RESET."""
    client = piv_cards.client()
    assert client.status(piv.unblock(b"", b"")) == 0x63C2
    assert client.status(piv.unblock(PUK, b"")) == SW.INCORRECT_DATA
    assert client.tries(REF_PUK) == (3, 3)


@pytest.mark.parametrize(
    "command",
    [
        Command(0x00, 0x20, 0x00, REF_PIN, PIN),
        Command(0x00, 0x20, 0x00, REF_PIN, PIN.ljust(9, b"\xff")),
        Command(0x00, 0x24, 0x00, REF_PIN, PIN + NEW_PIN),
        Command(0x00, 0x2C, 0x00, REF_PIN, PUK),
    ],
    ids=["VERIFY short", "VERIFY long", "CHANGE REFERENCE DATA", "RESET RETRY COUNTER"],
)
def test_a_value_that_is_not_padded_is_no_try(command: Command) -> None:
    bench = cards.Bench()
    client = piv_cards.client(bench)
    before = bench.digest()
    assert client.status(command) == SW.INCORRECT_DATA
    assert bench.digest() == before


@pytest.mark.parametrize(
    "command",
    [
        Command(0x00, 0x20, 0x00, 0x00, piv.padded(PIN)),
        Command(0x00, 0x20, 0x00, REF_PUK, piv.padded(PUK)),
        Command(0x00, 0x20, 0x00, 0x96),
        Command(0x00, 0x24, 0x00, 0x00, piv.padded(PIN) * 2),
        Command(0x00, 0x2C, 0x00, REF_PUK, piv.padded(PUK) * 2),
    ],
    ids=["global PIN", "PUK", "fingerprint", "change global PIN", "unblock PUK"],
)
def test_a_reference_without_a_pin_is_not_found(command: Command) -> None:
    assert piv_cards.client().status(command) == SW.REFERENCED_DATA_NOT_FOUND


def test_retries_are_set_and_both_pins_have_their_factory_values() -> None:
    bench = cards.Bench()
    client = piv_cards.managed(bench)
    client.ok(piv.change(REF_PUK, PUK, NEW_PUK))
    client.ok(piv.set_retries(200, 5))
    assert client.status(piv.verify()) == 0x63CF
    again = piv_cards.client(bench.restarted())
    assert (again.tries(REF_PIN), again.tries(REF_PUK)) == ((200, 200), (5, 5))
    assert again.status(piv.verify(WRONG)) == 0x63CF
    assert again.tries(REF_PIN) == (200, 199)
    again.ok(piv.unblock(PUK, PIN))


@pytest.mark.parametrize(("pin", "puk"), [(0, 3), (3, 0)])
def test_no_pin_has_no_tries(pin: int, puk: int) -> None:
    assert piv_cards.managed().status(piv.set_retries(pin, puk)) == SW.INCORRECT_P1P2


def test_only_both_pins_blocked_allow_a_reset() -> None:
    bench = cards.Bench()
    client = piv_cards.managed(bench)
    client.ok(piv.set_management_key(piv.AES_128, bytes(16)))
    client.make_key(piv.AUTHENTICATION)
    client.ok(piv.put_data(piv.CHUID, b"somebody"))
    certificate = client.ok(piv.get_data(piv.ATTESTATION_CERTIFICATE))
    assert client.status(piv.reset()) == SW.CONDITIONS_NOT_SATISFIED
    block(client, piv.verify(WRONG))
    assert client.status(piv.reset()) == SW.CONDITIONS_NOT_SATISFIED
    block(client, piv.unblock(WRONG, NEW_PIN))
    client.ok(piv.reset())
    assert client.status(piv.put_data(piv.CHUID, b"x")) == SW.SECURITY_STATUS_NOT_SATISFIED
    again = piv_cards.managed(bench.restarted())
    assert again.status(piv.metadata(piv.AUTHENTICATION)) == SW.REFERENCED_DATA_NOT_FOUND
    assert again.status(piv.get_data(piv.CHUID)) == SW.FILE_NOT_FOUND
    assert again.ok(piv.get_data(piv.ATTESTATION_CERTIFICATE)) == certificate


def test_a_pin_is_kept_as_a_hash() -> None:
    bench = cards.Bench()
    piv_cards.client(bench).ok(piv.change(REF_PIN, PIN, b"13579135"))
    assert not any(b"13579135" in record for record in bench.medium.records.values())
