"""Writes the list of mechanisms for people: `docs/mechanisms.md`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from generators import HEADER
from generators.capabilities import FILE, mechanisms

PAGE = Path("docs", "mechanisms.md")
_BOTH = {
    "encrypt": ("decrypt", "encrypt, decrypt"),
    "sign": ("verify", "sign, verify"),
    "sign_recover": ("verify_recover", "recover"),
    "wrap": ("unwrap", "wrap, unwrap"),
    "encapsulate": ("decapsulate", "encapsulate, decapsulate"),
    "message_encrypt": ("message_decrypt", "messages"),
    "message_sign": ("message_verify", "messages"),
}
_ALONE = {
    "digest": "digest",
    "generate": "make a key",
    "generate_key_pair": "make a pair",
    "derive": "derive",
    "wrap_authenticated": "wrap with authentication",
}
_MANY = 5


def outputs(spec_dir: Path) -> dict[Path, str]:
    """Generated files by their path from the root of the project."""
    return {PAGE: "\n".join(_page(list(mechanisms(spec_dir)))) + "\n"}


def _page(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    yield "# Mechanisms"
    yield ""
    yield HEADER.format(sources=f"spec/{FILE}")
    yield ""
    yield f"The {len(rows)} mechanisms of a token, as C_GetMechanismList gives them. Where *card*"
    yield "says yes, the token does it itself with keys that it keeps; all else, and whatever is"
    yield "done with keys of a session, is computed in the daemon. Where *parts* says yes,"
    yield "data may come in parts."
    yield ""
    yield "| mechanism | for | keys | sizes | parts | card |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        cells = (
            f"`{row['name']}`",
            ", ".join(_purposes(row["functions"])),
            _keys(row["keys"]),
            _sizes(row),
            "yes" if row["multipart"] else "",
            "yes" if "CKF_HW" in row["flags"] else "",
        )
        yield f"| {' | '.join(cells)} |"


def _purposes(functions: list[str]) -> Iterator[str]:
    for first, (second, both) in _BOTH.items():
        if first in functions and second in functions:
            yield both
        elif first in functions or second in functions:
            yield (first if first in functions else second).replace("_", " ")
    yield from (text for name, text in _ALONE.items() if name in functions)


def _keys(keys: list[str]) -> str:
    if len(keys) > _MANY:
        return "any secret key"
    return ", ".join(key.removeprefix("CKK_") for key in keys)


def _sizes(row: Mapping[str, Any]) -> str:
    least, most = row["sizes"]
    if row["unit"] == "none":
        return ""
    return f"{least} {row['unit']}" if least == most else f"{least}–{most} {row['unit']}"
