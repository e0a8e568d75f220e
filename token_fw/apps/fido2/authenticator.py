"""The authenticator: from a request in bytes to its answer, whatever carries them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from apdu.codec import Response
from apdu.ctap import CtapCommand, Status
from apdu.model import SW
from apdu.transport import CardRemoved
from token_fw.apps import Work
from token_fw.apps.fido2 import cbor
from token_fw.apps.fido2.bio_enrollment import bio_enrollment
from token_fw.apps.fido2.channel import Channel
from token_fw.apps.fido2.client_pin import client_pin
from token_fw.apps.fido2.config import config
from token_fw.apps.fido2.core import Call, Core, Handler
from token_fw.apps.fido2.credential_management import credential_management
from token_fw.apps.fido2.errors import CtapError
from token_fw.apps.fido2.get_assertion import get_assertion, get_next_assertion
from token_fw.apps.fido2.get_info import get_info
from token_fw.apps.fido2.large_blobs import large_blobs
from token_fw.apps.fido2.make_credential import make_credential
from token_fw.apps.fido2.requests import parse
from token_fw.apps.fido2.reset import reset
from token_fw.apps.fido2.selection import select

HANDLERS: Mapping[CtapCommand, Handler] = {
    CtapCommand.MAKE_CREDENTIAL: make_credential,
    CtapCommand.GET_ASSERTION: get_assertion,
    CtapCommand.GET_INFO: get_info,
    CtapCommand.CLIENT_PIN: client_pin,
    CtapCommand.RESET: reset,
    CtapCommand.GET_NEXT_ASSERTION: get_next_assertion,
    CtapCommand.BIO_ENROLLMENT: bio_enrollment,
    CtapCommand.CREDENTIAL_MANAGEMENT: credential_management,
    CtapCommand.SELECTION: select,
    CtapCommand.LARGE_BLOBS: large_blobs,
    CtapCommand.CONFIG: config,
}


class Authenticator:
    """A CTAP authenticator over the durable state of one token; `run` is its card's."""

    def __init__(
        self, core: Core, run: Callable[[Work], tuple[Response, Exception | None]]
    ) -> None:
        self.core = core
        self._run = run

    def ctap(self, channel: Channel, request: bytes) -> bytes:
        """Run one request: a command byte and CBOR; gives a status byte and CBOR.

        A refused request changes nothing but the tries that it spent. Raises CardRemoved, and no
        other Exception, where the token was pulled.
        """
        with channel.running():
            if self.core.transaction.closed:
                raise CardRemoved("the card was removed")
            response, _ = self._run(lambda: self._execute(channel, request))
        if response.sw != SW.NO_ERROR:
            return bytes((Status.CTAP1_ERR_OTHER,))
        return response.data

    def _execute(self, channel: Channel, request: bytes) -> bytes:
        core = self.core
        try:
            with core.alone(channel) as left:
                command, parsed = parse(request)
                handler = HANDLERS.get(command)
                if handler is None:
                    raise CtapError(Status.CTAP1_ERR_INVALID_COMMAND, "there is no such command")
                answer = handler(Call(core, channel, command, left), parsed)
        except CtapError as error:
            core.transaction.rollback()
            return bytes((error.status,))
        return bytes((Status.CTAP2_OK,)) + (cbor.encode(answer) if answer else b"")
