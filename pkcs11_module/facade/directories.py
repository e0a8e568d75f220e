"""The directories of one token as all applications see them, kept until the token changes.

The card's change counter says whether they are still true.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from apdu.model import SW, StatusWordError
from pkcs11_module import _constants as ck
from pkcs11_module.cards import pkcs15
from pkcs11_module.cards.card import CardKey, TokenCard
from pkcs11_module.cards.entries import (
    AnyEntry,
    DirectoryKind,
    PrivateKeyEntry,
    PublicKeyEntry,
    Unknown,
    decode,
)
from pkcs11_module.facade.token_objects import Identity, TokenObject, identity

_INDEXED: Final = (ck.CKA_ID, ck.CKA_LABEL, ck.CKA_CLASS, ck.CKA_KEY_TYPE)
_INDEXED_VALUES: Final = (ck.CKA_SUBJECT, ck.CKA_ISSUER, ck.CKA_SERIAL_NUMBER)
_FEW: Final = 8
"""So many objects are compared one by one rather than by an index of their values."""
_NO_KEY_LIST: Final = frozenset(
    {SW.REFERENCED_DATA_NOT_FOUND, SW.INCORRECT_P1P2, SW.INS_NOT_SUPPORTED, SW.WRONG_P1P2}
)


@dataclass(slots=True, eq=False)
class Directory:
    """A directory file as it was read; `counter` is the change counter then, None: never."""

    kind: DirectoryKind
    path: bytes
    private: bool
    counter: bytes | None = None
    content: bytes = b""
    raws: list[bytes] = field(default_factory=list)
    entries: list[AnyEntry | Unknown] = field(default_factory=list)
    rest: bytes = b""

    def load(self, content: bytes) -> None:
        """Take new content; entries that it had before are not decoded again."""
        known = dict(zip(self.raws, self.entries, strict=True))
        self.content = content
        self.raws, self.rest = pkcs15.split(content)
        self.entries = [known.get(raw) or decode(self.kind, raw) for raw in self.raws]

    def with_entries(self, raws: Iterable[bytes]) -> bytes:
        """The content with these entries, and with whatever follows them that is not understood."""
        return b"".join(raws) + self.rest


class TokenView:
    """The objects of one inserted token. The caller has locked the slot that `card` belongs to."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.sessions = 0
        """Open sessions of all applications."""
        self.counter = b""
        self._layout_at: bytes | None = None
        self._directories: list[Directory] = []
        self._objects: dict[Identity, TokenObject] = {}
        self._index: dict[int, dict[bytes, list[TokenObject]]] | None = None
        self._values: dict[tuple[int, bool], dict[object, list[TokenObject]]] = {}
        self._values_at: bytes | None = None
        self._keys: Mapping[int, CardKey] | None = {}
        self._label: tuple[bytes, str] | None = None
        self._in_work: set[int] = set()
        self._leftover: set[int] | None = None

    def refresh(self, card: TokenCard, user: bool) -> None:
        """Read again what may have changed; `user`: the user PIN is verified on this card.

        Raises StatusWordError, TransportError.
        """
        with self.lock:
            counter = self.counter = card.change_counter()
            changed = self._refresh_layout(card, counter)
            for directory in self._directories:
                if directory.counter != counter and (user or not directory.private):
                    changed |= self._read(card, directory, counter)
            if changed:
                self._rebuild()

    def forget(self) -> None:
        """Have everything read again at the next refresh."""
        with self.lock:
            self._layout_at = None
            for directory in self._directories:
                directory.counter = None

    def label(self, card: TokenCard) -> str:
        """The token's label; raises StatusWordError, TransportError."""
        counter = card.change_counter()
        if self._label is None or self._label[0] != counter:
            try:
                self._label = counter, pkcs15.decode_label(card.read(pkcs15.TOKEN_INFO))
            except StatusWordError as error:
                if error.sw != SW.FILE_NOT_FOUND:
                    raise
                self._label = counter, ""
        return self._label[1]

    def candidates(
        self, wanted: dict[int, bytes], read: Callable[[TokenObject, int], object], user: bool
    ) -> list[TokenObject]:
        """Objects that may match a search: all, or those with one of the indexed attributes.

        `read` gives an attribute that is in the value; `user`: private values can be read.
        """
        with self.lock:
            chosen = self._by_entry(wanted)
            for name in _INDEXED_VALUES:
                if name in wanted and len(chosen) > _FEW:
                    found = self._by_value(name, read, user).get(wanted[name], [])
                    chosen = found if len(found) < len(chosen) else chosen
            return list(chosen)

    def _by_value(
        self, name: int, read: Callable[[TokenObject, int], object], user: bool
    ) -> dict[object, list[TokenObject]]:
        """The objects by an attribute in their values, read once a state of the change counter."""
        if self._values_at != self.counter:
            self._values, self._values_at = {}, self.counter
        index = self._values.get((name, user))
        if index is None:
            index = self._values[name, user] = {}
            for shown in self._objects.values():
                if user or not shown.private:
                    index.setdefault(read(shown, name), []).append(shown)
        return index

    def _by_entry(self, wanted: dict[int, bytes]) -> list[TokenObject]:
        """The fewest objects that an attribute of the entries leaves; all without one."""
        chosen: list[TokenObject] | None = None
        for name in _INDEXED:
            if name in wanted:
                found = self._indexed()[name].get(wanted[name], [])
                if chosen is None or len(found) < len(chosen):
                    chosen = found
        return list(self._objects.values()) if chosen is None else chosen

    def _refresh_layout(self, card: TokenCard, counter: bytes) -> bool:
        """Read the object directory file and the list of keys; says whether the keys changed."""
        if self._layout_at == counter:
            return False
        try:
            listed = pkcs15.decode_odf(card.read(pkcs15.ODF))
        except StatusWordError as error:
            if error.sw != SW.FILE_NOT_FOUND:
                raise
            listed = []
        known = {(directory.kind, directory.path): directory for directory in self._directories}
        self._directories = [
            known.get((kind, path)) or Directory(kind, path, pkcs15.is_private_directory(path))
            for kind, path in listed
            if kind is not DirectoryKind.AUTH_OBJECTS
        ]
        before, self._keys = self._keys, self._read_keys(card)
        gone = known.keys() - {(d.kind, d.path) for d in self._directories}
        self._layout_at = counter
        return before != self._keys or bool(gone)

    def _read_keys(self, card: TokenCard) -> Mapping[int, CardKey] | None:
        """The keys on the card; None where the card has no command that lists them."""
        try:
            return card.keys()
        except StatusWordError as error:
            if error.sw in _NO_KEY_LIST:
                return None
            raise

    def _read(self, card: TokenCard, directory: Directory, counter: bytes) -> bool:
        try:
            content = card.read(directory.path)
        except StatusWordError as error:
            if error.sw == SW.SECURITY_STATUS_NOT_SATISFIED and not directory.private:
                directory.private = True
                return False
            if error.sw != SW.FILE_NOT_FOUND:
                raise
            content = b""
        first = directory.counter is None
        directory.counter = counter
        if content == directory.content and not first:
            return False
        directory.load(content)
        return True

    def _rebuild(self) -> None:
        """Make objects of the entries, keeping those that are listed still."""
        before = self._objects
        self._objects = {}
        listed = self._listed_references()
        for directory in self._directories:
            for entry in directory.entries:
                if isinstance(entry, Unknown) or self._is_unfinished(entry, listed):
                    continue
                key = identity(entry)
                shown = before.get(key) or TokenObject()
                private = entry.private or directory.private
                card_key = self._card_key(entry)
                if (shown.entry, shown.private, shown.card_key) != (entry, private, card_key):
                    shown.show(entry, private, card_key)
                self._objects[key] = shown
        for key, gone in before.items():
            if self._objects.get(key) is not gone:
                gone.alive = False
        self._index = None
        if self._leftover is None:
            self._leftover = set(self._keys or ()) - listed

    def _indexed(self) -> dict[int, dict[bytes, list[TokenObject]]]:
        """The objects by the attributes of their entries."""
        if self._index is not None:
            return self._index
        index: dict[int, dict[bytes, list[TokenObject]]] = {name: {} for name in _INDEXED}
        for shown in self._objects.values():
            for name in _INDEXED:
                value = shown.attributes.get(name)
                if value is not None:
                    index[name].setdefault(value, []).append(shown)
        self._index = index
        return index

    def _card_key(self, entry: AnyEntry) -> CardKey | None:
        if isinstance(entry, PrivateKeyEntry) and entry.reference is not None:
            return (self._keys or {}).get(entry.reference)
        return None

    def _listed_references(self) -> set[int]:
        return {
            entry.reference
            for directory in self._directories
            for entry in directory.entries
            if isinstance(entry, PrivateKeyEntry) and entry.reference is not None
        }

    def _is_unfinished(self, entry: AnyEntry, listed: set[int]) -> bool:
        """Whether a cut left the entry: its private key is not on the card, or not listed yet."""
        if self._keys is None:
            return False
        if isinstance(entry, PrivateKeyEntry):
            return entry.reference is not None and entry.reference not in self._keys
        return (
            isinstance(entry, PublicKeyEntry)
            and entry.reference in self._keys
            and entry.reference not in listed
            and is_ours(entry)
        )

    def _entries(self) -> Iterator[AnyEntry | Unknown]:
        for directory in self._directories:
            yield from directory.entries


def is_ours(entry: PublicKeyEntry) -> bool:
    """Whether this module has stored the key: others may delete a private key and keep its half."""
    files = pkcs15.VALUE_FILES[DirectoryKind.PUBLIC_KEYS, False]
    return entry.path[:-2] == pkcs15.DF and int.from_bytes(entry.path[-2:], "big") in files
