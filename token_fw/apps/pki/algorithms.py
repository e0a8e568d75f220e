"""MSE SET: which key, which algorithm, with which parameters (ISO/IEC 7816-4:2013, 10.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from apdu import tlv
from apdu.codec import Command
from token_fw.apps.pki.keys import KINDS, MAX_REFERENCE
from token_fw.crypto import (
    Cbc,
    Cmac,
    Ctr,
    CtrAcpkm,
    Ecb,
    Ecdsa,
    EdDsa,
    Gcm,
    Gost3410,
    Hash,
    Hmac,
    KExp15,
    KeyKind,
    KeyWrap,
    KeyWrapPadded,
    Mgm,
    MlDsa,
    RsaOaep,
    RsaPkcs1,
    RsaPss,
    RsaRaw,
    Scheme,
    Vko,
)
from token_fw.errors import (
    ConditionsNotSatisfied,
    FunctionNotSupported,
    IncorrectData,
    WrongLength,
)

KEY_TEMPLATE, CHECKSUM_TEMPLATE = 0x00, 0xB4
SIGNATURE_TEMPLATE, CONFIDENTIALITY_TEMPLATE = 0xB6, 0xB8

HASHES = dict(
    enumerate(
        (
            Hash.SHA1,
            Hash.SHA224,
            Hash.SHA256,
            Hash.SHA384,
            Hash.SHA512,
            Hash.SHA3_224,
            Hash.SHA3_256,
            Hash.SHA3_384,
            Hash.SHA3_512,
        ),
        start=1,
    )
)
"""Hash functions by the number that C1 and C2 have for them."""
_HMAC_HASHES = HASHES | {0x0A: Hash.STREEBOG256, 0x0B: Hash.STREEBOG512}
_BY_DIGEST_SIZE = {
    hash_.size: RsaPss(hash_, hash_, hash_.size)
    for hash_ in (Hash.SHA1, Hash.SHA224, Hash.SHA256, Hash.SHA384, Hash.SHA512)
}
_KEY_REFERENCE = frozenset({0x83, 0x84})
_IGNORED = frozenset({0x81})

Parameters = Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """An algorithm reference: the kinds of key it takes, its parameters, and what they make."""

    kinds: frozenset[KeyKind]
    scheme: Callable[[Parameters], Scheme | None]
    parameters: frozenset[int] = frozenset()

    def check(self, kind: KeyKind) -> None:
        """Raises ConditionsNotSatisfied for a key of another kind."""
        if kind not in self.kinds:
            raise ConditionsNotSatisfied("the key is of another kind than the algorithm")


@dataclass(frozen=True, slots=True)
class Environment:
    """A choice: key reference, and either a kind of key (template 00) or an algorithm.

    `scheme` is None where the algorithm has none (ECDH, decapsulation), PSS is to follow the
    digest, or ECDSA the version of the client.
    """

    template: int
    reference: int
    kind: int | None = None
    algorithm: Algorithm | None = None
    scheme: Scheme | None = None


def pss_for(digest: bytes) -> RsaPss:
    """PSS with the hash that has digests of that length, as IsoApplet chooses it.

    Raises WrongLength for another length than 20, 28, 32, 48 or 64 bytes.
    """
    try:
        return _BY_DIGEST_SIZE[len(digest)]
    except KeyError:
        raise WrongLength("no hash has digests of that length") from None


def parse_mse(command: Command) -> Environment:
    """80 algorithm, 83 or 84 key reference of one or two bytes, and the algorithm's parameters."""
    fields = tlv.to_dict(tlv.parse(command.data))
    references = [fields[tag] for tag in _KEY_REFERENCE if tag in fields]
    if len(references) != 1 or not 1 <= len(references[0]) <= 2:
        raise IncorrectData("not one key reference of one or two bytes")
    reference = int.from_bytes(references[0], "big")
    if reference > MAX_REFERENCE:
        raise IncorrectData("the key reference is too large")
    code = fields.get(0x80)
    if code is not None and len(code) != 1:
        raise IncorrectData("an algorithm reference has one byte")
    given = fields.keys() - _KEY_REFERENCE - _IGNORED - {0x80}
    if command.p2 == KEY_TEMPLATE:
        if given:
            raise IncorrectData("a kind of key has no parameters")
        if code is not None and code[0] not in KINDS:
            raise FunctionNotSupported("no such kind of key")
        return Environment(command.p2, reference, kind=code[0] if code else None)
    if code is None:
        raise IncorrectData("the algorithm reference is missing")
    algorithm = _ALGORITHMS[command.p2].get(code[0])
    if algorithm is None:
        raise FunctionNotSupported("no such algorithm here")
    if given - algorithm.parameters:
        raise IncorrectData("the algorithm does not have these parameters")
    scheme = algorithm.scheme(fields)
    return Environment(command.p2, reference, algorithm=algorithm, scheme=scheme)


def _hash(fields: Parameters, tag: int, default: Hash, hashes: Mapping[int, Hash] = HASHES) -> Hash:
    value = fields.get(tag)
    if value is None:
        return default
    hash_ = hashes.get(int.from_bytes(value, "big")) if len(value) == 1 else None
    if hash_ is None:
        raise IncorrectData("no such hash")
    return hash_


def _number(fields: Parameters, tag: int, default: int | None = None) -> int:
    """A number of one byte, above zero; it has to be there unless there is a default."""
    value = fields.get(tag)
    if value is None and default is not None:
        return default
    if value is None or len(value) != 1 or not value[0]:
        raise IncorrectData("a parameter is missing, or it is not a number of one byte above zero")
    return value[0]


def _initial(fields: Parameters) -> bytes:
    """C6: the initial value, counter block or nonce."""
    value = fields.get(0xC6)
    if not value:
        raise IncorrectData("the initial value is missing")
    return value


def _pss(fields: Parameters) -> Scheme | None:
    """C1 hash, C2 hash of the mask (as C1), C3 salt length of two bytes (as the digest)."""
    if 0xC1 not in fields:
        if fields.keys() & {0xC2, 0xC3}:
            raise IncorrectData("PSS parameters without the hash")
        return None
    hash_ = _hash(fields, 0xC1, Hash.SHA1)
    salt = fields.get(0xC3)
    if salt is not None and len(salt) != 2:
        raise IncorrectData("a salt length has two bytes")
    length = hash_.size if salt is None else int.from_bytes(salt, "big")
    return RsaPss(hash_, _hash(fields, 0xC2, hash_), length)


def _oaep(fields: Parameters) -> Scheme | None:
    """C1 hash (SHA-1, RFC 8017 A.2.1), C2 hash of the mask (as C1), C4 label."""
    hash_ = _hash(fields, 0xC1, Hash.SHA1)
    return RsaOaep(hash_, _hash(fields, 0xC2, hash_), fields.get(0xC4, b""))


def _ml_dsa(fields: Parameters) -> Scheme | None:
    """C5 context, up to 255 bytes (FIPS 204, 5.2); empty where it is not given."""
    return MlDsa(fields.get(0xC5, b""))


def _vko(fields: Parameters) -> Scheme | None:
    """CA UKM, C9 length of the key (32)."""
    ukm = fields.get(0xCA)
    if not ukm:
        raise IncorrectData("the UKM is missing")
    return Vko(ukm, _number(fields, 0xC9, 32))


def _ctr(fields: Parameters) -> Scheme | None:
    """C6 first counter block, C7 how many of its last bits count."""
    return Ctr(_initial(fields), _number(fields, 0xC7))


def _gcm(fields: Parameters) -> Scheme | None:
    """C6 nonce, C8 additional data (none), C9 length of the tag (16)."""
    return Gcm(_initial(fields), fields.get(0xC8, b""), _number(fields, 0xC9, 16))


def _ctr_acpkm(fields: Parameters) -> Scheme | None:
    """C6 half a block, CB bytes of a section in up to 4 bytes (the key never changes)."""
    section = fields.get(0xCB, b"")
    if len(section) > 4:
        raise IncorrectData("the length of a section has at most 4 bytes")
    return CtrAcpkm(_initial(fields), int.from_bytes(section, "big"))


def _mgm(fields: Parameters) -> Scheme | None:
    """C6 nonce, C8 additional data (none), C9 length of the tag (a block)."""
    size = _number(fields, 0xC9) if 0xC9 in fields else 0
    return Mgm(_initial(fields), fields.get(0xC8, b""), size)


def _hmac(fields: Parameters) -> Scheme | None:
    """C1 hash, C9 length of the result (that of the digest)."""
    if 0xC1 not in fields:
        raise IncorrectData("the hash is missing")
    hash_ = _hash(fields, 0xC1, Hash.SHA1, _HMAC_HASHES)
    return Hmac(hash_, _number(fields, 0xC9, hash_.size))


def _fixed(scheme: Scheme | None) -> Callable[[Parameters], Scheme | None]:
    return lambda _: scheme


def _of(*kinds: KeyKind) -> frozenset[KeyKind]:
    return frozenset(kinds)


_RSA = _of(KeyKind.RSA)
_GOST = _of(KeyKind.GOST_256, KeyKind.GOST_512)
_AES = _of(KeyKind.AES)
_BLOCK = _of(KeyKind.AES, KeyKind.DES3, KeyKind.KUZNYECHIK, KeyKind.MAGMA)
_GOST_BLOCK = _of(KeyKind.KUZNYECHIK, KeyKind.MAGMA)
_TWIN = _of(KeyKind.KUZNYECHIK_TWIN, KeyKind.MAGMA_TWIN)
_IV = frozenset({0xC6})
_RSA_RAW = Algorithm(_RSA, _fixed(RsaRaw()))
_RSA_PKCS1 = Algorithm(_RSA, _fixed(RsaPkcs1()))
_ALGORITHMS: dict[int, dict[int, Algorithm]] = {
    SIGNATURE_TEMPLATE: {
        0x10: _RSA_RAW,
        0x11: _RSA_PKCS1,
        0x12: Algorithm(_RSA, _pss, frozenset({0xC1, 0xC2, 0xC3})),
        0x20: Algorithm(_of(KeyKind.EC), _fixed(Ecdsa(der=True))),
        0x21: Algorithm(_of(KeyKind.EC), _fixed(None)),
        0x22: Algorithm(_of(KeyKind.ED25519, KeyKind.ED448), _fixed(EdDsa())),
        0x23: Algorithm(_of(KeyKind.ML_DSA), _ml_dsa, frozenset({0xC5})),
        0x24: Algorithm(_GOST, _fixed(Gost3410())),
    },
    CONFIDENTIALITY_TEMPLATE: {
        0x10: _RSA_RAW,
        0x11: _RSA_PKCS1,
        0x13: Algorithm(_RSA, _oaep, frozenset({0xC1, 0xC2, 0xC4})),
        0x31: Algorithm(_of(KeyKind.EC, KeyKind.X25519, KeyKind.X448), _fixed(None)),
        0x32: Algorithm(_of(KeyKind.ML_KEM), _fixed(None)),
        0x33: Algorithm(_GOST, _vko, frozenset({0xC9, 0xCA})),
        0x41: Algorithm(_BLOCK, _fixed(Ecb())),
        0x42: Algorithm(_BLOCK, lambda fields: Cbc(_initial(fields)), _IV),
        0x43: Algorithm(_BLOCK, lambda fields: Cbc(_initial(fields), padded=True), _IV),
        0x44: Algorithm(_AES, _ctr, frozenset({0xC6, 0xC7})),
        0x45: Algorithm(_AES, _gcm, frozenset({0xC6, 0xC8, 0xC9})),
        0x46: Algorithm(_AES, _fixed(KeyWrap())),
        0x47: Algorithm(_AES, _fixed(KeyWrapPadded())),
        0x48: Algorithm(_GOST_BLOCK, _ctr_acpkm, frozenset({0xC6, 0xCB})),
        0x49: Algorithm(_GOST_BLOCK, _mgm, frozenset({0xC6, 0xC8, 0xC9})),
        0x4A: Algorithm(_TWIN, lambda fields: KExp15(_initial(fields)), _IV),
    },
    CHECKSUM_TEMPLATE: {
        0x51: Algorithm(_of(KeyKind.GENERIC), _hmac, frozenset({0xC1, 0xC9})),
        0x52: Algorithm(_BLOCK, lambda fields: Cmac(_number(fields, 0xC9)), frozenset({0xC9})),
    },
}
