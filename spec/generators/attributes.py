"""Writes the table of PKCS#11 attributes: `pkcs11_module/_attributes.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from generators import HEADER, SpecError, load
from generators._python import Group, sequence, string
from generators._schema import (
    Table,
    distinct,
    entries,
    flag,
    name,
    number,
    one_of,
    only,
    text,
    unique,
    validate,
)

_FILE = "attributes.toml"
_FORMS = ("bool", "ulong", "bytes", "utf8", "date", "mechanisms", "template")
_CHANGES = ("no", "yes", "session", "to_true", "to_false")
_PURPOSES = ("create", "generate", "unwrap", "derive")
_NO_PURPOSE = "NO_PURPOSE"
_MATCHES = {"": "Match.EMPTY", "any": "Match.ANY"}
_ULONG = number(0, (1 << 64) - 1)


def _purposes(value: Any) -> bool:
    return value == "all" or distinct(one_of(_PURPOSES))(value)


def _value(value: Any) -> bool:
    if isinstance(value, dict):
        return value.keys() == {"oid"} and isinstance(value["oid"], str)
    return flag(value) or _ULONG(value) or isinstance(value, str)


_ROW: dict[str, tuple[Callable[[Any], bool], bool]] = {
    "form": (one_of(_FORMS), True),
    "default": (_value, False),
    "need": (_purposes, False),
    "refuse": (_purposes, False),
    "computed": (one_of([True]), False),
    "derived": (one_of([True]), False),
    "error": (name, False),
    "values": (distinct(lambda value: _ULONG(value) or name(value)), False),
    "so": (one_of([True]), False),
    "vouched": (one_of([True]), False),
    "secret": (one_of([True]), False),
    "change": (one_of(_CHANGES), False),
    "copy": (one_of(_CHANGES), False),
    "copy_error": (name, False),
}
_KIND: dict[str, tuple[Callable[[Any], bool], bool]] = {
    "class": (name, True),
    "types": (distinct(name), False),
    "groups": (distinct(text), True),
    "defaults": (lambda value: isinstance(value, dict) and all(map(_value, value.values())), False),
}
_CONSISTENCY: dict[str, tuple[Callable[[Any], bool], bool]] = {
    "rule": (text, True),
    "class": (name, True),
    "when": (lambda value: isinstance(value, dict) and len(value) > 1, True),
    "error": (name, True),
}


def outputs(spec_dir: Path) -> dict[Path, str]:
    """The generated file; raises SpecError where the table is wrong."""
    folder = spec_dir / "pkcs11"
    constants: set[str] = {"CK_UNAVAILABLE_INFORMATION"}
    for values in load(folder / "constants.toml").values():
        constants |= values.keys()
    constants |= load(folder / "mechanisms.toml")["mechanisms"].keys()
    constants |= load(folder / "errors.toml")["return_values"].keys()
    table = load(folder / _FILE)
    _check(table, constants)
    return {Path("pkcs11_module/_attributes.py"): "\n".join(_module(table)) + "\n"}


def _check(table: Table, constants: set[str]) -> None:
    only(_FILE, table, {"groups", "kind", "consistency"})
    for title, rows in table["groups"].items():
        for attribute, row in rows.items():
            where = f"{_FILE}: [groups.{title}] {attribute}"
            validate(where, row, _ROW)
            named = [value for value in row.get("values", []) if isinstance(value, str)]
            errors = [row[key] for key in ("error", "copy_error") if key in row]
            _known(where, [attribute, *named, *errors], constants)
    kinds = []
    for kind in entries(_FILE, table, "kind"):
        where = f"{_FILE}: [[kind]] {kind.get('class')} {kind.get('types', '')}"
        validate(where, kind, _KIND)
        _known(where, [kind["class"], *kind.get("types", [])], constants)
        _known(where, kind["groups"], table["groups"].keys())
        rows = {row for group in kind["groups"] for row in table["groups"][group]}
        _known(where, kind.get("defaults", {}), rows)
        kinds += [(kind["class"], key_type) for key_type in kind.get("types", [""])]
    unique(_FILE, "kind", kinds)
    for rule in entries(_FILE, table, "consistency"):
        where = f"{_FILE}: [[consistency]] {rule.get('rule')}"
        validate(where, rule, _CONSISTENCY)
        _known(where, [rule["class"], rule["error"], *rule["when"]], constants)


def _known(where: str, names: Iterable[str], known: Iterable[str]) -> None:
    for item in names:
        if item not in known:
            raise SpecError(f"{where}: {item} is not known")


def _module(table: Table) -> Iterator[str]:
    yield f'"""Attributes of PKCS#11 objects.\n\n{HEADER.format(sources="spec/pkcs11")}\n"""\n'
    yield "from typing import Final\n"
    yield "from pkcs11_module import _constants as ck"
    yield (
        "from pkcs11_module.attribute_model import ("
        + "".join(f"\n    {item}," for item in ("NO_PURPOSE", *_NAMES))
        + "\n)\n"
    )
    yield "_Rules = dict[int, Rule]\n"
    for title, rows in table["groups"].items():
        yield f"_{title.upper()}: Final[_Rules] = {{"
        for attribute, row in rows.items():
            yield from _rule(row).lines(f"ck.{attribute}: ", ",", 1)
        yield "}"
    yield "KINDS: Final[dict[tuple[int, int], _Rules]] = {"
    for kind in table["kind"]:
        for key_type in kind.get("types", [None]):
            yield from _kind(kind, key_type, table["groups"])
    yield "}"
    yield from sequence(map(_conflict, table.get("consistency", []))).lines(
        "CONFLICTS: Final[tuple[Conflict, ...]] = "
    )


_NAMES = ("Change", "Conflict", "Form", "Match", "Purpose", "Rule")


def _call(title: str, fixed: Iterable[Group | str], more: Mapping[str, Group | str]) -> Group:
    items = [("", item) for item in fixed]
    return Group(f"{title}(", (*items, *((f"{key}=", item) for key, item in more.items())), ")")


def _rule(row: Table) -> Group:
    computed = row.get("computed", False)
    refuse = "all" if computed else row.get("refuse", [])
    change: str = row.get("change", "no")
    copy: str = row.get("copy", "yes" if change == "session" else change)
    more: dict[str, Group | str] = {}
    if "default" in row:
        more["default"] = _literal(row["form"], row["default"])
    more |= {
        key: _purpose(purposes)
        for key, purposes in (("need", row.get("need", [])), ("refuse", refuse))
        if purposes
    }
    if computed or "error" in row:
        more["error"] = f"ck.{row.get('error', 'CKR_ATTRIBUTE_READ_ONLY')}"
    if "values" in row:
        items = ", ".join(_number(value) for value in row["values"])
        more["values"] = f"frozenset({{{items}}})"
    more |= {key: "True" for key in ("derived", "so", "vouched", "secret") if key in row}
    more |= {
        key: f"Change.{value.upper()}"
        for key, value in (("change", change), ("copy", copy))
        if value != "no"
    }
    if "copy_error" in row:
        more["copy_error"] = f"ck.{row['copy_error']}"
    return _call("Rule", [f"Form.{row['form'].upper()}"], more)


def _purpose(purposes: str | list[str]) -> str:
    return (
        "~NO_PURPOSE" if purposes == "all" else " | ".join(f"Purpose.{p.upper()}" for p in purposes)
    )


def _number(value: int | str) -> str:
    return f"ck.{value}" if isinstance(value, str) else str(value)


def _literal(form: str, value: bool | int | str | Table) -> str:
    """A default: a bool, a number, or bytes."""
    if isinstance(value, dict):
        return 'b"' + "".join(f"\\x{byte:02x}" for byte in _oid(value["oid"])) + '"'
    if form == "bool":
        return str(bool(value))
    if form == "ulong":
        return _number("CK_UNAVAILABLE_INFORMATION" if value == "unavailable" else value)
    return f"b{string(str(value))}"


def _oid(dotted: str) -> bytes:
    """The DER of an object identifier (X.690 8.19)."""
    first, second, *rest = map(int, dotted.split("."))
    body = b""
    for arc in (40 * first + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        body += bytes(reversed(groups))
    return bytes((0x06, len(body))) + body


def _kind(kind: Table, key_type: str | None, groups: Table) -> Iterator[str]:
    own = f"ck.{key_type}" if key_type else "0"
    yield f"    (ck.{kind['class']}, {own}): {{"
    for group in kind["groups"]:
        yield f"        **_{group.upper()},"
    for attribute, default in kind.get("defaults", {}).items():
        found: Table = {}
        for group in kind["groups"]:
            found = groups[group].get(attribute, found)
        yield from _rule({**found, "default": default}).lines(f"ck.{attribute}: ", ",", 2)
    yield "    },"


def _conflict(rule: Table) -> Group:
    when = sequence(
        sequence([f"ck.{attribute}", _MATCHES.get(value, str(value))])
        for attribute, value in rule["when"].items()
    )
    return _call(
        "Conflict", [string(rule["rule"]), f"ck.{rule['class']}", when, f"ck.{rule['error']}"], {}
    )
