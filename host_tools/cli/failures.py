"""How a command fails: what happened, what to do next, and an exit code that says which."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final

import click

from apdu.transport import CardRemoved, TransportError
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
    MALFORMED = (10, "the signature cannot be read, or there is none")
    TAMPERED = (11, "the content is not what was signed")
    BAD_SIGNATURE = (12, "the signature does not belong to its signer, or proves nothing")
    CERTIFICATE_MISMATCH = (13, "the signature was made for another certificate")
    BROKEN_CHAIN = (14, "a certificate is missing, or not signed by its issuer")
    UNTRUSTED = (15, "the chain of certificates ends in a root that is not trusted")
    NOT_YET_VALID = (16, "a certificate is not valid yet")
    EXPIRED = (17, "a certificate has expired")
    WRONG_USAGE = (18, "a certificate is not for what it was used for")
    REVOKED = (19, "a certificate was revoked")
    NO_REVOCATION_DATA = (20, "nothing shows that a certificate was not revoked")
    SIGNED_IN_FUTURE = (21, "the signature says that it was made at a time to come")


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
_INSERT_AGAIN: Final = "Insert it again; a token of this home by: klyuch token insert TOKEN"


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
        message = str(error).removesuffix(".")
        hint = _INSERT_AGAIN if isinstance(error, CardRemoved) else ""
        text = f"{message[:1].upper()}{message[1:]}."
        raise Failure(Exit.TOKEN_STATE, text, hint) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Failure(Exit.GENERAL, f"{where}{error.strerror}.") from error
    except Exception as error:
        raise _failure_of(error) from error


def _failure_of(error: Exception) -> Exception:
    from host_tools.cryptoki import CryptokiError
    from host_tools.key_files import WrongPassphrase
    from host_tools.messages import explain
    from host_tools.pki.errors import PkiError

    if isinstance(error, PkiError):
        code = Exit.PIN_WRONG if isinstance(error, WrongPassphrase) else Exit.GENERAL
        return Failure(code, error.message, error.hint)
    if not isinstance(error, CryptokiError):
        return error
    meaning = explain(error.rv, error.function)
    return Failure(_BY_ERROR[meaning.code], meaning.message, meaning.hint)
