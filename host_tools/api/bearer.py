"""The bearer token of the control API and where it listens: files of the home folder."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from host_tools.control import ControlError, ErrorCode
from host_tools.home import Home

TOKEN, URL = "control.token", "control.url"
_BYTES = 32


def bearer(home: Home) -> str:
    """The token of the home, made where there is none; 43 characters of base64url.

    Raises ControlError where others could know or change it.
    """
    home.make()
    path = home.run / TOKEN
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return _make(path)
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        found = os.fstat(descriptor)
        value = file.read(128).strip()
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ControlError(
            ErrorCode.GENERAL, f"{path} can be read by others.", f"Remove it: rm {path}"
        )
    if len(value) < _BYTES:
        raise ControlError(ErrorCode.GENERAL, f"{path} holds no token.", f"Remove it: rm {path}")
    return value


def _make(path: Path) -> str:
    """Write it beside the name and move it there: nobody meets a part of it."""
    value = secrets.token_urlsafe(_BYTES)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{value}\n")
        # Whoever came first has made the one that counts.
        path.hardlink_to(fresh)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    finally:
        fresh.unlink()
    return value


@contextmanager
def announced(home: Home, url: str) -> Iterator[None]:
    """Leave word of where the API listens, for as long as this process serves it."""
    path = home.run / URL
    fresh = path.with_name(f"{URL}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        # The lock is the word's proof: it ends with the process, however that ends.
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(f"{url}\n")
        file.flush()
        fresh.rename(path)
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    path.unlink()


def running(home: Home) -> str | None:
    """Where the API of the home listens; None where it does not run.

    What one that was killed has left counts for nothing: somebody else may listen there by now,
    and would be sent the bearer token.
    """
    try:
        descriptor = os.open(home.run / URL, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().strip()
    return None
