"""Objects by the values of some of their attributes, so that a search need not look at all."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from typing import Final, Generic, TypeVar

from pkcs11_module import _constants as ck

T = TypeVar("T", bound=Hashable)

ENTRY_ATTRIBUTES: Final = (
    ck.CKA_ID,
    ck.CKA_LABEL,
    ck.CKA_CLASS,
    ck.CKA_KEY_TYPE,
    ck.CKA_UNIQUE_ID,
)
"""What every object tells without its value being read."""
VALUE_ATTRIBUTES: Final = (ck.CKA_SUBJECT, ck.CKA_ISSUER, ck.CKA_SERIAL_NUMBER, ck.CKA_VALUE)
"""What certificates are searched by besides."""


class Index(Generic[T]):
    """Objects in the order in which they came, and by their values of the attributes `names`."""

    def __init__(self, names: Iterable[int]) -> None:
        self._by: dict[int, dict[bytes, dict[T, None]]] = {name: {} for name in names}
        self._known: dict[T, tuple[tuple[int, bytes], ...]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, item: T) -> bool:
        return item in self._known

    def __iter__(self) -> Iterator[T]:
        return iter(self._known)

    def put(self, item: T, attributes: Mapping[int, bytes]) -> None:
        """Take in an object, or the values that it has got in the place of its old ones."""
        places = tuple((name, attributes[name]) for name in self._by if name in attributes)
        before = self._known.get(item)
        if before == places:
            return
        self._unlist(item, before or ())
        self._known[item] = places
        for name, value in places:
            self._by[name].setdefault(value, {})[item] = None

    def discard(self, item: T) -> None:
        """Forget an object, if it is there."""
        self._unlist(item, self._known.pop(item, ()))

    def _unlist(self, item: T, places: tuple[tuple[int, bytes], ...]) -> None:
        for name, value in places:
            found = self._by[name][value]
            del found[item]
            if not found:
                del self._by[name][value]

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()
        for found in self._by.values():
            found.clear()

    def matching(self, wanted: Mapping[int, bytes]) -> Collection[T]:
        """The fewest objects that one of the wanted values leaves; all where none is indexed."""
        fewest: Collection[T] = self._known
        for name, found in self._by.items():
            if name in wanted:
                having = found.get(wanted[name])
                if having is None:
                    return ()
                if len(having) < len(fewest):
                    fewest = having
        return fewest
