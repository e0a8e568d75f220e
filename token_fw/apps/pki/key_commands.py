"""Commands on keys: choose, make, import, delete, use. Those on secret keys alone are apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from apdu import tlv
from apdu.codec import Command
from apdu.spec import Access
from token_fw.apps.pki.algorithms import (
    CONFIDENTIALITY_TEMPLATE,
    KEY_TEMPLATE,
    SIGNATURE_TEMPLATE,
    Environment,
    pss_for,
)
from token_fw.apps.pki.keys import (
    DEFAULT_USAGE,
    KINDS,
    PRIVATE_USAGE,
    SECRET_USAGE,
    WITH_CURVE,
    KeyPolicy,
    StoredKey,
    Usage,
    curve_objects,
    public_template,
)
from token_fw.apps.pki.session import PkiSession
from token_fw.crypto import (
    CURVES,
    EDWARDS_SIZES,
    GOST_SIZES,
    SECRET_KINDS,
    CipherScheme,
    Ecdsa,
    GostPrivateKey,
    Hash,
    KeyKind,
    KeySpec,
    MlKemPrivateKey,
    PrivateKey,
    SecretKey,
    SignScheme,
    SymmetricScheme,
    Vko,
    digest,
    ec_private,
    ecdsa_numbers,
    edwards_private,
    generate,
    gost_private,
    ml_dsa_private,
    ml_kem_private,
    rsa_private,
    secret_key,
)
from token_fw.errors import (
    ConditionsNotSatisfied,
    FunctionNotSupported,
    IncorrectData,
    WrongLength,
)

MAX_MESSAGE = 1 << 16
_MAX_OVERHEAD = 16
"""Bytes that a cryptogram may be longer than the message: padding, a tag, or that of a key wrap."""
_CURVE = frozenset({0x81, 0x82, 0x83, 0x84, 0x85, 0x87})
_OID = 0x06
ATTRIBUTES = 0xE2
_SIGNATURE_INPUT, _SIGNATURE = 0x9A, 0x9E
_TO_SIGN, _TO_AGREE = Usage.SIGN.value, Usage.DERIVE.value
_TO_DECIPHER = (Usage.DECRYPT | Usage.UNWRAP).value
_KNOWN_USAGE = int(PRIVATE_USAGE | SECRET_USAGE)
_KNOWN_POLICY = int(KeyPolicy.ALWAYS_AUTHENTICATE | KeyPolicy.EXPORT)


@dataclass(frozen=True, slots=True)
class CurveChoice:
    """A curve, and the cofactor as it was written, which the answer repeats."""

    spec: KeySpec
    cofactor: bytes = b"\x01"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a key is to be for; None where the kind's usual usage holds."""

    usage: Usage | None = None
    policy: KeyPolicy = KeyPolicy.NONE

    def usage_of(self, kind: KeyKind) -> Usage:
        """The usage of a key of that kind; raises IncorrectData for what the kind cannot have."""
        usage = DEFAULT_USAGE[kind] if self.usage is None else self.usage
        secret = kind in SECRET_KINDS
        if usage & ~(SECRET_USAGE if secret else PRIVATE_USAGE):
            raise IncorrectData("a usage that the kind of key does not have")
        if self.policy & KeyPolicy.EXPORT and not secret:
            raise IncorrectData("a private key is never told")
        return usage


@dataclass(frozen=True, slots=True)
class Generate:
    """Make a key; `curve` only where one was given."""

    curve: CurveChoice | None
    attributes: Attributes


@dataclass(frozen=True, slots=True, repr=False)
class ImportRsa:
    """Keep an RSA key: p, q, 1/q mod p, d mod p-1, d mod q-1, big-endian."""

    p: bytes
    q: bytes
    qinv: bytes
    dp: bytes
    dq: bytes
    e: bytes | None
    attributes: Attributes

    def make(self) -> PrivateKey:
        """The key; raises InvalidKey or Unsupported."""
        return rsa_private(self.p, self.q, self.dp, self.dq, self.qinv, e=self.e)


@dataclass(frozen=True, slots=True, repr=False)
class ImportValue:
    """Keep a key by its private value, seed or value."""

    curve: CurveChoice | None
    value: bytes
    attributes: Attributes


@dataclass(frozen=True, slots=True, repr=False)
class VerifySignature:
    """What was signed, as COMPUTE DIGITAL SIGNATURE takes it, and the signature as it gives it."""

    data: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Decipher:
    """Either a cryptogram or a peer's point."""

    cryptogram: bytes | None
    point: bytes | None


def parse_generate(command: Command) -> Generate:
    """GENERATE ASYMMETRIC KEY PAIR: a curve or nothing; E2 may follow."""
    fields = tlv.to_dict(tlv.parse(command.data))
    attributes = parse_attributes(fields.pop(ATTRIBUTES, None))
    return Generate(_curve(fields) if fields else None, attributes)


def parse_import(command: Command) -> ImportRsa | ImportValue:
    """7F48 { 92 p, 93 q, 94 1/q, 95 dp, 96 dq, 91 e } or E0 { curve, 88 value }; E2 may follow."""
    fields = tlv.to_dict(tlv.parse(command.data))
    attributes = parse_attributes(fields.pop(ATTRIBUTES, None))
    if len(fields) != 1:
        raise IncorrectData("not one private key")
    ((tag, value),) = fields.items()
    inner = tlv.to_dict(tlv.parse(value))
    if tag == 0x7F48:
        exponent = inner.pop(0x91, None)
        if inner.keys() != {0x92, 0x93, 0x94, 0x95, 0x96}:
            raise IncorrectData("not the five numbers of an RSA key")
        p, q, qinv, dp, dq = (inner[number] for number in range(0x92, 0x97))
        return ImportRsa(p, q, qinv, dp, dq, exponent, attributes)
    if tag != 0xE0 or 0x88 not in inner:
        raise IncorrectData("not a private key")
    value = inner.pop(0x88)
    return ImportValue(_curve(inner) if inner else None, value, attributes)


def parse_message(command: Command) -> bytes:
    """What is to be signed, enciphered or given a checksum, at most 64 KiB."""
    if len(command.data) > MAX_MESSAGE:
        raise WrongLength("the message is longer than 64 KiB")
    return command.data


def parse_verify_signature(command: Command) -> VerifySignature:
    """9A what was signed, at most 64 KiB, and 9E the signature, in any order."""
    fields = tlv.to_dict(tlv.parse(command.data))
    if fields.keys() != {_SIGNATURE_INPUT, _SIGNATURE}:
        raise IncorrectData("not what was signed and a signature")
    data = fields[_SIGNATURE_INPUT]
    if len(data) > MAX_MESSAGE:
        raise WrongLength("the message is longer than 64 KiB")
    return VerifySignature(data, fields[_SIGNATURE])


def parse_decipher(command: Command) -> Decipher:
    """00 and a cryptogram, or A6 { 7F49 { 86 point } }."""
    data = command.data
    if data[0] == 0x00:
        if len(data) > 1 + MAX_MESSAGE + _MAX_OVERHEAD:
            raise WrongLength("the cryptogram is longer than one of 64 KiB")
        return Decipher(data[1:], None)
    outer, used = tlv.parse_one(data)
    if outer.tag != 0xA6 or used != len(data):
        raise IncorrectData("neither a cryptogram nor a point")
    nested = tlv.to_dict(tlv.parse(outer.value))
    point = tlv.to_dict(tlv.parse(nested.get(0x7F49, b""))).get(0x86)
    if point is None or nested.keys() != {0x7F49}:
        raise IncorrectData("no point")
    return Decipher(None, point)


def set_environment(session: PkiSession, environment: Environment) -> bytes:
    """Choose key and algorithm for what follows; an algorithm needs a key that fits."""
    if environment.algorithm is not None:
        environment.algorithm.check(session.core.keys.get(environment.reference).spec.kind)
    session.environments[environment.template] = environment
    return b""


def generate_key_pair(session: PkiSession, command: Generate) -> bytes:
    """Make a key in the place of the one that has the reference; answers the public part."""
    environment, kind = target(session)
    spec = _spec(kind, command.curve)
    usage = command.attributes.usage_of(spec.kind)
    private = _meanwhile(session, lambda: generate(spec))
    session.core.keys.put(environment.reference, private, usage, command.attributes.policy)
    cofactor = command.curve.cofactor if command.curve else b"\x01"
    return public_template(private.public(), cofactor)


def get_public_key(session: PkiSession, _: None) -> bytes:
    """The public part of the chosen key."""
    environment = session.environments.get(KEY_TEMPLATE)
    if environment is None:
        raise ConditionsNotSatisfied("no key was chosen")
    return public_template(session.core.keys.get(environment.reference).private.public())


def import_key(session: PkiSession, command: ImportRsa | ImportValue) -> bytes:
    """Keep a key in the place of the one that has the reference."""
    environment, kind = target(session)
    if isinstance(command, ImportRsa):
        # Proving the primes of a long key prime takes a good part of a second.
        key: PrivateKey | SecretKey = _meanwhile(session, command.make)
        if key.spec != kind:
            raise IncorrectData("the key is not of the chosen kind")
    else:
        key = _from_value(kind, command)
    usage = command.attributes.usage_of(key.spec.kind)
    session.core.keys.put(environment.reference, key, usage, command.attributes.policy)
    return b""


def delete_key(session: PkiSession, reference: int) -> bytes:
    """Delete the key under a reference."""
    session.core.keys.delete(reference)
    return b""


def compute_signature(session: PkiSession, data: bytes) -> bytes:
    """Sign with the chosen key; ECDSA answers a DER SEQUENCE of r and s."""
    key, environment = session.use(SIGNATURE_TEMPLATE, _TO_SIGN)
    return key.private.sign(*_signing(session, key, environment, data))


def verify_signature(session: PkiSession, command: VerifySignature) -> bytes:
    """Check a signature by the public half of the chosen key; raises InvalidSignature."""
    key, environment = session.chosen(SIGNATURE_TEMPLATE, _TO_SIGN)
    scheme, data = _signing(session, key, environment, command.data)
    signature = command.signature
    if isinstance(scheme, Ecdsa):
        scheme, signature = Ecdsa(), ecdsa_numbers(key.spec, signature)
    key.private.public().verify(scheme, data, signature)
    return b""


def _signing(
    session: PkiSession, key: StoredKey, environment: Environment, data: bytes
) -> tuple[SignScheme, bytes]:
    """The scheme that was chosen, and what it signs."""
    scheme = environment.scheme
    if scheme is None and key.spec.kind is KeyKind.EC:
        # Version 0 of IsoApplet hashes on the card, version 1 has its client do it.
        hashed = data if session.told.version else digest.compute(Hash.SHA1, data)
        return Ecdsa(der=True), hashed
    return cast("SignScheme", scheme or pss_for(data)), data


def decipher(session: PkiSession, command: Decipher) -> bytes:
    """Decrypt, unwrap, decapsulate or agree with the chosen key."""
    usage = _TO_AGREE if command.cryptogram is None else _TO_DECIPHER
    key, environment = session.use(CONFIDENTIALITY_TEMPLATE, usage)
    kind, scheme = key.spec.kind, environment.scheme
    if isinstance(scheme, Vko) or (scheme is None and kind is not KeyKind.ML_KEM):
        if command.point is None:
            raise IncorrectData("agreement needs a point")
        if scheme is None:
            return key.private.agree(command.point)
        private = cast("GostPrivateKey", key.private)
        return private.vko(command.point, scheme.ukm, scheme.size)
    if command.cryptogram is None:
        raise IncorrectData("decryption needs a cryptogram")
    if scheme is None:
        return cast("MlKemPrivateKey", key.private).decapsulate(command.cryptogram)
    if kind in SECRET_KINDS:
        return key.secret.decrypt(cast("SymmetricScheme", scheme), command.cryptogram)
    return key.private.decrypt(cast("CipherScheme", scheme), command.cryptogram)


def target(session: PkiSession) -> tuple[Environment, KeySpec | KeyKind]:
    """The reference and kind of key chosen for a key that is to be kept.

    Raises ConditionsNotSatisfied where none were chosen.
    """
    environment = session.environments.get(KEY_TEMPLATE)
    if environment is None or environment.kind is None:
        raise ConditionsNotSatisfied("no reference and kind of key were chosen")
    return environment, KINDS[environment.kind]


def _meanwhile(session: PkiSession, make: Callable[[], PrivateKey]) -> PrivateKey:
    """Make a key while other interfaces work; they may change the PIN or erase the card."""
    with session.core.transaction.released():
        private = make()
    session.require(Access.USER)
    return private


def _spec(kind: KeySpec | KeyKind, curve: CurveChoice | None) -> KeySpec:
    """The kind of key chosen by MSE SET and, for EC, the curve given with the command."""
    if kind in WITH_CURVE:
        if curve is None or curve.spec.kind is not kind:
            raise IncorrectData("the curve or the parameter set is missing")
        return curve.spec
    if not isinstance(kind, KeySpec):
        raise ConditionsNotSatisfied("a secret key is no key pair")
    if curve is not None and curve.spec != kind:
        raise IncorrectData("the curve is not of the chosen kind")
    return kind


def _from_value(kind: KeySpec | KeyKind, command: ImportValue) -> PrivateKey | SecretKey:
    """The key of the chosen kind; raises IncorrectData or InvalidKey where it cannot be one."""
    if isinstance(kind, KeyKind) and kind in SECRET_KINDS:
        if command.curve is not None:
            raise IncorrectData("a secret key has no curve")
        return secret_key(kind, command.value)
    spec = _spec(kind, command.curve)
    make = _PRIVATE_FROM_VALUE.get(spec.kind)
    if make is None:
        raise IncorrectData("the key is not of the chosen kind")
    return make(spec, command.value)


def _edwards(spec: KeySpec, value: bytes) -> PrivateKey:
    return edwards_private(spec.kind, value)


def _gost(spec: KeySpec, value: bytes) -> PrivateKey:
    if len(value) != GOST_SIZES[spec.kind]:
        raise IncorrectData("the private number is not as long as the kind of key says")
    return gost_private(spec.curve, value)


_PRIVATE_FROM_VALUE: dict[KeyKind, Callable[[KeySpec, bytes], PrivateKey]] = {
    KeyKind.EC: lambda spec, d: ec_private(spec.curve, d),
    **dict.fromkeys(EDWARDS_SIZES, _edwards),
    **dict.fromkeys(GOST_SIZES, _gost),
    KeyKind.ML_DSA: lambda spec, seed: ml_dsa_private(spec.level, seed),
    KeyKind.ML_KEM: lambda spec, seed: ml_kem_private(spec.level, seed),
}


def _curve(fields: Mapping[int, bytes]) -> CurveChoice:
    """A curve by its object identifier, or by all its parameters.

    Raises FunctionNotSupported for one that this card does not have.
    """
    if fields.keys() == {_OID}:
        return CurveChoice(KeySpec.from_oid_der(tlv.encode(_OID, fields[_OID])))
    if fields.keys() != _CURVE:
        raise IncorrectData("not the parameters of a curve")
    given = {tag: value.lstrip(b"\0") for tag, value in fields.items()}
    for curve in CURVES.values():
        objects = curve_objects(curve)
        if all(given[tag] == value.lstrip(b"\0") for tag, value in objects.items()):
            return CurveChoice(curve.spec, fields[0x87])
    raise FunctionNotSupported("no such curve")


def parse_attributes(data: bytes | None) -> Attributes:
    """E2 { 80 usage, 81 policy }, both optional."""
    if data is None:
        return Attributes()
    fields = tlv.to_dict(tlv.parse(data))
    if fields.keys() - {0x80, 0x81} or any(len(value) != 1 for value in fields.values()):
        raise IncorrectData("not the attributes of a key")
    usage, policy = fields.get(0x80), fields.get(0x81, b"\0")[0]
    if (usage and usage[0] & ~_KNOWN_USAGE) or policy & ~_KNOWN_POLICY:
        raise IncorrectData("unknown usage or policy")
    return Attributes(Usage(usage[0]) if usage else None, KeyPolicy(policy))
