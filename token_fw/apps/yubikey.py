"""What the card claims to be, the same in every application, to programs made for YubiKeys."""

from __future__ import annotations

from token_fw.state import Token

VERSION = (5, 7, 1)
"""The firmware whose PIV application this one behaves like."""

FORM_FACTOR = 0x01
"""A keychain with USB-A."""


def serial_number(token: Token) -> bytes:
    """A number of 4 bytes: the end of the token's serial number, positive also for a signed int."""
    return bytes((token.serial[-4] & 0x7F,)) + token.serial[-3:]
