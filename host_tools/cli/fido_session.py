"""The authenticator a command works on, and how its refusals are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import click

from host_tools.cli.card import Place, place
from host_tools.cli.failures import Exit, Failure
from host_tools.extras import missing

if TYPE_CHECKING:
    from fido2.ctap import CtapError
    from fido2.ctap2.base import Ctap2
    from fido2.ctap2.pin import ClientPin

Refusals: TypeAlias = Mapping[str, tuple[Exit, str, str]]
"""By the names of CTAP's errors: the exit code, what happened, what to do."""

_REFUSALS: Refusals = {
    "PIN_AUTH_BLOCKED": (
        Exit.PIN_LOCKED,
        "The FIDO PIN was wrong three times in a row: insert the token again.",
        "klyuch token remove TOKEN && klyuch token insert TOKEN",
    ),
    "PIN_BLOCKED": (
        Exit.PIN_LOCKED,
        "The FIDO PIN is locked: its tries are used up.",
        "Nothing opens it but a reset, which erases the credentials: klyuch fido reset",
    ),
    "UV_BLOCKED": (
        Exit.PIN_LOCKED,
        "The fingerprint sensor is blocked: its tries are used up.",
        "The right PIN gives them back.",
    ),
    "PIN_NOT_SET": (Exit.TOKEN_STATE, "There is no FIDO PIN yet.", "Set one: klyuch fido pin"),
    "PIN_POLICY_VIOLATION": (
        Exit.UNACCEPTABLE,
        "The token refuses the new PIN.",
        "See how long it has to be: klyuch fido info",
    ),
    "PUAT_REQUIRED": (
        Exit.TOKEN_STATE,
        "The token wants a PIN, and has none yet.",
        "Set one: klyuch fido pin",
    ),
    "NO_CREDENTIALS": (
        Exit.NOT_FOUND,
        "There is no such credential.",
        "See: klyuch fido credentials list",
    ),
    "USER_ACTION_TIMEOUT": (
        Exit.TOKEN_STATE,
        "Nobody touched the token in time.",
        "Touch it while the command waits: klyuch touch TOKEN --wait",
    ),
    "OPERATION_DENIED": (Exit.TOKEN_STATE, "The user of the token refused.", ""),
    "CHANNEL_BUSY": (
        Exit.TOKEN_STATE,
        "Another program's request waits for the user of the token.",
        "Answer that one first, or end it.",
    ),
}
"""The errors of CTAP that have a remedy, and the same one at every command."""


@dataclass(slots=True)
class Authenticator:
    """A token's authenticator, open. `where` is for people."""

    where: Place
    ctap2: Ctap2
    client_pin: ClientPin = field(init=False)

    def __post_init__(self) -> None:
        from fido2.ctap2.pin import ClientPin

        self.client_pin = ClientPin(self.ctap2)

    def token(self, pin: str, permission: str) -> bytes:
        """A pinUvAuthToken, for which the PIN is proven, with the permission of that name.

        Raises Failure where the PIN has to be changed first (CTAP 2.1 6.4, forcePINChange).
        """
        from fido2.ctap2.pin import ClientPin

        if self.ctap2.get_info().force_pin_change:
            raise Failure(
                Exit.TOKEN_STATE,
                f"The FIDO PIN of {self.where.name} has to be changed before it is good for more.",
                "Change it: klyuch fido pin",
            )
        return self.client_pin.get_pin_token(pin, ClientPin.PERMISSION[permission])

    @property
    def pin_is_set(self) -> bool:
        return bool(self.ctap2.get_info().options.get("clientPin"))

    def hear(self, status: int) -> None:
        """Tell the user when the token waits for a touch."""
        from fido2.ctap import STATUS

        if status == STATUS.UPNEEDED:
            name = f" {self.where.name}" if self.where.details is not None else ""
            click.echo(f"Touch the token{': klyuch touch' if name else ''}{name}.", err=True)


@contextmanager
def opened(
    reader: str | None, token_name: str | None, refusals: Refusals | None = None
) -> Iterator[Authenticator]:
    """The authenticator of the card that the options name. Raises Failure for what it refuses.

    `refusals`: what errors of CTAP mean at this command, besides those that mean one thing.
    """
    try:
        from fido2.ctap import CtapError
        from fido2.ctap2.base import Ctap2

        from host_tools.fido_device import CardDevice
    except ImportError as error:
        raise missing("fido2", "Authenticators") from error
    where = place(reader, token_name)
    with where.opened() as card:
        # Not every reader passes extended length fields, and every card takes chains.
        device = CardDevice(card, extended=where.details is not None)
        try:
            authenticator = Authenticator(where, Ctap2(device))
        except CtapError as error:
            raise _failure(error, _REFUSALS) from error
        try:
            yield authenticator
        except CtapError as error:
            raise _refusal(authenticator, error, {**_REFUSALS, **(refusals or {})}) from error


def _refusal(authenticator: Authenticator, error: CtapError, refusals: Refusals) -> Failure:
    if getattr(error.code, "name", "") == "PIN_INVALID":
        left, _ = authenticator.client_pin.get_pin_retries()
        return Failure(
            Exit.PIN_WRONG, f"The FIDO PIN is wrong; {left} tries left.", "See: klyuch fido info"
        )
    return _failure(error, refusals)


def _failure(error: CtapError, refusals: Refusals) -> Failure:
    name = getattr(error.code, "name", "")
    code, message, hint = refusals.get(
        name, (Exit.GENERAL, f"The token refused the request: {error}.", "")
    )
    return Failure(code, message, hint)
