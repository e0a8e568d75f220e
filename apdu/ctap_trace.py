"""What a trace tells of CTAP in APDUs: which command is run, and how it ended.

All that a request and its answer hold besides stays secret (CTAP 2.1 11.3.5, 11.3.7).
"""

from __future__ import annotations

from apdu._catalogue import SW
from apdu.codec import Command, Response
from apdu.ctap import REQUESTS, CtapCommand, Status

_MESSAGE, _GET_ANSWER = "NFCCTAP_MSG", "NFCCTAP_GETRESPONSE"
_BYTES_AVAILABLE = SW.BYTES_AVAILABLE >> 8
_KEEPALIVE = {0x01: "processing", 0x02: "waits for the user"}


class CtapTold:
    """Follows one way to a card, command by command with its response."""

    def __init__(self) -> None:
        self._goes_on = False
        self._answers = False

    def command(self, command: Command, name: str) -> str:
        """The CTAP command that begins with this one, by its name; empty for any other.

        `name` is what the catalogue calls the APDU.
        """
        begins = name == _MESSAGE and not self._goes_on
        self._goes_on = name == _MESSAGE and command.chained
        self._answers = name in {_MESSAGE, _GET_ANSWER} and not command.chained
        return _request(command.data[0]) if begins and command.data else ""

    def response(self, response: Response) -> str:
        """The status that the response to that command begins with; empty where there is none."""
        if not self._answers or not response.data:
            return ""
        first = response.data[0]
        if response.sw == SW.STATUS_UPDATE:
            return _KEEPALIVE.get(first, "")
        ends = response.sw == SW.NO_ERROR or response.sw1 == _BYTES_AVAILABLE
        return _status(first) if ends else ""


def _request(value: int) -> str:
    try:
        return f"authenticator{REQUESTS[CtapCommand(value)].cls.__name__}"
    except ValueError:
        return "unknown CTAP command"


def _status(value: int) -> str:
    try:
        return Status(value).name
    except ValueError:
        return f"CTAP status {value:02X}"
