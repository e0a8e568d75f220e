"""Credential management with python-fido2's client: who may see and change what."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from fido2.cose import CoseKey
from fido2.ctap2.credman import CredentialManagement

from apdu.ctap import CredentialManagementSubCommand as Sub
from apdu.ctap import CtapCommand, Permission, Status
from tests.fido_cards import Desk, ident_of
from tests.fido_platform import EXAMPLE, NEW_PIN, PIN, Platform, at_desk, status
from token_fw.apps.fido2 import Channel, cbor
from token_fw.apps.fido2.credentials import CAPACITY

pytestmark = pytest.mark.usefixtures("cheap_hash")

BOTH = pytest.mark.parametrize("version", [1, 2])
R = CredentialManagement.RESULT
OTHER = "example.com"


def rp_hash(rp_id: str) -> bytes:
    return hashlib.sha256(rp_id.encode()).digest()


def descriptor(ident: bytes) -> Any:
    return {"id": ident, "type": "public-key"}


def user(**members: Any) -> Any:
    return {"id": b"alice"} | members


def manager(
    platform: Platform, permission: int = Permission.CM, rp_id: str | None = None
) -> CredentialManagement:
    token = platform.token(permission, rp_id)
    return CredentialManagement(platform.client(), platform.protocol, token)


def furnished(version: int = 2) -> Platform:
    """With two credentials of one relying party and one of another, then a PIN."""
    desk = Desk()
    desk.make(b"alice", EXAMPLE, rk=True)
    desk.make(b"bob", EXAMPLE, rk=True)
    desk.make(b"alice", OTHER, rk=True)
    return at_desk(desk, version)


def asked(platform: Platform, subcommand: int, parameters: Any = None, **changes: Any) -> Status:
    """How a signed request is answered, with members exchanged by number."""
    token = platform.token(Permission.CM)
    message = bytes((subcommand,)) + (b"" if parameters is None else cbor.encode(parameters))
    request = {1: subcommand, 2: parameters, 3: platform.version}
    request |= {4: platform.sign(token, message)}
    request |= {int(name[1:]): value for name, value in changes.items()}
    present = {key: value for key, value in request.items() if value is not None}
    return platform.desk.status(CtapCommand.CREDENTIAL_MANAGEMENT, present)


def next_of(desk: Desk, sub: Sub, channel: Channel | None = None) -> Status:
    return desk.status(CtapCommand.CREDENTIAL_MANAGEMENT, {1: int(sub)}, channel)


# What there is


@BOTH
def test_all_credentials_are_counted_and_listed(version: int) -> None:
    platform = furnished(version)
    client = manager(platform)
    metadata = client.get_metadata()
    assert metadata[R.EXISTING_CRED_COUNT] == 3
    assert metadata[R.MAX_REMAINING_COUNT] == CAPACITY - 3
    rps = {rp[R.RP]["id"]: rp[R.RP_ID_HASH] for rp in client.enumerate_rps()}
    assert rps == {EXAMPLE: rp_hash(EXAMPLE), OTHER: rp_hash(OTHER)}
    users = [cred[R.USER] for cred in client.enumerate_creds(rp_hash(EXAMPLE))]
    assert users == [
        {"id": name, "name": name.decode(), "displayName": f"User {name.decode()}"}
        for name in (b"bob", b"alice")
    ]


def test_a_token_without_credentials_lists_none() -> None:
    platform = at_desk()
    client = manager(platform)
    assert client.get_metadata()[R.EXISTING_CRED_COUNT] == 0
    assert status(client.enumerate_rps_begin) is Status.CTAP2_ERR_NO_CREDENTIALS
    answer = status(client.enumerate_creds_begin, rp_hash(EXAMPLE))
    assert answer is Status.CTAP2_ERR_NO_CREDENTIALS


def test_a_credential_is_told_with_its_key_and_its_extensions() -> None:
    desk = Desk()
    made = desk.make(
        b"carol",
        more={6: {"credProtect": 3, "largeBlobKey": True, "thirdPartyPayment": True}},
        rk=True,
    )
    (told,) = manager(at_desk(desk)).enumerate_creds(rp_hash(EXAMPLE))
    assert told[R.CREDENTIAL_ID] == descriptor(ident_of(made))
    assert made.auth_data.credential_data is not None
    assert CoseKey.parse(told[R.PUBLIC_KEY]) == made.auth_data.credential_data.public_key
    assert told[R.CRED_PROTECT] == 3
    assert told[R.LARGE_BLOB_KEY] == made.large_blob_key
    assert told[R.THIRD_PARTY_PAYMENT] is True


def test_credentials_that_are_not_discoverable_are_not_listed() -> None:
    desk = Desk()
    desk.make(b"alice")
    assert manager(at_desk(desk)).get_metadata()[R.EXISTING_CRED_COUNT] == 0


# Changes


def test_a_deleted_credential_is_gone() -> None:
    desk = Desk()
    made = desk.make(b"alice", rk=True)
    platform = at_desk(desk)
    client = manager(platform)
    client.delete_cred(descriptor(ident_of(made)))
    assert client.get_metadata()[R.EXISTING_CRED_COUNT] == 0
    answer = status(client.delete_cred, descriptor(ident_of(made)))
    assert answer is Status.CTAP2_ERR_NO_CREDENTIALS
    desk.power()
    assert status(desk.get) is Status.CTAP2_ERR_NO_CREDENTIALS


def test_a_user_gets_other_names_or_none_and_stays_the_same() -> None:
    desk = Desk()
    made = desk.make(b"alice", rk=True)
    client = manager(at_desk(desk))
    named = descriptor(ident_of(made))
    renamed = user(name="Алиса", displayName="A. L.")
    client.update_user_info(named, renamed)
    assert client.enumerate_creds(rp_hash(EXAMPLE))[0][R.USER] == renamed
    client.update_user_info(named, user())
    assert client.enumerate_creds(rp_hash(EXAMPLE))[0][R.USER] == user()
    answer = status(client.update_user_info, named, {"id": b"mallory"})
    assert answer is Status.CTAP1_ERR_INVALID_PARAMETER
    answer = status(client.update_user_info, descriptor(bytes(32)), {"id": b"alice"})
    assert answer is Status.CTAP2_ERR_NO_CREDENTIALS


def test_a_credential_still_signs_after_its_user_got_another_name() -> None:
    desk = Desk()
    made = desk.make(b"alice", rk=True)
    manager(at_desk(desk)).update_user_info(descriptor(ident_of(made)), user())
    assert desk.get(ident_of(made)).credential["id"] == ident_of(made)


# Who may


@pytest.mark.parametrize(
    ("subcommand", "parameters"),
    [
        (Sub.GET_CREDS_METADATA, None),
        (Sub.ENUMERATE_RPS_BEGIN, None),
        (Sub.ENUMERATE_CREDENTIALS_BEGIN, {1: rp_hash(EXAMPLE)}),
        (Sub.DELETE_CREDENTIAL, {2: {"id": bytes(32), "type": "public-key"}}),
        (
            Sub.UPDATE_USER_INFORMATION,
            {2: {"id": bytes(32), "type": "public-key"}, 3: {"id": b"alice"}},
        ),
    ],
)
def test_every_subcommand_is_signed(subcommand: Sub, parameters: Any) -> None:
    platform = furnished()
    refusals = [
        asked(platform, subcommand, parameters, _4=None),
        asked(platform, subcommand, parameters, _3=None),
        asked(platform, subcommand, parameters, _3=5),
        asked(platform, subcommand, parameters, _4=bytes(32)),
        asked(platform, subcommand, parameters, _3=1),
    ]
    assert refusals == [
        Status.CTAP2_ERR_PUAT_REQUIRED,
        Status.CTAP2_ERR_MISSING_PARAMETER,
        Status.CTAP1_ERR_INVALID_PARAMETER,
        Status.CTAP2_ERR_PIN_AUTH_INVALID,
        Status.CTAP2_ERR_PIN_AUTH_INVALID,
    ]


@pytest.mark.parametrize(
    ("subcommand", "parameters"),
    [
        (Sub.ENUMERATE_CREDENTIALS_BEGIN, None),
        (Sub.ENUMERATE_CREDENTIALS_BEGIN, {2: {"id": bytes(32), "type": "public-key"}}),
        (Sub.DELETE_CREDENTIAL, {1: rp_hash(EXAMPLE)}),
        (Sub.UPDATE_USER_INFORMATION, {2: {"id": bytes(32), "type": "public-key"}}),
        (Sub.UPDATE_USER_INFORMATION, {3: {"id": b"alice"}}),
    ],
)
def test_a_subcommand_misses_its_parameters(subcommand: Sub, parameters: Any) -> None:
    platform = furnished()
    assert asked(platform, subcommand, parameters) is Status.CTAP2_ERR_MISSING_PARAMETER
    assert asked(platform, subcommand, parameters, _4=None) is Status.CTAP2_ERR_PUAT_REQUIRED


def test_an_unknown_subcommand_is_said_to_be_one() -> None:
    assert asked(furnished(), 0x08) is Status.CTAP2_ERR_INVALID_SUBCOMMAND


def test_a_token_of_another_permission_manages_nothing() -> None:
    platform = furnished()
    client = manager(platform, Permission.LBW)
    assert status(client.get_metadata) is Status.CTAP2_ERR_PIN_AUTH_INVALID
    token = platform.pin_token()
    client = CredentialManagement(platform.client(), platform.protocol, token)
    assert status(client.enumerate_rps_begin) is Status.CTAP2_ERR_PIN_AUTH_INVALID


def test_a_token_for_one_relying_party_manages_that_one_alone() -> None:
    desk = Desk()
    mine, other = desk.make(b"alice", EXAMPLE, rk=True), desk.make(b"alice", OTHER, rk=True)
    client = manager(at_desk(desk), Permission.CM, EXAMPLE)
    refusals = [
        status(client.get_metadata),
        status(client.enumerate_rps_begin),
        status(client.enumerate_creds_begin, rp_hash(OTHER)),
        status(client.delete_cred, descriptor(ident_of(other))),
        status(client.update_user_info, descriptor(ident_of(other)), {"id": b"alice"}),
    ]
    assert set(refusals) == {Status.CTAP2_ERR_PIN_AUTH_INVALID}
    assert len(client.enumerate_creds(rp_hash(EXAMPLE))) == 1
    client.update_user_info(descriptor(ident_of(mine)), user())
    client.delete_cred(descriptor(ident_of(mine)))


@BOTH
def test_the_persistent_token_reads_and_changes_nothing_also_after_the_power_went(
    version: int,
) -> None:
    platform = furnished(version)
    token = platform.token(Permission.PCMR)
    for _ in range(2):
        client = CredentialManagement(platform.client(), platform.protocol, token)
        assert client.get_metadata()[R.EXISTING_CRED_COUNT] == 3
        assert len(client.enumerate_rps()) == 2
        (credential,) = client.enumerate_creds(rp_hash(OTHER))
        named = credential[R.CREDENTIAL_ID]
        assert status(client.delete_cred, named) is Status.CTAP2_ERR_PIN_AUTH_INVALID
        answer = status(client.update_user_info, named, {"id": b"alice"})
        assert answer is Status.CTAP2_ERR_PIN_AUTH_INVALID
        platform.desk.power()


def test_the_persistent_token_ends_with_the_pin() -> None:
    platform = furnished()
    token = platform.token(Permission.PCMR)
    platform.change_pin(PIN, NEW_PIN)
    client = CredentialManagement(platform.client(), platform.protocol, token)
    assert status(client.get_metadata) is Status.CTAP2_ERR_PIN_AUTH_INVALID


def test_its_holder_knows_the_token_again_and_sees_that_credentials_changed() -> None:
    platform = furnished()
    assert platform.client().info.enc_identifier is None
    token = platform.token(Permission.PCMR)
    before, again = platform.client().info, platform.client().info
    assert before.enc_identifier != again.enc_identifier
    assert before.get_identifier(token) == again.get_identifier(token)
    assert before.get_cred_store_state(token) == again.get_cred_store_state(token)
    client = manager(platform)
    named = client.enumerate_creds(rp_hash(OTHER))[0][R.CREDENTIAL_ID]
    client.update_user_info(named, user(name="another"))
    after = platform.client().info
    assert after.get_identifier(token) == before.get_identifier(token)
    assert after.get_cred_store_state(token) != before.get_cred_store_state(token)


# Enumerations


def test_each_enumeration_gives_as_many_as_it_said_and_then_ends() -> None:
    platform = furnished()
    client = manager(platform)
    assert client.enumerate_creds_begin(rp_hash(EXAMPLE))[R.TOTAL_CREDENTIALS] == 2
    client.enumerate_creds_next()
    assert status(client.enumerate_creds_next) is Status.CTAP2_ERR_NOT_ALLOWED
    assert client.enumerate_rps_begin()[R.TOTAL_RPS] == 2
    client.enumerate_rps_next()
    assert status(client.enumerate_rps_next) is Status.CTAP2_ERR_NOT_ALLOWED


def test_an_enumeration_that_was_not_begun_does_not_go_on() -> None:
    for desk in (Desk(), furnished().desk):
        for sub in (Sub.ENUMERATE_RPS_GET_NEXT_RP, Sub.ENUMERATE_CREDENTIALS_GET_NEXT_CREDENTIAL):
            assert next_of(desk, sub) is Status.CTAP2_ERR_NOT_ALLOWED


def test_one_enumeration_is_not_gone_on_with_as_another() -> None:
    platform = furnished()
    client = manager(platform)
    client.enumerate_creds_begin(rp_hash(EXAMPLE))
    assert status(client.enumerate_rps_next) is Status.CTAP2_ERR_NOT_ALLOWED
    client.enumerate_rps_begin()
    assert status(client.enumerate_creds_next) is Status.CTAP2_ERR_NOT_ALLOWED


@pytest.mark.parametrize("ended", ["another channel", "power", "time", "another command"])
def test_an_enumeration_is_for_one_channel_and_not_for_long(ended: str) -> None:
    platform = furnished()
    desk = platform.desk
    manager(platform).enumerate_rps_begin()
    channel = Channel() if ended == "another channel" else None
    if ended == "power":
        desk.power()
    if ended == "time":
        desk.now += 31
    if ended == "another command":
        desk.ask(CtapCommand.GET_INFO)
    answer = next_of(desk, Sub.ENUMERATE_RPS_GET_NEXT_RP, channel)
    assert answer is Status.CTAP2_ERR_NOT_ALLOWED


def test_as_many_credentials_as_there_can_be_are_listed() -> None:
    desk = Desk()
    for number in range(CAPACITY):
        desk.make(b"user %d" % number, rk=True)
    assert status(desk.make, b"one more", rk=True) is Status.CTAP2_ERR_KEY_STORE_FULL
    client = manager(at_desk(desk))
    assert client.get_metadata()[R.MAX_REMAINING_COUNT] == 0
    told = client.enumerate_creds(rp_hash(EXAMPLE))
    assert len({cred[R.CREDENTIAL_ID]["id"] for cred in told}) == CAPACITY
