"""Checks of the tables against their schemas; every error names the file and the entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from generators import SpecError

MAX_TEXT = 83
Table = dict[str, Any]
Check = Callable[[Any], bool]
Schema = Mapping[str, tuple[Check, bool]]
"""Of each key: what its value must satisfy, and whether it must be there."""


def text(value: Any) -> bool:
    """A string that is not empty and fits in one line of the generated file."""
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MAX_TEXT


def name(value: Any) -> bool:
    """An identifier in capitals."""
    return text(value) and value.isidentifier() and value.isupper()


def flag(value: Any) -> bool:
    """True or false."""
    return isinstance(value, bool)


def number(lowest: int, highest: int) -> Check:
    """An integer from `lowest` to `highest`."""

    def check(value: Any) -> bool:
        return isinstance(value, int) and not flag(value) and lowest <= value <= highest

    return check


def one_of(values: Iterable[Any]) -> Check:
    """One of these values, of the same type."""
    allowed = tuple(values)
    return lambda value: any(value == item and type(value) is type(item) for item in allowed)


def distinct(check: Check) -> Check:
    """A list that is not empty, of values that all satisfy `check` and differ."""

    def check_list(value: Any) -> bool:
        if not isinstance(value, list) or not value or not all(map(check, value)):
            return False
        return len(set(value)) == len(value)

    return check_list


def names_of_values(value: Any) -> bool:
    """A table of texts by values in hexadecimal, in capitals."""
    return isinstance(value, dict) and all(
        _is_hex(key) and text(meaning) for key, meaning in value.items()
    )


def _is_hex(key: str) -> bool:
    return len(key) % 2 == 0 and bool(key) and set(key) <= set("0123456789ABCDEF")


def tables(value: Any) -> bool:
    """A list of tables."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def validate(where: str, table: Table, schema: Schema) -> None:
    """Raises SpecError for an unknown key, a wrong value or a missing key."""
    for key, value in table.items():
        if key not in schema:
            raise SpecError(f"{where}: unknown key {key!r}")
        if not schema[key][0](value):
            raise SpecError(f"{where}: {key} has the wrong value {value!r}")
    for key, (_, required) in schema.items():
        if required and key not in table:
            raise SpecError(f"{where}: {key} is missing")


def unique(where: str, what: str, values: Iterable[Any]) -> None:
    """Raises SpecError when a value occurs twice."""
    seen = set()
    for value in values:
        if value in seen:
            raise SpecError(f"{where}: the {what} {value!r} occurs twice")
        seen.add(value)


def only(file: str, document: Table, keys: set[str]) -> None:
    """Raises SpecError when the file has another top-level key."""
    for key in document.keys() - keys:
        raise SpecError(f"{file}: unknown table {key!r}")


def entries(file: str, document: Table, key: str) -> list[Table]:
    """The tables of an array of tables; raises SpecError when it is something else."""
    found = document.get(key, [])
    if not tables(found):
        raise SpecError(f"{file}: [[{key}]] is not a list of tables")
    return list(found)
