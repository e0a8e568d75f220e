"""authenticatorClientPIN (CTAP 2.1 6.5.5): the PIN, its tries, and tokens for who proves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from apdu.ctap import ClientPIN, ClientPinSubCommand, Permission, Status
from token_fw.apps.fido2 import new_pin
from token_fw.apps.fido2.core import Call, Core
from token_fw.apps.fido2.errors import CtapError
from token_fw.apps.fido2.parameters import need, subcommand
from token_fw.apps.fido2.pin_protocols import KeyAgreement, SharedSecret
from token_fw.apps.fido2.pin_uv import invalid
from token_fw.errors import WrongPin
from token_fw.pin import PinRef

MAX_MISSES = 3
"""Wrong PINs in a row; then the power has to be taken away first (CTAP 2.1 6.5.5.7)."""

_KEY_AGREEMENT, _TOKEN, _PIN_RETRIES, _POWER_CYCLE_STATE, _UV_RETRIES = range(1, 6)

_WITHOUT_PERMISSIONS = Permission.MC | Permission.GA
"""What getPinToken gives, which names none."""
_NEED_RP_ID = Permission.MC | Permission.GA
_BY_FINGER = Permission.MC | Permission.GA | Permission.CM | Permission.LBW | Permission.PCMR
"""Who can put a finger on the sensor enrols none and configures nothing: that takes the PIN."""


def client_pin(call: Call, request: ClientPIN) -> dict[int, Any] | None:
    """Run a subcommand; raises CtapError, also CTAP2_ERR_INVALID_SUBCOMMAND."""
    return subcommand(_SUBCOMMANDS, request.sub_command)(call, request)


# What there is


def _get_pin_retries(call: Call, _: ClientPIN) -> dict[int, Any]:
    core = call.core
    if not core.pin_set:
        raise _not_set()
    return {
        _PIN_RETRIES: core.pins.record(PinRef.FIDO).tries_left,
        _POWER_CYCLE_STATE: core.pin_uv.misses >= MAX_MISSES,
    }


def _get_uv_retries(call: Call, _: ClientPIN) -> dict[int, Any]:
    _need_sensor(call.core)
    return {_UV_RETRIES: call.core.matcher.tries(PinRef.FIDO)}


def _get_key_agreement(call: Call, request: ClientPIN) -> dict[int, Any]:
    return {_KEY_AGREEMENT: call.core.pin_uv.agreement(request.pin_uv_auth_protocol).public()}


# Giving the PIN a value


def _set_pin(call: Call, request: ClientPIN) -> None:
    """6.5.5.5: the first PIN."""
    core = call.core
    new = need(request.new_pin_enc, "newPinEnc")
    param = need(request.pin_uv_auth_param, "pinUvAuthParam")
    agreement = _agreement(core, request)
    if core.pin_set:
        raise invalid("there is a PIN already")
    secret = _shared(agreement, request)
    if not secret.verify(new, param):
        raise invalid("pinUvAuthParam is wrong")
    new_pin.keep(core, _decrypt(secret, new))


def _change_pin(call: Call, request: ClientPIN) -> None:
    """6.5.5.6: another PIN, by the one that is set."""
    core = call.core
    new = need(request.new_pin_enc, "newPinEnc")
    current = need(request.pin_hash_enc, "pinHashEnc")
    param = need(request.pin_uv_auth_param, "pinUvAuthParam")
    agreement = _agreement(core, request)
    _check_usable(core)
    secret = _shared(agreement, request)
    if not secret.verify(new + current, param):
        raise invalid("pinUvAuthParam is wrong")
    _check_pin(core, agreement, _decrypt(secret, current))
    try:
        new_pin.keep(core, _decrypt(secret, new))
    except CtapError:
        _keep_tries(core)
        raise


# Tokens


def _get_pin_token(call: Call, request: ClientPIN) -> dict[int, Any]:
    """6.5.5.7.1: the way of CTAP 2.0, without permissions."""
    current = need(request.pin_hash_enc, "pinHashEnc")
    agreement = _agreement(call.core, request)
    if request.permissions is not None or request.rp_id is not None:
        raise CtapError(Status.CTAP1_ERR_INVALID_PARAMETER, "getPinToken names no permissions")
    secret = _prove_pin(call.core, request, agreement, current, Status.CTAP2_ERR_PIN_INVALID)
    return _issue(call, request, secret, _WITHOUT_PERMISSIONS, user_present=False)


def _get_token_using_pin(call: Call, request: ClientPIN) -> dict[int, Any]:
    """6.5.5.7.2."""
    core = call.core
    current = need(request.pin_hash_enc, "pinHashEnc")
    asked = _asked(request)
    agreement = _agreement(core, request)
    permissions = _permissions(core, asked, ~Permission(0))
    forced = Status.CTAP2_ERR_PIN_POLICY_VIOLATION
    secret = _prove_pin(core, request, agreement, current, forced)
    return _issue(call, request, secret, permissions, user_present=False)


def _prove_pin(
    core: Core, request: ClientPIN, agreement: KeyAgreement, current: bytes, forced: Status
) -> SharedSecret:
    """Compare the PIN, whose encrypted hash is `current`; gives the secret shared for the answer.

    Raises CtapError, `forced` where the PIN has to be changed first.
    """
    _check_usable(core)
    secret = _shared(agreement, request)
    _check_pin(core, agreement, _decrypt(secret, current))
    if core.settings.force_pin_change:
        _keep_tries(core)
        raise CtapError(forced, "the PIN has to be changed first")
    return secret


def _get_token_using_uv(call: Call, request: ClientPIN) -> dict[int, Any]:
    """6.5.5.7.3: by a finger, which shows that the user is present as well."""
    core = call.core
    _need_sensor(core)
    asked = _asked(request)
    agreement = _agreement(core, request)
    permissions = _permissions(core, asked, _BY_FINGER)
    secret = _shared(agreement, request)
    if core.settings.force_pin_change:
        raise CtapError(Status.CTAP2_ERR_PIN_POLICY_VIOLATION, "the PIN has to be changed first")
    call.finger()
    return _issue(call, request, secret, permissions, user_present=True)


def _issue(
    call: Call,
    request: ClientPIN,
    secret: SharedSecret,
    permissions: Permission,
    *,
    user_present: bool,
) -> dict[int, Any]:
    pin_uv = call.core.pin_uv
    if Permission.PCMR in permissions:
        return {_TOKEN: secret.encrypt(pin_uv.persistent.issue())}
    pin_uv.token.begin(
        secret.protocol,
        permissions,
        request.rp_id,
        call.channel.transport,
        user_present=user_present,
    )
    return {_TOKEN: secret.encrypt(pin_uv.token.value)}


def _asked(request: ClientPIN) -> int:
    """The parameter permissions, with the RP ID that some need; raises CtapError."""
    asked = need(request.permissions, "permissions")
    if asked & _NEED_RP_ID:
        need(request.rp_id, "rpId")
    return asked


def _permissions(core: Core, asked: int, allowed: Permission) -> Permission:
    """The permissions that are asked for, those that nobody knows left out; raises CtapError."""
    if not asked:
        raise CtapError(Status.CTAP1_ERR_INVALID_PARAMETER, "no permission is asked for")
    known = Permission(asked & sum(Permission))
    if core.matcher.sensor is None:
        allowed &= ~Permission.BE
    # The persistent token has one permission, and lives too long for another.
    alone = Permission.PCMR not in known or known == Permission.PCMR
    if known & ~allowed or not alone:
        raise CtapError(
            Status.CTAP2_ERR_UNAUTHORIZED_PERMISSION, "a permission cannot be had this way"
        )
    return known


# The comparison


def _check_usable(core: Core) -> None:
    """Raises CtapError where no PIN can be right now."""
    record = core.pins.record(PinRef.FIDO)
    if not record.initialised:
        raise _not_set()
    if not record.tries_left:
        raise _blocked()
    if core.pin_uv.misses >= MAX_MISSES:
        raise _auth_blocked()


def _check_pin(core: Core, agreement: KeyAgreement, pin_hash: bytes) -> None:
    """Compare the hash of a PIN, 16 bytes; its try is durably spent before.

    Raises CtapError, and StorageError where the try could not be spent.
    """
    if len(pin_hash) != new_pin.HASH_SIZE:
        raise CtapError(
            Status.CTAP1_ERR_INVALID_PARAMETER, f"pinHash has {new_pin.HASH_SIZE} bytes"
        )
    try:
        core.pins.check(PinRef.FIDO, pin_hash)
    except WrongPin as error:
        agreement.regenerate()
        core.pin_uv.misses += 1
        if not error.tries_left:
            raise _blocked() from None
        if core.pin_uv.misses >= MAX_MISSES:
            raise _auth_blocked() from None
        raise CtapError(Status.CTAP2_ERR_PIN_INVALID, str(error)) from None
    core.pin_uv.misses = 0


def _keep_tries(core: Core) -> None:
    """The PIN was right, so it has its tries again whatever else is refused."""
    core.transaction.commit()


def _decrypt(secret: SharedSecret, ciphertext: bytes) -> bytes:
    try:
        return secret.decrypt(ciphertext)
    except CtapError as error:
        raise invalid(str(error)) from None


# Parameters


def _agreement(core: Core, request: ClientPIN) -> KeyAgreement:
    """The key agreement of the request's protocol, and that it has a key for it."""
    need(request.pin_uv_auth_protocol, "pinUvAuthProtocol")
    need(request.key_agreement, "keyAgreement")
    return core.pin_uv.agreement(request.pin_uv_auth_protocol)


def _shared(agreement: KeyAgreement, request: ClientPIN) -> SharedSecret:
    return agreement.decapsulate(need(request.key_agreement, "keyAgreement"))


def _need_sensor(core: Core) -> None:
    if core.matcher.sensor is None:
        raise CtapError(Status.CTAP2_ERR_INVALID_SUBCOMMAND, "there is no fingerprint sensor")


def _not_set() -> CtapError:
    return CtapError(Status.CTAP2_ERR_PIN_NOT_SET, "there is no PIN")


def _blocked() -> CtapError:
    return CtapError(Status.CTAP2_ERR_PIN_BLOCKED, "no try is left; only a reset helps")


def _auth_blocked() -> CtapError:
    return CtapError(
        Status.CTAP2_ERR_PIN_AUTH_BLOCKED, "too many wrong PINs in a row; take the power away"
    )


_SUBCOMMANDS: Mapping[int, Callable[[Call, ClientPIN], dict[int, Any] | None]] = {
    ClientPinSubCommand.GET_PIN_RETRIES: _get_pin_retries,
    ClientPinSubCommand.GET_KEY_AGREEMENT: _get_key_agreement,
    ClientPinSubCommand.SET_PIN: _set_pin,
    ClientPinSubCommand.CHANGE_PIN: _change_pin,
    ClientPinSubCommand.GET_PIN_TOKEN: _get_pin_token,
    ClientPinSubCommand.GET_PIN_UV_AUTH_TOKEN_USING_UV_WITH_PERMISSIONS: _get_token_using_uv,
    ClientPinSubCommand.GET_UV_RETRIES: _get_uv_retries,
    ClientPinSubCommand.GET_PIN_UV_AUTH_TOKEN_USING_PIN_WITH_PERMISSIONS: _get_token_using_pin,
}
