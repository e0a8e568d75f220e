"""What a peer of a PKI card computes, by other libraries: with public keys, and shared secrets."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import cmac, hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, mlkem, padding, rsa, x448, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from host_tools.conformance import pki_commands as pki
from host_tools.conformance.checks import DifferenceError
from host_tools.conformance.made_keys import PrivateKey
from token_fw import crypto

MlDsaKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
MlKemKey = mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey

# Public keys by their length in bytes.
ML_DSA_KEYS: dict[int, Callable[[bytes], MlDsaKey]] = {
    1312: mldsa.MLDSA44PublicKey.from_public_bytes,
    1952: mldsa.MLDSA65PublicKey.from_public_bytes,
    2592: mldsa.MLDSA87PublicKey.from_public_bytes,
}
ML_KEM_KEYS: dict[int, Callable[[bytes], MlKemKey]] = {
    1184: mlkem.MLKEM768PublicKey.from_public_bytes,
    1568: mlkem.MLKEM1024PublicKey.from_public_bytes,
}
IV = bytes(range(16))


@dataclass(frozen=True, slots=True)
class PublicHalf:
    """The public part of a key on the card: its data objects by tag.

    `kind` is the kind of the key as the vectors name it: of a GOST key that is its parameter set.
    """

    kind: str
    objects: Mapping[int, bytes]

    @property
    def point(self) -> bytes:
        """The point, or the key as it is; empty for RSA."""
        return self.objects.get(0x86, b"")

    def check(self, algorithm: str, data: bytes, signature: bytes) -> None:
        """Raises DifferenceError where that is no signature of the data by the key."""
        try:
            if algorithm == "GOST":
                # No library that is kept well knows GOST: our own does, apart from the card's side.
                public = crypto.gost_public(self.kind, self.point)
                public.verify(crypto.Gost3410(), data, signature)
            elif algorithm == "ECDSA":
                pki.check_ecdsa(self.point, data, signature)
            elif algorithm == "EdDSA":
                pki.check_eddsa(self.point, data, signature)
            elif algorithm == "ML-DSA":
                ML_DSA_KEYS[len(self.point)](self.point).verify(signature, data)
            else:
                pki.check_rsa(self._rsa(), data, signature, pss=algorithm == "PSS")
        except (InvalidSignature, crypto.InvalidSignature):
            raise DifferenceError(f"a valid {algorithm} signature", "a wrong one") from None

    def encrypt(self, algorithm: str, data: bytes) -> bytes:
        """A cryptogram for the card, by RSA with PKCS #1 padding or OAEP."""
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        if algorithm == "OAEP":
            sha1 = hashes.SHA1()  # noqa: S303  that of OAEP's defaults
            scheme = padding.OAEP(padding.MGF1(sha1), sha1, None)
        return self._rsa().encrypt(data, scheme)

    @property
    def size(self) -> int:
        """The length of an RSA key in bytes."""
        return self._rsa().key_size // 8

    def _rsa(self) -> rsa.RSAPublicKey:
        modulus = int.from_bytes(self.objects[0x81], "big")
        return rsa.RSAPublicNumbers(65537, modulus).public_key()

    def encapsulate(self) -> tuple[bytes, bytes]:
        """A shared secret, and the cryptogram that tells the card, by ML-KEM."""
        return ML_KEM_KEYS[len(self.point)](self.point).encapsulate()

    def agree(self) -> tuple[bytes, bytes]:
        """A shared secret, and the peer's point that tells the card."""
        if len(self.point) == 32:
            peer = x25519.X25519PrivateKey.generate()
            shared = peer.exchange(x25519.X25519PublicKey.from_public_bytes(self.point))
            return shared, peer.public_key().public_bytes_raw()
        if len(self.point) == 56:
            longer = x448.X448PrivateKey.generate()
            shared = longer.exchange(x448.X448PublicKey.from_public_bytes(self.point))
            return shared, longer.public_key().public_bytes_raw()
        public = pki.ec_public(self.point)
        key = ec.generate_private_key(public.curve)
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return key.exchange(ec.ECDH(), public), point


def public_objects(key: PrivateKey) -> dict[int, bytes]:
    """The public part as the card tells it, but for the parameters of the curve."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return {0x81: public.public_numbers().n.to_bytes(public.key_size // 8, "big")}
    if isinstance(public, ec.EllipticCurvePublicKey):
        return {0x86: public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)}
    return {0x86: public.public_bytes_raw()}


def enciphered(algorithm: str, key: bytes, data: bytes) -> bytes:
    """The data by AES in GCM, the tag behind, or in CBC: whole blocks."""
    if algorithm == "GCM":
        return AESGCM(key).encrypt(IV, data, None)
    return Cipher(AES(key), modes.CBC(IV)).encryptor().update(data)


def authenticated(algorithm: str, key: bytes, data: bytes) -> bytes:
    """A MAC of the data: HMAC with SHA-256, or CMAC with AES."""
    if algorithm == "HMAC":
        return hmac.digest(key, data, "sha256")
    reference = cmac.CMAC(AES(key))
    reference.update(data)
    return reference.finalize()
