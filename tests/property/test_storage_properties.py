"""Stores against a model: any order of changes, commits, rollbacks, restarts and power cuts."""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from token_fw.storage import Medium, MemoryStore, SqliteStore, StorageError, Store

KEY = bytes(range(32))
KINDS = ("pin", "key", "file")
kinds = st.sampled_from(KINDS)
idents = st.sampled_from([b"", b"\x00", b"\x01", b"\x01\x00", b"\xff" * 8])
values = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda byte, size: byte * size, st.binary(min_size=1, max_size=1), st.just(3000)),
)
Records = dict[tuple[str, bytes], bytes]


class StoreMachine(RuleBasedStateMachine):
    """The model is two dictionaries: what is durable, and that with the buffered changes."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.durable: Records = {}
        self.current: Records = {}

    def cut(self) -> Store:
        """Give the store of the next start after the power went."""
        raise NotImplementedError

    @rule(kind=kinds, ident=idents, value=values)
    def put(self, kind: str, ident: bytes, value: bytes) -> None:
        self.store.put(kind, ident, value)
        self.current[kind, ident] = value

    @rule(kind=kinds, ident=idents)
    def delete(self, kind: str, ident: bytes) -> None:
        self.store.delete(kind, ident)
        self.current.pop((kind, ident), None)

    @rule(kind=kinds, ident=idents)
    def get(self, kind: str, ident: bytes) -> None:
        assert self.store.get(kind, ident) == self.current.get((kind, ident))

    @rule()
    def commit(self) -> None:
        self.store.commit()
        self.durable = dict(self.current)

    @rule()
    def rollback(self) -> None:
        self.store.rollback()
        self.current = dict(self.durable)

    @rule()
    def lose_power(self) -> None:
        self.store = self.cut()
        self.current = dict(self.durable)

    @invariant()
    def identifiers_agree(self) -> None:
        for kind in KINDS:
            expected = sorted(ident for record_kind, ident in self.current if record_kind == kind)
            assert self.store.idents(kind) == expected

    @precondition(lambda self: not self.store.dirty)
    @invariant()
    def a_clean_store_is_durable(self) -> None:
        assert self.current == self.durable

    def teardown(self) -> None:
        for (kind, ident), value in self.current.items():
            assert self.store.get(kind, ident) == value
        self.store.close()


class MemoryMachine(StoreMachine):
    def __init__(self) -> None:
        super().__init__()
        self.medium = Medium()
        self.store = MemoryStore(self.medium)

    def cut(self) -> Store:
        return MemoryStore(self.medium)


class SqliteMachine(StoreMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="klyuch-store-"))
        self.starts = 0
        self.store = SqliteStore(self.path, KEY)

    @property
    def path(self) -> Path:
        return self.folder / f"token{self.starts}.sqlite"

    def cut(self) -> Store:
        # What is on the disk at this moment, without what closing would still write.
        left = {file.name: file.read_bytes() for file in self.folder.iterdir()}
        self.store.close()
        before = self.path.name
        self.starts += 1
        for name, content in left.items():
            if name.startswith(before):
                (self.folder / name.replace(before, self.path.name)).write_bytes(content)
        return SqliteStore(self.path, KEY, create=False)

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = SqliteStore(self.path, KEY, create=False)
        self.current = dict(self.durable)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


TestMemoryStore = MemoryMachine.TestCase
TestMemoryStore.settings = settings(max_examples=max(100, settings().max_examples // 4))
TestSqliteStore = SqliteMachine.TestCase
TestSqliteStore.settings = settings(
    max_examples=max(25, settings().max_examples // 10), stateful_step_count=30
)


class Journal:
    """A token's file and log after some commits, kept in memory to be damaged and opened again."""

    COMMITS = 12

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory(prefix="klyuch-store-") as folder:
            path = Path(folder) / "token.sqlite"
            log = Path(folder) / "token.sqlite-wal"
            with closing(SqliteStore(path, KEY)) as store:
                self.lengths = [log.stat().st_size]
                for number in range(1, self.COMMITS + 1):
                    # Two records and several pages a commit, so that half of one would show.
                    store.put("file", b"a", number.to_bytes(2, "big"))
                    store.put("file", b"b", number.to_bytes(2, "big") * 1500)
                    store.commit()
                    self.lengths.append(log.stat().st_size)
                self.file, self.log = path.read_bytes(), log.read_bytes()

    def commits_in(self, length: int) -> int:
        """How many commits a log of this length holds whole."""
        return sum(length >= end for end in self.lengths) - 1

    def open_with(self, file: bytes, log: bytes) -> int:
        """Open the token and give the number of its last commit."""
        with tempfile.TemporaryDirectory(prefix="klyuch-store-") as folder:
            path = Path(folder) / "token.sqlite"
            path.write_bytes(file)
            path.with_name("token.sqlite-wal").write_bytes(log)
            with closing(SqliteStore(path, KEY, create=False)) as store:
                number = store.get("file", b"a") or b"\x00\x00"
                assert (store.get("file", b"b") or b"\x00\x00" * 1500) == number * 1500
                return int.from_bytes(number, "big")


journal = Journal()
with_files = settings(max_examples=max(50, settings().max_examples // 10))


@with_files
@given(length=st.integers(journal.lengths[0], journal.lengths[-1]))
def test_a_log_cut_anywhere_holds_exactly_the_commits_that_are_whole(length: int) -> None:
    assert journal.open_with(journal.file, journal.log[:length]) == journal.commits_in(length)


@with_files
@given(
    length=st.integers(journal.lengths[0], journal.lengths[-1] - 1),
    garbage=st.binary(min_size=1, max_size=64),
)
def test_garbage_after_the_last_whole_commit_is_not_taken_for_one(
    length: int, garbage: bytes
) -> None:
    torn = journal.log[:length] + bytes(byte ^ 0x55 for byte in journal.log[length:])
    for log in (torn, journal.log[:length] + garbage):
        if not log.startswith(journal.log[: length + 1]):
            assert journal.open_with(journal.file, log) == journal.commits_in(length)


@with_files
@given(data=st.data())
def test_no_flipped_bit_of_file_or_log_ever_shows_half_a_commit(data: st.DataObject) -> None:
    file, log = bytearray(journal.file), bytearray(journal.log)
    target = data.draw(st.sampled_from([file, log]))
    place = data.draw(st.integers(0, len(target) - 1))
    target[place] ^= 1 << data.draw(st.integers(0, 7))
    read: Callable[[], int] = lambda: journal.open_with(bytes(file), bytes(log))  # noqa: E731
    try:
        number = read()
    except StorageError:
        return
    assert 0 <= number <= Journal.COMMITS
