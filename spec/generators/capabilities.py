"""Writes the mechanisms and what they can do: `_capabilities.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from generators import HEADER, LINE, SpecError, load
from generators._python import Group, call, string
from generators._schema import (
    Schema,
    distinct,
    entries,
    flag,
    number,
    one_of,
    only,
    text,
    unique,
    validate,
)

FILE = "pkcs11/capabilities.toml"
_MECHANISM: Schema = {
    "names": (distinct(text), True),
    "functions": (distinct(text), True),
    "keys": (distinct(text), False),
    "sizes": (lambda value: isinstance(value, list) and len(value) == 2, False),
    "unit": (one_of(("bits", "bytes")), False),
    "parameter": (text, False),
    "message": (text, False),
    "multipart": (flag, False),
    "card": (flag, False),
    "curves": (distinct(text), False),
}
_FUNCTION: Schema = {
    "flag": (text, True),
    "usage": (text, False),
    "classes": (distinct(text), False),
    "type_error": (text, False),
    "size_error": (text, False),
}
_FORM: Schema = {"struct": (text, False), "lengths": (distinct(number(0, 64)), False)}
_HASH = "{HASH}"


def outputs(spec_dir: Path) -> dict[Path, str]:
    """Generated files by their path from the root of the repository."""
    table = load(spec_dir / "pkcs11" / "capabilities.toml")
    rows = list(mechanisms(spec_dir))
    return {
        Path("pkcs11_module/_capabilities.py"): "\n".join(_write(table, rows)) + "\n",
    }


def _constants(spec_dir: Path) -> dict[str, int]:
    """Every constant by its name."""
    folder = spec_dir / "pkcs11"
    known: dict[str, int] = {}
    for group in load(folder / "constants.toml").values():
        known |= group
    known |= load(folder / "mechanisms.toml")["mechanisms"]
    known |= load(folder / "errors.toml")["return_values"]
    return known


def mechanisms(spec_dir: Path) -> Iterator[dict[str, Any]]:
    """Every mechanism with its sets spelt out, in the order of the table; raises SpecError."""
    table = load(spec_dir / "pkcs11" / "capabilities.toml")
    return _rows(table, _constants(spec_dir))


def _rows(table: Mapping[str, Any], known: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    only(FILE, dict(table), {"sets", "parameters", "functions", "hashed", "mechanism"})
    for name, entry in table["functions"].items():
        validate(f"{FILE}: {name}", entry, _FUNCTION)
    for name, entry in table["parameters"].items():
        validate(f"{FILE}: {name}", entry, _FORM)
    rows = []
    for entry in entries(FILE, dict(table), "mechanism"):
        validate(f"{FILE}: {entry.get('names')}", entry, _MECHANISM)
        for name in entry["names"]:
            hashes = table["hashed"]["hashes"] if _HASH in name else [""]
            rows += [_row(table, entry, name, hash_) for hash_ in hashes]
    unique(FILE, "mechanism", (row["name"] for row in rows))
    for row in rows:
        for name in (row["name"], *row["keys"], *row["flags"]):
            if name not in known:
                raise SpecError(f"{FILE}: {name} is not known")
        yield row


def _row(table: Mapping[str, Any], entry: Mapping[str, Any], name: str, hash_: str) -> Any:
    sets, functions = table["sets"], table["functions"]
    used = [item for each in entry["functions"] for item in sets.get(each, [each])]
    keys = [item for each in entry.get("keys", []) for item in sets.get(each, [each])]
    for item in used:
        if item not in functions:
            raise SpecError(f"{FILE}: {name}: the function {item!r} is not known")
    forms = [entry.get("parameter", "none")]
    forms.append(entry.get("message", forms[0]))
    for form in forms:
        if form not in table["parameters"]:
            raise SpecError(f"{FILE}: {name}: the parameter {form!r} is not known")
    flags = ["CKF_HW"] if entry.get("card") else []
    flags += dict.fromkeys(functions[item]["flag"] for item in used)
    if any(item.startswith("message_") for item in used):
        flags.append("CKF_MULTI_MESSAGE")
    return {
        "name": name.replace(_HASH, hash_),
        "functions": used,
        "keys": [key.replace(_HASH, hash_) for key in keys],
        "sizes": entry.get("sizes", [0, 0]),
        "unit": entry.get("unit", "none"),
        "flags": flags + entry.get("curves", []),
        "forms": forms,
        "multipart": entry.get("multipart", False),
    }


def _write(table: Mapping[str, Any], rows: list[dict[str, Any]]) -> Iterator[str]:
    yield f'"""The mechanisms of a token.\n\n{HEADER.format(sources="spec/pkcs11")}\n"""\n'
    yield "from typing import Final\n"
    yield "from pkcs11_module import _constants as ck"
    yield "from pkcs11_module.rulebook import Capability, Form, Function, FunctionKey, Unit\n"
    for name, entry in table["parameters"].items():
        yield f"_{name.upper()}: Final = {_form(entry).flat()}"
    names: dict[tuple[str, ...], str] = {}
    yield from _shared(rows, "functions", "_FUNCTIONS", "Function.", names)
    yield from _shared(rows, "keys", "_KEYS", "ck.", names)
    yield from _flags(rows, names)
    yield ""
    yield "FUNCTION_KEYS: Final[dict[Function, FunctionKey]] = {"
    for name, entry in table["functions"].items():
        if "usage" in entry:
            yield from _function_key(entry).lines(f"Function.{name.upper()}: ", ",", 1)
    yield "}\n"
    yield "CAPABILITIES: Final[dict[int, Capability]] = {"
    for row in rows:
        yield from _capability(row, names).lines(f"ck.{row['name']}: ", ",", 1)
    yield "}"


def _form(entry: Mapping[str, Any]) -> Group:
    fields: dict[str, Group | str] = {}
    if "struct" in entry:
        fields["struct"] = string(entry["struct"])
    if "lengths" in entry:
        fields["lengths"] = _set([str(length) for length in entry["lengths"]])
    return call("Form", **fields)


def _set(items: list[str]) -> Group:
    inner = Group("{", tuple(("", item) for item in items), "}")
    return Group("frozenset(", (("", inner),) if items else (), ")")


def _lines(group: Group, prefix: str) -> Iterator[str]:
    """An only argument has no comma behind it where it fits on a line of its own."""
    lines = group.lines(prefix)
    if len(lines) == 3:
        lines[1] = lines[1].rstrip(",")
    yield from lines


def _shared(
    rows: list[dict[str, Any]],
    field: str,
    prefix: str,
    module: str,
    names: dict[tuple[str, ...], str],
) -> Iterator[str]:
    """One constant for every set that occurs, so that equal ones are one object."""
    for number_, found in enumerate(dict.fromkeys(tuple(row[field]) for row in rows), start=1):
        items = [item.upper() if module == "Function." else item for item in found]
        names[found] = f"{prefix}_{number_}"
        kind = "Function" if module == "Function." else "int"
        annotation = "Final" if found else f"Final[frozenset[{kind}]]"
        group = _set([module + item for item in items])
        yield from _lines(group, f"{names[found]}: {annotation} = ")


def _flags(rows: list[dict[str, Any]], names: dict[tuple[str, ...], str]) -> Iterator[str]:
    for number_, found in enumerate(dict.fromkeys(tuple(row["flags"]) for row in rows), start=1):
        name = names["flags", *found] = f"_FLAGS_{number_}"
        flags = [f"ck.{flag_}" for flag_ in found]
        line = f"{name}: Final = {' | '.join(flags)}"
        if len(line) <= LINE:
            yield line
            continue
        inner = f"    {' | '.join(flags)}"
        yield f"{name}: Final = ("
        if len(inner) <= LINE:
            yield inner
        else:
            yield f"    {flags[0]}"
            yield from (f"    | {flag_}" for flag_ in flags[1:])
        yield ")"


def _function_key(entry: Mapping[str, Any]) -> Group:
    return call(
        "FunctionKey",
        usage=f"ck.{entry['usage']}",
        classes=_set([f"ck.{name}" for name in entry["classes"]]),
        type_error=f"ck.{entry.get('type_error', 'CKR_KEY_TYPE_INCONSISTENT')}",
        size_error=f"ck.{entry.get('size_error', 'CKR_KEY_SIZE_RANGE')}",
    )


def _capability(row: Mapping[str, Any], names: Mapping[tuple[str, ...], str]) -> Group:
    return call(
        "Capability",
        mechanism=f"ck.{row['name']}",
        min_size=str(row["sizes"][0]),
        max_size=str(row["sizes"][1]),
        unit=f"Unit.{row['unit'].upper()}",
        flags=names[("flags", *row["flags"])],
        functions=names[tuple(row["functions"])],
        key_types=names[tuple(row["keys"])],
        form=f"_{row['forms'][0].upper()}",
        message_form=f"_{row['forms'][1].upper()}",
        multipart=str(row["multipart"]),
    )
