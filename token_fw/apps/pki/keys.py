"""Keys: what they may do, how they are kept, and the public part as data objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import IntFlag
from typing import TypeVar

from apdu import tlv
from token_fw.crypto import (
    SECRET_KINDS,
    CryptoError,
    EcPublicKey,
    EdwardsPublicKey,
    GostPublicKey,
    KeyKind,
    KeySpec,
    MlDsaPublicKey,
    MlKemPublicKey,
    PrivateKey,
    PublicKey,
    RsaPublicKey,
    SecretKey,
    load_private,
    secret_key,
)
from token_fw.crypto.ec import Curve, curve_of
from token_fw.errors import ConditionsNotSatisfied, ReferencedDataNotFound
from token_fw.storage.base import StorageCorrupt
from token_fw.transaction import Transaction

MAX_REFERENCE = 1023
_KIND = "key"
_PKCS8, _VALUE = 0xC0, 0xC1

K = TypeVar("K", PrivateKey, SecretKey)

KINDS: dict[int, KeySpec | KeyKind] = {
    0xF3: KeySpec.rsa(2048),
    0xF4: KeySpec.rsa(3072),
    0xF5: KeySpec.rsa(4096),
    0xEC: KeyKind.EC,
    0xED: KeySpec.ED25519,
    0xEE: KeySpec.X25519,
    0xEA: KeySpec.ED448,
    0xEB: KeySpec.X448,
    0xE1: KeySpec.ml_dsa(44),
    0xE2: KeySpec.ml_dsa(65),
    0xE3: KeySpec.ml_dsa(87),
    0xE5: KeySpec.ml_kem(768),
    0xE6: KeySpec.ml_kem(1024),
    0xE8: KeyKind.GOST_256,
    0xE9: KeyKind.GOST_512,
    0xF8: KeyKind.AES,
    0xF9: KeyKind.DES3,
    0xFA: KeyKind.GENERIC,
    0xFB: KeyKind.KUZNYECHIK,
    0xFC: KeyKind.MAGMA,
    0xFD: KeyKind.KUZNYECHIK_TWIN,
    0xFE: KeyKind.MAGMA_TWIN,
}
"""Kinds of key by algorithm reference.

EC keys also need a curve, those of GOST a parameter set, secret keys a length.
"""

WITH_CURVE = frozenset({KeyKind.EC, KeyKind.GOST_256, KeyKind.GOST_512})
"""Kinds that take an identifier of a curve or a parameter set."""

_KIND_CODES = {kind: code for code, kind in KINDS.items()}


class Usage(IntFlag):
    """What a key may be used for."""

    SIGN = 0x01
    DECRYPT = 0x02
    DERIVE = 0x04
    ENCRYPT = 0x08
    WRAP = 0x10
    UNWRAP = 0x20
    MAC = 0x40


class KeyPolicy(IntFlag):
    """What a key asks for beyond the user PIN, and whether a secret key may be told."""

    NONE = 0x00
    ALWAYS_AUTHENTICATE = 0x01
    EXPORT = 0x02


PRIVATE_USAGE = Usage.SIGN | Usage.DECRYPT | Usage.DERIVE | Usage.UNWRAP
SECRET_USAGE = ~Usage.SIGN
_CIPHER_USAGE = Usage.ENCRYPT | Usage.DECRYPT | Usage.WRAP | Usage.UNWRAP | Usage.MAC


DEFAULT_USAGE = {
    KeyKind.RSA: Usage.SIGN | Usage.DECRYPT,
    KeyKind.EC: Usage.SIGN | Usage.DERIVE,
    KeyKind.ED25519: Usage.SIGN,
    KeyKind.X25519: Usage.DERIVE,
    KeyKind.ED448: Usage.SIGN,
    KeyKind.X448: Usage.DERIVE,
    KeyKind.ML_DSA: Usage.SIGN,
    KeyKind.ML_KEM: Usage.DECRYPT,
    KeyKind.GOST_256: Usage.SIGN | Usage.DERIVE,
    KeyKind.GOST_512: Usage.SIGN | Usage.DERIVE,
    KeyKind.AES: _CIPHER_USAGE,
    KeyKind.DES3: _CIPHER_USAGE,
    KeyKind.KUZNYECHIK: _CIPHER_USAGE,
    KeyKind.MAGMA: _CIPHER_USAGE,
    KeyKind.KUZNYECHIK_TWIN: Usage.WRAP | Usage.UNWRAP,
    KeyKind.MAGMA_TWIN: Usage.WRAP | Usage.UNWRAP,
    KeyKind.GENERIC: Usage.MAC | Usage.DERIVE,
}


class StoredKey:
    """A key of the token. The secret part is parsed at its first use and kept."""

    __slots__ = (
        "_encoded",
        "_private",
        "_secret",
        "always_authenticate",
        "policy",
        "reference",
        "spec",
        "usage",
        "uses",
    )

    def __init__(
        self,
        reference: int,
        spec: KeySpec,
        usage: Usage,
        policy: KeyPolicy,
        *,
        encoded: bytes = b"",
        parsed: PrivateKey | SecretKey | None = None,
    ) -> None:
        """`encoded` is a PrivateKeyInfo, or the value of a secret key, where it is not `parsed`."""
        self.reference = reference
        self.spec = spec
        self.usage = usage
        self.policy = policy
        # Asked at every use: operations on flags are many times slower than these.
        self.uses = usage.value
        self.always_authenticate = bool(policy & KeyPolicy.ALWAYS_AUTHENTICATE)
        self._encoded = encoded
        self._private = parsed if isinstance(parsed, PrivateKey) else None
        self._secret = parsed if isinstance(parsed, SecretKey) else None

    def __repr__(self) -> str:
        return f"<StoredKey {self.reference} {self.spec}>"

    @property
    def private(self) -> PrivateKey:
        """The private key; raises ConditionsNotSatisfied for a secret one, StorageCorrupt."""
        if self._private is None:
            if self.spec.kind in SECRET_KINDS:
                raise ConditionsNotSatisfied("a secret key has no private and no public part")
            self._private = self._parse(lambda: load_private(self._encoded, checked=True))
        return self._private

    @property
    def secret(self) -> SecretKey:
        """The secret key; raises ConditionsNotSatisfied for a private one, StorageCorrupt."""
        if self._secret is None:
            if self.spec.kind not in SECRET_KINDS:
                raise ConditionsNotSatisfied("the key is not a secret key")
            self._secret = self._parse(lambda: secret_key(self.spec, self._encoded))
        return self._secret

    def _parse(self, parse: Callable[[], K]) -> K:
        try:
            parsed = parse()
        except CryptoError:
            raise StorageCorrupt(f"key {self.reference} cannot be read") from None
        self._encoded = b""
        return parsed

    def describe(self) -> bytes:
        """The template E1: reference, kind, curve or length, usage and policy, nothing secret."""
        kind = self.spec.kind
        code = _KIND_CODES.get(self.spec) or _KIND_CODES[kind]
        inner = tlv.encode(0x84, self.reference.to_bytes(2, "big"))
        inner += tlv.encode(0x80, bytes((code,)))
        if kind in WITH_CURVE:
            inner += self.spec.oid_der
        elif kind in SECRET_KINDS:
            inner += tlv.encode(0x81, (self.spec.bits // 8).to_bytes(2, "big"))
        inner += tlv.encode(0x9C, bytes((self.usage,)))
        return tlv.encode(0xE1, inner + tlv.encode(0x9D, bytes((self.policy,))))

    @classmethod
    def decode(cls, reference: int, record: bytes) -> StoredKey:
        """Raises StorageCorrupt."""
        try:
            fields = tlv.to_dict(tlv.parse(record))
            inner = tlv.to_dict(tlv.parse(fields[0xE1]))
            spec = _described(inner)
            usage, policy = Usage(inner[0x9C][0]), KeyPolicy(inner[0x9D][0])
            encoded = fields[_VALUE if spec.kind in SECRET_KINDS else _PKCS8]
            return cls(reference, spec, usage, policy, encoded=encoded)
        except (tlv.TlvError, CryptoError, KeyError, ValueError, IndexError):
            raise StorageCorrupt(f"the record of key {reference} cannot be read") from None


def _described(fields: Mapping[int, bytes]) -> KeySpec:
    """The kind of key in a template E1; raises CryptoError, KeyError or IndexError."""
    kind = KINDS[fields[0x80][0]]
    if isinstance(kind, KeySpec):
        return kind
    if kind in WITH_CURVE:
        return KeySpec.from_oid_der(tlv.encode(0x06, fields[0x06]))
    return KeySpec.secret(kind, 8 * int.from_bytes(fields[0x81], "big"))


class Keys:
    """The private and secret keys of one token by reference, 0 to 1023; read once and kept."""

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

    def put(
        self, reference: int, parsed: PrivateKey | SecretKey, usage: Usage, policy: KeyPolicy
    ) -> None:
        """Keep a key, in the place of the one that has the reference."""
        key = StoredKey(reference, parsed.spec, usage, policy, parsed=parsed)
        if isinstance(parsed, SecretKey):
            encoded = tlv.encode(_VALUE, parsed.value)
        else:
            encoded = tlv.encode(_PKCS8, parsed.to_pkcs8())
        self._transaction.put(_KIND, reference.to_bytes(2, "big"), key.describe() + encoded)
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

    RSA: 81 modulus, 82 exponent. EC: the curve as in `curve_objects` and 86 the point. Other
    kinds: 86 with the bytes of the key (RFC 8032, RFC 7748, FIPS 203, FIPS 204; GOST: X || Y,
    little-endian).
    """
    if isinstance(public, RsaPublicKey):
        inner = tlv.encode(0x81, public.modulus) + tlv.encode(0x82, public.exponent)
    elif isinstance(public, EcPublicKey):
        objects = curve_objects(curve_of(public.spec), cofactor) | {0x86: public.point}
        inner = b"".join(tlv.encode(tag, objects[tag]) for tag in sorted(objects))
    elif isinstance(public, EdwardsPublicKey | GostPublicKey):
        inner = tlv.encode(0x86, public.point)
    else:
        assert isinstance(public, MlDsaPublicKey | MlKemPublicKey)
        inner = tlv.encode(0x86, public.raw)
    return tlv.encode(0x7F49, inner)


def curve_objects(curve: Curve, cofactor: bytes = b"\x01") -> dict[int, bytes]:
    """81 prime, 82 a, 83 b, 84 base point, 85 order, 87 cofactor; numbers as long as the field."""
    numbers = {0x81: curve.p, 0x82: curve.a, 0x83: curve.b, 0x85: curve.order}
    objects = {tag: number.to_bytes(curve.size, "big") for tag, number in numbers.items()}
    return objects | {0x84: curve.generator_point, 0x87: cofactor}
