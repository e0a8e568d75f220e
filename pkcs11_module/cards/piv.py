"""A PIV card as a token with PKCS #15 directories: certificates and keys, read only.

Nothing of PKCS #15 is on the card. Its directories are made up of what the slots and the data
objects tell. A real card tells nothing when it changes: it is read again after a login, when the
application was selected anew, and when the connection is. A key is looked at before it is used.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, NoReturn

from apdu import tlv
from apdu.codec import MAX_EXTENDED_NE, MAX_SHORT_NE, Command
from apdu.model import SW, StatusWordError
from apdu.tlv import TlvError
from apdu.transport import Shared, Transport, TransportError
from pkcs11_module import _constants as ck
from pkcs11_module.cards import pkcs15
from pkcs11_module.cards.card import TokenCard
from pkcs11_module.cards.card_info import CardInfo, PinInfo
from pkcs11_module.cards.card_keys import CardKey
from pkcs11_module.cards.entries import AnyEntry, DirectoryKind
from pkcs11_module.cards.entry_codec import encode
from pkcs11_module.cards.piv_blocks import decipher, signature_input
from pkcs11_module.cards.piv_slots import ALGORITHMS, DIRECTORIES, SLOTS, Slot, SlotKey
from pkcs11_module.types import Pkcs11Error
from token_fw.crypto import CryptoError, KeySpec, PublicKey

LABEL: Final = "PIV"
PIN: Final = 0x80
FINGER: Final = 0x96
PIN_SIZE: Final = 8
MIN_PIN: Final = 6
_MANAGEMENT: Final = 0x9B
_3DES: Final = 0x03
_CONFIGURED, _RETRIES = 0x07, 0x06
_TEMPORARY_PIN, _MATCH_FOR_TEMPORARY_PIN = 0x01, 0x02
_GET_METADATA, _GET_SERIAL = 0xF7, 0xF8
_NO_METADATA: Final = frozenset({SW.INS_NOT_SUPPORTED, SW.CLA_NOT_SUPPORTED})
_MAX_CERTIFICATE: Final = 1 << 16
_DISCOVERY: Final = b"\x7e"
_GZIP: Final = 31
"""Window bits of zlib for the format of gzip."""


def _read_only(*_arguments: Any, **_named: Any) -> NoReturn:
    raise Pkcs11Error(ck.CKR_TOKEN_WRITE_PROTECTED, "objects of a PIV card are not changed here")


class PivCard(TokenCard):
    """The PIV application on one transport, in the place of the PKI application."""

    AID: ClassVar = bytes.fromhex("A000000308")
    # Nothing that SP 800-73-4 has tells who made the card.
    MANUFACTURER: ClassVar = ""
    MODEL: ClassVar = "PIV"
    # SP 800-73-4 part 2, 2.4.4: chaining and GET RESPONSE are what a card has to have.
    EXTENDED: ClassVar = False

    def __init__(self, transport: Transport, *, selected: bool = False) -> None:
        """Raises StatusWordError (6A82) where the card has no such application."""
        self._readings = 0
        self._contents: tuple[bytes, Mapping[bytes, bytes], Mapping[int, SlotKey]] | None = None
        self._shared = isinstance(transport, Shared)
        self._names_itself = False
        self._matched = False
        super().__init__(transport, selected=selected)

    def _select(self) -> None:
        super()._select()
        # A card that never tells whether it is selected is selected again for every call.
        self._readings += self._names_itself

    def _holds(self, reference: int) -> bool | None:
        """By the discovery object (SP 800-73-4 part 1, 3.3.2), which names the application."""
        try:
            found = self._get_data(_DISCOVERY)
            name = _fields(_fields(found).get(0x7E, b"")).get(0x4F, b"")
        except (StatusWordError, TransportError):
            return None
        if not name.startswith(self.AID):
            return None
        self._names_itself = True
        return self._is_verified(reference)

    def _is_verified(self, reference: int) -> bool:
        """By the PIN, or by a finger that was asked for here."""
        known = [PIN, FINGER] if self._matched else [PIN]
        return reference == pkcs15.USER_PIN and any(
            self._status(one) == SW.NO_ERROR for one in known
        )

    # What the card says about itself

    def change_counter(self) -> bytes:
        """As much as is known without asking: the card has no command that tells."""
        changes = self._readings if self._telling is None else self._telling.changes()
        return changes.to_bytes(4, "big")

    def info(self) -> CardInfo:
        """Serial number and the state of the PIN; an SO proves a key, not a PIN, and is locked.

        Of the fingers the card tells only whether there are any, which is 1 here.
        """
        left, most = self._tries()
        fingers, finger_tries = self._fingers()
        verified = self._is_verified(pkcs15.USER_PIN)
        user = PinInfo(pkcs15.USER_PIN, left, most, True, verified, MIN_PIN, PIN_SIZE)
        so = PinInfo(pkcs15.SO_PIN, 0, 0, False, False, MIN_PIN, PIN_SIZE)
        pins = {pin.reference: pin for pin in (user, so)}
        serial = self._extension(_GET_SERIAL, 0x00) or b""
        return CardInfo(serial, True, pins, fingers=fingers, finger_tries=finger_tries)

    def _tries(self) -> tuple[int, int]:
        """Of the PIN: left, and at most, as far as the card tells."""
        told = self._extension(_GET_METADATA, PIN)
        if told:
            most, left = _fields(told).get(_RETRIES, b"\x00\x00")
            return left, most
        sw = self._status(PIN)
        left = sw & 0x0F if sw >> 4 == SW.WRONG_PIN >> 4 else int(sw == SW.NO_ERROR)
        return left, left

    def _fingers(self) -> tuple[int, int]:
        """Whether a finger stands for the PIN, 0 or 1, and the sensor's tries left."""
        try:
            told = self._extension(_GET_METADATA, FINGER)
        except StatusWordError:
            # Cards without a sensor have several ways to say so.
            told = None
        fields = _fields(told or b"")
        configured = fields.get(_CONFIGURED, b"")
        return int(any(configured)), int.from_bytes(fields.get(_RETRIES, b""), "big")

    def _status(self, reference: int) -> int:
        try:
            self._call(0x20, 0x00, reference)
        except StatusWordError as error:
            return error.sw
        return SW.NO_ERROR

    def _extension(self, ins: int, reference: int) -> bytes | None:
        """What one of Yubico's commands answers; None where the card does not have it."""
        try:
            return self._call(ins, 0x00, reference, ne=MAX_SHORT_NE)
        except StatusWordError as error:
            if error.sw not in _NO_METADATA:
                raise
            return None

    def keys(self) -> Mapping[int, CardKey]:
        """The private keys on the card by reference."""
        return {reference: key.card_key() for reference, key in self._read_all()[1].items()}

    # The directories that there would be

    def read(self, path: bytes) -> bytes:
        """The content of a directory file; raises StatusWordError (6A82 for any other file)."""
        if path == pkcs15.ODF:
            return pkcs15.encode_odf(DIRECTORIES.items())
        if path == pkcs15.TOKEN_INFO:
            return pkcs15.encode_token_info(LABEL, self._extension(_GET_SERIAL, 0x00) or b"")
        content = self._read_all()[0].get(path)
        if content is None:
            raise StatusWordError(SW.FILE_NOT_FOUND, "READ BINARY")
        return content

    def _read_all(self) -> tuple[Mapping[bytes, bytes], Mapping[int, SlotKey]]:
        """The directories by path and the keys by reference, read once a state of the counter."""
        counter = self.change_counter()
        if self._contents is None or self._contents[0] != counter:
            entries: dict[DirectoryKind, list[AnyEntry]] = {kind: [] for kind in DIRECTORIES}
            keys = {}
            for slot in SLOTS:
                certificate = self._certificate(slot)
                key = self._slot_key(slot, certificate)
                if certificate is not None:
                    listed = slot.certificate_entry(certificate)
                    entries[DirectoryKind.CERTIFICATES].append(listed)
                if key is not None:
                    keys[key.reference] = key
                    entries[DirectoryKind.PRIVATE_KEYS].append(key.private_entry())
                    entries[DirectoryKind.PUBLIC_KEYS].append(key.public_entry())
            files = {
                DIRECTORIES[kind]: b"".join(map(encode, found)) for kind, found in entries.items()
            }
            self._contents = counter, files, keys
        return self._contents[1:]

    def _certificate(self, slot: Slot) -> bytes | None:
        """The DER certificate of a slot; None where there is none, or it cannot be unpacked."""
        try:
            answer = self._get_data(slot.tag)
        except StatusWordError as error:
            if error.sw != SW.FILE_NOT_FOUND:
                raise
            return None
        try:
            fields = tlv.to_dict(tlv.parse(tlv.to_dict(tlv.parse(answer))[0x53]))
            value = fields[0x70]
            if fields.get(0x71, b"\x00")[0] & 0x01:
                value = zlib.decompressobj(_GZIP).decompress(value, _MAX_CERTIFICATE)
        except (TlvError, KeyError, IndexError, zlib.error):
            return None
        return value

    def _get_data(self, tag: bytes) -> bytes:
        return self._call(0xCB, 0x3F, 0xFF, tlv.encode(0x5C, tag), MAX_EXTENDED_NE)

    def _slot_key(self, slot: Slot, certificate: bytes | None) -> SlotKey | None:
        """The key of a slot by the card's metadata; by its certificate where it has none."""
        try:
            told = self._extension(_GET_METADATA, slot.number)
        except StatusWordError as error:
            if error.sw != SW.REFERENCED_DATA_NOT_FOUND:
                raise
            return None
        try:
            if told is not None:
                metadata = _fields(told)
                return SlotKey.told(slot, metadata, _fields(metadata[0x04]))
            return SlotKey.certified(slot, certificate) if certificate else None
        except (KeyError, IndexError, ValueError, CryptoError):
            # A kind of key that this module has no name for, such as those of later firmware.
            return None

    # The PIN; values without padding, 1 to 8 bytes

    def verify(self, reference: int, pin: bytes) -> None:
        """Check the PIN; raises StatusWordError (63Cx, 6983; 6984 for the SO)."""
        super().verify(reference, pin)
        self._readings += 1

    def verify_command(self, reference: int, pin: bytes) -> Command:
        """The command that checks the PIN; raises StatusWordError (6984 for the SO)."""
        return Command(0x00, 0x20, 0x00, _known_pin(reference), _padded(pin))

    def verify_on_token(self, reference: int) -> Command:
        """Wait for a finger, as a YubiKey Bio does; gives VERIFY with the temporary PIN for it.

        Raises StatusWordError (63Cx, 6983; 6984 for the SO and where no finger is enrolled; 6400
        where none came).
        """
        _known_pin(reference)
        match = tlv.encode(_MATCH_FOR_TEMPORARY_PIN, b"")
        temporary = self._call(0x20, 0x00, FINGER, match, MAX_SHORT_NE)
        self._matched = True
        self._readings += 1
        return Command(0x00, 0x20, 0x00, FINGER, tlv.encode(_TEMPORARY_PIN, temporary))

    def log_out(self, reference: int) -> None:
        """Forget that the PIN was verified on this transport."""
        if reference == pkcs15.USER_PIN:
            self._call(0x20, 0xFF, PIN)

    def change_pin(self, reference: int, old: bytes, new: bytes) -> None:
        """Raises StatusWordError (63Cx, 6983; 6A80 for a value that the card does not take)."""
        self._call(0x24, 0x00, _known_pin(reference), _padded(old) + _padded(new))

    # Keys

    def public_key(self, reference: int, spec: KeySpec) -> PublicKey:
        """The public part of a key; raises StatusWordError (6A88)."""
        key = self._read_all()[1].get(reference)
        if key is None:
            raise StatusWordError(SW.REFERENCED_DATA_NOT_FOUND, "GET METADATA")
        return key.public

    def sign(self, environment: bytes, data: bytes) -> bytes:
        """Sign with the key and algorithm that the MSE data objects `environment` choose."""
        fields, spec = _chosen(environment)
        return self._use(fields, 0x81, signature_input(fields, spec, data))

    def decipher(self, environment: bytes, data: bytes) -> bytes:
        """Decrypt likewise."""
        fields, spec = _chosen(environment)
        if len(data) != spec.bits // 8:
            raise StatusWordError(SW.WRONG_LENGTH, "GENERAL AUTHENTICATE")
        return decipher(fields, self._use(fields, 0x81, data))

    def agree(self, environment: bytes, point: bytes) -> bytes:
        """The shared secret with a peer's public point, likewise."""
        fields, _ = _chosen(environment)
        return self._use(fields, 0x85, point)

    def _use(self, fields: Mapping[int, bytes], tag: int, data: bytes) -> bytes:
        """GENERAL AUTHENTICATE with a key in a slot."""
        reference = fields[0x84]
        if self._shared:
            self._look_at(int.from_bytes(reference, "big"))
        algorithm, slot = reference
        return self._authenticate(algorithm, slot, {0x82: b"", tag: data})[0x82]

    def _look_at(self, reference: int) -> None:
        """Raises StatusWordError (6A88) where others have put another key in its place."""
        known = self._read_all()[1].get(reference)
        found = None
        if known is not None:
            slot = known.slot
            found = self._slot_key(slot, None) or self._slot_key(slot, self._certificate(slot))
        if known is None or found is None or found.public.to_spki() != known.public.to_spki():
            self._readings += 1
            raise StatusWordError(SW.REFERENCED_DATA_NOT_FOUND, "GENERAL AUTHENTICATE")

    def _authenticate(
        self, algorithm: int, slot: int, objects: Mapping[int, bytes]
    ) -> Mapping[int, bytes]:
        template = b"".join(tlv.encode(tag, value) for tag, value in objects.items())
        answer = self._call(0x87, algorithm, slot, tlv.encode(0x7C, template), MAX_EXTENDED_NE)
        return _fields(_fields(answer)[0x7C])

    def challenge(self, length: int) -> bytes:
        """Random bytes: what the card asks of somebody who would prove the management key."""
        return b"".join(self._challenges(length))[:length]

    def _challenges(self, length: int) -> Iterator[bytes]:
        told = self._extension(_GET_METADATA, _MANAGEMENT)
        algorithm = _fields(told).get(0x01, b"")[0] if told else _3DES
        while length > 0:
            part = self._authenticate(algorithm, _MANAGEMENT, {0x81: b""})[0x81]
            if not part:
                raise TransportError("the card gave no random bytes")
            length -= len(part)
            yield part

    write = create = delete = _read_only
    set_user_pin = initialise = _read_only
    generate = put_key = delete_key = _read_only
    generate_secret = put_secret = secret_value = _read_only
    encipher = checksum = _read_only


def _known_pin(reference: int) -> int:
    """The card's reference of the user PIN; raises StatusWordError (6984) for the SO's."""
    if reference != pkcs15.USER_PIN:
        raise StatusWordError(SW.REFERENCE_DATA_NOT_USABLE, "VERIFY")
    return PIN


def _padded(pin: bytes) -> bytes:
    """A PIN as the card takes it; a longer one is none that it could have, and costs no try."""
    if len(pin) > PIN_SIZE:
        raise Pkcs11Error(ck.CKR_PIN_INCORRECT, "the PIN is longer than the card's can be")
    return pin.ljust(PIN_SIZE, b"\xff")


def _chosen(environment: bytes) -> tuple[Mapping[int, bytes], KeySpec]:
    """The data objects of an environment, and the kind of its key."""
    fields = tlv.to_dict(tlv.parse(environment))
    return fields, ALGORITHMS[fields[0x84][0]]


def _fields(answer: bytes) -> Mapping[int, bytes]:
    """Data objects by tag; raises TransportError for an answer that holds none."""
    try:
        return tlv.to_dict(tlv.parse(answer))
    except TlvError as error:
        raise TransportError("the card's answer is malformed") from error
