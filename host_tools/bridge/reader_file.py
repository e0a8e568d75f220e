"""The file by which pcscd finds our readers (reader.conf(5)), written and read.

pcscd takes a reader as soon as it has a name, a driver and a device: LIBPATH has to come last.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from host_tools.bridge.address import DRIVER, MOST_READERS, SOCKET
from host_tools.home import Home

NAME: Final = "klyuch"
FOLDER: Final = Path("/etc/reader.conf.d")
_HEAD: Final = "# Tokens of Klyuch as readers. Written by: klyuch reader install\n"
_MODE: Final = 0o644
_DEVICE: Final = "/dev/null:"
# What pcscd takes without quotes, which it does not take off a driver's path.
_BARE: Final = re.compile(r"[A-Za-z0-9=\\/._@:-]+")
_DEVICE_LINE: Final = re.compile(
    r'^DEVICENAME\s+"?/dev/null:(.+):(\d+):([a-z0-9]+)"?\s*$', re.MULTILINE
)


class UnusablePath(Exception):
    """A path that cannot be written into a reader file."""


class ForeignFile(Exception):
    """A file has the name of ours, and does not begin as one."""


@dataclass(frozen=True, slots=True)
class ReaderFile:
    """Which slots of the home behind `socket` are readers; at most MOST_READERS.

    `shown` is a name of SHOWN: what they show of the cards.
    """

    socket: Path
    slots: tuple[int, ...]
    shown: str = "pki"

    @classmethod
    def of(cls, home: Home, slots: Sequence[int], shown: str = "pki") -> Self:
        """The readers of a home. Raises ValueError for more than pcscd has room for."""
        if len(slots) > MOST_READERS:
            raise ValueError(f"pcscd has room for {MOST_READERS} readers")
        return cls(home.run / SOCKET, tuple(slots), shown)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What :meth:`render` wrote; None for anything else."""
        found = _DEVICE_LINE.findall(text)
        common = {(socket, shown) for socket, _, shown in found}
        if len(common) != 1:
            return None
        socket, shown = common.pop()
        return cls(Path(socket), tuple(int(slot) for _, slot, _ in found), shown)

    @property
    def names(self) -> list[str]:
        """What the readers are called; pcscd puts two numbers behind each."""
        return [reader_name(slot) for slot in self.slots]

    def render(self, driver: Path = DRIVER) -> str:
        """The file's text. Raises UnusablePath."""
        if not _BARE.fullmatch(str(driver)):
            raise UnusablePath(
                f"pcscd takes no driver from {driver}: the path has other characters"
                " than letters, digits and . _ - @ = : /"
            )
        if any(character in str(self.socket) for character in '"\n'):
            raise UnusablePath(f"pcscd takes no socket from {self.socket}")
        entries = (
            f'FRIENDLYNAME "{reader_name(slot)}"\n'
            f"CHANNELID 0x{slot:04X}\n"
            f'DEVICENAME "{_DEVICE}{self.socket}:{slot}:{self.shown}"\n'
            f"LIBPATH {driver}\n"
            for slot in self.slots
        )
        return "\n".join([_HEAD, *entries])

    def write(self, folder: Path) -> Path:
        """Put the file where pcscd looks for it. Raises UnusablePath, OSError."""
        path, draft = folder / NAME, folder / f".{NAME}.new"
        draft.write_text(self.render(), encoding="utf-8")
        draft.chmod(_MODE)
        return draft.replace(path)


def installed(folder: Path) -> ReaderFile | None:
    """The readers that are installed; None where none are. Raises ForeignFile, OSError."""
    text = _read(folder)
    return None if text is None else ReaderFile.parse(text)


def uninstall(folder: Path) -> bool:
    """Remove the file; False where there was none. Raises ForeignFile, OSError."""
    if _read(folder) is None:
        return False
    (folder / NAME).unlink()
    return True


def restart(folder: Path) -> str:
    """The command that starts the pcscd which reads the folder."""
    if folder.absolute() == FOLDER:
        return "systemctl restart pcscd"
    return f"pcscd --config {shlex.quote(str(folder.absolute()))}"


def _read(folder: Path) -> str | None:
    path = folder / NAME
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    if not text.startswith(_HEAD):
        raise ForeignFile(str(path))
    return text


def reader_name(slot: int) -> str:
    """A reader's name, which is that of the slot in the PKCS#11 library."""
    return f"Klyuch slot {slot}"
