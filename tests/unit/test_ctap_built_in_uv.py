"""A token by a finger: uvRetries that are spent first and shared, and what a finger gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from apdu.ctap import ClientPinSubCommand, Permission, Status
from host_tools.testing.faults import Cut, Moment, PowerCut, PowerCutStore
from tests.fido_cards import OTHER_FINGER, USER_FINGER, Desk
from tests.fido_platform import EXAMPLE, NEW_PIN, PIN, Platform, at_desk, status
from token_fw.env import Sample, SampleStatus
from token_fw.finger_sensor import ScriptedSensor
from token_fw.fingerprint import MAX_TRIES
from token_fw.storage.memory import Medium

pytestmark = pytest.mark.usefixtures("cheap_hash")

LONG = 20


def with_finger(patience: float = 0.01, store: PowerCutStore | None = None) -> Platform:
    """A token with a PIN, and the user's finger enrolled."""
    desk = Desk(sensor=ScriptedSensor(patience), store=store or PowerCutStore())
    platform = at_desk(desk)
    desk.enrol()
    return platform


def verified(platform: Platform, finger: Sample = USER_FINGER) -> Status:
    """How a finger on the sensor is answered."""
    platform.desk.present(finger)
    return status(platform.uv_token)


def blocked() -> Platform:
    platform = with_finger()
    for _ in range(MAX_TRIES):
        verified(platform, OTHER_FINGER)
    return platform


def test_a_finger_gives_a_token_with_the_user_present() -> None:
    platform = with_finger()
    platform.desk.present(USER_FINGER)
    assert len(platform.uv_token(Permission.GA, EXAMPLE)) == 32
    token = platform.desk.card.authenticator.core.pin_uv.token
    assert token.user_present
    assert token.user_verified
    assert token.rp_id == EXAMPLE


def test_what_is_wrong_first_is_said_first() -> None:
    """The order of 6.5.5.7.3: missing, protocol, no permission, one that cannot be had."""
    platform = with_finger()
    sub = ClientPinSubCommand.GET_PIN_UV_AUTH_TOKEN_USING_UV_WITH_PERMISSIONS
    key = platform.agree().key

    def answer(**fields: object) -> Status:
        request = {"keyAgreement": key, "permissions": int(Permission.ACFG)} | fields
        return status(platform.ask, sub, **request)

    for permissions in (0, int(Permission.ACFG), int(Permission.GA | Permission.ACFG)):
        for missing in ("pinUvAuthProtocol", "keyAgreement"):
            asked = answer(permissions=permissions, **{missing: None})
            assert asked is Status.CTAP2_ERR_MISSING_PARAMETER
    assert answer(permissions=None, pinUvAuthProtocol=3) is Status.CTAP2_ERR_MISSING_PARAMETER
    assert answer(pinUvAuthProtocol=3) is Status.CTAP1_ERR_INVALID_PARAMETER
    assert answer(permissions=0) is Status.CTAP1_ERR_INVALID_PARAMETER
    assert answer() is Status.CTAP2_ERR_UNAUTHORIZED_PERMISSION
    assert platform.uv_tries() == MAX_TRIES


def test_a_wrong_finger_costs_a_try_and_the_right_one_gives_it_back() -> None:
    platform = with_finger()
    assert verified(platform, OTHER_FINGER) is Status.CTAP2_ERR_UV_INVALID
    assert platform.uv_tries() == MAX_TRIES - 1
    assert verified(platform) is Status.CTAP2_OK
    assert platform.uv_tries() == MAX_TRIES


def test_a_bad_sample_of_the_right_finger_costs_a_try_as_well() -> None:
    platform = with_finger()
    poor = Sample(USER_FINGER.finger, SampleStatus.POOR_QUALITY)
    assert verified(platform, poor) is Status.CTAP2_ERR_UV_INVALID
    assert platform.uv_tries() == MAX_TRIES - 1


def test_three_wrong_fingers_block_it_also_after_the_power_went() -> None:
    platform = with_finger()
    answers = [verified(platform, OTHER_FINGER) for _ in range(MAX_TRIES)]
    assert answers[-1] is Status.CTAP2_ERR_UV_BLOCKED
    platform.desk.power()
    assert platform.uv_tries() == 0
    assert verified(platform) is Status.CTAP2_ERR_UV_BLOCKED


def test_programs_are_told_when_a_finger_blocks_the_sensor() -> None:
    platform = with_finger()
    card = platform.desk.card
    platform.desk.info()
    before = card.changes
    verified(platform, OTHER_FINGER)
    verified(platform, OTHER_FINGER)
    assert card.changes == before
    verified(platform, OTHER_FINGER)
    assert card.changes != before


def test_the_right_pin_unblocks_it_and_a_wrong_one_does_not() -> None:
    platform = blocked()
    status(platform.pin_token, NEW_PIN)
    assert platform.uv_tries() == 0
    platform.pin_token(PIN)
    assert platform.uv_tries() == MAX_TRIES
    platform.desk.sensor.forget()  # type: ignore[union-attr]
    assert verified(platform) is Status.CTAP2_OK


def test_without_a_finger_in_time_no_try_is_spent() -> None:
    platform = with_finger()
    assert status(platform.uv_token) is Status.CTAP2_ERR_USER_ACTION_TIMEOUT
    assert platform.uv_tries() == MAX_TRIES


def test_a_platform_that_cancels_costs_no_try() -> None:
    platform = with_finger(LONG)
    sensor = platform.desk.sensor
    assert isinstance(sensor, ScriptedSensor)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(status, platform.uv_token)
        assert sensor.awaited(LONG)
        platform.desk.channel.cancel()
        assert answer.result(LONG) is Status.CTAP2_ERR_KEEPALIVE_CANCEL
    assert platform.uv_tries() == MAX_TRIES


def test_a_sensor_without_an_enrolled_finger_verifies_nobody() -> None:
    platform = at_desk(Desk(sensor=ScriptedSensor(0.01)))
    assert verified(platform) is Status.CTAP2_ERR_NOT_ALLOWED
    assert platform.uv_tries() == MAX_TRIES


def test_a_finger_gives_no_token_while_the_pin_has_to_be_changed() -> None:
    platform = with_finger()
    core = platform.desk.card.authenticator.core
    core.settings = type(core.settings)(force_pin_change=True)
    core.transaction.commit()
    assert verified(platform) is Status.CTAP2_ERR_PIN_POLICY_VIOLATION
    assert platform.uv_tries() == MAX_TRIES


@pytest.mark.parametrize("moment", [Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT])
def test_no_cut_gives_a_try_of_the_sensor_back(moment: Moment) -> None:
    start = with_finger().desk.store.medium
    for count in range(1, 4):
        store = PowerCutStore(Medium(dict(start.records)))
        platform = Platform(Desk(sensor=ScriptedSensor(0.01), store=store))
        platform.agree()
        store.arm(Cut(moment, count))
        try:
            verified(platform, OTHER_FINGER)
        except PowerCut:
            after = Platform(Desk(sensor=ScriptedSensor(0.01), store=PowerCutStore(store.medium)))
            spent = moment is Moment.AFTER_COMMIT
            assert after.uv_tries() == MAX_TRIES - spent
        else:
            assert count == 2, "one commit spends the try"
            return
    pytest.fail("the request has too many commits")
