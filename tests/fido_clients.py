"""python-fido2 as a client of a card in this process, by the APDUs that it sends to readers."""

from __future__ import annotations

from fido2.pcsc import CtapPcscDevice

from apdu.codec import Response
from token_fw.card import ATR, Interface


class CardConnection:
    """An interface of a card as what python-fido2 takes for a connection of pyscard."""

    def __init__(self, interface: Interface) -> None:
        self.interface = interface
        self.sent: list[bytes] = []
        """Every command, as it passed."""

    def connect(self) -> None:
        self.interface.reset()

    def disconnect(self) -> None:
        self.interface.reset()

    def getATR(self) -> list[int]:
        return list(ATR)

    def transmit(self, apdu: list[int], _: int | None = None) -> tuple[list[int], int, int]:
        self.sent.append(bytes(apdu))
        response = Response.parse(self.interface.transceive(bytes(apdu)))
        return list(response.data), response.sw1, response.sw2


def card_device(interface: Interface) -> CtapPcscDevice:
    """The authenticator of the card, as python-fido2 finds it in a reader."""
    return CtapPcscDevice(CardConnection(interface), "in this process")
