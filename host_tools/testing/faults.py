"""Stores that fail on purpose, over a medium that outlives them.

A power cut is no Exception, so nothing in the card can catch it and go on: whoever armed it opens
the same medium again with a fresh store and looks at what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from token_fw.storage.base import Changes, StorageError
from token_fw.storage.memory import Medium, MemoryStore


class PowerCut(BaseException):
    """The power is off: the store answers nothing any more."""


class Moment(StrEnum):
    """When a fault strikes, counted from the moment it was armed."""

    BEFORE_COMMIT = "before the n-th commit"
    AFTER_COMMIT = "after the n-th commit, before anybody learns of it"
    READ = "at the n-th read"


@dataclass(frozen=True, slots=True)
class Cut:
    """The plan of one power cut; `count` begins with 1."""

    moment: Moment
    count: int = 1


class PowerCutStore(MemoryStore):
    """A store on a medium whose power fails once, as armed.

    `commits` counts the commits that became durable since the last `arm`.
    """

    def __init__(self, medium: Medium | None = None, cut: Cut | None = None) -> None:
        super().__init__(medium)
        self._cut = cut
        self._off = False
        self._reads = 0
        self.commits = 0

    def arm(self, cut: Cut | None) -> None:
        """Plan a cut, or none, and count from here."""
        self._cut = cut
        self._reads = 0
        self.commits = 0

    def get(self, kind: str, ident: bytes) -> bytes | None:
        self._read_counts()
        return super().get(kind, ident)

    def idents(self, kind: str) -> list[bytes]:
        self._read_counts()
        return super().idents(kind)

    def rollback(self) -> None:
        self._check_power()
        super().rollback()

    def _write(self, changes: Changes) -> None:
        self._check_power()
        if self._cut == Cut(Moment.BEFORE_COMMIT, self.commits + 1):
            self._strike()
        self._make_durable(changes)
        self.commits += 1
        if self._cut == Cut(Moment.AFTER_COMMIT, self.commits):
            self._strike()

    def _make_durable(self, changes: Changes) -> None:
        super()._write(changes)

    def _read_counts(self) -> None:
        self._check_power()
        self._reads += 1
        if self._cut == Cut(Moment.READ, self._reads):
            self._strike()

    def _strike(self) -> None:
        self._off = True
        raise PowerCut(self._cut)

    def _check_power(self) -> None:
        if self._off:
            raise PowerCut(self._cut)


class ForgetfulStore(PowerCutStore):
    """A store that answers a commit before it is durable, and so loses it: every `every`-th one.

    Until the power goes it serves what it should have written, as a cache that was never flushed.
    """

    def __init__(
        self, medium: Medium | None = None, cut: Cut | None = None, every: int = 5
    ) -> None:
        super().__init__(medium, cut)
        self._every = every
        self._seen = 0
        self._unflushed: dict[tuple[str, bytes], bytes | None] = {}

    def _make_durable(self, changes: Changes) -> None:
        self._seen += 1
        if self._seen % self._every == 0:
            self._unflushed.update(changes)
            return
        for key in changes:
            self._unflushed.pop(key, None)
        super()._make_durable(changes)

    def _read(self, kind: str, ident: bytes) -> bytes | None:
        if (kind, ident) in self._unflushed:
            return self._unflushed[kind, ident]
        return super()._read(kind, ident)

    def _read_idents(self, kind: str) -> list[bytes]:
        found = set(super()._read_idents(kind))
        for (unflushed, ident), value in self._unflushed.items():
            if unflushed == kind:
                (found.discard if value is None else found.add)(ident)
        return list(found)


class FailingStore(MemoryStore):
    """A store whose writing fails with StorageError while `failing` is set; the power stays on."""

    def __init__(self, medium: Medium | None = None) -> None:
        super().__init__(medium)
        self.failing = False

    def _write(self, changes: Changes) -> None:
        if self.failing:
            raise StorageError("the medium cannot be written")
        super()._write(changes)
