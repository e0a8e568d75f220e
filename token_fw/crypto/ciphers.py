"""AES and triple DES with their modes in progress (SP 800-38A, -38D, -38F), for `SecretKey`.

What a scheme asks of the key and its parameters is checked when the cipher starts; the data's
length as it comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.ciphers import (
    AEADEncryptionContext,
    BlockCipherAlgorithm,
    Cipher,
    CipherContext,
    modes,
)
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from token_fw.crypto.errors import DataLength, DecryptionFailed
from token_fw.crypto.running import BlockCipher, Blocks, Gathered, Running, padded
from token_fw.crypto.schemes import Cbc, Ctr, Ecb, Gcm, KeyWrap, KeyWrapPadded

GCM_IV_SIZES: Final = range(8, 129)
GCM_TAG_SIZES: Final = frozenset({4, 8, 12, 13, 14, 15, 16})
_AES_BLOCK: Final = 16
_ECB: Final = modes.ECB()  # noqa: S305  PKCS#11 has it


class _Counter(Running):
    """Counter mode whose counter is narrower than a block: it wraps without touching the rest."""

    __slots__ = ("_algorithm", "_context", "_left", "_origin", "_until_wrap")

    def __init__(self, algorithm: AES, scheme: Ctr) -> None:
        first, blocks = int.from_bytes(scheme.block, "big"), 1 << scheme.bits
        self._algorithm = algorithm
        self._origin = (first & ~(blocks - 1)).to_bytes(_AES_BLOCK, "big")
        self._left = _AES_BLOCK * blocks
        self._until_wrap = _AES_BLOCK * (blocks - first % blocks)
        self._context = self._start(scheme.block)

    def _start(self, block: bytes) -> CipherContext:
        return Cipher(self._algorithm, modes.CTR(block)).encryptor()

    def update(self, data: bytes) -> bytes:
        if len(data) > self._left:
            raise DataLength("the counter would come to a value a second time")
        self._left -= len(data)
        if len(data) <= self._until_wrap:
            self._until_wrap -= len(data)
            return self._context.update(data)
        head = self._context.update(data[: self._until_wrap])
        rest = data[self._until_wrap :]
        self._context = self._start(self._origin)
        # Once only: a second wrap would come after the last value is used up.
        self._until_wrap = self._left
        return head + self._context.update(rest)

    def finish(self) -> bytes:
        return b""


class _GcmEncryption(Running):
    __slots__ = ("_context", "_tag_size")

    def __init__(self, context: AEADEncryptionContext, scheme: Gcm) -> None:
        self._context = context
        self._context.authenticate_additional_data(scheme.aad)
        self._tag_size = scheme.tag_size

    def update(self, data: bytes) -> bytes:
        return self._context.update(data)

    def finish(self) -> bytes:
        return self._context.finalize() + self._context.tag[: self._tag_size]


def _blocks(
    algorithm: BlockCipherAlgorithm, mode: modes.ECB | modes.CBC, encrypts: bool
) -> CipherContext:
    cipher = Cipher(algorithm, mode)
    return cipher.encryptor() if encrypts else cipher.decryptor()


def _ecb(algorithm: BlockCipherAlgorithm, _: Ecb, encrypts: bool) -> Running:
    return Blocks(_blocks(algorithm, _ECB, encrypts))


def _cbc(algorithm: BlockCipherAlgorithm, scheme: Cbc, encrypts: bool) -> Running:
    if 8 * len(scheme.iv) != algorithm.block_size:
        raise DataLength(f"the IV has {algorithm.block_size // 8} bytes")
    context = _blocks(algorithm, modes.CBC(scheme.iv), encrypts)
    if not scheme.padded:
        return Blocks(context)
    return padded(context, algorithm.block_size // 8, encrypts)


def _ctr(algorithm: AES, scheme: Ctr, _: bool) -> Running:
    if len(scheme.block) != _AES_BLOCK or not 1 <= scheme.bits <= 8 * _AES_BLOCK:
        raise DataLength("the counter block has 16 bytes, of which 1 to 128 bits count")
    return _Counter(algorithm, scheme)


def _gcm(algorithm: AES, scheme: Gcm, encrypts: bool) -> Running:
    if len(scheme.iv) not in GCM_IV_SIZES:
        raise DataLength(f"the IV has {GCM_IV_SIZES[0]} to {GCM_IV_SIZES[-1]} bytes")
    if scheme.tag_size not in GCM_TAG_SIZES:
        raise DataLength(f"a GCM tag of {scheme.tag_size} bytes is not supported")
    if encrypts:
        return _GcmEncryption(Cipher(algorithm, modes.GCM(scheme.iv)).encryptor(), scheme)
    return Gathered(lambda data: _gcm_decrypt(algorithm, scheme, data))


def _gcm_decrypt(algorithm: AES, scheme: Gcm, data: bytes) -> bytes:
    if len(data) < scheme.tag_size:
        raise DataLength("the cryptogram is shorter than its tag")
    body, tag = data[: -scheme.tag_size], data[-scheme.tag_size :]
    mode = modes.GCM(scheme.iv, tag, min_tag_length=scheme.tag_size)
    context = Cipher(algorithm, mode).decryptor()
    context.authenticate_additional_data(scheme.aad)
    plaintext = context.update(body)
    try:
        return plaintext + context.finalize()
    except InvalidTag:
        raise DecryptionFailed("the cryptogram could not be decrypted") from None


def _key_wrap(algorithm: AES, _: KeyWrap, encrypts: bool) -> Running:
    def wrap(data: bytes) -> bytes:
        if len(data) < 16 or len(data) % 8:
            raise DataLength("key wrap takes 16 bytes or more in multiples of 8")
        return keywrap.aes_key_wrap(algorithm.key, data)

    def unwrap(data: bytes) -> bytes:
        if len(data) < 24 or len(data) % 8:
            raise DataLength("a wrapped key has 24 bytes or more in multiples of 8")
        return _unwrapped(lambda: keywrap.aes_key_unwrap(algorithm.key, data))

    return Gathered(wrap if encrypts else unwrap)


def _key_wrap_padded(algorithm: AES, _: KeyWrapPadded, encrypts: bool) -> Running:
    def wrap(data: bytes) -> bytes:
        if not data:
            raise DataLength("there is nothing to wrap")
        return keywrap.aes_key_wrap_with_padding(algorithm.key, data)

    def unwrap(data: bytes) -> bytes:
        if len(data) < 16 or len(data) % 8:
            raise DataLength("a wrapped key has 16 bytes or more in multiples of 8")
        return _unwrapped(lambda: keywrap.aes_key_unwrap_with_padding(algorithm.key, data))

    return Gathered(wrap if encrypts else unwrap)


def _unwrapped(unwrap: Callable[[], bytes]) -> bytes:
    try:
        return unwrap()
    except keywrap.InvalidUnwrap:
        raise DecryptionFailed("the wrapped key could not be unwrapped") from None


def _triple_des(value: bytes) -> TripleDES:
    # Two keys are used as K1, K2, K1 (SP 800-67 3.1).
    return TripleDES((value + value)[:24])


AES_CIPHER: Final = BlockCipher(
    block_size=_AES_BLOCK,
    keyed=AES,
    starts={
        Ecb: _ecb,
        Cbc: _cbc,
        Ctr: _ctr,
        Gcm: _gcm,
        KeyWrap: _key_wrap,
        KeyWrapPadded: _key_wrap_padded,
    },
    cmac=CMAC,
)
DES3_CIPHER: Final = BlockCipher(
    block_size=8, keyed=_triple_des, starts={Ecb: _ecb, Cbc: _cbc}, cmac=CMAC
)
