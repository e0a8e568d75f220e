"""Where a token's state is kept."""

from token_fw.storage.base import StorageCorrupt, StorageError, Store, WrongKey
from token_fw.storage.memory import Medium, MemoryStore
from token_fw.storage.sqlite import SqliteStore

__all__ = [
    "Medium",
    "MemoryStore",
    "SqliteStore",
    "StorageCorrupt",
    "StorageError",
    "Store",
    "WrongKey",
]
