"""The commands of the fingerprint application: how bytes become them, and what they do."""

from __future__ import annotations

from dataclasses import dataclass

from apdu import tlv
from apdu.codec import Command
from token_fw.apps.fingerprint.session import FingerprintSession
from token_fw.errors import (
    EntryCancelled,
    EntryTimedOut,
    IncorrectData,
    ReferencedDataNotFound,
    SecurityStatusNotSatisfied,
)
from token_fw.fingerprint import MAX_TRIES, Template
from token_fw.pin import PinRef


@dataclass(frozen=True, slots=True, repr=False)
class Verify:
    """A PIN and its value, without padding."""

    ref: PinRef
    value: bytes


@dataclass(frozen=True, slots=True)
class Name:
    """A finger, by its identifier of 1 byte, and the name it is to have."""

    ident: bytes
    name: str


def parse_nothing(_: Command) -> None:
    """The command has no data and no choice of parameters."""


def parse_verify(command: Command) -> Verify:
    """VERIFY: P2 is the reference of the PIN."""
    return Verify(PinRef(command.p2), command.data)


def parse_begin(command: Command) -> str:
    """BEGIN ENROLMENT: the name, in UTF-8, or nothing."""
    return _text(command.data)


def parse_ident(command: Command) -> bytes:
    """P2 is the identifier of a finger."""
    return bytes((command.p2,))


def parse_name(command: Command) -> Name:
    """NAME FINGER: the name, in UTF-8, or nothing."""
    return Name(bytes((command.p2,)), _text(command.data))


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise IncorrectData("the name is not UTF-8") from None


def verify(session: FingerprintSession, command: Verify) -> bytes:
    """Check a PIN, which gives the sensor its tries back as well."""
    if not session.core.pins.known(command.ref):
        raise ReferencedDataNotFound("the application of that PIN was never used")
    session.pins.check(command.ref, command.value)
    session.core.transaction.after(lambda: session.pins.add(command.ref))
    return b""


def begin(session: FingerprintSession, name: str) -> bytes:
    """Begin to enrol a finger; whoever else enrolled one has to begin anew."""
    session.enrolment = session.core.matcher.begin(session.proven(), name)
    return bytes((session.enrolment.remaining,))


def capture(session: FingerprintSession, _: None) -> bytes:
    """Wait for the finger; where it does not come, or the PIN is changed, the enrolment ends."""
    enrolment = session.current()
    try:
        sample = session.capture()
    except (EntryCancelled, EntryTimedOut):
        if session.core.matcher.enrols(enrolment):
            session.core.matcher.cancel()
        raise
    if not enrolment.opens <= session.proven():
        session.core.matcher.cancel()
        raise SecurityStatusNotSatisfied("a PIN was changed while the finger was waited for")
    status = enrolment.add(sample)
    ident = b"" if enrolment.template is None else enrolment.template.ident
    return bytes((status, enrolment.remaining)) + ident


def cancel(session: FingerprintSession, _: None) -> bytes:
    """Drop this interface's enrolment; nothing happens where there is none."""
    if session.enrolment is not None and session.core.matcher.enrols(session.enrolment):
        session.core.matcher.cancel()
    return b""


def get_fingers(session: FingerprintSession, _: None) -> bytes:
    """80 tries left and at most, then E0 { 80 identifier, 81 name, 82 PINs } for each finger."""
    matcher = session.core.matcher
    tries = tlv.encode(0x80, bytes((matcher.tries(*session.proven()), MAX_TRIES)))
    return tries + b"".join(_describe(template) for template in _visible(session))


def name(session: FingerprintSession, command: Name) -> bytes:
    """Give a finger another name; raises ReferencedDataNotFound, IncorrectData."""
    template = _find(session, command.ident)
    ref = next(iter(template.opens & session.proven()))
    session.core.matcher.rename(command.ident, ref, command.name)
    return b""


def remove(session: FingerprintSession, ident: bytes) -> bytes:
    """Have a finger stand for the proven PINs no more; raises ReferencedDataNotFound."""
    for ref in _find(session, ident).opens & session.proven():
        session.core.matcher.remove(ident, ref)
    return b""


def _visible(session: FingerprintSession) -> list[Template]:
    proven = session.proven()
    return [one for one in session.core.matcher.templates() if one.opens & proven]


def _find(session: FingerprintSession, ident: bytes) -> Template:
    for template in _visible(session):
        if template.ident == ident:
            return template
    raise ReferencedDataNotFound("there is no such finger")


def _describe(template: Template) -> bytes:
    inner = tlv.encode(0x80, template.ident) + tlv.encode(0x81, template.name.encode())
    return tlv.encode(0xE0, inner + tlv.encode(0x82, bytes(sorted(template.opens))))
