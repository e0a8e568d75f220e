"""authenticatorMakeCredential (CTAP 2.1 6.1.2)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from apdu.ctap import (
    MakeCredential,
    Permission,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialParameters,
    Status,
)
from token_fw.apps.fido2 import auth_data, cose, verification
from token_fw.apps.fido2.core import Call, Core
from token_fw.apps.fido2.cose import Algorithm
from token_fw.apps.fido2.credentials import Account, Credential, Protection
from token_fw.apps.fido2.errors import CtapError
from token_fw.apps.fido2.extensions import LARGE_BLOB_KEY_SIZE, Making
from token_fw.apps.fido2.verification import Claim, Proof
from token_fw.crypto import PrivateKey
from token_fw.state import Attestation

PUBLIC_KEY = "public-key"
MAX_CREDENTIALS_IN_LIST = 16
"""Descriptors that a list of a request may have."""
MAX_USER_ID = 64
"""Bytes of a user's handle (WebAuthn 5.4.3)."""
MAX_NAME = 64
"""Bytes of UTF-8 that are kept of a name; the rest is cut off (WebAuthn 6.4.1)."""

_VENDOR_FACILITATED, _PLATFORM_MANAGED = 0x01, 0x02
_FMT, _AUTH_DATA, _ATT_STMT, _EP_ATT, _LARGE_BLOB_KEY = range(1, 6)
_PACKED, _NONE = "packed", "none"


@dataclass(frozen=True, slots=True, repr=False)
class _Plan:
    """What a request comes to once all of it is checked."""

    request: MakeCredential
    rp_id_hash: bytes
    algorithm: Algorithm
    rk: bool
    enterprise: bool
    claim: Claim
    making: Making


def make_credential(call: Call, request: MakeCredential) -> dict[int, Any]:
    """Make a credential; the answer holds the attestation object's parts."""
    core = call.core
    plan = _plan(call, request)
    proof = verification.verify(call, plan.claim)
    if _is_excluded(core, plan, proof):
        raise _excluded(call, plan, proof)
    proof = verification.present(call, plan.claim, proof)
    verification.spend(core, plan.claim)
    _check_room(core, plan)
    with call.channel.released(core.transaction):
        private = plan.algorithm.generate()
    made = core.credentials.add(_credential(core, plan, cose.pack(private)))
    outputs = plan.making.outputs(core, made, uv=proof.uv)
    attested = auth_data.attested_data(made)
    count = core.credentials.last_count(made)
    data = auth_data.encode(made, proof, count, outputs, attested)
    return _attest(core, plan, private, data) | _large_blob_key(made)


def _plan(call: Call, request: MakeCredential) -> _Plan:
    """The checks before the user is asked anything, in the order of the standard."""
    core = call.core
    protocol = verification.check_param(
        call, request.pin_uv_auth_param, request.pin_uv_auth_protocol
    )
    algorithm = _choose(request.pub_key_cred_params)
    options = request.options or {}
    uv = verification.wanted_uv(core, options, request.pin_uv_auth_param)
    if options.get("up") is False:
        raise CtapError(Status.CTAP2_ERR_INVALID_OPTION, "a new credential needs the user")
    rk = options.get("rk", False)
    claim = verification.always_verified(
        core,
        Claim(
            Permission.MC,
            request.rp.id,
            request.client_data_hash,
            request.pin_uv_auth_param,
            protocol,
            uv,
            up=True,
        ),
    )
    if core.protected and rk and not claim.uv and claim.param is None:
        raise verification.unverified(core)
    enterprise = _enterprise(core, request.enterprise_attestation)
    _check_lengths(request)
    making = Making.of(core, request.extensions, request.rp.id, rk=rk)
    rp_id_hash = hashlib.sha256(request.rp.id.encode()).digest()
    return _Plan(request, rp_id_hash, algorithm, rk, enterprise, claim, making)


def _choose(params: tuple[PublicKeyCredentialParameters, ...]) -> Algorithm:
    """The first algorithm of the list that there is."""
    for entry in params:
        if entry.type == PUBLIC_KEY and entry.alg in cose.ALGORITHMS:
            return cose.ALGORITHMS[entry.alg]
    raise CtapError(Status.CTAP2_ERR_UNSUPPORTED_ALGORITHM, "no algorithm of the list is known")


def _enterprise(core: Core, asked: int | None) -> bool:
    """Whether the attestation is to name the token.

    A vendor-facilitated one would be for relying parties that the vendor has listed: none.
    """
    if asked is None:
        return False
    if not core.settings.enterprise_attestation:
        raise CtapError(Status.CTAP1_ERR_INVALID_PARAMETER, "enterprise attestation is off")
    if asked not in {_VENDOR_FACILITATED, _PLATFORM_MANAGED}:
        raise CtapError(Status.CTAP2_ERR_INVALID_OPTION, "there is no such enterprise attestation")
    return asked == _PLATFORM_MANAGED


def _check_lengths(request: MakeCredential) -> None:
    if not 1 <= len(request.user.id) <= MAX_USER_ID:
        raise CtapError(Status.CTAP1_ERR_INVALID_LENGTH, "a user's handle has 1 to 64 bytes")
    check_list(request.exclude_list)


def check_list(descriptors: tuple[PublicKeyCredentialDescriptor, ...] | None) -> None:
    """Raises CtapError for a list that is longer than getInfo says."""
    if descriptors is not None and len(descriptors) > MAX_CREDENTIALS_IN_LIST:
        raise CtapError(Status.CTAP2_ERR_LIMIT_EXCEEDED, "the list is too long")


def _is_excluded(core: Core, plan: _Plan, proof: Proof) -> bool:
    """Whether a credential of the list is here, and the platform may know of it."""
    for descriptor in plan.request.exclude_list or ():
        if descriptor.type != PUBLIC_KEY:
            continue
        known = core.credentials.find(plan.rp_id_hash, descriptor.id)
        if known is not None and (proof.uv or known.protection is not Protection.REQUIRED):
            return True
    return False


def _excluded(call: Call, plan: _Plan, proof: Proof) -> CtapError:
    """What is told once the user was waited for, whether there or not (step 12).

    Raises CtapError, as Call.touch, where that wait was cancelled, or is none.
    """
    excluded = Status.CTAP2_ERR_CREDENTIAL_EXCLUDED
    verification.present(call, plan.claim, proof, late=excluded)
    return CtapError(excluded, "a credential of the list is here")


def _check_room(core: Core, plan: _Plan) -> None:
    if not plan.rk or core.credentials.remaining:
        return
    if core.credentials.of_user(plan.rp_id_hash, plan.request.user.id) is None:
        raise CtapError(Status.CTAP2_ERR_KEY_STORE_FULL, "there is no room for a credential")


def _credential(core: Core, plan: _Plan, packed: bytes) -> Credential:
    user, rp, making = plan.request.user, plan.request.rp, plan.making
    account = Account(
        rp_id=rp.id,
        user_id=user.id,
        rp_name=shortened(rp.name),
        user_name=shortened(user.name),
        display_name=shortened(user.display_name),
        cred_blob=making.blob_to_keep(rk=plan.rk),
        large_blob_key=core.rng(LARGE_BLOB_KEY_SIZE) if making.large_blob_key else None,
    )
    return Credential(
        plan.rp_id_hash,
        plan.algorithm,
        packed,
        making.protection,
        making.hmac_secret,
        making.third_party_payment,
        account if plan.rk else None,
    )


def shortened(name: str | None) -> str | None:
    """What is kept of a name: whole characters of up to 64 bytes."""
    return None if name is None else name.encode()[:MAX_NAME].decode(errors="ignore")


def _attest(core: Core, plan: _Plan, private: PrivateKey, data: bytes) -> dict[int, Any]:
    if plan.enterprise:
        return _certified(core, plan, data) | {_EP_ATT: True}
    preferred = plan.request.attestation_formats_preference or ()
    known = formats(core)
    if next((fmt for fmt in preferred if fmt in known), known[0]) == _NONE:
        return {_FMT: _NONE, _AUTH_DATA: data, _ATT_STMT: {}}
    if core.token.attestation is Attestation.SELF:
        return _self_signed(plan, private, data)
    return _certified(core, plan, data)


def formats(core: Core) -> tuple[str, ...]:
    """Attestation statement formats of a token, the one without a preference first."""
    return (_NONE,) if core.token.attestation is Attestation.NONE else (_PACKED, _NONE)


def _self_signed(plan: _Plan, private: PrivateKey, data: bytes) -> dict[int, Any]:
    """A statement of the format packed that the new credential signs (WebAuthn 8.2)."""
    signature = plan.algorithm.sign(private, data + plan.request.client_data_hash)
    statement = {"alg": plan.algorithm.alg, "sig": signature}
    return {_FMT: _PACKED, _AUTH_DATA: data, _ATT_STMT: statement}


def _certified(core: Core, plan: _Plan, data: bytes) -> dict[int, Any]:
    """A statement of the format packed that the token's attestation key signs (WebAuthn 8.2)."""
    statement = {
        "alg": cose.ES256.alg,
        "sig": core.attester.sign(data + plan.request.client_data_hash),
        "x5c": core.attester.chain(enterprise=plan.enterprise),
    }
    return {_FMT: _PACKED, _AUTH_DATA: data, _ATT_STMT: statement}


def _large_blob_key(made: Credential) -> dict[int, Any]:
    key = made.account and made.account.large_blob_key
    return {_LARGE_BLOB_KEY: key} if key else {}
