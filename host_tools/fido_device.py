"""An authenticator behind a transport of APDUs, as python-fido2 takes it (CTAP 2.1 11.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event

from fido2.ctap import STATUS, CtapDevice, CtapError
from fido2.hid import CAPABILITY, CTAPHID

from apdu.codec import MAX_EXTENDED_NE, Command, Response
from apdu.model import APPLICATIONS, SW, StatusWordError
from apdu.transport import CardClient, Transport, TransportError

_MESSAGE, _ANSWER = 0x10, 0x11
_TAKES_UPDATES, _CANCEL = 0x80, 0x11
_PAUSE = 0.05


class NoAuthenticator(TransportError):
    """The card has no FIDO2 application."""


class CardDevice(CtapDevice):
    """The authenticator of a card; whoever shares the transport serialises the calls.

    `extended`: the card takes extended length fields. Raises NoAuthenticator, TransportError.
    """

    def __init__(self, transport: Transport, *, extended: bool = True) -> None:
        self._card = CardClient(transport, extended=extended)
        self.select()

    def select(self) -> None:
        """Select the application: again, where the card was reset or pulled in between."""
        aid = APPLICATIONS["fido2"].aid
        try:
            self._card.call(Command(0x00, 0xA4, 0x04, 0x00, aid, MAX_EXTENDED_NE))
        except StatusWordError as error:
            raise NoAuthenticator(f"the card has no FIDO2 application ({error})") from error

    @property
    def capabilities(self) -> int:
        """What it can: CBOR."""
        return CAPABILITY.CBOR

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[STATUS], None] | None = None,
    ) -> bytes:
        """Run a CTAP request; `event` cancels it, `on_keepalive` hears what it waits for.

        Raises CtapError, TransportError.
        """
        if cmd != CTAPHID.CBOR:
            raise CtapError(CtapError.ERR.INVALID_COMMAND)
        event = event or Event()
        told: int | None = None
        response = self._send(_MESSAGE, _TAKES_UPDATES, data)
        while response.sw == SW.STATUS_UPDATE:
            status = response.data[:1]
            if on_keepalive is not None and status and status[0] != told:
                told = status[0]
                on_keepalive(STATUS(told))
            response = self._send(_ANSWER, _CANCEL if event.wait(_PAUSE) else 0x00)
        if response.sw != SW.NO_ERROR:
            raise TransportError(f"the card answered {response.sw:04X} to a CTAP request")
        return response.data

    def _send(self, ins: int, p1: int, data: bytes = b"") -> Response:
        return self._card.send(Command(0x80, ins, p1, 0x00, data, MAX_EXTENDED_NE))

    def close(self) -> None:
        """Whoever opened the transport closes it."""

    @classmethod
    def list_devices(cls) -> Iterator[CardDevice]:
        """Nothing: a card is behind a transport that somebody has opened."""
        return iter(())
