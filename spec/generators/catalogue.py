"""apdu/_catalogue.py: status words, applications with their commands, and names of data objects."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

from generators import HEADER, SpecError, load
from generators._python import Group, byte_set, call, mapping, name_set, sequence, string
from generators._schema import (
    Schema,
    Table,
    distinct,
    entries,
    flag,
    name,
    names_of_values,
    number,
    one_of,
    only,
    tables,
    text,
    unique,
    validate,
)

CHAINING = 0x10
Place = tuple[str, str]
"""The names of an application and of one of its commands."""
ACCESS = (
    "always",
    "user",
    "so",
    "user-or-so",
    "management",
    "user-and-management",
    "file",
    "object",
    "key",
)
DATA = ("none", "optional", "required")


def _is_label(value: Any) -> bool:
    return text(value) and value.isidentifier() and value.islower()


def _is_class(value: Any) -> bool:
    return number(0, 0xFE)(value) and not value & CHAINING


def _is_instruction(value: Any) -> bool:
    # 6X and 9X are the first bytes of status words (ISO/IEC 7816-4:2020, 5.4.2).
    return number(0, 0xFF)(value) and value >> 4 not in (6, 9)


def _is_aid(value: Any) -> bool:
    try:
        return 5 <= len(bytes.fromhex(value)) <= 16
    except (TypeError, ValueError):
        return False


STATUS: Schema = {
    "name": (name, True),
    "sw": (number(0x6100, 0x9FFF), True),
    "title": (text, True),
    "bits": (one_of((4, 8)), False),
    "general": (flag, False),
}
APPLICATION: Schema = {
    "name": (_is_label, True),
    "aid": (_is_aid, True),
    "label": (text, True),
    "title": (text, True),
    "clause": (text, True),
    "guide": (text, True),
    "shortest_aid": (number(5, 16), False),
    "default_ne": (number(1, 0x10000), False),
    "pins": (distinct(_is_label), False),
}
COMMAND: Schema = {
    "name": (text, True),
    "cla": (distinct(_is_class), True),
    "ins": (_is_instruction, True),
    "title": (text, True),
    "p1": (distinct(number(0, 0xFF)), False),
    "p2": (distinct(number(0, 0xFF)), False),
    "data": (one_of(DATA), True),
    "secret": (flag, False),
    "secret_response": (flag, False),
    "chaining": (flag, False),
    "harmless": (flag, False),
    "silent": (flag, False),
    "answering": (distinct(number(0, 0xFF)), False),
    "volatile": (text, False),
    "references": (distinct(number(0, 0xFF)), False),
    "pins": (tables, False),
    "access": (one_of(ACCESS), True),
    "status": (distinct(text), True),
    "clause": (text, True),
}
_PIN_SETS = ("restores", "verifies", "ends", "clears", "wrong_ends")
PIN_USE: Schema = {
    "p1": (number(0, 0xFF), True),
    "p2": (number(0, 0xFF), True),
    "compares": (_is_label, False),
    "sets": (_is_label, False),
    **dict.fromkeys(_PIN_SETS, (distinct(_is_label), False)),
}
OBJECT: Schema = {
    "tag": (number(1, 0xFFFFFF), True),
    "name": (text, True),
    "text": (flag, False),
    "secret": (flag, False),
    "volatile": (flag, False),
    "values": (names_of_values, False),
    "members": (tables, False),
}
FIELD: Schema = {
    "application": (text, True),
    "name": (text, True),
    "members": (tables, False),
    "objects": (distinct(number(1, 0xFFFFFF)), False),
}


def outputs(spec_dir: Path) -> dict[Path, str]:
    """The generated file; raises SpecError when a table does not follow its schema."""
    statuses = _statuses(load(spec_dir / "status_words.toml"))
    known = {status["name"] for status in statuses}
    applications = [
        _application(f"commands/{path.name}", load(path), known)
        for path in sorted((spec_dir / "commands").glob("*.toml"))
    ]
    unique("commands", "application", [table["application"]["name"] for table in applications])
    commands = {
        (table["application"]["name"], command["name"])
        for table in applications
        for command in table["command"]
    }
    fields = _fields(load(spec_dir / "tlv.toml"), commands)
    text = "\n".join(_module(statuses, applications, fields)) + "\n"
    return {Path("apdu/_catalogue.py"): text}


def _statuses(document: Table) -> list[Table]:
    file = "status_words.toml"
    only(file, document, {"status"})
    statuses = entries(file, document, "status")
    for status in statuses:
        where = f"{file}: {status.get('name', '?')}"
        validate(where, status, STATUS)
        if status["sw"] & ((1 << status.get("bits", 0)) - 1):
            raise SpecError(f"{where}: the bits of sw that carry the number are not zero")
    unique(file, "name", [status["name"] for status in statuses])
    unique(file, "status word", [f"{status['sw']:04X}" for status in statuses])
    return statuses


def _application(file: str, document: Table, statuses: set[str]) -> Table:
    only(file, document, {"application", "command"})
    application = document.get("application")
    if not isinstance(application, dict):
        raise SpecError(f"{file}: the table [application] is missing")
    validate(f"{file}: [application]", application, APPLICATION)
    commands = entries(file, document, "command")
    for command in commands:
        where = f"{file}: {command.get('name', '?')}"
        validate(where, command, COMMAND)
        for status in command["status"]:
            if status not in statuses:
                raise SpecError(f"{where}: the status {status!r} is not in status_words.toml")
        _pins(where, command, set(application.get("pins", ())))
    unique(file, "name", [command["name"] for command in commands])
    for first, second in combinations(commands, 2):
        if first["ins"] == second["ins"] and all(
            _overlap(first.get(key), second.get(key)) for key in ("cla", "p1", "p2")
        ):
            raise SpecError(
                f"{file}: {second['name']}: INS {second['ins']:02X} with such a CLA, P1 and P2"
                f" is {first['name']} already"
            )
    return document


def _pins(where: str, command: Table, known: set[str]) -> None:
    """Raises SpecError where P1 P2 are not the command's, or the application has no such PIN."""
    for use in command.get("pins", ()):
        validate(f"{where}: pins", use, PIN_USE)
        named = {use[key] for key in ("compares", "sets") if key in use}
        named.update(*(use.get(key, ()) for key in _PIN_SETS))
        if named - known:
            raise SpecError(f"{where}: the application has no PIN {min(named - known)!r}")
        p1, p2 = command.get("p1"), command.get("p2", command.get("references"))
        if (p1 and use["p1"] not in p1) or (p2 and use["p2"] not in p2):
            raise SpecError(f"{where}: pins: it takes no {use['p1']:02X} {use['p2']:02X}")


def _overlap(first: list[int] | None, second: list[int] | None) -> bool:
    return first is None or second is None or not set(first).isdisjoint(second)


def _fields(document: Table, commands: set[Place]) -> dict[str, dict[Place, list[Table]]]:
    """For commands and for responses: the data objects in the data field of each."""
    file = "tlv.toml"
    only(file, document, {"object", "command", "response"})
    shared = entries(file, document, "object")
    _members(file, shared)
    by_tag = {item["tag"]: item for item in shared}
    return {
        kind: dict(
            _field(f"{file}: [[{kind}]]", field, by_tag, commands)
            for field in entries(file, document, kind)
        )
        for kind in ("command", "response")
    }


def _field(
    file: str, field: Table, shared: dict[int, Table], commands: set[Place]
) -> tuple[Place, list[Table]]:
    where = f"{file} {field.get('name', '?')}"
    validate(where, field, FIELD)
    place = field["application"], field["name"]
    if place not in commands:
        raise SpecError(f"{where}: the application has no such command")
    members = list(field.get("members", []))
    for tag in field.get("objects", []):
        if tag not in shared:
            raise SpecError(f"{where}: there is no [[object]] with the tag {tag:02X}")
        members.append(shared[tag])
    _members(where, members)
    return place, members


def _members(where: str, members: list[Table]) -> None:
    for member in members:
        place = f"{where}: {member.get('name', '?')}"
        validate(place, member, OBJECT)
        _members(place, member.get("members", []))
    unique(where, "tag", [f"{member['tag']:02X}" for member in members])


def _module(
    statuses: list[Table], applications: list[Table], fields: dict[str, dict[Place, list[Table]]]
) -> list[str]:
    sources = "spec/status_words.toml, tlv.toml and commands"
    words = sequence(_status(status) for status in statuses)
    specs = mapping(_application_spec(table) for table in applications)
    constants = {
        _constant(table): sequence(_command(command) for command in table["command"])
        for table in applications
    }
    objects = {
        kind: mapping(
            (f"({string(application)}, {string(command)})", sequence(map(_tag, members)))
            for (application, command), members in field.items()
        )
        for kind, field in fields.items()
    }
    by_place = "dict[tuple[str, str], tuple[TagSpec, ...]]"
    imports = (
        *("Access", "ApplicationSpec", "CommandSpec", "DataField"),
        *("PinUse", "StatusWord", "TagSpec"),
    )
    return [
        f'"""{HEADER.format(sources=sources)}"""',
        "",
        f"from apdu.spec import {', '.join(imports)}",
        "",
        "",
        "class SW:",
        '    """Status words; of a family, such as 63Cx, the one with the number zero."""',
        "",
        *(f"    {status['name']} = 0x{status['sw']:04X}" for status in statuses),
        "",
        "",
        *words.lines("STATUS_WORDS: tuple[StatusWord, ...] = "),
        "",
        *(
            line
            for constant, commands in constants.items()
            for line in (*commands.lines(f"{constant}: tuple[CommandSpec, ...] = "), "")
        ),
        *specs.lines("APPLICATIONS: dict[str, ApplicationSpec] = "),
        "",
        *objects["command"].lines(f"COMMAND_OBJECTS: {by_place} = "),
        "",
        *objects["response"].lines(f"RESPONSE_OBJECTS: {by_place} = "),
    ]


def _status(status: Table) -> Group:
    arguments: dict[str, Group | str] = {
        "value": f"0x{status['sw']:04X}",
        "name": string(status["name"]),
        "title": string(status["title"]),
    }
    if "bits" in status:
        arguments["bits"] = str(status["bits"])
    if status.get("general"):
        arguments["general"] = "True"
    return call("StatusWord", **arguments)


def _constant(table: Table) -> str:
    return f"_{_member(table['application']['name'])}_COMMANDS"


def _application_spec(table: Table) -> tuple[str, Group]:
    application = table["application"]
    arguments: dict[str, Group | str] = {
        "name": string(application["name"]),
        "aid": f'bytes.fromhex("{bytes.fromhex(application["aid"]).hex().upper()}")',
        "title": string(application["title"]),
        "clause": string(application["clause"]),
        "commands": _constant(table),
    }
    for key in ("shortest_aid", "default_ne"):
        if key in application:
            arguments[key] = str(application[key])
    return string(application["name"]), call("ApplicationSpec", **arguments)


def _command(command: Table) -> Group:
    arguments: dict[str, Group | str] = {
        "name": string(command["name"]),
        "cla": byte_set(command["cla"]),
        "ins": f"0x{command['ins']:02X}",
        "title": string(command["title"]),
        "data": f"DataField.{_member(command['data'])}",
        "access": f"Access.{_member(command['access'])}",
        "clause": string(command["clause"]),
    }
    for key in ("p1", "p2", "answering", "references"):
        if key in command:
            arguments[key] = byte_set(command[key])
    for key in ("secret", "secret_response", "chaining", "harmless", "silent"):
        if command.get(key):
            arguments[key] = "True"
    if "volatile" in command:
        arguments["volatile"] = string(command["volatile"])
    if "pins" in command:
        arguments["pins"] = sequence(map(_pin_use, command["pins"]))
    arguments["status"] = sequence(string(status) for status in command["status"])
    return call("CommandSpec", **arguments)


def _pin_use(use: Table) -> Group:
    arguments: dict[str, Group | str] = {key: f"0x{use[key]:02X}" for key in ("p1", "p2")}
    arguments |= {key: string(use[key]) for key in ("compares", "sets") if key in use}
    arguments |= {key: name_set(use[key]) for key in _PIN_SETS if key in use}
    return call("PinUse", **arguments)


def _member(value: str) -> str:
    return value.upper().replace("-", "_")


def _tag(item: Table) -> Group:
    arguments: dict[str, Group | str] = {
        "tag": f"0x{item['tag']:02X}",
        "name": string(item["name"]),
    }
    if item.get("members"):
        arguments["members"] = sequence(_tag(member) for member in item["members"])
    if item.get("values"):
        arguments["values"] = sequence(
            sequence((f"bytes.fromhex({string(value)})", string(meaning)))
            for value, meaning in item["values"].items()
        )
    for key in ("text", "secret", "volatile"):
        if item.get(key):
            arguments[key] = "True"
    return call("TagSpec", **arguments)
