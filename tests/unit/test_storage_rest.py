"""Stores, cards and racks at rest: files closed, memory given back, and nothing else changed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from apdu.model import SW
from host_tools.conformance import pki_commands as pki
from host_tools.home import Home
from host_tools.rack import Rack
from host_tools.tokens import look
from host_tools.wakeful import Wakeful
from tests import cards
from token_fw.card import Card
from token_fw.env import Env
from token_fw.factory import Profile, personalise
from token_fw.storage import MemoryStore, SqliteStore, StorageCorrupt, StorageError, Store

KEY = bytes(range(32))
PIN = ("pin", b"\x01")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "token.sqlite"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(path, KEY)
    yield made
    made.close()


def open_files(path: Path) -> list[str]:
    """The files of a token that this process has open."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [target for link in links if (target := str(link.readlink())).startswith(str(path))]


def write(store: Store, value: bytes) -> None:
    store.put(*PIN, value)
    store.commit()


def test_what_was_committed_is_there_after_a_rest(store: Store) -> None:
    for value in (b"three tries", b"two tries"):
        write(store, value)
        store.rest()
        store.rest()
        assert store.get(*PIN) == value
        assert store.idents("pin") == [b"\x01"]


def test_a_store_with_changes_waiting_does_not_rest(store: Store) -> None:
    write(store, b"three tries")
    store.put(*PIN, b"two tries")
    store.rest()
    assert store.get(*PIN) == b"two tries"
    store.rollback()
    assert store.get(*PIN) == b"three tries"


def test_a_closed_store_stays_closed(store: Store) -> None:
    store.close()
    store.rest()
    with pytest.raises(StorageError, match="closed"):
        store.get(*PIN)


def test_at_rest_the_file_is_whole_and_closed(path: Path) -> None:
    with closing(SqliteStore(path, KEY)) as store:
        write(store, b"three tries")
        assert open_files(path)
        store.rest()
        assert (store.resting, open_files(path)) == (True, [])
        assert list(path.parent.iterdir()) == [path]
        assert store.get(*PIN) == b"three tries"
        assert (store.resting, bool(open_files(path))) == (False, True)


def test_whoever_asked_is_told_of_each_waking(path: Path) -> None:
    told = []
    with closing(SqliteStore(path, KEY)) as store:
        store.on_wake = lambda: told.append(store.resting)
        for _ in range(2):
            store.rest()
            store.get(*PIN)
            store.get(*PIN)
    assert told == [False, False]


def test_an_older_file_put_in_place_during_a_rest_is_noticed(path: Path) -> None:
    with closing(SqliteStore(path, KEY)) as store:
        write(store, b"three tries")
        store.rest()
        older = shutil.copy(path, path.with_name("older"))
        write(store, b"two tries")
        store.rest()
        newer = shutil.copy(path, path.with_name("newer"))
        shutil.copy(older, path)
        for _ in range(2):
            with pytest.raises(StorageCorrupt, match="changed by another program"):
                store.get(*PIN)
            assert open_files(path) == []
        shutil.copy(newer, path)
        assert store.get(*PIN) == b"two tries"


def test_a_record_that_was_damaged_during_a_rest_is_noticed(path: Path) -> None:
    with closing(SqliteStore(path, KEY)) as store:
        write(store, b"three tries")
        store.rest()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("DELETE FROM record")
        with pytest.raises(StorageCorrupt):
            store.get(*PIN)


def test_a_file_that_went_away_during_a_rest_is_not_made_anew(path: Path) -> None:
    with closing(SqliteStore(path, KEY)) as store:
        store.rest()
        path.unlink()
        with pytest.raises(StorageError, match="no token"):
            store.get(*PIN)
        assert not path.exists()


def test_a_file_that_somebody_else_has_after_a_rest_is_refused_until_it_is_free(path: Path) -> None:
    with closing(SqliteStore(path, KEY)) as store:
        write(store, b"three tries")
        store.rest()
        with closing(SqliteStore(path, KEY, create=False)), pytest.raises(StorageError, match="in"):
            store.get(*PIN)
        assert store.get(*PIN) == b"three tries"


def test_a_commit_whose_outcome_is_unknown_is_no_change_by_others(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(SqliteStore(path, KEY)) as store:
        write(store, b"three tries")
        execute = SqliteStore._execute

        def commit_and_fail(self: SqliteStore, statement: str, *values: object) -> None:
            execute(self, statement, *values)  # type: ignore[arg-type]  # passed on as they came
            if statement == "COMMIT":
                raise sqlite3.OperationalError("the disk went away")

        monkeypatch.setattr(SqliteStore, "_execute", commit_and_fail)
        store.put(*PIN, b"two tries")
        with pytest.raises(StorageError):
            store.commit()
        monkeypatch.undo()
        store.rollback()
        store.rest()
        assert store.get(*PIN) == b"two tries"


def test_an_interface_notices_nothing_of_a_rest() -> None:
    bench = cards.operational()
    client = cards.logged_in(bench)
    point = cards.make_key(client, 7)
    client.ok(pki.mse(pki.SIGN, pki.ECDSA, 7))
    before = bench.digest(), bench.card.changes
    assert bench.card.rest()
    pki.check_ecdsa(point, bytes(32), client.ok(pki.sign(bytes(32))))
    assert client.status(pki.verify(pki.USER)) == SW.NO_ERROR
    assert (bench.digest(), bench.card.changes) == before


def test_a_rest_gives_no_try_back() -> None:
    bench = cards.operational()
    client = bench.client()
    assert client.status(pki.verify(pki.USER, b"000000")) == SW.WRONG_PIN | 2
    assert bench.card.rest()
    assert client.status(pki.verify(pki.USER)) == SW.WRONG_PIN | 2
    assert client.status(pki.verify(pki.USER, b"000000")) == SW.WRONG_PIN | 1


class NosyStore(MemoryStore):
    """Asks its card to rest in the middle of a command."""

    card: Card | None = None
    answers: tuple[bool, ...] = ()

    def get(self, kind: str, ident: bytes) -> bytes | None:
        if self.card is not None:
            self.answers = (*self.answers, self.card.rest())
        return super().get(kind, ident)


def test_a_card_does_not_rest_while_a_command_runs() -> None:
    store = NosyStore()
    bench = cards.operational(store=store)
    client = bench.client()
    store.card = bench.card
    client.log_in()
    assert set(store.answers) == {False}
    store.card = None
    assert bench.card.rest()


def test_of_many_cards_those_used_last_are_awake(tmp_path: Path) -> None:
    wakeful = Wakeful(most=2)
    stores: list[SqliteStore] = []
    held: list[Card] = []
    for number in range(4):
        store = SqliteStore(tmp_path / f"{number}.sqlite", KEY)
        personalise(store, Profile(cards.SERIAL))
        held.append(Card(Env(store)))
        stores.append(store)
        store.on_wake = lambda card=held[-1]: wakeful.add(card)  # type: ignore[misc]  # bound early
        wakeful.add(held[-1])
    assert [store.resting for store in stores] == [True, True, False, False]
    clients = [cards.Client(card.connect()) for card in held]
    for number in (2, 3, 2, 0):
        clients[number].ok(pki.get_data(0x04))
    assert sum(not store.resting for store in stores) == 2
    assert not stores[0].resting
    wakeful.discard(held[0])
    clients[1].ok(pki.get_data(0x04))
    assert not stores[0].resting
    for store in stores:
        store.close()


def test_a_rack_opens_few_files_of_many_tokens(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    rack = Rack(home, open_tokens=3)
    for _ in range(8):
        rack.keep(rack.create(Profile(os.urandom(8)), None), "")
    for _ in range(2):
        for reader in rack.tokens():
            assert look(reader).serial == reader.serial
            assert reader.is_open
    assert len({name for name in open_files(home.tokens) if name.endswith(".sqlite")}) == 3
    rack.remove(rack.tokens()[7])
    rack.insert(rack.tokens()[7])
    assert [look(reader).serial for reader in rack.tokens()] == [r.serial for r in rack.tokens()]
    rack.close()
    assert open_files(home.tokens) == []
