"""authenticatorGetAssertion and authenticatorGetNextAssertion (CTAP 2.1 6.2.2, 6.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apdu.ctap import CtapCommand, Status
from tests.fido_cards import (
    ED,
    OTHER_FINGER,
    UP,
    USER_FINGER,
    UV,
    Desk,
    Refused,
    check,
    descriptors,
    ident_of,
    with_sensor,
)
from tests.piv_cards import Finger
from token_fw.apps.fido2 import Channel, credentials
from token_fw.apps.fido2.core import ENUMERATION_SECONDS

ABSENT = Finger(touches=False)
OK, HIDDEN = Status.CTAP2_OK, Status.CTAP2_ERR_NO_CREDENTIALS
NEXT = CtapCommand.GET_NEXT_ASSERTION


def refused(desk: Desk, *allowed: bytes, **arguments: Any) -> Status:
    with pytest.raises(Refused) as caught:
        desk.get(*allowed, **arguments)
    return caught.value.status


def with_three() -> Desk:
    """A token with three users of one relying party."""
    desk = Desk()
    for user in (b"first", b"second", b"third"):
        desk.make(user, rk=True)
    return desk


# Which credential signs


def test_the_credential_of_the_list_signs() -> None:
    desk = Desk()
    made = desk.make()
    check(made, desk.get(b"another", ident_of(made)))


def test_a_credential_is_of_one_relying_party_alone() -> None:
    desk = Desk()
    for rk in (False, True):
        ident = ident_of(desk.make(rk=rk))
        assert refused(desk, ident, rp="example.com") is Status.CTAP2_ERR_NO_CREDENTIALS


def test_a_wrapped_credential_that_was_changed_is_none() -> None:
    desk = Desk()
    ident = ident_of(desk.make())
    for place in range(len(ident)):
        changed = ident[:place] + bytes((ident[place] ^ 1,)) + ident[place + 1 :]
        assert refused(desk, changed) is Status.CTAP2_ERR_NO_CREDENTIALS


def test_a_wrapped_credential_of_another_token_is_none() -> None:
    assert refused(Desk(), ident_of(Desk().make())) is Status.CTAP2_ERR_NO_CREDENTIALS


def test_a_wrapped_credential_is_not_discovered() -> None:
    desk = Desk()
    desk.make()
    assert refused(desk) is Status.CTAP2_ERR_NO_CREDENTIALS


def test_an_entry_of_another_type_names_no_credential() -> None:
    desk = Desk()
    entries = [{"id": ident_of(desk.make()), "type": "other"}]
    assert refused(desk, more={3: entries}) is Status.CTAP2_ERR_NO_CREDENTIALS


def test_an_empty_list_is_as_none() -> None:
    desk = Desk()
    made = desk.make(rk=True)
    check(made, desk.get(more={3: []}))


def test_a_list_gives_one_assertion() -> None:
    desk = with_three()
    idents = [desk.get().credential["id"], desk.next().credential["id"]]
    got = desk.get(*idents)
    assert got.number_of_credentials is None
    assert desk.status(NEXT) is Status.CTAP2_ERR_NOT_ALLOWED


# The user


def test_the_user_touches_the_token_unless_the_option_up_is_false() -> None:
    desk = Desk()
    ident = ident_of(desk.make())
    assert desk.get(ident).auth_data.flags == UP
    desk.finger = ABSENT
    desk.power()
    assert refused(desk, ident) is Status.CTAP2_ERR_OPERATION_DENIED
    assert desk.get(ident, up=False).auth_data.flags == 0


def test_without_a_credential_nobody_is_asked_for_a_touch() -> None:
    finger = Finger()
    assert refused(Desk(finger)) is Status.CTAP2_ERR_NO_CREDENTIALS
    assert finger.asked == 0


def test_the_option_rk_is_for_new_credentials() -> None:
    assert refused(Desk(), rk=True) is Status.CTAP2_ERR_UNSUPPORTED_OPTION


def test_a_finger_verifies_the_user() -> None:
    desk = with_sensor()
    ident = ident_of(desk.make())
    desk.present(USER_FINGER)
    assert desk.get(ident, uv=True).auth_data.flags == UP | UV
    desk.present(OTHER_FINGER)
    assert refused(desk, ident, uv=True) is Status.CTAP2_ERR_OPERATION_DENIED


def test_a_single_discoverable_credential_tells_the_handle_alone() -> None:
    desk = Desk()
    desk.make(b"user", rk=True)
    assert desk.get().user == {"id": b"user"}


def test_names_are_told_to_the_verified_user_alone() -> None:
    desk = with_sensor()
    for user in (b"first", b"second"):
        desk.present(USER_FINGER)
        desk.make(user, rk=True, uv=True)
    assert desk.get().user == {"id": b"second"}
    desk.present(USER_FINGER)
    named = {"id": b"second", "name": "second", "displayName": "User second"}
    assert desk.get(uv=True).user == named


def test_of_long_names_whole_characters_of_64_bytes_are_kept() -> None:
    desk = with_sensor()
    for user in (b"first", b"second"):
        desk.present(USER_FINGER)
        desk.make(rk=True, uv=True, more={3: {"id": user, "name": "я" * 31 + "ab€"}})
    desk.present(USER_FINGER)
    assert desk.get(uv=True).user == {"id": b"second", "name": "я" * 31 + "ab"}


# The counter


def test_every_credential_has_a_counter_of_its_own() -> None:
    desk = Desk()
    idents = [ident_of(desk.make(b"%d" % rk, rk=bool(rk))) for rk in (0, 1)]
    counts = [[desk.get(ident).auth_data.counter for _ in range(3)] for ident in idents]
    assert counts == [[2, 3, 4], [2, 3, 4]]
    desk.power()
    assert desk.get(idents[0], up=False).auth_data.counter == 5


def test_where_counters_run_out_further_credentials_share_one_that_never_falls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credentials, "MOST_COUNTERS", 2)
    desk = Desk()
    made = [desk.make() for _ in range(4)]
    own, _, first, second = map(ident_of, made)
    assert [one.auth_data.counter for one in made] == [1, 1, 1, 2]
    counts = [desk.get(ident).auth_data.counter for ident in (first, second, first, own)]
    assert counts == [3, 4, 5, 2]
    kept = desk.make(rk=True)
    assert kept.auth_data.counter == 1
    assert desk.get().auth_data.counter == 2
    desk.power()
    core = desk.card.authenticator.core
    assert len(core.transaction.idents("fido-counter")) == 4
    core.credentials.delete(core.credentials.all()[0])
    core.transaction.commit()
    monkeypatch.undo()
    assert desk.make().auth_data.counter == 1
    assert [desk.get(ident).auth_data.counter for ident in (second, own)] == [6, 3]


# The next assertions


def test_the_newest_credential_comes_first() -> None:
    desk = with_three()
    first = desk.get()
    assert first.number_of_credentials == 3
    users = [got.user["id"] for got in (first, desk.next(), desk.next()) if got.user]
    assert users == [b"third", b"second", b"first"]
    assert desk.status(NEXT) is Status.CTAP2_ERR_NOT_ALLOWED


def test_the_next_assertion_says_the_same_of_the_user() -> None:
    desk = with_three()
    assert desk.get(up=False).auth_data.flags == desk.next().auth_data.flags == 0


def test_there_is_no_next_assertion_without_a_first() -> None:
    assert Desk().status(NEXT) is Status.CTAP2_ERR_NOT_ALLOWED


def test_another_channel_gets_no_assertion_and_ends_them() -> None:
    desk = with_three()
    desk.get()
    assert desk.status(NEXT, channel=Channel()) is Status.CTAP2_ERR_NOT_ALLOWED
    assert desk.status(NEXT) is Status.CTAP2_ERR_NOT_ALLOWED


@pytest.mark.parametrize("between", [CtapCommand.GET_INFO, CtapCommand.SELECTION])
def test_another_command_ends_the_assertions(between: CtapCommand) -> None:
    desk = with_three()
    desk.get()
    desk.ask(between)
    assert desk.status(NEXT) is Status.CTAP2_ERR_NOT_ALLOWED


def test_the_assertions_end_after_30_seconds_each() -> None:
    desk = with_three()
    desk.get()
    desk.now += ENUMERATION_SECONDS
    desk.next()
    desk.now += ENUMERATION_SECONDS + 1
    assert desk.status(NEXT) is Status.CTAP2_ERR_NOT_ALLOWED


@pytest.mark.parametrize("power", [Desk.power, lambda desk: desk.card.power_up()])
def test_a_power_cut_ends_the_assertions(power: Callable[[Desk], None]) -> None:
    desk = with_three()
    desk.get()
    power(desk)
    assert desk.status(NEXT) is Status.CTAP2_ERR_NOT_ALLOWED


# Extensions


@pytest.mark.parametrize(
    ("policy", "listed", "found", "verified"),
    [
        (1, OK, OK, OK),
        (2, OK, HIDDEN, OK),
        (3, HIDDEN, HIDDEN, OK),
    ],
    ids=["optional", "optional with a list", "required"],
)
def test_protection_says_when_the_user_has_to_be_verified(
    policy: int, listed: Status, found: Status, verified: Status
) -> None:
    desk = with_sensor()
    desk.present(USER_FINGER)
    made = desk.make(rk=True, uv=True, more={6: {"credProtect": policy}})
    assert outcome(desk, ident_of(made)) is listed
    assert outcome(desk) is found
    desk.present(USER_FINGER)
    assert outcome(desk, uv=True) is verified


def outcome(desk: Desk, *allowed: bytes, **arguments: Any) -> Status:
    try:
        desk.get(*allowed, **arguments)
    except Refused as error:
        return error.status
    return Status.CTAP2_OK


def test_the_blob_and_its_key_are_told_when_asked_for() -> None:
    desk = Desk()
    made = desk.make(rk=True, more={6: {"credBlob": b"blob", "largeBlobKey": True}})
    got = desk.get(more={4: {"credBlob": True, "largeBlobKey": True}})
    assert got.auth_data.extensions == {"credBlob": b"blob"}
    assert got.auth_data.flags == UP | ED
    assert got.large_blob_key == made.large_blob_key
    assert desk.get().large_blob_key is None


def test_a_credential_without_a_blob_gives_an_empty_one() -> None:
    desk = Desk()
    ident = ident_of(desk.make())
    assert desk.get(ident, more={4: {"credBlob": True}}).auth_data.extensions == {"credBlob": b""}


def test_a_payment_credential_says_that_it_is_one() -> None:
    desk = Desk()
    asked = {"thirdPartyPayment": True}
    paying, other = ident_of(desk.make(more={6: asked})), ident_of(desk.make())
    assert desk.get(paying, more={4: asked}).auth_data.extensions == asked
    assert desk.get(other, more={4: asked}).auth_data.extensions is None


def test_large_blob_key_is_true_or_not_there() -> None:
    status = refused(Desk(), more={4: {"largeBlobKey": False}})
    assert status is Status.CTAP2_ERR_INVALID_OPTION


def test_a_list_is_not_longer_than_the_authenticator_says() -> None:
    entries = descriptors(*(b"%d" % number for number in range(17)))
    assert refused(Desk(), more={3: entries}) is Status.CTAP2_ERR_LIMIT_EXCEEDED
