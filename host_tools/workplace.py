"""What ``klyuch doctor`` finds around the tokens: readers, browsers, engines.

Nothing of it is needed by all; what is not there is no fault, and its finding has the command that
brings it. A fault is what is set up and leads nowhere.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from host_tools import pcscd
from host_tools.control import ControlError
from host_tools.cryptoki import LIBRARY
from host_tools.findings import Finding
from token_fw.crypto.gost import backend

READER_FILES = Path("/etc/reader.conf.d")
_DRIVER = "libklyuch-ifd.so"
_LIBPATH = re.compile(r"^\s*LIBPATH\s+\"?([^\"\n]+?)\"?\s*$", re.MULTILINE)
_MODULE_LIBRARY = re.compile(r"^library=(.*)$", re.MULTILINE)
_ENGINES = re.compile(r'ENGINESDIR: "(.*)"')
_DATABASES = (
    ".mozilla/firefox/*/pkcs11.txt",
    "snap/firefox/common/.mozilla/firefox/*/pkcs11.txt",
    ".pki/nssdb/pkcs11.txt",
)
_PATIENCE = 10.0
_AS_ROOT = (
    "Have it run as root (systemctl edit pcscd: [Service] User=root), or put the tokens into"
    " vpcd's readers: klyuch reader run --vpcd localhost:35963"
)
# Where distributions put what others load: Debian in a folder of the processor's.
_VPCD = ("usr/lib*/pcsc/drivers/serial/libifdvpcd.so*",)
_OPENSC = ("usr/lib*/opensc-pkcs11.so", "usr/lib/*/opensc-pkcs11.so")
_GOST_ENGINE = "libengine-gost-openssl"


def examine(
    reader_files: Path = READER_FILES, processes: Path = Path("/proc"), root: Path = Path("/")
) -> Iterator[Finding]:
    """All checks of the workplace; programs of others are looked for below `root`."""
    yield _pcscd()
    yield _readers()
    yield _driver(reader_files, processes)
    yield _installed("vpcd", root, _VPCD, "vsmartcard-vpcd")
    yield _installed("OpenSC module", root, _OPENSC, "opensc-pkcs11")
    yield from _browsers(Path.home())
    engines = _engines_folder()
    yield _engine("OpenSSL engine", engines, "pkcs11.so", "libengine-pkcs11-openssl")
    yield _gost()


def _pcscd() -> Finding:
    path = pcscd.find()
    if path is None:
        return Finding("pcscd", True, "not installed", "apt-get install pcscd")
    return Finding("pcscd", True, path)


def _readers() -> Finding:
    try:
        from host_tools.readers import list_readers  # noqa: PLC0415  pyscard is an extra

        readers = list_readers()
    except ControlError as error:
        return Finding("readers", True, error.message, error.hint)
    told = [f"{reader.name} ({'a card' if reader.present else 'empty'})" for reader in readers]
    return Finding("readers", True, "; ".join(told) or "pcscd runs and has none")


def _driver(folder: Path, processes: Path) -> Finding:
    """The reader file that names our driver, which must be where it says, in a pcscd let in."""
    files = [path for path in sorted(folder.glob("*")) if path.is_file()]
    for path in files:
        for library in _LIBPATH.findall(path.read_text(encoding="utf-8", errors="replace")):
            if Path(library).name == _DRIVER:
                if not Path(library).exists():
                    found = f"{path} names {library}, which is not there"
                    return Finding("reader driver", False, found, "klyuch reader install")
                return _let_in(f"{path} names {library}", processes)
    found = f"no file in {folder} names {_DRIVER}"
    return Finding("reader driver", True, found, "klyuch reader install")


def _installed(what: str, root: Path, patterns: tuple[str, ...], package: str) -> Finding:
    """The first file of those patterns, or the package that brings one."""
    found = [path for pattern in patterns for path in sorted(root.glob(pattern))]
    if found:
        return Finding(what, True, str(found[0]))
    return Finding(what, True, "not installed", f"apt-get install {package}")


def _let_in(found: str, processes: Path) -> Finding:
    """Whether the daemon of this user lets the pcscd in that runs."""
    strangers = pcscd.users(processes) - {0, os.getuid()}
    if not strangers:
        return Finding("reader driver", True, found)
    told = f"{found}, but pcscd runs as {_user(min(strangers))}: only root and you may connect"
    return Finding("reader driver", False, told, _AS_ROOT)


def _user(uid: int) -> str:
    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"uid {uid}"


def _browsers(home: Path) -> Iterator[Finding]:
    """The databases of NSS, in which Firefox and Chromium keep their modules."""
    folders = [path.parent for name in _DATABASES for path in sorted(home.glob(name))]
    if not folders:
        found = "no database of Firefox or Chromium is in this home"
        place = shlex.quote(str(home / ".pki" / "nssdb"))
        make = f"mkdir -p {place} && certutil -N -d sql:{place} --empty-password"
        yield Finding("browsers", True, found, make)
    for folder in folders:
        yield _database(folder)


def _database(folder: Path) -> Finding:
    text = (folder / "pkcs11.txt").read_text(encoding="utf-8", errors="replace")
    ours = [path for path in _MODULE_LIBRARY.findall(text) if Path(path).name == LIBRARY.name]
    database = shlex.quote(f"sql:{folder}")
    add = f"modutil -force -dbdir {database} -add Klyuch -libfile {shlex.quote(str(LIBRARY))}"
    if not ours:
        return Finding("browser", True, f"{folder} does not know the library", add)
    missing = [path for path in ours if not Path(path).exists()]
    if missing:
        found = f"{folder} names {missing[0]}, which is not there"
        return Finding(
            "browser", False, found, f"modutil -force -dbdir {database} -delete Klyuch && {add}"
        )
    return Finding("browser", True, f"{folder} names {ours[0]}")


def _engines_folder() -> Path | None:
    """Where OpenSSL looks for engines; None where it is not installed."""
    if shutil.which("openssl") is None:
        return None
    done = subprocess.run(
        ["openssl", "version", "-e"], capture_output=True, text=True, check=False, timeout=_PATIENCE
    )
    found = _ENGINES.search(done.stdout)
    return Path(found[1]) if found else None


def _gost() -> Finding:
    """Who computes GOST signatures and digests; Python does wherever the engine does not."""
    chosen = backend.choice()
    if chosen.backend is None:
        return Finding("GOST", False, chosen.reason, f"unset {backend.SETTING}")
    found = f"{chosen.backend.name} ({chosen.backend.version})"
    if not chosen.reason:
        return Finding("GOST", True, found)
    return Finding("GOST", True, f"{found}: {chosen.reason}", f"apt-get install {_GOST_ENGINE}")


def _engine(what: str, folder: Path | None, name: str, package: str) -> Finding:
    path = folder / name if folder is not None else None
    if path is not None and path.exists():
        return Finding(what, True, str(path))
    return Finding(what, True, "not installed", f"apt-get install {package}")
