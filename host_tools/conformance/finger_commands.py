"""The commands of the fingerprint application by name."""

from __future__ import annotations

from apdu.codec import Command
from apdu.model import APPLICATIONS

SPEC = APPLICATIONS["fingerprint"]
SAMPLE_GOOD = 0x00


def verify(ref: int, pin: bytes) -> Command:
    """VERIFY the PIN of the PKI application (01) or of PIV (80), without padding."""
    return Command(0x00, 0x20, 0x00, ref, pin)


def begin(name: str = "") -> Command:
    """BEGIN ENROLMENT of a finger; answers how many samples it takes."""
    return Command(0x80, 0x50, 0x00, 0x00, name.encode(), 256)


def capture() -> Command:
    """CAPTURE SAMPLE; answers status, samples to go and, after the last, the identifier."""
    return Command(0x80, 0x50, 0x01, 0x00, b"", 256)


def cancel() -> Command:
    """CANCEL ENROLMENT."""
    return Command(0x80, 0x50, 0x02, 0x00)


def get_fingers() -> Command:
    """GET FINGERS that stand for the proven PINs."""
    return Command(0x80, 0x52, 0x00, 0x00, b"", 65536)


def rename(ident: bytes, name: str) -> Command:
    """NAME FINGER."""
    return Command(0x80, 0x54, 0x00, ident[0], name.encode())


def remove(ident: bytes) -> Command:
    """REMOVE FINGER: it stands for the proven PINs no more."""
    return Command(0x80, 0x56, 0x00, ident[0])
