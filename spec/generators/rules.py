"""Writes what functions demand of a session and of its operations: `_rules.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generators import HEADER, SpecError, load
from generators._python import Group, call, string
from generators._schema import Schema, distinct, flag, one_of, only, text, validate

FILE = "pkcs11/rules.toml"
SAME = "same"
_STATES = ("none", "single", "ready", "parts", "begun")
_state = one_of(_STATES)
_kept = one_of((*_STATES, SAME))
_OPERATION: Schema = {
    "states": (distinct(_state), True),
    "beside": (distinct(text), True),
    "cancel": (text, True),
    "logout": (one_of(("private", "ends", "stays")), True),
}
_USE: Schema = {
    "refused": (lambda value: isinstance(value, dict) and all(map(_state, value)), True),
    "next": (_kept, True),
    "last": (_state, False),
    "error": (_kept, True),
}
_FUNCTION: Schema = {
    "session": (flag, False),
    "login": (one_of(("user", "so", "any")), False),
    "writable": (flag, False),
    "begins": (text, False),
    "does": (lambda value: isinstance(value, dict) and bool(value), False),
    "needs": (distinct(text), False),
    "clears": (flag, False),
}


def outputs(spec_dir: Path) -> dict[Path, str]:
    """Generated files by their path from the root of the repository; raises SpecError."""
    folder = spec_dir / "pkcs11"
    table = load(folder / "rules.toml")
    _check(table)
    functions = {entry["name"] for entry in load(folder / "functions.toml")["function"]}
    for name in functions ^ table["functions"].keys():
        raise SpecError(f"{FILE}: {name} is in one of rules.toml and functions.toml only")
    return {Path("pkcs11_module/_rules.py"): "\n".join(_write(table)) + "\n"}


@dataclass(frozen=True, slots=True)
class Effects:
    """What a function makes of the operations of its session.

    `begins` and `finishes` are the places of their kinds in rules.toml, None where it does not
    begin one or has no single one that a success ends, and for searches, which go beside every
    other. `operates`: it begins or continues any. `ends`: an error of it changes one.
    """

    begins: int | None
    finishes: int | None
    operates: bool
    ends: bool


def effects(spec_dir: Path) -> dict[str, Effects]:
    """The effects of every function by its name; raises SpecError."""
    table = load(spec_dir / "pkcs11" / "rules.toml")
    _check(table)
    uses = table["uses"]
    places = {kind: place for place, kind in enumerate(table["operations"]) if kind != "find"}

    def of(entry: Mapping[str, Any]) -> Effects:
        begins, does = entry.get("begins"), entry.get("does", {})
        finished = [kind for kind, use in does.items() if uses[use]["next"] == "none"]
        return Effects(
            begins=places.get(begins),
            finishes=places.get(finished[0]) if len(does) == len(finished) == 1 else None,
            operates=bool(begins or does),
            ends=any(uses[use]["error"] != SAME for use in does.values()),
        )

    return {name: of(entry) for name, entry in table["functions"].items()}


def _check(table: Mapping[str, Any]) -> None:
    only(FILE, dict(table), {"operations", "uses", "functions"})
    operations, uses = table["operations"], table["uses"]
    for name, entry in operations.items():
        validate(f"{FILE}: {name}", entry, _OPERATION)
        for other in entry["beside"]:
            if name not in operations.get(other, {}).get("beside", []):
                raise SpecError(f"{FILE}: {name} may be beside {other}, but not the other way")
    for name, entry in uses.items():
        validate(f"{FILE}: {name}", entry, _USE)
    for name, entry in table["functions"].items():
        validate(f"{FILE}: {name}", entry, _FUNCTION)
        if entry and not entry.get("session"):
            raise SpecError(f"{FILE}: {name} makes demands, but has no session")
        named = {entry.get("begins", "find"), *entry.get("does", ()), *entry.get("needs", ())}
        for kind in named - operations.keys():
            raise SpecError(f"{FILE}: {name}: the operation {kind!r} is not known")
        for use in set(entry.get("does", {}).values()) - uses.keys():
            raise SpecError(f"{FILE}: {name}: the use {use!r} is not known")


def _write(table: Mapping[str, Any]) -> Iterator[str]:
    header = HEADER.format(sources="spec/pkcs11")
    yield f'"""The rules of operations and sessions.\n\n{header}\n"""\n'
    yield "from typing import Final\n"
    yield "from pkcs11_module import _constants as ck"
    yield "from pkcs11_module.rulebook import Login, Operation, Rule, State, Use\n"
    yield "OPERATIONS: Final[dict[str, Operation]] = {"
    for name, entry in table["operations"].items():
        yield from _operation(entry).lines(f"{string(name)}: ", ",", 1)
    yield "}\n"
    yield "RULES: Final[dict[str, Rule]] = {"
    for name, entry in table["functions"].items():
        yield from _rule(table, name, entry).lines(f"{string(name)}: ", ",", 1)
    yield "}"


def _operation(entry: Mapping[str, Any]) -> Group:
    states = ["none", *entry["states"]]
    return call(
        "Operation",
        states=Group("(", tuple(("", _named(state)) for state in states), ")"),
        beside=_names(entry["beside"]),
        cancel=f"ck.{entry['cancel']}",
        private_ends=str(entry["logout"] == "private"),
        logout_ends=str(entry["logout"] == "ends"),
    )


def _rule(table: Mapping[str, Any], name: str, entry: Mapping[str, Any]) -> Group:
    fields: dict[str, Group | str] = {"name": string(name)}
    fields["session"] = str(entry.get("session", False))
    if "login" in entry:
        fields["login"] = f"Login.{entry['login'].upper()}"
    for key in ("writable", "clears"):
        if entry.get(key):
            fields[key] = "True"
    if "begins" in entry:
        fields["begins"] = string(entry["begins"])
    if "does" in entry:
        uses = [_use(table, kind, use) for kind, use in entry["does"].items()]
        fields["uses"] = Group("(", tuple(("", use) for use in uses), ")")
    if "needs" in entry:
        fields["needs"] = _names(entry["needs"])
    return call("Rule", **fields)


def _use(table: Mapping[str, Any], kind: str, name: str) -> Group:
    use = table["uses"][name]
    states = ["none", *table["operations"][kind]["states"]]
    refused = [
        (f"{_named(state)}: ", f"ck.{error}")
        for state, error in use["refused"].items()
        if state in states
    ]
    return call(
        "Use",
        kind=string(kind),
        refused=Group("{", tuple(refused), "}"),
        next=_named(use["next"]),
        last=_named(use.get("last", SAME)),
        error=_named(use["error"]),
    )


def _named(state: str) -> str:
    return "None" if state == SAME else f"State.{state.upper()}"


def _names(names: list[str]) -> Group:
    inner = Group("{", tuple(("", string(name)) for name in names), "}")
    return Group("frozenset(", (("", inner),), ")")
