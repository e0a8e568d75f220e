"""Private keys as they are wrapped: PrivateKeyInfo (PKCS #8, RFC 5958)."""

from __future__ import annotations

from apdu import tlv
from apdu.tlv import TlvError
from pkcs11_module import _constants as ck
from pkcs11_module.types import Pkcs11Error
from token_fw.crypto import CryptoError, PrivateKey, load_private


def encode(key: PrivateKey) -> bytes:
    """The DER of a PrivateKeyInfo; the ECPrivateKey in it has no parameters."""
    return key.to_pkcs8()


def decode(data: bytes) -> PrivateKey:
    """The key in a PrivateKeyInfo and whatever zeros fill it up to a block.

    Raises Pkcs11Error (CKR_WRAPPED_KEY_INVALID) for anything else.
    """
    try:
        _, used = tlv.parse_one(data)
        if any(data[used:]):
            raise Pkcs11Error(ck.CKR_WRAPPED_KEY_INVALID, "something follows the key")
        return load_private(data[:used])
    except (CryptoError, TlvError):
        raise Pkcs11Error(ck.CKR_WRAPPED_KEY_INVALID, "not a private key") from None
