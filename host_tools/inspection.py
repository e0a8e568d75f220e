"""What a token says about itself, read through its APDUs like any other reader would."""

from dataclasses import dataclass

from apdu import tlv
from apdu.codec import Command
from apdu.model import APPLICATIONS, StatusWordError
from apdu.transport import CardClient, Transport, TransportError
from pkcs11_module.cards.pkcs15 import decode_label

PIN_NAMES = {1: "user", 2: "so"}
_TOKEN_INFO = bytes.fromhex("50155032")
_CARD_INFORMATION, _KEY_LIST = 0x04, 0x03
_PIN, _KEY = 0xA1, 0xE1
_OPERATIONAL = b"\x05"
_INITIALISED = 0x01
_PROTECTED_PATH, _FINGERS = 0x88, 0x89


@dataclass(frozen=True, slots=True)
class PinFacts:
    """One PIN's state; ``tries_left`` is 0 when it is locked. Lengths in bytes."""

    name: str
    initialised: bool
    tries_left: int
    tries: int
    min_length: int
    max_length: int
    policy: str


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """A token's own account of itself; ``label`` is empty while it is blank.

    ``protected_path``: PINs can be entered on the token itself. ``fingers`` stand for the user PIN,
    and the sensor has ``finger_tries`` left.
    """

    serial: str
    label: str
    initialised: bool
    keys: int
    protected_path: bool
    fingers: int
    finger_tries: int
    pins: tuple[PinFacts, ...]

    def pin(self, name: str) -> PinFacts:
        return next(pin for pin in self.pins if pin.name == name)


def inspect(transport: Transport) -> TokenFacts:
    """Read a token's facts. Raises TransportError, also where the answers make no sense."""
    card = CardClient(transport)
    try:
        card.call(Command(0x00, 0xA4, 0x04, 0x0C, APPLICATIONS["pki"].aid))
        information = tlv.parse(tlv.parse(_get_data(card, _CARD_INFORMATION))[0].value)
        keys = [item for item in tlv.parse(_get_data(card, _KEY_LIST)) if item.tag == _KEY]
        values = {item.tag: item.value for item in information}
        initialised = values[0x81] == _OPERATIONAL
        return TokenFacts(
            serial=values[0x80].hex(),
            label=_label(card) if initialised else "",
            initialised=initialised,
            keys=len(keys),
            protected_path=_PROTECTED_PATH in values,
            fingers=values.get(_FINGERS, bytes(2))[0],
            finger_tries=values.get(_FINGERS, bytes(2))[1],
            pins=tuple(_pin(item.value) for item in information if item.tag == _PIN),
        )
    except (StatusWordError, tlv.TlvError, LookupError, UnicodeError) as error:
        raise TransportError(f"The token does not describe itself: {error}") from error


def _get_data(card: CardClient, what: int) -> bytes:
    return card.call(Command(0x00, 0xCA, 0x01, what, b"", 65536))


def _label(card: CardClient) -> str:
    try:
        card.call(Command(0x00, 0xA4, 0x08, 0x0C, _TOKEN_INFO))
        return decode_label(card.call(Command(0x00, 0xB0, 0x00, 0x00, b"", 65536)))
    except StatusWordError:
        # A token initialised by somebody else need not have the file.
        return ""


def _pin(value: bytes) -> PinFacts:
    fields = {item.tag: item.value for item in tlv.parse(value)}
    return PinFacts(
        name=PIN_NAMES[fields[0x80][0]],
        initialised=bool(fields[0x83][0] & _INITIALISED),
        tries_left=fields[0x81][0],
        tries=fields[0x82][0],
        min_length=fields[0x84][0],
        max_length=fields[0x85][0],
        policy=fields[0x86].decode("ascii"),
    )
