"""The files that are signed, and the files that signatures are in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PIECE: Final = 1 << 20

# What a file is called with its detached signature in it, and with its content in it too.
DETACHED_SUFFIX: Final = ".p7s"
ATTACHED_SUFFIX: Final = ".p7m"
_SUFFIXES: Final = (DETACHED_SUFFIX, ".sig", ".sgn")


def pieces(path: Path) -> Iterator[bytes]:
    """The content of a file, in pieces of at most 1 MiB. Raises OSError."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def beside(path: Path, suffix: str) -> Path:
    """The name of a file with that signature of it."""
    return path.with_name(path.name + suffix)


def places_beside(path: Path) -> list[Path]:
    """Where the detached signature of a file may be, by its name."""
    return [beside(path, end) for end in _SUFFIXES]


def signature_of(path: Path) -> Path | None:
    """The file with the detached signature of a file; None where there is none."""
    return next((one for one in places_beside(path) if one.is_file()), None)


def is_named_as_signature(path: Path) -> bool:
    """Whether a file says by its name that there is a signature in it."""
    return path.suffix in (*_SUFFIXES, ATTACHED_SUFFIX)


def signed_by(path: Path) -> Path | None:
    """The file that a file with a detached signature is for, by its name."""
    named = path.with_suffix("")
    return named if path.suffix in _SUFFIXES and named.is_file() else None
