"""Typed commands of the PIV application and how bytes become them.

A parser raises IncorrectData, IncorrectParameters, ReferencedDataNotFound, WrongLength or TlvError;
what it returns carries every restriction that does not depend on the state of the card. GENERAL
AUTHENTICATE is in `authenticate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from apdu import tlv
from apdu.codec import Command
from token_fw.apps.piv.algorithms import (
    ALGORITHMS,
    ATTESTATION,
    DEFAULT_POLICY,
    FINGER,
    MANAGEMENT_ALGORITHMS,
    MANAGEMENT_KEY,
    PinPolicy,
    TouchPolicy,
    check_slot,
    default_pin_policy,
)
from token_fw.apps.piv.objects import check_tag
from token_fw.apps.piv.slots import ManagementRecord, Policies
from token_fw.crypto import (
    KeyKind,
    PrivateKey,
    curve_of,
    ec_private,
    edwards_private,
    is_weak_des3,
    rsa_private,
)
from token_fw.errors import (
    IncorrectData,
    IncorrectParameters,
    ReferencedDataNotFound,
    WrongLength,
)
from token_fw.pin import PinRef

PADDED = 8
TEMPORARY_PIN_SIZE = 16
_PIN_POLICY, _TOUCH_POLICY = 0xAA, 0xAB
_POLICIES = frozenset({_PIN_POLICY, _TOUCH_POLICY})
_RSA = frozenset(range(0x01, 0x06))
_VALUE_TAGS = {KeyKind.EC: 0x06, KeyKind.ED25519: 0x07, KeyKind.X25519: 0x08}
_DELETE = 0xFF
_FINGER_SIZES = {0x01: TEMPORARY_PIN_SIZE, 0x02: 0, 0x03: 0}
_TOUCH_OF_P2 = {
    0xFF: TouchPolicy.NEVER,
    0xFE: TouchPolicy.ALWAYS,
    0xFD: TouchPolicy.CACHED,
}

P = TypeVar("P", bound=IntEnum)


@dataclass(frozen=True, slots=True, repr=False)
class Verify:
    """`value` is None for the question about the state; `log_out` goes without a value."""

    value: bytes | None
    log_out: bool = False


class FingerStep(IntEnum):
    """What VERIFY of a finger is to do, by the tag of its data object (Yubico PIV, 5.7)."""

    ASK = 0x00
    TEMPORARY_PIN = 0x01
    MATCH_FOR_TEMPORARY_PIN = 0x02
    MATCH = 0x03


@dataclass(frozen=True, slots=True, repr=False)
class VerifyFinger:
    """`value` is the temporary PIN of the step that has one, 16 bytes."""

    step: FingerStep
    value: bytes = b""


@dataclass(frozen=True, slots=True, repr=False)
class ChangePin:
    """Replace the value of the PIN or the PUK."""

    ref: PinRef
    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True, repr=False)
class ResetPin:
    """Give the PIN a new value and its tries."""

    puk: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class SetRetries:
    """How many tries the PIN and the PUK are to have, 1 to 255."""

    pin: int
    puk: int


@dataclass(frozen=True, slots=True)
class PutData:
    """`content` is empty where the object is to be deleted."""

    tag: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Generate:
    """Make a key of an algorithm in a slot."""

    slot: int
    algorithm: int
    policies: Policies


@dataclass(frozen=True, slots=True, repr=False)
class ImportKey:
    """Keep a key in a slot; `make` raises InvalidKey or Unsupported."""

    slot: int
    algorithm: int
    policies: Policies
    make: Callable[[], PrivateKey]


@dataclass(frozen=True, slots=True)
class MoveKey:
    """`target` is None where the key is to be deleted."""

    source: int
    target: int | None


def parse_nothing(_: Command) -> None:
    """The command has no data and no choice of parameters."""


def parse_verify(command: Command) -> Verify | VerifyFinger:
    """VERIFY: the PIN padded with FF to 8 bytes, or nothing; P1 FF logs out."""
    if command.p2 == FINGER:
        return _parse_verify_finger(command)
    if command.p2 != PinRef.PIV:
        raise ReferencedDataNotFound("only the PIN is verified")
    if command.p1:
        if command.data:
            raise WrongLength("logging out takes no data")
        return Verify(None, log_out=True)
    return Verify(_pins(command.data, 1)[0] if command.data else None)


def _parse_verify_finger(command: Command) -> VerifyFinger:
    """VERIFY of a finger: nothing, 01 with a temporary PIN, 02 or 03 without a value."""
    if command.p1:
        raise IncorrectParameters("a finger is not logged out")
    if not command.data:
        return VerifyFinger(FingerStep.ASK)
    fields = tlv.parse(command.data)
    if len(fields) != 1 or fields[0].tag not in _FINGER_SIZES:
        raise IncorrectData("there is no such step with a finger")
    if len(fields[0].value) != _FINGER_SIZES[fields[0].tag]:
        raise IncorrectData("a temporary PIN has 16 bytes, and nothing else has any")
    return VerifyFinger(FingerStep(fields[0].tag), fields[0].value)


def parse_change_reference_data(command: Command) -> ChangePin:
    """CHANGE REFERENCE DATA: the old and the new value."""
    if command.p2 not in {PinRef.PIV, PinRef.PUK}:
        raise ReferencedDataNotFound("there is no such PIN")
    old, new = _pins(command.data, 2)
    return ChangePin(PinRef(command.p2), old, new)


def parse_reset_retry_counter(command: Command) -> ResetPin:
    """RESET RETRY COUNTER: the PUK and the new PIN."""
    if command.p2 != PinRef.PIV:
        raise ReferencedDataNotFound("only the PIN is unblocked")
    return ResetPin(*_pins(command.data, 2))


def parse_set_retries(command: Command) -> SetRetries:
    """SET PIN RETRIES: P1 for the PIN, P2 for the PUK."""
    if not (command.p1 and command.p2):
        raise IncorrectParameters("a PIN has 1 to 255 tries")
    return SetRetries(command.p1, command.p2)


def parse_get_data(command: Command) -> bytes:
    """GET DATA: 5C with the tag of one object."""
    return fields_of(command.data, required={0x5C})[0x5C]


def parse_put_data(command: Command) -> PutData:
    """PUT DATA: 5C with the tag of one object, 53 with its content."""
    fields = fields_of(command.data, required={0x5C, 0x53})
    return PutData(check_tag(fields[0x5C]), fields[0x53])


def parse_generate(command: Command) -> Generate:
    """GENERATE ASYMMETRIC KEY PAIR: AC { 80 algorithm, AA PIN policy, AB touch policy }."""
    slot = check_slot(command.p2)
    outer = fields_of(command.data, required={0xAC})
    fields = fields_of(outer[0xAC], required={0x80}, optional=_POLICIES)
    algorithm = fields[0x80]
    if len(algorithm) != 1 or algorithm[0] not in ALGORITHMS:
        raise IncorrectData("there is no such algorithm")
    return Generate(slot, algorithm[0], _policies(slot, fields))


def parse_import(command: Command) -> ImportKey:
    """IMPORT ASYMMETRIC KEY: the numbers of an RSA key, or the value of another one.

    RSA: 01 p, 02 q, 03 d mod p-1, 04 d mod q-1, 05 1/q mod p. EC: 06. Ed25519: 07. X25519: 08.
    AA and AB are as in GENERATE ASYMMETRIC KEY PAIR.
    """
    slot, algorithm = check_slot(command.p2), command.p1
    spec = ALGORITHMS.get(algorithm)
    if spec is None:
        raise IncorrectParameters("there is no such algorithm")
    if spec.kind is KeyKind.RSA:
        fields = fields_of(command.data, required=_RSA, optional=_POLICIES)
        p, q, dp, dq, qinv = (fields[tag] for tag in sorted(_RSA))
        policies = _policies(slot, fields)
        return ImportKey(slot, algorithm, policies, lambda: rsa_private(p, q, dp, dq, qinv))
    tag = _VALUE_TAGS[spec.kind]
    fields = fields_of(command.data, required={tag}, optional=_POLICIES)
    value, policies = fields[tag], _policies(slot, fields)
    if spec.kind is KeyKind.EC:
        if len(value) != curve_of(spec).size:
            raise IncorrectData("the number is not as long as the curve's order")
        return ImportKey(slot, algorithm, policies, lambda: ec_private(spec.curve, value))
    return ImportKey(slot, algorithm, policies, lambda: edwards_private(spec.kind, value))


def parse_move(command: Command) -> MoveKey:
    """MOVE KEY: P1 the slot it goes to, or FF; the attestation key may be deleted, not moved."""
    source = check_slot(command.p2)
    if command.p1 == _DELETE:
        return MoveKey(source, None)
    target = check_slot(command.p1)
    if ATTESTATION in {source, target} or source == target:
        raise IncorrectParameters("the key cannot be moved there")
    return MoveKey(source, target)


def parse_metadata(command: Command) -> int:
    """GET METADATA: P2 says of what."""
    return command.p2


def parse_attest(command: Command) -> int:
    """ATTEST: P1 is the slot."""
    return check_slot(command.p1)


def parse_management_key(command: Command) -> ManagementRecord:
    """SET MANAGEMENT KEY: algorithm, 9B, and the length and the bytes of the key."""
    data = command.data
    algorithm, value = data[0], fields_of(data[1:], required={MANAGEMENT_KEY})[MANAGEMENT_KEY]
    spec = MANAGEMENT_ALGORITHMS.get(algorithm)
    if spec is None or len(value) != spec.bits // 8:
        raise IncorrectData("there is no such algorithm, or its keys have another length")
    if spec.kind is KeyKind.DES3 and is_weak_des3(value):
        raise IncorrectData("a part of the key is a weak key of DES")
    return ManagementRecord(algorithm, value, _TOUCH_OF_P2[command.p2])


def fields_of(
    data: bytes,
    *,
    required: set[int] | frozenset[int],
    optional: set[int] | frozenset[int] = frozenset(),
) -> Mapping[int, bytes]:
    """Data objects by tag: all the required ones, no other than the optional ones, none twice."""
    fields = tlv.to_dict(tlv.parse(data))
    if not required <= fields.keys() or fields.keys() - required - optional:
        raise IncorrectData("data objects are missing, or there are unknown ones")
    return fields


def _pins(data: bytes, count: int) -> tuple[bytes, ...]:
    """So many PINs of 8 bytes each, without their padding."""
    if len(data) != count * PADDED:
        raise IncorrectData("a PIN is padded to 8 bytes")
    values = (data[start : start + PADDED] for start in range(0, len(data), PADDED))
    return tuple(value.rstrip(b"\xff") for value in values)


def _policies(slot: int, fields: Mapping[int, bytes]) -> Policies:
    return Policies(
        _policy(PinPolicy, fields.get(_PIN_POLICY), default_pin_policy(slot)),
        _policy(TouchPolicy, fields.get(_TOUCH_POLICY), TouchPolicy.NEVER),
    )


def _policy(kind: type[P], value: bytes | None, default: P) -> P:
    if value is None or value == bytes((DEFAULT_POLICY,)):
        return default
    try:
        return kind(int.from_bytes(value, "big"))
    except ValueError:
        raise IncorrectData("there is no such policy") from None
