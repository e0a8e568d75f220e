"""The module, its slots, tokens and mechanisms (PKCS#11 2.40 5.4, 5.5)."""

from __future__ import annotations

from typing import Final

from apdu.model import SW, StatusWordError
from apdu.transport import TransportError
from pkcs11_module import _constants as ck
from pkcs11_module.cards import pkcs15
from pkcs11_module.cards.card_info import CardInfo, PinInfo
from pkcs11_module.cards.pkcs15 import PinEntry
from pkcs11_module.facade.application import Application
from pkcs11_module.facade.login import given
from pkcs11_module.facade.login_rules import Call
from pkcs11_module.facade.readers import Reader
from pkcs11_module.facade.registry import function
from pkcs11_module.facade.slot import Slot, refusal
from pkcs11_module.mechanisms.checks import MECHANISMS
from pkcs11_module.types import Buffer, Length, Pkcs11Error

MANUFACTURER: Final = pkcs15.MANUFACTURER
_CRYPTOKI_VERSION: Final = (2, 40)
_HARDWARE_VERSION: Final = (1, 0)
_LABEL_SIZE: Final = 32

Version = tuple[int, int]


@function("C_GetInfo")
def get_info(application: Application) -> tuple[Version, str, int, str, Version]:
    """C_GetInfo."""
    return _CRYPTOKI_VERSION, MANUFACTURER, 0, "Klyuch PKCS#11", application.module.version


@function("C_GetSlotList")
def get_slot_list(
    application: Application, token_present: bool, buffer: Buffer
) -> list[int] | Length:
    """C_GetSlotList: new slots are looked for where only their number is asked for (3.1 5.5.1)."""
    if buffer.capacity is None:
        application.list_slots()
    readers = application.readers
    return buffer.fill_list([r.slot_id for r in readers if r.present or not token_present])


@function("C_GetSlotInfo")
def get_slot_info(application: Application, slot_id: int) -> tuple[str, str, int, Version, Version]:
    """C_GetSlotInfo."""
    reader = application.slot(slot_id).reader
    flags = ck.CKF_REMOVABLE_DEVICE | ck.CKF_HW_SLOT
    if reader.present:
        flags |= ck.CKF_TOKEN_PRESENT
    return _fit(reader.description, 64), MANUFACTURER, flags, _HARDWARE_VERSION, (0, 0)


@function("C_GetTokenInfo")
def get_token_info(application: Application, slot_id: int) -> tuple[object, ...]:
    """C_GetTokenInfo; PIN flags are the card's state at this moment."""
    slot = application.slot(slot_id)
    with slot.lock:
        try:
            info = slot.card.info()
            label = slot.token.label(slot.card) if info.operational else ""
        except TransportError:
            slot.lost_contact()
            raise
        user = info.pins[pkcs15.USER_PIN]
        sessions = slot.sessions.values()
        return (
            _fit(label, _LABEL_SIZE),
            slot.card.MANUFACTURER,
            slot.card.MODEL,
            info.serial.hex(),
            _token_flags(info),
            ck.CK_EFFECTIVELY_INFINITE,
            len(sessions),
            ck.CK_EFFECTIVELY_INFINITE,
            sum(session.writable for session in sessions),
            user.max_length,
            user.min_length,
            *(ck.CK_UNAVAILABLE_INFORMATION,) * 4,
            _HARDWARE_VERSION,
            application.module.version,
            "",
        )


_USER_FLAGS: Final = (
    ck.CKF_USER_PIN_COUNT_LOW,
    ck.CKF_USER_PIN_FINAL_TRY,
    ck.CKF_USER_PIN_LOCKED,
)
_SO_FLAGS: Final = (
    ck.CKF_SO_PIN_COUNT_LOW,
    ck.CKF_SO_PIN_FINAL_TRY,
    ck.CKF_SO_PIN_LOCKED,
)


def _token_flags(info: CardInfo) -> int:
    flags = ck.CKF_RNG | ck.CKF_LOGIN_REQUIRED | ck.CKF_DUAL_CRYPTO_OPERATIONS
    if info.operational:
        flags |= ck.CKF_TOKEN_INITIALIZED
    if info.protected_path:
        flags |= ck.CKF_PROTECTED_AUTHENTICATION_PATH
    if info.pins[pkcs15.USER_PIN].initialised:
        flags |= ck.CKF_USER_PIN_INITIALIZED
    flags |= _pin_flags(info.pins[pkcs15.USER_PIN], _USER_FLAGS)
    return flags | _pin_flags(info.pins[pkcs15.SO_PIN], _SO_FLAGS)


def _pin_flags(pin: PinInfo, flags: tuple[int, int, int]) -> int:
    """Fewer tries than at most: count low; one: final try; none: locked."""
    low, final, locked = flags
    if not pin.tries_left:
        return locked
    found = low if pin.tries_left < pin.tries_max else 0
    return found | final if pin.tries_left == 1 else found


@function("C_GetMechanismList")
def get_mechanism_list(
    application: Application, slot_id: int, buffer: Buffer
) -> list[int] | Length:
    """C_GetMechanismList."""
    _need_token(application.slot(slot_id).reader)
    return buffer.fill_list(list(MECHANISMS))


@function("C_GetMechanismInfo")
def get_mechanism_info(
    application: Application, slot_id: int, mechanism: int
) -> tuple[int, int, int]:
    """C_GetMechanismInfo."""
    _need_token(application.slot(slot_id).reader)
    info = MECHANISMS.get(mechanism)
    if info is None:
        raise Pkcs11Error(ck.CKR_MECHANISM_INVALID)
    return info.min_size, info.max_size, info.flags


def _need_token(reader: Reader) -> None:
    if not reader.present:
        raise Pkcs11Error(ck.CKR_TOKEN_NOT_PRESENT)


@function("C_InitToken")
def init_token(application: Application, slot_id: int, pin: bytes | None, label: bytes) -> None:
    """C_InitToken: the SO PIN must match, or becomes the given one on a blank token."""
    slot = application.slot(slot_id)
    so_pin = given(pin)
    try:
        text = label.decode("utf-8").rstrip(" ")
    except UnicodeDecodeError:
        raise Pkcs11Error(ck.CKR_ARGUMENTS_BAD, "the label is not UTF-8") from None
    with slot.lock, slot.token.lock:
        try:
            _initialise(slot, so_pin, text)
        except TransportError:
            slot.lost_contact()
            raise


def _initialise(slot: Slot, pin: bytes, label: str) -> None:
    call = Call(function="C_InitToken", slot=slot, reference=pkcs15.SO_PIN, pin=pin, new=pin)
    call.check()
    card, info = slot.card, call.info
    pins = [_pin_entry(info, pkcs15.USER_PIN), _pin_entry(info, pkcs15.SO_PIN)]
    try:
        card.initialise(pin, pkcs15.token_files(label, info.serial, pins))
    except StatusWordError as error:
        if error.sw == SW.INCORRECT_DATA and not info.operational:
            raise Pkcs11Error(ck.CKR_PIN_INVALID) from error
        raise refusal(error) from error
    card.log_out(pkcs15.SO_PIN)
    slot.token.forget()


def _pin_entry(info: CardInfo, reference: int) -> PinEntry:
    pin = info.pins[reference]
    so = reference == pkcs15.SO_PIN
    return PinEntry(
        label="SO PIN" if so else "User PIN",
        auth_id=pkcs15.SO_AUTH_ID if so else pkcs15.USER_AUTH_ID,
        reference=reference,
        min_length=pin.min_length,
        max_length=pin.max_length,
        so=so,
    )


@function("C_WaitForSlotEvent")
def wait_for_slot_event(application: Application, flags: int) -> int:
    """C_WaitForSlotEvent: a slot where a token came or went; C_Finalize ends the waiting.

    Of several threads of one application, which the standard leaves open, each event wakes one.
    """
    slot_id = application.events.take(block=not flags & ck.CKF_DONT_BLOCK)
    if slot_id is None:
        closed = application.closed.is_set()
        raise Pkcs11Error(ck.CKR_CRYPTOKI_NOT_INITIALIZED if closed else ck.CKR_NO_EVENT)
    # The slot may be one that came after the application last listed them.
    application.list_slots()
    return slot_id


def _fit(text: str, size: int) -> str:
    """The text cut to that many bytes of UTF-8, between characters."""
    return text.encode("utf-8")[:size].decode("utf-8", errors="ignore")
