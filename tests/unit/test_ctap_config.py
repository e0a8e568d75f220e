"""authenticatorConfig with python-fido2's client: who may change a setting, and what it does."""

from __future__ import annotations

from typing import Any

import pytest
from fido2.ctap2.config import Config

from apdu.ctap import ConfigSubCommand, CtapCommand, Permission, Status
from tests.fido_cards import Desk
from tests.fido_platform import (
    EXAMPLE,
    NEW_PIN,
    PIN,
    WRONG_PIN,
    Platform,
    at_desk,
    status,
)
from token_fw.apps.fido2 import cbor

pytestmark = pytest.mark.usefixtures("cheap_hash")

BOTH = pytest.mark.parametrize("version", [1, 2])
LONG_PIN = "31415926"


def config(platform: Platform, pin: str = PIN) -> Config:
    """A client with a token that may configure."""
    token = platform.token(Permission.ACFG, pin=pin)
    return Config(platform.client(), platform.protocol, token)


def blank(desk: Desk | None = None) -> Config:
    """A client of a token without a PIN."""
    return Config(Platform(desk or Desk()).client())


def info(platform: Platform) -> Any:
    return platform.client().get_info()


def signed(platform: Platform, subcommand: int, parameters: Any = None, **changes: Any) -> Status:
    """How a signed request is answered, with members exchanged by number."""
    token = platform.token(Permission.ACFG)
    message = b"\xff" * 32 + b"\x0d" + bytes((subcommand,))
    request: dict[int, Any] = {1: subcommand}
    if parameters is not None:
        request[2] = parameters
        message += cbor.encode(parameters)
    request |= {3: platform.version, 4: platform.sign(token, message)}
    request |= {int(name[1:]): value for name, value in changes.items()}
    present = {key: value for key, value in request.items() if value is not None}
    return platform.desk.status(CtapCommand.CONFIG, present)


# Who may


def test_a_token_without_a_pin_is_configured_by_anybody() -> None:
    desk = Desk()
    blank(desk).set_min_pin_length(6)
    blank(desk).enable_enterprise_attestation()
    told = Platform(desk).client().info
    assert told.min_pin_length == 6
    assert told.options["ep"] is True


def test_with_a_pin_it_takes_a_token_of_that_permission() -> None:
    platform = at_desk()
    assert status(blank(platform.desk).toggle_always_uv) is Status.CTAP2_ERR_PUAT_REQUIRED
    other = Config(platform.client(), platform.protocol, platform.token(Permission.CM))
    assert status(other.toggle_always_uv) is Status.CTAP2_ERR_PIN_AUTH_INVALID
    assert info(platform).options["alwaysUv"] is False


def test_the_parameters_are_what_was_signed() -> None:
    platform = at_desk()
    sub = ConfigSubCommand.SET_MIN_PIN_LENGTH
    assert signed(platform, sub, {1: 6}, _2={1: 8}) is Status.CTAP2_ERR_PIN_AUTH_INVALID
    assert signed(platform, sub, {1: 6}, _3=None) is Status.CTAP2_ERR_MISSING_PARAMETER
    assert signed(platform, sub, {1: 6}, _3=7) is Status.CTAP1_ERR_INVALID_PARAMETER
    assert signed(platform, sub, {1: 6}, _4=bytes(32)) is Status.CTAP2_ERR_PIN_AUTH_INVALID
    assert signed(platform, sub, {1: 6}) is Status.CTAP2_OK
    assert info(platform).min_pin_length == 6


@pytest.mark.parametrize("subcommand", [0x00, 0x04, ConfigSubCommand.VENDOR_PROTOTYPE])
def test_an_unknown_subcommand_and_a_vendors_prototype_are_refused(subcommand: int) -> None:
    assert signed(at_desk(), subcommand) is Status.CTAP1_ERR_INVALID_PARAMETER
    assert signed(at_desk(), subcommand, _4=None) is Status.CTAP1_ERR_INVALID_PARAMETER


def test_settings_outlive_the_power() -> None:
    platform = at_desk()
    client = config(platform)
    client.toggle_always_uv()
    client.enable_enterprise_attestation()
    platform.desk.power()
    assert info(platform).options["alwaysUv"] is True
    assert info(platform).options["ep"] is True


# alwaysUv and enterprise attestation


@BOTH
def test_always_uv_is_turned_on_and_off(version: int) -> None:
    platform = at_desk(version=version)
    client = config(platform)
    client.toggle_always_uv()
    assert info(platform).options["alwaysUv"] is True
    client.toggle_always_uv()
    assert info(platform).options["alwaysUv"] is False


def test_a_token_that_always_verifies_is_set_up_and_configured_only_with_a_pin() -> None:
    desk = Desk()
    blank(desk).toggle_always_uv()
    assert status(blank(desk).enable_enterprise_attestation) is Status.CTAP2_ERR_PUAT_REQUIRED
    blank(desk).toggle_always_uv()
    blank(desk).enable_enterprise_attestation()


def test_enterprise_attestation_that_is_on_stays_on() -> None:
    platform = at_desk()
    client = config(platform)
    client.enable_enterprise_attestation()
    client.enable_enterprise_attestation()
    assert info(platform).options["ep"] is True


# The minimum PIN length


def test_a_new_pin_has_the_minimum_length() -> None:
    platform = at_desk()
    config(platform).set_min_pin_length(6)
    assert status(platform.change_pin, PIN, "12345") is Status.CTAP2_ERR_PIN_POLICY_VIOLATION
    platform.change_pin(PIN, "ключик")


def test_the_minimum_length_never_falls_and_has_a_limit() -> None:
    platform = at_desk()
    client = config(platform)
    client.set_min_pin_length(6)
    for length in (5, 64, 2**32):
        answer = status(client.set_min_pin_length, length)
        assert answer is Status.CTAP2_ERR_PIN_POLICY_VIOLATION
    assert info(platform).min_pin_length == 6


def test_a_pin_that_has_become_too_short_has_to_be_changed() -> None:
    platform = at_desk()
    assert not info(platform).force_pin_change
    config(platform).set_min_pin_length(len(PIN))
    assert not info(platform).force_pin_change
    config(platform).set_min_pin_length(len(PIN) + 1)
    assert info(platform).force_pin_change
    platform.change_pin(PIN, LONG_PIN)
    assert not info(platform).force_pin_change
    assert platform.token(pin=LONG_PIN)


def test_the_length_of_a_pin_is_counted_in_code_points() -> None:
    platform = Platform(Desk())
    platform.set_pin("ключ")
    config(platform, "ключ").set_min_pin_length(5)
    assert info(platform).force_pin_change


def test_a_pin_that_has_to_be_changed_gives_no_token_and_loses_no_try() -> None:
    platform = at_desk()
    config(platform).set_min_pin_length(force_change_pin=True)
    assert status(platform.pin_token, WRONG_PIN) is Status.CTAP2_ERR_PIN_INVALID
    assert status(platform.pin_token) is Status.CTAP2_ERR_PIN_INVALID
    assert status(platform.token) is Status.CTAP2_ERR_PIN_POLICY_VIOLATION
    platform.desk.power()
    assert platform.tries() == 8
    assert status(platform.change_pin, PIN, PIN) is Status.CTAP2_ERR_PIN_POLICY_VIOLATION
    platform.change_pin(PIN, NEW_PIN)
    assert platform.token(pin=NEW_PIN)


def test_a_forced_change_ends_every_token() -> None:
    platform = at_desk()
    persistent = platform.token(Permission.PCMR)
    client = config(platform)
    client.set_min_pin_length(force_change_pin=True)
    assert status(client.enable_enterprise_attestation) is Status.CTAP2_ERR_PIN_AUTH_INVALID
    platform.change_pin(PIN, NEW_PIN)
    assert platform.token(Permission.PCMR, pin=NEW_PIN) != persistent


def test_no_change_is_forced_where_there_is_no_pin() -> None:
    client = blank()
    answer = status(client.set_min_pin_length, force_change_pin=True)
    assert answer is Status.CTAP2_ERR_PIN_NOT_SET


def test_relying_parties_that_may_know_the_length_are_named_anew_and_not_too_many() -> None:
    platform = at_desk()
    client = config(platform)
    client.set_min_pin_length(5, [EXAMPLE])
    most = info(platform).max_rpids_for_min_pin
    names = [f"rp{number}.example" for number in range(most + 1)]
    assert status(client.set_min_pin_length, 6, names) is Status.CTAP2_ERR_KEY_STORE_FULL
    assert info(platform).min_pin_length == 5
    client.set_min_pin_length(6, names[:-1])
    core = platform.desk.card.authenticator.core
    assert core.settings.min_pin_length_rp_ids == tuple(names[:-1])
    client.set_min_pin_length(6)
    assert core.settings.min_pin_length_rp_ids == tuple(names[:-1])


# The complexity of PINs


def test_a_complexity_policy_is_turned_on_for_good_and_asks_for_another_pin() -> None:
    platform = at_desk()
    config(platform).set_min_pin_length(pin_complexity_policy=True)
    assert info(platform).pin_complexity_policy is True
    assert info(platform).force_pin_change
    for simple in ("111111", "123456", "987654", "ключшшшш", "абвгде"):
        answer = status(platform.change_pin, PIN, simple)
        assert answer is Status.CTAP2_ERR_PIN_POLICY_VIOLATION
    platform.change_pin(PIN, NEW_PIN)
    config(platform, NEW_PIN).set_min_pin_length(6)
    assert info(platform).pin_complexity_policy is True
    assert not info(platform).force_pin_change


def test_a_first_pin_is_complex_as_well_where_that_is_asked() -> None:
    desk = Desk()
    blank(desk).set_min_pin_length(pin_complexity_policy=True)
    platform = Platform(desk)
    assert status(platform.set_pin, "0000") is Status.CTAP2_ERR_PIN_POLICY_VIOLATION
    platform.set_pin(NEW_PIN)
