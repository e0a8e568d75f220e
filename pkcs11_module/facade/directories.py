"""The directories of one token as all applications see them, kept until the token changes.

The card's change counter says whether they are still true.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from apdu.model import SW, StatusWordError
from pkcs11_module import _constants as ck
from pkcs11_module.cards import pkcs15
from pkcs11_module.cards.card import TokenCard
from pkcs11_module.cards.card_keys import CardKey
from pkcs11_module.cards.entries import (
    AnyEntry,
    CertificateEntry,
    DirectoryKind,
    KeyEntry,
    PrivateKeyEntry,
    PublicKeyEntry,
    SecretKeyEntry,
    Unknown,
)
from pkcs11_module.cards.entry_codec import decode
from pkcs11_module.facade.attributes import ulong
from pkcs11_module.facade.entry_attributes import Identity, identity
from pkcs11_module.facade.index import ENTRY_ATTRIBUTES, VALUE_ATTRIBUTES, Index
from pkcs11_module.facade.token_objects import TokenObject

if TYPE_CHECKING:
    from pkcs11_module.facade.slot import Slot

_FEW: Final = 8
"""So many objects are compared one by one rather than by an index of their values."""
_CERTIFICATES: Final = ulong(ck.CKO_CERTIFICATE)
_NO_KEY_LIST: Final = frozenset(
    {SW.REFERENCED_DATA_NOT_FOUND, SW.INCORRECT_P1P2, SW.INS_NOT_SUPPORTED, SW.WRONG_P1P2}
)


_KEY_KINDS: Final = frozenset(
    {DirectoryKind.PRIVATE_KEYS, DirectoryKind.PUBLIC_KEYS, DirectoryKind.SECRET_KEYS}
)
_OF_CARD: Final = PrivateKeyEntry | SecretKeyEntry
"""Entries whose key is on the card under their reference."""


@dataclass(slots=True, eq=False)
class Directory:
    """A directory file as it was read; `read` says whether that is still its content.

    `paths` are where its entries have their values, as far as they are `understood`. `shown` are
    they as objects, `unfinished` those that a cut has left.
    """

    kind: DirectoryKind
    path: bytes
    private: bool
    read: bool = False
    content: bytes | None = None
    raws: list[bytes] = field(default_factory=list)
    entries: list[AnyEntry | Unknown] = field(default_factory=list)
    rest: bytes = b""
    paths: set[bytes] = field(default_factory=set)
    understood: bool = True
    shown: dict[Identity, TokenObject] = field(default_factory=dict)
    unfinished: list[AnyEntry] = field(default_factory=list)

    def load(self, content: bytes) -> None:
        """Take new content as it was read."""
        raws, self.rest = pkcs15.split(content)
        self.take(content, raws)

    def take(self, content: bytes, raws: list[bytes]) -> None:
        """Take new content with these entries; those that it had before are not decoded again."""
        known = dict(zip(self.raws, self.entries, strict=True))
        self.content, self.raws = content, raws
        self.entries = [known.get(raw) or decode(self.kind, raw) for raw in self.raws]
        known_entries = [entry for entry in self.entries if not isinstance(entry, Unknown)]
        self.paths = {entry.path for entry in known_entries}
        self.understood = not self.rest and len(known_entries) == len(self.entries)

    def with_entries(self, raws: Iterable[bytes]) -> bytes:
        """The content with these entries, and with whatever follows them that is not understood."""
        return b"".join(raws) + self.rest if self.rest else pkcs15.with_room(b"".join(raws))

    def references(self) -> Iterator[int]:
        """The keys on the card that it lists."""
        for entry in self.entries:
            if isinstance(entry, _OF_CARD) and entry.reference is not None:
                yield entry.reference


class TokenView:
    """The objects of one inserted token. The caller has locked the slot that `card` belongs to.

    `counter` is the card's change counter after the last change that this module did not make
    itself: what was read since then is still true, unless this module has changed it.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.sessions: int = 0
        """Open sessions of all applications."""
        self.slots: WeakSet[Slot] = WeakSet()
        """Those slots of applications that have one login on the card, where it is a shared one."""
        self.counter = b""
        self._seen: tuple[bytes, TokenCard, int] | None = None
        self._layout_read = False
        self._keys_read = False
        self._directories: list[Directory] = []
        self._objects: dict[Identity, TokenObject] = {}
        self._index: Index[TokenObject] = Index(ENTRY_ATTRIBUTES)
        self._values: Index[TokenObject] = Index(VALUE_ATTRIBUTES)
        self._unread: dict[TokenObject, None] = {}
        self._keys: Mapping[int, CardKey] | None = {}
        self._label: tuple[bytes, str] | None = None
        self._in_work: set[int] = set()
        self._leftover: set[int] | None = None

    def refresh(self, card: TokenCard, user: bool) -> None:
        """Read again what may have changed; `user`: the user PIN is verified on this card.

        Raises StatusWordError, TransportError.
        """
        with self.lock:
            self._look(card)
            keys_changed = self._refresh_layout(card) | self._refresh_keys(card)
            changed = [
                directory
                for directory in self._directories
                if not directory.read and (user or not directory.private)
                if self._read(card, directory)
            ]
            if changed or keys_changed:
                self._rebuild(changed, keys_changed)

    def forget(self) -> None:
        """Have everything read again at the next refresh."""
        with self.lock:
            self._seen = None

    def _look(self, card: TokenCard) -> None:
        """Compare the change counter: it goes up by one with every command that changes something.

        If it went further than by what was done here through the same card, others have been at
        work, and nothing is taken to be as it was.
        """
        counter = card.change_counter()
        seen, self._seen = self._seen, (counter, card, card.changes)
        if seen is not None:
            before, same_card, changes = seen
            own = card.changes - changes if same_card is card else 0
            if int.from_bytes(counter, "big") == int.from_bytes(before, "big") + own:
                return
        self.counter = counter
        self._layout_read = self._keys_read = False
        for directory in self._directories:
            directory.read = False
        self._values.clear()
        self._unread = dict.fromkeys(self._objects.values())

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
    ) -> Collection[TokenObject]:
        """Objects that may match a search: all, or those with one of the indexed attributes.

        `read` gives an attribute that is in the value; `user`: private values can be read.
        """
        with self.lock:
            chosen = self._index.matching(wanted)
            if len(chosen) <= _FEW:
                return list(chosen)
            told: dict[int, bytes] = {
                name: wanted[name] for name in VALUE_ATTRIBUTES if name in wanted
            }
            if wanted.get(ck.CKA_CLASS) != _CERTIFICATES:
                # The values of other objects are not kept.
                told.pop(ck.CKA_VALUE, None)
            if told:
                self._read_values(read, user)
                found = self._values.matching(told)
                chosen = found if len(found) < len(chosen) else chosen
            return list(chosen)

    def _read_values(self, read: Callable[[TokenObject, int], object], user: bool) -> None:
        """Take what certificates tell into the index, each once."""
        readable = [shown for shown in self._unread if user or not shown.private]
        for shown in readable:
            if isinstance(shown.entry, CertificateEntry | KeyEntry):
                is_certificate = isinstance(shown.entry, CertificateEntry)
                names = VALUE_ATTRIBUTES if is_certificate else (ck.CKA_SUBJECT,)
                values = {name: read(shown, name) for name in names}
                told = {name: value for name, value in values.items() if isinstance(value, bytes)}
                self._values.put(shown, told)
            del self._unread[shown]

    def _refresh_layout(self, card: TokenCard) -> bool:
        """Read the object directory file; says whether a directory is gone."""
        if self._layout_read:
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
            for kind, path in dict.fromkeys(listed)
            if kind is not DirectoryKind.AUTH_OBJECTS
        ]
        gone = known.keys() - {(directory.kind, directory.path) for directory in self._directories}
        for place in gone:
            self._end(known[place].shown)
        self._layout_read = True
        return bool(gone)

    def _refresh_keys(self, card: TokenCard) -> bool:
        """Read the list of keys; says whether it has changed."""
        if self._keys_read:
            return False
        before, self._keys = self._keys, self._read_keys(card)
        self._keys_read = True
        return before != self._keys

    def _read_keys(self, card: TokenCard) -> Mapping[int, CardKey] | None:
        """The keys on the card; None where the card has no command that lists them."""
        try:
            return card.keys()
        except StatusWordError as error:
            if error.sw in _NO_KEY_LIST:
                return None
            raise

    def _read(self, card: TokenCard, directory: Directory) -> bool:
        """Read a directory; says whether its content is another one."""
        try:
            content = card.read(directory.path)
        except StatusWordError as error:
            if error.sw == SW.SECURITY_STATUS_NOT_SATISFIED and not directory.private:
                directory.private, directory.content = True, None
                return False
            if error.sw != SW.FILE_NOT_FOUND:
                raise
            content = b""
        directory.read = True
        if content == directory.content:
            return False
        directory.load(content)
        return True

    def _rebuild(self, changed: Iterable[Directory], keys_changed: bool) -> None:
        """Make objects of the entries, keeping those that are listed still."""
        changed = list(changed)
        listed = self._listed_references()
        if keys_changed or any(directory.kind in _KEY_KINDS for directory in changed):
            others = [directory for directory in changed if directory.kind not in _KEY_KINDS]
            changed = [d for d in self._directories if d.kind in _KEY_KINDS] + others
        before = [directory.shown for directory in changed]
        for directory in changed:
            self._show(directory, listed)
        still = {key for directory in changed for key in directory.shown}
        for shown in before:
            self._end({key: gone for key, gone in shown.items() if key not in still})
        if self._leftover is None:
            self._leftover = set(self._keys or ()) - listed
        self._leftover -= listed

    def _show(self, directory: Directory, listed: set[int]) -> None:
        """Make objects of a directory's entries."""
        before = {} if directory.kind in _KEY_KINDS else directory.shown
        same = {
            id(shown.entry): (key, shown)
            for key, shown in before.items()
            if shown.private or not directory.private
        }
        directory.shown, directory.unfinished = {}, []
        for entry in directory.entries:
            if (kept := same.get(id(entry))) is not None:
                directory.shown[kept[0]] = kept[1]
                continue
            if isinstance(entry, Unknown):
                continue
            if self._is_unfinished(entry, listed):
                directory.unfinished.append(entry)
                continue
            key = identity(entry)
            shown = self._objects.get(key)
            if shown is None:
                shown = self._objects[key] = TokenObject()
            private = entry.private or directory.private
            card_key = self._card_key(entry)
            directory.shown[key] = shown
            if shown.entry is entry and (shown.private, shown.card_key) == (private, card_key):
                continue
            shown.show(entry, private, card_key)
            self._index.put(shown, shown.attributes)
            self._values.discard(shown)
            self._unread[shown] = None

    def _end(self, gone: Mapping[Identity, TokenObject]) -> None:
        """These objects are listed no more."""
        for key, shown in gone.items():
            shown.alive = False
            if self._objects.get(key) is shown:
                del self._objects[key]
            self._index.discard(shown)
            self._values.discard(shown)
            self._unread.pop(shown, None)

    def _card_key(self, entry: AnyEntry) -> CardKey | None:
        if isinstance(entry, _OF_CARD) and entry.reference is not None:
            return (self._keys or {}).get(entry.reference)
        return None

    def _listed_references(self) -> set[int]:
        return {
            reference
            for directory in self._directories
            if directory.kind in _KEY_KINDS
            for reference in directory.references()
        }

    def _is_unfinished(self, entry: AnyEntry, listed: set[int]) -> bool:
        """Whether a cut left the entry: its key is not on the card, or not listed yet."""
        if self._keys is None:
            return False
        if isinstance(entry, _OF_CARD):
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
