"""One command's changes: durable all together, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from apdu.transport import CardRemoved
from token_fw.storage.base import Store


class Transaction:
    """The door to the store for everything a command changes.

    `commit` makes the changes durable and then runs the effects on volatile state; `rollback`
    forgets both, and tells whoever keeps something read from the store to forget it as well.
    `lock` is the card's, held while a command runs.
    """

    def __init__(self, store: Store, lock: threading.Lock) -> None:
        self._store = store
        self._lock = lock
        self._effects: list[Callable[[], None]] = []
        self._caches: list[Callable[[], None]] = []
        self._visible = False
        self._changed = False
        self.trouble = ""
        """The storage's last failure that no commit has followed; empty without one."""
        self.closed = False
        """The token was pulled: whoever released the card finds no store any more."""

    def get(self, kind: str, ident: bytes) -> bytes | None:
        """A record, with the changes of this transaction; None when there is none."""
        return self._store.get(kind, ident)

    def idents(self, kind: str) -> list[bytes]:
        """The identifiers of a kind, with the changes of this transaction."""
        return self._store.idents(kind)

    def put(self, kind: str, ident: bytes, value: bytes, *, visible: bool = True) -> None:
        """Set a record. `visible`: the card's contents change, so its change counter moves."""
        self._visible |= visible
        self._store.put(kind, ident, value)

    def delete(self, kind: str, ident: bytes) -> None:
        """Remove a record if it exists."""
        self._visible = True
        self._store.delete(kind, ident)

    def after(self, effect: Callable[[], None]) -> None:
        """Run `effect` once the changes are durable, never when they are not."""
        self._effects.append(effect)

    def on_rollback(self, forget: Callable[[], None]) -> None:
        """Register whoever keeps something read from the store."""
        self._caches.append(forget)

    @property
    def pending(self) -> bool:
        """Whether something waits for `commit`."""
        return self._store.dirty or bool(self._effects)

    def commit(self) -> None:
        """Make the changes durable.

        Raises StorageError when they are not; `rollback` has to follow.
        """
        if self._store.dirty:
            self._store.commit()
            self.trouble = ""
        self._changed |= self._visible
        self._visible = False
        if self._effects:
            effects, self._effects = self._effects, []
            for effect in effects:
                effect()

    def changed(self) -> bool:
        """Whether a commit has changed the card's contents since somebody asked last."""
        changed, self._changed = self._changed, False
        return changed

    def rollback(self) -> None:
        """Forget the changes and their effects."""
        self._effects = []
        self._visible = False
        if self._store.dirty:
            for forget in self._caches:
                forget()
            self._store.rollback()

    def rest(self) -> bool:
        """Forget what the store gives again; returns False, and does nothing, with changes waiting.

        Raises StorageError where the medium could not be let go of in order; it is all the same.
        """
        if self.pending:
            return False
        for forget in self._caches:
            forget()
        self._store.rest()
        return True

    @contextmanager
    def released(self) -> Iterator[None]:
        """Let other interfaces work meanwhile; what was checked before is to be checked again.

        Nothing may wait for `commit`: another command would make it durable. Raises CardRemoved
        at the end where the token was pulled meanwhile.
        """
        if self.pending:
            raise RuntimeError("the card cannot be released with changes waiting")
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()
            if self.closed:
                raise CardRemoved("the card was removed")
