"""Python literals in the layout of ruff's formatter: on one line, else one item a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from generators import LINE


@dataclass(frozen=True)
class Group:
    """Brackets with items in them; an item is an optional prefix (`key: `, `name=`) and a value."""

    opening: str
    items: tuple[tuple[str, Group | str], ...]
    closing: str

    def flat(self) -> str:
        """The group on one line."""
        inner = ", ".join(prefix + _flat(value) for prefix, value in self.items)
        comma = "," if self.opening == "(" and len(self.items) == 1 else ""
        return f"{self.opening}{inner}{comma}{self.closing}"

    def lines(self, prefix: str = "", suffix: str = "", depth: int = 0) -> list[str]:
        """The group between `prefix` and `suffix`, `depth` levels in."""
        indent = "    " * depth
        line = f"{indent}{prefix}{self.flat()}{suffix}"
        if len(line) <= LINE or not self.items:
            return [line]
        lines = [f"{indent}{prefix}{self.opening}"]
        for label, value in self.items:
            if isinstance(value, Group):
                lines += value.lines(label, ",", depth + 1)
            else:
                lines.append(f"{indent}    {label}{value},")
        return [*lines, f"{indent}{self.closing}{suffix}"]


def string(text: str) -> str:
    """A string literal, with the quotes that need fewer escapes."""
    if '"' in text and "'" not in text:
        return "'" + text.replace("\\", "\\\\") + "'"
    return json.dumps(text, ensure_ascii=False)


def call(name: str, /, **arguments: Group | str) -> Group:
    """A call with keyword arguments."""
    return Group(f"{name}(", tuple((f"{key}=", value) for key, value in arguments.items()), ")")


def sequence(items: Iterable[Group | str]) -> Group:
    """A tuple."""
    return Group("(", tuple(("", item) for item in items), ")")


def mapping(items: Iterable[tuple[str, Group | str]]) -> Group:
    """A dict of literals for keys."""
    return Group("{", tuple((f"{key}: ", value) for key, value in items), "}")


def byte_set(values: Iterable[int]) -> Group:
    """A frozenset of bytes."""
    return _frozenset(f"0x{value:02X}" for value in values)


def name_set(values: Iterable[str]) -> Group:
    """A frozenset of strings."""
    return _frozenset(map(string, values))


def _frozenset(literals: Iterable[str]) -> Group:
    inner = Group("{", tuple(("", literal) for literal in literals), "}")
    return Group("frozenset(", (("", inner),), ")")


def _flat(value: Group | str) -> str:
    return value.flat() if isinstance(value, Group) else value
