"""PIN/UV auth protocols one and two, the authenticator's side (CTAP 2.1 6.5.4, 6.5.6, 6.5.7)."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from apdu.ctap import Status
from token_fw.apps.fido2.errors import CtapError
from token_fw.crypto import (
    CURVES,
    Cbc,
    DataLength,
    EcPrivateKey,
    Hash,
    InvalidKey,
    KeyKind,
    KeySpec,
    digest,
    ec_private,
    kdf,
    secret_key,
)

_AES_256 = KeySpec.secret(KeyKind.AES, 256)
_BLOCK, _KEY, _COORDINATE = 16, 32, 32
_P256 = CURVES["P-256"]
_KTY_EC2, _ALG_ECDH, _CRV_P256 = 2, -25, 1
_KTY, _ALG, _CRV, _X, _Y = 1, 3, -1, -2, -3


@dataclass(frozen=True, slots=True)
class PinUvAuthProtocol:
    """What one protocol does its own way: bytes of a signature, whether each message has an IV.

    `derive` makes the HMAC key and the AES key, 32 bytes each, from what ECDH gave.
    """

    number: int
    signature_size: int
    fresh_iv: bool
    derive: Callable[[bytes], tuple[bytes, bytes]]

    def sign(self, key: bytes, message: bytes) -> bytes:
        """The signature of a message under a shared HMAC key or a token."""
        return hmac.digest(key, message, "sha256")[: self.signature_size]

    def verify(self, key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether that is the message's signature; takes as long either way."""
        return hmac.compare_digest(self.sign(key, message), signature)


def _derive_one(z: bytes) -> tuple[bytes, bytes]:
    key = digest.compute(Hash.SHA256, z)
    return key, key


def _derive_two(z: bytes) -> tuple[bytes, bytes]:
    prk = kdf.hkdf_extract(Hash.SHA256, None, z)
    hmac_key, aes_key = (
        kdf.hkdf_expand(Hash.SHA256, prk, info, _KEY)
        for info in (b"CTAP2 HMAC key", b"CTAP2 AES key")
    )
    return hmac_key, aes_key


PROTOCOLS: Mapping[int, PinUvAuthProtocol] = {
    protocol.number: protocol
    for protocol in (
        PinUvAuthProtocol(2, 32, fresh_iv=True, derive=_derive_two),
        PinUvAuthProtocol(1, 16, fresh_iv=False, derive=_derive_one),
    )
}
"""By number, the preferred one first."""


@dataclass(frozen=True, slots=True, repr=False)
class SharedSecret:
    """What the platform and the authenticator have agreed on, for one request."""

    protocol: PinUvAuthProtocol
    hmac_key: bytes
    aes_key: bytes
    rng: Callable[[int], bytes]

    def encrypt(self, plaintext: bytes) -> bytes:
        """AES-256-CBC of whole blocks; under protocol two a fresh IV of 16 bytes comes first."""
        iv = self.rng(_BLOCK) if self.protocol.fresh_iv else bytes(_BLOCK)
        ciphertext = secret_key(_AES_256, self.aes_key).encrypt(Cbc(iv), plaintext)
        return iv + ciphertext if self.protocol.fresh_iv else ciphertext

    def decrypt(self, ciphertext: bytes) -> bytes:
        """The plaintext; raises CtapError(CTAP1_ERR_INVALID_PARAMETER) for a wrong length."""
        iv = bytes(_BLOCK)
        if self.protocol.fresh_iv:
            iv, ciphertext = ciphertext[:_BLOCK], ciphertext[_BLOCK:]
        try:
            return secret_key(_AES_256, self.aes_key).decrypt(Cbc(iv), ciphertext)
        except DataLength:
            raise _invalid("a ciphertext has whole blocks") from None

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether whoever knows the secret signed the message."""
        return self.protocol.verify(self.hmac_key, message, signature)


class KeyAgreement:
    """The key agreement key of one protocol; volatile."""

    def __init__(self, protocol: PinUvAuthProtocol, rng: Callable[[int], bytes]) -> None:
        self.protocol = protocol
        self._rng = rng
        self._private = self._generate()

    def regenerate(self) -> None:
        """Have another key."""
        self._private = self._generate()

    def public(self) -> dict[int, object]:
        """The COSE_Key that getKeyAgreement answers."""
        point = self._private.public().point
        return {
            _KTY: _KTY_EC2,
            _ALG: _ALG_ECDH,
            _CRV: _CRV_P256,
            _X: point[1 : 1 + _COORDINATE],
            _Y: point[1 + _COORDINATE :],
        }

    def decapsulate(self, peer: Mapping[int, object]) -> SharedSecret:
        """What is shared with the owner of a COSE_Key.

        Raises CtapError(CTAP1_ERR_INVALID_PARAMETER) where that is no point on P-256.
        """
        x, y = peer.get(_X), peer.get(_Y)
        if (
            (peer.get(_KTY), peer.get(_ALG), peer.get(_CRV)) != (_KTY_EC2, _ALG_ECDH, _CRV_P256)
            or not (isinstance(x, bytes) and isinstance(y, bytes))
            or not len(x) == len(y) == _COORDINATE
        ):
            raise _invalid("no key agreement key on P-256")
        try:
            z = self._private.agree(b"\x04" + x + y)
        except InvalidKey:
            raise _invalid("the key agreement key is not on the curve") from None
        return SharedSecret(self.protocol, *self.protocol.derive(z), self._rng)

    def _generate(self) -> EcPrivateKey:
        # 64 bits more than the order has: no value is likelier than another (FIPS 186-5 A.2.1).
        number = int.from_bytes(self._rng(_KEY + 8), "big") % (_P256.order - 1) + 1
        return ec_private(_P256.name, number.to_bytes(_KEY, "big"))


def _invalid(message: str) -> CtapError:
    return CtapError(Status.CTAP1_ERR_INVALID_PARAMETER, message)
