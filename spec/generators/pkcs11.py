"""Writes the Python tables of PKCS#11: `_constants.py` and `_functions.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from generators import HEADER, load
from generators.rules import effects

_HEADER = HEADER.format(sources="spec/pkcs11")
TABLES = ("functions", "constants", "mechanisms", "errors")
# What else is said of a function that the wire or the stubs have to know.
FLAGS = ("retry", "blocking", "ends", "calm")
# What stands for the version of a function that is in no version of the standard.
EXTENSION = (255, 255)


def tables(spec_dir: Path) -> dict[str, dict[str, Any]]:
    """The tables of `spec/pkcs11` by their names; raises SpecError.

    With a function stand its `effects` on operations, as rules.toml has them, and what follows.
    """
    spec = {name: load(spec_dir / "pkcs11" / f"{name}.toml") for name in TABLES}
    table = effects(spec_dir)
    for function in spec["functions"]["function"]:
        function["effects"] = found = table[function["name"]]
        function["ends"] = found.ends
        function["calm"] = function.get("calm", False) or found.operates
    return spec


def hexadecimal(value: int) -> str:
    """The value as ruff-format leaves it: upper-case digits behind 0x."""
    return f"0x{value:X}"


def outputs(spec_dir: Path) -> dict[Path, str]:
    """Generated files by their path from the root of the repository."""
    spec = tables(spec_dir)
    writers = {"_constants.py": _constants, "_functions.py": _functions}
    return {
        Path("pkcs11_module") / name: "\n".join(write(spec)) + "\n"
        for name, write in writers.items()
    }


def status_words(errors: Mapping[str, Any]) -> dict[int, str]:
    """Status word → name of its return value, ranges spelt out; exact entries win."""
    table: dict[int, str] = {}
    for entry in errors["status_word_ranges"]:
        for word in range(0x10000):
            if word & entry["mask"] == entry["value"]:
                table[word] = entry["return_value"]
    table.update((int(word, 16), name) for word, name in errors["status_words"].items())
    return dict(sorted(table.items()))


def _constants(spec: Mapping[str, Any]) -> Iterator[str]:
    errors = spec["errors"]
    groups: dict[str, Mapping[str, int]] = dict(spec["constants"])
    groups["CKM"] = spec["mechanisms"]["mechanisms"]
    groups["CKR"] = errors["return_values"]
    yield f'"""Constants of PKCS#11.\n\n{_HEADER}\n"""\n'
    yield "from typing import Final\n"
    for values in groups.values():
        for name, value in values.items():
            yield f"{name}: Final = {hexadecimal(value)}"
        yield ""
    # Flags repeat values, so one name a value would mislead there.
    for group in ("CKR", "CKM", "CKA", "CKO", "CKK"):
        yield f"{group}_NAMES: Final[dict[int, str]] = {{"
        for name in groups[group]:
            yield f'    {name}: "{name}",'
        yield "}\n"
    yield "SW_TO_CKR: Final[dict[int, int]] = {"
    for word, name in status_words(errors).items():
        yield f"    0x{word:04X}: {name},"
    yield "}"


def _functions(spec: Mapping[str, Any]) -> Iterator[str]:
    functions, mechanisms = spec["functions"], spec["mechanisms"]
    yield f'"""Functions, structures and mechanism parameters of PKCS#11.\n\n{_HEADER}\n"""\n'
    yield "from typing import Final\n"
    names = "EXTENSION, Argument, Field, FunctionSpec, Kind, Parameter"
    yield f"from pkcs11_module.model import {names}\n"
    attributes = spec["constants"]["CKA"]
    nested = ", ".join(hexadecimal(attributes[name]) for name in functions["nested"])
    yield f"NESTED: Final = frozenset({{{nested}}})\n"
    yield "FUNCTIONS: Final[tuple[FunctionSpec, ...]] = ("
    for number, function in enumerate(functions["function"]):
        yield from _function(number, function)
    yield ")\n"
    yield "STRUCTS: Final[dict[str, tuple[Field, ...]]] = {"
    for name, fields in functions["structs"].items():
        yield f'    "{name}": ('
        for kind, member, *size in map(str.split, fields):
            sizes = [] if kind == "size" else size
            yield f"        Field({', '.join([_kind(kind), _quoted(member), *sizes])}),"
        yield "    ),"
    yield "}\n"
    yield "PARAMETERS: Final[tuple[Parameter, ...]] = ("
    for parameter in mechanisms["parameter"]:
        yield from _parameter(parameter, mechanisms["mechanisms"], "    ", ",")
    yield ")\n"
    yield from _parameter(mechanisms["message"], mechanisms["mechanisms"], "MESSAGE: Final = ", "")


def _kind(kind: str) -> str:
    return f"Kind.{kind.upper()}"


def _quoted(text: str) -> str:
    return f'"{text}"'


def _members(items: Sequence[str], opening: str, closing: str, indent: str) -> Iterator[str]:
    """A collection as ruff-format leaves it: one item on the line, more on a line each."""
    if len(items) == 1:
        comma = "," if opening == "(" else ""
        yield f"{indent}{opening}{items[0]}{comma}{closing},"
        return
    yield f"{indent}{opening}"
    yield from (f"{indent}    {item}," for item in items)
    yield f"{indent}{closing},"


def split(argument: str) -> tuple[str, str, list[str]]:
    """Kind, what qualifies it ("" for most) and C members of an argument.

    The qualifier is a structure's name, the C type of an ignored pointer, or the buffer beside
    which something is made.
    """
    kind, first, *others = argument.split()
    if kind == "struct":
        return kind, first, others
    if kind in ("ignored", "made"):
        return kind, " ".join(others), [first]
    return kind, "", [first, *others]


def version(function: Mapping[str, Any]) -> tuple[int, int]:
    """The version of the standard that brought a function, EXTENSION where none did."""
    if function.get("extension"):
        return EXTENSION
    major, minor = map(int, function.get("since", "2.40").split("."))
    return major, minor


def _argument(text: str) -> str:
    kind, struct, words = split(text)
    struct = f", {_quoted(struct)}" if kind == "struct" else ""
    comma = "," if len(words) == 1 else ""
    return f"Argument({_kind(kind)}, ({', '.join(map(_quoted, words))}{comma}){struct})"


def _function(number: int, function: Mapping[str, Any]) -> Iterator[str]:
    indent = " " * 8
    yield "    FunctionSpec("
    yield f"{indent}{number},"
    yield f"{indent}{_quoted(function['name'])},"
    yield from _members([_argument(text) for text in function["args"]], "(", ")", indent)
    yield f"{indent}{_quoted(function['clause'])},"
    if version(function) == EXTENSION:
        yield f"{indent}since=EXTENSION,"
    elif "since" in function:
        yield f"{indent}since={version(function)},"
    if function.get("local"):
        yield f"{indent}local={_quoted(function['local'])},"
    yield from (f"{indent}{flag}=True," for flag in FLAGS if function.get(flag))
    yield "    ),"


def _field(entry: Mapping[str, Any]) -> str:
    size = entry.get("size", entry.get("most"))
    words = [_kind(entry["kind"]), _quoted(entry["member"]), *([str(size)] if size else [])]
    return f"Field({', '.join(words)})"


def _parameter(
    parameter: Mapping[str, Any], mechanisms: Mapping[str, int], start: str, ending: str
) -> Iterator[str]:
    outer = " " * (4 if start.isspace() else 0)
    indent = outer + " " * 4
    fields = [_field(entry) for entry in parameter["fields"]]
    values = [hexadecimal(mechanisms[name]) for name in parameter["mechanisms"]]
    yield f"{start}Parameter("
    yield f"{indent}{_quoted(parameter['struct'])},"
    yield f"{indent}{_quoted(parameter['python'])},"
    yield from _members(fields, "(", ")", indent)
    yield f"{indent}frozenset({{{', '.join(values)}}}),"
    if parameter.get("flat"):
        yield f"{indent}flat=True,"
    yield f"{outer}){ending}"
