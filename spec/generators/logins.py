"""Writes what C_Login and its like answer without asking the card: `_logins.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from generators import HEADER, SpecError, load
from generators._python import Group, call, sequence, string
from generators._schema import Check, Schema, distinct, entries, one_of, only, validate

FILE = "pkcs11/logins.toml"
_FACTS: Mapping[str, tuple[str, ...]] = {
    "as": ("user", "so", "context", "other", "rw", "ro"),
    "name": ("given", "none"),
    "user": ("user", "so", "nobody"),
    "open": ("rw", "ro"),
    "held": ("yes", "no"),
    "operation": ("waiting", "none"),
    "path": ("yes", "no"),
    "token": ("made", "blank"),
    "pin": ("none", "uncarried", "carried"),
    "new": ("length", "padded", "good"),
    "state": ("unset", "locked", "ready"),
}


def outputs(spec_dir: Path) -> dict[Path, str]:
    """Generated files by their path from the root of the repository; raises SpecError."""
    folder = spec_dir / "pkcs11"
    table = load(folder / "logins.toml")
    only(FILE, table, {"refusals", "calls"})
    functions = [entry["name"] for entry in load(folder / "functions.toml")["function"]]
    errors = load(folder / "errors.toml")["return_values"]
    rows = entries(FILE, table, "refusals")
    schema: Schema = {
        "do": (_some(one_of(functions)), True),
        **{fact: (_some(one_of(values)), False) for fact, values in _FACTS.items()},
        "gives": (one_of(errors), True),
        "clause": (lambda value: isinstance(value, str), True),
    }
    for number, row in enumerate(rows, 1):
        where = f"{FILE}: refusal {number}"
        validate(where, row, schema)
        if not row.keys() & _FACTS.keys():
            raise SpecError(f"{where}: it would refuse every call")
    return {Path("pkcs11_module/_logins.py"): "\n".join(_write(rows)) + "\n"}


def _some(check: Check) -> Check:
    """One value, or a list of them."""
    several = distinct(check)
    return lambda value: several(value) if isinstance(value, list) else check(value)


def _write(rows: list[dict[str, Any]]) -> Iterator[str]:
    header = HEADER.format(sources="spec/pkcs11")
    yield f'"""What C_Login and its like answer without asking the card.\n\n{header}\n"""\n'
    yield "from typing import Final\n"
    yield "from pkcs11_module import _constants as ck"
    yield "from pkcs11_module.rulebook import Fact, Refusal\n"
    refusals = sequence(map(_refusal, rows))
    yield from refusals.lines("REFUSALS: Final[tuple[Refusal, ...]] = ")


def _refusal(row: Mapping[str, Any]) -> Group:
    when = [(f"Fact.{fact.upper()}: ", _set(row[fact])) for fact in row if fact in _FACTS]
    return call(
        "Refusal",
        functions=_set(row["do"]),
        when=Group("{", tuple(when), "}"),
        gives=f"ck.{row['gives']}",
    )


def _set(values: str | list[str]) -> Group:
    names = values if isinstance(values, list) else [values]
    inner = Group("{", tuple(("", string(name)) for name in names), "}")
    return Group("frozenset(", (("", inner),), ")")
