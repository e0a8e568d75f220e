"""Commands and data objects for property tests: valid by the catalogue, mutated, cut short."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from apdu import tlv
from apdu._catalogue import COMMAND_OBJECTS
from apdu.codec import CHAINING, Command
from apdu.spec import ApplicationSpec, CommandSpec, DataField, TagSpec

BYTE = st.integers(0, 0xFF)
NE = st.one_of(st.sampled_from((0, 1, 255, 256, 257, 65535, 65536)), st.integers(0, 65536))

# Tags of secret commands, which the tables of the trace leave out on purpose.
_SECRET_TAGS = (0x80, 0x81, 0x88, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96, 0xE0, 0xE2, 0xE3, 0x7F48)


def tags() -> SearchStrategy[int]:
    """Tags of one, two and three bytes, as numbers."""
    one = BYTE.filter(lambda tag: tag and tag & 0x1F != 0x1F)
    first = st.integers(0, 7).map(lambda bits: bits << 5 | 0x1F)
    two = st.builds(lambda head, low: head << 8 | low, first, st.integers(0x1F, 0x7F))
    three = st.builds(
        lambda head, middle, low: head << 16 | middle << 8 | low,
        first,
        st.integers(0x81, 0xFF),
        st.integers(0, 0x7F),
    )
    return st.one_of(one, two, three)


def values() -> SearchStrategy[bytes]:
    """Value fields, with sizes on both sides of every change in the length field."""
    edges = st.sampled_from((0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000)).map(bytes)
    return st.one_of(st.binary(max_size=40), st.binary(max_size=40), edges)


def data_objects() -> SearchStrategy[tlv.Tlv]:
    """Data objects with any tag and value; see `fields` for those that mean something."""
    return st.builds(tlv.Tlv, tags(), values())


def nested_fields(known: Sequence[int] = _SECRET_TAGS, depth: int = 3) -> SearchStrategy[bytes]:
    """Well-formed data fields of nested data objects with known tags and short values."""
    leaf = st.binary(max_size=20)
    return st.recursive(
        leaf,
        lambda inner: st.lists(
            st.builds(tlv.encode, st.sampled_from(tuple(known)), inner), max_size=4
        ).map(b"".join),
        max_leaves=2**depth,
    )


def fields(specs: Sequence[TagSpec]) -> SearchStrategy[bytes]:
    """Data fields of the objects a command has by the tables, in any number and order."""
    return st.lists(st.one_of([_object(spec) for spec in specs]), max_size=len(specs) + 1).map(
        b"".join
    )


def _object(spec: TagSpec) -> SearchStrategy[bytes]:
    value = fields(spec.members) if spec.members else st.binary(max_size=40)
    return value.map(lambda inner: tlv.encode(spec.tag, inner))


@st.composite
def commands_of(draw: DrawFn, application: ApplicationSpec, spec: CommandSpec) -> Command:
    """Commands that keep every rule of their table; the meaning of their data is anything."""
    cla = draw(st.sampled_from(sorted(spec.cla)))
    p1 = draw(_parameters(spec.p1))
    p2 = draw(_parameters(spec.p2))
    data = b""
    if spec.data is not DataField.NONE:
        least = 1 if spec.data is DataField.REQUIRED else 0
        kinds = [st.binary(min_size=least, max_size=80), nested_fields()]
        if (application.name, spec.name) in COMMAND_OBJECTS:
            kinds.append(fields(COMMAND_OBJECTS[application.name, spec.name]))
        data = draw(st.one_of(kinds).filter(lambda field: len(field) >= least))
    return Command(cla, spec.ins, p1, p2, data, draw(NE))


def _parameters(allowed: frozenset[int] | None) -> SearchStrategy[int]:
    return BYTE if allowed is None else st.sampled_from(sorted(allowed))


def catalogue_commands(application: ApplicationSpec) -> SearchStrategy[Command]:
    """Commands of an application that keep every rule of their table."""
    return st.one_of([commands_of(application, spec) for spec in application.commands])


def any_commands() -> SearchStrategy[Command]:
    """Commands with any header, data and `ne`, in no table perhaps."""
    data = st.one_of(st.binary(max_size=300), values().filter(lambda value: len(value) <= 0xFFFF))
    return st.builds(Command, BYTE, BYTE, BYTE, BYTE, data, NE)


@st.composite
def nearly_valid_commands(draw: DrawFn, application: ApplicationSpec) -> Command:
    """Commands of an application with one wrong field: class, INS, P1, P2, data or chaining."""
    command = draw(catalogue_commands(application))
    other = draw(any_commands())
    cla, ins, p1, p2, data, ne = _fields_of(command)
    changes: tuple[Callable[[], Command], ...] = (
        lambda: Command(other.cla, ins, p1, p2, data, ne),
        lambda: Command(cla, other.ins, p1, p2, data, ne),
        lambda: Command(cla, ins, other.p1, p2, data, ne),
        lambda: Command(cla, ins, p1, other.p2, data, ne),
        lambda: Command(cla, ins, p1, p2, other.data, ne),
        lambda: Command(cla | CHAINING, ins, p1, p2, data, ne),
    )
    return draw(st.sampled_from(changes))()


def _fields_of(command: Command) -> tuple[int, int, int, int, bytes, int]:
    return command.cla, command.ins, command.p1, command.p2, command.data, command.ne


@st.composite
def mutated(draw: DrawFn, originals: SearchStrategy[bytes]) -> bytes:
    """Bytes with up to four bytes changed, put in or taken out."""
    raw = bytearray(draw(originals))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(raw)))
        kind = draw(st.sampled_from(("change", "insert", "delete")))
        if kind == "insert" or place == len(raw):
            raw.insert(place, draw(BYTE))
        elif kind == "change":
            raw[place] = draw(BYTE)
        else:
            del raw[place]
    return bytes(raw)


@st.composite
def truncated(draw: DrawFn, originals: SearchStrategy[bytes]) -> bytes:
    """Bytes without at least the last one."""
    raw = draw(originals.filter(bool))
    return raw[: draw(st.integers(0, len(raw) - 1))]


def apdus(application: ApplicationSpec) -> SearchStrategy[bytes]:
    """Anything a card may be sent: commands valid, nearly valid, mutated, cut short, or noise."""
    valid = catalogue_commands(application).map(Command.encode)
    return st.one_of(
        valid,
        nearly_valid_commands(application).map(Command.encode),
        any_commands().map(Command.encode),
        mutated(valid),
        truncated(valid),
        st.binary(max_size=300),
    )
