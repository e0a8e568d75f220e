"""The authenticator: from a request in bytes to its answer, whatever carries them."""

from __future__ import annotations

from collections.abc import Mapping

from apdu.ctap import CtapCommand, Status
from token_fw.apps.fido2 import cbor, selection
from token_fw.apps.fido2.channel import Channel
from token_fw.apps.fido2.client_pin import client_pin
from token_fw.apps.fido2.core import Call, Core, Handler
from token_fw.apps.fido2.errors import CtapError
from token_fw.apps.fido2.requests import parse

HANDLERS: Mapping[CtapCommand, Handler] = {
    CtapCommand.CLIENT_PIN: client_pin,
    CtapCommand.SELECTION: selection.select,
}


class Authenticator:
    """A CTAP authenticator over the durable state of one token."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def execute(self, channel: Channel, request: bytes) -> bytes:
        """Run one request: a command byte and its parameters; gives a status byte and the answer.

        It is the work of Card.run, which commits what it changed, and holds the card's lock. A
        refused request changes nothing but the tries that it spent. Raises StorageError and
        CardRemoved.
        """
        core = self.core
        try:
            if core.busy:
                raise CtapError(Status.CTAP1_ERR_CHANNEL_BUSY, "another request waits for its user")
            command, parsed = parse(request)
            handler = HANDLERS.get(command)
            if handler is None:
                raise CtapError(Status.CTAP1_ERR_INVALID_COMMAND, "there is no such command")
            core.furnish()
            core.busy = True
            try:
                answer = handler(Call(core, channel, command), parsed)
            finally:
                core.busy = False
        except CtapError as error:
            core.transaction.rollback()
            return bytes((error.status,))
        return bytes((Status.CTAP2_OK,)) + (cbor.encode(answer) if answer else b"")
