"""What of the PIV application's data fields may be kept (SP 800-73-4), for whoever records APDUs.

Its private objects and what proves the management key stay secret. What a key is given to sign or
to decipher does not: without the key it tells nothing that its sender did not send in the open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from apdu import tlv
from apdu.codec import Command

NAME = "piv"
"""The application's name in the catalogue."""
MANAGEMENT_KEY = 0x9B
KEY_SLOTS = frozenset((0x9A, 0x9C, 0x9D, 0x9E, *range(0x82, 0x96)))
"""Slots whose keys GENERAL AUTHENTICATE uses (SP 800-73-4 part 1, table 4b)."""

READ_WITH_PIN = frozenset(
    map(
        bytes.fromhex,
        (
            "5FC103",  # fingerprints
            "5FC108",  # facial image
            "5FC109",  # printed information
            "5FC121",  # iris images
            "5FC123",  # pairing code
        ),
    )
)
"""Data objects that only the card holder reads (SP 800-73-4 part 1, table 2)."""

TEMPLATE = 0x7C
WITNESS, CHALLENGE, RESPONSE, EXPONENTIATION = 0x80, 0x81, 0x82, 0x85
RSA_ALGORITHMS = frozenset((0x05, 0x07, 0x16))
SIGNING_ALGORITHMS = frozenset((0x11, 0x14, 0xE0))
_PROOF = frozenset((WITNESS, CHALLENGE, RESPONSE))
# EMSA-PKCS1-v1_5 (RFC 8017 9.2); what is deciphered is hardly ever such a block.
_SIGNED_BLOCK = b"\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff"
_TAG_LIST, _CONTENT = 0x5C, 0x53
_TAG_SIZE = 3
_NAMED = 2 + _TAG_SIZE


@dataclass(frozen=True, slots=True)
class Kept:
    """What may be kept: `data` of the command, None for nothing; whether the `answer` may be.

    `blanked`: the data are whole, with zeros in the place of secret values.
    """

    data: bytes | None = None
    answer: bool = False
    blanked: bool = False


def judge(name: str, command: Command, joined: bytes) -> Kept | None:
    """What of a command of that name may be kept; None for one of which this says nothing.

    `joined` are the data of its chain up to and with its own. Whether the data may be kept is the
    same for all parts of a chain, unless an early one is too short to tell: then nothing is kept.
    """
    rule = _RULES.get(name)
    return None if rule is None else rule(command, joined)


def template(data: bytes) -> Mapping[int, bytes]:
    """What is in the dynamic authentication template; nothing where `data` are none."""
    try:
        outer = tlv.to_dict(tlv.parse(data))
        return tlv.to_dict(tlv.parse(outer[TEMPLATE])) if set(outer) == {TEMPLATE} else {}
    except (tlv.TlvError, LookupError):
        return {}


def encode_template(fields: Mapping[int, bytes]) -> bytes:
    """The template with these data objects, in their order."""
    return tlv.encode(TEMPLATE, b"".join(tlv.encode(*item) for item in fields.items()))


def _authenticate(command: Command, joined: bytes) -> Kept:
    if command.p2 in KEY_SLOTS:
        return Kept(command.data, not command.chained and _signs(command.p1, template(joined)))
    fields = template(joined)
    if (
        command.p2 != MANAGEMENT_KEY
        or joined != command.data
        or not fields
        or fields.keys() - _PROOF
    ):
        return Kept()
    blank = {tag: bytes(len(value)) for tag, value in fields.items()}
    return Kept(encode_template(blank), blanked=any(fields.values()))


def _signs(algorithm: int, fields: Mapping[int, bytes]) -> bool:
    """Whether the answer is a signature, neither a plain text nor a shared secret."""
    given = fields.get(CHALLENGE, b"")
    if not given or fields.get(RESPONSE) != b"" or fields.keys() - {CHALLENGE, RESPONSE}:
        return False
    if algorithm in RSA_ALGORITHMS:
        return given.startswith(_SIGNED_BLOCK)
    return algorithm in SIGNING_ALGORITHMS


def _put_data(command: Command, joined: bytes) -> Kept:
    head = joined[: _NAMED + 1]
    names = head[:2] == bytes((_TAG_LIST, _TAG_SIZE)) and head[_NAMED:] == bytes((_CONTENT,))
    public = names and head[2:_NAMED] not in READ_WITH_PIN
    return Kept(command.data, answer=True) if public else Kept()


_RULES: Mapping[str, Callable[[Command, bytes], Kept]] = {
    "GENERAL AUTHENTICATE": _authenticate,
    "PUT DATA": _put_data,
}
