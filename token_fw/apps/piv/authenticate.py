"""GENERAL AUTHENTICATE: prove the management key, or use the key in a slot.

The data field is a template 7C of SP 800-73-4 part 2, table 7: 80 witness, 81 challenge,
82 response, 85 exponentiation. Which of them are there, and which of these are empty, says what is
to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from apdu import tlv
from apdu.codec import Command
from token_fw.apps.piv.algorithms import MANAGEMENT_KEY
from token_fw.apps.piv.commands import fields_of
from token_fw.apps.piv.session import PivSession
from token_fw.apps.piv.slots import ManagementRecord
from token_fw.crypto import (
    Ecb,
    Ecdsa,
    EdDsa,
    KeyKind,
    PrivateKey,
    RsaPkcs1,
    RsaPrivateKey,
    RsaRaw,
    block_size,
    curve_of,
)
from token_fw.errors import IncorrectData, IncorrectParameters, WrongLength

MAX_MESSAGE = 1 << 16
_WITNESS, _CHALLENGE, _RESPONSE, _EXPONENTIATION = 0x80, 0x81, 0x82, 0x85
_TAGS = frozenset({_WITNESS, _CHALLENGE, _RESPONSE, _EXPONENTIATION})
_OTHER_3DES, _3DES = 0x00, 0x03
_PKCS1_START = b"\x00\x01"
_MIN_PADDING = 8

Fields = Mapping[int, bytes]
Step = Callable[[PivSession, "Authenticate"], bytes]


@dataclass(frozen=True, slots=True, repr=False)
class Authenticate:
    """A step with the key of a slot, or with the management key, as `fields` say."""

    step: Step
    algorithm: int
    slot: int
    fields: Fields


def parse_authenticate(command: Command) -> Authenticate:
    """One template 7C whose objects, empty or not, are those of a step."""
    fields = fields_of(
        fields_of(command.data, required={0x7C})[0x7C], required=frozenset(), optional=_TAGS
    )
    shape = frozenset((tag, bool(value)) for tag, value in fields.items())
    steps = _MANAGEMENT_STEPS if command.p2 == MANAGEMENT_KEY else _SLOT_STEPS
    step = steps.get(shape)
    if step is None:
        raise IncorrectData("the template is not that of a step with such a key")
    if any(len(value) > MAX_MESSAGE for value in fields.values()):
        raise WrongLength("the data is longer than 64 KiB")
    algorithm = _3DES if command.p1 == _OTHER_3DES else command.p1
    return Authenticate(step, algorithm, command.p2, fields)


def authenticate(session: PivSession, command: Authenticate) -> bytes:
    """Run the step; what it answers is in a template 7C."""
    return command.step(session, command)


def _management(session: PivSession, command: Authenticate) -> ManagementRecord:
    record = session.core.management.record()
    if record.algorithm != command.algorithm:
        raise IncorrectParameters("the management key is of another algorithm")
    return record


def _block(record: ManagementRecord, value: bytes) -> bytes:
    """A value that is one block of the cipher; raises IncorrectData."""
    if len(value) != block_size(record.key().spec):
        raise IncorrectData("the value is not one block of the cipher")
    return value


def _request_witness(session: PivSession, command: Authenticate) -> bytes:
    """Mutual authentication begins: the card's witness, enciphered."""
    key = _management(session, command).key()
    witness = session.core.rng(block_size(key.spec))
    session.challenge(witness, mutual=True)
    return _answer(_WITNESS, key.encrypt(Ecb(), witness))


def _prove_witness(session: PivSession, command: Authenticate) -> bytes:
    """Mutual authentication ends: the client's challenge, enciphered."""
    record = _management(session, command)
    challenge = _block(record, command.fields[_CHALLENGE])
    session.prove(record, command.fields[_WITNESS], mutual=True)
    return _answer(_RESPONSE, record.key().encrypt(Ecb(), challenge))


def _request_challenge(session: PivSession, command: Authenticate) -> bytes:
    """External authentication begins: the card's challenge."""
    key = _management(session, command).key()
    challenge = session.core.rng(block_size(key.spec))
    session.challenge(key.encrypt(Ecb(), challenge), mutual=False)
    return _answer(_CHALLENGE, challenge)


def _prove_challenge(session: PivSession, command: Authenticate) -> bytes:
    """External authentication ends."""
    record = _management(session, command)
    session.prove(record, command.fields[_RESPONSE], mutual=False)
    return b""


def _use(session: PivSession, command: Authenticate) -> bytes:
    """Sign; with an RSA key, whose input is padded already, this also decrypts."""
    private = session.use(command.slot, command.algorithm)
    return _answer(_RESPONSE, _USES[private.spec.kind](private, command.fields[_CHALLENGE]))


def _agree(session: PivSession, command: Authenticate) -> bytes:
    private = session.use(command.slot, command.algorithm)
    if private.spec.kind not in {KeyKind.EC, KeyKind.X25519}:
        raise IncorrectData("the key does not agree on secrets")
    return _answer(_RESPONSE, private.agree(command.fields[_EXPONENTIATION]))


def _rsa(private: PrivateKey, block: bytes) -> bytes:
    assert isinstance(private, RsaPrivateKey)
    # Of one length, numbers are in the order of their bytes.
    if len(block) != private.size or block >= private.public().modulus:
        raise IncorrectData("the block is not as long as the modulus, or no number below it")
    signed = _unpadded(block)
    if signed is not None:
        # The same number, computed in constant time and much faster.
        return private.sign(RsaPkcs1(), signed)
    return private.decrypt(RsaRaw(), block)


def _unpadded(block: bytes) -> bytes | None:
    """What EMSA-PKCS1-v1_5 has padded (RFC 8017 9.2), None where the block is none of its own."""
    padding, separator, data = block[len(_PKCS1_START) :].partition(b"\x00")
    whole = block.startswith(_PKCS1_START) and separator and not padding.strip(b"\xff")
    return data if whole and len(padding) >= _MIN_PADDING else None


def _ecdsa(private: PrivateKey, digest: bytes) -> bytes:
    if not 1 <= len(digest) <= curve_of(private.spec).size:
        raise IncorrectData("the digest is empty, or longer than the key")
    return private.sign(Ecdsa(der=True), digest)


def _eddsa(private: PrivateKey, message: bytes) -> bytes:
    return private.sign(EdDsa(), message)


def _nothing_to_sign(_: PrivateKey, _message: bytes) -> bytes:
    raise IncorrectData("the key does not sign")


_USES: dict[KeyKind, Callable[[PrivateKey, bytes], bytes]] = {
    KeyKind.RSA: _rsa,
    KeyKind.EC: _ecdsa,
    KeyKind.ED25519: _eddsa,
    KeyKind.X25519: _nothing_to_sign,
}


def _answer(tag: int, value: bytes) -> bytes:
    return tlv.encode(0x7C, tlv.encode(tag, value))


def _shape(**fields: bool) -> frozenset[tuple[int, bool]]:
    return frozenset((_NAMES[name], filled) for name, filled in fields.items())


_NAMES = {
    "witness": _WITNESS,
    "challenge": _CHALLENGE,
    "response": _RESPONSE,
    "exponentiation": _EXPONENTIATION,
}
_MANAGEMENT_STEPS: dict[frozenset[tuple[int, bool]], Step] = {
    _shape(witness=False): _request_witness,
    _shape(witness=True, challenge=True): _prove_witness,
    _shape(witness=True, challenge=True, response=False): _prove_witness,
    _shape(challenge=False): _request_challenge,
    _shape(response=True): _prove_challenge,
}
_SLOT_STEPS: dict[frozenset[tuple[int, bool]], Step] = {
    _shape(challenge=True, response=False): _use,
    _shape(challenge=False, response=False): _use,
    _shape(exponentiation=True, response=False): _agree,
}
