"""Writes the reference of each application's commands, such as `docs/pki-commands.md`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from generators import HEADER, load

ACCESS = {
    "always": "anyone",
    "user": "user PIN",
    "so": "SO PIN",
    "user-or-so": "user or SO PIN",
    "management": "management key",
    "user-and-management": "user PIN and management key",
    "file": "the file's own rule",
    "object": "the data object's own rule",
    "key": "the key's own rule",
}
"""Of each access rule: what it says to a reader."""


def outputs(spec_dir: Path) -> dict[Path, str]:
    """Generated files by their path from the root of the project."""
    words = {word["name"]: word for word in load(spec_dir / "status_words.toml")["status"]}
    return {
        Path("docs", f"{table.stem}-commands.md"): "\n".join(_page(table, words)) + "\n"
        for table in sorted((spec_dir / "commands").glob("*.toml"))
    }


def _page(table: Path, words: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    document = load(table)
    application = document["application"]
    guide = application["guide"]
    yield f"# Commands of the {application['label']} application"
    yield ""
    yield HEADER.format(sources=f"spec/commands/{table.name}")
    yield ""
    yield f"Application identifier `{application['aid']}`. What goes into the data fields is in"
    yield f"[{guide}]({guide}). Classes are without the chaining bit (10)."
    yield "Every command may also end with one of the general status words, listed last."
    for command in document["command"]:
        yield from _command(command, words)
    yield ""
    yield "## General status words"
    yield ""
    yield from _status(word for word in words.values() if word.get("general"))


def _answer(command: Mapping[str, Any]) -> str:
    if not command.get("silent"):
        return "data"
    answering = command.get("answering")
    return f"no data, but with P2 {_bytes(answering)}" if answering else "no data"


def _command(command: Mapping[str, Any], words: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    chained = ", may be chained" if command.get("chaining") else ""
    masked = [
        what
        for what, key in (("data", "secret"), ("response", "secret_response"))
        if command.get(key)
    ]
    yield ""
    yield f"## {command['name']}"
    yield ""
    yield f"{command['title'][0].upper()}{command['title'][1:]}. {command['clause']}."
    yield ""
    yield "| CLA | INS | P1 | P2 | data | answer | access | masked in traces |"
    yield "|---|---|---|---|---|---|---|---|"
    cells = (
        _bytes(command["cla"]),
        _bytes([command["ins"]]),
        _bytes(command.get("p1", ())),
        _bytes(command.get("p2", ())),
        command["data"] + chained,
        _answer(command),
        ACCESS[command["access"]],
        " and ".join(masked) or "nothing",
    )
    yield f"| {' | '.join(cells)} |"
    yield ""
    if "pins" in command:
        yield from _pins(command["pins"])
    yield from _status(words[name] for name in command["status"])


def _pins(uses: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What the command does to PINs, by P1 P2."""
    yield "| P1 P2 | compares | sets | all tries | verified | not verified | wrong: not verified |"
    yield "|---|---|---|---|---|---|---|"
    for use in uses:
        cells = (
            f"`{use['p1']:02X} {use['p2']:02X}`",
            use.get("compares", ""),
            use.get("sets", ""),
            ", ".join(use.get("restores", ())),
            ", ".join(use.get("verifies", ())),
            ", ".join((*use.get("ends", ()), *use.get("clears", ()))),
            ", ".join(use.get("wrong_ends", ())),
        )
        yield f"| {' | '.join(cells)} |"
    yield ""


def _status(words: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for word in words:
        code = f"{word['sw']:04X}"
        digits = word.get("bits", 0) // 4
        shown = code[: len(code) - digits] + "x" * digits
        yield f"- `{shown}` {word['title']}"


def _bytes(values: Iterable[int]) -> str:
    return " ".join(f"`{value:02X}`" for value in values) or "any"
