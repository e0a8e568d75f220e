"""The application on the card: how APDUs reach the authenticator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from apdu.codec import Command, Response
from apdu.model import APPLICATIONS
from token_fw.apps import SELECT_NAME, Application, Handler, Parts
from token_fw.apps.fido2 import u2f
from token_fw.apps.fido2.attester import Attester
from token_fw.apps.fido2.authenticator import Authenticator
from token_fw.apps.fido2.channel import Channel
from token_fw.apps.fido2.core import Core
from token_fw.apps.fido2.credentials import Credentials
from token_fw.apps.fido2.errors import CtapError
from token_fw.apps.fido2.secrets import Secrets
from token_fw.apps.fido2.session import FidoSession
from token_fw.errors import ConditionsNotSatisfied

SPEC = APPLICATIONS["fido2"]

_WITHOUT_U2F = b"FIDO_2_0"
_TAKES_UPDATES, _CANCEL = 0x80, 0x11

C = TypeVar("C")


@dataclass(frozen=True, slots=True, repr=False)
class _Message:
    """A CTAP request; `updates`: its client is told what it waits for, and asks again."""

    data: bytes
    updates: bool


def _parse_message(command: Command) -> _Message:
    return _Message(command.data, updates=command.p1 == _TAKES_UPDATES)


def _message(session: FidoSession, message: _Message) -> bytes | Response:
    return session.ask(message.data, updates=message.updates)


def _cancels(command: Command) -> bool:
    return command.p1 == _CANCEL


def _get_response(session: FidoSession, cancels: bool) -> bytes | Response:
    if cancels:
        session.channel.cancel()
    return session.go_on()


def _nothing(_: Command) -> None:
    """The command has no data and no choice of parameters."""


def _u2f(run: Callable[[Core, Channel, C], bytes]) -> Callable[[FidoSession, C], bytes]:
    def execute(session: FidoSession, command: C) -> bytes:
        core = session.authenticator.core
        try:
            with session.channel.running(), core.alone(session.channel):
                return run(core, session.channel, command)
        except CtapError as error:
            # Of the user U2F has this to say alone.
            raise ConditionsNotSatisfied(str(error)) from None

    return execute


def _version(session: FidoSession, _: None) -> bytes:
    return u2f.version(session.authenticator.core)


def _select(session: FidoSession) -> bytes:
    return u2f.VERSION if u2f.is_on(session.authenticator.core) else _WITHOUT_U2F


HANDLERS: dict[str, Handler[FidoSession, Any]] = {
    "SELECT": SELECT_NAME,
    "NFCCTAP_MSG": Handler(_parse_message, _message),
    "NFCCTAP_GETRESPONSE": Handler(_cancels, _get_response),
    "U2F_REGISTER": Handler(u2f.parse_register, _u2f(u2f.register)),
    "U2F_AUTHENTICATE": Handler(u2f.parse_authenticate, _u2f(u2f.authenticate)),
    "U2F_VERSION": Handler(_nothing, _version),
}


def _install(parts: Parts, powered: float) -> Authenticator:
    transaction, rng = parts.transaction, parts.env.rng
    secrets = Secrets(transaction, rng)
    core = Core(
        transaction=transaction,
        token=parts.token,
        pins=parts.pins,
        matcher=parts.matcher,
        secrets=secrets,
        credentials=Credentials(transaction, secrets, rng),
        attester=Attester(transaction, rng),
        rng=rng,
        clock=parts.env.clock,
        presence=parts.env.presence,
        powered=powered,
    )
    return Authenticator(core, parts.run)


APPLICATION: Final = Application(
    SPEC,
    HANDLERS,
    _install,
    lambda authenticator, _: FidoSession(authenticator),
    select=_select,
    power_up=lambda authenticator: authenticator.core.power_up(),
)
