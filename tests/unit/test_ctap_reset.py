"""authenticatorReset: in time, with a touch, and of everything (CTAP 2.1 6.6)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fido2.ctap2.blob import LargeBlobs

from apdu.ctap import ClientPinSubCommand, CtapCommand, Permission, Status
from tests.fido_cards import (
    OTHER_FINGER,
    USER_FINGER,
    UV,
    Desk,
    Refused,
    ident_of,
    with_sensor,
)
from tests.fido_platform import NEW_PIN, WRONG_PIN, Platform, at_desk, status
from tests.piv_cards import Finger
from token_fw.apps.fido2.reset import RESET_SECONDS
from token_fw.fingerprint import MAX_TRIES

pytestmark = pytest.mark.usefixtures("cheap_hash")

RESET = CtapCommand.RESET


def test_a_reset_forgets_every_credential_and_every_finger() -> None:
    desk = with_sensor()
    desk.present(USER_FINGER)
    idents = [ident_of(desk.make()), ident_of(desk.make(rk=True, uv=True))]
    desk.ask(RESET)
    for ident in idents:
        assert status_of(desk, ident) is Status.CTAP2_ERR_NO_CREDENTIALS
    assert desk.info()[4]["uv"] is False
    assert desk.card.authenticator.core.credentials.remaining == 128
    desk.make(rk=True)


def test_a_reset_gives_the_tries_of_the_sensor_back() -> None:
    desk = with_sensor()
    platform = Platform(desk)
    for left in range(MAX_TRIES - 1, -1, -1):
        desk.present(OTHER_FINGER)
        assert status(platform.uv_token) is not Status.CTAP2_OK
        assert platform.uv_tries() == left
    desk.ask(RESET)
    assert platform.uv_tries() == MAX_TRIES
    desk.enrol()
    desk.present(USER_FINGER)
    assert desk.make(uv=True).auth_data.flags & UV


def status_of(desk: Desk, ident: bytes) -> Status:
    try:
        desk.get(ident)
    except Refused as error:
        return error.status
    return Status.CTAP2_OK


def test_a_reset_leaves_the_attestation() -> None:
    desk = Desk()
    before = desk.make().att_stmt["x5c"]
    desk.ask(RESET)
    assert desk.make().att_stmt["x5c"] == before


def test_a_reset_is_taken_in_the_first_10_seconds_of_power() -> None:
    desk = Desk()
    desk.now += RESET_SECONDS + 0.1
    assert desk.status(RESET) is Status.CTAP2_ERR_NOT_ALLOWED
    desk.power()
    desk.now += RESET_SECONDS
    assert desk.status(RESET) is Status.CTAP2_OK


def test_a_reset_needs_a_touch() -> None:
    desk = Desk()
    ident = ident_of(desk.make())
    desk.finger = Finger(touches=False)
    desk.power()
    assert desk.status(RESET) is Status.CTAP2_ERR_USER_ACTION_TIMEOUT
    desk.get(ident, up=False)


def test_the_settings_have_their_factory_values_again() -> None:
    desk = Desk()
    core = desk.card.authenticator.core
    factory = desk.info()
    core.settings = replace(core.settings, always_uv=True, min_pin_length=8)
    core.transaction.commit()
    assert desk.info() != factory
    desk.ask(RESET)
    assert desk.info() == factory


def test_a_reset_forgets_the_pin_its_tokens_and_the_large_blobs() -> None:
    desk = Desk()
    desk.info()
    fresh = {kind for kind, _ in desk.store.medium.records}
    platform = at_desk(desk)
    persistent = platform.token(Permission.PCMR)
    LargeBlobs(platform.client(), platform.protocol, platform.token(Permission.LBW)).put_blob(
        bytes(32), b"text"
    )
    for _ in range(3):
        status(platform.pin_token, WRONG_PIN)
    key = platform.ask(ClientPinSubCommand.GET_KEY_AGREEMENT)
    desk.ask(RESET)
    assert {kind for kind, _ in desk.store.medium.records} == fresh
    assert platform.ask(ClientPinSubCommand.GET_KEY_AGREEMENT) != key
    assert status(platform.tries) is Status.CTAP2_ERR_PIN_NOT_SET
    assert LargeBlobs(platform.client()).read_blob_array() == []
    platform.set_pin(NEW_PIN)
    assert platform.tries() == 8
    assert not platform.waits_for_power()
    assert platform.token(Permission.PCMR, pin=NEW_PIN) != persistent
