"""PIV keys in a replay: their uses compared by meaning, and the management key proven anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils

from apdu import piv as wire
from apdu import tlv
from apdu.codec import Command, Response
from apdu.model import SW
from apdu.transport import CardClient, Transport
from host_tools.conformance import piv_commands as piv
from host_tools.conformance.piv_login import metadata
from host_tools.conformance.pki_commands import public_objects
from host_tools.replay_uses import IncomparableError, Joined, UnlikeError

_AUTHENTICATE, _GENERATE = 0x87, 0x47
_SHARED_SIZES = {piv.P256: 32, piv.P384: 48, piv.X25519: 32}
_EDDSA_SIZE = 64
# By the size of the curve in bits: the longest digest in bytes, and a hash of that length.
_DIGESTS: Mapping[int, tuple[int, hashes.HashAlgorithm]] = {
    256: (32, hashes.SHA256()),
    384: (48, hashes.SHA384()),
}

PublicKeys = dict[int, piv.PublicKey]


@dataclass
class Uses:
    """Follows the commands that make or use keys on one way to a card, through chains and parts.

    `made` are the public keys of the slots in which this replay has made keys; all ways share them.
    """

    card: Transport
    made: PublicKeys
    _joined: Joined = field(default_factory=Joined)

    def answered(self, command: Command, response: Response) -> bool:
        """Note a command with its answer; whether it is a use of a key, or a part of one.

        Raises UnlikeError where the answer is whole, and wrong; IncomparableError, TransportError.
        """
        whole = self._joined.add(command, response)
        if whole is None or whole[0].ins not in _DONE:
            return False
        asked, answer = whole
        if answer.sw == SW.NO_ERROR:
            _DONE[asked.ins](self, asked, answer.data)
        elif answer.sw == SW.INCORRECT_DATA:
            self._refused(asked)
        return asked.ins == _AUTHENTICATE and asked.p2 in wire.KEY_SLOTS

    def was_reset(self) -> None:
        """What was begun is over."""
        self._joined = Joined()

    def _refused(self, asked: Command) -> None:
        """Raises IncomparableError where RSA is given a number that this card's key cannot take."""
        public = self._public(asked.p2) if asked.p2 in wire.KEY_SLOTS else None
        given = wire.template(asked.data).get(wire.CHALLENGE, b"")
        if isinstance(public, rsa.RSAPublicKey):
            modulus = public.public_numbers().n
            if len(given) * 8 == public.key_size and int.from_bytes(given, "big") >= modulus:
                raise IncomparableError("it was made for a key with a larger modulus")

    def _generated(self, asked: Command, answer: bytes) -> None:
        algorithm = tlv.to_dict(tlv.parse(tlv.to_dict(tlv.parse(asked.data))[0xAC]))[0x80][0]
        try:
            self.made[asked.p2] = piv.public_key(algorithm, public_objects(answer))
        except (LookupError, ValueError) as error:
            raise UnlikeError("the answer is no public key of that kind") from error

    def _used(self, asked: Command, answer: bytes) -> None:
        if asked.p2 not in wire.KEY_SLOTS:
            return
        given, result = wire.template(asked.data), wire.template(answer).get(wire.RESPONSE)
        if result is None:
            raise UnlikeError("the answer is no result of a key")
        if wire.EXPONENTIATION in given:
            if len(result) != _SHARED_SIZES.get(asked.p1):
                raise UnlikeError("the shared secret has another length")
            return
        check_result(asked.p1, self._public(asked.p2), given.get(wire.CHALLENGE, b""), result)

    def _public(self, slot: int) -> piv.PublicKey | None:
        """The key that is in the slot, as the card tells it now or told it when it was made.

        The use is over: a command more disturbs nothing, and the next use asks for its own VERIFY.
        """
        try:
            told = metadata(CardClient(self.card), slot)
            if piv.PUBLIC not in told or piv.ALGORITHM not in told:
                return self.made.get(slot)
            fields = tlv.to_dict(tlv.parse(told[piv.PUBLIC]))
            return piv.public_key(told[piv.ALGORITHM][0], fields)
        except (LookupError, ValueError) as error:
            raise UnlikeError("the metadata hold no public key") from error


_DONE: Mapping[int, Callable[[Uses, Command, bytes], None]] = {
    _AUTHENTICATE: Uses._used,
    _GENERATE: Uses._generated,
}


def check_result(algorithm: int, public: piv.PublicKey | None, given: bytes, result: bytes) -> None:
    """Compare what a key has made of `given` with its public key, with None by its form alone.

    Of RSA that holds for signatures and for deciphering: the public operation undoes both. Raises
    UnlikeError.
    """
    check = _CHECKS.get(algorithm)
    if check is None:
        raise UnlikeError("no key of that algorithm signs or deciphers")
    check(public, given, result)


def _check_rsa(public: piv.PublicKey | None, given: bytes, result: bytes) -> None:
    if len(result) != len(given):
        raise UnlikeError("the result is not as long as the modulus")
    if public is None:
        return
    if not isinstance(public, rsa.RSAPublicKey):
        raise UnlikeError(_OTHER_KIND)
    numbers = public.public_numbers()
    undone = pow(int.from_bytes(result, "big"), numbers.e, numbers.n)
    if undone != int.from_bytes(given, "big"):
        raise UnlikeError("the result does not belong to the public key")


def _check_ecdsa(public: piv.PublicKey | None, given: bytes, result: bytes) -> None:
    try:
        utils.decode_dss_signature(result)
    except ValueError:
        raise UnlikeError("the answer is no signature in DER") from None
    if public is None:
        return
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise UnlikeError(_OTHER_KIND)
    # A digest is a number here: zeros before it change nothing.
    size, whole = _DIGESTS[public.key_size]
    try:
        digest = given.rjust(size, b"\x00")
        public.verify(result, digest, ec.ECDSA(utils.Prehashed(whole)))
    except InvalidSignature:
        raise UnlikeError(_WRONG_SIGNATURE) from None


def _check_eddsa(public: piv.PublicKey | None, given: bytes, result: bytes) -> None:
    if len(result) != _EDDSA_SIZE:
        raise UnlikeError("the signature has another length")
    if public is None:
        return
    if not isinstance(public, ed25519.Ed25519PublicKey):
        raise UnlikeError(_OTHER_KIND)
    try:
        public.verify(result, given)
    except InvalidSignature:
        raise UnlikeError(_WRONG_SIGNATURE) from None


_OTHER_KIND, _WRONG_SIGNATURE = "the key in the slot is of another kind", "the signature is wrong"
_CHECKS: Mapping[int, Callable[[piv.PublicKey | None, bytes, bytes], None]] = {
    piv.RSA_2048: _check_rsa,
    piv.RSA_3072: _check_rsa,
    piv.RSA_4096: _check_rsa,
    piv.P256: _check_ecdsa,
    piv.P384: _check_ecdsa,
    piv.ED25519: _check_eddsa,
}


@dataclass
class Proof:
    """Proves the management key on one way to a card, in the place of what a recording leaves out.

    `key` is 16, 24 or 32 bytes. What the card asks for, a witness or a challenge, has to have come
    before: a recording holds how it was asked.
    """

    key: bytes = field(repr=False)
    _asked: dict[int, bytes] = field(default_factory=dict)
    _challenge: bytes = b""

    def command(self, blanked: Command) -> Command | None:
        """The command with values for this card; None where it has asked for nothing."""
        fields = {}
        for tag, value in wire.template(blanked.data).items():
            made = self._value(tag, len(value)) if value else b""
            if made is None:
                return None
            fields[tag] = made
        self._challenge = fields.get(wire.CHALLENGE, b"")
        return replace(blanked, data=wire.encode_template(fields))

    def _value(self, tag: int, size: int) -> bytes | None:
        if tag == wire.CHALLENGE:
            return os.urandom(size)
        asked, work = _ANSWERS[tag]
        block = self._asked.get(asked, b"")
        return work(self.key, block) if _fits(self.key, block) else None

    def answered(self, command: Command, response: Response) -> None:
        """Note an answer to GENERAL AUTHENTICATE with the management key.

        Raises UnlikeError where the card has to prove the key too, and does not.
        """
        self._asked = dict(wire.template(response.data))
        challenge, self._challenge = self._challenge, b""
        if challenge and response.sw == SW.NO_ERROR:
            proof = self._asked.get(wire.RESPONSE)
            if not _fits(self.key, challenge) or proof != piv.encipher(self.key, challenge):
                raise UnlikeError("the card does not prove the management key")


def _fits(key: bytes, block: bytes) -> bool:
    """Whether the block is one of the cipher of keys that long: 3DES has 24 bytes, as AES-192."""
    return len(block) == 16 or (len(block) == 8 and len(key) == 24)


# By the tag of what answers: the tag of what was asked, and what is done to it.
_ANSWERS: Mapping[int, tuple[int, Callable[[bytes, bytes], bytes]]] = {
    wire.WITNESS: (wire.WITNESS, piv.decipher),
    wire.RESPONSE: (wire.CHALLENGE, piv.encipher),
}
