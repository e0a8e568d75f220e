"""What a model of an authenticator knows: what is durable, and what ends with the power."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from apdu.ctap import Permission

RPS = ("example.org", "example.com", "example.net")
PIN_TRIES, UV_TRIES, SAMPLES = 8, 3, 4
MIN_PIN = 4


def with_checksum(array: bytes) -> bytes:
    """A serialized large-blob array (6.10.2)."""
    return array + hashlib.sha256(array).digest()[:16]


@dataclass(frozen=True)
class Durable:
    """What outlasts the power: of each relying party its users, the newest first; the counters of
    credentials; the PIN; fingers, each with its name, by identifier; settings; large blobs."""

    users: Mapping[str, tuple[bytes, ...]] = field(default_factory=lambda: dict.fromkeys(RPS, ()))
    counts: Mapping[bytes, int] = field(default_factory=dict)
    pin: str | None = None
    tries: int = PIN_TRIES
    persistent: bool = False
    fingers: Mapping[bytes, tuple[bytes, str]] = field(default_factory=dict)
    uv_tries: int = UV_TRIES
    always_uv: bool = False
    enterprise: bool = False
    force_change: bool = False
    min_length: int = MIN_PIN
    blobs: bytes = with_checksum(b"\x80")

    @property
    def protected(self) -> bool:
        return self.pin is not None or bool(self.fingers)

    def knows(self, finger: bytes) -> bool:
        return any(finger == known for known, _ in self.fingers.values())


@dataclass(frozen=True)
class Held:
    """A token that a platform was given: the how-manieth, and by which protocol."""

    number: int
    version: int


@dataclass
class InUse:
    """What the token that is in use may be used for, and since when it is."""

    held: Held
    permissions: Permission
    rp: str | None
    since: float
    present: bool
    used: bool = False


@dataclass(frozen=True)
class Proof:
    """How a request verifies its user: by a token, by a finger, or not at all.

    `finger` is on the sensor when it is asked for, whether or not the request asks for it.
    """

    held: Held | None = None
    uv: bool = False
    finger: bytes | None = None


@dataclass(frozen=True)
class Assertion:
    """By which credential, with which counter, whether with the flag uv; how many there are."""

    ident: bytes
    count: int
    uv: bool
    total: int


@dataclass(frozen=True)
class Assertions:
    idents: tuple[bytes, ...]
    uv: bool


@dataclass(frozen=True)
class Credentials:
    idents: tuple[bytes, ...]


@dataclass(frozen=True)
class Rps:
    """Relying parties that were not told yet; whoever was told one takes it out."""

    names: set[str]


@dataclass(frozen=True)
class Staged:
    length: int
    data: bytes = b""


@dataclass(frozen=True)
class Enrolling:
    ident: bytes
    remaining: int = SAMPLES
    finger: bytes | None = None


Value = Assertions | Credentials | Rps | Staged | Enrolling


@dataclass(frozen=True)
class Left:
    """What a request leaves to the next one of its channel."""

    channel: object
    until: float
    value: Value
