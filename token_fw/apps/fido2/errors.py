"""Why the authenticator refuses a request."""

from __future__ import annotations

from apdu.ctap import Status
from token_fw.errors import CardError


class CtapError(CardError):
    """The request ends with `status`; nothing that it was to change has changed.

    The message names the cause and never holds a PIN, a key or other data of the request.
    """

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
