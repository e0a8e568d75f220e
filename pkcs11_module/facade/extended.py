"""The extension that plug-ins for Russian tokens look for: what can be told truly of this token."""

from __future__ import annotations

from typing import Final

from apdu.transport import TransportError
from pkcs11_module import _constants as ck
from pkcs11_module.cards import pkcs15
from pkcs11_module.cards.card_info import CardInfo
from pkcs11_module.facade.application import Application
from pkcs11_module.facade.registry import function, session_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.types import Buffer, Length

_SERIAL_SIZE: Final = 8
_NO_ATR: Final = bytes(64)
_NOTHING: Final = 0


@function("C_EX_GetTokenInfoExtended")
def get_token_info_extended(application: Application, slot_id: int) -> tuple[object, ...]:
    """C_EX_GetTokenInfoExtended: the members of CK_TOKEN_INFO_EXTENDED behind its size.

    PIN lengths and tries are the card's at this moment. It is no token of the makers of the
    extension: its type, class and colour are unknown, and it has no battery.
    """
    slot = application.slot(slot_id)
    with slot.lock:
        try:
            info = slot.card.info()
        except TransportError:
            slot.lost_contact()
            raise
    user, so = info.pins[pkcs15.USER_PIN], info.pins[pkcs15.SO_PIN]
    return (
        ck.TOKEN_TYPE_UNKNOWN,
        *(_NOTHING,) * 3,
        _flags(info),
        *(so.max_length, so.min_length, user.max_length, user.min_length),
        *(so.tries_max, so.tries_left, user.tries_max, user.tries_left),
        info.serial[-_SERIAL_SIZE:].rjust(_SERIAL_SIZE, b"\0"),
        *(ck.CK_UNAVAILABLE_INFORMATION,) * 2,
        _NO_ATR,
        _NOTHING,
        ck.TOKEN_CLASS_UNKNOWN,
        _NOTHING,
        ck.TOKEN_BODY_COLOR_UNKNOWN,
        *(_NOTHING,) * 3,
    )


def _flags(info: CardInfo) -> int:
    """No token of ours has a PIN before its owner gives it one: none is a default."""
    flags = ck.TOKEN_FLAGS_ADMIN_CHANGE_USER_PIN | ck.TOKEN_FLAGS_USER_CHANGE_USER_PIN
    flags |= ck.TOKEN_FLAGS_ADMIN_PIN_UTF8 | ck.TOKEN_FLAGS_USER_PIN_UTF8
    if info.pins[pkcs15.SO_PIN].initialised:
        flags |= ck.TOKEN_FLAGS_ADMIN_PIN_NOT_DEFAULT
    if info.pins[pkcs15.USER_PIN].initialised:
        flags |= ck.TOKEN_FLAGS_USER_PIN_NOT_DEFAULT
    return flags | ck.TOKEN_FLAGS_FW_CHECKSUM_UNAVAILIBLE


@session_function("C_EX_GetTokenName")
def get_token_name(session: Session, buffer: Buffer) -> bytes | Length:
    """C_EX_GetTokenName: the label in UTF-8, without the blanks of C_GetTokenInfo."""
    slot = session.slot
    label = slot.token.label(slot.card).encode("utf-8")
    return buffer.fill(len(label), lambda: label)
