"""Extensions (CTAP 2.1 12): what each adds to a credential, and to the answers about it."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from apdu.ctap import GetAssertionExtensions, HmacSecretInput, MakeCredentialExtensions, Status
from token_fw.apps.fido2.core import Core
from token_fw.apps.fido2.credentials import Credential, Protection
from token_fw.apps.fido2.errors import CtapError
from token_fw.apps.fido2.pin_protocols import SharedSecret
from token_fw.apps.fido2.pin_uv import invalid

MAX_CRED_BLOB_LENGTH = 64
"""Bytes that a credBlob may have."""
LARGE_BLOB_KEY_SIZE = 32

NAMES = (
    "credBlob",
    "credProtect",
    "hmac-secret",
    "hmac-secret-mc",
    "largeBlobKey",
    "minPinLength",
    "pinComplexityPolicy",
    "thirdPartyPayment",
)

_SALT = 32
_FIRST_PROTOCOL = 1


@dataclass(frozen=True, slots=True, repr=False)
class Salts:
    """The salts of hmac-secret, one or two of 32 bytes, and the secret shared for them."""

    shared: SharedSecret
    salts: tuple[bytes, ...]

    @classmethod
    def of(cls, core: Core, asked: HmacSecretInput) -> Salts:
        """Decrypt and check (12.5); raises CtapError."""
        protocol = (
            _FIRST_PROTOCOL if asked.pin_uv_auth_protocol is None else (asked.pin_uv_auth_protocol)
        )
        shared = core.pin_uv.agreement(protocol).decapsulate(asked.key_agreement)
        if not shared.verify(asked.salt_enc, asked.salt_auth):
            raise invalid("the salts are not authentic")
        salts = shared.decrypt(asked.salt_enc)
        if len(salts) not in {_SALT, 2 * _SALT}:
            raise CtapError(Status.CTAP1_ERR_INVALID_LENGTH, "one or two salts have 32 bytes each")
        return cls(shared, tuple(filter(None, (salts[:_SALT], salts[_SALT:]))))

    def output(self, core: Core, credential: Credential, *, uv: bool) -> bytes:
        """The HMACs of the salts, encrypted for the platform."""
        secret = core.credentials.cred_random(credential, uv=uv)
        outputs = (hmac.digest(secret, salt, "sha256") for salt in self.salts)
        return self.shared.encrypt(b"".join(outputs))


@dataclass(frozen=True, slots=True, repr=False)
class Making:
    """What the extensions ask of a new credential.

    `min_pin_length` is 0 and `pin_complexity_policy` None where that is not to be told.
    """

    protection: Protection = Protection.OPTIONAL
    tells_protection: bool = False
    hmac_secret: bool = False
    salts: Salts | None = None
    cred_blob: bytes | None = None
    large_blob_key: bool = False
    min_pin_length: int = 0
    pin_complexity_policy: bool | None = None
    third_party_payment: bool = False

    @classmethod
    def of(
        cls, core: Core, asked: MakeCredentialExtensions | None, rp_id: str, *, rk: bool
    ) -> Making:
        """Check what a request asks; raises CtapError."""
        if asked is None:
            return cls()
        if asked.large_blob_key is not None and not (asked.large_blob_key and rk):
            raise CtapError(
                Status.CTAP2_ERR_INVALID_OPTION, "a large blob needs a discoverable credential"
            )
        if asked.hmac_secret_mc is not None and not asked.hmac_secret:
            raise CtapError(Status.CTAP2_ERR_MISSING_PARAMETER, "hmac-secret is missing")
        settings = core.settings
        trusted = rp_id in settings.min_pin_length_rp_ids
        tells_length = trusted and asked.min_pin_length
        tells_policy = trusted and asked.pin_complexity_policy
        return cls(
            protection=_protection(asked.cred_protect),
            tells_protection=asked.cred_protect is not None,
            hmac_secret=bool(asked.hmac_secret),
            salts=None if asked.hmac_secret_mc is None else Salts.of(core, asked.hmac_secret_mc),
            cred_blob=asked.cred_blob,
            large_blob_key=bool(asked.large_blob_key),
            min_pin_length=settings.min_pin_length if tells_length else 0,
            pin_complexity_policy=settings.pin_complexity_policy if tells_policy else None,
            third_party_payment=bool(asked.third_party_payment),
        )

    def blob_to_keep(self, *, rk: bool) -> bytes | None:
        """The credBlob of a discoverable credential, if it is not too long."""
        blob = self.cred_blob
        return blob if rk and blob is not None and len(blob) <= MAX_CRED_BLOB_LENGTH else None

    def outputs(self, core: Core, made: Credential, *, uv: bool) -> dict[str, Any]:
        """The outputs in the authenticator data of the new credential."""
        outputs: dict[str, Any] = {}
        if self.cred_blob is not None:
            outputs["credBlob"] = made.account is not None and made.account.cred_blob is not None
        if self.tells_protection:
            outputs["credProtect"] = int(self.protection)
        if self.hmac_secret:
            outputs["hmac-secret"] = True
        if self.salts is not None:
            outputs["hmac-secret-mc"] = self.salts.output(core, made, uv=uv)
        if self.min_pin_length:
            outputs["minPinLength"] = self.min_pin_length
        if self.pin_complexity_policy is not None:
            outputs["pinComplexityPolicy"] = self.pin_complexity_policy
        return outputs


@dataclass(frozen=True, slots=True, repr=False)
class Getting:
    """What the extensions ask with an assertion."""

    cred_blob: bool = False
    salts: Salts | None = None
    large_blob_key: bool = False
    third_party_payment: bool = False

    @classmethod
    def of(cls, core: Core, asked: GetAssertionExtensions | None, *, up: bool) -> Getting:
        """Check what a request asks; raises CtapError."""
        if asked is None:
            return cls()
        if asked.large_blob_key is False:
            raise CtapError(Status.CTAP2_ERR_INVALID_OPTION, "largeBlobKey is true or not there")
        salts = None
        if asked.hmac_secret is not None:
            if not up:
                raise CtapError(Status.CTAP2_ERR_UNSUPPORTED_OPTION, "hmac-secret needs the user")
            salts = Salts.of(core, asked.hmac_secret)
        return cls(
            cred_blob=bool(asked.cred_blob),
            salts=salts,
            large_blob_key=bool(asked.large_blob_key),
            third_party_payment=bool(asked.third_party_payment),
        )

    def outputs(self, core: Core, credential: Credential, *, uv: bool) -> dict[str, Any]:
        """The outputs in the authenticator data of an assertion."""
        outputs: dict[str, Any] = {}
        if self.cred_blob:
            account = credential.account
            outputs["credBlob"] = (account and account.cred_blob) or b""
        if self.salts is not None and credential.hmac_secret:
            outputs["hmac-secret"] = self.salts.output(core, credential, uv=uv)
        if self.third_party_payment and credential.third_party_payment:
            outputs["thirdPartyPayment"] = True
        return outputs


def _protection(value: int | None) -> Protection:
    if value is None:
        return Protection.OPTIONAL
    try:
        return Protection(value)
    except ValueError:
        raise CtapError(Status.CTAP2_ERR_INVALID_OPTION, "credProtect has no such policy") from None
