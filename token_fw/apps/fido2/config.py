"""authenticatorConfig (CTAP 2.1 6.11): settings that hold until the authenticator is reset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from apdu.ctap import Config, ConfigParameters, ConfigSubCommand, CtapCommand, Permission, Status
from token_fw.apps.fido2 import new_pin
from token_fw.apps.fido2.core import Call, Core
from token_fw.apps.fido2.errors import CtapError
from token_fw.apps.fido2.parameters import subcommand

MAX_RP_IDS = 8
"""Relying parties that may be told the minimum PIN length (maxRPIDsForSetMinPINLength)."""

_NOTHING = ConfigParameters(encoded=b"")
_PREFIX = b"\xff" * 32 + bytes((CtapCommand.CONFIG,))


def config(call: Call, request: Config) -> None:
    """Change a setting; raises CtapError, CTAP1_ERR_INVALID_PARAMETER for no setting of ours."""
    change = subcommand(_SUBCOMMANDS, request.sub_command, Status.CTAP1_ERR_INVALID_PARAMETER)
    core = call.core
    parameters = request.sub_command_params or _NOTHING
    # Without a PIN, a token that always verifies its user could not be set up at all.
    toggles = request.sub_command == ConfigSubCommand.TOGGLE_ALWAYS_UV
    if core.protected or (core.settings.always_uv and not toggles):
        message = _PREFIX + bytes((request.sub_command,)) + parameters.encoded
        core.pin_uv.demand(request, message, Permission.ACFG)
    change(core, parameters)


def _enable_enterprise_attestation(core: Core, _: ConfigParameters) -> None:
    core.settings = replace(core.settings, enterprise_attestation=True)


def _toggle_always_uv(core: Core, _: ConfigParameters) -> None:
    settings = core.settings
    core.settings = replace(settings, always_uv=not settings.always_uv)


def _set_min_pin_length(core: Core, asked: ConfigParameters) -> None:
    """6.11.4: the length never falls, and what is on stays on."""
    settings = core.settings
    least = settings.min_pin_length
    if asked.new_min_pin_length is not None:
        least = asked.new_min_pin_length
    if not settings.min_pin_length <= least <= new_pin.MAX_BYTES:
        raise CtapError(
            Status.CTAP2_ERR_PIN_POLICY_VIOLATION, "the minimum PIN length cannot be that"
        )
    if asked.force_change_pin and not core.pin_set:
        raise CtapError(Status.CTAP2_ERR_PIN_NOT_SET, "there is no PIN to change")
    rp_ids = settings.min_pin_length_rp_ids
    if asked.min_pin_length_rp_ids is not None:
        rp_ids = asked.min_pin_length_rp_ids
    if len(rp_ids) > MAX_RP_IDS:
        raise CtapError(Status.CTAP2_ERR_KEY_STORE_FULL, f"there is room for {MAX_RP_IDS} RP IDs")
    # Whether a PIN is complex cannot be told from its hash.
    stricter = bool(asked.pin_complexity_policy) and not settings.pin_complexity_policy
    forced = core.pin_set and (
        bool(asked.force_change_pin) or stricter or new_pin.length(core.transaction) < least
    )
    core.settings = replace(
        settings,
        min_pin_length=least,
        min_pin_length_rp_ids=rp_ids,
        force_pin_change=settings.force_pin_change or forced,
        pin_complexity_policy=settings.pin_complexity_policy or stricter,
    )
    if forced:
        core.pin_uv.end_tokens()


_SUBCOMMANDS: Mapping[int, Callable[[Core, ConfigParameters], None]] = {
    ConfigSubCommand.ENABLE_ENTERPRISE_ATTESTATION: _enable_enterprise_attestation,
    ConfigSubCommand.TOGGLE_ALWAYS_UV: _toggle_always_uv,
    ConfigSubCommand.SET_MIN_PIN_LENGTH: _set_min_pin_length,
}
"""Vendors' prototypes, 0xFF, are none of ours."""

SUBCOMMANDS = tuple(int(number) for number in _SUBCOMMANDS)
