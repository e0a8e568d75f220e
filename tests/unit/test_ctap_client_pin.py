"""clientPIN: the PIN, its tries that are spent first, and tokens for who proves it."""

from __future__ import annotations

from typing import Any

import pytest
from fido2.ctap2.config import Config
from fido2.ctap2.pin import ClientPin

from apdu.ctap import ClientPinSubCommand as Sub
from apdu.ctap import CtapCommand, Permission, Status
from tests.fido_cards import Desk
from tests.fido_platform import (
    EXAMPLE,
    NEW_PIN,
    PIN,
    WRONG_PIN,
    Agreed,
    Platform,
    at_desk,
    padded,
    pin_hash,
    status,
)
from token_fw.apps.fido2 import Channel, Transport

pytestmark = pytest.mark.usefixtures("cheap_hash")

BOTH = pytest.mark.parametrize("version", [1, 2])
OTHER_POINT = {1: 2, 3: -25, -1: 1, -2: bytes(32), -3: bytes(32)}


def blocked_until_power_goes() -> Platform:
    platform = at_desk()
    for _ in range(3):
        status(platform.pin_token, WRONG_PIN)
    return platform


def set_with(agreed: Agreed, **fields: Any) -> Status:
    """How setPIN answers a request with some fields exchanged; None leaves one out."""
    new = agreed.encrypt(padded(PIN))
    request = {"keyAgreement": agreed.key, "newPinEnc": new, "pinUvAuthParam": agreed.sign(new)}
    return status(agreed.platform.ask, Sub.SET_PIN, **request | fields)


def change_with(agreed: Agreed, /, pin: str = PIN, **fields: Any) -> Status:
    """How changePIN answers a request with some fields exchanged."""
    new, current = agreed.encrypt(padded(NEW_PIN)), agreed.encrypt(pin_hash(pin))
    request = {
        "keyAgreement": agreed.key,
        "newPinEnc": new,
        "pinHashEnc": current,
        "pinUvAuthParam": agreed.sign(new + current),
    }
    return status(agreed.platform.ask, Sub.CHANGE_PIN, **request | fields)


def token_with(agreed: Agreed, **fields: Any) -> Status:
    """How the token by PIN and permissions is answered, with some fields exchanged."""
    request = {
        "keyAgreement": agreed.key,
        "pinHashEnc": agreed.encrypt(pin_hash(PIN)),
        "permissions": int(Permission.CM),
    }
    sub = Sub.GET_PIN_UV_AUTH_TOKEN_USING_PIN_WITH_PERMISSIONS
    return status(agreed.platform.ask, sub, **request | fields)


# A first PIN


@BOTH
def test_a_token_without_a_pin_says_so(version: int) -> None:
    platform = Platform(Desk(), version)
    assert status(platform.tries) is Status.CTAP2_ERR_PIN_NOT_SET
    assert status(platform.pin_token) is Status.CTAP2_ERR_PIN_NOT_SET
    assert status(platform.change_pin, PIN, NEW_PIN) is Status.CTAP2_ERR_PIN_NOT_SET


@BOTH
def test_a_pin_that_was_set_gives_a_token(version: int) -> None:
    platform = at_desk(version=version)
    assert platform.tries() == 8
    assert not platform.waits_for_power()
    assert len(platform.pin_token()) == len(platform.token()) == 32


def test_a_pin_that_is_set_is_not_set_again() -> None:
    platform = at_desk()
    assert status(platform.set_pin, NEW_PIN) is Status.CTAP2_ERR_PIN_AUTH_INVALID
    assert platform.pin_token(PIN)


def test_a_pin_outlives_the_power() -> None:
    platform = at_desk()
    platform.desk.power()
    assert platform.pin_token(PIN)


@BOTH
def test_a_first_pin_is_signed(version: int) -> None:
    platform = Platform(Desk(), version)
    answer = set_with(platform.agree(), pinUvAuthParam=bytes(32))
    assert answer is Status.CTAP2_ERR_PIN_AUTH_INVALID
    assert status(platform.tries) is Status.CTAP2_ERR_PIN_NOT_SET


# What a PIN is


@pytest.mark.parametrize(
    ("pin", "expected"),
    [
        ("1234", Status.CTAP2_OK),
        ("123", Status.CTAP2_ERR_PIN_POLICY_VIOLATION),
        ("", Status.CTAP2_ERR_PIN_POLICY_VIOLATION),
        ("ключ", Status.CTAP2_OK),
        ("鍵鍵鍵", Status.CTAP2_ERR_PIN_POLICY_VIOLATION),
        ("🗝🗝🗝🗝", Status.CTAP2_OK),
        ("p" * 63, Status.CTAP2_OK),
        ("p" * 64, Status.CTAP2_ERR_PIN_POLICY_VIOLATION),
        ("я" * 32, Status.CTAP2_ERR_PIN_POLICY_VIOLATION),
        (b"\xff\xfe\xfd\xfc", Status.CTAP2_ERR_PIN_POLICY_VIOLATION),
        ("p" * 65, Status.CTAP1_ERR_INVALID_PARAMETER),
    ],
    ids=str,
)
def test_a_pin_has_four_code_points_or_more_and_63_bytes_or_fewer(
    pin: str | bytes, expected: Status
) -> None:
    assert status(Platform(Desk()).set_pin, pin) is expected


# Wrong PINs


@BOTH
def test_a_wrong_pin_costs_a_try_and_the_right_one_gives_it_back(version: int) -> None:
    platform = at_desk(version=version)
    assert status(platform.pin_token, WRONG_PIN) is Status.CTAP2_ERR_PIN_INVALID
    assert platform.tries() == 7
    platform.pin_token(PIN)
    assert platform.tries() == 8


def test_after_three_wrong_pins_in_a_row_not_even_the_right_one_counts() -> None:
    platform = at_desk()
    answers = [status(platform.pin_token, WRONG_PIN) for _ in range(3)]
    assert answers == [Status.CTAP2_ERR_PIN_INVALID] * 2 + [Status.CTAP2_ERR_PIN_AUTH_BLOCKED]
    assert platform.waits_for_power()
    assert status(platform.pin_token, PIN) is Status.CTAP2_ERR_PIN_AUTH_BLOCKED
    assert status(platform.token) is Status.CTAP2_ERR_PIN_AUTH_BLOCKED
    assert status(platform.change_pin, PIN, NEW_PIN) is Status.CTAP2_ERR_PIN_AUTH_BLOCKED
    assert platform.tries() == 5


def test_the_power_ends_that_and_gives_no_try_back() -> None:
    platform = blocked_until_power_goes()
    platform.desk.power()
    assert platform.tries() == 5
    assert not platform.waits_for_power()
    assert platform.pin_token(PIN)
    assert platform.tries() == 8


def test_only_wrong_pins_in_a_row_count() -> None:
    platform = at_desk()
    for _ in range(3):
        for _ in range(2):
            assert status(platform.pin_token, WRONG_PIN) is Status.CTAP2_ERR_PIN_INVALID
        platform.pin_token(PIN)
    assert not platform.waits_for_power()


def test_eight_wrong_pins_block_it_for_good() -> None:
    platform = at_desk()
    answers = []
    for count in range(1, 9):
        answers.append(status(platform.pin_token, WRONG_PIN))
        if count % 3 == 0:
            platform.desk.power()
    assert answers.index(Status.CTAP2_ERR_PIN_BLOCKED) == 7
    platform.desk.power()
    assert platform.tries() == 0
    assert status(platform.pin_token, PIN) is Status.CTAP2_ERR_PIN_BLOCKED
    assert status(platform.change_pin, PIN, NEW_PIN) is Status.CTAP2_ERR_PIN_BLOCKED


@BOTH
def test_a_wrong_pin_has_the_key_agreement_key_changed(version: int) -> None:
    platform = at_desk(version=version)
    before = platform.agree().platform.ask(Sub.GET_KEY_AGREEMENT)
    platform.pin_token(PIN)
    assert platform.ask(Sub.GET_KEY_AGREEMENT) == before
    status(platform.pin_token, WRONG_PIN)
    assert platform.ask(Sub.GET_KEY_AGREEMENT) != before


# Requests that cost no try


@BOTH
def test_a_bad_signature_costs_no_try(version: int) -> None:
    platform = at_desk(version=version)
    for _ in range(4):
        agreed = platform.agree()
        answer = change_with(agreed, WRONG_PIN, pinUvAuthParam=bytes(32))
        assert answer is Status.CTAP2_ERR_PIN_AUTH_INVALID
    assert platform.tries() == 8


@BOTH
def test_a_peer_off_the_curve_costs_no_try(version: int) -> None:
    platform = at_desk(version=version)
    agreed = platform.agree()
    assert change_with(agreed, keyAgreement=OTHER_POINT) is Status.CTAP1_ERR_INVALID_PARAMETER
    assert token_with(agreed, keyAgreement=OTHER_POINT) is Status.CTAP1_ERR_INVALID_PARAMETER
    assert platform.tries() == 8


def test_a_hash_of_another_length_costs_no_try() -> None:
    platform = at_desk()
    agreed = platform.agree()
    short, long = bytes(17), agreed.encrypt(bytes(32))
    assert token_with(agreed, pinHashEnc=short) is Status.CTAP2_ERR_PIN_AUTH_INVALID
    assert token_with(agreed, pinHashEnc=long) is Status.CTAP1_ERR_INVALID_PARAMETER
    assert platform.tries() == 8


@pytest.mark.parametrize(
    "field", ["pinUvAuthProtocol", "keyAgreement", "newPinEnc", "pinUvAuthParam"]
)
def test_set_pin_misses_what_it_needs(field: str) -> None:
    agreed = Platform(Desk()).agree()
    assert set_with(agreed, **{field: None}) is Status.CTAP2_ERR_MISSING_PARAMETER


@pytest.mark.parametrize(
    "field", ["pinUvAuthProtocol", "keyAgreement", "newPinEnc", "pinHashEnc", "pinUvAuthParam"]
)
def test_change_pin_misses_what_it_needs(field: str) -> None:
    agreed = at_desk().agree()
    without: Any = {field: None}
    assert change_with(agreed, **without) is Status.CTAP2_ERR_MISSING_PARAMETER


@pytest.mark.parametrize(
    "field", ["pinUvAuthProtocol", "keyAgreement", "pinHashEnc", "permissions"]
)
def test_a_token_needs_what_it_is_made_from(field: str) -> None:
    agreed = at_desk().agree()
    assert token_with(agreed, **{field: None}) is Status.CTAP2_ERR_MISSING_PARAMETER


def test_there_are_protocols_one_and_two_alone() -> None:
    platform = at_desk()
    agreed = platform.agree()
    assert token_with(agreed, pinUvAuthProtocol=3) is Status.CTAP1_ERR_INVALID_PARAMETER
    assert change_with(agreed, pinUvAuthProtocol=0) is Status.CTAP1_ERR_INVALID_PARAMETER
    request = {1: 3, 2: int(Sub.GET_KEY_AGREEMENT)}
    assert platform.desk.status(CtapCommand.CLIENT_PIN, request) is (
        Status.CTAP1_ERR_INVALID_PARAMETER
    )


@pytest.mark.parametrize("subcommand", [0x00, 0x08, 0x0A, 0xFF, 2**40])
def test_an_unknown_subcommand_is_said_to_be_one(subcommand: int) -> None:
    platform = at_desk()
    assert status(platform.ask, subcommand) is Status.CTAP2_ERR_INVALID_SUBCOMMAND


# Another PIN


@BOTH
def test_a_changed_pin_counts_and_the_old_one_does_not(version: int) -> None:
    platform = at_desk(version=version)
    platform.change_pin(PIN, NEW_PIN)
    assert status(platform.pin_token, PIN) is Status.CTAP2_ERR_PIN_INVALID
    assert platform.pin_token(NEW_PIN)


def test_changing_the_pin_by_a_wrong_one_costs_a_try() -> None:
    platform = at_desk()
    assert status(platform.change_pin, WRONG_PIN, NEW_PIN) is Status.CTAP2_ERR_PIN_INVALID
    assert platform.tries() == 7
    assert platform.pin_token(PIN)


def test_the_right_pin_gives_its_tries_back_though_the_new_one_is_refused() -> None:
    platform = at_desk()
    status(platform.pin_token, WRONG_PIN)
    assert status(platform.change_pin, PIN, "1") is Status.CTAP2_ERR_PIN_POLICY_VIOLATION
    platform.desk.power()
    assert platform.tries() == 8
    assert platform.pin_token(PIN)


# Permissions


def test_the_way_of_ctap_2_0_names_no_permissions() -> None:
    platform = at_desk()
    agreed = platform.agree()
    request = {"keyAgreement": agreed.key, "pinHashEnc": agreed.encrypt(pin_hash(PIN))}
    for named in ({"permissions": 1}, {"rpId": EXAMPLE}):
        answer = status(platform.ask, Sub.GET_PIN_TOKEN, **request, **named)
        assert answer is Status.CTAP1_ERR_INVALID_PARAMETER
    assert platform.tries() == 8


@pytest.mark.parametrize(
    "permission", [Permission.MC, Permission.GA, Permission.MC | Permission.CM]
)
def test_credentials_are_made_and_used_for_a_relying_party(permission: Permission) -> None:
    platform = at_desk()
    assert status(platform.token, permission) is Status.CTAP2_ERR_MISSING_PARAMETER
    assert platform.token(permission, EXAMPLE)


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        (0, Status.CTAP1_ERR_INVALID_PARAMETER),
        (Permission.BE, Status.CTAP2_ERR_UNAUTHORIZED_PERMISSION),
        (Permission.PCMR | Permission.CM, Status.CTAP2_ERR_UNAUTHORIZED_PERMISSION),
    ],
    ids=["none", "no sensor", "persistent and another"],
)
def test_what_cannot_be_had_is_not_given(permissions: int, expected: Status) -> None:
    platform = at_desk()
    status(platform.pin_token, WRONG_PIN)
    assert status(platform.token, permissions) is expected
    assert platform.tries() == 7


def test_permissions_that_nobody_knows_are_passed_over() -> None:
    platform = at_desk()
    assert platform.token(0x80)
    client = Config(platform.client(), platform.protocol, platform.token(0x80 | Permission.ACFG))
    client.enable_enterprise_attestation()
    manager = Config(platform.client(), platform.protocol, platform.token(2**32 | Permission.CM))
    answer = status(manager.enable_enterprise_attestation)
    assert answer is Status.CTAP2_ERR_PIN_AUTH_INVALID


def test_what_is_wrong_first_is_said_first() -> None:
    """The order of 6.5.5.7.2: missing, protocol, no permission, one that cannot be had."""
    agreed = at_desk().agree()
    beyond, none = {"permissions": int(Permission.BE)}, {"permissions": 0}
    for wrong in (beyond, none):
        for missing in ("pinUvAuthProtocol", "keyAgreement", "pinHashEnc"):
            answer = token_with(agreed, **wrong, **{missing: None})
            assert answer is Status.CTAP2_ERR_MISSING_PARAMETER
        answer = token_with(agreed, **wrong, pinUvAuthProtocol=3)
        assert answer is Status.CTAP1_ERR_INVALID_PARAMETER
    nobodys = {"permissions": Permission.MC | Permission.BE}
    assert token_with(agreed, **nobodys) is Status.CTAP2_ERR_MISSING_PARAMETER


def test_what_the_way_of_ctap_2_0_misses_is_said_before_what_it_may_not_name() -> None:
    platform = at_desk()
    agreed = platform.agree()
    whole = {"keyAgreement": agreed.key, "pinHashEnc": agreed.encrypt(pin_hash(PIN))}
    for missing in ("pinUvAuthProtocol", *whole):
        request: Any = whole | {"permissions": 1, missing: None}
        answer = status(platform.ask, Sub.GET_PIN_TOKEN, **request)
        assert answer is Status.CTAP2_ERR_MISSING_PARAMETER


def test_without_a_sensor_there_is_no_verification_by_finger() -> None:
    platform = at_desk()
    assert status(platform.uv_token) is Status.CTAP2_ERR_INVALID_SUBCOMMAND
    assert status(platform.uv_tries) is Status.CTAP2_ERR_INVALID_SUBCOMMAND


def test_a_token_ends_with_the_power_and_with_the_pin() -> None:
    platform = at_desk()
    for end in (platform.desk.power, lambda: platform.change_pin(PIN, NEW_PIN)):
        client = Config(platform.client(), platform.protocol, platform.token(Permission.ACFG))
        client.toggle_always_uv()
        end()
        assert status(client.toggle_always_uv) is Status.CTAP2_ERR_PIN_AUTH_INVALID


def test_a_new_token_ends_the_one_before() -> None:
    platform = at_desk()
    client = Config(platform.client(), platform.protocol, platform.token(Permission.ACFG))
    platform.token(Permission.ACFG)
    assert status(client.toggle_always_uv) is Status.CTAP2_ERR_PIN_AUTH_INVALID


@pytest.mark.parametrize(
    ("transport", "expected"),
    [(Transport.USB, Status.CTAP2_OK), (Transport.NFC, Status.CTAP2_ERR_PIN_AUTH_INVALID)],
)
def test_a_token_has_to_be_used_sooner_over_nfc(transport: Transport, expected: Status) -> None:
    platform = at_desk(Desk(channel=Channel(transport)))
    client = Config(platform.client(), platform.protocol, platform.token(Permission.ACFG))
    platform.desk.now += 20
    assert status(client.toggle_always_uv) is expected


@BOTH
def test_python_fido2_sets_changes_and_uses_a_pin(version: int) -> None:
    client = Platform(Desk(), version).client_pin()
    client.set_pin(PIN)
    client.change_pin(PIN, NEW_PIN)
    assert status(client.get_pin_token, PIN) is Status.CTAP2_ERR_PIN_INVALID
    assert client.get_pin_retries() == (7, False)
    assert len(client.get_pin_token(NEW_PIN)) == 32
    assert len(client.get_pin_token(NEW_PIN, ClientPin.PERMISSION.GET_ASSERTION, EXAMPLE)) == 32
    assert client.get_pin_retries() == (8, False)


def test_the_persistent_token_is_the_same_until_the_pin_changes() -> None:
    platform = at_desk()
    token = platform.token(Permission.PCMR)
    platform.desk.power()
    assert platform.token(Permission.PCMR) == token
    assert platform.token(Permission.CM) != token
    platform.change_pin(PIN, NEW_PIN)
    assert platform.token(Permission.PCMR, pin=NEW_PIN) != token
