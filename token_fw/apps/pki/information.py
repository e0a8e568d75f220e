"""What the card says about itself: GET DATA and GET CHALLENGE."""

from __future__ import annotations

from apdu import tlv
from token_fw.apps.pki.commands import GetData
from token_fw.apps.pki.session import PkiSession
from token_fw.fingerprint import MAX_TRIES
from token_fw.pin import PKI_PINS, PinRef

VERSION_0 = b"\x00\x05\x03"
"""What IsoApplet's driver of version 0 hears when it selects: 0.5, extended APDUs, random numbers.

Elliptic curves go without saying before 0.6, from which on they include some that are not here.
"""
VERSION = b"\x01\x00"
FEATURES = 0x2F
"""01 extended APDUs, 02 random numbers, 04 EC, 08 PSS, 20 RSA-4096 (IsoApplet's bits)."""


def get_data(session: PkiSession, command: GetData) -> bytes:
    """One of the objects of P1 01: nothing in them is secret."""
    return _OBJECTS[command.object](session)


def get_challenge(session: PkiSession, length: int) -> bytes:
    """Random bytes."""
    return session.core.rng(length)


def _version(session: PkiSession) -> bytes:
    session.told.version = True
    return VERSION + bytes((FEATURES,))


def _changes(session: PkiSession) -> bytes:
    return session.core.changes().to_bytes(4, "big")


def _keys(session: PkiSession) -> bytes:
    return b"".join(key.describe() for key in session.core.keys.all())


def _card(session: PkiSession) -> bytes:
    core = session.core
    inner = tlv.encode(0x80, core.token.serial)
    inner += tlv.encode(0x81, bytes((core.token.lifecycle,)))
    inner += b"".join(_pin(session, ref) for ref in PKI_PINS)
    inner += tlv.encode(0x87, core.keys.free.to_bytes(2, "big"))
    if core.path is not None:
        inner += tlv.encode(0x88, b"")
    if fingers := len(core.matcher.templates(PinRef.USER)):
        inner += tlv.encode(0x89, bytes((fingers, core.matcher.tries(PinRef.USER), MAX_TRIES)))
    return tlv.encode(0xE0, inner)


def _pin(session: PkiSession, ref: PinRef) -> bytes:
    pins = session.core.pins
    record, rule = pins.record(ref), pins.rule(ref)
    flags = record.initialised | session.pins.holds(ref) << 1
    values = (ref, record.tries_left, record.tries_max, flags, rule.min_length, rule.max_length)
    inner = b"".join(
        tlv.encode(tag, bytes((value,))) for tag, value in enumerate(values, start=0x80)
    )
    return tlv.encode(0xA1, inner + tlv.encode(0x86, pins.policy.name.encode()))


_OBJECTS = {0x01: _version, 0x02: _changes, 0x03: _keys, 0x04: _card}
