"""authenticatorGetInfo (CTAP 2.1 6.4): what this authenticator is and how it is set up."""

from __future__ import annotations

from typing import Any

from apdu.ctap import GetInfo
from token_fw.apps.fido2 import config, cose, encrypted_info, extensions, large_blobs, new_pin
from token_fw.apps.fido2.auth_data import AAGUID
from token_fw.apps.fido2.channel import Transport
from token_fw.apps.fido2.core import Call, Core
from token_fw.apps.fido2.credentials import MAX_ID_LENGTH
from token_fw.apps.fido2.make_credential import MAX_CREDENTIALS_IN_LIST, PUBLIC_KEY, formats
from token_fw.apps.fido2.requests import MAX_MSG_SIZE
from token_fw.apps.yubikey import VERSION

U2F = "U2F_V2"

_VERSIONS = ("FIDO_2_0", "FIDO_2_1_PRE", "FIDO_2_1")
_FINGERPRINT_INTERNAL = 0x02
"""USER_VERIFY_FINGERPRINT_INTERNAL of FIDO's registry."""
_UV_ATTEMPTS = 3


def get_info(call: Call, _: GetInfo) -> dict[int, Any]:
    """The map of 6.4; members that say nothing here are left out."""
    core = call.core
    settings = core.settings
    return {
        0x01: [*(() if settings.always_uv else (U2F,)), *_VERSIONS],
        0x02: list(extensions.NAMES),
        0x03: AAGUID,
        0x04: _options(core),
        0x05: MAX_MSG_SIZE,
        0x06: list(core.pin_uv.protocols),
        0x07: MAX_CREDENTIALS_IN_LIST,
        0x08: MAX_ID_LENGTH,
        0x09: [Transport.SMART_CARD.value, Transport.USB.value],
        0x0A: [{"alg": alg, "type": PUBLIC_KEY} for alg in cose.ALGORITHMS],
        0x0B: large_blobs.MAX_ARRAY,
        0x0C: settings.force_pin_change,
        0x0D: settings.min_pin_length,
        0x0E: int.from_bytes(bytes(VERSION), "big"),
        0x0F: extensions.MAX_CRED_BLOB_LENGTH,
        0x10: config.MAX_RP_IDS,
        **(
            {0x11: _UV_ATTEMPTS, 0x12: _FINGERPRINT_INTERNAL}
            if core.matcher.sensor is not None
            else {}
        ),
        0x14: core.credentials.remaining,
        0x16: list(formats(core)),
        0x1B: settings.pin_complexity_policy,
        0x1D: new_pin.MAX_BYTES,
        0x1F: list(config.SUBCOMMANDS),
        **_encrypted(core),
    }


def _encrypted(core: Core) -> dict[int, bytes]:
    """The members for who has the persistent token, if anybody has."""
    token = core.pin_uv.persistent.value
    if token is None:
        return {}
    return {
        0x19: encrypted_info.enc_identifier(core, token),
        0x1E: encrypted_info.enc_cred_store_state(core, token),
    }


def _options(core: Core) -> dict[str, bool]:
    """What is there at all, and of that what is set up."""
    settings = core.settings
    options = {
        "alwaysUv": settings.always_uv,
        "authnrCfg": True,
        "clientPin": core.pin_set,
        "credMgmt": True,
        "credentialMgmtPreview": True,
        "ep": settings.enterprise_attestation,
        "largeBlobs": True,
        "makeCredUvNotRqd": not settings.always_uv,
        "perCredMgmtRO": True,
        "pinUvAuthToken": True,
        "plat": False,
        "rk": True,
        "setMinPINLength": True,
        "up": True,
    }
    if core.matcher.sensor is not None:
        uv = ("bioEnroll", "userVerificationMgmtPreview", "uv")
        options |= dict.fromkeys(uv, core.uv_enabled)
    return options
