"""What a new PIN must be, and what is kept of it (CTAP 2.1 6.5.1, 6.5.5.5)."""

from __future__ import annotations

from dataclasses import replace

from apdu.ctap import Status
from token_fw.apps.fido2.core import Core
from token_fw.apps.fido2.errors import CtapError
from token_fw.crypto import Hash, digest
from token_fw.pin import PinRef
from token_fw.policy import longest_run
from token_fw.storage.base import StorageCorrupt
from token_fw.transaction import Transaction

PADDED_SIZE = 64
MAX_BYTES = 63
"""Bytes of UTF-8 in a PIN."""
HASH_SIZE = 16

_LONGEST_RUN = 3
"""What pinComplexityPolicy asks: no character four times in a row, and no 1234 or 4321."""
_KIND, _IDENT = "fido-pin-length", b"\x00"


def hashed(pin: bytes) -> bytes:
    """What is compared of a PIN: the left 16 bytes of its SHA-256."""
    return digest.compute(Hash.SHA256, pin)[:HASH_SIZE]


def length(transaction: Transaction) -> int:
    """Code points of the PIN that is set; raises StorageCorrupt."""
    record = transaction.get(_KIND, _IDENT)
    if record is None or len(record) != 1:
        raise StorageCorrupt("the length of the PIN cannot be read")
    return record[0]


def forget(transaction: Transaction) -> None:
    """There is no PIN any more."""
    transaction.delete(_KIND, _IDENT)


def keep(core: Core, padded: bytes) -> None:
    """Have another PIN, with all its tries; no token is worth anything then.

    `padded`: UTF-8, filled up to 64 bytes with zeros. Raises CtapError:
    CTAP1_ERR_INVALID_PARAMETER for another length, CTAP2_ERR_PIN_POLICY_VIOLATION.
    """
    if len(padded) != PADDED_SIZE:
        raise CtapError(Status.CTAP1_ERR_INVALID_PARAMETER, f"newPin has {PADDED_SIZE} bytes")
    pin = padded.rstrip(b"\0")
    code_points = _checked(core, pin)
    settings = core.settings
    if settings.force_pin_change:
        if core.pin_set and core.pins.holds(PinRef.FIDO, hashed(pin)):
            raise _violation("another PIN is wanted")
        core.settings = replace(settings, force_pin_change=False)
    core.pins.set(PinRef.FIDO, hashed(pin))
    core.transaction.put(_KIND, _IDENT, bytes((code_points,)))
    core.pin_uv.end_tokens()


def _checked(core: Core, pin: bytes) -> int:
    """The PIN's code points."""
    if len(pin) > MAX_BYTES:
        raise _violation(f"a PIN has up to {MAX_BYTES} bytes")
    try:
        code_points = [ord(character) for character in pin.decode()]
    except UnicodeDecodeError:
        raise _violation("a PIN is UTF-8") from None
    if len(code_points) < core.settings.min_pin_length:
        raise _violation("the PIN is too short")
    if core.settings.pin_complexity_policy and any(
        longest_run(code_points, step) > _LONGEST_RUN for step in (0, 1, -1)
    ):
        raise _violation("the PIN repeats a character or is a run of consecutive ones")
    return len(code_points)


def _violation(message: str) -> CtapError:
    return CtapError(Status.CTAP2_ERR_PIN_POLICY_VIOLATION, message)
