"""Files that only their owner may read, and writes that survive a power cut."""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE_MODE = 0o600
_OPEN_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_private(path: Path) -> None:
    """Make an empty file with mode 0600, whatever the umask, and make its name durable.

    Raises FileExistsError and every other OSError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN_FLAGS
    descriptor = os.open(path, flags, PRIVATE_MODE)
    try:
        os.fchmod(descriptor, PRIVATE_MODE)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)


def replace_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 that has its old content or the new one at every moment.

    Durable on return. Raises OSError.
    """
    # A fixed name, so that what a cut leaves behind is overwritten by the next attempt.
    draft = path.with_name(path.name + ".draft")
    try:
        _write_synced(draft, content)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _write_synced(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _OPEN_FLAGS
    descriptor = os.open(path, flags, PRIVATE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), PRIVATE_MODE)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
