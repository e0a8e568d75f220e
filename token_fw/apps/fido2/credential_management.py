"""authenticatorCredentialManagement (CTAP 2.1 6.8): the discoverable credentials, one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from apdu.ctap import (
    CredentialManagement,
    CredentialManagementParameters,
    CredentialManagementSubCommand,
    Permission,
    Status,
)
from token_fw.apps.fido2.core import Call, Core
from token_fw.apps.fido2.credentials import Account, Credential
from token_fw.apps.fido2.errors import CtapError
from token_fw.apps.fido2.make_credential import shortened
from token_fw.apps.fido2.parameters import need, subcommand
from token_fw.apps.fido2.pin_uv import invalid

_EXISTING_COUNT, _REMAINING_COUNT = 0x01, 0x02
_RP, _RP_ID_HASH, _TOTAL_RPS = 0x03, 0x04, 0x05
_USER, _CREDENTIAL_ID, _PUBLIC_KEY, _TOTAL_CREDENTIALS = 0x06, 0x07, 0x08, 0x09
_CRED_PROTECT, _LARGE_BLOB_KEY, _THIRD_PARTY_PAYMENT = 0x0A, 0x0B, 0x0C

_NOTHING = CredentialManagementParameters(encoded=b"")
Answer = dict[int, Any]


@dataclass(frozen=True, slots=True)
class _Rps:
    """Relying parties that are still to be told, a credential for each."""

    left: tuple[Credential, ...]


@dataclass(frozen=True, slots=True)
class _Credentials:
    """Credentials that are still to be told."""

    left: tuple[Credential, ...]


def credential_management(call: Call, request: CredentialManagement) -> Answer | None:
    """Run a subcommand; raises CtapError."""
    return subcommand(_SUBCOMMANDS, request.sub_command)(call, request)


# What there is


def _get_creds_metadata(call: Call, request: CredentialManagement) -> Answer:
    _demand_all(call.core, request)
    credentials = call.core.credentials
    return {_EXISTING_COUNT: len(credentials), _REMAINING_COUNT: credentials.remaining}


def _enumerate_rps_begin(call: Call, request: CredentialManagement) -> Answer:
    _demand_all(call.core, request)
    found = {credential.rp_id_hash: credential for credential in call.core.credentials.all()}
    if not found:
        raise _none()
    return _next_rp(call, tuple(found.values())) | {_TOTAL_RPS: len(found)}


def _enumerate_rps_get_next(call: Call, _: CredentialManagement) -> Answer:
    state = call.resume(_Rps)
    if state is None:
        raise _not_begun()
    return _next_rp(call, state.left)


def _next_rp(call: Call, left: tuple[Credential, ...]) -> Answer:
    first, *rest = left
    if rest:
        call.leave(_Rps(tuple(rest)))
    account = _account(first)
    rp = {"id": account.rp_id} | _given(name=account.rp_name)
    return {_RP: rp, _RP_ID_HASH: first.rp_id_hash}


def _enumerate_credentials_begin(call: Call, request: CredentialManagement) -> Answer:
    core = call.core
    _need_param(request)
    rp_id_hash = need(_parameters(request).rp_id_hash, "rpIDHash")
    _check_rp(_demand(core, request, read_only=True), rp_id_hash)
    found = core.credentials.of(rp_id_hash)
    if not found:
        raise _none()
    return _next_credential(call, tuple(found)) | {_TOTAL_CREDENTIALS: len(found)}


def _enumerate_credentials_get_next(call: Call, _: CredentialManagement) -> Answer:
    state = call.resume(_Credentials)
    if state is None:
        raise _not_begun()
    return _next_credential(call, state.left)


def _next_credential(call: Call, left: tuple[Credential, ...]) -> Answer:
    first, *rest = left
    if rest:
        call.leave(_Credentials(tuple(rest)))
    account = _account(first)
    answer: Answer = {
        _USER: {"id": account.user_id}
        | _given(name=account.user_name, displayName=account.display_name),
        _CREDENTIAL_ID: {"id": first.id, "type": "public-key"},
        _PUBLIC_KEY: first.public(),
        _CRED_PROTECT: int(first.protection),
        _THIRD_PARTY_PAYMENT: first.third_party_payment,
    }
    if account.large_blob_key is not None:
        answer[_LARGE_BLOB_KEY] = account.large_blob_key
    return answer


# Changes


def _delete_credential(call: Call, request: CredentialManagement) -> None:
    call.core.credentials.delete(_named(call.core, request))


def _update_user_information(call: Call, request: CredentialManagement) -> None:
    _need_param(request)
    user = need(_parameters(request).user, "user")
    credential = _named(call.core, request)
    account = _account(credential)
    if user.id != account.user_id:
        raise CtapError(Status.CTAP1_ERR_INVALID_PARAMETER, "the credential is another user's")
    changed = replace(
        account,
        user_name=shortened(user.name) or None,
        display_name=shortened(user.display_name) or None,
    )
    call.core.credentials.put(replace(credential, account=changed))


def _named(core: Core, request: CredentialManagement) -> Credential:
    """The credential that a signed request names; raises CtapError."""
    _need_param(request)
    descriptor = need(_parameters(request).credential_id, "credentialID")
    rp_id = _demand(core, request)
    for credential in core.credentials.all():
        if credential.id == descriptor.id:
            _check_rp(rp_id, credential.rp_id_hash)
            return credential
    raise _none()


# Who may


def _need_param(request: CredentialManagement) -> None:
    """Without pinUvAuthParam nothing else is looked at (6.8.4 to 6.8.6)."""
    if request.pin_uv_auth_param is None:
        raise CtapError(Status.CTAP2_ERR_PUAT_REQUIRED, "pinUvAuthParam is missing")


def _demand(core: Core, request: CredentialManagement, *, read_only: bool = False) -> str | None:
    """Have a request signed; gives the RP ID that its token is for, None for any."""
    message = bytes((request.sub_command,)) + _parameters(request).encoded
    return core.pin_uv.demand(request, message, Permission.CM, read_only=read_only)


def _demand_all(core: Core, request: CredentialManagement) -> None:
    """Have a request signed by who may know of all relying parties."""
    if _demand(core, request, read_only=True) is not None:
        raise invalid("the token is for one relying party")


def _check_rp(rp_id: str | None, rp_id_hash: bytes) -> None:
    if rp_id is not None and hashlib.sha256(rp_id.encode()).digest() != rp_id_hash:
        raise invalid("the token is for another relying party")


def _parameters(request: CredentialManagement) -> CredentialManagementParameters:
    return request.sub_command_params or _NOTHING


def _account(credential: Credential) -> Account:
    assert credential.account is not None, "only discoverable credentials are managed"
    return credential.account


def _given(**members: str | None) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _none() -> CtapError:
    return CtapError(Status.CTAP2_ERR_NO_CREDENTIALS, "there is no such credential")


def _not_begun() -> CtapError:
    return CtapError(Status.CTAP2_ERR_NOT_ALLOWED, "nothing is left of an enumeration")


_SUBCOMMANDS: Mapping[int, Callable[[Call, CredentialManagement], Answer | None]] = {
    CredentialManagementSubCommand.GET_CREDS_METADATA: _get_creds_metadata,
    CredentialManagementSubCommand.ENUMERATE_RPS_BEGIN: _enumerate_rps_begin,
    CredentialManagementSubCommand.ENUMERATE_RPS_GET_NEXT_RP: _enumerate_rps_get_next,
    CredentialManagementSubCommand.ENUMERATE_CREDENTIALS_BEGIN: _enumerate_credentials_begin,
    CredentialManagementSubCommand.ENUMERATE_CREDENTIALS_GET_NEXT_CREDENTIAL: (
        _enumerate_credentials_get_next
    ),
    CredentialManagementSubCommand.DELETE_CREDENTIAL: _delete_credential,
    CredentialManagementSubCommand.UPDATE_USER_INFORMATION: _update_user_information,
}
