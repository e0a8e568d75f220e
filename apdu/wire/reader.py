"""What passes between a reader and the card in it, whatever the framing (ISO/IEC 7816-3, 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class PowerUp:
    """Activation: the card comes up as after a cold reset."""


@dataclass(frozen=True, slots=True)
class PowerDown:
    """Deactivation: the card forgets selection and security status."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Warm reset: as switched off and on."""


@dataclass(frozen=True, slots=True)
class Transmit:
    """A command APDU, or whatever else an application sent in its place."""

    command: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The response APDU to the open command; no bytes where there is no card that answers."""

    response: bytes


Request: TypeAlias = PowerUp | PowerDown | Reset | Transmit
