"""The contract of every store, and the buffering they share.

A store keeps records: bytes under a kind (a short name) and an identifier (bytes). Changes are
buffered; `commit` makes them durable all at once, and a power cut leaves either all or none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

Key = tuple[str, bytes]
Changes = Mapping[Key, bytes | None]


class StorageError(Exception):
    """The store cannot be read or written; nothing that was committed is lost."""


class StorageCorrupt(StorageError):
    """What is stored is not what was written: damaged, exchanged or tampered with."""


class StorageRefused(StorageError):
    """The file can be read and may not be used: it is open to others, or of a later version."""


class WrongKey(StorageError):
    """The storage key or the passphrase does not fit."""


class Store(Protocol):
    """Durable records with buffered, atomic changes. Not thread-safe: the card serialises."""

    def get(self, kind: str, ident: bytes) -> bytes | None:
        """Give a record, buffered changes included; None when there is none.

        Raises StorageCorrupt for a record that fails its authentication, StorageError when it
        cannot be read.
        """

    def idents(self, kind: str) -> list[bytes]:
        """Give the identifiers of a kind in ascending order, buffered changes included."""

    def put(self, kind: str, ident: bytes, value: bytes) -> None:
        """Set a record; buffered until `commit`."""

    def delete(self, kind: str, ident: bytes) -> None:
        """Remove a record if it exists; buffered until `commit`."""

    def commit(self) -> None:
        """Make all buffered changes durable, atomically; an empty buffer costs nothing.

        Raises StorageError when they could not be written: the durable state is as before, and
        the changes stay buffered for another `commit` or a `rollback`.
        """

    def rollback(self) -> None:
        """Forget the buffered changes."""

    @property
    def dirty(self) -> bool:
        """Whether changes are buffered."""

    def rest(self) -> None:
        """Let go of what the medium gives again at the next use; nothing where changes wait.

        That use raises StorageError or StorageCorrupt where the medium gives something else.
        """

    def close(self) -> None:
        """Forget the buffered changes and let go of the medium; closing twice is allowed."""


class BufferedStore(ABC):
    """The part of a store that does not depend on the medium."""

    def __init__(self) -> None:
        self._buffer: dict[Key, bytes | None] = {}
        self._closed = False

    def get(self, kind: str, ident: bytes) -> bytes | None:
        self._check_open()
        key = (kind, ident)
        if key in self._buffer:
            return self._buffer[key]
        return self._read(kind, ident)

    def idents(self, kind: str) -> list[bytes]:
        self._check_open()
        found = set(self._read_idents(kind))
        for (buffered_kind, ident), value in self._buffer.items():
            if buffered_kind != kind:
                continue
            if value is None:
                found.discard(ident)
            else:
                found.add(ident)
        return sorted(found)

    def put(self, kind: str, ident: bytes, value: bytes) -> None:
        self._check_open()
        # A copy, so that a bytearray changed by its owner cannot change what will be written.
        self._buffer[kind, bytes(ident)] = bytes(value)

    def delete(self, kind: str, ident: bytes) -> None:
        self._check_open()
        self._buffer[kind, bytes(ident)] = None

    def commit(self) -> None:
        self._check_open()
        if self._buffer:
            self._write(self._buffer)
            self._buffer = {}

    def rollback(self) -> None:
        self._buffer = {}

    @property
    def dirty(self) -> bool:
        return bool(self._buffer)

    def rest(self) -> None:
        if not self._buffer and not self._closed:
            self._rest()

    def close(self) -> None:
        self._buffer = {}
        if not self._closed:
            self._closed = True
            self._close()

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("the store is closed")

    @abstractmethod
    def _read(self, kind: str, ident: bytes) -> bytes | None:
        """Give a committed record."""

    @abstractmethod
    def _read_idents(self, kind: str) -> list[bytes]:
        """Give the identifiers of the committed records of a kind, in any order."""

    @abstractmethod
    def _write(self, changes: Changes) -> None:
        """Make changes durable: all of them, or none and StorageError."""

    @abstractmethod
    def _rest(self) -> None:
        """Keep nothing of the medium but what takes it up again."""

    @abstractmethod
    def _close(self) -> None:
        """Let go of the medium."""
