"""Private keys: what they may do, how they are kept, and the public part as data objects."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag

from apdu import tlv
from token_fw.crypto import (
    CryptoError,
    EcPublicKey,
    EdwardsPublicKey,
    KeyKind,
    KeySpec,
    PrivateKey,
    PublicKey,
    RsaPublicKey,
    load_private,
)
from token_fw.crypto.ec import Curve, curve_of
from token_fw.errors import ReferencedDataNotFound
from token_fw.storage.base import StorageCorrupt
from token_fw.transaction import Transaction

MAX_REFERENCE = 1023
_KIND = "key"
_PKCS8 = 0xC0

KINDS: dict[int, KeySpec | None] = {
    0xF3: KeySpec.rsa(2048),
    0xF4: KeySpec.rsa(3072),
    0xF5: KeySpec.rsa(4096),
    0xEC: None,
    0xED: KeySpec.ED25519,
    0xEE: KeySpec.X25519,
}
"""Kinds of key by algorithm reference; EC keys also need a curve."""

_KIND_CODES = {spec: code for code, spec in KINDS.items() if spec is not None}
_EC = 0xEC


class Usage(IntFlag):
    """What a key may be used for."""

    SIGN = 0x01
    DECRYPT = 0x02
    DERIVE = 0x04


class KeyPolicy(IntFlag):
    """What a key asks for beyond the user PIN."""

    NONE = 0x00
    ALWAYS_AUTHENTICATE = 0x01


DEFAULT_USAGE = {
    KeyKind.RSA: Usage.SIGN | Usage.DECRYPT,
    KeyKind.EC: Usage.SIGN | Usage.DERIVE,
    KeyKind.ED25519: Usage.SIGN,
    KeyKind.X25519: Usage.DERIVE,
}


class StoredKey:
    """A key of the token. The private part is parsed at its first use and kept."""

    __slots__ = ("_parsed", "_pkcs8", "policy", "reference", "spec", "usage")

    def __init__(
        self,
        reference: int,
        spec: KeySpec,
        usage: Usage,
        policy: KeyPolicy,
        *,
        pkcs8: bytes = b"",
        parsed: PrivateKey | None = None,
    ) -> None:
        self.reference = reference
        self.spec = spec
        self.usage = usage
        self.policy = policy
        self._pkcs8 = pkcs8
        self._parsed = parsed

    def __repr__(self) -> str:
        return f"<StoredKey {self.reference} {self.spec}>"

    @property
    def private(self) -> PrivateKey:
        """The key itself; raises StorageCorrupt when its record holds none."""
        if self._parsed is None:
            try:
                self._parsed = load_private(self._pkcs8, checked=True)
            except CryptoError:
                raise StorageCorrupt(f"key {self.reference} cannot be read") from None
            self._pkcs8 = b""
        return self._parsed

    def describe(self) -> bytes:
        """The template E1: reference, kind, curve, usage and policy, nothing secret."""
        inner = tlv.encode(0x84, self.reference.to_bytes(2, "big"))
        inner += tlv.encode(0x80, bytes((_KIND_CODES.get(self.spec, _EC),)))
        if self.spec.kind is KeyKind.EC:
            inner += self.spec.oid_der
        inner += tlv.encode(0x9C, bytes((self.usage,)))
        return tlv.encode(0xE1, inner + tlv.encode(0x9D, bytes((self.policy,))))

    @classmethod
    def decode(cls, reference: int, record: bytes) -> StoredKey:
        """Raises StorageCorrupt."""
        try:
            fields = tlv.to_dict(tlv.parse(record))
            inner = tlv.to_dict(tlv.parse(fields[0xE1]))
            spec = KINDS[inner[0x80][0]] or KeySpec.from_oid_der(tlv.encode(0x06, inner[0x06]))
            usage, policy = Usage(inner[0x9C][0]), KeyPolicy(inner[0x9D][0])
            return cls(reference, spec, usage, policy, pkcs8=fields[_PKCS8])
        except (tlv.TlvError, CryptoError, KeyError, ValueError, IndexError):
            raise StorageCorrupt(f"the record of key {reference} cannot be read") from None


class Keys:
    """The private keys of one token by reference, 0 to 1023; read once and kept."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._known: dict[int, StoredKey | None] | None = None
        transaction.on_rollback(self._forget)

    def get(self, reference: int) -> StoredKey:
        """The key under that reference; raises ReferencedDataNotFound."""
        known = self._keys()
        key = known.get(reference)
        if key is not None:
            return key
        if reference not in known:
            raise ReferencedDataNotFound("no key under that reference")
        record = self._transaction.get(_KIND, reference.to_bytes(2, "big"))
        if record is None:
            raise StorageCorrupt(f"the record of key {reference} is missing")
        key = known[reference] = StoredKey.decode(reference, record)
        return key

    def all(self) -> Iterable[StoredKey]:
        """Every key, by ascending reference."""
        return [self.get(reference) for reference in sorted(self._keys())]

    @property
    def free(self) -> int:
        """The number of references without a key."""
        return MAX_REFERENCE + 1 - len(self._keys())

    def put(self, reference: int, private: PrivateKey, usage: Usage, policy: KeyPolicy) -> None:
        """Keep a key, in the place of the one that has the reference."""
        key = StoredKey(reference, private.spec, usage, policy, parsed=private)
        record = key.describe() + tlv.encode(_PKCS8, private.to_pkcs8())
        self._transaction.put(_KIND, reference.to_bytes(2, "big"), record)
        self._keys()[reference] = key

    def delete(self, reference: int) -> None:
        """Delete a key; raises ReferencedDataNotFound."""
        if reference not in self._keys():
            raise ReferencedDataNotFound("no key under that reference")
        self._transaction.delete(_KIND, reference.to_bytes(2, "big"))
        del self._keys()[reference]

    def clear(self) -> None:
        """Delete every key."""
        for reference in list(self._keys()):
            self.delete(reference)

    def _keys(self) -> dict[int, StoredKey | None]:
        if self._known is None:
            idents = self._transaction.idents(_KIND)
            self._known = {int.from_bytes(ident, "big"): None for ident in idents}
        return self._known

    def _forget(self) -> None:
        self._known = None


def public_template(public: PublicKey, cofactor: bytes = b"\x01") -> bytes:
    """The public key data object 7F49 (ISO/IEC 7816-8:2004, table 3).

    RSA: 81 modulus, 82 exponent. EC: the curve as in `curve_objects` and 86 the point. Ed25519
    and X25519: 86 with the 32 bytes of the key.
    """
    if isinstance(public, RsaPublicKey):
        inner = tlv.encode(0x81, public.modulus) + tlv.encode(0x82, public.exponent)
    elif isinstance(public, EcPublicKey):
        objects = curve_objects(curve_of(public.spec), cofactor) | {0x86: public.point}
        inner = b"".join(tlv.encode(tag, objects[tag]) for tag in sorted(objects))
    else:
        assert isinstance(public, EdwardsPublicKey)
        inner = tlv.encode(0x86, public.point)
    return tlv.encode(0x7F49, inner)


def curve_objects(curve: Curve, cofactor: bytes = b"\x01") -> dict[int, bytes]:
    """81 prime, 82 a, 83 b, 84 base point, 85 order, 87 cofactor; numbers as long as the field."""
    numbers = {0x81: curve.p, 0x82: curve.a, 0x83: curve.b, 0x85: curve.order}
    objects = {tag: number.to_bytes(curve.size, "big") for tag, number in numbers.items()}
    return objects | {0x84: curve.generator_point, 0x87: cofactor}
