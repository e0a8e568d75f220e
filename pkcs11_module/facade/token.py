"""Writing to a token, in an order that a power cut at any moment does no harm to.

It leaves at worst a key or a file that no directory lists, and never half an object: a key or file
is made before it is listed; a key is deleted before, a file after it is struck off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from apdu.model import SW, StatusWordError
from apdu.transport import TransportError
from pkcs11_module import _constants as ck
from pkcs11_module.cards import pkcs15
from pkcs11_module.cards.card import TokenCard
from pkcs11_module.cards.card_keys import MAX_REFERENCE
from pkcs11_module.cards.entries import (
    KIND_OF_ENTRY,
    AnyEntry,
    DirectoryKind,
    KeyEntry,
    PrivateKeyEntry,
    PublicKeyEntry,
    SecretKeyEntry,
    Unknown,
)
from pkcs11_module.cards.entry_codec import encode
from pkcs11_module.facade.directories import Directory, TokenView, is_ours
from pkcs11_module.facade.entry_attributes import identity
from pkcs11_module.facade.token_objects import TokenObject
from pkcs11_module.types import Pkcs11Error

_OF_CARD: Final = PrivateKeyEntry | SecretKeyEntry
_NO_SUCH_KEY: Final = frozenset(
    {SW.REFERENCED_DATA_NOT_FOUND, SW.INS_NOT_SUPPORTED, SW.CLA_NOT_SUPPORTED}
)


class Token(TokenView):
    """A token that objects are added to, changed on and removed from.

    The user PIN is verified on every card that is passed in, or the SO PIN where `user` can be
    false; the view is brought up to date before and after.
    """

    @contextmanager
    def new_key(self, card: TokenCard) -> Iterator[int]:
        """A free key reference, kept from other applications while a key is made and listed.

        A key that was made but not listed, because something failed, is deleted by the next write.
        Raises Pkcs11Error (CKR_DEVICE_MEMORY) where no reference is free.
        """
        with self.lock:
            self.refresh(card, user=True)
            self._sweep(card)
            reference = self._free_reference()
            self._in_work.add(reference)
        try:
            yield reference
        finally:
            with self.lock:
                self._in_work.discard(reference)
                self._keys_read = False
                if reference not in self._listed_references():
                    self._leftover = (self._leftover or set()) | {reference}

    def _free_reference(self) -> int:
        taken = set(self._keys or ()) | self._in_work
        for entry in self._entries():
            if isinstance(entry, KeyEntry) and entry.reference is not None:
                taken.add(entry.reference)
        for reference in range(MAX_REFERENCE + 1):
            if reference not in taken:
                return reference
        raise Pkcs11Error(ck.CKR_DEVICE_MEMORY, "no key reference is free")

    def add(self, card: TokenCard, *new: tuple[AnyEntry, bytes | None]) -> list[TokenObject]:
        """List objects, one after the other, each with its value stored first.

        The value is None where the card keeps it itself. Raises StatusWordError, TransportError.
        """
        with self.lock:
            self._keys_read = self._keys_read and not any(
                isinstance(entry, _OF_CARD) for entry, _ in new
            )
            self.refresh(card, user=True)
            self._sweep(card)
            stored = []
            try:
                for entry, value in new:
                    placed = entry
                    if value is not None:
                        placed = replace(entry, path=self._store(card, entry, value))
                    stored.append(placed)
                    directory = self._directory_for(card, placed)
                    self._write(card, directory, [*directory.raws, encode(placed)])
            except StatusWordError:
                self._discard_unlisted(card, stored)
                raise
            self.refresh(card, user=True)
            return [self._objects[identity(entry)] for entry in stored]

    def add_by_so(self, card: TokenCard, entry: AnyEntry) -> TokenObject:
        """List a public object whose value is in its entry: the SO makes no files.

        Raises StatusWordError (6982 where the SO may not write the directory), TransportError.
        """
        with self.lock:
            self.refresh(card, user=False)
            directory = self._directory_for(card, entry)
            self._write(card, directory, [*directory.raws, encode(entry)])
            self.refresh(card, user=False)
            return self._objects[identity(entry)]

    def change(
        self,
        card: TokenCard,
        target: TokenObject,
        entry: AnyEntry,
        first: Callable[[], None] | None = None,
        *,
        user: bool = True,
    ) -> None:
        """Replace an object's entry, after having done to its key what `first` does.

        Raises Pkcs11Error where the object is gone.
        """
        with self.lock:
            self.refresh(card, user)
            if user:
                self._sweep(card)
            directory, place = self._find(target)
            if first is not None:
                self._keys_read = False
                first()
            raws = list(directory.raws)
            raws[place] = encode(entry)
            self._write(card, directory, raws)
            self.refresh(card, user)

    def change_value(
        self, card: TokenCard, target: TokenObject, entry: AnyEntry, value: bytes
    ) -> None:
        """Replace an object's entry and value: the new value goes into a file of its own."""
        with self.lock:
            self.refresh(card, user=True)
            self._sweep(card)
            directory, place = self._find(target)
            old = target.entry
            placed = replace(entry, path=self._store(card, entry, value), direct=b"")
            raws = list(directory.raws)
            raws[place] = encode(placed)
            self._write(card, directory, raws, moved=(old, placed))
            if old.path:
                self._delete_file(card, old.path)
            self.refresh(card, user=True)

    def remove(self, card: TokenCard, target: TokenObject) -> None:
        """Delete an object; raises Pkcs11Error where it is gone."""
        with self.lock:
            self.refresh(card, user=True)
            self._sweep(card)
            directory, place = self._find(target)
            entry = target.entry
            if isinstance(entry, _OF_CARD) and entry.reference is not None:
                # The key first: an entry without its key counts as gone.
                self._delete_key(card, entry.reference)
            raws = [raw for index, raw in enumerate(directory.raws) if index != place]
            self._write(card, directory, raws)
            if entry.path and not isinstance(entry, _OF_CARD):
                self._delete_file(card, entry.path)
            self.refresh(card, user=True)

    def _find(self, target: TokenObject) -> tuple[Directory, int]:
        """Where an object is listed."""
        key = identity(target.entry)
        for directory in self._directories:
            if target.alive and directory.shown.get(key) is target:
                for place, entry in enumerate(directory.entries):
                    if entry is target.entry:
                        return directory, place
        raise Pkcs11Error(ck.CKR_OBJECT_HANDLE_INVALID, "the object is gone")

    def _write(
        self,
        card: TokenCard,
        directory: Directory,
        raws: list[bytes],
        moved: tuple[AnyEntry, AnyEntry] | None = None,
    ) -> None:
        """Write a directory; `moved` is an entry before and after its value went elsewhere."""
        old, content = directory.content or b"", directory.with_entries(raws)
        if content == old:
            return
        # Whatever comes of the command: what is in the file is not known before it has answered.
        directory.read = False
        card.write(directory.path, old, content)
        directory.read = True
        if moved is not None:
            # The same object, though listed with another file: its handles stay.
            before, after = (identity(entry) for entry in moved)
            shown = self._objects[after] = self._objects.pop(before)
            directory.shown[after] = directory.shown.pop(before, shown)
        directory.take(content, raws)
        self._rebuild([directory], keys_changed=False)

    def _directory_for(self, card: TokenCard, entry: AnyEntry) -> Directory:
        """Where to list an entry: a directory of its kind, with room, as private as the entry."""
        kind = KIND_OF_ENTRY[type(entry)]
        # Private keys are listed for everybody: what they are for is no secret.
        private = entry.private and kind is not DirectoryKind.PRIVATE_KEYS
        for directory in self._directories:
            has_room = len(directory.content or b"") < pkcs15.DIRECTORY_SIZE
            if directory.kind is kind and directory.private == private and has_room:
                return directory
        return self._make_directory(card, kind, private)

    def _make_directory(self, card: TokenCard, kind: DirectoryKind, private: bool) -> Directory:
        """One more directory, or one that the token was made without."""
        listed = {directory.path for directory in self._directories}
        free = (path for path in pkcs15.directory_paths(kind, private) if path not in listed)
        path = next(free, None)
        if path is None:
            raise Pkcs11Error(ck.CKR_DEVICE_MEMORY, "no directory is free")
        try:
            card.create(path, pkcs15.directory_conditions(kind, private), b"")
        except StatusWordError as error:
            if error.sw != SW.FILE_EXISTS:
                raise
        old = card.read(pkcs15.ODF)
        objects, rest = pkcs15.split(old)
        card.write(pkcs15.ODF, old, b"".join(objects) + pkcs15.encode_odf([(kind, path)]) + rest)
        self._layout_read = False
        self.refresh(card, user=True)
        return next(directory for directory in self._directories if directory.path == path)

    def _store(self, card: TokenCard, entry: AnyEntry, value: bytes) -> bytes:
        """Put a value into a file of its own; gives the file's path.

        A file that no directory lists is what a cut left: it is deleted and its place taken,
        unless there are entries that are not understood, one of which may point to it.
        """
        used = set[bytes]().union(*(directory.paths for directory in self._directories))
        sure = all(directory.understood for directory in self._directories)
        read = pkcs15.USER if entry.private else pkcs15.ALWAYS
        rules = pkcs15.conditions(read=read, update=pkcs15.USER, delete=pkcs15.USER)
        for fid in pkcs15.VALUE_FILES[KIND_OF_ENTRY[type(entry)], entry.private]:
            path = pkcs15.DF + fid.to_bytes(2, "big")
            if path in used:
                continue
            try:
                card.create(path, rules, value)
            except StatusWordError as error:
                if error.sw != SW.FILE_EXISTS:
                    self._delete_file(card, path)
                    raise
                if sure:
                    card.delete(path)
                    card.create(path, rules, value)
                    return path
                continue
            return path
        raise Pkcs11Error(ck.CKR_DEVICE_MEMORY, "no file identifier is free")

    def _discard_unlisted(self, card: TokenCard, stored: list[AnyEntry]) -> None:
        """Take back what a failed `add` has written, as far as the card lets us."""
        with suppress(StatusWordError, TransportError):
            self.forget()
            self.refresh(card, user=True)
            for entry in stored:
                shown = self._objects.get(identity(entry))
                if shown is not None and shown.entry == entry:
                    self.remove(card, shown)
                elif not isinstance(entry, _OF_CARD):
                    self._delete_file(card, entry.path)

    def _delete_file(self, card: TokenCard, path: bytes) -> None:
        """Delete a file that is not listed; it does no harm where it stays."""
        with suppress(StatusWordError):
            card.delete(path)

    def _delete_key(self, card: TokenCard, reference: int) -> None:
        try:
            card.delete_key(reference)
        except StatusWordError as error:
            if error.sw not in _NO_SUCH_KEY:
                raise
        if self._keys is not None:
            # Known at once: a key that seems to be there unlisted would hide its public half.
            self._keys = {known: key for known, key in self._keys.items() if known != reference}
            self._keys_read = False

    def _sweep(self, card: TokenCard) -> None:
        """Clear what cuts have left: entries without their key, keys and half pairs not listed.

        Only keys that were left over when this token was opened, or by a failure here, are
        deleted: another program at the card may be about to list a key that it made just now.
        """
        if self._keys is None:
            return
        leftover = (self._leftover or set()) - self._in_work - self._listed_references()
        unfinished = any(directory.unfinished for directory in self._directories)
        if unfinished or leftover & self._keys.keys():
            self._clear(card, leftover)
            self.refresh(card, user=True)
        self._leftover = set()

    def _clear(self, card: TokenCard, leftover: set[int]) -> None:
        """Strike off the entries that cuts have left, and delete the keys left over."""
        for directory in self._directories:
            kept, dropped = self._sift(directory, leftover)
            if dropped and directory.read:
                self._write(card, directory, kept)
                for entry in dropped:
                    if isinstance(entry, PublicKeyEntry):
                        self._delete_file(card, entry.path)
        for reference in leftover & set(self._keys or ()):
            self._delete_key(card, reference)

    def _sift(self, directory: Directory, leftover: set[int]) -> tuple[list[bytes], list[AnyEntry]]:
        """The entries to keep, and those that a cut has left."""
        keys = self._keys or {}
        kept: list[bytes] = []
        dropped: list[AnyEntry] = []
        for raw, entry in zip(directory.raws, directory.entries, strict=True):
            ghost = (
                isinstance(entry, _OF_CARD)
                and entry.reference is not None
                and entry.reference not in keys
            )
            half = (
                isinstance(entry, PublicKeyEntry)
                and entry.reference in leftover & keys.keys()
                and is_ours(entry)
            )
            if not isinstance(entry, Unknown) and (ghost or half):
                dropped.append(entry)
            else:
                kept.append(raw)
        return kept, dropped
