"""All slots of a home: tokens are made there, put in, taken out and deleted, and others told."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from apdu.transport import TransportError
from host_tools.control import ControlError, ErrorCode
from host_tools.home import Home
from host_tools.registry import Record, Registry
from host_tools.token_files import make_store, remove_store, stamp_of
from host_tools.tokens import TokenReader, TokenState, look
from host_tools.tracing import Tracer
from host_tools.wakeful import MOST_AWAKE, Wakeful
from pkcs11_module.facade import SlotEvents
from token_fw.factory import Profile
from token_fw.storage import keyfile

_log = logging.getLogger("klyuch.tokens")


class Rack:
    """All slots of a home. Thread-safe.

    `changed` is called when a token came or went and when the contents of one changed, before
    anybody is told of it.
    """

    def __init__(
        self,
        home: Home,
        open_tokens: int = MOST_AWAKE,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._home = home
        self._changed = changed
        self._lock = threading.RLock()
        self.tracer = Tracer()
        self.events = SlotEvents()
        self._wakeful = Wakeful(open_tokens)
        self._registry = Registry(home)
        self._readers = tuple(
            self._reader(record)
            for record in sorted(self._registry.records.values(), key=lambda one: one.slot)
        )

    def _reader(self, record: Record) -> TokenReader:
        return TokenReader(
            self._home,
            record,
            self.tracer,
            self._wakeful,
            moved=self.tell,
            changed=self._changed,
        )

    def tell(self, slot_id: int) -> None:
        """A token came into that slot, or left it."""
        self._changed()
        self.events.tell(slot_id)

    def readers(self) -> Sequence[TokenReader]:
        """Every slot, in the order of the numbers; a deleted token's stays, empty, till the end."""
        return self._readers

    def tokens(self) -> list[TokenReader]:
        """The slots whose token was not deleted."""
        return [reader for reader in self._readers if not reader.deleted]

    def find(self, name: str) -> TokenReader:
        """The token of that label, serial number or slot number.

        Raises ControlError (NOT_FOUND, AMBIGUOUS).
        """
        tokens = self.tokens()
        by_label = [reader for reader in tokens if reader.record.label == name]
        if len(by_label) > 1:
            serials = ", ".join(reader.serial for reader in by_label)
            raise ControlError(
                ErrorCode.AMBIGUOUS,
                f"{len(by_label)} tokens have the label {name!r}.",
                f"Name one by its serial number: {serials}",
            )
        for reader in by_label or tokens:
            if by_label or reader.serial == name.lower() or str(reader.slot_id) == name:
                return reader
        raise ControlError(
            ErrorCode.NOT_FOUND, f"There is no token {name!r}.", "See: klyuch token list"
        )

    def create(self, profile: Profile, passphrase: bytes | None) -> TokenReader:
        """Make a blank token in a slot of its own; it is kept only after :meth:`keep`."""
        serial = profile.serial.hex()
        self._manufacture(profile, self._home.store(serial), passphrase)
        with self._lock:
            record = Record(serial, self._registry.allot_slot())
            reader = self._reader(record)
            if passphrase is not None:
                reader.unlock(passphrase)
            self._readers = (*self._readers, reader)
        return reader

    def keep(self, reader: TokenReader, label: str) -> None:
        """Write a created token, or a token's new label, into the registry.

        A created one comes into its slot by that.
        """
        with self._lock:
            created = reader.serial not in self._registry.records
            stamp = 0 if reader.is_open else stamp_of(self._home.store(reader.serial))
            reader.record = replace(reader.record, label=label, stamp=max(stamp, 0))
            self._registry.put(reader.record)
        if created:
            self.tell(reader.slot_id)

    def insert(self, reader: TokenReader) -> None:
        with self._lock:
            record = replace(reader.record, inserted=True)
            self._registry.put(record)
            reader.insert(record)

    def remove(self, reader: TokenReader) -> None:
        with self._lock:
            record = replace(reader.record, inserted=False)
            self._registry.put(record)
            reader.eject(record)

    def wipe(self, reader: TokenReader, profile: Profile) -> None:
        """Put a factory-new token of the same serial number in the place of this one.

        The storage key stays, and with it its passphrase; one that cannot be read is made anew.
        """
        path = self._home.store(reader.serial)
        fresh = path.with_name(f"{path.name}.new")
        with self._lock:
            key = reader.storage_key() or self._new_key(reader)
            remove_store(fresh)
            make_store(fresh, key, profile)
            reader.eject(replace(reader.record, inserted=False))
            remove_store(path, main=False)
            fresh.rename(path)
            record = replace(reader.record, inserted=True, label="", stamp=0)
            self._registry.put(record)
            reader.insert(record)

    def refresh(self) -> None:
        """Bring the noted labels of tokens that were used since up to date."""
        with self._lock:
            self._note([reader for reader in self.tokens() if reader.present])

    def _note(self, readers: list[TokenReader]) -> None:
        fresh = [self._look(reader) for reader in readers if self._stale(reader)]
        records = [record for record in fresh if record is not None]
        if records:
            self._register(*records)

    def _register(self, *records: Record) -> None:
        """Write records whose loss costs a look at their tokens: a full disk hinders nobody."""
        try:
            self._registry.put(*records)
        except OSError as error:
            _log.warning("the registry cannot be written: %s", error.strerror)

    def strays(self) -> list[Path]:
        """Storage files of no token that is known here."""
        return self._registry.strays()

    def _stale(self, reader: TokenReader) -> bool:
        if reader.is_open:
            return reader.changed()
        if reader.state is TokenState.UNREADABLE:
            return True
        return reader.record.stamp != stamp_of(self._home.store(reader.serial))

    def _look(self, reader: TokenReader) -> Record | None:
        stamp = stamp_of(self._home.store(reader.serial))
        try:
            label = look(reader).label
        except TransportError:
            return None
        record = replace(reader.record, label=label, stamp=max(stamp, 0))
        if record == reader.record:
            return None
        reader.record = record
        return record

    def _new_key(self, reader: TokenReader) -> bytes:
        if reader.state is TokenState.LOCKED:
            raise ControlError(
                ErrorCode.TOKEN_STATE,
                "The token is locked by its passphrase.",
                f"Unlock it first: klyuch token unlock {reader.serial}",
            )
        if reader.state is TokenState.UNREADABLE:
            raise ControlError(
                ErrorCode.GENERAL, f"The token cannot be opened: {reader.trouble}.", "Try again."
            )
        path = self._home.key(reader.serial)
        path.unlink(missing_ok=True)
        return keyfile.create(path, None)

    def delete(self, reader: TokenReader) -> None:
        """Delete a token for good: first its storage key, so that no remains can be read."""
        with self._lock:
            reader.eject(replace(reader.record, inserted=False))
            reader.deleted = True
            self._home.key(reader.serial).unlink(missing_ok=True)
            remove_store(self._home.store(reader.serial))
            if reader.serial in self._registry.records:
                self._registry.delete(reader.serial)

    def close(self) -> None:
        """Close every token and note what has become of those that were used."""
        with self._lock:
            used = [reader for reader in self.tokens() if reader.is_open]
            self._note(used)
            for reader in self._readers:
                reader.close()
            # Closing empties the write-ahead log: the stamps are the ones of the files at rest.
            for reader in used:
                stamp = stamp_of(self._home.store(reader.serial))
                reader.record = replace(reader.record, stamp=max(stamp, 0))
            if any(self._registry.records[r.serial] != r.record for r in used):
                self._register(*(reader.record for reader in used))

    def _manufacture(self, profile: Profile, path: Path, passphrase: bytes | None) -> None:
        key_path = self._home.key(profile.serial.hex())
        try:
            make_store(path, keyfile.create(key_path, passphrase), profile)
        except BaseException:
            key_path.unlink(missing_ok=True)
            remove_store(path)
            raise
