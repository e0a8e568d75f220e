"""Clients of the PIV application for tests, and the values that it leaves the factory with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from apdu import tlv
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from tests import cards

PIN, PUK = b"123456", b"12345678"
NEW_PIN, NEW_PUK = b"654321", b"87654321"
WRONG = b"000000"
MANAGEMENT_KEY = bytes(range(1, 9)) * 3


@dataclass
class Finger:
    """Somebody who touches the token when asked, or does not, or does something else first."""

    touches: bool = True
    before: Callable[[], object] = field(default=lambda: None)
    asked: int = 0

    def ask(self, patience: float | None = None) -> Finger:
        self.asked += 1
        return self

    def wait(self) -> bool:
        self.before()
        return self.touches

    def cancel(self) -> None:
        """It has touched the token already, or never will."""

    def close(self) -> None:
        """It asked nobody who could still wait."""


class Client(cards.Client):
    """A client with the PIV application selected."""

    application = piv.SPEC

    def log_in(self, _: int = piv.REF_PIN, pin: bytes | None = None) -> None:
        self.ok(piv.verify(pin or PIN))

    def prove(self, key: bytes = MANAGEMENT_KEY, algorithm: int = piv.AES_192) -> None:
        """Prove the management key by mutual authentication, and check the card's proof."""
        witness = self.ask(algorithm, {0x80: b""})[0x80]
        challenge = bytes(range(len(witness)))
        answer = self.ask(algorithm, {0x80: piv.decipher(key, witness), 0x81: challenge})
        assert answer[0x82] == piv.encipher(key, challenge)

    def ask(self, algorithm: int, fields: dict[int, bytes], slot: int = piv.MANAGEMENT) -> Any:
        """What GENERAL AUTHENTICATE answers, by tag."""
        answer = self.ok(piv.authenticate(algorithm, slot, fields))
        return tlv.to_dict(tlv.parse(tlv.to_dict(tlv.parse(answer))[0x7C])) if answer else {}

    def use(self, slot: int, algorithm: int, data: bytes, tag: int = 0x81) -> bytes:
        """What the key in a slot makes of some data."""
        result: bytes = self.ask(algorithm, {0x82: b"", tag: data}, slot)[0x82]
        return result

    def make_key(self, slot: int, algorithm: int = piv.P256, **policies: int) -> Any:
        """Generate a key; gives the public key as one of `cryptography`."""
        answer = self.ok(piv.generate(slot, algorithm, **policies))
        return piv.public_key(algorithm, pki.public_objects(answer))

    def metadata(self, reference: int) -> dict[int, bytes]:
        return tlv.to_dict(tlv.parse(self.ok(piv.metadata(reference))))

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


def certificate(public: Any) -> bytes:
    """A certificate of somebody for a public key, in DER."""
    signer = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    builder = x509.CertificateBuilder(name, name, public, 1)
    builder = builder.not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
    made = builder.not_valid_after(datetime(2035, 1, 1, tzinfo=UTC)).sign(signer, hashes.SHA256())
    return made.public_bytes(Encoding.DER)


def certificate_object(value: bytes, info: int = 0) -> bytes:
    """The content of a data object with a certificate."""
    return tlv.encode(0x70, value) + tlv.encode(0x71, bytes((info,))) + tlv.encode(0xFE, b"")
