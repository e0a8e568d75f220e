"""What getInfo tells the holder of the persistent token alone (CTAP 2.2 6.4).

Such a platform knows the token again, and sees whether its credentials are still the same, while
nobody else can follow it from one getInfo to the next.
"""

from __future__ import annotations

from token_fw.apps.fido2.core import Core
from token_fw.crypto import Cbc, Hash, KeyKind, KeySpec, kdf, secret_key

_AES_128 = KeySpec.secret(KeyKind.AES, 128)
_BLOCK, _KEY = 16, 16


def enc_identifier(core: Core, token: bytes) -> bytes:
    """encIdentifier: a fresh IV, then 16 bytes that are the same until a reset, encrypted."""
    return _encrypt(core, token, b"encIdentifier", core.secrets.make(b"identifier")[:_BLOCK])


def enc_cred_store_state(core: Core, token: bytes) -> bytes:
    """encCredStoreState: 16 bytes that are others when a discoverable credential has changed."""
    state = core.secrets.make(b"credentials" + core.credentials.state())[:_BLOCK]
    return _encrypt(core, token, b"encCredStoreState", state)


def _encrypt(core: Core, token: bytes, purpose: bytes, block: bytes) -> bytes:
    prk = kdf.hkdf_extract(Hash.SHA256, None, token)
    key = secret_key(_AES_128, kdf.hkdf_expand(Hash.SHA256, prk, purpose, _KEY))
    iv = core.rng(_BLOCK)
    return iv + key.encrypt(Cbc(iv), block)
