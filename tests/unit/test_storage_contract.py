"""What every store does alike, in memory and in a file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from token_fw.storage import Medium, MemoryStore, SqliteStore, StorageError, Store

KEY = bytes(range(32))
Reopen = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Opens the store; each further call is the next start after a power cut."""
    medium = Medium()
    opened: list[Store] = []

    def start() -> Store:
        while opened:
            opened.pop().close()
        store: Store = (
            MemoryStore(medium)
            if request.param == "memory"
            else SqliteStore(tmp_path / "token.sqlite", KEY)
        )
        opened.append(store)
        return store

    yield start
    for store in opened:
        store.close()


def test_a_blank_store_has_nothing(reopen: Reopen) -> None:
    store = reopen()
    assert store.get("pin", b"\x01") is None
    assert store.idents("pin") == []
    assert not store.dirty


def test_a_change_is_seen_before_the_commit_and_kept_after_it(reopen: Reopen) -> None:
    store = reopen()
    store.put("pin", b"\x01", b"three tries")
    assert store.dirty
    assert store.get("pin", b"\x01") == b"three tries"
    assert store.idents("pin") == [b"\x01"]
    store.commit()
    assert reopen().get("pin", b"\x01") == b"three tries"


def test_a_commit_leaves_nothing_buffered(reopen: Reopen) -> None:
    store = reopen()
    store.put("pin", b"\x01", b"three tries")
    store.commit()
    assert not store.dirty


def test_without_a_commit_nothing_is_kept(reopen: Reopen) -> None:
    store = reopen()
    store.put("pin", b"\x01", b"old")
    store.commit()
    store.put("pin", b"\x01", b"new")
    store.put("file", b"\x50\x15", b"content")
    store = reopen()
    assert store.get("pin", b"\x01") == b"old"
    assert store.idents("file") == []


def test_a_rollback_restores_what_was_committed(reopen: Reopen) -> None:
    store = reopen()
    store.put("pin", b"\x01", b"old")
    store.put("pin", b"\x02", b"stays")
    store.commit()
    assert store.get("pin", b"\x01") == b"old"
    store.put("pin", b"\x01", b"new")
    store.delete("pin", b"\x02")
    store.put("pin", b"\x03", b"added")
    store.rollback()
    assert not store.dirty
    assert [store.get("pin", bytes((i,))) for i in (1, 2, 3)] == [b"old", b"stays", None]
    store.commit()
    assert reopen().idents("pin") == [b"\x01", b"\x02"]


def test_a_deleted_record_is_gone(reopen: Reopen) -> None:
    store = reopen()
    store.put("key", b"\x01", b"value")
    store.commit()
    store.delete("key", b"\x01")
    store.delete("key", b"never there")
    assert store.get("key", b"\x01") is None
    store.commit()
    assert store.idents("key") == []
    assert reopen().get("key", b"\x01") is None


def test_a_record_can_be_deleted_and_made_again_in_one_commit(reopen: Reopen) -> None:
    store = reopen()
    store.put("key", b"\x01", b"value")
    store.commit()
    store.delete("key", b"\x01")
    store.put("key", b"\x01", b"other")
    store.commit()
    assert reopen().get("key", b"\x01") == b"other"


def test_identifiers_come_in_order_and_by_kind(reopen: Reopen) -> None:
    store = reopen()
    for ident in (b"\x02", b"\x01\x00", b"", b"\xff", b"\x01"):
        store.put("file", ident, b"x")
    store.commit()
    store.put("file", b"\x00", b"x")
    store.delete("file", b"\xff")
    store.put("fil", b"e\xff", b"another kind")
    expected = [b"", b"\x00", b"\x01", b"\x01\x00", b"\x02"]
    assert store.idents("file") == expected
    store.commit()
    assert reopen().idents("file") == expected


def test_values_of_every_size_come_back(reopen: Reopen) -> None:
    store = reopen()
    values = {i: bytes((i,)) * n for i, n in enumerate((0, 1, 1024, 1025, 4096, 1 << 20))}
    for i, value in values.items():
        store.put("file", bytes((i,)), value)
    store.commit()
    store = reopen()
    assert {i: store.get("file", bytes((i,))) for i in values} == values


def test_a_value_is_copied_when_it_is_put(reopen: Reopen) -> None:
    store = reopen()
    value = bytearray(b"before")
    store.put("file", b"\x01", cast("bytes", value))
    value[:] = b"after!"
    assert store.get("file", b"\x01") == b"before"


def test_a_closed_store_refuses_everything(reopen: Reopen) -> None:
    store = reopen()
    store.put("pin", b"\x01", b"lost")
    store.close()
    store.close()
    assert not store.dirty
    attempts: list[Callable[[], object]] = [
        lambda: store.get("pin", b"\x01"),
        lambda: store.idents("pin"),
        lambda: store.put("pin", b"\x01", b""),
        lambda: store.delete("pin", b"\x01"),
        store.commit,
    ]
    for attempt in attempts:
        with pytest.raises(StorageError, match="closed"):
            attempt()
    assert reopen().get("pin", b"\x01") is None


def test_a_medium_outlives_its_store() -> None:
    medium = Medium()
    first = MemoryStore(medium)
    first.put("pin", b"\x01", b"kept")
    first.commit()
    first.put("pin", b"\x01", b"lost")
    assert MemoryStore(medium).get("pin", b"\x01") == b"kept"
    assert MemoryStore().get("pin", b"\x01") is None
