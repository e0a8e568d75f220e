"""Schemes: what an operation does with a key, with every parameter but the key and the data.

A scheme is checked against the key when it is used, not when it is made.
"""

from __future__ import annotations

from dataclasses import dataclass

from token_fw.crypto.digest import Hash


@dataclass(frozen=True, slots=True)
class RsaPkcs1:
    """RSAES/RSASSA-PKCS1-v1_5 (RFC 8017 7.2, 8.2).

    For signatures the data goes into the padding as it is, up to k - 11 bytes: the caller adds
    the DigestInfo. Decryption of a badly padded cryptogram gives random bytes of a length that
    depends on the cryptogram alone (implicit rejection), so that padding cannot be probed.
    """


@dataclass(frozen=True, slots=True)
class RsaRaw:
    """RSA without padding: RSASP1, RSAVP1, RSAEP and RSADP (RFC 8017 5) on numbers of k bytes.

    Data shorter than k bytes is a number with leading zeros; it has to be less than the modulus.
    """


@dataclass(frozen=True, slots=True)
class RsaPss:
    """RSASSA-PSS (RFC 8017 8.1) over a digest made with `hash`; the salt's length in bytes."""

    hash: Hash
    mgf_hash: Hash
    salt_length: int


@dataclass(frozen=True, slots=True)
class RsaOaep:
    """RSAES-OAEP (RFC 8017 7.1) with any two hash functions."""

    hash: Hash
    mgf_hash: Hash
    label: bytes = b""


@dataclass(frozen=True, slots=True)
class Ecdsa:
    """ECDSA over a digest of 1 byte or more (FIPS 186-5 6.4): its leftmost bits count.

    The signature is r || s, each as long as the order (32, 48 or 66 bytes); with `der`, which is
    for signing only, the SEQUENCE of r and s (RFC 3279 2.2.3).
    """

    der: bool = False


@dataclass(frozen=True, slots=True)
class EdDsa:
    """Pure Ed25519 or Ed448 over the message, without a context (RFC 8032 5.1, 5.2).

    The signature has 64 or 114 bytes.
    """


@dataclass(frozen=True, slots=True)
class MlDsa:
    """Pure, hedged ML-DSA over the message (FIPS 204 5.2) with a context of 0 to 255 bytes.

    The signature has 2420, 3309 or 4627 bytes.
    """

    context: bytes = b""


@dataclass(frozen=True, slots=True)
class Gost3410:
    """GOST R 34.10-2012 over a Streebog digest as long as the key's numbers (RFC 7091 6).

    The signature is s || r, each big-endian and as long as the digest, 32 or 64 bytes.
    `deterministic`, which is for signing only, derives k from the key and the digest as RFC 6979
    3.2 does, with HMAC over Streebog.
    """

    deterministic: bool = False


@dataclass(frozen=True, slots=True)
class Vko:
    """Agreement of GOST R 34.10-2012 (RFC 7836 4.3) on a key of `size` bytes, 32 or 64.

    `ukm` is a number, little-endian, not zero and no longer than the keys' numbers.
    """

    ukm: bytes
    size: int = 32


@dataclass(frozen=True, slots=True)
class Ecb:
    """Electronic codebook (SP 800-38A 6.1) over whole blocks."""


@dataclass(frozen=True, slots=True)
class Cbc:
    """Cipher block chaining (SP 800-38A 6.2); `iv` is one block.

    Of Kuznyechik and Magma it is a register of one block or more (GOST R 34.13-2015 5.4).
    `padded`: with the padding of RFC 5652 6.3 (PKCS #7), else over whole blocks.
    """

    iv: bytes
    padded: bool = False


@dataclass(frozen=True, slots=True)
class Ctr:
    """Counter mode (SP 800-38A 6.5) of AES from a first counter block of 16 bytes.

    The last `bits` bits (1 to 128) count, modulo 2**bits; the bits before them stay.
    """

    block: bytes
    bits: int


@dataclass(frozen=True, slots=True)
class Gcm:
    """Galois/counter mode (SP 800-38D) of AES: the ciphertext, then `tag_size` bytes of tag.

    `iv` of 8 to 128 bytes, a tag of 4, 8 or 12 to 16 bytes (5.2.1.2).
    """

    iv: bytes
    aad: bytes = b""
    tag_size: int = 16


@dataclass(frozen=True, slots=True)
class KeyWrap:
    """AES key wrap (RFC 3394, SP 800-38F 6.2) of 16 bytes or more in multiples of 8.

    The result is 8 bytes longer.
    """


@dataclass(frozen=True, slots=True)
class KeyWrapPadded:
    """AES key wrap with padding (RFC 5649, SP 800-38F 6.3) of 1 byte or more.

    The result is the data filled up to a multiple of 8, and 8 bytes more.
    """


@dataclass(frozen=True, slots=True)
class CtrAcpkm:
    """CTR-ACPKM (R 1323565.1.017-2018 4.1, RFC 8645 6.2.2) of Kuznyechik and Magma.

    `iv` has half a block. The key changes after each `section` bytes, whole blocks; with 0 it
    never does, which is the counter mode of GOST R 34.13-2015 5.2.
    """

    iv: bytes
    section: int = 0


@dataclass(frozen=True, slots=True)
class Mgm:
    """Multilinear Galois mode (RFC 9058, R 1323565.1.026-2019) of Kuznyechik and Magma.

    The ciphertext, then `tag_size` bytes of tag: 4 to a block, which is what 0 stands for. The
    nonce is a block whose first bit is 0. There has to be data or `aad`.
    """

    nonce: bytes
    aad: bytes = b""
    tag_size: int = 0


@dataclass(frozen=True, slots=True)
class KExp15:
    """KExp15 and KImp15 (R 1323565.1.017-2018 4.2, RFC 9189 8.2) of a twin key.

    `iv` has half a block. The result is one block longer than the data.
    """

    iv: bytes


@dataclass(frozen=True, slots=True)
class Hmac:
    """HMAC (FIPS 198-1) of a GENERIC key, cut to its first `size` bytes, 1 to the digest's."""

    hash: Hash
    size: int


@dataclass(frozen=True, slots=True)
class Cmac:
    """CMAC (SP 800-38B) of a block cipher, cut to its first `size` bytes, 1 to a block.

    GOST R 34.13-2015 5.6 has the same.
    """

    size: int


SignScheme = RsaPkcs1 | RsaRaw | RsaPss | Ecdsa | EdDsa | MlDsa | Gost3410
RecoverScheme = RsaPkcs1 | RsaRaw
CipherScheme = RsaPkcs1 | RsaRaw | RsaOaep
WrapScheme = KeyWrap | KeyWrapPadded | KExp15
SymmetricScheme = Ecb | Cbc | Ctr | CtrAcpkm | Gcm | Mgm | WrapScheme
MacScheme = Hmac | Cmac
Scheme = SignScheme | CipherScheme | SymmetricScheme | MacScheme | Vko
