"""The types the generated table of PKCS#11 functions is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

EXTENSION: Final = (255, 255)
"""Stands for the version of functions that no version of the standard has."""


class Kind(StrEnum):
    """How an argument travels; the meanings stand at the head of spec/pkcs11/functions.toml."""

    SESSION = "session"
    ULONG = "ulong"
    BOOL = "bool"
    BYTES = "bytes"
    OPTIONAL = "optional"
    LABEL = "label"
    MECHANISM = "mechanism"
    INIT = "init"
    MESSAGE = "message"
    MESSAGE_IN = "message_in"
    MESSAGE_INIT = "message_init"
    WRAPPING = "wrapping"
    UNWRAPPING = "unwrapping"
    TEMPLATE = "template"
    ATTRIBUTES = "attributes"
    ULONG_OUT = "ulong_out"
    SESSION_OUT = "session_out"
    MADE = "made"
    BUFFER = "buffer"
    LAST = "last"
    LIST = "list"
    FIND = "find"
    FILLED = "filled"
    STRUCT = "struct"
    IGNORED = "ignored"
    NULL = "null"
    TEXT = "text"
    VERSION = "version"
    OCTETS = "octets"
    SIZE = "size"
    ARRAY = "array"
    BITS = "bits"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument; `struct` names the structure where kind is STRUCT.

    `members` are the C parameters it stands for: a pointer, and its length where it has one.
    """

    kind: Kind
    members: tuple[str, ...]
    struct: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a structure; `size` is the length in bytes of TEXT, OCTETS and ARRAY, else 0.

    For BITS it is how many bytes there may be at most.
    """

    kind: Kind
    name: str
    size: int = 0


@dataclass(frozen=True, slots=True)
class Parameter:
    """A mechanism parameter that is a structure: its class in `types` and its fields.

    `flat`: some programs send it in one buffer, as `flat.read` reads it.
    """

    struct: str
    python: str
    fields: tuple[Field, ...]
    mechanisms: frozenset[int]
    flat: bool = False


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """One function of CK_FUNCTION_LIST; `number` is its place there and its name on the wire.

    `since` is the version of the standard that brought it, e.g. (2, 40), or EXTENSION.
    `local` functions never reach the server, except C_Finalize, which ends the application.
    `ends`: an error of it changes an operation, so the server is told of calls that the library
    refused by itself.
    `calm`: it leaves everything but the operations of its session as it is.
    """

    number: int
    name: str
    arguments: tuple[Argument, ...]
    clause: str
    since: tuple[int, int] = (2, 40)
    local: str = ""
    retry: bool = False
    blocking: bool = False
    ends: bool = False
    calm: bool = False
