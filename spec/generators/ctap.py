"""apdu/_ctap.py: the commands of CTAP, their requests as frozen types, and its enumerations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generators import HEADER, SpecError, load
from generators._python import Group, call, mapping, sequence, string
from generators._schema import (
    Schema,
    Table,
    entries,
    flag,
    name,
    number,
    only,
    tables,
    text,
    unique,
    validate,
)

PLAIN = {
    "any": "object",
    "bool": "bool",
    "bytes": "bytes",
    "cose": "Mapping[int, object]",
    "int": "int",
    "options": "Mapping[str, bool]",
    "text": "str",
    "uint": "int",
}


def _key(value: Any) -> bool:
    return text(value) or number(0, 0xFF)(value)


def _values(value: Any) -> bool:
    return isinstance(value, dict) and all(
        name(key) and number(0, 0xFF)(item) for key, item in value.items()
    )


FIELD: Schema = {
    "key": (_key, True),
    "name": (text, False),
    "type": (text, True),
    "required": (flag, False),
    "length": (number(1, 1024), False),
}
STRUCTURE: Schema = {
    "name": (text, True),
    "clause": (text, True),
    "encoded": (flag, False),
    "field": (tables, True),
}
COMMAND: Schema = {
    "name": (text, True),
    "value": (number(1, 0xFF), True),
    "clause": (text, True),
    "field": (tables, False),
}
ENUMERATION: Schema = {
    "name": (text, True),
    "title": (text, True),
    "clause": (text, True),
    "flags": (flag, False),
    "values": (_values, True),
}


def outputs(spec_dir: Path) -> dict[Path, str]:
    """The generated file; raises SpecError when the table does not follow its schema."""
    document = load(spec_dir / "ctap.toml")
    only("ctap.toml", document, {"structure", "command", "enumeration"})
    structures = _checked(document, "structure", STRUCTURE)
    commands = _checked(document, "command", COMMAND)
    enumerations = _checked(document, "enumeration", ENUMERATION)
    unique("ctap.toml", "command", (command["value"] for command in commands))
    known: set[str] = set()
    for table in (*structures, *commands):
        _check_fields(table, known)
        known.add(table["name"])
    for enumeration in enumerations:
        unique(f"ctap.toml: {enumeration['name']}", "value", enumeration["values"].values())
    return {Path("apdu/_ctap.py"): "\n".join(_module(structures, commands, enumerations)) + "\n"}


def _checked(document: Table, kind: str, schema: Schema) -> list[Table]:
    found = entries("ctap.toml", document, kind)
    for entry in found:
        validate(f"ctap.toml: {kind} {entry.get('name', '?')}", entry, schema)
    unique("ctap.toml", kind, (entry["name"] for entry in found))
    return found


def _check_fields(table: Table, known: set[str]) -> None:
    where = f"ctap.toml: {table['name']}"
    fields = table.get("field", [])
    for field in fields:
        validate(f"{where}: {field.get('key', '?')}", field, FIELD)
        if isinstance(field["key"], int) and "name" not in field:
            raise SpecError(f"{where}: the field {field['key']} has no name")
        if _element(field) not in PLAIN and _element(field) not in known:
            raise SpecError(f"{where}: no structure before it is called {_element(field)}")
    unique(where, "field", (field["key"] for field in fields))


def _module(structures: list[Table], commands: list[Table], enums: list[Table]) -> Iterator[str]:
    yield '"""Commands, requests, status codes and subcommands of CTAP.'
    yield ""
    yield HEADER.format(sources="spec/ctap.toml")
    yield '"""'
    yield ""
    yield "from __future__ import annotations"
    yield ""
    yield "from collections.abc import Mapping"
    yield "from dataclasses import dataclass"
    yield "from enum import IntEnum, IntFlag"
    yield ""
    yield "from apdu.ctap_spec import FieldSpec, FieldType, StructureSpec"
    values = {_constant(_short(command["name"])): command["value"] for command in commands}
    yield from _enumeration("CtapCommand", "Commands (CTAP 2.1 6).", "IntEnum", values)
    for enum in enums:
        base = "IntFlag" if enum.get("flags") else "IntEnum"
        title = f"{enum['title']} ({enum['clause']})."
        yield from _enumeration(enum["name"], title, base, enum["values"])
    requests = [{**command, "name": _short(command["name"])} for command in commands]
    for table in (*structures, *requests):
        yield from _class(table)
    yield ""
    yield ""
    for table in (*structures, *requests):
        yield from _spec(table).lines(f"_{_constant(table['name'])} = ")
    yield ""
    pairs = (
        (f"CtapCommand.{_constant(table['name'])}", f"_{_constant(table['name'])}")
        for table in requests
    )
    yield from mapping(pairs).lines("REQUESTS: dict[CtapCommand, StructureSpec] = ")


def _enumeration(name: str, title: str, base: str, values: dict[str, int]) -> Iterator[str]:
    yield from ("", "", f"class {name}({base}):", f'    """{title}"""', "")
    for member, value in values.items():
        yield f"    {member} = 0x{value:02X}"


def _class(table: Table) -> Iterator[str]:
    yield from ("", "", "@dataclass(frozen=True, slots=True, kw_only=True, repr=False)")
    yield f"class {table['name']}:"
    yield f'    """{table["name"]} ({table["clause"]})."""'
    fields = table.get("field", [])
    if fields:
        yield ""
    for field in fields:
        hint = _hint(field)
        end = "" if field.get("required") else " | None = None"
        yield f"    {_attribute(field)}: {hint}{end}"
    if table.get("encoded"):
        yield "    encoded: bytes"


def _spec(table: Table) -> Group:
    arguments: dict[str, Group | str] = {
        "cls": table["name"],
        "fields": sequence(_field(field) for field in table.get("field", [])),
    }
    if table.get("encoded"):
        arguments["encoded"] = "True"
    return call("StructureSpec", **arguments)


def _field(field: Table) -> Group:
    key = field["key"]
    element = _element(field)
    arguments: dict[str, Group | str] = {
        "key": string(key) if isinstance(key, str) else f"0x{key:02X}",
        "name": string(_attribute(field)),
        "type": f"FieldType.{(element if element in PLAIN else 'structure').upper()}",
    }
    if element not in PLAIN:
        arguments["structure"] = f"_{_constant(element)}"
    if _many(field):
        arguments["many"] = "True"
    if field.get("required"):
        arguments["required"] = "True"
    if "length" in field:
        arguments["length"] = str(field["length"])
    return call("FieldSpec", **arguments)


def _hint(field: Table) -> str:
    element = _element(field)
    hint = PLAIN.get(element, element)
    return f"tuple[{hint}, ...]" if _many(field) else hint


def _many(field: Table) -> bool:
    return bool(field["type"].startswith("["))


def _element(field: Table) -> str:
    return str(field["type"].strip("[]"))


def _attribute(field: Table) -> str:
    return _constant(str(field.get("name", field["key"]))).lower()


def _short(command: str) -> str:
    return command.removeprefix("authenticator")


def _constant(mixed: str) -> str:
    """`pinUvAuthParam` as PIN_UV_AUTH_PARAM, `rpIDHash` as RP_ID_HASH."""
    # An abbreviation goes together with what follows its plural.
    plain = mixed.replace("RPIDs", "RpIds").replace("-", "_")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain).upper()
