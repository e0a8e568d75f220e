"""Keys that others are made of: their values, and what they do where they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from apdu.model import SW, StatusWordError
from pkcs11_module import _constants as ck
from pkcs11_module.cards.entries import SecretKeyEntry
from pkcs11_module.facade.attributes import TRUE
from pkcs11_module.facade.engines import cipher_engine
from pkcs11_module.facade.operations import on_card
from pkcs11_module.facade.session_objects import SessionObject
from pkcs11_module.mechanisms.ciphers import CipherPlan
from pkcs11_module.mechanisms.parameters import algorithm, card_hash
from pkcs11_module.types import Pkcs11Error
from token_fw.crypto import (
    Cbc,
    DataLength,
    Ecb,
    GostPrivateKey,
    Hash,
    InvalidKey,
    KeySpec,
    PrivateKey,
    SecretKey,
)

if TYPE_CHECKING:
    from pkcs11_module.facade.sessions import Session
    from pkcs11_module.facade.slot import AnyObject

_AGREE: Final = algorithm(0x31)


def invalid(reason: str) -> Pkcs11Error:
    """The error of a parameter that has the right form and makes no sense."""
    return Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, reason)


def _no_secret() -> Pkcs11Error:
    return invalid("the public data gives no secret")


def value_of(session: Session, target: AnyObject, refusal: int) -> bytes:
    """The value of a secret key, read from the card where the key is one of the token.

    Raises Pkcs11Error (`refusal`) for a key that never leaves the card.
    """
    if isinstance(target, SessionObject):
        assert isinstance(target.key, SecretKey)
        return target.key.value
    if stays(target):
        raise Pkcs11Error(refusal, "the key never leaves the card")
    entry = target.entry
    assert isinstance(entry, SecretKeyEntry)
    reference = entry.reference
    assert reference is not None
    return on_card(session, target, lambda card, _key: card.secret_value(reference))


def stays(target: AnyObject) -> bool:
    """Whether a key is on the card and never leaves it."""
    return target.token and target.attributes.get(ck.CKA_EXTRACTABLE) != TRUE


@dataclass(frozen=True, slots=True)
class Base:
    """A key that something is derived from, in the session or on the card."""

    session: Session
    target: AnyObject

    @property
    def spec(self) -> KeySpec:
        """The kind of key."""
        spec = self.target.spec
        assert spec is not None
        return spec

    def value(self) -> bytes:
        """The value of a secret key; raises Pkcs11Error where it never leaves the card."""
        return value_of(self.session, self.target, ck.CKR_KEY_FUNCTION_NOT_PERMITTED)

    def expand(self, hash_: Hash, info: bytes, length: int) -> bytes:
        """HKDF-Expand with a key that stays on the card, which makes the HMACs (RFC 5869 2.3)."""
        environment = algorithm(0x51, (0xC1, card_hash(hash_)), (0xC9, bytes((hash_.size,))))

        def mac(data: bytes) -> bytes:
            return on_card(
                self.session,
                self.target,
                lambda card, key: card.checksum(environment + key, data),
            )

        done = block = b""
        for count in range(1, -(-length // hash_.size) + 1):
            block = mac(block + info + bytes((count,)))
            done += block
        return done[:length]

    def agree(self, point: bytes) -> bytes:
        """The secret shared with a peer's point; raises Pkcs11Error where there is none."""

        def in_session(key: PrivateKey) -> bytes:
            return key.agree(point)

        secret = self._agree(in_session, _AGREE, point)
        if not any(secret):
            # RFC 7748 6.1: a card may leave this check to whoever uses the secret.
            raise _no_secret()
        return secret

    def vko(self, point: bytes, ukm: bytes, size: int) -> bytes:
        """A key of `size` bytes agreed on with a peer's point (RFC 7836 4.3); raises as `agree`."""

        def in_session(key: PrivateKey) -> bytes:
            assert isinstance(key, GostPrivateKey)
            return key.vko(point, ukm, size)

        environment = algorithm(0x33, (0xC9, bytes((size,))), (0xCA, ukm))
        return self._agree(in_session, environment, point)

    def _agree(
        self, in_session: Callable[[PrivateKey], bytes], environment: bytes, point: bytes
    ) -> bytes:
        target = self.target
        try:
            if isinstance(target, SessionObject):
                assert isinstance(target.key, PrivateKey)
                return in_session(target.key)
            return on_card(
                self.session, target, lambda card, key: card.agree(environment + key, point)
            )
        except (InvalidKey, DataLength):
            raise _no_secret() from None
        except StatusWordError as error:
            if error.sw not in (SW.INCORRECT_DATA, SW.WRONG_LENGTH):
                raise
            raise _no_secret() from error

    def encrypt(self, scheme: Ecb | Cbc, data: bytes) -> bytes:
        """Encrypt whole blocks; raises Pkcs11Error."""
        try:
            engine = cipher_engine(self.session, self.target, CipherPlan(scheme), encrypting=True)
            return engine.whole(data)
        except Pkcs11Error as error:
            if error.rv != ck.CKR_DATA_LEN_RANGE:
                raise
            raise invalid("the data are not whole blocks") from error
