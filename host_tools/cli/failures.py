"""How a command fails: what happened, what to do next, and an exit code that says which."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final

import click

from apdu.transport import TransportError
from host_tools.cli.output import printable
from host_tools.control import ControlError, ErrorCode
from host_tools.home import HomeError


class Exit(Enum):
    """Exit codes, each with its meaning as ``klyuch --help`` prints it."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "Exit":
        member = object.__new__(cls)
        member._value_ = code
        member.meaning = meaning
        return member

    DONE = (0, "done")
    GENERAL = (1, "failed for another reason; a check or a step of the demo failed")
    USAGE = (2, "the command line is wrong")
    PIN_WRONG = (3, "the PIN or passphrase is wrong")
    PIN_LOCKED = (4, "the PIN is locked")
    NOT_FOUND = (5, "no such token, key or certificate")
    DAEMON = (6, "the daemon cannot be reached or started, or runs already")
    CONFLICT = (7, "the name exists already, or several things have it")
    UNACCEPTABLE = (8, "the PIN policy refuses the new PIN")
    TOKEN_STATE = (9, "the token is removed, locked, blank, damaged or in use")


EXIT_CODES: Final = tuple(Exit)

_BY_ERROR: Final = {
    ErrorCode.GENERAL: Exit.GENERAL,
    ErrorCode.BAD_REQUEST: Exit.USAGE,
    ErrorCode.NOT_FOUND: Exit.NOT_FOUND,
    ErrorCode.AMBIGUOUS: Exit.CONFLICT,
    ErrorCode.EXISTS: Exit.CONFLICT,
    ErrorCode.PIN_WRONG: Exit.PIN_WRONG,
    ErrorCode.PIN_LOCKED: Exit.PIN_LOCKED,
    ErrorCode.PIN_UNACCEPTABLE: Exit.UNACCEPTABLE,
    ErrorCode.TOKEN_STATE: Exit.TOKEN_STATE,
    ErrorCode.DAEMON: Exit.DAEMON,
}


class Failure(click.ClickException):
    """A failed command."""

    def __init__(self, code: Exit, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click has a variable of the class
        return int(self.code.value)

    def show(self, file: object = None) -> None:
        click.echo(click.style("Error: ", fg="red") + printable(self.message), err=True)
        if self.hint:
            click.echo(click.style("Next: ", fg="yellow") + printable(self.hint), err=True)


@contextmanager
def reported() -> Iterator[None]:
    """Turn the errors of the layers below into failures."""
    try:
        yield
    except ControlError as error:
        raise Failure(_BY_ERROR[error.code], error.message, error.hint) from error
    except HomeError as error:
        raise Failure(Exit.DAEMON, str(error), error.hint) from error
    except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
        raise
    except TransportError as error:
        raise Failure(Exit.TOKEN_STATE, f"{str(error).removesuffix('.')}.") from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Failure(Exit.GENERAL, f"{where}{error.strerror}.") from error
    except Exception as error:
        raise _from_cryptoki(error) from error


def _from_cryptoki(error: Exception) -> Exception:
    from host_tools.cryptoki import CryptokiError
    from host_tools.messages import explain

    if not isinstance(error, CryptokiError):
        return error
    meaning = explain(error.rv, error.function)
    return Failure(_BY_ERROR[meaning.code], meaning.message, meaning.hint)
