"""Signature algorithms as X.509 and CMS name them: one table for who signs and who verifies."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from host_tools.pki.asn1 import algos, core
from host_tools.pki.errors import BadSignature, UnknownAlgorithm, UnknownKey, UnusableKey
from token_fw.crypto import (
    CryptoError,
    DataLength,
    Ecdsa,
    EdDsa,
    Gost3410,
    Hash,
    InvalidSignature,
    KeyKind,
    KeySpec,
    PublicKey,
    RsaPkcs1,
    RsaPss,
    SignScheme,
    Unsupported,
    digest,
    digest_info,
    load_public,
)


class MessageDigest(Protocol):
    """A digest in progress."""

    def update(self, data: bytes) -> None: ...

    def finish(self) -> bytes: ...


class _Shake256:
    """SHAKE256 with 64 bytes of output, as CMS takes it with Ed448 (RFC 8419 2.3)."""

    def __init__(self) -> None:
        self._state: Final = hashlib.shake_256()

    def update(self, data: bytes) -> None:
        self._state.update(data)

    def finish(self) -> bytes:
        return self._state.digest(64)


def new_digest(name: str) -> MessageDigest:
    """Start a digest by asn1crypto's name of it. Raises UnknownAlgorithm."""
    if name == "shake256":
        return _Shake256()
    return digest.new(_hash(name))


def digest_identifier(name: str) -> Any:
    """The DigestAlgorithm for it: NULL parameters with SHA-1 and SHA-2, else none.

    RFC 5754 2, RFC 8419 2, RFC 9215 3.
    """
    return algos.DigestAlgorithm({"algorithm": name})


def _hash(name: str) -> Hash:
    try:
        return Hash(name)
    except ValueError:
        raise UnknownAlgorithm(f"The hash function {name} is not supported.") from None


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    """How keys of some kinds sign a message.

    ``name`` is asn1crypto's. ``hash`` is None where the scheme takes the whole message; ``digest``
    names the digest of the content that CMS puts beside such a signature.
    """

    name: str
    kinds: frozenset[KeyKind]
    scheme: SignScheme
    hash: Hash | None
    digest: str
    weak: bool = field(default=False)
    """Whether it proves nothing any more: with SHA-1, which is there to read old signatures."""

    def identifier(self) -> Any:
        """The SignedDigestAlgorithm.

        RSA with PKCS #1 v1.5 has NULL parameters, all others but PSS have none (RFC 4055 5,
        RFC 5758 3.2, RFC 8410 3, RFC 9215 3).
        """
        made = algos.SignedDigestAlgorithm({"algorithm": self.name})
        if isinstance(self.scheme, RsaPkcs1):
            made["parameters"] = core.Null()
        elif isinstance(self.scheme, RsaPss):
            made["parameters"] = algos.RSASSAPSSParams(
                {
                    "hash_algorithm": {"algorithm": self.scheme.hash.value},
                    "mask_gen_algorithm": {
                        "algorithm": "mgf1",
                        "parameters": {"algorithm": self.scheme.mgf_hash.value},
                    },
                    "salt_length": self.scheme.salt_length,
                }
            )
        return made

    def to_be_signed(self, message: bytes) -> bytes:
        """What the scheme takes: the message, its digest, or a DigestInfo with that."""
        if self.hash is None:
            return message
        value = digest.compute(self.hash, message)
        return digest_info(self.hash, value) if isinstance(self.scheme, RsaPkcs1) else value

    def encode(self, raw: bytes) -> bytes:
        """A signature of the scheme as X.509 has it: ECDSA in DER (RFC 3279 2.2.3)."""
        if isinstance(self.scheme, Ecdsa):
            return bytes(algos.DSASignature.from_p1363(raw).dump())
        return raw

    def verify(self, key: PublicKey, message: bytes, signature: bytes) -> None:
        """Check a signature in the form of X.509. Raises BadSignature or UnknownAlgorithm."""
        if key.spec.kind not in self.kinds:
            raise UnknownAlgorithm(
                f"A key of type {key.spec} does not sign by the algorithm {self.name}."
            )
        try:
            key.verify(self.scheme, self.to_be_signed(message), self._decoded(key, signature))
        except (InvalidSignature, DataLength) as error:
            raise BadSignature("The signature is wrong.") from error
        except CryptoError as error:
            raise UnknownAlgorithm(f"The signature cannot be checked: {error}.") from error

    def _decoded(self, key: PublicKey, signature: bytes) -> bytes:
        if not isinstance(self.scheme, Ecdsa):
            return signature
        size = (_CURVE_BITS[key.spec.curve] + 7) // 8
        try:
            parsed = algos.DSASignature.load(signature, strict=True)
            r, s = int(parsed["r"]), int(parsed["s"])
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        except (ValueError, TypeError, OverflowError) as error:
            raise BadSignature("The signature is wrong.") from error


_CURVE_BITS: Final = {"P-192": 192, "P-256": 256, "P-384": 384, "P-521": 521}
_CURVE_HASHES: Final = {
    "P-192": Hash.SHA256,
    "P-256": Hash.SHA256,
    "P-384": Hash.SHA384,
    "P-521": Hash.SHA512,
}
_SHA: Final = (Hash.SHA1, Hash.SHA224, Hash.SHA256, Hash.SHA384, Hash.SHA512)


def _hashing(name: str, kind: KeyKind, scheme: SignScheme, hash_: Hash) -> SignatureAlgorithm:
    weak = hash_ is Hash.SHA1
    return SignatureAlgorithm(name, frozenset({kind}), scheme, hash_, hash_.value, weak)


def _whole(name: str, kind: KeyKind, digest_name: str) -> SignatureAlgorithm:
    return SignatureAlgorithm(name, frozenset({kind}), EdDsa(), None, digest_name)


ALGORITHMS: Final = {
    algorithm.name: algorithm
    for algorithm in (
        *(_hashing(f"{one}_rsa", KeyKind.RSA, RsaPkcs1(), one) for one in _SHA),
        *(_hashing(f"{one}_ecdsa", KeyKind.EC, Ecdsa(), one) for one in _SHA),
        _whole("ed25519", KeyKind.ED25519, "sha512"),
        _whole("ed448", KeyKind.ED448, "shake256"),
        _hashing("streebog256_gostr3410", KeyKind.GOST_256, Gost3410(), Hash.STREEBOG256),
        _hashing("streebog512_gostr3410", KeyKind.GOST_512, Gost3410(), Hash.STREEBOG512),
    )
}
"""By asn1crypto's name; PSS, which has parameters, is not among them."""

_OF_KINDS: Final = {
    KeyKind.RSA: "sha256_rsa",
    KeyKind.ED25519: "ed25519",
    KeyKind.ED448: "ed448",
    KeyKind.GOST_256: "streebog256_gostr3410",
    KeyKind.GOST_512: "streebog512_gostr3410",
}
SIGNING_SPECS: Final = {
    str(spec): spec
    for spec in (
        *map(KeySpec.rsa, (2048, 3072, 4096)),
        *map(KeySpec.ec, ("P-256", "P-384", "P-521")),
        KeySpec.ED25519,
        KeySpec.ED448,
        *(KeySpec.gost(f"tc26-256-{letter}") for letter in "ABCD"),
        *(KeySpec.gost(f"tc26-512-{letter}") for letter in "ABC"),
        *(KeySpec.gost(f"CryptoPro-{name}") for name in ("A", "B", "C", "XchA", "XchB")),
    )
}
"""The kinds of key that are made to sign with, by their names."""

# Where CMS names only the key's kind, the digest beside it makes the whole (RFC 5652 5.3).
_WITH_DIGEST: Final = {
    "rsassa_pkcs1v15": "{}_rsa",
    "ecdsa": "{}_ecdsa",
    "gostr3410_2012_256": "{}_gostr3410",
    "gostr3410_2012_512": "{}_gostr3410",
}


def signing(spec: KeySpec) -> SignatureAlgorithm:
    """What a key of that kind signs with. Raises UnusableKey where it does not sign.

    RSA with SHA-256; ECDSA with the hash as long as the curve's numbers.
    """
    if spec.kind is KeyKind.EC:
        return ALGORITHMS[f"{_CURVE_HASHES[spec.curve]}_ecdsa"]
    if spec.kind not in _OF_KINDS:
        raise UnusableKey(f"A key of type {spec} cannot sign.")
    return ALGORITHMS[_OF_KINDS[spec.kind]]


def named(identifier: Any, digest_name: str = "") -> SignatureAlgorithm:
    """The algorithm of a SignedDigestAlgorithm.

    ``digest_name`` is that of CMS's digestAlgorithm, for identifiers that leave the hash to it.
    Raises UnknownAlgorithm.
    """
    name = str(identifier["algorithm"].native)
    if name == "rsassa_pss":
        return _pss(identifier["parameters"])
    found = ALGORITHMS.get(_WITH_DIGEST.get(name, name).format(digest_name))
    if found is None:
        shown = " with ".join(filter(None, (name, digest_name)))
        raise UnknownAlgorithm(f"The signature algorithm {shown} is not supported.")
    return found


def _pss(parameters: Any) -> SignatureAlgorithm:
    """PSS by its parameters (RFC 4055 3.1)."""
    try:
        hash_ = _hash(str(parameters["hash_algorithm"]["algorithm"].native))
        mask = parameters["mask_gen_algorithm"]
        mgf_hash = _hash(str(mask["parameters"]["algorithm"].native))
        salt = int(parameters["salt_length"])
    except (ValueError, TypeError, KeyError) as error:
        raise UnknownAlgorithm("The parameters of the PSS signature are damaged.") from error
    return _hashing("rsassa_pss", KeyKind.RSA, RsaPss(hash_, mgf_hash, salt), hash_)


def load_key(spki: bytes) -> PublicKey:
    """A DER SubjectPublicKeyInfo. Raises UnusableKey."""
    try:
        return load_public(spki)
    except Unsupported as error:
        raise UnknownKey(f"The public key cannot be used: {error}.") from error
    except CryptoError as error:
        raise UnusableKey(f"The public key cannot be used: {error}.") from error


def check_key(spki: bytes) -> None:
    """Raises UnusableKey for a damaged key (DER), such as a point that is not on its curve.

    Keys of unknown kinds pass: nobody can tell here.
    """
    with suppress(UnknownKey):
        load_key(spki)


# 112 bits of security, which OpenSSL's level 2, NIST SP 800-131A and browsers ask for.
_SHORTEST: Final = {KeyKind.RSA: 2048, KeyKind.EC: 224}


def weakness(key: PublicKey) -> str:
    """Why signatures by a key prove nothing, whatever their algorithm, in a sentence; or ""."""
    size = key.spec.bits or _CURVE_BITS.get(key.spec.curve, 0)
    if size >= _SHORTEST.get(key.spec.kind, 0):
        return ""
    return f"Signatures by a key as short as {key.spec} prove nothing any more."


def normalized(spki: bytes) -> bytes:
    """A SubjectPublicKeyInfo (DER) as we write it, so that two of one key are the same.

    That of an unknown kind stays as it is.
    """
    try:
        return load_key(spki).to_spki()
    except UnusableKey:
        return spki


def verify(
    spki: bytes, identifier: Any, message: bytes, signature: bytes, digest_name: str = ""
) -> None:
    """Check a signature by the SubjectPublicKeyInfo (DER) of its maker.

    The identifier and the name of the digest are those of :func:`named`. Raises BadSignature,
    UnknownAlgorithm or UnusableKey.
    """
    named(identifier, digest_name).verify(load_key(spki), message, signature)
