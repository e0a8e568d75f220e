"""A token of ours as a card: APDUs through the daemon's control door."""

from __future__ import annotations

from apdu.transport import CardRemoved, TransportError
from host_tools.control import ControlClient, ControlError, DaemonSilent, ErrorCode, Json


class TokenTransport:
    """The interface that a connection to the daemon has to a token, by its serial number.

    It is reset and logged in for itself: other programs notice nothing of it.
    """

    def __init__(self, client: ControlClient, serial: str) -> None:
        self._client = client
        self._serial = serial

    def transceive(self, command: bytes) -> bytes:
        """Exchange one APDU. Raises CardRemoved, or TransportError where the daemon fails."""
        answer = self._call("apdu", commands=[command.hex()])["responses"]
        assert isinstance(answer, list)
        return bytes.fromhex(answer[0])

    def reset(self) -> bytes:
        """Reset the interface; returns the ATR. Raises as `transceive`."""
        return bytes.fromhex(str(self._call("apdu.reset")["atr"]))

    def _call(self, do: str, **arguments: object) -> Json:
        try:
            return self._client.call(do, token=self._serial, **arguments)
        except DaemonSilent:
            raise
        except ControlError as error:
            gone = error.code in {ErrorCode.TOKEN_STATE, ErrorCode.NOT_FOUND}
            raise (CardRemoved if gone else TransportError)(error.message) from error
