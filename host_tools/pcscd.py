"""The service of the system that shows readers to programs: where it is, and how to start it."""

from __future__ import annotations

import shutil

SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where ordinary users do not look."""
_START = "systemctl start pcscd.socket"


def find() -> str | None:
    """The program's path; None where it is not installed."""
    return shutil.which("pcscd") or shutil.which("pcscd", path=SYSTEM_PROGRAMS)


def remedy() -> str:
    """What to do where it does not answer."""
    if find() is None:
        return f"Install and start it: apt-get install pcscd && {_START}"
    return f"Start it: {_START}"
