"""The token a command works on, and a PKCS#11 session with it."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import click

from host_tools.cli.failures import Exit, Failure
from host_tools.control import ControlClient, ControlError, ErrorCode, Json
from host_tools.home import HomeError, current

if TYPE_CHECKING:
    from host_tools.cryptoki import Session

_F = TypeVar("_F", bound=Callable[..., object])


def token_option_or(otherwise: str) -> Callable[[_F], _F]:
    """The option ``--token``, and what is so without it."""
    return click.option(
        "--token",
        "-t",
        "token_name",
        envvar="KLYUCH_TOKEN",
        help=f"The token's label, serial or slot number; {otherwise}.",
    )


def token_option(command: _F) -> _F:
    """The option ``--token``: which token to use where there are several."""
    return token_option_or("not needed where there is but one")(command)


@dataclass(frozen=True, slots=True)
class Token:
    """A usable token, as the daemon describes it."""

    label: str
    serial: str
    slot: int
    details: Json


def control() -> ControlClient:
    """The daemon of this home, started where none runs."""
    return ControlClient(current())


def resolve(name: str | None) -> Json:
    """The daemon's details of the named token, or of the only one. Raises ControlError."""
    with control() as client:
        if name is None:
            name = _only(client)
        return client.call("token.show", token=name)


def _only(client: ControlClient) -> str:
    tokens = client.call("token.list")["tokens"]
    assert isinstance(tokens, list)
    inserted = [token for token in tokens if token["state"] == "inserted"] or tokens
    if len(inserted) == 1:
        return str(inserted[0]["serial"])
    if not tokens:
        raise ControlError(
            ErrorCode.NOT_FOUND, "There is no token yet.", "Make one: klyuch token create LABEL"
        )
    labels = ", ".join(token["label"] or token["serial"] for token in inserted)
    raise ControlError(
        ErrorCode.AMBIGUOUS, f"There are several tokens: {labels}.", "Name one by --token."
    )


def usable(name: str | None) -> Token:
    """The named token, or the only one, ready for use. Raises Failure with what it lacks."""
    details = resolve(name)
    shown = need_inserted(details)
    if not details.get("initialised"):
        raise Failure(
            Exit.TOKEN_STATE,
            f"The token {shown} is blank.",
            f"Initialise it: klyuch token reset {shlex.quote(shown)} --label LABEL",
        )
    label, serial = str(details["label"]), str(details["serial"])
    return Token(label, serial, int(str(details["slot"])), details)


def need_inserted(details: Json) -> str:
    """What to call a token that is ready for use. Raises Failure with what it lacks."""
    shown = str(details["label"] or details["serial"])
    quoted = shlex.quote(shown)
    remedies = {
        "removed": f"Insert it: klyuch token insert {quoted}",
        "locked": f"Unlock it: klyuch token unlock {quoted}",
        "unreadable": "Mend what it names and try again; see: klyuch doctor",
        "corrupt": "See: klyuch doctor",
    }
    state = str(details["state"])
    if state in remedies:
        why = details["fault"] or details["trouble"]
        is_so = f"{state}: {why}" if why else state
        raise Failure(Exit.TOKEN_STATE, f"The token {shown} is {is_so}.", remedies[state])
    return shown


_REFUSALS = (ErrorCode.PIN_WRONG, ErrorCode.PIN_LOCKED)
_TITLES = {"user": "user PIN", "so": "SO PIN"}
_UNLOCKING = {
    "user": "Unblock it with the SO PIN: klyuch pin unblock --token {0}",
    "so": "Nothing opens it but a reset, which erases the token: klyuch token reset {0} --force",
}


@contextmanager
def pin_named(serial: str, which: str) -> Iterator[None]:
    """Let the refusal of a PIN say which it is, ``user`` or ``so``, and the tries it has left."""
    from host_tools.cryptoki import CryptokiError
    from host_tools.messages import explain

    try:
        yield
    except (ControlError, CryptokiError) as error:
        refusal = explain(error.rv) if isinstance(error, CryptokiError) else error
        details = resolve(serial) if refusal.code in _REFUSALS else {}
        if "pins" not in details:  # another failure, or the token was pulled out just now
            raise
        raise _refusal(details, which) from error


def _refusal(details: Json, which: str) -> ControlError:
    pins = details["pins"]
    assert isinstance(pins, list)
    (pin,) = (one for one in pins if one["name"] == which)
    token, title = details["label"] or details["serial"], _TITLES[which]
    if pin["tries_left"]:
        return ControlError(
            ErrorCode.PIN_WRONG,
            f"The {title} of {token} is wrong; {pin['tries_left']} of {pin['tries']} tries left.",
            "See both PINs: klyuch pin status",
        )
    return ControlError(
        ErrorCode.PIN_LOCKED,
        f"The {title} of {token} is locked: its tries are used up.",
        _UNLOCKING[which].format(shlex.quote(str(token))),
    )


@contextmanager
def _trouble_named(token: Token) -> Iterator[None]:
    """Let a failure of the token say what befell the storage under it."""
    from host_tools.cryptoki import CryptokiError
    from host_tools.messages import STORAGE_FAILURES, storage_failure

    try:
        yield
    except CryptokiError as error:
        trouble = str(_trouble(token)) if error.rv in STORAGE_FAILURES else ""
        if not trouble:
            raise
        raise storage_failure(token.label or token.serial, trouble) from error


def _trouble(token: Token) -> object:
    try:
        details = resolve(token.serial)
    except (ControlError, HomeError):
        # The first failure is the one to tell.
        return ""
    return details["fault"] or details["trouble"]


@contextmanager
def opened(token: Token, user: str | None = None, so_pin: str | None = None) -> "Iterator[Session]":
    """A read-write session with the token, logged in with the PIN that is given.

    A PIN refused in it is the SO PIN where that was given, else the user PIN.
    """
    from host_tools.cryptoki import Cryptoki
    from pkcs11_module import _constants as ck

    named = pin_named(token.serial, "user" if so_pin is None else "so")
    with (
        named,
        _trouble_named(token),
        Cryptoki() as library,
        library.open_session(token.slot, rw=True) as session,
    ):
        if so_pin is not None:
            session.login(ck.CKU_SO, so_pin.encode())
        elif user is not None:
            session.login(ck.CKU_USER, user.encode())
        yield session
