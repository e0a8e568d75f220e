"""What to say where a package of an optional part of this project is missing."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys

from host_tools.control import ControlError, ErrorCode


def missing(package: str, who: str) -> ControlError:
    """The error for `who`, some things in the plural, of which the package is a part."""
    return ControlError(
        ErrorCode.GENERAL,
        f"{who} need the package {package}, which is not installed.",
        f"Install it: {installation(package)}",
    )


def installation(package: str) -> str:
    """A command of the shell that installs the package for the interpreter that runs.

    It names the package itself: an extra could be had only where an index has this project.
    """
    if importlib.util.find_spec("pip") is not None:
        words = [sys.executable, "-m", "pip", "install"]
    else:
        words = ["uv", "pip", "install", "--python", sys.executable]
    return shlex.join([*words, _requirement(package)])


def _requirement(package: str) -> str:
    """The package with the versions that do, as the metadata of this project have it."""
    from importlib import metadata  # noqa: PLC0415  costs 40 ms, and few commands need it

    for one in metadata.requires("klyuch") or ():
        requirement = one.partition(";")[0].strip()
        if re.split(r"[^\w.-]", requirement, maxsplit=1)[0] == package:
            return requirement
    return package
