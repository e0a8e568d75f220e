"""The files that are signed, and the files that signatures are in."""

import os
import tempfile
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


def write_new(path: Path, content: bytes) -> None:
    """Make a file that was not there. Raises OSError: FileExistsError where it was."""
    with path.open("xb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink()
            raise


def write_again(path: Path, content: bytes) -> None:
    """Put a new content in the place of an old one, wholly or not at all. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    made = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        made.chmod(path.stat().st_mode & 0o777)
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)
