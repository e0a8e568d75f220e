"""authenticatorSelection: the user touches the token that is meant (CTAP 2.1 6.9)."""

from __future__ import annotations

from apdu.ctap import Selection
from token_fw.apps.fido2.core import Call


def select(call: Call, _: Selection) -> None:
    """Wait for a touch."""
    call.touch()
