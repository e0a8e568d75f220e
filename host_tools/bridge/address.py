"""Where pcscd's driver and the daemon meet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

SOCKET: Final = "reader.sock"
"""In the home's run folder."""
DRIVER: Final = Path(__file__).with_name("libklyuch-ifd.so")
MOST_READERS: Final = 16
"""pcscd has no room for more, and says nothing of those it leaves out."""

SHOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "pki": ("pki",),
    "piv": ("piv", "management"),
    "fido2": ("fido2",),
    "all": (),
}
"""What a reader can show of a card: the names of applications, none for all there are.

Programs take the first application that they know: with all of them, OpenSC takes the card for a
PIV card, and ykman needs the management application to take it for a YubiKey.
"""
