"""The files of one token: its storage, its storage key, and what their failures mean."""

import logging
import os
from pathlib import Path

from token_fw.factory import Profile, personalise
from token_fw.storage import keyfile
from token_fw.storage.base import StorageCorrupt, StorageError, StorageRefused, WrongKey
from token_fw.storage.sqlite import SqliteStore

_log = logging.getLogger("klyuch.tokens")


def lasts(error: StorageError) -> bool:
    """Whether a token is damaged by what went wrong; want of files, memory or space passes."""
    if isinstance(error, StorageCorrupt | WrongKey | StorageRefused):
        return True
    return isinstance(error.__cause__, FileNotFoundError)


def load_key(path: Path) -> bytes | None:
    """The storage key: at once where it is raw, by ``$KLYUCH_PASSPHRASE_FILE`` where it is not.

    None where a passphrase is still to be given.
    """
    if not keyfile.is_protected(path):
        return keyfile.load(path)
    named = os.environ.get("KLYUCH_PASSPHRASE_FILE")
    if not named:
        return None
    try:
        return keyfile.load(path, _read_passphrase(Path(named)))
    except (WrongKey, OSError) as error:
        _log.warning("KLYUCH_PASSPHRASE_FILE does not open %s: %s", path.name, error)
        return None


def _read_passphrase(path: Path) -> bytes:
    """The first line of the file."""
    return path.read_bytes().partition(b"\n")[0].rstrip(b"\r")


def stamp_of(path: Path) -> int:
    """When the storage last changed, in nanoseconds; -1 while it is in use or missing."""
    if path.with_name(f"{path.name}-wal").exists():
        return -1
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return -1


def make_store(path: Path, key: bytes, profile: Profile) -> None:
    """Make a blank token's storage. Raises StorageError."""
    store = SqliteStore(path, key)
    try:
        personalise(store, profile)
    finally:
        store.close()


def remove_store(path: Path, *, main: bool = True) -> None:
    """Delete what there is of a storage, or only what lies beside its ``main`` file."""
    for suffix in ("", "-wal", "-shm") if main else ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
