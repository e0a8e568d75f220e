"""Clients of the PIV application for tests, and its commands by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from apdu import tlv
from apdu.codec import Command
from apdu.model import APPLICATIONS
from host_tools.conformance import pki_commands as pki
from tests import cards

SPEC = APPLICATIONS["piv"]
PIN, PUK = b"123456", b"12345678"
NEW_PIN, NEW_PUK = b"654321", b"87654321"
WRONG = b"000000"
REF_PIN, REF_PUK = 0x80, 0x81
MANAGEMENT_KEY = bytes(range(1, 9)) * 3
MANAGEMENT, AUTHENTICATION, SIGNATURE = 0x9B, 0x9A, 0x9C
KEY_MANAGEMENT, CARD_AUTHENTICATION, RETIRED, ATTESTATION = 0x9D, 0x9E, 0x82, 0xF9
RSA_2048, RSA_3072, RSA_4096, P256, P384 = 0x07, 0x05, 0x16, 0x11, 0x14
ED25519, X25519 = 0xE0, 0xE1
DES3, AES_128, AES_192, AES_256 = 0x03, 0x08, 0x0A, 0x0C
NEVER, ONCE, ALWAYS = 0x01, 0x02, 0x03
TOUCH_ALWAYS, TOUCH_CACHED = 0x02, 0x03
CHUID, PRINTED = bytes.fromhex("5FC102"), bytes.fromhex("5FC109")
ATTESTATION_CERTIFICATE, DISCOVERY = bytes.fromhex("5FFF01"), b"\x7e"
_CURVES = {P256: ec.SECP256R1(), P384: ec.SECP384R1()}


class Client(cards.Client):
    """A client with the PIV application selected."""

    application = SPEC

    def log_in(self, _: int = REF_PIN, pin: bytes | None = None) -> None:
        self.ok(verify(pin or PIN))

    def prove(self, key: bytes = MANAGEMENT_KEY, algorithm: int = AES_192) -> None:
        """Prove the management key by mutual authentication, and check the card's proof."""
        witness = self.ask(algorithm, {0x80: b""})[0x80]
        challenge = bytes(range(len(witness)))
        answer = self.ask(algorithm, {0x80: decipher(key, witness), 0x81: challenge})
        assert answer[0x82] == encipher(key, challenge)

    def ask(self, algorithm: int, fields: dict[int, bytes], slot: int = MANAGEMENT) -> Any:
        """What GENERAL AUTHENTICATE answers, by tag."""
        answer = self.ok(authenticate(algorithm, slot, fields))
        return tlv.to_dict(tlv.parse(tlv.to_dict(tlv.parse(answer))[0x7C])) if answer else {}

    def use(self, slot: int, algorithm: int, data: bytes, tag: int = 0x81) -> bytes:
        """What the key in a slot makes of some data."""
        result: bytes = self.ask(algorithm, {0x82: b"", tag: data}, slot)[0x82]
        return result

    def make_key(self, slot: int, algorithm: int = P256, **policies: int) -> Any:
        """Generate a key; gives the public key as one of `cryptography`."""
        answer = self.ok(generate(slot, algorithm, **policies))
        return public_key(algorithm, pki.public_objects(answer))

    def metadata(self, reference: int) -> dict[int, bytes]:
        return tlv.to_dict(tlv.parse(self.ok(metadata(reference))))

    def tries(self, reference: int) -> tuple[int, int]:
        """At most, and left."""
        most, left = self.metadata(reference)[0x06]
        return most, left


def client(bench: cards.Bench | None = None) -> Client:
    """A client of a card's own, or of this one, on an interface of its own."""
    return Client((bench or cards.Bench()).connect())


def managed(bench: cards.Bench | None = None) -> Client:
    """A client that has proven PIN and management key."""
    made = client(bench)
    made.prove()
    made.log_in()
    return made


def padded(pin: bytes) -> bytes:
    return pin.ljust(8, b"\xff")


def verify(pin: bytes | None = None) -> Command:
    """VERIFY, or without a PIN the question about its state."""
    return Command(0x00, 0x20, 0x00, REF_PIN, b"" if pin is None else padded(pin))


def log_out() -> Command:
    return Command(0x00, 0x20, 0xFF, REF_PIN)


def change(ref: int, old: bytes, new: bytes) -> Command:
    return Command(0x00, 0x24, 0x00, ref, padded(old) + padded(new))


def unblock(puk: bytes, new: bytes) -> Command:
    return Command(0x00, 0x2C, 0x00, REF_PIN, padded(puk) + padded(new))


def set_retries(pin: int, puk: int) -> Command:
    return Command(0x00, 0xFA, pin, puk)


def reset() -> Command:
    return Command(0x00, 0xFB, 0x00, 0x00)


def authenticate(algorithm: int, slot: int, fields: dict[int, bytes]) -> Command:
    inner = b"".join(tlv.encode(tag, value) for tag, value in fields.items())
    return Command(0x00, 0x87, algorithm, slot, tlv.encode(0x7C, inner), pki.ALL)


def use(slot: int, algorithm: int, data: bytes, tag: int = 0x81) -> Command:
    return authenticate(algorithm, slot, {0x82: b"", tag: data})


def set_management_key(algorithm: int, key: bytes, touch: int = 0xFF) -> Command:
    return Command(0x00, 0xFF, 0xFF, touch, bytes((algorithm,)) + tlv.encode(MANAGEMENT, key))


def get_data(tag: bytes) -> Command:
    return Command(0x00, 0xCB, 0x3F, 0xFF, tlv.encode(0x5C, tag), pki.ALL)


def put_data(tag: bytes, content: bytes) -> Command:
    data = tlv.encode(0x5C, tag) + tlv.encode(0x53, content)
    return Command(0x00, 0xDB, 0x3F, 0xFF, data)


def _policies(pin: int | None, touch: int | None) -> bytes:
    given = {0xAA: pin, 0xAB: touch}
    return b"".join(
        tlv.encode(tag, bytes((value,))) for tag, value in given.items() if value is not None
    )


def generate(
    slot: int, algorithm: int, *, pin: int | None = None, touch: int | None = None
) -> Command:
    inner = tlv.encode(0x80, bytes((algorithm,))) + _policies(pin, touch)
    return Command(0x00, 0x47, 0x00, slot, tlv.encode(0xAC, inner), pki.ALL)


def import_key(
    slot: int,
    algorithm: int,
    fields: dict[int, bytes],
    *,
    pin: int | None = None,
    touch: int | None = None,
) -> Command:
    data = b"".join(tlv.encode(tag, value) for tag, value in fields.items())
    return Command(0x00, 0xFE, algorithm, slot, data + _policies(pin, touch))


def rsa_fields(key: rsa.RSAPrivateKey) -> dict[int, bytes]:
    numbers = key.private_numbers()
    parts = (numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    return {
        tag: part.to_bytes((part.bit_length() + 7) // 8, "big")
        for tag, part in enumerate(parts, start=0x01)
    }


def move(target: int, source: int) -> Command:
    return Command(0x00, 0xF6, target, source)


def metadata(reference: int) -> Command:
    return Command(0x00, 0xF7, 0x00, reference, b"", 256)


def attest(slot: int) -> Command:
    return Command(0x00, 0xF9, slot, 0x00, b"", pki.ALL)


def get_version() -> Command:
    return Command(0x00, 0xFD, 0x00, 0x00, b"", 256)


def public_key(algorithm: int, fields: dict[int, bytes]) -> Any:
    """The public key in the data objects of a key."""
    if algorithm in _CURVES:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[algorithm], fields[0x86])
    if algorithm in _EDWARDS:
        return _EDWARDS[algorithm](fields[0x86])
    modulus, exponent = (int.from_bytes(fields[tag], "big") for tag in (0x81, 0x82))
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


_EDWARDS: dict[int, Callable[[bytes], Any]] = {
    ED25519: ed25519.Ed25519PublicKey.from_public_bytes,
    X25519: x25519.X25519PublicKey.from_public_bytes,
}


def encipher(key: bytes, block: bytes) -> bytes:
    """One block under the management key, whose cipher the block's length tells."""
    return _cipher(key, block).encryptor().update(block)


def decipher(key: bytes, block: bytes) -> bytes:
    return _cipher(key, block).decryptor().update(block)


def _cipher(key: bytes, block: bytes) -> Cipher[modes.ECB]:
    return Cipher(TripleDES(key) if len(block) == 8 else AES(key), modes.ECB())
