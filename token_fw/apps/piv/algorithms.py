"""Algorithm identifiers (SP 800-78-4 table 6-2, and Yubico's), slots and policies of keys."""

from __future__ import annotations

from enum import IntEnum

from token_fw.crypto import KeyKind, KeySpec
from token_fw.errors import IncorrectParameters

ALGORITHMS = {
    0x07: KeySpec.rsa(2048),
    0x05: KeySpec.rsa(3072),
    0x16: KeySpec.rsa(4096),
    0x11: KeySpec.ec("P-256"),
    0x14: KeySpec.ec("P-384"),
    0xE0: KeySpec.ED25519,
    0xE1: KeySpec.X25519,
}
"""Kinds of key in a slot."""

MANAGEMENT_ALGORITHMS = {
    0x03: KeySpec.secret(KeyKind.DES3, 192),
    0x08: KeySpec.secret(KeyKind.AES, 128),
    0x0A: KeySpec.secret(KeyKind.AES, 192),
    0x0C: KeySpec.secret(KeyKind.AES, 256),
}
"""Kinds of the management key; 00 is another identifier of 3DES (SP 800-78-4, 6.2)."""

MANAGEMENT_KEY = 0x9B
FINGER = 0x96
"""Reference of on-card comparison (SP 800-73-4 part 1, table 6b, primary finger)."""
ATTESTATION = 0xF9
_SIGNATURE, _CARD_AUTHENTICATION = 0x9C, 0x9E
KEY_SLOTS = frozenset((0x9A, _SIGNATURE, 0x9D, _CARD_AUTHENTICATION, *range(0x82, 0x96)))
"""Slots whose keys GENERAL AUTHENTICATE uses; 82 to 95 are for retired keys."""

SLOTS = KEY_SLOTS | {ATTESTATION}


class PinPolicy(IntEnum):
    """Whether the use of a key asks for the PIN; MATCH: a finger that matches will do as well."""

    NEVER = 0x01
    ONCE = 0x02
    ALWAYS = 0x03
    MATCH_ONCE = 0x04
    MATCH_ALWAYS = 0x05


MATCH_POLICIES = frozenset({PinPolicy.MATCH_ONCE, PinPolicy.MATCH_ALWAYS})


class TouchPolicy(IntEnum):
    """Whether the use of a key asks for a touch; CACHED: unless one was 15 seconds ago or less."""

    NEVER = 0x01
    ALWAYS = 0x02
    CACHED = 0x03


class Origin(IntEnum):
    """Where a key was made."""

    GENERATED = 0x01
    IMPORTED = 0x02


DEFAULT_POLICY = 0x00
_DEFAULT_PIN = {_SIGNATURE: PinPolicy.ALWAYS, _CARD_AUTHENTICATION: PinPolicy.NEVER}


def default_pin_policy(slot: int) -> PinPolicy:
    """What the slot's key asks for where nothing else was said (SP 800-73-4 part 1, table 5)."""
    return _DEFAULT_PIN.get(slot, PinPolicy.ONCE)


def check_slot(number: int) -> int:
    """The number of a slot; raises IncorrectParameters."""
    if number not in SLOTS:
        raise IncorrectParameters("there is no such slot")
    return number
