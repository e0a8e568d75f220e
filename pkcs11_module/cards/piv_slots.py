"""The slots of a PIV card: what key and certificate are in them, and how they are listed.

Labels and identifiers are those that OpenSC gives, so that an object has the same CKA_ID through
either library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pkcs11_module.cards import pkcs15
from pkcs11_module.cards.card_keys import (
    POLICY_ALWAYS_AUTHENTICATE,
    USAGE_DECRYPT,
    USAGE_DERIVE,
    USAGE_SIGN,
    CardKey,
)
from pkcs11_module.cards.entries import (
    CertificateEntry,
    DirectoryKind,
    KeyAccess,
    KeyUsage,
    PrivateKeyEntry,
    PublicKeyEntry,
)
from token_fw.crypto import (
    KeyKind,
    KeySpec,
    PublicKey,
    ec_public,
    edwards_public,
    load_public,
    rsa_public,
)

Fields = Mapping[int, bytes]
"""Data objects by tag."""

_ALWAYS: Final = frozenset({0x03, 0x05})
"""The PIN policies by which each use needs the PIN, or a finger as well, right before it."""
_GENERATED: Final = b"\x01"
_SIGNATURE: Final = 0x9C

ALGORITHMS: Final[dict[int, KeySpec]] = {
    0x06: KeySpec.rsa(1024),
    0x07: KeySpec.rsa(2048),
    0x05: KeySpec.rsa(3072),
    0x16: KeySpec.rsa(4096),
    0x11: KeySpec.ec("P-256"),
    0x14: KeySpec.ec("P-384"),
    0xE0: KeySpec.ED25519,
    0xE1: KeySpec.X25519,
}
"""Algorithm identifiers (SP 800-78-4 table 6-2, and Yubico's)."""

_CODES: Final = {spec: code for code, spec in ALGORITHMS.items()}
_USAGE: Final[dict[KeyKind, tuple[int, KeyUsage, KeyUsage]]] = {
    KeyKind.RSA: (
        USAGE_SIGN | USAGE_DECRYPT,
        KeyUsage.SIGN | KeyUsage.SIGN_RECOVER | KeyUsage.DECRYPT | KeyUsage.UNWRAP,
        KeyUsage.VERIFY | KeyUsage.VERIFY_RECOVER | KeyUsage.ENCRYPT | KeyUsage.WRAP,
    ),
    KeyKind.EC: (
        USAGE_SIGN | USAGE_DERIVE,
        KeyUsage.SIGN | KeyUsage.DERIVE,
        KeyUsage.VERIFY | KeyUsage.DERIVE,
    ),
    KeyKind.ED25519: (USAGE_SIGN, KeyUsage.SIGN, KeyUsage.VERIFY),
    KeyKind.X25519: (USAGE_DERIVE, KeyUsage.DERIVE, KeyUsage.DERIVE),
}
"""What a key of that kind does on the card, and of its private and its public half."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a key and its certificate; `name` and `certificate` are OpenSC's labels."""

    number: int
    tag: bytes
    id: bytes
    name: str
    certificate: str

    def certificate_entry(self, value: bytes) -> CertificateEntry:
        return CertificateEntry(label=self.certificate, modifiable=False, id=self.id, direct=value)


def _retired(count: int) -> Slot:
    tag = (0x5FC10D + count - 1).to_bytes(3, "big")
    # OpenSC writes the number of the object in decimal and reads it as hexadecimal.
    ident = bytes.fromhex(f"{count + 4:02d}")
    name = f"Retired KEY MAN {count}"
    return Slot(0x81 + count, tag, ident, name, f"Retired Certificate for Key Management {count}")


SLOTS: Final = (
    Slot(0x9A, b"\x5f\xc1\x05", b"\x01", "PIV AUTH", "Certificate for PIV Authentication"),
    Slot(0x9C, b"\x5f\xc1\x0a", b"\x02", "SIGN", "Certificate for Digital Signature"),
    Slot(0x9D, b"\x5f\xc1\x0b", b"\x03", "KEY MAN", "Certificate for Key Management"),
    Slot(0x9E, b"\x5f\xc1\x01", b"\x04", "CARD AUTH", "Certificate for Card Authentication"),
    *(_retired(count) for count in range(1, 21)),
)
DIRECTORIES: Final = {
    DirectoryKind.PRIVATE_KEYS: pkcs15.DF + b"\x44\x02",
    DirectoryKind.PUBLIC_KEYS: pkcs15.DF + b"\x44\x03",
    DirectoryKind.CERTIFICATES: pkcs15.DF + b"\x44\x04",
}


@dataclass(frozen=True, slots=True)
class SlotKey:
    """The key in a slot; its reference is P1 P2 of GENERAL AUTHENTICATE: algorithm and slot."""

    slot: Slot
    public: PublicKey
    always: bool
    generated: bool

    @classmethod
    def told(
        cls, slot: Slot, metadata: Mapping[int, bytes], public: Mapping[int, bytes]
    ) -> SlotKey:
        """The key by what GET METADATA tells, and by what is in its object 04.

        Raises KeyError, IndexError or CryptoError for a kind of key that has no name here.
        """
        spec = ALGORITHMS[metadata[0x01][0]]
        key = _PUBLIC[spec.kind](spec, public)
        always = metadata[0x02][0] in _ALWAYS
        return cls(slot, key, always, metadata.get(0x03) == _GENERATED)

    @classmethod
    def certified(cls, slot: Slot, certificate: bytes) -> SlotKey:
        """The key by its certificate, which does not tell where it was made.

        Raises ValueError, KeyError or CryptoError for a kind of key that has no name here.
        """
        key = load_public(_subject_key(certificate))
        _ = _CODES[key.spec]
        return cls(slot, key, slot.number == _SIGNATURE, False)

    @property
    def spec(self) -> KeySpec:
        return self.public.spec

    @property
    def reference(self) -> int:
        return _CODES[self.spec] << 8 | self.slot.number

    def card_key(self) -> CardKey:
        policy = POLICY_ALWAYS_AUTHENTICATE if self.always else 0
        return CardKey(self.reference, self.spec, _USAGE[self.spec.kind][0], policy)

    def private_entry(self) -> PrivateKeyEntry:
        access = KeyAccess.SENSITIVE
        if self.generated:
            access |= KeyAccess.ALWAYS_SENSITIVE | KeyAccess.NEVER_EXTRACTABLE | KeyAccess.LOCAL
        return PrivateKeyEntry(
            label=f"{self.slot.name} key",
            private=True,
            modifiable=False,
            id=self.slot.id,
            usage=_USAGE[self.spec.kind][1],
            access=access,
            reference=self.reference,
            bits=self.spec.bits,
            curve=self.spec.oid_der,
            consent=self.always,
        )

    def public_entry(self) -> PublicKeyEntry:
        return PublicKeyEntry(
            label=f"{self.slot.name} pubkey",
            modifiable=False,
            direct=self.public.to_spki(),
            id=self.slot.id,
            usage=_USAGE[self.spec.kind][2],
            reference=self.reference,
            bits=self.spec.bits,
            curve=self.spec.oid_der,
        )


def _subject_key(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate; raises ValueError."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415  slow to load
        Encoding,
        PublicFormat,
    )
    from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415

    key = load_der_x509_certificate(certificate).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


_PUBLIC: Final[dict[KeyKind, Callable[[KeySpec, Fields], PublicKey]]] = {
    KeyKind.RSA: lambda spec, fields: rsa_public(fields[0x81], fields[0x82]),
    KeyKind.EC: lambda spec, fields: ec_public(spec.curve, fields[0x86]),
    KeyKind.ED25519: lambda spec, fields: edwards_public(spec.kind, fields[0x86]),
    KeyKind.X25519: lambda spec, fields: edwards_public(spec.kind, fields[0x86]),
}
