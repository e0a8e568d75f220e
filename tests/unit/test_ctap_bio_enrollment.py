"""Fingers enrolled with python-fido2's client: sample by sample, named, listed and removed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fido2.ctap2.bio import CaptureError, FPBioEnrollment

from apdu.ctap import BioEnrollmentSubCommand as Sub
from apdu.ctap import CtapCommand, Permission, Status
from tests.fido_cards import OTHER_FINGER, USER_FINGER, Desk
from tests.fido_platform import Platform, at_desk, status
from token_fw.apps.fido2 import Channel, cbor
from token_fw.apps.fido2.bio_enrollment import LONGEST_WAIT
from token_fw.env import Sample, SampleStatus
from token_fw.finger_sensor import ScriptedSensor
from token_fw.fingerprint import MAX_NAME, MAX_TEMPLATES, SAMPLES
from token_fw.pin import PinRef

pytestmark = pytest.mark.usefixtures("cheap_hash")

BOTH = pytest.mark.parametrize("version", [1, 2])
LONG = 20


class Noting(ScriptedSensor):
    """A sensor that notes for how long it is asked to wait."""

    def __init__(self, patience: float) -> None:
        super().__init__(patience)
        self.asked: list[float | None] = []

    def ask(self, patience: float | None = None) -> Any:
        self.asked.append(patience)
        return super().ask(patience)


def with_pin(version: int = 2, patience: float = 0.01) -> Platform:
    """A token with a PIN and a sensor on which no finger is enrolled."""
    return at_desk(Desk(sensor=ScriptedSensor(patience)), version)


def enroller(platform: Platform) -> FPBioEnrollment:
    token = platform.token(Permission.BE)
    return FPBioEnrollment(platform.client(), platform.protocol, token)


def enrol(platform: Platform, finger: Sample = USER_FINGER) -> bytes:
    """The identifier of a finger that is enrolled without a hitch."""
    platform.desk.present(*[finger] * SAMPLES)
    context = enroller(platform).enroll()
    idents = [context.capture() for _ in range(SAMPLES)]
    assert idents[:-1] == [None] * (SAMPLES - 1)
    assert idents[-1]
    return idents[-1]


def feedback(work: Callable[[], object]) -> int:
    with pytest.raises(CaptureError) as caught:
        work()
    return caught.value.code


def asked(platform: Platform, subcommand: int, parameters: Any = None, **changes: Any) -> Status:
    """How a signed request is answered, with members exchanged by number."""
    token = platform.token(Permission.BE)
    message = bytes((1, subcommand)) + (b"" if parameters is None else cbor.encode(parameters))
    request = {1: 1, 2: subcommand, 3: parameters, 4: platform.version}
    request |= {5: platform.sign(token, message)}
    request |= {int(name[1:]): value for name, value in changes.items()}
    present = {key: value for key, value in request.items() if value is not None}
    return platform.desk.status(CtapCommand.BIO_ENROLLMENT, present)


# The sensor


def test_the_sensor_says_what_it_is_without_a_pin() -> None:
    platform = Platform(Desk(sensor=ScriptedSensor()))
    assert platform.client().info.options["bioEnroll"] is False
    told = FPBioEnrollment(platform.client(), None, None).get_fingerprint_sensor_info()  # type: ignore[arg-type]
    assert told == {2: 1, 3: SAMPLES, 8: MAX_NAME}


def test_a_token_without_a_sensor_enrols_nobody() -> None:
    platform = at_desk()
    assert "bioEnroll" not in platform.client().info.options
    answer = platform.desk.status(CtapCommand.BIO_ENROLLMENT, {6: True})
    assert answer is Status.CTAP1_ERR_INVALID_COMMAND


# Enrolment


@BOTH
def test_a_finger_is_enrolled_and_listed_and_verifies_the_user(version: int) -> None:
    platform = with_pin(version)
    ident = enrol(platform)
    assert enroller(platform).enumerate_enrollments() == {ident: ""}
    platform.desk.power()
    options = platform.client().info.options
    assert (options["bioEnroll"], options["uv"]) == (True, True)
    platform.desk.present(USER_FINGER)
    assert platform.uv_token(Permission.CM)


def test_only_good_samples_of_one_finger_count() -> None:
    platform = with_pin()
    bad = Sample(USER_FINGER.finger, SampleStatus.TOO_FAST)
    platform.desk.present(USER_FINGER, bad, OTHER_FINGER, *[USER_FINGER] * 3)
    context = enroller(platform).enroll()
    assert context.capture() is None
    assert context.remaining == SAMPLES - 1
    assert feedback(context.capture) == SampleStatus.TOO_FAST
    assert feedback(context.capture) == SampleStatus.MERGE_FAILURE
    assert context.remaining == SAMPLES - 1
    assert [context.capture() for _ in range(3)] == [None, None, context.template_id]


def test_a_finger_that_does_not_come_is_said_to_be_missing_and_may_come_later() -> None:
    platform = with_pin()
    context = enroller(platform).enroll()
    assert feedback(context.capture) == SampleStatus.NO_USER_ACTIVITY
    platform.desk.present(*[USER_FINGER] * SAMPLES)
    assert [context.capture() for _ in range(SAMPLES)][-1] == context.template_id


def test_a_platform_says_how_long_it_waits() -> None:
    sensor = Noting(0.01)
    platform = at_desk(Desk(sensor=sensor))
    platform.desk.present(*[USER_FINGER] * 3)
    client = enroller(platform)
    ident, _, _ = client.enroll_begin(1500)
    client.enroll_capture_next(ident, 10**9)
    client.enroll_capture_next(ident)
    assert sensor.asked == [1.5, LONGEST_WAIT, None]


def test_a_finger_that_is_enrolled_takes_no_further_sample() -> None:
    platform = with_pin()
    platform.desk.present(*[USER_FINGER] * (SAMPLES + 1))
    client = enroller(platform)
    context = client.enroll()
    for _ in range(SAMPLES):
        context.capture()
    assert context.template_id
    answer = status(client.enroll_capture_next, context.template_id)
    assert answer is Status.CTAP2_ERR_NOT_ALLOWED
    assert isinstance(platform.desk.sensor, ScriptedSensor)
    assert platform.desk.sensor.forget() == 1


def test_a_finger_that_is_enrolled_is_not_enrolled_again() -> None:
    platform = with_pin()
    enrol(platform)
    platform.desk.present(USER_FINGER)
    assert feedback(enroller(platform).enroll().capture) == SampleStatus.EXISTS


def test_a_finger_that_opens_another_application_opens_this_one_under_the_told_name() -> None:
    platform = with_pin()
    core = platform.desk.card.authenticator.core
    enrolment = core.matcher.begin(frozenset({PinRef.PIV}), "thumb")
    for _ in range(SAMPLES):
        enrolment.add(USER_FINGER)
    core.transaction.commit()
    assert status(enroller(platform).enumerate_enrollments) is Status.CTAP2_OK
    assert enroller(platform).enumerate_enrollments() == {}
    ident = enrol(platform)
    assert enroller(platform).enumerate_enrollments() == {ident: "thumb"}
    assert [one.ident for one in core.matcher.templates(PinRef.PIV)] == [ident]


def test_there_is_room_for_five_fingers() -> None:
    platform = with_pin()
    for number in range(MAX_TEMPLATES):
        enrol(platform, Sample(b"finger %d" % number))
    answer = status(enroller(platform).enroll_begin)
    assert answer is Status.CTAP2_ERR_FP_DATABASE_FULL


def test_a_second_enrolment_ends_the_first() -> None:
    platform = with_pin()
    platform.desk.present(*[USER_FINGER] * 2, OTHER_FINGER)
    client = enroller(platform)
    client.enroll_begin()
    ident, _, remaining = client.enroll_begin()
    assert remaining == SAMPLES - 1
    answer = status(client.enroll_capture_next, bytes((ident[0] + 1,)))
    assert answer is Status.CTAP1_ERR_INVALID_PARAMETER


@pytest.mark.parametrize("ended", ["cancel", "another channel", "power", "time", "another command"])
def test_an_enrolment_is_for_one_channel_and_does_not_wait_for_ever(ended: str) -> None:
    platform = with_pin()
    desk = platform.desk
    desk.present(*[USER_FINGER] * SAMPLES)
    client = enroller(platform)
    ident, _, _ = client.enroll_begin()
    token: bytes = client.pin_uv_token
    if ended == "cancel":
        client.enroll_cancel()
    if ended == "another channel":
        desk.channel = Channel()
    if ended == "power":
        desk.power()
        token = platform.token(Permission.BE)
    if ended == "time":
        desk.now += 31
    if ended == "another command":
        desk.info()
    client.pin_uv_token = token
    answer = status(client.enroll_capture_next, ident)
    assert answer is Status.CTAP2_ERR_NOT_ALLOWED
    assert enroller(platform).enumerate_enrollments() == {}


def test_another_channel_cancels_nothing() -> None:
    platform = with_pin()
    platform.desk.present(USER_FINGER)
    enroller(platform).enroll_begin()
    matcher = platform.desk.card.authenticator.core.matcher
    enrolment = matcher.begin(frozenset({PinRef.PIV}))
    request = {1: 1, 2: int(Sub.CANCEL_CURRENT_ENROLLMENT)}
    platform.desk.ask(CtapCommand.BIO_ENROLLMENT, request, Channel())
    assert matcher.enrols(enrolment)


def test_a_platform_that_cancels_while_the_finger_is_awaited_ends_the_enrolment() -> None:
    platform = with_pin(patience=LONG)
    desk = platform.desk
    sensor = desk.sensor
    assert isinstance(sensor, ScriptedSensor)
    client = enroller(platform)
    with ThreadPoolExecutor() as pool:
        begun = pool.submit(status, client.enroll_begin)
        assert sensor.awaited(LONG)
        desk.channel.cancel()
        assert begun.result(LONG) is Status.CTAP2_ERR_KEEPALIVE_CANCEL
    answer = status(client.enroll_capture_next, b"\x01")
    assert answer is Status.CTAP2_ERR_NOT_ALLOWED


# Templates


def test_a_finger_gets_a_name_and_loses_it_with_its_template() -> None:
    platform = with_pin()
    ident = enrol(platform)
    client = enroller(platform)
    client.set_name(ident, "правый большой")
    assert client.enumerate_enrollments() == {ident: "правый большой"}
    client.remove_enrollment(ident)
    assert client.enumerate_enrollments() == {}
    assert platform.client().info.options["uv"] is False


def test_what_cannot_be_a_name_or_is_no_finger_is_refused() -> None:
    platform = with_pin()
    ident = enrol(platform)
    client = enroller(platform)
    client.set_name(ident, "n" * MAX_NAME)
    refusals = [
        status(client.set_name, ident, "n" * (MAX_NAME + 1)),
        status(client.set_name, ident, "bell\a"),
        status(client.set_name, b"\x77", "nobody's"),
        status(client.remove_enrollment, b"\x77"),
        status(client.remove_enrollment, b""),
    ]
    assert refusals == [
        Status.CTAP1_ERR_INVALID_LENGTH,
        Status.CTAP1_ERR_INVALID_PARAMETER,
        Status.CTAP2_ERR_INVALID_OPTION,
        Status.CTAP2_ERR_INVALID_OPTION,
        Status.CTAP2_ERR_INVALID_OPTION,
    ]
    assert client.enumerate_enrollments() == {ident: "n" * MAX_NAME}


# Who may


@pytest.mark.parametrize(
    ("subcommand", "parameters"),
    [
        (Sub.ENROLL_BEGIN, None),
        (Sub.ENROLL_CAPTURE_NEXT_SAMPLE, {1: b"\x01"}),
        (Sub.ENUMERATE_ENROLLMENTS, None),
        (Sub.SET_FRIENDLY_NAME, {1: b"\x01", 2: "name"}),
        (Sub.REMOVE_ENROLLMENT, {1: b"\x01"}),
    ],
)
def test_it_takes_a_token_of_that_permission(subcommand: Sub, parameters: Any) -> None:
    platform = with_pin()
    ident = enrol(platform)
    assert ident == b"\x01"
    refusals = [
        asked(platform, subcommand, parameters, _5=None),
        asked(platform, subcommand, parameters, _4=None),
        asked(platform, subcommand, parameters, _5=bytes(32)),
        asked(platform, subcommand, {1: b"\x02", 2: "other"}, _3={1: ident, 2: "name"}),
    ]
    assert refusals == [
        Status.CTAP2_ERR_PUAT_REQUIRED,
        Status.CTAP2_ERR_MISSING_PARAMETER,
        Status.CTAP2_ERR_PIN_AUTH_INVALID,
        Status.CTAP2_ERR_PIN_AUTH_INVALID,
    ]
    other = FPBioEnrollment(platform.client(), platform.protocol, platform.token(Permission.CM))
    assert status(other.enumerate_enrollments) is Status.CTAP2_ERR_PIN_AUTH_INVALID


@pytest.mark.parametrize(
    ("subcommand", "parameters"),
    [
        (Sub.ENROLL_CAPTURE_NEXT_SAMPLE, None),
        (Sub.SET_FRIENDLY_NAME, {1: b"\x01"}),
        (Sub.SET_FRIENDLY_NAME, {2: "name"}),
        (Sub.REMOVE_ENROLLMENT, None),
    ],
)
def test_a_subcommand_misses_its_parameters(subcommand: Sub, parameters: Any) -> None:
    assert asked(with_pin(), subcommand, parameters) is Status.CTAP2_ERR_MISSING_PARAMETER


def test_there_are_fingers_alone_and_known_subcommands() -> None:
    platform = with_pin()
    assert asked(platform, Sub.ENUMERATE_ENROLLMENTS, _1=2) is Status.CTAP1_ERR_INVALID_PARAMETER
    assert asked(platform, Sub.ENUMERATE_ENROLLMENTS, _1=None) is Status.CTAP2_ERR_MISSING_PARAMETER
    assert asked(platform, Sub.ENUMERATE_ENROLLMENTS, _2=None) is Status.CTAP2_ERR_MISSING_PARAMETER
    assert asked(platform, 0x08) is Status.CTAP2_ERR_INVALID_SUBCOMMAND


def test_a_finger_enrols_no_other_finger() -> None:
    platform = with_pin()
    enrol(platform)
    platform.desk.present(USER_FINGER)
    for permission in (Permission.BE, Permission.ACFG):
        answer = status(platform.uv_token, permission)
        assert answer is Status.CTAP2_ERR_UNAUTHORIZED_PERMISSION
