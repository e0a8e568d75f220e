"""The protocol of vsmartcard's vpcd, a virtual reader of pcscd: both ends, without I/O.

The card connects to the reader by TCP; a connection is an inserted card. A frame is a u16 length,
big-endian, and that many bytes of body. From the reader, a body of one byte 00, 01, 02 or 04
is a control: power off, power on, reset, get ATR; any other is a command APDU. The card answers the
last control by its ATR and each command by a response APDU, and the others not at all. The reader
asks one thing at a time; it asks for the ATR every 400 ms to see whether the card is there.

An application's command of one byte that has a control's value cannot be told from the control,
but by what follows: the reader then waits for an answer, and asks for no ATR.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from apdu.wire.frames import FrameBuffer, Prefix, WireError
from apdu.wire.reader import Answer, PowerDown, PowerUp, Request, Reset, Transmit

PORT: Final = 0x8C7B
"""Where vpcd listens unless told otherwise: 35963, and 35964 for its second slot."""
MAX_FRAME: Final = 0xFFFF

_PREFIX: Final = Prefix(2, "big", MAX_FRAME)


@dataclass(frozen=True, slots=True)
class GetAtr:
    """The reader asks for the ATR: is there a card?"""


@dataclass(frozen=True, slots=True)
class Atr:
    """The card's answer to that."""

    atr: bytes


FromReader: TypeAlias = Request | GetAtr
FromCard: TypeAlias = Atr | Answer

_CONTROLS: Final[dict[bytes, FromReader]] = {
    b"\x00": PowerDown(),
    b"\x01": PowerUp(),
    b"\x02": Reset(),
    b"\x04": GetAtr(),
}
_CONTROL_BODIES: Final = {type(event): body for body, event in _CONTROLS.items()}


class CardEnd:
    """The card's end of a connection."""

    def __init__(self) -> None:
        self._frames = FrameBuffer(_PREFIX)

    def receive(self, data: bytes) -> Iterator[FromReader]:
        """What the reader wants; any bytes are something it may want."""
        for body in self._frames.receive(data):
            yield _CONTROLS.get(body) or Transmit(body)

    def send(self, event: FromCard) -> bytes:
        """The bytes that tell `event`. Raises ValueError where it is longer than MAX_FRAME."""
        return _PREFIX.frame(event.atr if isinstance(event, Atr) else event.response)


class ReaderEnd:
    """The reader's end of a connection."""

    def __init__(self) -> None:
        self._frames = FrameBuffer(_PREFIX)
        self._asked: deque[type[FromCard]] = deque()

    def receive(self, data: bytes) -> Iterator[FromCard]:
        """The card's answers. Raises WireError for one that was not asked for."""
        for body in self._frames.receive(data):
            if not self._asked:
                raise WireError("an answer to no question")
            kind = self._asked.popleft()
            yield Atr(body) if kind is Atr else Answer(body)

    def send(self, event: FromReader) -> bytes:
        """The bytes that ask for `event`. Raises ValueError where it is longer than MAX_FRAME."""
        if isinstance(event, Transmit):
            frame = _PREFIX.frame(event.command)
            self._asked.append(Answer)
            return frame
        if isinstance(event, GetAtr):
            self._asked.append(Atr)
        return _PREFIX.frame(_CONTROL_BODIES[type(event)])
