"""The types the generated tables of rules and of capabilities are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How far an operation of a session is."""

    NONE = "none"
    """There is no operation of that kind."""
    SINGLE = "single"
    """Initialised, with a mechanism that takes its data in one part only."""
    READY = "ready"
    """Initialised; nothing was put in."""
    PARTS = "parts"
    """A part was put in."""
    BEGUN = "begun"
    """Inside a message in several parts."""


class Login(StrEnum):
    """Who has to be logged in before a function does anything."""

    USER = "user"
    SO = "so"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Operation:
    """One kind of operation.

    `beside` are the kinds that may be active at the same time, `cancel` is its flag of
    C_SessionCancel, `private_ends` says that it ends at logout where its key is private, and
    `logout_ends` that it always does.
    """

    states: tuple[State, ...]
    beside: frozenset[str]
    cancel: int
    private_ends: bool
    logout_ends: bool


@dataclass(frozen=True, slots=True)
class Use:
    """What a function demands of one kind of operation, and what it makes of it.

    `refused`: the return value for every state in which it may not be called. `next` is the state
    after it gave its result, `last` the one where the call said that this was the last part; a
    size query and CKR_BUFFER_TOO_SMALL change nothing. `error` is the state after any other error.
    None changes nothing.
    """

    kind: str
    refused: Mapping[State, int]
    next: State | None
    last: State | None
    error: State | None


@dataclass(frozen=True, slots=True)
class Rule:
    """What a function demands of the session it is called in.

    `begins` is the kind of operation it begins. `needs` are kinds of which one has to be active.
    `clears`: every operation of the session ends when it succeeds.
    """

    name: str
    session: bool
    login: Login | None = None
    writable: bool = False
    begins: str = ""
    uses: tuple[Use, ...] = ()
    needs: frozenset[str] = frozenset()
    clears: bool = False


class Fact(StrEnum):
    """What the refusals of a login and its like ask about a call: the columns of logins.toml."""

    AS = "as"
    NAME = "name"
    USER = "user"
    OPEN = "open"
    HELD = "held"
    OPERATION = "operation"
    PATH = "path"
    TOKEN = "token"
    PIN = "pin"
    NEW = "new"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What calls of these functions give where all the facts have one of the values named."""

    functions: frozenset[str]
    when: Mapping[Fact, frozenset[str]]
    gives: int


class Function(StrEnum):
    """What a mechanism is used for; the functions of PKCS#11 that begin or do it."""

    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"
    DIGEST = "digest"
    SIGN = "sign"
    SIGN_RECOVER = "sign_recover"
    VERIFY = "verify"
    VERIFY_RECOVER = "verify_recover"
    GENERATE = "generate"
    GENERATE_KEY_PAIR = "generate_key_pair"
    WRAP = "wrap"
    UNWRAP = "unwrap"
    WRAP_AUTHENTICATED = "wrap_authenticated"
    UNWRAP_AUTHENTICATED = "unwrap_authenticated"
    DERIVE = "derive"
    ENCAPSULATE = "encapsulate"
    DECAPSULATE = "decapsulate"
    MESSAGE_ENCRYPT = "message_encrypt"
    MESSAGE_DECRYPT = "message_decrypt"
    MESSAGE_SIGN = "message_sign"
    MESSAGE_VERIFY = "message_verify"


class Unit(StrEnum):
    """What the sizes of a mechanism count."""

    NONE = "none"
    BITS = "bits"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Form:
    """The parameter of a mechanism: a structure of `types`, or bytes of one of these lengths."""

    struct: str = ""
    lengths: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class FunctionKey:
    """What a function asks of its key: the attribute that permits it, and its class.

    The errors are those of a key of the wrong type, and of the wrong size.
    """

    usage: int
    classes: frozenset[int]
    type_error: int
    size_error: int


@dataclass(frozen=True, slots=True)
class Capability:
    """One mechanism of the token, and CK_MECHANISM_INFO of it.

    `key_types` are those of the keys it is used with, or of the keys that it makes.
    `message_form` is the parameter of the message-based and authenticated functions.
    """

    mechanism: int
    min_size: int
    max_size: int
    unit: Unit
    flags: int
    functions: frozenset[Function]
    key_types: frozenset[int]
    form: Form
    message_form: Form
    multipart: bool
