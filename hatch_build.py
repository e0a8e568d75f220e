"""Compiles the native libraries: as hatchling's build hook, or in place by `python hatch_build.py`.

The compiler is $CC, else cc. Exit status of the script: 0, or 1 with the reason on stderr.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent
FLAGS = (
    "-std=c11",
    "-O2",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-pthread",
    "-Wl,-z,relro,-z,now",
    # Hosts load several modules at once: C_Sign in our list must be ours, not the first one's.
    "-Wl,-Bsymbolic-functions",
)


class Library(NamedTuple):
    """A shared library: the folder of its sources, and where an installation keeps it."""

    native: Path
    path: Path


PKCS11 = Library(ROOT / "pkcs11_module" / "native", ROOT / "pkcs11_module" / "libklyuch-pkcs11.so")
IFD = Library(
    ROOT / "host_tools" / "bridge" / "native", ROOT / "host_tools" / "bridge" / "libklyuch-ifd.so"
)


class BuildError(Exception):
    """A library cannot be compiled; the message says why and what to do."""


def compiler() -> list[str]:
    """$CC with its options, else cc. Raises BuildError where it is not installed."""
    command = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if shutil.which(command[0]) is None:
        raise BuildError(
            f"No C compiler: {command[0]!r} is not installed. Klyuch's libraries need one"
            " (Debian and Ubuntu: apt-get install gcc libc6-dev; Fedora: dnf install gcc;"
            " or set CC to the compiler's path)."
        )
    return command


def compile_library(
    library: Library, target: Path | None = None, extra: Sequence[str] = ()
) -> None:
    """Compile a library, replaced in one step: programs may have it loaded.

    It goes into `target` where that is given; `extra` goes behind the usual options. Raises
    BuildError with the compiler's words.
    """
    target = target or library.path
    sources = sorted(library.native.rglob("*.c"))
    fresh = target.with_suffix(f".{os.getpid()}.new")
    command = [*compiler(), *FLAGS, *extra, "-o", str(fresh), *map(str, sources), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fresh.unlink(missing_ok=True)
        hint = (
            "\nThe C library's headers are missing (Debian and Ubuntu: apt-get install libc6-dev)."
            if "No such file or directory" in done.stderr
            else ""
        )
        raise BuildError(f"{shlex.join(command)}\n{done.stderr}{hint}")
    fresh.replace(target)


def compile_all() -> None:
    """Compile every library where an installation keeps it. Raises BuildError."""
    for library in (PKCS11, IFD):
        compile_library(library)


def get_build_hook() -> type:
    """The hook's class, as hatchling asks for it; hatchling is there only when it builds."""
    interface: Any = import_module("hatchling.builders.hooks.plugin.interface")

    class LibraryHook(interface.BuildHookInterface):  # type: ignore[misc]  # hatchling is untyped
        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            if self.target_name != "wheel":
                return
            try:
                compile_all()
            except BuildError as error:
                self.app.abort(str(error))
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"

    return LibraryHook


if __name__ == "__main__":
    try:
        compile_all()
    except BuildError as error:
        sys.exit(str(error))
