"""The home folder of the tokens: where their files, sockets and log live.

``$KLYUCH_HOME``, else ``~/.local/share/klyuch``::

    tokens/registry.json      slot numbers, labels and what is inserted
    tokens/<serial>.sqlite    one token's storage, encrypted record by record
    tokens/<serial>.key       the storage key, raw or under a passphrase
    ca/<name>/                one certification authority (see :mod:`host_tools.ca`)
    run/pkcs11.sock           the PKCS#11 library's door
    run/control.sock          the command line's door
    run/reader.sock           the door of the driver in pcscd
    run/daemon.lock           held by the one daemon of this home; its process id
    run/control.token         what requests at the control API have to carry
    run/control.url           where the control API listens, while it runs
    run/epoch                 the page that the libraries map: a number that moves with every change
    daemon.log                what the daemon met, without secrets

Every folder below the home is 0700 and every file 0600.
"""

import errno
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# sizeof(sockaddr_un.sun_path) on Linux, the closing NUL included.
_SUN_PATH = 108


class HomeError(Exception):
    """The home folder cannot be used; ``hint`` is the command that mends it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


# More than one page of a token's storage, which is 4096 bytes.
_PROBE = 8192
_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_MORE_ROOM = "Free disk space, or raise the quota or limit that is met."
_FILES_IN_RUN = ("epoch", "*.new", "*.lock", "*.sock")
_ELSEWHERE = "Point KLYUCH_HOME at a folder of your own that you may write to."


def unusable(path: Path, error: OSError) -> HomeError:
    """What to tell of an error that ``path``, in a home, gave rise to."""
    return HomeError(f"{path} cannot be used: {error.strerror}.", _ELSEWHERE)


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one home folder; nothing is made before :meth:`make`."""

    path: Path

    @property
    def tokens(self) -> Path:
        return self.path / "tokens"

    @property
    def authorities(self) -> Path:
        return self.path / "ca"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def registry(self) -> Path:
        return self.tokens / "registry.json"

    @property
    def damaged_registry(self) -> Path:
        """Where a registry that cannot be read is put aside."""
        return self.tokens / "registry.json.damaged"

    @property
    def lock(self) -> Path:
        return self.run / "daemon.lock"

    @property
    def log(self) -> Path:
        return self.path / "daemon.log"

    def store(self, serial: str) -> Path:
        return self.tokens / f"{serial}.sqlite"

    def key(self, serial: str) -> Path:
        return self.tokens / f"{serial}.key"

    def make(self) -> None:
        """Make the folders where they are missing and check who may enter them.

        Raises HomeError where a folder belongs to somebody else, can be changed by others, or
        cannot be made, and where another folder is in the way of a file.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.tokens, self.run):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise HomeError(
                f"The home folder {self.path} cannot be made or written to: {error.strerror}.",
                _ELSEWHERE,
            ) from error
        for problem in self.problems():
            raise problem

    def problems(self) -> list[HomeError]:
        """What is wrong with the home, or else with those folders in it that exist."""
        found = _problem(self.path, 0o022)
        if found is not None:
            return [found]
        folders = [_problem(folder, 0o077) for folder in (self.tokens, self.run)]
        files = [self.log, *(path for name in _FILES_IN_RUN for path in self.run.glob(name))]
        return [problem for problem in (*folders, *map(_in_the_way, files)) if problem]

    def unwritable(self) -> HomeError | None:
        """Why nothing can be kept in the home; None where a small file was, and is gone again."""
        import tempfile  # noqa: PLC0415  for doctor alone, and slow to load

        folder = next((one for one in (self.tokens, self.path) if one.is_dir()), None)
        if folder is None:
            return None
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(_PROBE))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            hint = _MORE_ROOM if error.errno in _NO_ROOM else _ELSEWHERE
            return HomeError(f"{folder} cannot be written to: {error.strerror}.", hint)
        return None

    def daemon_pid(self) -> int | None:
        """The process id of the daemon that holds the lock, or that was killed while it did."""
        try:
            return int(self.lock.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


def _problem(folder: Path, forbidden: int) -> HomeError | None:
    """What is wrong with a folder's kind, owner and permissions; nothing where it is missing."""
    try:
        status = folder.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return unusable(folder, error)
    if not stat.S_ISDIR(status.st_mode):
        return HomeError(f"{folder} is not a folder.", _ELSEWHERE)
    if status.st_uid != os.getuid():
        return HomeError(f"{folder} belongs to another user (uid {status.st_uid}).", _ELSEWHERE)
    if stat.S_IMODE(status.st_mode) & forbidden:
        return HomeError(f"{folder} is open to other users.", f"Run: chmod 700 '{folder}'")
    usable = os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    return None if usable else HomeError(f"{folder} cannot be written to.", _ELSEWHERE)


def _in_the_way(file: Path) -> HomeError | None:
    """That a folder is where the daemon keeps a file; nothing where it is none."""
    if not file.is_dir():
        return None
    away = file.with_name(f"{file.name}.away")
    return HomeError(
        f"{file} is a folder, and in the way of the file of that name.",
        f"Move it away: mv {shlex.quote(str(file))} {shlex.quote(str(away))}",
    )


def current() -> Home:
    """The home of this process's environment."""
    named = os.environ.get("KLYUCH_HOME")
    return Home(Path(named).absolute() if named else Path.home() / ".local/share/klyuch")


@contextmanager
def socket_address(folder: Path, name: str) -> Iterator[str]:
    """An address for bind() or connect(), also where the path is too long for ``sun_path``."""
    address = str(folder / name)
    if len(os.fsencode(address)) < _SUN_PATH:
        yield address
        return
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
