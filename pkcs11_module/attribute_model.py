"""The types the generated table of attributes is made of; see spec/pkcs11/attributes.toml."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, Flag, auto
from typing import Final

from pkcs11_module._constants import CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT


class Form(Enum):
    """The C type of a value."""

    BOOL = auto()
    ULONG = auto()
    BYTES = auto()
    UTF8 = auto()
    DATE = auto()
    MECHANISMS = auto()
    TEMPLATE = auto()


class Purpose(Flag):
    """What a template is for, and with it what makes the object."""

    CREATE = auto()
    GENERATE = auto()
    UNWRAP = auto()
    DERIVE = auto()


class Change(Enum):
    """How an attribute of an object may be changed, or of its copy be another."""

    NO = auto()
    YES = auto()
    SESSION = auto()
    """Of a session object only."""
    TO_TRUE = auto()
    TO_FALSE = auto()


NO_PURPOSE: Final = Purpose(0)


@dataclass(frozen=True, slots=True)
class Rule:
    """An attribute of a kind of object.

    `default` is the value where a template does not name it, None where it has none and is absent
    then. `need` and `refuse` are purposes whose template must, or must not, name it. `error` is
    the return value where it is refused, or where it is `derived` (follows from other attributes)
    and not true. `values` are the numbers it may have, all where there is none. `so`: only the SO
    gives it the value true. `vouched`: of a trusted object only the SO changes it. `secret`: a key
    that is sensitive or not extractable does not tell it.
    """

    form: Form
    default: bool | int | bytes | None = None
    need: Purpose = NO_PURPOSE
    refuse: Purpose = NO_PURPOSE
    error: int = CKR_TEMPLATE_INCONSISTENT
    derived: bool = False
    values: frozenset[int] = frozenset()
    so: bool = False
    vouched: bool = False
    secret: bool = False
    change: Change = Change.NO
    copy: Change = Change.NO
    copy_error: int = CKR_ATTRIBUTE_READ_ONLY


class Match(Enum):
    """Conditions on a value besides the value itself."""

    EMPTY = auto()
    """Absent or without bytes."""
    ANY = auto()
    """Neither."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Values that do not go together in an object of that class; `error` is the return value."""

    rule: str
    object_class: int
    when: tuple[tuple[int, bool | int | Match], ...]
    error: int
