"""The file system: directories (DF) and transparent files (EF) below the master file 3F00.

ISO/IEC 7816-4:2013, 7.2 to 7.4. A file's path is the file identifiers from the master file down,
two bytes each, 3F00 included; it is the identifier of the file's records in the store.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

from apdu import tlv
from token_fw.errors import (
    DfNameExists,
    FileExists,
    FileNotFound,
    IncompatibleFile,
    IncorrectData,
    NotEnoughMemory,
    OffsetOutsideFile,
)
from token_fw.storage.base import StorageCorrupt
from token_fw.transaction import Transaction

MF = b"\x3f\x00"
MAX_FILES = 4096
MAX_FILE_SIZE = 1 << 20
MAX_DEPTH = 8
RESERVED = frozenset({b"\x00\x00", MF, b"\x3f\xff", b"\xff\xff"})
"""File identifiers that no file may have (ISO/IEC 7816-4:2013, 7.4.1)."""

_HEADER, _BODY, _NAME = "file", "body", "df-name"
_OPERATIONAL = b"\x05"


class FileKind(IntEnum):
    """File descriptor byte (ISO/IEC 7816-4:2013, 7.4.5)."""

    EF = 0x01
    DF = 0x38


class Rule(IntEnum):
    """Where a file's security attributes keep the condition of an operation; see `Attributes`."""

    DELETE_SELF = 0
    LOCK = 1
    ACTIVATE = 2
    DEACTIVATE = 3
    WRITE = CREATE_DF = 4
    UPDATE = CREATE_EF = 5
    READ = DELETE_CHILD = 6


class Condition(IntEnum):
    """Security condition byte (ISO/IEC 7816-4:2013, 9.3.3); 91 and 92 are this card's own."""

    ALWAYS = 0x00
    USER = 0x90
    SO = 0x91
    USER_OR_SO = 0x92
    NEVER = 0xFF


ATTRIBUTES_SIZE = len(set(Rule))
MF_ATTRIBUTES = bytes(
    (
        Condition.NEVER,
        Condition.NEVER,
        Condition.NEVER,
        Condition.NEVER,
        Condition.USER,
        Condition.USER,
        Condition.USER,
    )
)


@dataclass(frozen=True, slots=True)
class FileTemplate:
    """What a file is to be: `size` in bytes, DF `name` of 1 to 16 bytes or empty.

    `fid` is two bytes; `attributes` are the seven conditions in the order of `Rule`.
    """

    fid: bytes
    kind: FileKind
    attributes: bytes
    size: int = 0
    name: bytes = b""


@dataclass(frozen=True, slots=True)
class File:
    """A file or directory; `size` is the number of data bytes."""

    path: bytes
    kind: FileKind
    attributes: bytes
    size: int = 0
    name: bytes = b""

    @property
    def fid(self) -> bytes:
        """The file identifier, two bytes."""
        return self.path[-2:]

    @property
    def parent(self) -> bytes:
        """The path of the directory that holds it; empty for the master file."""
        return self.path[:-2]

    def condition(self, rule: Rule) -> int:
        """The condition byte of an operation."""
        return self.attributes[rule]

    def fcp(self) -> bytes:
        """The file control parameters template 62 (ISO/IEC 7816-4:2013, 7.4.2)."""
        inner = tlv.encode(0x82, bytes((self.kind,))) + tlv.encode(0x83, self.fid)
        if self.kind is FileKind.EF:
            length = 2 if self.size < 0x10000 else 3
            inner += tlv.encode(0x80, self.size.to_bytes(length, "big"))
        if self.name:
            inner += tlv.encode(0x84, self.name)
        inner += tlv.encode(0x86, b"\xff" + self.attributes) + tlv.encode(0x8A, _OPERATIONAL)
        return tlv.encode(0x62, inner)

    def encode(self) -> bytes:
        """The durable record."""
        return (
            tlv.encode(0x82, bytes((self.kind,)))
            + tlv.encode(0x80, self.size.to_bytes(4, "big"))
            + tlv.encode(0x84, self.name)
            + tlv.encode(0x86, self.attributes)
        )

    @classmethod
    def decode(cls, path: bytes, record: bytes) -> File:
        """Raises StorageCorrupt."""
        try:
            fields = tlv.to_dict(tlv.parse(record))
            kind = FileKind(int.from_bytes(fields[0x82], "big"))
            size = int.from_bytes(fields[0x80], "big")
            return cls(path, kind, fields[0x86], size, fields[0x84])
        except (tlv.TlvError, KeyError, ValueError):
            raise StorageCorrupt(f"the record of file {path.hex()} cannot be read") from None


_ROOT = File(MF, FileKind.DF, MF_ATTRIBUTES)


class FileSystem:
    """The files of one token. Headers are read once and kept; contents stay in the store."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._known: dict[bytes, File | None] | None = None
        transaction.on_rollback(self._forget)

    def find(self, path: bytes) -> File:
        """The file with that path; raises FileNotFound."""
        if path == MF:
            return _ROOT
        files = self._files()
        if path not in files:
            raise FileNotFound("no such file")
        file = files[path]
        if file is None:
            record = self._transaction.get(_HEADER, path)
            if record is None:
                raise StorageCorrupt(f"the record of file {path.hex()} is missing")
            file = files[path] = File.decode(path, record)
        return file

    def exists(self, path: bytes) -> bool:
        """Whether there is a file with that path."""
        return path == MF or path in self._files()

    def find_name(self, name: bytes) -> File:
        """The directory with that name; raises FileNotFound."""
        path = self._transaction.get(_NAME, name) if name else None
        if path is None:
            raise FileNotFound("no application or directory has that name")
        return self.find(path)

    def create(self, parent: File, template: FileTemplate, content: bytes = b"") -> File:
        """Make a file; its data is `content`, filled up to the template's size with 00.

        Raises IncompatibleFile when the parent is no directory, IncorrectData for a reserved
        file identifier, FileExists, DfNameExists or NotEnoughMemory.
        """
        if parent.kind is not FileKind.DF:
            raise IncompatibleFile("only a directory holds files")
        if template.fid in RESERVED:
            raise IncorrectData("the file identifier is reserved")
        path = parent.path + template.fid
        size = max(template.size, len(content))
        if self.exists(path):
            raise FileExists("the directory has a file with that identifier")
        if template.name and self._transaction.get(_NAME, template.name) is not None:
            raise DfNameExists("a directory with that name exists")
        if len(self._files()) >= MAX_FILES or size > MAX_FILE_SIZE or len(path) > 2 * MAX_DEPTH:
            raise NotEnoughMemory("too many files, too large, or too deep")
        file = File(path, template.kind, template.attributes, size, template.name)
        self._put(file)
        if file.kind is FileKind.EF:
            self._transaction.put(_BODY, path, content.ljust(size, b"\0"))
        if file.name:
            self._transaction.put(_NAME, file.name, path)
        return file

    def delete(self, file: File) -> None:
        """Delete a file, or a directory and all below it; not the master file."""
        for path in [path for path in self._files() if path.startswith(file.path)]:
            found = self.find(path)
            if found.name:
                self._transaction.delete(_NAME, found.name)
            self._transaction.delete(_HEADER, path)
            self._transaction.delete(_BODY, path)
            del self._files()[path]

    def clear(self) -> None:
        """Delete everything below the master file."""
        self.delete(_ROOT)

    def read(self, file: File, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; raises IncompatibleFile or OffsetOutsideFile."""
        content = self._content(file)
        if offset > len(content):
            raise OffsetOutsideFile("the offset is beyond the end of the file")
        return content[offset : offset + length]

    def write(self, file: File, offset: int, data: bytes, size: int | None = None) -> None:
        """Replace what is at `offset`, growing the file where needed, then cut or fill to `size`.

        Raises IncompatibleFile, OffsetOutsideFile (a file has no holes), IncorrectData when
        `size` would cut what was just written, or NotEnoughMemory.
        """
        content = self._content(file)
        end = offset + len(data)
        if offset > len(content):
            raise OffsetOutsideFile("the offset is beyond the end of the file")
        if size is not None and size < end:
            raise IncorrectData("the size would cut off what is written")
        if max(end, size or 0) > MAX_FILE_SIZE:
            raise NotEnoughMemory("the file would be too large")
        content = content[:offset] + data + content[end:]
        if size is not None:
            content = content[:size].ljust(size, b"\0")
        self._transaction.put(_BODY, file.path, content)
        if len(content) != file.size:
            self._put(replace(file, size=len(content)))

    def _content(self, file: File) -> bytes:
        if file.kind is not FileKind.EF:
            raise IncompatibleFile("a directory has no data")
        content = self._transaction.get(_BODY, file.path)
        if content is None:
            raise StorageCorrupt(f"the content of file {file.path.hex()} is missing")
        return content

    def _put(self, file: File) -> None:
        self._transaction.put(_HEADER, file.path, file.encode())
        self._files()[file.path] = file

    def _files(self) -> dict[bytes, File | None]:
        if self._known is None:
            self._known = dict.fromkeys(self._transaction.idents(_HEADER))
        return self._known

    def _forget(self) -> None:
        self._known = None
