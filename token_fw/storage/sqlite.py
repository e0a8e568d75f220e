"""The durable store: one SQLite file a token, encrypted, in WAL mode with full synchronisation.

A commit has reached the disk when it returns. The file belongs to one process at a time, which
is what allows the cache of decrypted records. A store at rest has the file closed; when it is used
again, the file must hold what was committed last, to the letter.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from token_fw.storage import files
from token_fw.storage.base import (
    BufferedStore,
    Changes,
    Key,
    StorageCorrupt,
    StorageError,
    StorageRefused,
    WrongKey,
)
from token_fw.storage.sealing import (
    NONCE_SIZE,
    SALT_SIZE,
    TAG_SIZE,
    Sealed,
    Sealer,
    adds_up,
    name,
)

APPLICATION_ID = 0x4B4C5943  # "KLYC" in the file's header

# Exclusive locking keeps a second process out and the WAL index off the disk.
_SETTINGS = """
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA synchronous = FULL;
    PRAGMA secure_delete = ON;
    PRAGMA cache_size = -16;
    PRAGMA wal_autocheckpoint = 256;
    PRAGMA journal_size_limit = 1048576;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
"""
_LOCK_WAIT_SECONDS = 0.5
_STATEMENT_CACHE = 12

_CREATE = (
    """CREATE TABLE token (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        salt BLOB NOT NULL,
        key_check BLOB NOT NULL,
        version INTEGER NOT NULL,
        nonce BLOB NOT NULL,
        tag BLOB NOT NULL,
        manifest BLOB NOT NULL
    )""",
    # One tree and no second index, which could contradict it when damaged. The data comes last,
    # so that a scan of the other columns does not read it.
    """CREATE TABLE record (
        kind BLOB NOT NULL,
        ident BLOB NOT NULL,
        version INTEGER NOT NULL,
        nonce BLOB NOT NULL,
        tag BLOB NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (kind, ident)
    ) WITHOUT ROWID""",
)

# The n-th entry takes a file from schema version n to n + 1.
MIGRATIONS: tuple[tuple[str, ...], ...] = (_CREATE,)

_CORRUPT_CODES = frozenset(
    (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        # The statements are fixed, so these come from a schema or an index that is not ours.
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_TOOBIG,
    )
)
_REASONS = {
    sqlite3.SQLITE_BUSY: "it is in use by another process",
    sqlite3.SQLITE_LOCKED: "it is in use by another process",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it cannot be written to",
    sqlite3.SQLITE_PERM: "access to it is denied",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_IOERR: "the disk reports an error or is full",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
}


class SqliteStore(BufferedStore):
    """A store in a file; see token_fw.storage.base for the contract.

    Makes the file if there is none and `create` is true. Raises WrongKey, StorageCorrupt when
    the records are not those that were written, and StorageError when the file cannot be used
    (absent, locked by another process, of a newer version, unreadable).
    """

    def __init__(
        self,
        path: Path | str,
        storage_key: bytes,
        *,
        create: bool = True,
        rng: Callable[[int], bytes] = os.urandom,
    ) -> None:
        super().__init__()
        self._path = Path(path)
        self._rng = rng
        self._cache = _Cache()
        self._connection: sqlite3.Connection | None = None
        self.on_wake: Callable[[], None] = _nobody
        """Called when the store ends its rest, with the file open."""
        _prepare_file(self._path, create)
        with self._opening():
            self._bring_up_to_date(storage_key, create)
            self._sealer = self._unlock(storage_key)
            self._manifest: Sealed | None = self._check_records()

    @property
    def resting(self) -> bool:
        """Whether the file is closed until the next use."""
        return self._connection is None

    @property
    def _db(self) -> sqlite3.Connection:
        """The open file; raises StorageCorrupt where it changed while the store was at rest."""
        if self._connection is None:
            self._wake()
        assert self._connection is not None
        return self._connection

    def _wake(self) -> None:
        _prepare_file(self._path, create=False)
        with self._opening():
            manifest = self._check_records()
            if self._manifest not in (None, manifest):
                raise StorageCorrupt(f"{self._path} was changed by another program")
            self._manifest = manifest
        self.on_wake()

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Open the file, and close it again where what follows fails."""
        with self._translated():
            self._connection = sqlite3.connect(
                self._path,
                timeout=_LOCK_WAIT_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=_STATEMENT_CACHE,
            )
            try:
                self._configure()
                yield
                self._execute("PRAGMA shrink_memory")
            except BaseException:
                self._disconnect()
                raise

    def _configure(self) -> None:
        self._db.executescript(_SETTINGS)
        (mode,) = self._fetch("PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise StorageError(f"{self._path} cannot be kept safe here: no write-ahead log")

    def _bring_up_to_date(self, storage_key: bytes, create: bool) -> None:
        (application,) = self._fetch("PRAGMA application_id")
        (version,) = self._fetch("PRAGMA user_version")
        (tables,) = self._fetch("SELECT count(*) FROM sqlite_schema")
        blank = not (application or version or tables)
        if blank and not create:
            raise StorageCorrupt(f"{self._path} is empty")
        if not blank and (application != APPLICATION_ID or not version):
            raise StorageCorrupt(f"{self._path} is not a token")
        if version > len(MIGRATIONS):
            raise StorageRefused(
                f"{self._path} was written by a later version of klyuch "
                f"(schema {version}, this one knows up to {len(MIGRATIONS)}); update klyuch"
            )
        if version == len(MIGRATIONS):
            return
        with self._transaction():
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    self._execute(statement)
            self._execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            if blank:
                self._execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._write_first_manifest(storage_key)

    def _write_first_manifest(self, storage_key: bytes) -> None:
        salt = self._rng(SALT_SIZE)
        sealer = Sealer(storage_key, salt, self._rng)
        manifest = sealer.seal_manifest(0, 0)
        self._execute(
            "INSERT INTO token VALUES (1, ?, ?, ?, ?, ?, ?)",
            (salt, sealer.check, 0, manifest.nonce, manifest.tag, manifest.data),
        )

    def _unlock(self, storage_key: bytes) -> Sealer:
        match self._fetch("SELECT salt, key_check FROM token"):
            case (bytes(salt), bytes(check)) if len(salt) == SALT_SIZE:
                sealer = Sealer(storage_key, salt, self._rng)
                if sealer.check != check:
                    raise WrongKey(f"the storage key does not open {self._path}")
                return sealer
        raise StorageCorrupt(f"the head of {self._path} is damaged")

    def _check_records(self) -> Sealed:
        """Check the records against the manifest, which is given; raises StorageCorrupt."""
        total = 0
        last: tuple[bytes, bytes] | None = None
        rows = self._db.execute(
            "SELECT kind, ident, version, nonce, tag FROM record ORDER BY kind, ident"
        )
        for kind, ident, *columns in rows:
            if not isinstance(kind, bytes) or not isinstance(ident, bytes):
                raise StorageCorrupt(f"the list of records of {self._path} is damaged")
            if last is not None and last >= (kind, ident):
                # A search in a tree out of order would miss records that are there.
                raise StorageCorrupt(f"the records of {self._path} are out of order")
            last = (kind, ident)
            total += self._sealer.mark(kind, ident, _sealed(kind, ident, (*columns, b"")))
        manifest = self._read_manifest()
        if not adds_up(total, self._sealer.open_manifest(manifest)):
            raise StorageCorrupt(f"the records of {self._path} are not those that were written")
        return manifest

    def _read_manifest(self) -> Sealed:
        return _sealed(b"", b"", self._fetch("SELECT version, nonce, tag, manifest FROM token"))

    def _read(self, kind: str, ident: bytes) -> bytes | None:
        key = (kind, ident)
        if key in self._cache:
            return self._cache.get(key)
        with self._translated():
            row = self._fetch(
                "SELECT version, nonce, tag, data FROM record WHERE kind = ? AND ident = ?",
                (kind.encode(), ident),
            )
        if not row:
            return None
        value = self._sealer.open(kind, ident, _sealed(kind.encode(), ident, row))
        self._cache.put(key, value)
        return value

    def _read_idents(self, kind: str) -> list[bytes]:
        with self._translated():
            rows = self._db.execute("SELECT ident FROM record WHERE kind = ?", (kind.encode(),))
            return [ident for (ident,) in rows]

    def _write(self, changes: Changes) -> None:
        try:
            with self._translated(), self._transaction():
                manifest = self._read_manifest()
                total = self._sealer.open_manifest(manifest)
                for (kind, ident), value in changes.items():
                    total += self._write_record(kind, ident, value)
                sealed = self._sealer.seal_manifest(manifest.version + 1, total)
                self._execute(
                    "UPDATE token SET version = ?, nonce = ?, tag = ?, manifest = ?",
                    (sealed.version, sealed.nonce, sealed.tag, sealed.data),
                )
        except BaseException:
            self._cache.clear()
            # A commit that failed may be in the file all the same.
            self._manifest = None
            raise
        self._manifest = sealed
        for key, value in changes.items():
            self._cache.put(key, value)

    def _write_record(self, kind: str, ident: bytes, value: bytes | None) -> int:
        """Write or delete a record; give what the manifest changes by."""
        place = (kind.encode(), ident)
        row = self._fetch(
            "SELECT version, nonce, tag, x'' FROM record WHERE kind = ? AND ident = ?", place
        )
        version, difference = 0, 0
        if row:
            old = _sealed(*place, row)
            version, difference = old.version, -self._sealer.mark(*place, old)
        if value is None:
            self._execute("DELETE FROM record WHERE kind = ? AND ident = ?", place)
            return difference
        sealed = self._sealer.seal(kind, ident, version + 1, value)
        columns = (sealed.version, sealed.nonce, sealed.tag, sealed.data)
        if row:
            self._execute(
                "UPDATE record SET version = ?, nonce = ?, tag = ?, data = ?"
                " WHERE kind = ? AND ident = ?",
                (*columns, *place),
            )
        else:
            self._execute("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?)", (*place, *columns))
        return difference + self._sealer.mark(*place, sealed)

    def _rest(self) -> None:
        self._cache.clear()
        # Moves what is in the log into the file and removes the log; if that fails, the log
        # stays and the next opening reads it.
        with self._translated():
            self._disconnect()

    def _close(self) -> None:
        self._rest()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            # SQLite has already rolled back after some errors, such as a full disk.
            if self._db.in_transaction:
                self._execute("ROLLBACK")
            raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code in _CORRUPT_CODES:
                raise StorageCorrupt(f"{self._path} is damaged: {error}") from error
            reason = _REASONS.get(code, str(error))
            raise StorageError(f"{self._path} cannot be used: {reason}") from error

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> None:
        self._db.execute(statement, values).close()

    def _fetch(self, statement: str, values: tuple[object, ...] = ()) -> tuple[Any, ...]:
        """Give the first row, or () where there is none."""
        cursor = self._db.execute(statement, values)
        row: tuple[Any, ...] | None = cursor.fetchone()
        cursor.close()
        return row or ()


def _nobody() -> None:
    """Nobody asked to be told."""


class _Cache:
    """Small decrypted records that were used last."""

    _LIMIT = 16 * 1024
    _LARGEST = 1024
    _OVERHEAD = 200

    def __init__(self) -> None:
        self._records: OrderedDict[Key, bytes] = OrderedDict()
        self._size = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._records

    def get(self, key: Key) -> bytes:
        self._records.move_to_end(key)
        return self._records[key]

    def put(self, key: Key, value: bytes | None) -> None:
        """Keep a record if it is small; forget it if it is large or was deleted."""
        old = self._records.pop(key, None)
        if old is not None:
            self._size -= len(old) + self._OVERHEAD
        if value is None or len(value) > self._LARGEST:
            return
        self._records[key] = value
        self._size += len(value) + self._OVERHEAD
        while self._size > self._LIMIT:
            _, dropped = self._records.popitem(last=False)
            self._size -= len(dropped) + self._OVERHEAD

    def clear(self) -> None:
        self._records.clear()
        self._size = 0


def _prepare_file(path: Path, create: bool) -> None:
    """See that there is a file and that only its owner can read it."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError as missing:
        if not create:
            raise StorageError(f"there is no token in {path}") from missing
        mode = None
    except OSError as error:
        raise StorageError(f"{path} cannot be used: {error.strerror}") from error
    try:
        if mode is None:
            files.create_private(path)
        elif mode != files.PRIVATE_MODE:
            path.chmod(files.PRIVATE_MODE)
    except OSError as error:
        raise StorageError(f"{path} cannot be made private: {error.strerror}") from error


def _sealed(kind: bytes, ident: bytes, row: tuple[object, ...]) -> Sealed:
    """Read a row's columns, which a damaged file may have turned into anything."""
    match row:
        case (int(version), bytes(nonce), bytes(tag), bytes(data)) if (
            version >= 0 and len(nonce) == NONCE_SIZE and len(tag) == TAG_SIZE
        ):
            return Sealed(version, nonce, tag, data)
    where = name(kind.decode(errors="replace"), ident) if kind else "that lists the others"
    raise StorageCorrupt(f"the record {where} is damaged")
