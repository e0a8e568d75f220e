"""Commands on secret keys: make, tell, encipher, compute a checksum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from apdu import tlv
from apdu.codec import Command
from token_fw.apps.pki.algorithms import CHECKSUM_TEMPLATE, CONFIDENTIALITY_TEMPLATE
from token_fw.apps.pki.key_commands import ATTRIBUTES, Attributes, parse_attributes, target
from token_fw.apps.pki.keys import Usage
from token_fw.apps.pki.session import PkiSession
from token_fw.crypto import (
    SECRET_KINDS,
    KeyKind,
    KeySpec,
    MacScheme,
    SymmetricScheme,
    generate_secret,
)
from token_fw.errors import ConditionsNotSatisfied, IncorrectData

_LENGTH = 0x80
_TOLD_FROM = 16
"""Bytes of a value of which a check value gives nothing away that helps to find it."""
_TO_ENCIPHER = (Usage.ENCRYPT | Usage.WRAP | Usage.DERIVE).value
_TO_AUTHENTICATE = (Usage.MAC | Usage.DERIVE).value


@dataclass(frozen=True, slots=True)
class GenerateSecret:
    """Make a secret key; `length` of its value in bytes."""

    length: int
    attributes: Attributes


def parse_generate_secret(command: Command) -> GenerateSecret:
    """80 length in two bytes; E2 may follow."""
    fields = tlv.to_dict(tlv.parse(command.data))
    attributes = parse_attributes(fields.pop(ATTRIBUTES, None))
    if fields.keys() != {_LENGTH} or len(fields[_LENGTH]) != 2:
        raise IncorrectData("not one length of two bytes")
    return GenerateSecret(int.from_bytes(fields[_LENGTH], "big"), attributes)


def generate_secret_key(session: PkiSession, command: GenerateSecret) -> bytes:
    """Make a secret key in the place of the key that has the reference.

    Answers its check value, three bytes; nothing for a value so short that they would tell of it.
    """
    environment, kind = target(session)
    if not isinstance(kind, KeyKind) or kind not in SECRET_KINDS:
        raise ConditionsNotSatisfied("the chosen kind of key is a key pair")
    spec = KeySpec.secret(kind, 8 * command.length)
    usage = command.attributes.usage_of(kind)
    key = generate_secret(spec)
    session.core.keys.put(environment.reference, key, usage, command.attributes.policy)
    return key.check_value() if command.length >= _TOLD_FROM else b""


def get_secret_key(session: PkiSession, reference: int) -> bytes:
    """The value of a secret key that may be told."""
    return session.export(reference).value


def encipher(session: PkiSession, data: bytes) -> bytes:
    """Encrypt or wrap with the chosen key; to derive a key is to encrypt what is given."""
    key, environment = session.use(CONFIDENTIALITY_TEMPLATE, _TO_ENCIPHER)
    return key.secret.encrypt(cast("SymmetricScheme", environment.scheme), data)


def compute_checksum(session: PkiSession, data: bytes) -> bytes:
    """The MAC of the data under the chosen key."""
    key, environment = session.use(CHECKSUM_TEMPLATE, _TO_AUTHENTICATE)
    mac = key.secret.mac(cast("MacScheme", environment.scheme))
    mac.update(data)
    return mac.finish()
