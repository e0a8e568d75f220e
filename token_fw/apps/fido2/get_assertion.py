"""authenticatorGetAssertion and authenticatorGetNextAssertion (CTAP 2.1 6.2.2, 6.3)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from apdu.ctap import GetAssertion, GetNextAssertion, Permission, Status
from token_fw.apps.fido2 import auth_data, verification
from token_fw.apps.fido2.core import Call, Core
from token_fw.apps.fido2.credentials import Account, Credential, Protection
from token_fw.apps.fido2.errors import CtapError
from token_fw.apps.fido2.extensions import Getting
from token_fw.apps.fido2.make_credential import PUBLIC_KEY, check_list
from token_fw.apps.fido2.verification import Claim, Proof

_CREDENTIAL, _AUTH_DATA, _SIGNATURE, _USER, _COUNT, _, _LARGE_BLOB_KEY = range(1, 8)


@dataclass(frozen=True, slots=True, repr=False)
class _Assertions:
    """Credentials that are still to sign the same client data."""

    left: tuple[Credential, ...]
    client_data_hash: bytes
    proof: Proof
    getting: Getting


def get_assertion(call: Call, request: GetAssertion) -> dict[int, Any]:
    """Sign with the credential that the request names, or with the newest; the rest are left."""
    core = call.core
    claim = _claim(call, request)
    check_list(request.allow_list)
    getting = Getting.of(core, request.extensions, up=claim.up)
    proof = verification.verify(call, claim)
    found = _applicable(core, request, proof)
    if not found:
        raise CtapError(Status.CTAP2_ERR_NO_CREDENTIALS, "no credential is the relying party's")
    if claim.up:
        proof = verification.present(call, claim, proof)
        verification.spend(core, claim)
    else:
        proof = replace(proof, up=False)
    several = len(found) > 1
    answer = _sign(
        core, found[0], _Assertions((), request.client_data_hash, proof, getting), several=several
    )
    if several:
        call.leave(_Assertions(tuple(found[1:]), request.client_data_hash, proof, getting))
        answer[_COUNT] = len(found)
    return answer


def get_next_assertion(call: Call, _: GetNextAssertion) -> dict[int, Any]:
    """Sign with the next credential that getAssertion found; raises CtapError."""
    assertions = call.resume(_Assertions)
    if assertions is None:
        raise CtapError(Status.CTAP2_ERR_NOT_ALLOWED, "there is no assertion to go on with")
    first, *rest = assertions.left
    if rest:
        call.leave(replace(assertions, left=tuple(rest)))
    return _sign(call.core, first, assertions, several=True)


def _claim(call: Call, request: GetAssertion) -> Claim:
    """The checks before the user is asked anything, in the order of the standard."""
    core, param = call.core, request.pin_uv_auth_param
    protocol = verification.check_param(call, param, request.pin_uv_auth_protocol)
    options = request.options or {}
    uv = verification.wanted_uv(core, options, param)
    if "rk" in options:
        raise CtapError(Status.CTAP2_ERR_UNSUPPORTED_OPTION, "rk is for new credentials")
    up = options.get("up", True)
    claim = Claim(Permission.GA, request.rp_id, request.client_data_hash, param, protocol, uv, up)
    return verification.always_verified(core, claim) if up else claim


def _applicable(core: Core, request: GetAssertion, proof: Proof) -> list[Credential]:
    """The credentials that may sign: one of the list, or all discoverable ones, newest first."""
    rp_id_hash = hashlib.sha256(request.rp_id.encode()).digest()
    if not request.allow_list:
        weakest = Protection.OPTIONAL
        found = core.credentials.of(rp_id_hash)
    else:
        weakest = Protection.OPTIONAL_WITH_LIST
        named = (item.id for item in request.allow_list if item.type == PUBLIC_KEY)
        known = (core.credentials.find(rp_id_hash, ident) for ident in named)
        found = [credential for credential in known if credential is not None]
    allowed = [credential for credential in found if proof.uv or credential.protection <= weakest]
    return allowed[:1] if request.allow_list else allowed


def _sign(
    core: Core, credential: Credential, assertions: _Assertions, *, several: bool
) -> dict[int, Any]:
    """One assertion; its counter is durable before the answer leaves."""
    proof, getting = assertions.proof, assertions.getting
    outputs = getting.outputs(core, credential, uv=proof.uv)
    data = auth_data.encode(credential, proof, core.credentials.count(credential), outputs)
    message = data + assertions.client_data_hash
    answer: dict[int, Any] = {
        _CREDENTIAL: {"id": credential.id, "type": PUBLIC_KEY},
        _AUTH_DATA: data,
        _SIGNATURE: credential.algorithm.sign(credential.private(), message),
    }
    account = credential.account
    if account is not None:
        answer[_USER] = _user(account, names=several and proof.uv)
        if getting.large_blob_key and account.large_blob_key is not None:
            answer[_LARGE_BLOB_KEY] = account.large_blob_key
    return answer


def _user(account: Account, *, names: bool) -> dict[str, Any]:
    """The user: names only to tell several from one another, and only to the verified user."""
    user: dict[str, Any] = {"id": account.user_id}
    if names:
        named = {"name": account.user_name, "displayName": account.display_name}
        user |= {key: value for key, value in named.items() if value is not None}
    return user
