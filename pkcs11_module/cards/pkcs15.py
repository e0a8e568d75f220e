"""Files of PKCS #15 v1.1 (ISO/IEC 7816-15) as this module lays them out, and as others do.

A directory file is a row of DER objects with fill (00 or FF) before, between and after them. An
entry that is not understood is kept byte for byte when the directory is written again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from apdu import tlv
from pkcs11_module.cards import der
from pkcs11_module.cards.der import Fields
from pkcs11_module.cards.entries import DirectoryKind

AID: Final = bytes.fromhex("A000000063504B43532D3135")
MF: Final = bytes.fromhex("3F00")
DF: Final = bytes.fromhex("3F005015")
DIR: Final = bytes.fromhex("3F002F00")
ODF: Final = DF + bytes.fromhex("5031")
TOKEN_INFO: Final = DF + bytes.fromhex("5032")
AODF: Final = DF + bytes.fromhex("4401")
USER_PIN, SO_PIN = 1, 2
USER_AUTH_ID, SO_AUTH_ID = b"\x01", b"\x02"
MANUFACTURER: Final = "Klyuch"

DIRECTORIES: Final[tuple[tuple[DirectoryKind, bytes, bool], ...]] = (
    (DirectoryKind.PRIVATE_KEYS, DF + b"\x44\x02", False),
    (DirectoryKind.PUBLIC_KEYS, DF + b"\x44\x03", False),
    (DirectoryKind.CERTIFICATES, DF + b"\x44\x04", False),
    (DirectoryKind.DATA_OBJECTS, DF + b"\x44\x05", False),
    (DirectoryKind.SECRET_KEYS, DF + b"\x44\x06", False),
    (DirectoryKind.PUBLIC_KEYS, DF + b"\x44\x13", True),
    (DirectoryKind.CERTIFICATES, DF + b"\x44\x14", True),
    (DirectoryKind.DATA_OBJECTS, DF + b"\x44\x15", True),
    (DirectoryKind.SECRET_KEYS, DF + b"\x44\x16", True),
)
"""Kind, path and whether the user PIN is needed to read it."""
MORE_DIRECTORIES: Final[dict[bool, range]] = {
    False: range(0x4420, 0x4480),
    True: range(0x4480, 0x4500),
}
"""File identifiers below the DF for further directories of any kind, public and private."""
DIRECTORY_SIZE: Final = 60_000
"""Bytes from which on a directory takes no more entries: one APDU can rewrite it whole."""
_SPARE: Final = 512


def is_private_directory(path: bytes) -> bool:
    """Whether this module gave the directory file to those who have verified the user PIN."""
    if any(path == known and private for _, known, private in DIRECTORIES):
        return True
    return path[:-2] == DF and int.from_bytes(path[-2:], "big") in MORE_DIRECTORIES[True]


def directory_paths(kind: DirectoryKind, private: bool) -> Iterator[bytes]:
    """The files for directories of that kind, in the order in which they are used."""
    for known, path, hidden in DIRECTORIES:
        if (known, hidden) == (kind, private):
            yield path
    for fid in MORE_DIRECTORIES[private]:
        yield DF + fid.to_bytes(2, "big")


VALUE_FILES: Final[dict[tuple[DirectoryKind, bool], range]] = {
    (DirectoryKind.DATA_OBJECTS, False): range(0x6000, 0x7000),
    (DirectoryKind.DATA_OBJECTS, True): range(0x7000, 0x8000),
    (DirectoryKind.PUBLIC_KEYS, False): range(0x8000, 0x9000),
    (DirectoryKind.PUBLIC_KEYS, True): range(0x8000, 0x9000),
    (DirectoryKind.CERTIFICATES, False): range(0x9000, 0xA000),
    (DirectoryKind.CERTIFICATES, True): range(0x9000, 0xA000),
}
"""File identifiers below the DF for the values of a kind, public and private."""


def with_room(content: bytes) -> bytes:
    """A directory's content with fill behind it: OpenSC adds entries, but lets no file grow."""
    return content + bytes(_SPARE)


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """Cut a directory's content into its DER objects; also what is left from a malformed one on.

    Fill is dropped. The rest is empty in a sound directory.
    """
    objects: list[bytes] = []
    position, size = 0, len(data)
    while position < size:
        if data[position] in (0x00, 0xFF):
            position += 1
            continue
        end = _end_of_object(data, position)
        if end is None or end > size:
            return objects, data[position:]
        objects.append(data[position:end])
        position = end
    return objects, b""


def _end_of_object(data: bytes, position: int) -> int | None:
    """Where the object ends that has a tag of one byte and a definite length."""
    if position + 2 > len(data):
        return None
    length = data[position + 1]
    start = position + 2
    if length >= 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or start + count > len(data):
            return None
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    return start + length


def decode_odf(data: bytes) -> list[tuple[DirectoryKind, bytes]]:
    """The directories an object directory file names, with their paths; other entries are left out.

    A kind may occur several times (6.2): public and private directories of one kind.
    """
    found: list[tuple[DirectoryKind, bytes]] = []
    for raw in split(data)[0]:
        try:
            item, _ = tlv.parse_one(raw)
            path = Fields(Fields(item.value).need(der.SEQUENCE)).need(der.OCTET_STRING)
            found.append((DirectoryKind(item.tag), path))
        except ValueError:
            continue
    return found


def encode_odf(directories: Iterable[tuple[DirectoryKind, bytes]]) -> bytes:
    """The content of an object directory file."""
    return b"".join(
        tlv.encode(kind.value, der.sequence(tlv.encode(der.OCTET_STRING, path)))
        for kind, path in directories
    )


def decode_label(token_info: bytes) -> str:
    """The token's label in a TokenInfo file (6.9), empty where it has none or is malformed."""
    objects, _ = split(token_info)
    try:
        fields = Fields(Fields(objects[0]).need(der.SEQUENCE)) if objects else Fields(b"")
        fields.take(der.INTEGER)
        fields.take(der.OCTET_STRING)
        fields.take(der.UTF8_STRING)
        return (fields.take(0x80) or b"").decode("utf-8")
    except ValueError:
        return ""


def encode_token_info(label: str, serial: bytes) -> bytes:
    """The content of a TokenInfo file: version, serial number, manufacturer, label, flags."""
    login_required, prn_generation = 1 << 1, 1 << 2
    return der.sequence(
        der.encode_integer(0),
        tlv.encode(der.OCTET_STRING, serial),
        der.utf8(MANUFACTURER),
        der.utf8(label, 0x80),
        der.encode_bits(login_required | prn_generation),
    )


@dataclass(frozen=True, slots=True)
class PinEntry:
    """An authentication object (6.8): `reference` as VERIFY takes it, lengths in bytes."""

    label: str
    auth_id: bytes
    reference: int
    min_length: int
    max_length: int
    so: bool


def encode_pin(pin: PinEntry) -> bytes:
    """The DER of an entry of the AODF."""
    case_sensitive, unblock_disabled, initialized = 1 << 0, 1 << 3, 1 << 4
    needs_padding, so_pin = 1 << 5, 1 << 7
    flags = case_sensitive | initialized | needs_padding
    flags |= so_pin | unblock_disabled if pin.so else 0
    utf8_pin = b"\x02"
    attributes = der.sequence(
        der.encode_bits(flags),
        tlv.encode(der.ENUMERATED, utf8_pin),
        der.encode_integer(pin.min_length),
        der.encode_integer(pin.max_length),
        der.encode_integer(pin.max_length),
        der.encode_integer(pin.reference, 0x80),
        tlv.encode(der.OCTET_STRING, b"\x00"),
        der.sequence(tlv.encode(der.OCTET_STRING, DF)),
    )
    private = 1 << 0
    return der.sequence(
        der.sequence(der.utf8(pin.label), der.encode_bits(private)),
        der.sequence(tlv.encode(der.OCTET_STRING, pin.auth_id)),
        tlv.encode(0xA1, attributes),
    )


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file of a new token: path from the MF, what may be done when (86), content; DF if `aid`."""

    path: bytes
    conditions: bytes
    content: bytes = b""
    aid: bytes | None = None


ALWAYS, USER, USER_OR_SO, NEVER = 0x00, 0x90, 0x92, 0xFF
_RESERVED: Final = b"\xff"


def conditions(*, read: int, update: int, delete: int) -> bytes:
    """Security attributes of an EF: delete, terminate, (de)activate, write, update, read."""
    return _RESERVED + bytes((delete, NEVER, NEVER, NEVER, update, update, read))


_TRUSTABLE: Final = frozenset(
    {DirectoryKind.PUBLIC_KEYS, DirectoryKind.CERTIFICATES, DirectoryKind.SECRET_KEYS}
)
"""What the SO may mark as trusted."""


def directory_conditions(kind: DirectoryKind, private: bool) -> bytes:
    """Security attributes of a directory file; the SO writes the public ones of what is trusted."""
    if private:
        return conditions(read=USER, update=USER, delete=NEVER)
    update = USER_OR_SO if kind in _TRUSTABLE else USER
    return conditions(read=ALWAYS, update=update, delete=NEVER)


_DIRECTORY_DF: Final = _RESERVED + bytes((NEVER, NEVER, NEVER, NEVER, USER, USER, USER))


def token_files(label: str, serial: bytes, pins: Iterable[PinEntry]) -> list[NewFile]:
    """Every file of a new token in the order in which they are made."""
    fixed = conditions(read=ALWAYS, update=NEVER, delete=NEVER)
    of_user = conditions(read=ALWAYS, update=USER, delete=NEVER)
    application = tlv.encode(
        0x61,
        tlv.encode(0x4F, AID) + tlv.encode(0x50, label.encode("utf-8")) + tlv.encode(0x51, DF),
    )
    named = [(kind, path) for kind, path, _ in DIRECTORIES]
    return [
        NewFile(DIR, fixed, application),
        NewFile(DF, _DIRECTORY_DF, aid=AID),
        NewFile(ODF, of_user, encode_odf([*named, (DirectoryKind.AUTH_OBJECTS, AODF)])),
        NewFile(TOKEN_INFO, of_user, encode_token_info(label, serial)),
        NewFile(AODF, fixed, b"".join(encode_pin(pin) for pin in pins)),
        *(
            NewFile(path, directory_conditions(kind, hidden), with_room(b""))
            for kind, path, hidden in DIRECTORIES
        ),
    ]
