"""Whoever signs: a key that stays on its token, or one in a file."""

from typing import Final, Protocol

from host_tools import objects
from host_tools.control import ControlError, ErrorCode
from host_tools.cryptoki import Session
from host_tools.key_files import load_private_key
from host_tools.objects import KeyOnToken
from host_tools.pki import algorithms
from pkcs11_module import _constants as ck
from token_fw.crypto import KeyKind, KeySpec, PrivateKey, PublicKey


class Signer(Protocol):
    """A private key of any kind, wherever it is."""

    @property
    def spec(self) -> KeySpec:
        """The kind of its key; ``algorithms.signing`` tells what it signs with."""

    def public_key(self) -> PublicKey: ...

    def sign(self, message: bytes) -> bytes:
        """A signature of a message of any length, in the form of X.509."""


_MECHANISMS: Final = {
    KeyKind.RSA: ck.CKM_RSA_PKCS,
    KeyKind.EC: ck.CKM_ECDSA,
    KeyKind.ED25519: ck.CKM_EDDSA,
    KeyKind.ED448: ck.CKM_EDDSA,
    KeyKind.GOST_256: ck.CKM_GOSTR3410,
    KeyKind.GOST_512: ck.CKM_GOSTR3410_512,
}


class TokenSigner:
    """A key of a token, in a session that is logged in; messages are hashed on this side.

    The user PIN is for a key that wants it at every use.
    """

    def __init__(self, session: Session, key: KeyOnToken, pin: str = "") -> None:
        self._session: Final = session
        self._pin: Final = pin.encode() if key.always_authenticate else None
        self.key: Final = key

    @classmethod
    def find(cls, session: Session, name: str, pin: str = "") -> "TokenSigner":
        """The key of that label or id. Raises ControlError where there is none that may sign."""
        key = objects.find_key(session, name)
        if not key.private:
            raise ControlError(
                ErrorCode.NOT_FOUND, f"The private half of {name} is not on the token."
            )
        if "sign" not in key.usage:
            usage = ", ".join(key.usage) or "none"
            raise ControlError(
                ErrorCode.GENERAL,
                f"The key {name} may not sign; its usage is: {usage}.",
                "Take a key that may: klyuch key list",
            )
        return cls(session, key, pin)

    @property
    def spec(self) -> KeySpec:
        return self.key.spec

    def public_key(self) -> PublicKey:
        return objects.public_key(self._session, self.key.public or self.key.private)

    def sign(self, message: bytes) -> bytes:
        algorithm = algorithms.signing(self.spec)
        mechanism = _MECHANISMS[self.spec.kind]
        data = algorithm.to_be_signed(message)
        return algorithm.encode(self._session.sign(mechanism, self.key.private, data, self._pin))

    def store_certificate(self, value: bytes) -> None:
        """Put a certificate (DER) of the key on the token, under the key's label and id."""
        objects.store_certificate(self._session, self.key.label, self.key.id, value, owned=True)


class FileSigner:
    """A private key that was read from a file."""

    def __init__(self, key: PrivateKey) -> None:
        self._key: Final = key

    @classmethod
    def load(cls, content: bytes, passphrase: bytes | None = None) -> "FileSigner":
        """A private key in PEM or DER, encrypted or not.

        Raises UnreadableFile, and EncryptedFile where a passphrase is missing.
        """
        return cls(load_private_key(content, passphrase))

    @property
    def spec(self) -> KeySpec:
        return self._key.spec

    def public_key(self) -> PublicKey:
        return self._key.public()

    def sign(self, message: bytes) -> bytes:
        algorithm = algorithms.signing(self.spec)
        return algorithm.encode(self._key.sign(algorithm.scheme, algorithm.to_be_signed(message)))
