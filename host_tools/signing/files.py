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


def signature_of(path: Path) -> Path | None:
    """The file with the detached signature of a file, by its name; None where there is none."""
    return next((one for end in _SUFFIXES if (one := beside(path, end)).is_file()), None)


def signed_by(path: Path) -> Path | None:
    """The file that a file with a detached signature is for, by its name."""
    named = path.with_suffix("")
    return named if path.suffix in _SUFFIXES and named.is_file() else None
