"""The application on the card: how APDUs reach the authenticator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from apdu.codec import Command
from apdu.model import APPLICATIONS
from apdu.spec import Access, CommandSpec
from token_fw.apps import SELECT_NAME, Application, Handler
from token_fw.apps.fido2 import u2f
from token_fw.apps.fido2.authenticator import Authenticator
from token_fw.apps.fido2.channel import Channel, Transport
from token_fw.apps.fido2.core import Core
from token_fw.apps.fido2.errors import CtapError
from token_fw.errors import ConditionsNotSatisfied

SPEC = APPLICATIONS["fido2"]

_WITHOUT_U2F = b"FIDO_2_0"

C = TypeVar("C")


class FidoSession:
    """One interface on which the application is selected: a channel of the authenticator."""

    def __init__(self, authenticator: Authenticator) -> None:
        self.authenticator = authenticator
        self.channel = Channel(Transport.NFC)

    def permits(self, _: Access) -> bool:
        """What a request may do the authenticator decides."""
        return True

    def begin(self, command: CommandSpec | None) -> None:
        """What a request leaves for the next one the authenticator keeps."""

    def branch(self) -> FidoSession:
        """Another channel: nothing is shared."""
        return FidoSession(self.authenticator)

    def end(self) -> None:
        """The interface is closed: no request waits for its user any more."""
        self.channel.close()


def _request(command: Command) -> bytes:
    return command.data


def _ctap(session: FidoSession, request: bytes) -> bytes:
    with session.channel.running():
        return session.authenticator.execute(session.channel, request)


def _nothing(_: Command) -> None:
    """The command has no data and no choice of parameters."""


def _u2f(run: Callable[[Core, Channel, C], bytes]) -> Callable[[FidoSession, C], bytes]:
    def execute(session: FidoSession, command: C) -> bytes:
        core = session.authenticator.core
        try:
            with session.channel.running(), core.alone():
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
    "NFCCTAP_MSG": Handler(_request, _ctap),
    "U2F_REGISTER": Handler(u2f.parse_register, _u2f(u2f.register)),
    "U2F_AUTHENTICATE": Handler(u2f.parse_authenticate, _u2f(u2f.authenticate)),
    "U2F_VERSION": Handler(_nothing, _version),
}


def application(authenticator: Authenticator) -> Application[FidoSession]:
    """The application over the authenticator of one token."""
    return Application(SPEC, HANDLERS, lambda _: FidoSession(authenticator), _select)
