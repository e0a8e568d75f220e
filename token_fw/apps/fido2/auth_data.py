"""Authenticator data (WebAuthn 6.1)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag
from typing import Any

from token_fw.apps.fido2 import cbor
from token_fw.apps.fido2.credentials import Credential
from token_fw.apps.fido2.verification import Proof

AAGUID = bytes.fromhex("9d4e1c7a5b2f4a63b0c86f21d7e3958a")
"""What all tokens of this model have in common."""


class Flag(IntFlag):
    """Flags of the authenticator data."""

    UP = 0x01
    UV = 0x04
    AT = 0x40
    ED = 0x80


def encode(
    credential: Credential,
    proof: Proof,
    count: int,
    extensions: Mapping[str, Any],
    attested: bytes = b"",
) -> bytes:
    """RP ID hash of 32 bytes, flags, counter of 4, attested credential data, extensions."""
    flags = (
        Flag.UP * proof.up
        | Flag.UV * proof.uv
        | Flag.AT * bool(attested)
        | Flag.ED * bool(extensions)
    )
    head = credential.rp_id_hash + bytes((flags,)) + count.to_bytes(4, "big")
    return head + attested + (cbor.encode(extensions) if extensions else b"")


def attested_data(credential: Credential) -> bytes:
    """AAGUID of 16 bytes, length of 2 and identifier, COSE_Key (WebAuthn 6.5.1)."""
    length = len(credential.id).to_bytes(2, "big")
    return AAGUID + length + credential.id + cbor.encode(credential.public())
