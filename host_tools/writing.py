"""Files written wholly or not at all."""

import os
import tempfile
from pathlib import Path
from typing import Final

COMMON: Final = 0o666
"""The mode of a file for whoever the umask lets read it."""
PRIVATE: Final = 0o600
"""The mode of a file for its owner alone."""


def write_new(path: Path, content: bytes, mode: int = COMMON) -> None:
    """Make a file that was not there. Raises OSError: FileExistsError where it was."""
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink()
            raise


def write_again(path: Path, content: bytes) -> None:
    """Put a new content in the place of an old one, whose mode stays. Raises OSError."""
    # A link goes on leading to the file.
    path = path.resolve()
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
