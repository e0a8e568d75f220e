"""authenticatorBioEnrollment (CTAP 2.1 6.7): fingers that verify the user in the place of the PIN.

An enrolment is for the channel that began it. It ends with another command, with the power, and 30
seconds after the last sample; a sample that did not come in time is only said to be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from apdu.ctap import (
    BioEnrollment,
    BioEnrollmentParameters,
    BioEnrollmentSubCommand,
    Permission,
    Status,
)
from token_fw.apps.fido2.core import Call
from token_fw.apps.fido2.errors import CtapError
from token_fw.apps.fido2.parameters import need, subcommand
from token_fw.env import SampleStatus
from token_fw.errors import (
    ConditionsNotSatisfied,
    EntryCancelled,
    EntryTimedOut,
    IncorrectData,
    NotEnoughMemory,
    ReferencedDataNotFound,
)
from token_fw.fingerprint import MAX_NAME, SAMPLES, Enrolment
from token_fw.pin import PinRef

LONGEST_WAIT = 60.0
"""Seconds for which a platform can have a sample waited for."""

_MODALITY, _FINGERPRINT_KIND, _MAX_CAPTURE_SAMPLES = 0x01, 0x02, 0x03
_TEMPLATE_ID, _LAST_ENROLL_SAMPLE_STATUS, _REMAINING_SAMPLES = 0x04, 0x05, 0x06
_TEMPLATE_INFOS, _MAX_TEMPLATE_FRIENDLY_NAME = 0x07, 0x08
_INFO_ID, _INFO_NAME = 0x01, 0x02
_FINGERPRINT = 0x01
_TOUCH_SENSOR = 0x01

_NOTHING = BioEnrollmentParameters(encoded=b"")
Answer = dict[int, Any]


@dataclass(frozen=True, slots=True)
class _Enrolling:
    """An enrolment that goes on with the next sample."""

    enrolment: Enrolment


def bio_enrollment(call: Call, request: BioEnrollment) -> Answer | None:
    """Run a subcommand, or tell the modality; raises CtapError."""
    if call.core.matcher.sensor is None:
        raise CtapError(Status.CTAP1_ERR_INVALID_COMMAND, "there is no fingerprint sensor")
    if request.get_modality:
        return {_MODALITY: _FINGERPRINT}
    if need(request.modality, "modality") != _FINGERPRINT:
        raise CtapError(Status.CTAP1_ERR_INVALID_PARAMETER, "there are fingers alone")
    return subcommand(_SUBCOMMANDS, request.sub_command)(call, request)


# Enrolment


def _enroll_begin(call: Call, request: BioEnrollment) -> Answer:
    _demand(call, request)
    try:
        enrolment = call.core.matcher.begin(frozenset({PinRef.FIDO}))
    except NotEnoughMemory as error:
        raise CtapError(Status.CTAP2_ERR_FP_DATABASE_FULL, str(error)) from None
    return {_TEMPLATE_ID: enrolment.ident} | _sample(call, request, enrolment)


def _enroll_capture_next_sample(call: Call, request: BioEnrollment) -> Answer:
    ident = need(_parameters(request).template_id, "templateId")
    _demand(call, request)
    state = call.resume(_Enrolling)
    if state is None:
        raise CtapError(Status.CTAP2_ERR_NOT_ALLOWED, "no enrolment goes on")
    if state.enrolment.ident != ident:
        raise CtapError(Status.CTAP1_ERR_INVALID_PARAMETER, "another finger is being enrolled")
    return _sample(call, request, state.enrolment)


def _cancel_current_enrollment(call: Call, _: BioEnrollment) -> None:
    """Only the enrolment of this channel: nobody has to prove anything to cancel it."""
    state = call.resume(_Enrolling)
    matcher = call.core.matcher
    if state is not None and matcher.enrols(state.enrolment):
        matcher.cancel()


def _sample(call: Call, request: BioEnrollment, enrolment: Enrolment) -> Answer:
    """Wait for a sample and take it; the last one makes the template."""
    status = _capture(call, request, enrolment)
    if enrolment.remaining:
        call.leave(_Enrolling(enrolment))
    return {
        _LAST_ENROLL_SAMPLE_STATUS: int(status),
        _REMAINING_SAMPLES: enrolment.remaining,
    }


def _capture(call: Call, request: BioEnrollment, enrolment: Enrolment) -> SampleStatus:
    matcher = call.core.matcher
    asked = _parameters(request).timeout_milliseconds
    patience = None if asked is None else min(asked / 1000, LONGEST_WAIT)
    assert matcher.sensor is not None
    try:
        sample = call.channel.wait(call.core.transaction, matcher.sensor.ask(patience))
        return enrolment.add(sample)
    except EntryTimedOut:
        return SampleStatus.NO_USER_ACTIVITY
    except EntryCancelled as error:
        raise CtapError(Status.CTAP2_ERR_OPERATION_DENIED, str(error)) from None
    except ConditionsNotSatisfied as error:
        raise CtapError(Status.CTAP2_ERR_NOT_ALLOWED, str(error)) from None


# Templates


def _enumerate_enrollments(call: Call, request: BioEnrollment) -> Answer:
    _demand(call, request)
    templates = call.core.matcher.templates(PinRef.FIDO)
    if not templates:
        raise _no_template("no finger is enrolled")
    infos = [{_INFO_ID: template.ident, _INFO_NAME: template.name} for template in templates]
    return {_TEMPLATE_INFOS: infos}


def _set_friendly_name(call: Call, request: BioEnrollment) -> None:
    ident = need(_parameters(request).template_id, "templateId")
    name = need(_parameters(request).template_friendly_name, "templateFriendlyName")
    _demand(call, request)
    if len(name.encode()) > MAX_NAME:
        raise CtapError(Status.CTAP1_ERR_INVALID_LENGTH, f"a name has up to {MAX_NAME} bytes")
    try:
        call.core.matcher.rename(ident, PinRef.FIDO, name)
    except ReferencedDataNotFound as error:
        raise _no_template(str(error)) from None
    except IncorrectData as error:
        raise CtapError(Status.CTAP1_ERR_INVALID_PARAMETER, str(error)) from None


def _remove_enrollment(call: Call, request: BioEnrollment) -> None:
    ident = need(_parameters(request).template_id, "templateId")
    _demand(call, request)
    try:
        call.core.matcher.remove(ident, PinRef.FIDO)
    except ReferencedDataNotFound as error:
        raise _no_template(str(error)) from None


def _get_fingerprint_sensor_info(_: Call, __: BioEnrollment) -> Answer:
    return {
        _FINGERPRINT_KIND: _TOUCH_SENSOR,
        _MAX_CAPTURE_SAMPLES: SAMPLES,
        _MAX_TEMPLATE_FRIENDLY_NAME: MAX_NAME,
    }


# Who may


def _demand(call: Call, request: BioEnrollment) -> None:
    head = bytes((_FINGERPRINT, need(request.sub_command, "subCommand")))
    message = head + _parameters(request).encoded
    call.core.pin_uv.demand(request, message, Permission.BE)


def _parameters(request: BioEnrollment) -> BioEnrollmentParameters:
    return request.sub_command_params or _NOTHING


def _no_template(message: str) -> CtapError:
    return CtapError(Status.CTAP2_ERR_INVALID_OPTION, message)


_SUBCOMMANDS: Mapping[int, Callable[[Call, BioEnrollment], Answer | None]] = {
    BioEnrollmentSubCommand.ENROLL_BEGIN: _enroll_begin,
    BioEnrollmentSubCommand.ENROLL_CAPTURE_NEXT_SAMPLE: _enroll_capture_next_sample,
    BioEnrollmentSubCommand.CANCEL_CURRENT_ENROLLMENT: _cancel_current_enrollment,
    BioEnrollmentSubCommand.ENUMERATE_ENROLLMENTS: _enumerate_enrollments,
    BioEnrollmentSubCommand.SET_FRIENDLY_NAME: _set_friendly_name,
    BioEnrollmentSubCommand.REMOVE_ENROLLMENT: _remove_enrollment,
    BioEnrollmentSubCommand.GET_FINGERPRINT_SENSOR_INFO: _get_fingerprint_sensor_info,
}
