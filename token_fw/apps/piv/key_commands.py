"""Commands on the keys in the slots but their use: make, import, move, delete, attest."""

from __future__ import annotations

from apdu import tlv
from token_fw.apps.piv.algorithms import ALGORITHMS, ATTESTATION, MATCH_POLICIES, Origin
from token_fw.apps.piv.commands import Generate, ImportKey, MoveKey
from token_fw.apps.piv.objects import ATTESTATION_CERTIFICATE
from token_fw.apps.piv.session import PivSession
from token_fw.apps.piv.slots import Policies, SlotKey
from token_fw.apps.yubikey import serial_number
from token_fw.crypto import EcPublicKey, EdwardsPublicKey, PublicKey, RsaPublicKey, generate
from token_fw.errors import ConditionsNotSatisfied, IncorrectData


def generate_key_pair(session: PivSession, command: Generate) -> bytes:
    """Make a key; answers the public part in 7F49."""
    _check_policy(session, command.policies)
    private = session.meanwhile(lambda: generate(ALGORITHMS[command.algorithm]))
    key = SlotKey(command.algorithm, command.policies, Origin.GENERATED, parsed=private)
    session.core.keys.put(command.slot, key)
    return tlv.encode(0x7F49, public_objects(private.public()))


def import_key(session: PivSession, command: ImportKey) -> bytes:
    """Keep a key that was made elsewhere."""
    _check_policy(session, command.policies)
    # Proving the primes of a long key prime takes a good part of a second.
    private = session.meanwhile(command.make)
    if private.spec != ALGORITHMS[command.algorithm]:
        raise IncorrectData("the key is of another algorithm")
    key = SlotKey(command.algorithm, command.policies, Origin.IMPORTED, parsed=private)
    session.core.keys.put(command.slot, key)
    return b""


def _check_policy(session: PivSession, policies: Policies) -> None:
    if policies.pin in MATCH_POLICIES and session.core.matcher.sensor is None:
        raise IncorrectData("there is no fingerprint sensor")


def move_key(session: PivSession, command: MoveKey) -> bytes:
    """Move a key with its policies to an empty slot, or delete it; its certificate stays."""
    keys = session.core.keys
    key = keys.get(command.source)
    if command.target is not None:
        if keys.find(command.target) is not None:
            raise ConditionsNotSatisfied("there is a key in the slot it would go to")
        keys.put(command.target, key)
    keys.delete(command.source)
    return b""


def attest(session: PivSession, slot: int) -> bytes:
    """A certificate, signed by the attestation key, of a key that was made on the card."""
    from token_fw.apps.piv import attestation  # noqa: PLC0415  slow to load

    core = session.core
    key = core.keys.get(slot)
    if key.origin is not Origin.GENERATED:
        raise ConditionsNotSatisfied("the key was not made on the card")
    content = core.objects.content(ATTESTATION_CERTIFICATE)
    signer = attestation.Signer.of(core.keys.get(ATTESTATION).private, content)
    number = core.rng(attestation.NUMBER_SIZE)
    return signer.attest(key, slot, serial_number(core.token), number)


def public_objects(public: PublicKey) -> bytes:
    """The public part: RSA 81 modulus and 82 exponent, other kinds 86 with the point."""
    if isinstance(public, RsaPublicKey):
        return tlv.encode(0x81, public.modulus) + tlv.encode(0x82, public.exponent)
    assert isinstance(public, EcPublicKey | EdwardsPublicKey)
    return tlv.encode(0x86, public.point)
