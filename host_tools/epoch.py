"""The epoch of a daemon: a number that every library of the home maps into its process.

It moves with whatever could change what a call would be answered, before that which moved it is
answered. While it stands, a library may rely on what it was told last.
"""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path

EPOCH = "epoch"
_SIZE = 4096
_MASK = (1 << 64) - 1


class Epoch:
    """One u64 of the machine at the beginning of a file of 4096 bytes. Thread-safe.

    It begins anywhere, so that a library that still maps the page of a daemon before is not misled.
    """

    def __init__(self, path: Path) -> None:
        """Make the file, or put another one in its place; raises OSError."""
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, _SIZE)
            self._page = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        # One store of a whole number: no library ever reads half of it.
        self._number = memoryview(self._page).cast("Q")
        self._number[0] = int.from_bytes(os.urandom(8), "little")
        self._lock = threading.Lock()
        fresh.rename(path)
        self._path = path

    @property
    def number(self) -> int:
        """The epoch."""
        return self._number[0]

    def move(self) -> None:
        """Begin the next one."""
        with self._lock:
            self._number[0] = (self._number[0] + 1) & _MASK

    def close(self) -> None:
        """Delete the file; the libraries that map it keep its page."""
        self._path.unlink(missing_ok=True)
        self._number.release()
        self._page.close()
