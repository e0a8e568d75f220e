"""Typed commands of the PKI application and how bytes become them.

A parser raises IncorrectData, WrongLength, FileNotFound or TlvError; what it returns carries every
restriction that does not depend on the state of the card. Keys are in `key_commands`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from apdu import tlv
from apdu.codec import Command
from token_fw.apps.pki.files import (
    ATTRIBUTES_SIZE,
    MAX_FILE_SIZE,
    Condition,
    FileKind,
    FileTemplate,
)
from token_fw.errors import FileNotFound, IncorrectData, WrongLength
from token_fw.pin import PinRef

MAX_PIN = 64
PADDED = (16, MAX_PIN)
"""Lengths to which IsoApplet's driver pads PINs with 00: of those it made, and of those of ours."""
_CONDITIONS = frozenset(int(condition) for condition in Condition)
_IGNORED_IN_FCP = frozenset({0x85, 0x88, 0x8A})


class Target(IntEnum):
    """P1 of SELECT: how the data field names a file."""

    FID = 0x00
    NAME = 0x04
    PATH_FROM_MF = 0x08
    PATH_FROM_DF = 0x09


@dataclass(frozen=True, slots=True)
class Select:
    """`value` is empty for the master file; `answer`: the FCP template is wanted."""

    target: Target
    value: bytes
    answer: bool


@dataclass(frozen=True, slots=True)
class GetData:
    """`object` is P2: 01 version, 02 change counter, 03 keys, 04 card information."""

    object: int


@dataclass(frozen=True, slots=True)
class ReadBinary:
    """`fid` is empty for the current file; `ne` bytes at most; `wrapped`: the answer is a DO 53."""

    fid: bytes
    offset: int
    ne: int
    wrapped: bool = False


@dataclass(frozen=True, slots=True)
class UpdateBinary:
    """`fid` is empty for the current file; `size`, where given, is the size afterwards."""

    fid: bytes
    offset: int
    data: bytes
    size: int | None = None


@dataclass(frozen=True, slots=True)
class DeleteFile:
    """`fid` is empty for the current file."""

    fid: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Verify:
    """`value` is None for the question about the state; `log_out` goes without a value."""

    ref: PinRef
    value: bytes | None
    log_out: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class ChangePin:
    """`old` is None where the PIN is set on a blank card."""

    ref: PinRef
    old: bytes | None
    new: bytes


@dataclass(frozen=True, slots=True, repr=False)
class ResetPin:
    """Give the user PIN a new value; `puk` is the SO PIN, None where it is verified already."""

    puk: bytes | None
    new: bytes


@dataclass(frozen=True, slots=True)
class InitialFile:
    """A file that INITIALIZE makes: `parent` is a path from below the master file."""

    parent: bytes
    template: FileTemplate
    content: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Initialize:
    """Erase the token and make `files`, in that order."""

    so_pin: bytes
    files: tuple[InitialFile, ...]


def pin_value(data: bytes) -> bytes:
    """A PIN without its padding."""
    return data.rstrip(b"\0")


def parse_select(command: Command) -> Select:
    """SELECT: nothing, a file identifier, a name or a path."""
    target = Target(command.p1)
    value = command.data
    if target is Target.FID and len(value) not in {0, 2}:
        raise WrongLength("a file identifier has two bytes")
    if target in {Target.PATH_FROM_MF, Target.PATH_FROM_DF} and (not value or len(value) % 2):
        raise WrongLength("a path has two bytes a level")
    if target is Target.NAME and not 1 <= len(value) <= 16:
        raise FileNotFound("a name has 1 to 16 bytes")
    return Select(target, value, command.p2 != 0x0C)


def parse_get_data(command: Command) -> GetData:
    """GET DATA: P2 says which object."""
    return GetData(command.p2)


def parse_read_binary(command: Command) -> ReadBinary:
    """READ BINARY B0: the offset is in P1 P2."""
    return ReadBinary(b"", _offset(command), _limit(command))


def parse_read_binary_odd(command: Command) -> ReadBinary:
    """READ BINARY B1: 54 offset; P1 P2 names the file."""
    fields = _fields(command.data, required={0x54})
    return ReadBinary(_fid(command), _number(fields[0x54]), _limit(command), wrapped=True)


def parse_update_binary(command: Command) -> UpdateBinary:
    """UPDATE BINARY D6: the offset is in P1 P2, the data field is written."""
    return UpdateBinary(b"", _offset(command), command.data)


def parse_update_binary_odd(command: Command) -> UpdateBinary:
    """Data objects 54 offset, 53 data, C0 size: at least one of the latter two."""
    fields = _fields(command.data, required={0x54}, optional={0x53, 0xC0})
    if len(fields) == 1:
        raise IncorrectData("neither data nor a size")
    size = _number(fields[0xC0]) if 0xC0 in fields else None
    return UpdateBinary(_fid(command), _number(fields[0x54]), fields.get(0x53, b""), size)


def parse_create_file(command: Command) -> FileTemplate:
    """CREATE FILE: one template of file control parameters."""
    return parse_fcp(command.data)


def parse_fcp(data: bytes) -> FileTemplate:
    """A template 62, or 6F as IsoApplet's driver sends it, with the parameters of a file.

    82 file descriptor, 83 file identifier, 80 or 81 size, 84 DF name, 86 security attributes.
    """
    outer, used = tlv.parse_one(data)
    if used != len(data) or outer.tag not in {0x62, 0x6F}:
        raise IncorrectData("not one template of file control parameters")
    fields = _fields(
        outer.value,
        required={0x82, 0x83, 0x86},
        optional={0x80, 0x81, 0x84} | _IGNORED_IN_FCP,
    )
    if len(fields[0x83]) != 2:
        raise IncorrectData("a file identifier has two bytes")
    if 0x80 in fields and 0x81 in fields:
        raise IncorrectData("two sizes")
    kind = _file_kind(fields[0x82])
    size = _number(fields.get(0x80, fields.get(0x81, b"\0")))
    name = fields.get(0x84, b"")
    if kind is FileKind.DF:
        size = 0
    elif name:
        raise IncorrectData("only a directory has a name")
    if 0x84 in fields and not 1 <= len(name) <= 16:
        raise IncorrectData("a name has 1 to 16 bytes")
    return FileTemplate(fields[0x83], kind, _attributes(fields[0x86]), size, name)


def parse_delete_file(command: Command) -> DeleteFile:
    """DELETE FILE: nothing or a file identifier."""
    if len(command.data) not in {0, 2}:
        raise WrongLength("a file identifier has two bytes")
    return DeleteFile(command.data)


def parse_verify(command: Command) -> Verify:
    """VERIFY: the PIN, or nothing; P1 FF logs out."""
    ref = PinRef(command.p2)
    if len(command.data) > MAX_PIN:
        raise WrongLength("a PIN has at most 64 bytes")
    if command.p1:
        if command.data:
            raise WrongLength("logging out takes no data")
        return Verify(ref, None, log_out=True)
    return Verify(ref, pin_value(command.data) if command.data else None)


def parse_verify_on_token(command: Command) -> PinRef:
    """VERIFY ON TOKEN: P2 says which PIN."""
    return PinRef(command.p2)


def parse_change_reference_data(command: Command) -> ChangePin:
    """CHANGE REFERENCE DATA 24: old and new, padded; P1 01: the new value alone."""
    ref = PinRef(command.p2)
    if command.p1:
        if len(command.data) > MAX_PIN:
            raise WrongLength("a PIN has at most 64 bytes")
        return ChangePin(ref, None, pin_value(command.data))
    half = len(command.data) // 2
    if half not in PADDED or len(command.data) % 2:
        raise WrongLength("the old and the new PIN have 16 or 64 bytes each")
    return ChangePin(ref, pin_value(command.data[:half]), pin_value(command.data[half:]))


def parse_change_reference_data_odd(command: Command) -> ChangePin:
    """CHANGE REFERENCE DATA 25: 80 old, 81 new."""
    old, new = _two_pins(command.data)
    return ChangePin(PinRef(command.p2), old, new)


def parse_reset_retry_counter(command: Command) -> ResetPin:
    """IsoApplet's driver pads the PUK and may leave the new PIN, at most as long, unpadded."""
    for size in PADDED:
        if size < len(command.data) <= 2 * size:
            return ResetPin(pin_value(command.data[:size]), pin_value(command.data[size:]))
    raise WrongLength("the PUK has 16 or 64 bytes, the new PIN at most as many")


def parse_reset_retry_counter_odd(command: Command) -> ResetPin:
    """RESET RETRY COUNTER 2D: 80 SO PIN, 81 new user PIN."""
    puk, new = _two_pins(command.data)
    return ResetPin(puk, new)


def parse_reset_retry_counter_by_so(command: Command) -> ResetPin:
    """RESET RETRY COUNTER 2C with P1 02: the new user PIN alone."""
    if len(command.data) > MAX_PIN:
        raise WrongLength("a PIN has at most 64 bytes")
    return ResetPin(None, pin_value(command.data))


def parse_initialize(command: Command) -> Initialize:
    """81 SO PIN, then any number of E3 { 62 parameters, 81 path, 53 content }."""
    first, *rest = tlv.parse(command.data)  # the data field is not empty
    if first.tag != 0x81 or any(item.tag != 0xE3 for item in rest):
        raise IncorrectData("not an SO PIN followed by files")
    if not 1 <= len(first.value) <= MAX_PIN:
        raise IncorrectData("a PIN has 1 to 64 bytes")
    return Initialize(first.value, tuple(_initial_file(item.value) for item in rest))


def parse_get_challenge(command: Command) -> int:
    """GET CHALLENGE: as many bytes as Le says."""
    if not command.ne:
        raise WrongLength("the number of bytes is missing")
    return command.ne


def parse_reference(command: Command) -> int:
    """A key reference in P1 P2, 0 to 1023; a larger one has no key."""
    return command.p1p2


def _initial_file(data: bytes) -> InitialFile:
    fields = _fields(data, required={0x62, 0x81}, optional={0x53})
    template = parse_fcp(tlv.encode(0x62, fields[0x62]))
    path = fields[0x81]
    if len(path) < 2 or len(path) % 2:
        raise IncorrectData("a path has two bytes a level")
    if path[-2:] != template.fid:
        raise IncorrectData("the path does not end in the file identifier")
    content = fields.get(0x53, b"")
    if content and template.kind is FileKind.DF:
        raise IncorrectData("a directory has no content")
    if max(len(content), template.size) > MAX_FILE_SIZE:
        raise IncorrectData("the file is too large")
    return InitialFile(path[:-2], template, content)


def _fields(
    data: bytes, *, required: set[int], optional: set[int] | frozenset[int] = frozenset()
) -> Mapping[int, bytes]:
    """Data objects by tag: all the required ones, no other than the optional ones, none twice."""
    fields = tlv.to_dict(tlv.parse(data))
    if not required <= fields.keys() or fields.keys() - required - optional:
        raise IncorrectData("data objects are missing, or there are unknown ones")
    return fields


def _number(value: bytes) -> int:
    if not 1 <= len(value) <= 4:
        raise IncorrectData("a number has one to four bytes")
    return int.from_bytes(value, "big")


def _offset(command: Command) -> int:
    if command.p1 & 0x80:
        raise FileNotFound("no file has a short identifier")
    return command.p1p2


def _limit(command: Command) -> int:
    # Without Le everything is prepared and fetched by GET RESPONSE.
    return command.ne or MAX_FILE_SIZE


def _fid(command: Command) -> bytes:
    if 0 < command.p1p2 < 0x1F:
        raise FileNotFound("no file has a short identifier")
    return command.p1p2.to_bytes(2, "big") if command.p1p2 else b""


def _file_kind(descriptor: bytes) -> FileKind:
    if not 1 <= len(descriptor) <= 6:
        raise IncorrectData("a file descriptor has 1 to 6 bytes")
    try:
        # Bit 7 says shareable, which every file here is.
        return FileKind(descriptor[0] & 0xBF)
    except ValueError:
        raise IncorrectData("neither a directory nor a transparent file") from None


def _attributes(value: bytes) -> bytes:
    if len(value) != 1 + ATTRIBUTES_SIZE or value[0] != 0xFF or set(value) - _CONDITIONS:
        raise IncorrectData("security attributes have FF and seven known conditions")
    return value[1:]


def _two_pins(data: bytes) -> tuple[bytes, bytes]:
    fields = _fields(data, required={0x80, 0x81})
    for value in fields.values():
        if not 1 <= len(value) <= MAX_PIN:
            raise IncorrectData("a PIN has 1 to 64 bytes")
    return fields[0x80], fields[0x81]
