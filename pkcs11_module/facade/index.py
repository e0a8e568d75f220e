"""Objects by the values of some of their attributes, so that a search need not look at all."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping
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
ALL_ATTRIBUTES: Final = (*ENTRY_ATTRIBUTES, *VALUE_ATTRIBUTES)


class Index(Generic[T]):
    """Objects in the order in which they came, and by their values of the attributes `names`."""

    def __init__(self, names: tuple[int, ...]) -> None:
        self._names = names
        self._by: dict[tuple[int, bytes], dict[T, None]] = {}
        self._known: dict[T, tuple[tuple[int, bytes], ...]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, item: T) -> bool:
        return item in self._known

    def __iter__(self) -> Iterator[T]:
        return iter(self._known)

    def put(self, item: T, attributes: Mapping[int, bytes]) -> None:
        """Take in an object, or the values that it has got in the place of its old ones."""
        places = tuple((name, attributes[name]) for name in self._names if name in attributes)
        before = self._known.get(item)
        if before == places:
            return
        self._unlist(item, before or ())
        self._known[item] = places
        for place in places:
            self._by.setdefault(place, {})[item] = None

    def discard(self, item: T) -> None:
        """Forget an object, if it is there."""
        self._unlist(item, self._known.pop(item, ()))

    def _unlist(self, item: T, places: tuple[tuple[int, bytes], ...]) -> None:
        for place in places:
            found = self._by[place]
            del found[item]
            if not found:
                del self._by[place]

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()
        self._by.clear()

    def matching(self, wanted: Mapping[int, bytes]) -> Collection[T]:
        """The fewest objects that one of the wanted values leaves; all where none is indexed."""
        fewest: Collection[T] = self._known
        for name in self._names:
            if name in wanted:
                having = self._by.get((name, wanted[name]))
                if having is None:
                    return ()
                if len(having) < len(fewest):
                    fewest = having
        return fewest
