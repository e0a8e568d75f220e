"""What the card tells of itself and of its PINs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from apdu import tlv
from apdu.tlv import TlvError
from apdu.transport import TransportError
from pkcs11_module.cards import pkcs15

_PIN_INITIALISED, _PIN_VERIFIED = 0x01, 0x02
_OPERATIONAL: Final = 0x05


@dataclass(frozen=True, slots=True)
class PinInfo:
    """State of a PIN: tries left and at most, lengths in bytes."""

    reference: int
    tries_left: int
    tries_max: int
    initialised: bool
    verified: bool
    min_length: int
    max_length: int


@dataclass(frozen=True, slots=True)
class CardInfo:
    """What the card tells of itself; the serial number has 8 bytes.

    `pad`: PINs can be entered on the token itself. `fingers`: how many stand for the user PIN, and
    `finger_tries` how many wrong ones the sensor still takes.
    """

    serial: bytes
    operational: bool
    pins: dict[int, PinInfo]
    pad: bool = False
    fingers: int = 0
    finger_tries: int = 0

    @property
    def protected_path(self) -> bool:
        """Whether the token asks its user itself now (CKF_PROTECTED_AUTHENTICATION_PATH).

        It has none with its sensor blocked: then a program has to ask for the PIN.
        """
        return self.pad or bool(self.fingers and self.finger_tries)

    def has_path(self, reference: int) -> bool:
        """Whether that PIN, or what stands for it, is asked for on the token, if only in vain."""
        return self.pad or bool(self.fingers and reference == pkcs15.USER_PIN)


def parse_info(answer: bytes) -> CardInfo:
    """The card information that GET DATA 01 04 gives; raises TransportError."""
    try:
        outer, _ = tlv.parse_one(answer)
        items = tlv.parse(outer.value)
        pins = [_pin_info(item.value) for item in items if item.tag == 0xA1]
        fingers = tlv.find(items, 0x89) or bytes(2)
        return CardInfo(
            serial=tlv.find(items, 0x80) or b"",
            operational=tlv.find(items, 0x81) == bytes((_OPERATIONAL,)),
            pins={pin.reference: pin for pin in pins},
            pad=tlv.find(items, 0x88) is not None,
            fingers=fingers[0],
            finger_tries=fingers[1],
        )
    except (TlvError, KeyError, IndexError) as error:
        raise TransportError("the card information is malformed") from error


def _pin_info(data: bytes) -> PinInfo:
    fields = tlv.to_dict(tlv.parse(data))
    flags = fields[0x83][0]
    return PinInfo(
        reference=fields[0x80][0],
        tries_left=fields[0x81][0],
        tries_max=fields[0x82][0],
        initialised=bool(flags & _PIN_INITIALISED),
        verified=bool(flags & _PIN_VERIFIED),
        min_length=fields[0x84][0],
        max_length=fields[0x85][0],
    )
