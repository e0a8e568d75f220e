"""Slot events: who is told that a token came or went (PKCS#11 3.1, C_WaitForSlotEvent)."""

from __future__ import annotations

import threading


class SlotEvents:
    """The applications to be told of events. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: tuple[SlotWatch, ...] = ()

    def watch(self) -> SlotWatch:
        """Begin to tell an application of events, from here on."""
        watch = SlotWatch(self)
        with self._lock:
            self._watches = (*self._watches, watch)
        return watch

    def end(self, watch: SlotWatch) -> None:
        """Tell that application no more."""
        with self._lock:
            self._watches = tuple(other for other in self._watches if other is not watch)

    def tell(self, slot_id: int) -> None:
        """A token was inserted into that slot, or removed from it."""
        for watch in self._watches:
            watch.tell(slot_id)


class SlotWatch:
    """The event flags of one application, one for each slot. Thread-safe.

    However often tokens come and go, a slot has one flag. Of several threads that wait, each flag
    wakes one.
    """

    def __init__(self, events: SlotEvents) -> None:
        self._events = events
        self._changed = threading.Condition()
        self._flags: dict[int, None] = {}
        self._closed = False

    def tell(self, slot_id: int) -> None:
        """Set the flag of a slot."""
        with self._changed:
            self._flags[slot_id] = None
            self._changed.notify()

    def take(self, *, block: bool) -> int | None:
        """Clear the flag that has been set for longest and give its slot.

        Without a flag: None, with `block` only once the watch was closed.
        """
        with self._changed:
            if block:
                self._changed.wait_for(lambda: self._flags or self._closed)
            if self._closed or not self._flags:
                return None
            slot_id = next(iter(self._flags))
            del self._flags[slot_id]
            return slot_id

    def close(self) -> None:
        """Wake every thread that waits."""
        self._events.end(self)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
