"""The file of a token: settings, privacy, encryption, damage, keys, versions, locks."""

import os
import random
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from token_fw.storage import SqliteStore, StorageCorrupt, StorageError, WrongKey
from token_fw.storage import sqlite as module

KEY = bytes(range(32))
SECRET = b"the private key of Ivan Petrov, not for others"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "token.sqlite"


def make(path: Path, **records: bytes) -> None:
    with closing(SqliteStore(path, KEY)) as store:
        for name, value in records.items():
            store.put("key", name.encode(), value)
        store.commit()


@contextmanager
def opened_raw(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as someone without the storage key may change it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def read_all(path: Path) -> dict[bytes, bytes | None]:
    with closing(SqliteStore(path, KEY, create=False)) as store:
        return {ident: store.get("key", ident) for ident in store.idents("key")}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),  # FULL
        ("secure_delete", 1),
        ("locking_mode", "exclusive"),
        ("cache_size", -16),
        ("trusted_schema", 0),
        ("application_id", module.APPLICATION_ID),
        ("user_version", len(module.MIGRATIONS)),
    ],
)
def test_the_settings_that_keep_it_safe_are_in_force(
    setting: str, value: object, path: Path
) -> None:
    with closing(SqliteStore(path, KEY)) as store:
        assert store._db.execute(f"PRAGMA {setting}").fetchone() == (value,)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777], ids=oct)
def test_only_the_owner_may_read_the_files(umask: int, path: Path) -> None:
    before = os.umask(umask)
    try:
        store = SqliteStore(path, KEY)
        store.put("key", b"\x01", SECRET)
        store.commit()
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert modes == {"token.sqlite": 0o600, "token.sqlite-wal": 0o600}


def test_a_file_that_others_may_read_is_made_private_again(path: Path) -> None:
    make(path, one=SECRET)
    path.chmod(0o644)
    assert read_all(path) == {b"one": SECRET}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_contents_are_nowhere_in_the_clear(path: Path) -> None:
    store = SqliteStore(path, KEY)
    for value in (SECRET, SECRET * 1000):
        store.put("key", b"\x01", value)
        store.commit()
        clear_of_secrets(path.parent)
    store.delete("key", b"\x01")
    store.commit()
    clear_of_secrets(path.parent)
    store.close()
    clear_of_secrets(path.parent)


def clear_of_secrets(folder: Path) -> None:
    files = list(folder.iterdir())
    assert files
    for file in files:
        content = file.read_bytes()
        assert content
        assert SECRET not in content
        assert KEY not in content


def test_every_write_has_a_fresh_nonce_and_the_next_version(path: Path) -> None:
    seen = []
    with closing(SqliteStore(path, KEY)) as store:
        for _ in range(20):
            store.put("key", b"\x01", b"the same value")
            store.commit()
            row = store._db.execute("SELECT version, nonce, data FROM record").fetchone()
            seen.append(row)
    assert [version for version, _, _ in seen] == list(range(1, 21))
    assert len({nonce for _, nonce, _ in seen}) == 20
    assert len({data for _, _, data in seen}) == 20


def test_an_empty_commit_writes_nothing(path: Path) -> None:
    with closing(SqliteStore(path, KEY)) as store:
        store.put("key", b"\x01", b"value")
        store.commit()
        writes = store._db.total_changes
        store.commit()
        store.rollback()
        store.commit()
        assert store._db.total_changes == writes


def test_closing_moves_everything_into_one_file(path: Path) -> None:
    make(path, one=SECRET)
    assert [file.name for file in path.parent.iterdir()] == ["token.sqlite"]
    copy = path.with_name("copy.sqlite")
    copy.write_bytes(path.read_bytes())
    assert read_all(copy) == {b"one": SECRET}


def test_a_wrong_key_is_told_apart_and_changes_nothing(path: Path) -> None:
    make(path, one=SECRET)
    content = path.read_bytes()
    with pytest.raises(WrongKey, match="does not open"):
        SqliteStore(path, bytes(32))
    assert path.read_bytes() == content
    assert read_all(path) == {b"one": SECRET}


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_storage_key_has_32_bytes(length: int, path: Path) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SqliteStore(path, bytes(length))


def test_every_flipped_bit_of_a_record_is_noticed(path: Path) -> None:
    make(path, one=b"sixteen bytes ok", two=b"")
    columns = {"data": 16, "nonce": 12, "tag": 16}
    for column, size in columns.items():
        for bit in range(8 * size):
            with opened_raw(path) as raw:
                change = f"UPDATE record SET {column} = ? WHERE ident = x'6f6e65'"
                (old,) = raw.execute(f"SELECT {column} FROM record ORDER BY ident").fetchone()
                new = bytearray(old)
                new[bit // 8] ^= 1 << bit % 8
                raw.execute(change, (bytes(new),))
            with pytest.raises(StorageCorrupt):
                read_all(path)
            with opened_raw(path) as raw:
                raw.execute(change, (old,))
    assert read_all(path) == {b"one": b"sixteen bytes ok", b"two": b""}


TAMPERINGS = {
    "values exchanged": (
        "UPDATE record AS r SET (nonce, tag, data) ="
        " (SELECT nonce, tag, data FROM record WHERE ident <> r.ident)"
    ),
    "identifiers exchanged": (
        "UPDATE record SET ident = CASE ident WHEN x'6f6e65' THEN x'00' ELSE x'6f6e65' END;"
        "UPDATE record SET ident = x'74776f' WHERE ident = x'00'"
    ),
    "moved to another kind": "UPDATE record SET kind = CAST('pin' AS BLOB) WHERE ident = x'6f6e65'",
    "version raised": "UPDATE record SET version = version + 1 WHERE ident = x'6f6e65'",
    "version negative": "UPDATE record SET version = -1",
    "version not a number": "UPDATE record SET version = 'one'",
    "record removed": "DELETE FROM record WHERE ident = x'6f6e65'",
    "all records removed": "DELETE FROM record",
    "record copied": (
        "INSERT INTO record SELECT kind, x'05', version, nonce, tag, data FROM record LIMIT 1"
    ),
    "data cut": "UPDATE record SET data = substr(data, 2)",
    "data absent": "UPDATE record SET data = x''",
    "data a text": "UPDATE record SET data = 'text'",
    "tag cut": "UPDATE record SET tag = substr(tag, 2)",
    "identifier a text": "UPDATE record SET ident = 'text' WHERE ident = x'6f6e65'",
    "identifier a text that is no text": "UPDATE record SET ident = CAST(x'ff' AS TEXT)"
    " WHERE ident = x'6f6e65'",
    "manifest changed": "UPDATE token SET manifest = zeroblob(32)",
    "manifest absent": "DELETE FROM token",
    "salt absent": "UPDATE token SET salt = x''",
    "table absent": "DROP TABLE record",
    "column absent": "ALTER TABLE record DROP COLUMN data",
    "not marked as a token": "PRAGMA application_id = 0",
    "no schema version": "PRAGMA user_version = 0",
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_tampering_is_noticed(tampering: str, path: Path) -> None:
    make(path, one=b"first", two=b"second")
    with opened_raw(path) as raw:
        raw.executescript(TAMPERINGS[tampering])
    with pytest.raises(StorageCorrupt):
        read_all(path)


def test_a_record_put_back_to_an_earlier_version_is_noticed(path: Path) -> None:
    make(path, tries=b"3")
    with opened_raw(path) as raw:
        (version, nonce, tag, data) = raw.execute(
            "SELECT version, nonce, tag, data FROM record"
        ).fetchone()
    make(path, tries=b"2")
    with opened_raw(path) as raw:
        raw.execute(
            "UPDATE record SET version = ?, nonce = ?, tag = ?, data = ?",
            (version, nonce, tag, data),
        )
    with pytest.raises(StorageCorrupt, match="not those that were written"):
        read_all(path)


def test_records_of_a_token_with_the_same_key_do_not_fit(path: Path) -> None:
    other = path.with_name("other.sqlite")
    make(path, one=b"value")
    make(other, one=b"value")
    with opened_raw(path) as raw:
        raw.executescript(
            f"ATTACH '{other}' AS other; DELETE FROM record;"
            "INSERT INTO record SELECT * FROM other.record"
        )
    with pytest.raises(StorageCorrupt):
        read_all(path)


def test_a_damaged_record_is_named_and_the_others_can_be_read(path: Path) -> None:
    make(path, one=b"first", two=b"second")
    with opened_raw(path) as raw:
        raw.execute("UPDATE record SET data = x'00' WHERE ident = x'6f6e65'")
    with closing(SqliteStore(path, KEY)) as store:
        with pytest.raises(StorageCorrupt, match="key/6f6e65"):
            store.get("key", b"one")
        assert store.get("key", b"two") == b"second"


def test_flipped_bytes_anywhere_in_the_file_never_give_a_wrong_value(path: Path) -> None:
    records = {b"one": b"first", b"two": b"second" * 200, b"three": b""}
    make(path, **{ident.decode(): value for ident, value in records.items()})
    good = path.read_bytes()
    chance = random.Random(20)
    # Every byte of the header, and a sample of the rest.
    places = [*range(100), *(chance.randrange(100, len(good)) for _ in range(500))]
    noticed = 0
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << chance.randrange(8)
        path.write_bytes(bad)
        try:
            assert read_all(path) == records
        except StorageError:
            noticed += 1
    assert noticed > 30


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.6, 0.99])
def test_a_truncated_file_is_corrupt(kept: float, path: Path) -> None:
    make(path, one=SECRET, two=SECRET * 100)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(StorageCorrupt):
        read_all(path)


def test_something_else_is_not_a_token(path: Path) -> None:
    path.write_bytes(b"This is a letter, not a token. " * 50)
    with pytest.raises(StorageCorrupt):
        SqliteStore(path, KEY)
    path.unlink()
    with opened_raw(path) as raw:
        raw.execute("CREATE TABLE letters (text)")
    with pytest.raises(StorageCorrupt, match="not a token"):
        SqliteStore(path, KEY)


def test_a_file_of_a_later_version_is_refused_and_left_alone(path: Path) -> None:
    make(path, one=SECRET)
    with opened_raw(path) as raw:
        raw.execute("PRAGMA user_version = 99")
    content = path.read_bytes()
    with pytest.raises(StorageError, match=r"later version of klyuch .*schema 99"):
        SqliteStore(path, KEY)
    assert path.read_bytes() == content


def test_a_file_of_an_earlier_version_is_migrated(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(path, one=SECRET)
    later = (*module.MIGRATIONS, ("ALTER TABLE token ADD COLUMN note BLOB",))
    monkeypatch.setattr(module, "MIGRATIONS", later)
    assert read_all(path) == {b"one": SECRET}
    with opened_raw(path) as raw:
        assert raw.execute("PRAGMA user_version").fetchone() == (2,)
        assert raw.execute("SELECT note FROM token").fetchone() == (None,)


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(path, one=SECRET)
    broken = ("ALTER TABLE token ADD COLUMN note BLOB", "SELECT nothing FROM nowhere")
    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, broken))
        with pytest.raises(StorageError):
            SqliteStore(path, KEY)
    assert read_all(path) == {b"one": SECRET}


def test_an_interrupted_creation_is_finished_by_the_next(path: Path) -> None:
    path.touch()
    with pytest.raises(StorageCorrupt, match="empty"):
        SqliteStore(path, KEY, create=False)
    make(path, one=SECRET)
    assert read_all(path) == {b"one": SECRET}


def test_an_absent_file_is_not_made_unless_wanted(path: Path) -> None:
    with pytest.raises(StorageError, match="no token"):
        SqliteStore(path, KEY, create=False)
    assert not path.exists()
    with pytest.raises(StorageError):
        SqliteStore(path / "below" / "nothing", KEY)
    with pytest.raises(StorageError):
        SqliteStore(path.parent, KEY)


def test_a_second_process_is_told_that_the_token_is_in_use(path: Path) -> None:
    program = (
        "import sys; from token_fw.storage import *\n"
        "try: SqliteStore(sys.argv[1], bytes(range(32)))\n"
        "except StorageError as error: print(type(error).__name__, error)"
    )
    with closing(SqliteStore(path, KEY)):
        told = subprocess.run(
            [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
        ).stdout
    assert told.startswith("StorageError ")
    assert "in use by another process" in told
    read_all(path)


def test_a_second_store_in_the_same_process_is_refused_too(path: Path) -> None:
    with closing(SqliteStore(path, KEY)), pytest.raises(StorageError, match="in use"):
        SqliteStore(path, KEY)
    read_all(path)


def test_small_records_that_were_read_are_kept_within_a_limit(path: Path) -> None:
    with closing(SqliteStore(path, KEY)) as store:
        for number in range(200):
            store.put("key", number.to_bytes(2, "big"), bytes(500))
        store.put("key", b"large", bytes(5000))
        store.commit()
        assert store._cache._size <= 16 * 1024
        assert ("key", b"large") not in store._cache
        store.get("key", b"\x00\x00")
        assert ("key", b"\x00\x00") in store._cache


def test_what_is_kept_follows_commits_rollbacks_and_deletions(path: Path) -> None:
    with closing(SqliteStore(path, KEY)) as store:
        store.put("key", b"\x01", b"old")
        store.commit()
        assert store.get("key", b"\x01") == b"old"
        store.put("key", b"\x01", b"new")
        store.rollback()
        assert store.get("key", b"\x01") == b"old"
        store.put("key", b"\x01", bytes(5000))
        store.commit()
        assert store.get("key", b"\x01") == bytes(5000)
        store.put("key", b"\x01", b"small again")
        store.commit()
        assert store.get("key", b"\x01") == b"small again"
        store.delete("key", b"\x01")
        store.commit()
        assert store.get("key", b"\x01") is None
        assert store._cache._size == 0


def test_it_may_be_used_from_another_thread(path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with closing(SqliteStore(path, KEY)) as store, ThreadPoolExecutor(1) as other:
        store.put("key", b"\x01", SECRET)
        other.submit(store.commit).result()
        assert other.submit(store.get, "key", b"\x01").result() == SECRET


def test_no_error_tells_the_key_or_a_value(path: Path) -> None:
    make(path, one=SECRET)
    with opened_raw(path) as raw:
        raw.execute("UPDATE record SET data = x'00'")
    with pytest.raises(StorageCorrupt) as error:
        read_all(path)
    for told in (str(error.value), repr(error.value.__cause__)):
        assert "Ivan" not in told
        assert KEY.hex()[:16] not in told
