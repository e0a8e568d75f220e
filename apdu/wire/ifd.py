"""The protocol between our driver in pcscd (libklyuch-ifd.so) and the daemon, both ends, no I/O.

A connection is one reader. A frame is a u32 length, little-endian, and that many bytes of body: a
byte that says what it is, and its data.

    driver to daemon                            daemon to driver
    01 hello       "KLYI", u16 version,         81 inserted   the ATR, 2 to 33 bytes
                   u16 slot, little-endian,     82 removed    no data
                   what is shown of the card    83 answer     the response APDU; no data where
    02 power up    no data                                    there is no card that answers
    03 power down  no data
    04 reset       no data
    05 transmit    the command APDU

The driver says hello first and once; what is shown, one or several of the card's applications, has
a name of 1 to 16 ASCII letters and digits. From then on the daemon tells whether there is a card,
at once and at every change: a card that is exchanged is removed and inserted. Each transmit is
answered by one answer, also when the card goes meanwhile; only then may the next one follow. Power
and reset are not answered, the ATR is known: what follows them finds them done. Whatever breaks
these rules raises WireError, and the connection is then to be closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from apdu.wire.frames import FrameBuffer, Prefix, WireError
from apdu.wire.reader import Answer, PowerDown, PowerUp, Request, Reset, Transmit

MAGIC: Final = b"KLYI"
VERSION: Final = 1
MAX_APDU: Final = 65548
"""Bytes of a command or response: pcscd's buffer, an extended APDU with all its lengths."""
MAX_SLOT: Final = 0xFFFF
MIN_ATR, MAX_ATR = 2, 33
MAX_NAME: Final = 16

_HELLO, _UP, _DOWN, _RESET, _TRANSMIT = 0x01, 0x02, 0x03, 0x04, 0x05
_INSERTED, _REMOVED, _ANSWER = 0x81, 0x82, 0x83
_HELLO_HEAD: Final = len(MAGIC) + 4
_PREFIX: Final = Prefix(4, "little", 1 + MAX_APDU)


@dataclass(frozen=True, slots=True)
class Hello:
    """The reader shows the token of that slot, and of it what has the name `shown`."""

    slot: int
    shown: str = "pki"


@dataclass(frozen=True, slots=True)
class Inserted:
    """There is a card, without power."""

    atr: bytes


@dataclass(frozen=True, slots=True)
class Removed:
    """There is no card."""


FromDriver: TypeAlias = Hello | Request
FromDaemon: TypeAlias = Inserted | Removed | Answer

_POWER: Final[dict[int, Request]] = {_UP: PowerUp(), _DOWN: PowerDown(), _RESET: Reset()}
_POWER_CODES: Final = {type(event): code for code, event in _POWER.items()}


class DaemonEnd:
    """The daemon's end of one connection."""

    def __init__(self) -> None:
        self._frames = FrameBuffer(_PREFIX)
        self._greeted = False
        self._open = False

    def receive(self, data: bytes) -> Iterator[FromDriver]:
        """What the driver wants. Raises WireError."""
        for body in self._frames.receive(data):
            event = _read_driver(body)
            if isinstance(event, Hello) is self._greeted:
                raise WireError("hello comes first, and once")
            self._greeted = True
            if isinstance(event, Transmit):
                if self._open:
                    raise WireError("a command before the answer to the last one")
                self._open = True
            yield event

    def send(self, event: FromDaemon) -> bytes:
        """The bytes that tell `event`."""
        if isinstance(event, Answer):
            self._open = False
            return _PREFIX.frame(bytes((_ANSWER,)) + event.response)
        if isinstance(event, Inserted):
            return _PREFIX.frame(bytes((_INSERTED,)) + event.atr)
        return _PREFIX.frame(bytes((_REMOVED,)))


class DriverEnd:
    """The driver's end of one connection."""

    def __init__(self) -> None:
        self._frames = FrameBuffer(_PREFIX)
        self._open = False

    def receive(self, data: bytes) -> Iterator[FromDaemon]:
        """What the daemon tells. Raises WireError."""
        for body in self._frames.receive(data):
            event = _read_daemon(body)
            if isinstance(event, Answer):
                if not self._open:
                    raise WireError("an answer to no command")
                self._open = False
            yield event

    def send(self, event: FromDriver) -> bytes:
        """The bytes that tell `event`."""
        if isinstance(event, Transmit):
            self._open = True
            return _PREFIX.frame(bytes((_TRANSMIT,)) + event.command)
        if isinstance(event, Hello):
            numbers = VERSION.to_bytes(2, "little") + event.slot.to_bytes(2, "little")
            return _PREFIX.frame(bytes((_HELLO,)) + MAGIC + numbers + event.shown.encode("ascii"))
        return _PREFIX.frame(bytes((_POWER_CODES[type(event)],)))


def _read_driver(body: bytes) -> FromDriver:
    code, data = body[:1], body[1:]
    if code == bytes((_TRANSMIT,)):
        return Transmit(data)
    if code == bytes((_HELLO,)):
        return _read_hello(data)
    power = _POWER.get(code[0]) if code and not data else None
    if power is None:
        raise WireError("a frame that no driver sends")
    return power


def _read_hello(data: bytes) -> Hello:
    if len(data) < _HELLO_HEAD or not data.startswith(MAGIC):
        raise WireError("no driver's hello")
    version = int.from_bytes(data[4:6], "little")
    if version != VERSION:
        raise WireError(f"a driver of version {version}, this is {VERSION}")
    name = data[_HELLO_HEAD:]
    if not (1 <= len(name) <= MAX_NAME and name.isalnum()):
        raise WireError("no name of what is shown")
    return Hello(int.from_bytes(data[6:8], "little"), name.decode("ascii"))


def _read_daemon(body: bytes) -> FromDaemon:
    code, data = body[:1], body[1:]
    if code == bytes((_ANSWER,)):
        return Answer(data)
    if code == bytes((_INSERTED,)) and MIN_ATR <= len(data) <= MAX_ATR:
        return Inserted(data)
    if code == bytes((_REMOVED,)) and not data:
        return Removed()
    raise WireError("a frame that no daemon sends")
