"""Commands of the PKI application as methods: what this module asks of a card.

Every method raises StatusWordError with the card's status word, and TransportError where no
answer came. One object belongs to one transport; its user serialises the calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from apdu import tlv
from apdu.codec import MAX_EXTENDED_NE, MAX_SHORT_NE, Command
from apdu.model import SW, StatusWordError
from apdu.tlv import TlvError
from apdu.transport import CardClient, Shared, Telling, Transport, TransportError
from pkcs11_module.cards import pkcs15
from pkcs11_module.cards.card_info import CardInfo, parse_info
from pkcs11_module.cards.card_keys import (
    CardKey,
    KeyMaterial,
    curve_object,
    key_reference,
    kind_code,
    parse_key_list,
    parse_public_key,
    private_template,
    rules_object,
)
from pkcs11_module.cards.pkcs15 import NewFile
from token_fw.crypto import KeySpec, PublicKey, SecretKey

AID: Final = bytes.fromhex("F276A288BCFBA69D34F31001")
_READ_SIZE: Final = 32000
_CHALLENGE_SIZE: Final = 32768
_SIGNATURE_SIZE: Final = 8192
MAX_DATA: Final = 1 << 16
"""Bytes that the card signs or enciphers, or computes a checksum of, in one command."""


class TokenCard:
    """The PKI application on one transport, selected when the object is made."""

    AID: ClassVar = AID
    MANUFACTURER: ClassVar = pkcs15.MANUFACTURER
    MODEL: ClassVar = "Klyuch"
    EXTENDED: ClassVar = True
    """Whether every such card, whoever made it, takes extended length fields."""

    def __init__(self, transport: Transport, *, selected: bool = False) -> None:
        """Raises StatusWordError (6A82) where the card has no such application.

        `selected`: it is selected on that transport already. On a shared card it may be, and is
        then not selected again, which would end what others have verified.
        """
        shared = isinstance(transport, Shared)
        self._client = CardClient(transport, extended=self.EXTENDED or not shared)
        self._telling = transport if isinstance(transport, Telling) else None
        self._counter: tuple[int, bytes] | None = None
        self._environment: tuple[int, bytes] | None = None
        self._directory: bytes | None = None
        self._key_list: tuple[bytes, Mapping[int, CardKey]] = b"", {}
        self.changes = 0
        """Commands through this transport so far that have changed files or keys."""
        if not selected and not (shared and self._holds(pkcs15.USER_PIN) is not None):
            self._select()

    def _select(self) -> None:
        self._call(0xA4, 0x04, 0x00, self.AID, MAX_SHORT_NE)

    def resume(self, reference: int, *, lost: bool) -> bool:
        """Go on at a card that others may have used: nothing is taken to be as it was left.

        `lost`: the card was reset. Selects the application where it is not selected any more; tells
        whether that PIN is verified. Raises StatusWordError, TransportError.
        """
        self._environment = self._directory = None
        held = None if lost else self._holds(reference)
        if held is None:
            self._select()
            return self._is_verified(reference)
        return held

    def _holds(self, reference: int) -> bool | None:
        """Whether that PIN is verified; None where another application is selected, or none."""
        try:
            return self._is_verified(reference)
        except (StatusWordError, TransportError):
            # What another application answers may be anything; a card that is gone shows next.
            return None

    def _is_verified(self, reference: int) -> bool:
        pin = self.info().pins.get(reference)
        return pin is not None and pin.verified

    def _call(self, ins: int, p1: int, p2: int, data: bytes = b"", ne: int = 0) -> bytes:
        return self._client.call(Command(0x00, ins, p1, p2, data, ne))

    # What the card says about itself

    def change_counter(self) -> bytes:
        """Four bytes that differ after any change of files, keys or PINs.

        A transport that can tell that nothing changed saves the command.
        """
        if self._telling is None:
            return self._ask_change_counter()
        # Asked before the command: a change in between shows at the next call.
        changes = self._telling.changes()
        if self._counter is None or self._counter[0] != changes:
            self._counter = changes, self._ask_change_counter()
        return self._counter[1]

    def _ask_change_counter(self) -> bytes:
        return self._call(0xCA, 0x01, 0x02, ne=256)

    def info(self) -> CardInfo:
        """Serial number, life cycle and PIN states; nothing secret."""
        return parse_info(self._call(0xCA, 0x01, 0x04, ne=256))

    def keys(self) -> Mapping[int, CardKey]:
        """The private and secret keys on the card by reference."""
        data = self._call(0xCA, 0x01, 0x03, ne=MAX_EXTENDED_NE)
        if data != self._key_list[0]:
            self._key_list = data, parse_key_list(data)
        return self._key_list[1]

    # Files; paths begin with the MF, 3F00

    def read(self, path: bytes) -> bytes:
        """The whole content of a file; raises StatusWordError (6A82, 6982)."""
        p1, p2 = self._address(path)
        content = b""
        while True:
            offset = tlv.encode(0x54, len(content).to_bytes(3, "big"))
            try:
                answer = self._call(0xB1, p1, p2, offset, _READ_SIZE + 8)
            except StatusWordError as error:
                if error.sw == SW.WRONG_P1P2 and content:
                    return content
                raise
            part = _discretionary(answer)
            content += part
            if len(part) < _READ_SIZE:
                return content

    def write(self, path: bytes, old: bytes, new: bytes) -> None:
        """Replace a file's content in one command, sending only from the first difference on."""
        start = _common_prefix(old, new)
        data = tlv.encode(0x54, start.to_bytes(3, "big"))
        if new[start:]:
            data += tlv.encode(0x53, new[start:])
        data += tlv.encode(0xC0, len(new).to_bytes(3, "big"))
        p1, p2 = self._address(path)
        self._call(0xD7, p1, p2, data)
        self.changes += 1

    def create(self, path: bytes, conditions: bytes, content: bytes) -> None:
        """Make a transparent file and fill it; raises StatusWordError (6A89 where it exists)."""
        self._enter(path[:-2])
        self._call(0xE0, 0x00, 0x00, _fcp(NewFile(path, conditions, content)))
        self.changes += 1
        if content:
            self.write(path, b"", content)

    def delete(self, path: bytes) -> None:
        """Delete a file; raises StatusWordError (6A82 where there is none)."""
        self._enter(path[:-2])
        self._call(0xE4, 0x00, 0x00, path[-2:])
        self.changes += 1

    def _enter(self, directory: bytes) -> None:
        """Make that directory the current one."""
        if self._directory != directory:
            self._directory = None
            if directory == pkcs15.MF:
                self._call(0xA4, 0x00, 0x0C, directory)
            else:
                self._call(0xA4, 0x08, 0x0C, directory[2:])
            self._directory = directory

    def _address(self, path: bytes) -> tuple[int, int]:
        """P1 and P2 of an odd INS for the file, its directory having been made the current one."""
        self._enter(path[:-2])
        return path[-2], path[-1]

    # PINs; values without padding, 1 to 64 bytes

    def verify(self, reference: int, pin: bytes) -> None:
        """Check a PIN; raises StatusWordError (63Cx, 6983, 6984)."""
        self._client.call(self.verify_command(reference, pin))

    def verify_command(self, reference: int, pin: bytes) -> Command:
        """The command that checks a PIN."""
        return Command(0x00, 0x20, 0x00, reference, pin)

    def verify_on_token(self, reference: int) -> Command | None:
        """Wait until the user has entered a PIN on the token itself, or a finger has matched.

        Gives the command that proves the same once more, where the card lends one.
        Raises StatusWordError (6400 in vain, 6401 called off, 6985 where that cannot be; as
        `verify`), CardRemoved where the token was pulled.
        """
        self._client.call(Command(0x80, 0x20, 0x00, reference))
        return None

    def log_out(self, reference: int) -> None:
        """Forget that the PIN was verified on this transport."""
        self._call(0x20, 0xFF, reference)

    def change_pin(self, reference: int, old: bytes, new: bytes) -> None:
        """Raises StatusWordError (63Cx, 6983, 6984; 6A80 where the new value breaks the policy)."""
        self._call(0x25, 0x00, reference, tlv.encode(0x80, old) + tlv.encode(0x81, new))

    def set_user_pin(self, new: bytes) -> None:
        """Give the user PIN a value while the SO PIN is verified; raises StatusWordError (6A80)."""
        self._call(0x2C, 0x02, pkcs15.USER_PIN, new)

    def initialise(self, so_pin: bytes, files: list[NewFile]) -> None:
        """Erase the token and make its files, in one command; the SO PIN is verified afterwards."""
        data = tlv.encode(0x81, so_pin)
        for file in files:
            item = _fcp(file) + tlv.encode(0x81, file.path[2:])
            if file.content:
                item += tlv.encode(0x53, file.content)
            data += tlv.encode(0xE3, item)
        self._environment = self._directory = None
        self._client.call(Command(0x80, 0xFA, 0x00, 0x00, data))

    # Keys

    def generate(self, reference: int, spec: KeySpec, usage: int, policy: int) -> PublicKey:
        """Make a key pair under that reference, in the place of the key that has it."""
        self._choose_key(reference, spec)
        curve = curve_object(spec)
        answer = self._call(0x46, 0x00, 0x00, curve + rules_object(usage, policy), MAX_EXTENDED_NE)
        self.changes += 1
        return parse_public_key(spec, answer)

    def put_key(self, reference: int, key: KeyMaterial, usage: int, policy: int) -> None:
        """Import a private key, in the place of the key that has the reference."""
        self._import(reference, key.spec, private_template(key) + rules_object(usage, policy))

    def public_key(self, reference: int, spec: KeySpec) -> PublicKey:
        """The public part of a key."""
        self._choose_key(reference, spec)
        return parse_public_key(spec, self._call(0x46, 0x01, 0x00, ne=MAX_EXTENDED_NE))

    def generate_secret(self, reference: int, spec: KeySpec, usage: int, policy: int) -> bytes:
        """Make a secret key under that reference, in the place of the key that has it.

        Gives its check value, 3 bytes; empty where the value is shorter than 16 bytes.
        """
        self._choose_key(reference, spec)
        length = tlv.encode(0x80, (spec.bits // 8).to_bytes(2, "big"))
        data = length + rules_object(usage, policy)
        check_value = self._client.call(Command(0x80, 0x46, 0x00, 0x00, data, MAX_SHORT_NE))
        self.changes += 1
        return check_value

    def put_secret(self, reference: int, key: SecretKey, usage: int, policy: int) -> None:
        """Import a secret key, in the place of the key that has the reference."""
        template = tlv.encode(0xE0, tlv.encode(0x88, key.value))
        self._import(reference, key.spec, template + rules_object(usage, policy))

    def secret_value(self, reference: int) -> bytes:
        """The value of a secret key; raises StatusWordError (6985 without POLICY_EXPORT, 6A88)."""
        return self._client.call(
            Command(0x80, 0xCA, reference >> 8, reference & 0xFF, b"", MAX_EXTENDED_NE)
        )

    def delete_key(self, reference: int) -> None:
        """Delete a private or secret key; raises StatusWordError (6A88 where there is none)."""
        self._environment = None
        self._client.call(Command(0x80, 0xE4, reference >> 8, reference & 0xFF))
        self.changes += 1

    def sign(self, environment: bytes, data: bytes) -> bytes:
        """Sign with the key and algorithm that the MSE data objects `environment` choose."""
        return self._operate(0xB6, environment, 0x9E9A, data, _SIGNATURE_SIZE)

    def decipher(self, environment: bytes, data: bytes) -> bytes:
        """Decrypt, unwrap or decapsulate likewise: what `encipher` gave, or a cryptogram."""
        return self._operate(0xB8, environment, 0x8086, b"\x00" + data, MAX_EXTENDED_NE)

    def agree(self, environment: bytes, point: bytes) -> bytes:
        """The shared secret with a peer's public point, likewise."""
        peer = tlv.encode(0xA6, tlv.encode(0x7F49, tlv.encode(0x86, point)))
        return self._operate(0xB8, environment, 0x8086, peer, MAX_EXTENDED_NE)

    def encipher(self, environment: bytes, data: bytes) -> bytes:
        """Encrypt or wrap at most MAX_DATA bytes with a secret key, likewise."""
        return self._operate(0xB8, environment, 0x8680, data, MAX_EXTENDED_NE)

    def checksum(self, environment: bytes, data: bytes) -> bytes:
        """A MAC of at most MAX_DATA bytes with a secret key, likewise."""
        return self._operate(0xB4, environment, 0x8E80, data, MAX_SHORT_NE)

    def challenge(self, length: int) -> bytes:
        """Random bytes."""
        parts = []
        while length > 0:
            part = self._call(0x84, 0x00, 0x00, ne=min(length, _CHALLENGE_SIZE))
            if not part:
                raise TransportError("the card gave no random bytes")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def _operate(
        self, template: int, environment: bytes, operation: int, data: bytes, ne: int
    ) -> bytes:
        """PERFORM SECURITY OPERATION, P1 P2 being `operation` (ISO/IEC 7816-8:2004, 5)."""
        self._set_environment(template, environment)
        try:
            return self._call(0x2A, operation >> 8, operation & 0xFF, data, ne)
        except (StatusWordError, TransportError):
            self._environment = None
            raise

    def _set_environment(self, template: int, data: bytes) -> None:
        """MSE SET, unless the card has exactly that security environment already."""
        if self._environment == (template, data):
            return
        self._environment = None
        self._call(0x22, 0x41, template, data)
        self._environment = (template, data)

    def _import(self, reference: int, spec: KeySpec, data: bytes) -> None:
        self._choose_key(reference, spec)
        self._call(0xDB, 0x3F, 0xFF, data)
        self.changes += 1

    def _choose_key(self, reference: int, spec: KeySpec) -> None:
        self._environment = None
        kind = tlv.encode(0x80, bytes((kind_code(spec),)))
        self._call(0x22, 0x41, 0x00, kind + key_reference(reference))


def _discretionary(answer: bytes) -> bytes:
    try:
        item, _ = tlv.parse_one(answer)
    except TlvError as error:
        raise TransportError("the answer to READ BINARY is malformed") from error
    if item.tag != 0x53:
        raise TransportError("the answer to READ BINARY is not a data object 53")
    return item.value


def _common_prefix(old: bytes, new: bytes) -> int:
    limit = min(len(old), len(new))
    if old[:limit] == new[:limit]:
        return limit
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if old[:middle] == new[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _fcp(file: NewFile) -> bytes:
    directory = file.aid is not None
    inner = tlv.encode(0x82, b"\x38" if directory else b"\x01") + tlv.encode(0x83, file.path[-2:])
    if file.aid:
        inner += tlv.encode(0x84, file.aid)
    if not directory:
        inner += tlv.encode(0x80, len(file.content).to_bytes(3, "big"))
    return tlv.encode(0x62, inner + tlv.encode(0x86, file.conditions))
