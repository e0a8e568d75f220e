"""Where pcscd's driver and the daemon meet."""

from pathlib import Path
from typing import Final

SOCKET: Final = "reader.sock"
"""In the home's run folder."""
DRIVER: Final = Path(__file__).with_name("libklyuch-ifd.so")
SHOWN: Final[dict[str, tuple[str, ...]]] = {
    "": (),
    "pki": ("pki",),
    "piv": ("piv", "management"),
}
"""Which applications of the card a reader shows, by the name it asks for; all for none."""
MOST_READERS: Final = 16
"""pcscd has no room for more, and says nothing of those it leaves out."""
