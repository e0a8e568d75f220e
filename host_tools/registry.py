"""The registry of a home: which tokens there are, their slot numbers and what is inserted.

A slot number belongs to one token for ever: deleting the token does not free it, as applications
remember slots by number. Labels are kept here as well, so that a thousand tokens are listed
without opening one; ``stamp`` tells whether a token was used since its label was noted.
"""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from host_tools.home import Home
from token_fw.storage.files import replace_private

_log = logging.getLogger("klyuch.registry")


@dataclass(frozen=True, slots=True)
class Record:
    """What the home knows of a token. ``serial`` is 16 hexadecimal digits.

    ``label`` is empty for a blank token. ``stamp`` is the storage file's time of change, in
    nanoseconds, when the label was noted; 0 asks for a look at the token itself.
    """

    serial: str
    slot: int
    label: str = ""
    inserted: bool = True
    stamp: int = 0


class Registry:
    """The records by serial number; every change is durable when the method returns."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._path = home.registry
        self._next_slot = 0
        self.records: dict[str, Record] = {}
        try:
            self._load(self._path.read_bytes())
        except FileNotFoundError:
            self._adopt()
        except (ValueError, TypeError, KeyError):
            _log.error("%s is damaged: it is put aside, and slots are numbered anew", self._path)
            self._path.replace(home.damaged_registry)
            self._adopt()

    def allot_slot(self) -> int:
        """A slot number that no token of this home ever had."""
        slot = self._next_slot
        self._next_slot += 1
        return slot

    def put(self, *records: Record) -> None:
        """Add or replace records."""
        self._save(self.records | {record.serial: record for record in records})

    def delete(self, serial: str) -> None:
        self._save({key: record for key, record in self.records.items() if key != serial})

    def strays(self) -> list[Path]:
        """Storage files that no record speaks of."""
        return sorted(
            path for path in self._home.tokens.glob("*.sqlite") if path.stem not in self.records
        )

    def _load(self, content: bytes) -> None:
        document = json.loads(content)
        self._next_slot = int(document["next_slot"])
        self.records = {entry["serial"]: Record(**entry) for entry in document["tokens"]}

    def _adopt(self) -> None:
        """Find the tokens by their files, in the order of their serial numbers."""
        self._next_slot = 0
        serials = sorted(path.stem for path in self._home.tokens.glob("*.sqlite"))
        self.records = {serial: Record(serial, self.allot_slot()) for serial in serials}

    def _save(self, records: dict[str, Record]) -> None:
        """Write the records, and keep them only where that was done. Raises OSError."""
        document = {
            "next_slot": self._next_slot,
            "tokens": [asdict(record) for record in records.values()],
        }
        replace_private(self._path, json.dumps(document, ensure_ascii=False, indent=1).encode())
        self.records = records
