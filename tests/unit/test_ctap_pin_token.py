"""The pinUvAuthToken: its timers on a clock that the test turns, its permissions, its end."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest

from apdu.ctap import Permission
from token_fw.apps.fido2 import Transport
from token_fw.apps.fido2.pin_protocols import PROTOCOLS
from token_fw.apps.fido2.pin_token import PinUvAuthToken

ONE, TWO = PROTOCOLS[1], PROTOCOLS[2]
MESSAGE = b"what is signed"
LIMITS = pytest.mark.parametrize(
    ("transport", "limit"), [(Transport.USB, 30.0), (Transport.NFC, 19.8)]
)


@dataclass
class Holder:
    """Who was given a token, and a clock."""

    now: float = 5.0
    token: PinUvAuthToken = field(init=False)

    def __post_init__(self) -> None:
        self.token = PinUvAuthToken(lambda: self.now, os.urandom)

    def begin(
        self,
        permissions: Permission = Permission.MC | Permission.GA,
        rp_id: str | None = None,
        transport: Transport = Transport.USB,
        *,
        user_present: bool = False,
    ) -> None:
        self.token.begin(TWO, permissions, rp_id, transport, user_present=user_present)

    def works(self) -> bool:
        return self.token.verify(TWO, MESSAGE, TWO.sign(self.token.value, MESSAGE))


def test_a_token_that_nobody_was_given_signs_nothing() -> None:
    holder = Holder()
    assert not holder.works()
    assert not holder.token.permits(Permission.MC)


def test_a_token_signs_for_the_protocol_that_it_was_given_by() -> None:
    holder = Holder()
    holder.begin()
    assert holder.works()
    assert not holder.token.verify(ONE, MESSAGE, ONE.sign(holder.token.value, MESSAGE))


def test_a_wrong_signature_is_none_and_no_use_of_the_token() -> None:
    holder = Holder()
    holder.begin()
    holder.now += 29
    assert not holder.token.verify(TWO, MESSAGE, bytes(32))
    holder.now += 2
    assert not holder.works()


@LIMITS
def test_a_token_has_to_be_used_within_the_initial_limit(
    transport: Transport, limit: float
) -> None:
    early, late = Holder(), Holder()
    for holder in (early, late):
        holder.begin(transport=transport)
    early.now += limit - 0.1
    late.now += limit + 0.1
    assert early.works()
    assert not late.works()


def test_a_token_that_was_used_in_time_works_for_ten_minutes() -> None:
    holder = Holder()
    holder.begin()
    assert holder.works()
    holder.now += 599
    assert holder.works()
    holder.now += 1
    assert not holder.works()
    assert not holder.token.permits(Permission.MC)


def test_a_token_that_has_ended_is_another_one() -> None:
    holder = Holder()
    holder.begin()
    before = holder.token.value
    holder.now += 31
    assert not holder.works()
    assert holder.token.value != before


@LIMITS
def test_the_user_counts_as_present_for_a_while_only(transport: Transport, limit: float) -> None:
    holder = Holder()
    holder.begin(transport=transport, user_present=True)
    assert holder.works()
    holder.now += limit - 0.1
    early = holder.token.user_present
    holder.now += 0.2
    late = holder.token.user_present
    assert (early, late) == (True, False)
    assert holder.token.user_verified
    assert holder.works()


def test_a_pin_is_no_sign_that_the_user_is_present() -> None:
    holder = Holder()
    holder.begin()
    assert not holder.token.user_present
    assert holder.token.user_verified


def test_a_token_has_the_permissions_that_it_was_given_and_no_other() -> None:
    holder = Holder()
    holder.begin(Permission.CM | Permission.LBW)
    assert holder.token.permits(Permission.CM)
    assert holder.token.permits(Permission.LBW)
    assert not holder.token.permits(Permission.CM | Permission.BE)


def test_a_token_that_served_is_good_for_large_blobs_alone() -> None:
    holder = Holder()
    holder.begin(Permission.MC | Permission.LBW, "example.org", user_present=True)
    holder.token.spend()
    assert not holder.token.permits(Permission.MC)
    assert holder.token.permits(Permission.LBW)
    assert not holder.token.user_present
    assert not holder.token.user_verified
    assert holder.works()


def test_a_token_without_a_relying_party_is_bound_by_its_first_use() -> None:
    holder = Holder()
    holder.begin()
    holder.token.bind("example.org")
    assert holder.token.permits(Permission.GA, "example.org")
    assert not holder.token.permits(Permission.GA, "example.com")
    holder.token.bind("example.com")
    assert holder.token.rp_id == "example.org"


def test_each_token_is_another_one() -> None:
    holder = Holder()
    holder.begin()
    before = holder.token.value
    holder.begin()
    assert holder.token.value != before


def test_after_a_reset_the_token_is_in_use_no_more() -> None:
    holder = Holder()
    holder.begin()
    holder.token.reset()
    assert not holder.works()
