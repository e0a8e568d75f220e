"""A store in memory, with the same contract as the durable one."""

from __future__ import annotations

from dataclasses import dataclass, field

from token_fw.storage.base import BufferedStore, Changes, Key


@dataclass(slots=True)
class Medium:
    """What a power cut leaves: the committed records, to be opened by the next MemoryStore."""

    records: dict[Key, bytes] = field(default_factory=dict)


class MemoryStore(BufferedStore):
    """Keeps its committed records in a Medium, which outlives the store."""

    def __init__(self, medium: Medium | None = None) -> None:
        super().__init__()
        self.medium = Medium() if medium is None else medium

    def _read(self, kind: str, ident: bytes) -> bytes | None:
        return self.medium.records.get((kind, ident))

    def _read_idents(self, kind: str) -> list[bytes]:
        return [ident for record_kind, ident in self.medium.records if record_kind == kind]

    def _write(self, changes: Changes) -> None:
        records = dict(self.medium.records)
        for key, value in changes.items():
            if value is None:
                records.pop(key, None)
            else:
                records[key] = value
        # One assignment is the commit: whoever is interrupted before it has changed nothing.
        self.medium.records = records

    def _rest(self) -> None:
        """The medium is in memory either way."""

    def _close(self) -> None:
        """The medium stays with whoever holds it."""
