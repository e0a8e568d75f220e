"""The service of the system that shows readers to programs: where it is, and how to start it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where ordinary users do not look."""
_EFFECTIVE_USER = re.compile(r"^Uid:\t\d+\t(\d+)", re.MULTILINE)
_START = "systemctl start pcscd.socket"


def find() -> str | None:
    """The program's path; None where it is not installed."""
    return shutil.which("pcscd") or shutil.which("pcscd", path=SYSTEM_PROGRAMS)


def users(processes: Path = Path("/proc")) -> set[int]:
    """The ids of the users that it runs as, of whom SO_PEERCRED tells; none where it does not."""
    found = set()
    for name in processes.glob("[0-9]*/comm"):
        try:
            if name.read_text(encoding="utf-8", errors="replace") == "pcscd\n":
                status = name.with_name("status").read_text(encoding="utf-8", errors="replace")
                found.add(int(_EFFECTIVE_USER.findall(status)[0]))
        except OSError:
            # It ended meanwhile.
            continue
    return found


def remedy() -> str:
    """What to do where it does not answer."""
    if find() is None:
        return f"Install and start it: apt-get install pcscd && {_START}"
    return f"Start it: {_START}"
