"""RSA (RFC 8017): signatures and decryption with PKCS #1 v1.5, PSS, OAEP and without padding."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import cast

from cryptography import exceptions
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.asymmetric import rsa as native

from token_fw.crypto import keys, oaep
from token_fw.crypto.digest import Hash, algorithm
from token_fw.crypto.errors import (
    DataLength,
    DecryptionFailed,
    InvalidKey,
    InvalidSignature,
    Unsupported,
)
from token_fw.crypto.keys import Algorithm, PrivateKey, PublicKey
from token_fw.crypto.kinds import KeyKind, KeySpec
from token_fw.crypto.rsa_raw import CrtKey
from token_fw.crypto.schemes import (
    CipherScheme,
    RecoverScheme,
    RsaOaep,
    RsaPkcs1,
    RsaPss,
    RsaRaw,
    SignScheme,
)

GENERATED_SIZES = (1024, 2048, 3072, 4096)
MIN_BITS, MAX_BITS = 1024, 8192
# Signatures of old certificates are still verified.
MIN_PUBLIC_BITS = 512
_PUBLIC_EXPONENT = 65537
_PKCS1_OVERHEAD = 11
_PKCS1 = padding.PKCS1v15()
_OAEP_HASHES = frozenset({Hash.SHA1, Hash.SHA224, Hash.SHA256, Hash.SHA384, Hash.SHA512})
# The library takes this in verify as well as in sign; its types know only of sign.
_AS_IS = cast("hashes.HashAlgorithm", utils.NoDigestInfo())


@lru_cache(maxsize=64)
def _pss(scheme: RsaPss) -> tuple[padding.PSS, utils.Prehashed]:
    mgf = padding.MGF1(algorithm(scheme.mgf_hash))
    return padding.PSS(mgf, scheme.salt_length), utils.Prehashed(algorithm(scheme.hash))


@lru_cache(maxsize=64)
def _oaep(scheme: RsaOaep) -> padding.OAEP:
    mgf = padding.MGF1(algorithm(scheme.mgf_hash))
    return padding.OAEP(mgf, algorithm(scheme.hash), scheme.label or None)


def _is_native(scheme: RsaOaep) -> bool:
    """Whether the library has OAEP with these hash functions."""
    return {scheme.hash, scheme.mgf_hash} <= _OAEP_HASHES


def _check_pss_length(scheme: RsaPss, data: bytes, bits: int) -> None:
    """Check the digest's and the salt's length (RFC 8017 9.1.1)."""
    if len(data) != scheme.hash.size:
        raise DataLength(f"PSS with {scheme.hash.name} signs {scheme.hash.size} bytes")
    encoded_length = (bits - 1 + 7) // 8
    if not 0 <= scheme.salt_length <= encoded_length - scheme.hash.size - 2:
        raise DataLength("the PSS salt does not fit the key")


class _RsaKey(keys.Key):
    __slots__ = ()

    @property
    def size(self) -> int:
        """The modulus' length in bytes: k of RFC 8017."""
        return (self.spec.bits + 7) // 8

    def _check_pkcs1_length(self, data: bytes) -> None:
        if len(data) > self.size - _PKCS1_OVERHEAD:
            raise DataLength(f"at most {self.size - _PKCS1_OVERHEAD} bytes fit the key")

    def _check_oaep_length(self, scheme: RsaOaep, data: bytes) -> None:
        if len(data) > self.size - 2 * scheme.hash.size - 2:
            raise DataLength("the data is too long for OAEP with this key")

    def _number(self, data: bytes, modulus: int) -> int:
        """OS2IP of up to k bytes below the modulus (RFC 8017 4.2, 5)."""
        number = int.from_bytes(data, "big")
        if len(data) > self.size or number >= modulus:
            raise DataLength("the number is not below the modulus")
        return number


class RsaPublicKey(_RsaKey, PublicKey):
    """A public RSA key of 512 to 8192 bits."""

    __slots__ = ("_native", "_spec")

    def __init__(self, key: native.RSAPublicKey) -> None:
        self._native = key
        self._spec = _checked_spec(key.key_size, MIN_PUBLIC_BITS)
        if key.public_numbers().n % 2 == 0:
            raise InvalidKey("the RSA modulus is even")

    @property
    def spec(self) -> KeySpec:
        return self._spec

    @property
    def modulus(self) -> bytes:
        """n, big-endian without leading zeros."""
        return _to_bytes(self._native.public_numbers().n)

    @property
    def exponent(self) -> bytes:
        """e, big-endian without leading zeros."""
        return _to_bytes(self._native.public_numbers().e)

    def to_spki(self) -> bytes:
        return keys.to_spki(self._native)

    def verify(self, scheme: SignScheme, data: bytes, signature: bytes) -> None:
        try:
            if isinstance(scheme, RsaPkcs1):
                self._check_pkcs1_length(data)
                self._verify_pkcs1(data, signature)
            elif isinstance(scheme, RsaPss):
                _check_pss_length(scheme, data, self.spec.bits)
                pss, prehashed = _pss(scheme)
                self._native.verify(signature, data, pss, prehashed)
            elif isinstance(scheme, RsaRaw):
                self._verify_raw(data, signature)
            else:
                raise self.cannot("verify", scheme)
        except (exceptions.InvalidSignature, ValueError):
            raise InvalidSignature("the RSA signature is not valid") from None
        except exceptions.UnsupportedAlgorithm:
            raise Unsupported("the hash functions of the scheme are not supported") from None

    def _verify_pkcs1(self, data: bytes, signature: bytes) -> None:
        if data or len(signature) != self.size:
            self._native.verify(signature, data, _PKCS1, _AS_IS)
        # The library takes no signature of empty data for one, and yet makes them.
        elif self._native.recover_data_from_signature(signature, _PKCS1, None):
            raise exceptions.InvalidSignature

    def _verify_raw(self, data: bytes, signature: bytes) -> None:
        expected = self._number(data, self._native.public_numbers().n)
        try:
            proven = len(signature) == self.size and self._power(signature) == expected
        except DataLength:
            proven = False
        if not proven:
            raise InvalidSignature("the RSA signature is not valid")

    def encrypt(self, scheme: CipherScheme, data: bytes) -> bytes:
        if isinstance(scheme, RsaPkcs1):
            self._check_pkcs1_length(data)
            return self._native.encrypt(data, _PKCS1)
        if isinstance(scheme, RsaOaep):
            self._check_oaep_length(scheme, data)
            if _is_native(scheme):
                return self._native.encrypt(data, _oaep(scheme))
            return self._power(oaep.encode(scheme, data, self.size)).to_bytes(self.size, "big")
        if isinstance(scheme, RsaRaw):
            return self._power(data).to_bytes(self.size, "big")
        raise self.cannot("encrypt", scheme)

    def recover(self, scheme: RecoverScheme, signature: bytes) -> bytes:
        if len(signature) != self.size:
            raise DataLength(f"a signature of this key has {self.size} bytes")
        try:
            if isinstance(scheme, RsaPkcs1):
                return self._native.recover_data_from_signature(signature, _PKCS1, None)
            if isinstance(scheme, RsaRaw):
                return self._power(signature).to_bytes(self.size, "big")
        except (exceptions.InvalidSignature, ValueError, DataLength):
            raise InvalidSignature("the RSA signature is not valid") from None
        raise self.cannot("recover data", scheme)

    def _power(self, data: bytes) -> int:
        """RSAEP (RFC 8017 5.1.1). Raises DataLength."""
        numbers = self._native.public_numbers()
        return pow(self._number(data, numbers.n), numbers.e, numbers.n)


class RsaPrivateKey(_RsaKey, PrivateKey):
    """A private RSA key of 1024 to 8192 bits with two primes.

    RsaRaw, and OAEP with SHA-3 that is built on it (see `rsa_raw`), is some thirty times as slow
    as the rest, holds up other threads meanwhile, and is not in constant time.
    """

    __slots__ = ("_crt", "_native", "_spec")

    def __init__(self, key: native.RSAPrivateKey) -> None:
        self._native = key
        self._crt: CrtKey | None = None
        self._spec = _checked_spec(key.key_size)

    @property
    def spec(self) -> KeySpec:
        return self._spec

    def public(self) -> RsaPublicKey:
        return RsaPublicKey(self._native.public_key())

    def primes(self) -> tuple[bytes, bytes]:
        """Give both primes, big-endian."""
        numbers = self._native.private_numbers()
        return _to_bytes(numbers.p), _to_bytes(numbers.q)

    def to_pkcs8(self) -> bytes:
        return keys.to_pkcs8(self._native)

    def sign(self, scheme: SignScheme, data: bytes) -> bytes:
        try:
            if isinstance(scheme, RsaPkcs1):
                self._check_pkcs1_length(data)
                return self._native.sign(data, _PKCS1, _AS_IS)
            if isinstance(scheme, RsaPss):
                _check_pss_length(scheme, data, self.spec.bits)
                pss, prehashed = _pss(scheme)
                return self._native.sign(data, pss, prehashed)
        except exceptions.UnsupportedAlgorithm:
            raise Unsupported("the hash functions of the scheme are not supported") from None
        if isinstance(scheme, RsaRaw):
            return self._power(data)
        raise self.cannot("sign", scheme)

    def decrypt(self, scheme: CipherScheme, data: bytes) -> bytes:
        if isinstance(scheme, RsaRaw):
            return self._power(data)
        if not isinstance(scheme, RsaPkcs1 | RsaOaep):
            raise self.cannot("decrypt", scheme)
        if len(data) != self.size:
            raise DataLength(f"a cryptogram for this key has {self.size} bytes")
        try:
            if isinstance(scheme, RsaPkcs1):
                return self._native.decrypt(data, _PKCS1)
            if _is_native(scheme):
                return self._native.decrypt(data, _oaep(scheme))
            return oaep.decode(scheme, self._power(data))
        except (ValueError, DataLength):
            # Every cause reads alike: a difference would help whoever probes the padding.
            raise DecryptionFailed("the cryptogram could not be decrypted") from None

    def _power(self, data: bytes) -> bytes:
        """RSADP and RSASP1 (RFC 8017 5.1.2, 5.2.1). Raises DataLength."""
        crt = self._crt
        if crt is None:
            numbers = self._native.private_numbers()
            n, e = numbers.public_numbers.n, numbers.public_numbers.e
            crt = CrtKey(n, e, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
            self._crt = crt
        return crt.power(self._number(data, crt.n)).to_bytes(self.size, "big")


def rsa_private(
    p: bytes, q: bytes, dp: bytes, dq: bytes, qinv: bytes, *, e: bytes | None = None
) -> RsaPrivateKey:
    """Make a key from its CRT numbers (RFC 8017 3.2), each big-endian.

    The public exponent follows from dp where it is not given. Primality and consistency are
    checked. Raises InvalidKey, or Unsupported for a size outside 1024 to 8192 bits.
    """
    prime_p, prime_q, exponent_p, exponent_q = (int.from_bytes(x, "big") for x in (p, q, dp, dq))
    _checked_spec((prime_p * prime_q).bit_length())
    try:
        exponent = int.from_bytes(e, "big") if e is not None else pow(exponent_p, -1, prime_p - 1)
        d = pow(exponent, -1, math.lcm(prime_p - 1, prime_q - 1))
        public = native.RSAPublicNumbers(exponent, prime_p * prime_q)
        numbers = native.RSAPrivateNumbers(
            prime_p, prime_q, d, exponent_p, exponent_q, int.from_bytes(qinv, "big"), public
        )
        return RsaPrivateKey(numbers.private_key())
    except ValueError:
        raise InvalidKey("the RSA numbers do not belong together") from None


def rsa_of_primes(p: bytes, q: bytes) -> RsaPrivateKey:
    """Make a key with the exponent 65537 from its primes, big-endian.

    Only for what this program itself kept authentic: that they are prime is not proven. Raises
    InvalidKey or Unsupported.
    """
    first, second = int.from_bytes(p, "big"), int.from_bytes(q, "big")
    _checked_spec((first * second).bit_length())
    try:
        d = pow(_PUBLIC_EXPONENT, -1, math.lcm(first - 1, second - 1))
        public = native.RSAPublicNumbers(_PUBLIC_EXPONENT, first * second)
        numbers = native.RSAPrivateNumbers(
            first, second, d, d % (first - 1), d % (second - 1), pow(second, -1, first), public
        )
        return RsaPrivateKey(numbers.private_key(unsafe_skip_rsa_key_validation=True))
    except ValueError:
        raise InvalidKey("the RSA numbers do not belong together") from None


def rsa_primes(n: bytes, e: bytes, d: bytes) -> tuple[bytes, bytes]:
    """The primes of a key from its modulus and exponents (SP 800-56B C), all big-endian.

    Raises InvalidKey, or Unsupported for a size outside 1024 to 8192 bits.
    """
    modulus, public, private = (int.from_bytes(x, "big") for x in (n, e, d))
    _checked_spec(modulus.bit_length())
    # The search for primes that are not there would take seconds.
    if modulus % 2 == 0 or pow(pow(2, public, modulus), private, modulus) != 2:
        raise InvalidKey("the RSA numbers do not belong together")
    try:
        p, q = native.rsa_recover_prime_factors(modulus, public, private)
    except ValueError:
        raise InvalidKey("the RSA numbers do not belong together") from None
    return _to_bytes(p), _to_bytes(q)


def rsa_public(n: bytes, e: bytes) -> RsaPublicKey:
    """Make a key from modulus and exponent, big-endian. Raises InvalidKey or Unsupported."""
    numbers = native.RSAPublicNumbers(int.from_bytes(e, "big"), int.from_bytes(n, "big"))
    try:
        return RsaPublicKey(numbers.public_key())
    except ValueError:
        raise InvalidKey("the RSA public key is not valid") from None


def _checked_spec(bits: int, least: int = MIN_BITS) -> KeySpec:
    if not least <= bits <= MAX_BITS:
        raise Unsupported(f"such RSA keys have {least} to {MAX_BITS} bits, not {bits}")
    return KeySpec.rsa(bits)


def _to_bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _generate(spec: KeySpec) -> RsaPrivateKey:
    if spec.bits not in GENERATED_SIZES:
        raise Unsupported(f"RSA keys of {spec.bits} bits are not generated")
    return RsaPrivateKey(native.generate_private_key(_PUBLIC_EXPONENT, spec.bits))


keys.register(
    Algorithm(
        kind=KeyKind.RSA,
        native_private=native.RSAPrivateKey,
        native_public=native.RSAPublicKey,
        generate=_generate,
        wrap_private=RsaPrivateKey,
        wrap_public=RsaPublicKey,
    )
)
