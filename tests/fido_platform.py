"""A platform's side of the PIN/UV auth protocols, with python-fido2's own, and its clients."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fido2.ctap import CtapDevice, CtapError
from fido2.ctap2.base import Ctap2
from fido2.ctap2.pin import ClientPin, PinProtocolV1, PinProtocolV2
from fido2.hid import CAPABILITY

from apdu.ctap import ClientPinSubCommand, CtapCommand, Permission, Status
from tests.fido_cards import Desk, Refused

PIN, NEW_PIN, WRONG_PIN = "481516", "234200", "999999"
EXAMPLE = "example.org"

_PROTOCOLS: dict[int, Any] = {1: PinProtocolV1, 2: PinProtocolV2}


def padded(pin: str | bytes) -> bytes:
    """A PIN as newPinEnc holds it: 64 bytes, or as many more as make whole blocks."""
    value = pin.encode() if isinstance(pin, str) else pin
    return value.ljust(64, b"\0") + bytes(-max(len(value), 64) % 16)


def pin_hash(pin: str) -> bytes:
    return hashlib.sha256(pin.encode()).digest()[:16]


class DeskDevice(CtapDevice):
    """The token on a desk as python-fido2 knows devices, without a transport in between."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    @property
    def capabilities(self) -> int:
        return int(CAPABILITY.CBOR)

    def call(
        self, cmd: int, data: bytes = b"", event: Any = None, on_keepalive: Any = None
    ) -> bytes:
        return self.desk.card.ctap(self.desk.channel, data)

    @classmethod
    def list_devices(cls) -> Iterator[CtapDevice]:
        return iter(())


@dataclass
class Agreed:
    """A key agreement with the authenticator, for one request."""

    platform: Platform
    key: dict[int, Any]
    secret: bytes

    def encrypt(self, plaintext: bytes) -> bytes:
        return bytes(self.platform.protocol.encrypt(self.secret, plaintext))

    def sign(self, message: bytes) -> bytes:
        return bytes(self.platform.protocol.authenticate(self.secret, message))


@dataclass
class Platform:
    """Somebody with a keyboard who speaks one protocol to the token on a desk."""

    desk: Desk
    version: int = 2

    def __post_init__(self) -> None:
        self.protocol = _PROTOCOLS[self.version]()

    def ask(self, subcommand: int, **fields: Any) -> dict[int, Any]:
        """The answer of clientPIN, whose fields go by the standard's names."""
        request: dict[int, Any] = {1: self.version, 2: int(subcommand)}
        request |= {_FIELDS[name]: value for name, value in fields.items()}
        present = {key: value for key, value in request.items() if value is not None}
        return self.desk.ask(CtapCommand.CLIENT_PIN, present)

    def agree(self) -> Agreed:
        answer = self.ask(ClientPinSubCommand.GET_KEY_AGREEMENT)
        key, secret = self.protocol.encapsulate(answer[1])
        return Agreed(self, key, secret)

    def set_pin(self, pin: str | bytes = PIN) -> None:
        agreed = self.agree()
        new = agreed.encrypt(padded(pin))
        self.ask(
            ClientPinSubCommand.SET_PIN,
            keyAgreement=agreed.key,
            newPinEnc=new,
            pinUvAuthParam=agreed.sign(new),
        )

    def change_pin(self, old: str, new: str | bytes) -> None:
        agreed = self.agree()
        encrypted, current = agreed.encrypt(padded(new)), agreed.encrypt(pin_hash(old))
        self.ask(
            ClientPinSubCommand.CHANGE_PIN,
            keyAgreement=agreed.key,
            newPinEnc=encrypted,
            pinHashEnc=current,
            pinUvAuthParam=agreed.sign(encrypted + current),
        )

    def pin_token(self, pin: str = PIN) -> bytes:
        """A token of getPinToken, the way of CTAP 2.0."""
        agreed = self.agree()
        return self._token(
            agreed,
            self.ask(
                ClientPinSubCommand.GET_PIN_TOKEN,
                keyAgreement=agreed.key,
                pinHashEnc=agreed.encrypt(pin_hash(pin)),
            ),
        )

    def token(
        self, permissions: int = Permission.CM, rp_id: str | None = None, pin: str = PIN
    ) -> bytes:
        """A token by the PIN."""
        agreed = self.agree()
        return self._token(
            agreed,
            self.ask(
                ClientPinSubCommand.GET_PIN_UV_AUTH_TOKEN_USING_PIN_WITH_PERMISSIONS,
                keyAgreement=agreed.key,
                pinHashEnc=agreed.encrypt(pin_hash(pin)),
                permissions=int(permissions),
                rpId=rp_id,
            ),
        )

    def uv_token(self, permissions: int = Permission.CM, rp_id: str | None = None) -> bytes:
        """A token by a finger."""
        agreed = self.agree()
        return self._token(
            agreed,
            self.ask(
                ClientPinSubCommand.GET_PIN_UV_AUTH_TOKEN_USING_UV_WITH_PERMISSIONS,
                keyAgreement=agreed.key,
                permissions=int(permissions),
                rpId=rp_id,
            ),
        )

    def sign(self, token: bytes, message: bytes) -> bytes:
        """A pinUvAuthParam."""
        return bytes(self.protocol.authenticate(token, message))

    def client(self) -> Ctap2:
        """python-fido2's client of the token."""
        return Ctap2(DeskDevice(self.desk))

    def client_pin(self) -> ClientPin:
        """python-fido2's client of clientPIN."""
        return ClientPin(self.client(), self.protocol)

    def tries(self) -> int:
        return int(self.ask(ClientPinSubCommand.GET_PIN_RETRIES)[3])

    def uv_tries(self) -> int:
        return int(self.ask(ClientPinSubCommand.GET_UV_RETRIES)[5])

    def waits_for_power(self) -> bool:
        return bool(self.ask(ClientPinSubCommand.GET_PIN_RETRIES)[4])

    def _token(self, agreed: Agreed, answer: dict[int, Any]) -> bytes:
        token = self.protocol.decrypt(agreed.secret, answer[2])
        return bytes(self.protocol.validate_token(token))


def at_desk(desk: Desk | None = None, version: int = 2) -> Platform:
    """A platform whose token has a PIN."""
    platform = Platform(desk or Desk(), version)
    platform.set_pin()
    return platform


def status(work: Any, *arguments: Any, **fields: Any) -> Status:
    """How the authenticator answers what a client does."""
    try:
        work(*arguments, **fields)
    except Refused as refused:
        return refused.status
    except CtapError as error:
        return Status(error.code)
    return Status.CTAP2_OK


_FIELDS = {
    "pinUvAuthProtocol": 1,
    "keyAgreement": 3,
    "pinUvAuthParam": 4,
    "newPinEnc": 5,
    "pinHashEnc": 6,
    "permissions": 9,
    "rpId": 10,
}
