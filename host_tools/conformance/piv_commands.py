"""The commands of the PIV application by name, and what is in its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from apdu import tlv
from apdu.codec import Command
from apdu.model import APPLICATIONS
from host_tools.conformance.pki_commands import ALL

PublicKey: TypeAlias = (
    rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | x25519.X25519PublicKey
)

SPEC = APPLICATIONS["piv"]
REF_PIN, REF_PUK = 0x80, 0x81
FINGER, MANAGEMENT, AUTHENTICATION, SIGNATURE = 0x96, 0x9B, 0x9A, 0x9C
KEY_MANAGEMENT, CARD_AUTHENTICATION, RETIRED, ATTESTATION = 0x9D, 0x9E, 0x82, 0xF9
RSA_2048, RSA_3072, RSA_4096, P256, P384 = 0x07, 0x05, 0x16, 0x11, 0x14
ED25519, X25519 = 0xE0, 0xE1
DES3, AES_128, AES_192, AES_256 = 0x03, 0x08, 0x0A, 0x0C
NEVER, ONCE, ALWAYS, MATCH_ONCE, MATCH_ALWAYS = range(0x01, 0x06)
TOUCH_ALWAYS, TOUCH_CACHED = 0x02, 0x03
CHUID, PRINTED = bytes.fromhex("5FC102"), bytes.fromhex("5FC109")
CERTIFICATE = bytes.fromhex("5FC105")
ATTESTATION_CERTIFICATE, DISCOVERY = bytes.fromhex("5FFF01"), b"\x7e"
DELETED = 0xFF
"""The target of MOVE KEY that deletes the key."""
# What GET METADATA tells (Yubico PIV extensions, 5.3).
ALGORITHM, POLICIES, ORIGIN, PUBLIC, DEFAULT, RETRIES = range(0x01, 0x07)
GENERATED, IMPORTED = 0x01, 0x02
WITNESS, CHALLENGE, RESPONSE, EXPONENTIATION = 0x80, 0x81, 0x82, 0x85
_VALUE_TAGS = {ED25519: 0x07, X25519: 0x08}
_CURVES = {P256: ec.SECP256R1(), P384: ec.SECP384R1()}


def padded(pin: bytes) -> bytes:
    """A PIN as it travels: 8 bytes, filled with FF (SP 800-73-4 part 1, 2.4.3)."""
    return pin.ljust(8, b"\xff")


def verify(pin: bytes | None = None) -> Command:
    """VERIFY the PIN (SP 800-73-4 part 2, 3.2.1); without one, ask for its state."""
    return Command(0x00, 0x20, 0x00, REF_PIN, b"" if pin is None else padded(pin))


def log_out() -> Command:
    """VERIFY with P1 FF: the PIN is no longer verified."""
    return Command(0x00, 0x20, 0xFF, REF_PIN)


def match() -> Command:
    """VERIFY that waits for a finger."""
    return Command(0x00, 0x20, 0x00, FINGER, b"\x03\x00")


def match_for_temporary_pin() -> Command:
    """VERIFY that waits for a finger and answers a temporary PIN of 16 bytes."""
    return Command(0x00, 0x20, 0x00, FINGER, b"\x02\x00", 256)


def temporary_pin(value: bytes) -> Command:
    """VERIFY of a temporary PIN."""
    return Command(0x00, 0x20, 0x00, FINGER, tlv.encode(0x01, value))


def finger_status() -> Command:
    """VERIFY that asks for the state of the sensor."""
    return Command(0x00, 0x20, 0x00, FINGER)


def change(ref: int, old: bytes, new: bytes) -> Command:
    """CHANGE REFERENCE DATA of the PIN or the PUK (SP 800-73-4 part 2, 3.2.2)."""
    return Command(0x00, 0x24, 0x00, ref, padded(old) + padded(new))


def unblock(puk: bytes, new: bytes) -> Command:
    """RESET RETRY COUNTER by the PUK (SP 800-73-4 part 2, 3.2.3)."""
    return Command(0x00, 0x2C, 0x00, REF_PIN, padded(puk) + padded(new))


def set_retries(pin: int, puk: int) -> Command:
    """SET PIN RETRIES: both PINs get so many tries and their factory values."""
    return Command(0x00, 0xFA, pin, puk)


def reset() -> Command:
    """RESET, once PIN and PUK are blocked."""
    return Command(0x00, 0xFB, 0x00, 0x00)


def authenticate(algorithm: int, slot: int, fields: dict[int, bytes]) -> Command:
    """GENERAL AUTHENTICATE (SP 800-73-4 part 2, 3.2.4) with data objects by their tags."""
    inner = b"".join(tlv.encode(tag, value) for tag, value in fields.items())
    return Command(0x00, 0x87, algorithm, slot, tlv.encode(0x7C, inner), ALL)


def use(slot: int, algorithm: int, data: bytes, tag: int = 0x81) -> Command:
    """GENERAL AUTHENTICATE that has a key make something of `data`."""
    return authenticate(algorithm, slot, {0x82: b"", tag: data})


def set_management_key(algorithm: int, key: bytes, touch: int = 0xFF) -> Command:
    """SET MANAGEMENT KEY; `touch` FF: its use asks for none."""
    return Command(0x00, 0xFF, 0xFF, touch, bytes((algorithm,)) + tlv.encode(MANAGEMENT, key))


def get_data(tag: bytes) -> Command:
    """GET DATA of an object (SP 800-73-4 part 2, 3.1.2)."""
    return Command(0x00, 0xCB, 0x3F, 0xFF, tlv.encode(0x5C, tag), ALL)


def put_data(tag: bytes, content: bytes) -> Command:
    """PUT DATA of an object (SP 800-73-4 part 2, 3.3.1); no content deletes it."""
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
    """GENERATE ASYMMETRIC KEY PAIR (SP 800-73-4 part 2, 3.3.2)."""
    inner = tlv.encode(0x80, bytes((algorithm,))) + _policies(pin, touch)
    return Command(0x00, 0x47, 0x00, slot, tlv.encode(0xAC, inner), ALL)


def import_key(
    slot: int,
    algorithm: int,
    fields: dict[int, bytes],
    *,
    pin: int | None = None,
    touch: int | None = None,
) -> Command:
    """IMPORT ASYMMETRIC KEY; `fields` are its numbers by tag."""
    data = b"".join(tlv.encode(tag, value) for tag, value in fields.items())
    return Command(0x00, 0xFE, algorithm, slot, data + _policies(pin, touch))


def rsa_fields(key: rsa.RSAPrivateKey) -> dict[int, bytes]:
    """An RSA key for IMPORT ASYMMETRIC KEY: p, q, dP, dQ, qInv."""
    numbers = key.private_numbers()
    parts = (numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    return {
        tag: part.to_bytes((part.bit_length() + 7) // 8, "big")
        for tag, part in enumerate(parts, start=0x01)
    }


def value_fields(algorithm: int, value: bytes) -> dict[int, bytes]:
    """A key of any other kind for IMPORT ASYMMETRIC KEY."""
    return {_VALUE_TAGS.get(algorithm, 0x06): value}


def move(target: int, source: int) -> Command:
    """MOVE KEY to another slot; target FF deletes the key."""
    return Command(0x00, 0xF6, target, source)


def metadata(reference: int) -> Command:
    """GET METADATA of a PIN, the management key or a slot."""
    return Command(0x00, 0xF7, 0x00, reference, b"", 256)


def attest(slot: int) -> Command:
    """ATTEST the key in a slot."""
    return Command(0x00, 0xF9, slot, 0x00, b"", ALL)


def get_serial() -> Command:
    """GET SERIAL of the card."""
    return Command(0x00, 0xF8, 0x00, 0x00, b"", 256)


def get_version() -> Command:
    """GET VERSION of the card's firmware."""
    return Command(0x00, 0xFD, 0x00, 0x00, b"", 256)


def public_key(algorithm: int, fields: dict[int, bytes]) -> PublicKey:
    """The public key in the data objects of a key."""
    if algorithm in _CURVES:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[algorithm], fields[0x86])
    if algorithm in _EDWARDS:
        return _EDWARDS[algorithm](fields[0x86])
    modulus, exponent = (int.from_bytes(fields[tag], "big") for tag in (0x81, 0x82))
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


_EDWARDS: dict[int, Callable[[bytes], PublicKey]] = {
    ED25519: ed25519.Ed25519PublicKey.from_public_bytes,
    X25519: x25519.X25519PublicKey.from_public_bytes,
}


def encipher(key: bytes, block: bytes) -> bytes:
    """One block under the management key, whose cipher the block's length tells."""
    return _cipher(key, block).encryptor().update(block)


def decipher(key: bytes, block: bytes) -> bytes:
    """Likewise back."""
    return _cipher(key, block).decryptor().update(block)


def _cipher(key: bytes, block: bytes) -> Cipher[modes.ECB]:
    mode = modes.ECB()  # noqa: S305  a single block
    return Cipher(TripleDES(key) if len(block) == 8 else AES(key), mode)
