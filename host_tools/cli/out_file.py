"""Files that the user names for a command to write: new ones, unless ``--force`` is given."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar

import click

from host_tools.cli.failures import Exit, Failure

_F = TypeVar("_F", bound=Callable[..., object])

_FORCE: Final = f"{__name__}.force"
_PATH: Final = click.Path(dir_okay=False, writable=True, path_type=Path)
_NEXT: Final = "Name another file, or write over this one: --force"


@dataclass(frozen=True, slots=True)
class OutFile:
    """A file to write. What is there is lost with `force` alone; devices and pipes have nothing."""

    path: Path
    force: bool = False
    private: bool = False
    """Whether a new file is for its owner alone."""
    hint: str = _NEXT
    """What to do where it is there already; {} stands for its path."""

    def __str__(self) -> str:
        return str(self.path)

    def check(self) -> "OutFile":
        """Refuse, before anything is done, to write over what is there. Raises Failure."""
        if self.path.is_file() and not self.force:
            raise self._exists()
        return self

    def write(self, content: bytes) -> None:
        """Make the file, or replace it, wholly or not at all. Raises Failure, OSError."""
        from host_tools import writing

        mode = writing.PRIVATE if self.private else writing.COMMON
        if self._keeps_nothing:
            self.path.write_bytes(content)
        elif self.force and self.path.exists():
            writing.write_again(self.path, content)
        else:
            with self._refused_where_it_exists():
                writing.write_new(self.path, content, mode)

    @contextmanager
    def opened(self) -> Iterator[TextIO]:
        """The file, open for text that is written as it comes. Raises Failure, OSError."""
        from host_tools import writing

        anew = 0 if self._keeps_nothing else os.O_TRUNC if self.force else os.O_EXCL
        mode = writing.PRIVATE if self.private else writing.COMMON
        with self._refused_where_it_exists():
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | anew
            descriptor = os.open(self.path, flags, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file

    @property
    def _keeps_nothing(self) -> bool:
        return self.path.exists() and not self.path.is_file()

    @contextmanager
    def _refused_where_it_exists(self) -> Iterator[None]:
        try:
            yield
        except FileExistsError as error:
            raise self._exists() from error

    def _exists(self) -> Failure:
        return Failure(Exit.CONFLICT, f"{self.path} exists already.", self.hint.format(self.path))


if TYPE_CHECKING:
    _ParamType = click.ParamType[OutFile]
else:
    # Generic since Click 8.4 alone.
    _ParamType = click.ParamType


class OutPath(_ParamType):
    """The type of a parameter that names a file to write; its value is an `OutFile`, checked.

    `private` makes it one for its owner alone, and `hint` is told where the file exists.
    """

    name = "file"

    def __init__(self, *, private: bool = False, hint: str = _NEXT) -> None:
        self._private = private
        self._hint = hint

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> OutFile:
        if isinstance(value, OutFile):
            return value
        path = Path(_PATH.convert(value, param, ctx))
        folder = path.absolute().parent
        if not (path.exists() or os.access(folder, os.W_OK | os.X_OK)):
            self.fail(f"{path} cannot be written: {folder} is no folder for it.", param, ctx)
        return self.named(path, ctx).check()

    def named(self, path: Path, ctx: click.Context | None = None) -> OutFile:
        """A file of that name, of the command that runs; not checked."""
        ctx = ctx or click.get_current_context()
        return OutFile(path, ctx.meta.get(_FORCE, False), self._private, self._hint)


def out_option(
    *names: str, help: str, required: bool = False, type: OutPath | None = None
) -> Callable[[_F], _F]:
    """An option that names a file to write (an `OutFile`), and the option ``--force``."""

    def decorate(command: _F) -> _F:
        option = click.option(*names, type=type or OutPath(), required=required, help=help)
        return option(_force_option(command))

    return decorate


def _force_option(command: _F) -> _F:
    """``--force``, once a command, however many files it writes."""
    before: list[click.Parameter] = getattr(command, "__click_params__", [])
    if any(parameter.name == "force" for parameter in before):
        return command
    return click.option(
        "--force",
        is_flag=True,
        # Known before the files are looked at, wherever it stands on the line.
        is_eager=True,
        expose_value=False,
        callback=_keep_force,
        help="Write over a file that exists.",
    )(command)


def _keep_force(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    ctx.meta[_FORCE] = value
