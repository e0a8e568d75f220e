"""User verification and presence of makeCredential and getAssertion (CTAP 2.1 6.1.2, 6.2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from apdu.ctap import Permission, Status
from token_fw.apps.fido2.core import Call, Core
from token_fw.apps.fido2.errors import CtapError
from token_fw.apps.fido2.pin_uv import PinUvAuth, invalid

_LATE = Status.CTAP2_ERR_OPERATION_DENIED
"""Who does not touch the token in time has declined."""
_WRONG_FINGER = {
    Status.CTAP2_ERR_UV_BLOCKED: Status.CTAP2_ERR_PIN_BLOCKED,
    Status.CTAP2_ERR_UV_INVALID: Status.CTAP2_ERR_OPERATION_DENIED,
}
"""What the request is told where there is no PIN to verify the user by instead."""


@dataclass(frozen=True, slots=True, repr=False)
class Claim:
    """What a request says of its user.

    `uv`: built-in user verification is to be done; `up`: the user is to be present. `param`:
    pinUvAuthParam, over the client data's hash, of a protocol that is known.
    """

    permission: Permission
    rp_id: str
    client_data_hash: bytes
    param: bytes | None
    protocol: int
    uv: bool
    up: bool


@dataclass(frozen=True, slots=True)
class Proof:
    """What is proven of the user, the flags uv and up of the authenticator data."""

    uv: bool = False
    up: bool = False


def check_param(call: Call, param: bytes | None, protocol: int | None) -> int:
    """Steps 1 and 2: give the protocol, 0 without a pinUvAuthParam; raises CtapError.

    An empty param asks which of several tokens the user means.
    """
    core = call.core
    if param is None:
        return 0
    if not param:
        call.touch(_LATE)
        if core.protected:
            raise CtapError(Status.CTAP2_ERR_PIN_INVALID, "the user chose this token")
        raise CtapError(Status.CTAP2_ERR_PIN_NOT_SET, "the user chose this token")
    core.pin_uv.agreement(protocol)
    return protocol or 0


def wanted_uv(core: Core, options: Mapping[str, bool], param: bytes | None) -> bool:
    """Whether the option uv asks for built-in user verification; raises CtapError."""
    wanted = options.get("uv", False) and param is None
    if wanted and not core.uv_enabled:
        raise CtapError(Status.CTAP2_ERR_INVALID_OPTION, "no finger is enrolled")
    return wanted


def always_verified(core: Core, claim: Claim) -> Claim:
    """What the setting alwaysUv makes of a claim; raises CtapError."""
    if not core.settings.always_uv or claim.param is not None or claim.uv:
        return claim
    if core.uv_enabled:
        return replace(claim, uv=True)
    raise unverified(core)


def unverified(core: Core) -> CtapError:
    """What a request is told that verifies its user in no way, and has to."""
    if core.protected and not core.pin_set:
        return CtapError(Status.CTAP2_ERR_OPERATION_DENIED, "a finger has to verify the user")
    return CtapError(Status.CTAP2_ERR_PUAT_REQUIRED, "a pinUvAuthToken is needed")


def verify(call: Call, claim: Claim) -> Proof:
    """Verify the user as the claim says, where there is a way; raises CtapError."""
    core = call.core
    if claim.param is not None:
        _check_token(core.pin_uv, claim, claim.param)
        return Proof(uv=True)
    if claim.uv:
        try:
            call.finger()
        except CtapError as error:
            status = _WRONG_FINGER.get(error.status)
            if status is None:
                raise
            if core.pin_set:
                status = Status.CTAP2_ERR_PUAT_REQUIRED
            raise CtapError(status, str(error)) from None
        return Proof(uv=True, up=True)
    return Proof()


def present(call: Call, claim: Claim, proof: Proof, late: Status = _LATE) -> Proof:
    """Have the user present, by a touch if nothing showed it before; raises as Core.touch."""
    token = claim.param is not None and call.core.pin_uv.token.user_present
    if not proof.up and not token:
        call.touch(late)
    return replace(proof, up=True)


def spend(core: Core, claim: Claim) -> None:
    """The pinUvAuthToken of a claim has served with a user who was present."""
    if claim.param is not None:
        core.pin_uv.token.spend()


def _check_token(pin_uv: PinUvAuth, claim: Claim, param: bytes) -> None:
    token = pin_uv.token
    if not pin_uv.verify(claim.protocol, claim.client_data_hash, param):
        raise invalid("pinUvAuthParam is wrong")
    if not token.permits(claim.permission, claim.rp_id) or not token.user_verified:
        raise invalid("the token has not the permission")
    token.bind(claim.rp_id)
