"""The emulated card as yubikit sees a YubiKey: APDUs go in, data and status word come out."""

from __future__ import annotations

from yubikit.core import TRANSPORT
from yubikit.core.smartcard import SmartCardConnection

from apdu.codec import Response
from apdu.transport import Transport


class Connection(SmartCardConnection):
    """A connection over any transport; yubikit takes USB for one with extended APDUs."""

    def __init__(self, transport: Transport, *, extended: bool = True) -> None:
        self._inner = transport
        self._extended = extended

    @property
    def transport(self) -> TRANSPORT:
        return TRANSPORT.USB if self._extended else TRANSPORT.NFC

    def send_and_receive(self, apdu: bytes) -> tuple[bytes, int]:
        response = Response.parse(self._inner.transceive(bytes(apdu)))
        return response.data, response.sw

    def close(self) -> None:
        """The interface stays with whoever made it."""
