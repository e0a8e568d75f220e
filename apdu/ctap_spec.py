"""The frozen types of which the generated tables of CTAP are made (`apdu/_ctap.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FieldType(StrEnum):
    """What CBOR type a field has; STRUCTURE is a map that a table of its own describes."""

    ANY = "any"
    BOOL = "bool"
    BYTES = "bytes"
    COSE = "cose"
    INT = "int"
    OPTIONS = "options"
    STRUCTURE = "structure"
    TEXT = "text"
    UINT = "uint"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A member of a map: its key, the name of the attribute, its type.

    `many`: an array of such values. `length`: the only one of a byte string, 0 for any.
    """

    key: int | str
    name: str
    type: FieldType
    structure: StructureSpec | None = None
    many: bool = False
    required: bool = False
    length: int = 0


@dataclass(frozen=True, slots=True)
class StructureSpec:
    """A map and the frozen class that it becomes; `encoded`: which keeps the encoding as well."""

    cls: type[object]
    fields: tuple[FieldSpec, ...]
    encoded: bool = False
