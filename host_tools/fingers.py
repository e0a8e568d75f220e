"""The fingers of a token, by its fingerprint application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from apdu import tlv
from apdu.codec import Command
from apdu.model import APPLICATIONS, SW, StatusWordError
from apdu.transport import CardClient, Transport
from host_tools.conformance import finger_commands as commands
from host_tools.control import ControlError, ErrorCode
from token_fw.env import SampleStatus
from token_fw.pin import PinRef

HOLDERS = {"pki": 0x01, "piv": 0x80}
"""The applications for whose PIN a finger can stand, and the references of these PINs."""

MAX_FINGER = 32
"""Bytes of UTF-8 in the word that is a finger."""

QUALITIES = {status.name.lower().replace("_", "-"): status for status in SampleStatus}
"""What can be said of a sample, as the command line writes it."""

_NAMES = {status: name for name, status in QUALITIES.items()}
_APPLICATION_OF = {reference: name for name, reference in HOLDERS.items()}
_WRONG_PIN = SW.WRONG_PIN >> 4
_REFUSALS = {
    SW.AUTHENTICATION_METHOD_BLOCKED: (
        ErrorCode.PIN_LOCKED,
        "The PIN is locked: its tries are used up.",
        "Unblock it: klyuch pin unblock",
    ),
    SW.REFERENCE_DATA_NOT_USABLE: (
        ErrorCode.TOKEN_STATE,
        "The PIN was never set.",
        "Set it: klyuch pin unblock",
    ),
    SW.REFERENCED_DATA_NOT_FOUND: (
        ErrorCode.NOT_FOUND,
        "There is no such finger.",
        "See: klyuch finger list TOKEN",
    ),
    SW.NOT_ENOUGH_MEMORY: (
        ErrorCode.TOKEN_STATE,
        "As many fingers are enrolled as the token can hold.",
        "Remove one: klyuch finger remove TOKEN FINGER",
    ),
    SW.INCORRECT_DATA: (
        ErrorCode.BAD_REQUEST,
        "The name does not fit.",
        "A name has up to 64 bytes of printable UTF-8.",
    ),
    SW.ENTRY_TIMED_OUT: (
        ErrorCode.TOKEN_STATE,
        "No finger was put on the sensor in time; nothing is enrolled.",
        "Put one on it: klyuch finger present TOKEN FINGER --wait",
    ),
    SW.ENTRY_CANCELLED: (ErrorCode.TOKEN_STATE, "The enrolment was called off.", ""),
    SW.CONDITIONS_NOT_SATISFIED: (
        ErrorCode.TOKEN_STATE,
        "Somebody else began to enrol a finger meanwhile.",
        "Try again.",
    ),
}


@dataclass(frozen=True, slots=True)
class Finger:
    """An enrolled finger: its number, its name, the applications that it opens."""

    number: int
    name: str
    opens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fingers:
    """What the sensor knows: tries left and at most, and the fingers."""

    tries_left: int
    tries: int
    fingers: tuple[Finger, ...]


@dataclass(frozen=True, slots=True)
class Sampled:
    """What came of one sample, how many good ones are missing, at last the finger's number."""

    status: str
    remaining: int
    number: int | None


class FingerClient:
    """The fingerprint application on a transport; every method raises ControlError."""

    def __init__(self, transport: Transport) -> None:
        self._client = CardClient(transport)
        self._select("fingerprint")

    def prove(self, application: str, pin: str) -> None:
        """Prove the PIN of an application, which has its factory values if it was never used."""
        self._select(application)
        self._select("fingerprint")
        self._call(commands.verify(HOLDERS[application], pin.encode()))

    def begin(self, name: str) -> int:
        """Begin to enrol a finger; gives how many good samples it takes."""
        return self._call(commands.begin(name))[0]

    def capture(self) -> Sampled:
        """Wait for a sample."""
        status, remaining, *number = self._call(commands.capture())
        return Sampled(_NAMES[SampleStatus(status)], remaining, number[0] if number else None)

    def list(self) -> Fingers:
        """The fingers that stand for the proven PINs."""
        items = tlv.parse(self._call(commands.get_fingers()))
        left, most = items[0].value
        return Fingers(left, most, tuple(_finger(item.value) for item in items[1:]))

    def rename(self, number: int, name: str) -> None:
        """Give a finger another name."""
        self._call(commands.rename(bytes((number,)), name))

    def remove(self, number: int) -> None:
        """Have a finger stand for the proven PINs no more."""
        self._call(commands.remove(bytes((number,))))

    def _select(self, application: str) -> None:
        self._call(Command(0x00, 0xA4, 0x04, 0x00, APPLICATIONS[application].aid, 256))

    def _call(self, command: Command) -> bytes:
        with _refusals():
            return self._client.call(command)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except StatusWordError as error:
        if error.sw >> 4 == _WRONG_PIN:
            left = error.sw & 0x0F
            text = f"The PIN is wrong; {left} tries left."
            raise ControlError(ErrorCode.PIN_WRONG, text, "Give the right one.") from error
        if error.sw in _REFUSALS:
            raise ControlError(*_REFUSALS[error.sw]) from error
        raise ControlError(ErrorCode.GENERAL, f"The token refused: {error}.") from error


def _finger(value: bytes) -> Finger:
    fields = tlv.to_dict(tlv.parse(value))
    opens = tuple(_APPLICATION_OF.get(ref, PinRef(ref).name.lower()) for ref in fields[0x82])
    return Finger(fields[0x80][0], fields[0x81].decode(), opens)
