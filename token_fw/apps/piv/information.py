"""What the application tells: itself, data objects, and what is known of PINs and keys."""

from __future__ import annotations

from apdu import tlv
from apdu.model import APPLICATIONS
from token_fw.apps.piv.algorithms import FINGER, MANAGEMENT_KEY, SLOTS
from token_fw.apps.piv.commands import PutData
from token_fw.apps.piv.factory import DEFAULT_MANAGEMENT_KEY, DEFAULT_PINS, furnish
from token_fw.apps.piv.key_commands import public_objects
from token_fw.apps.piv.session import PivSession
from token_fw.apps.yubikey import VERSION, serial_number
from token_fw.errors import ReferencedDataNotFound
from token_fw.pin import PinRef

AID = APPLICATIONS["piv"].aid
_RID_SIZE = 5
_NO_PIN_POLICY = 0x00
_PIN_ALGORITHM = 0xFF
_ALGORITHM, _POLICY, _ORIGIN, _PUBLIC, _DEFAULT, _RETRIES = range(0x01, 0x07)
_CONFIGURED, _TEMPORARY = 0x07, 0x08


def select(session: PivSession) -> bytes:
    """The application property template (SP 800-73-4 part 2, table 3).

    A token that was made before the application existed gets it here.
    """
    furnish(session.core)
    authority = tlv.encode(0x79, tlv.encode(0x4F, AID[:_RID_SIZE]))
    return tlv.encode(0x61, tlv.encode(0x4F, AID[_RID_SIZE:]) + authority)


def get_version(_: PivSession, _command: None) -> bytes:
    """The firmware's version."""
    return bytes(VERSION)


def get_serial(session: PivSession, _: None) -> bytes:
    """The serial number, 4 bytes."""
    return serial_number(session.core.token)


def get_data(session: PivSession, tag: bytes) -> bytes:
    """A data object, if its rule for reading is met."""
    objects = session.core.objects
    session.require(objects.access(tag))
    return objects.read(tag)


def put_data(session: PivSession, command: PutData) -> bytes:
    """Write or delete a data object."""
    session.core.objects.write(command.tag, command.content)
    return b""


def get_metadata(session: PivSession, reference: int) -> bytes:
    """01 algorithm, 02 policies, 03 origin, 04 public key, 05 factory value, 06 tries."""
    if reference in DEFAULT_PINS:
        fields = _pin(session, PinRef(reference))
    elif reference == MANAGEMENT_KEY:
        fields = _management(session)
    elif reference == FINGER and session.core.matcher.templates(PinRef.PIV):
        # Whoever is answered takes the card for one with a fingerprint sensor built in.
        fields = _finger(session)
    elif reference in SLOTS:
        fields = _slot(session, reference)
    else:
        raise ReferencedDataNotFound("there is no such key or PIN")
    return b"".join(tlv.encode(tag, value) for tag, value in fields.items())


def _pin(session: PivSession, ref: PinRef) -> dict[int, bytes]:
    pins = session.core.pins
    record = pins.record(ref)
    return {
        _ALGORITHM: bytes((_PIN_ALGORITHM,)),
        _DEFAULT: bytes((pins.holds(ref, DEFAULT_PINS[ref]),)),
        _RETRIES: bytes((record.tries_max, record.tries_left)),
    }


def _management(session: PivSession) -> dict[int, bytes]:
    record = session.core.management.record()
    factory = DEFAULT_MANAGEMENT_KEY
    is_default = (record.algorithm, record.value) == (factory.algorithm, factory.value)
    return {
        _ALGORITHM: bytes((record.algorithm,)),
        _POLICY: bytes((_NO_PIN_POLICY, record.touch)),
        _DEFAULT: bytes((is_default,)),
    }


def _finger(session: PivSession) -> dict[int, bytes]:
    """07 whether a finger stands for the PIN, 06 tries left, 08 if there is a temporary PIN."""
    matcher = session.core.matcher
    return {
        _CONFIGURED: bytes((bool(matcher.templates(PinRef.PIV)),)),
        _RETRIES: bytes((matcher.tries(PinRef.PIV),)),
        _TEMPORARY: bytes((session.finger.has_temporary_pin(),)),
    }


def _slot(session: PivSession, slot: int) -> dict[int, bytes]:
    key = session.core.keys.get(slot)
    return {
        _ALGORITHM: bytes((key.algorithm,)),
        _POLICY: bytes((key.policies.pin, key.policies.touch)),
        _ORIGIN: bytes((key.origin,)),
        _PUBLIC: public_objects(key.private.public()),
    }
