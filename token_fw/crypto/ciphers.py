"""Block cipher modes in progress (SP 800-38A, -38D, -38F), for `SecretKey`.

What a scheme asks of the key and its parameters is checked when the cipher starts; the data's
length as it comes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.ciphers import (
    AEADEncryptionContext,
    BlockCipherAlgorithm,
    Cipher,
    CipherContext,
    modes,
)
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.padding import PKCS7, PaddingContext

from token_fw.crypto.errors import DataLength, DecryptionFailed
from token_fw.crypto.schemes import Cbc, Ctr, Ecb, Gcm, KeyWrap, KeyWrapPadded, SymmetricScheme

GCM_IV_SIZES: Final = range(8, 129)
GCM_TAG_SIZES: Final = frozenset({4, 8, 12, 13, 14, 15, 16})
_AES_BLOCK: Final = 16
_ECB: Final = modes.ECB()  # noqa: S305  PKCS#11 has it


class Running(ABC):
    """An encryption or decryption in progress. After `finish` or an error it is over."""

    __slots__ = ()

    @abstractmethod
    def update(self, data: bytes) -> bytes:
        """Take data of any length and give what of the result is ready. Raises DataLength."""

    @abstractmethod
    def finish(self) -> bytes:
        """Give the rest of the result. Raises DataLength or DecryptionFailed."""


class _Blocks(Running):
    """ECB or CBC over whole blocks."""

    __slots__ = ("_context",)

    def __init__(self, context: CipherContext) -> None:
        self._context = context

    def update(self, data: bytes) -> bytes:
        return self._context.update(data)

    def finish(self) -> bytes:
        try:
            return self._context.finalize()
        except ValueError:
            raise DataLength("the data is not a multiple of the block") from None


class _Padding(Running):
    """Encryption of padded data."""

    __slots__ = ("_context", "_padder")

    def __init__(self, context: CipherContext, padder: PaddingContext) -> None:
        self._context = context
        self._padder = padder

    def update(self, data: bytes) -> bytes:
        return self._context.update(self._padder.update(data))

    def finish(self) -> bytes:
        return self._context.update(self._padder.finalize()) + self._context.finalize()


class _Unpadding(Running):
    """Decryption of padded data; the last block is held back until `finish`."""

    __slots__ = ("_context", "_empty", "_unpadder")

    def __init__(self, context: CipherContext, unpadder: PaddingContext) -> None:
        self._context = context
        self._unpadder = unpadder
        self._empty = True

    def update(self, data: bytes) -> bytes:
        self._empty = self._empty and not data
        return self._unpadder.update(self._context.update(data))

    def finish(self) -> bytes:
        try:
            rest = self._unpadder.update(self._context.finalize())
        except ValueError:
            raise DataLength("the cryptogram is not a multiple of the block") from None
        if self._empty:
            raise DataLength("a cryptogram with padding has at least one block")
        try:
            return rest + self._unpadder.finalize()
        except ValueError:
            raise DecryptionFailed("the cryptogram could not be decrypted") from None


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


class _Gathered(Running):
    """A step that needs all of the data: nothing is given before `finish`."""

    __slots__ = ("_data", "_step")

    def __init__(self, step: Callable[[bytes], bytes]) -> None:
        self._data = bytearray()
        self._step = step

    def update(self, data: bytes) -> bytes:
        self._data += data
        return b""

    def finish(self) -> bytes:
        return self._step(bytes(self._data))


def _blocks(
    algorithm: BlockCipherAlgorithm, mode: modes.ECB | modes.CBC, encrypts: bool
) -> CipherContext:
    cipher = Cipher(algorithm, mode)
    return cipher.encryptor() if encrypts else cipher.decryptor()


def _ecb(algorithm: BlockCipherAlgorithm, _: Ecb, encrypts: bool) -> Running:
    return _Blocks(_blocks(algorithm, _ECB, encrypts))


def _cbc(algorithm: BlockCipherAlgorithm, scheme: Cbc, encrypts: bool) -> Running:
    if 8 * len(scheme.iv) != algorithm.block_size:
        raise DataLength(f"the IV has {algorithm.block_size // 8} bytes")
    context = _blocks(algorithm, modes.CBC(scheme.iv), encrypts)
    if not scheme.padded:
        return _Blocks(context)
    padding = PKCS7(algorithm.block_size)
    if encrypts:
        return _Padding(context, padding.padder())
    return _Unpadding(context, padding.unpadder())


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
    return _Gathered(lambda data: _gcm_decrypt(algorithm, scheme, data))


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

    return _Gathered(wrap if encrypts else unwrap)


def _key_wrap_padded(algorithm: AES, _: KeyWrapPadded, encrypts: bool) -> Running:
    def wrap(data: bytes) -> bytes:
        if not data:
            raise DataLength("there is nothing to wrap")
        return keywrap.aes_key_wrap_with_padding(algorithm.key, data)

    def unwrap(data: bytes) -> bytes:
        if len(data) < 16 or len(data) % 8:
            raise DataLength("a wrapped key has 16 bytes or more in multiples of 8")
        return _unwrapped(lambda: keywrap.aes_key_unwrap_with_padding(algorithm.key, data))

    return _Gathered(wrap if encrypts else unwrap)


def _unwrapped(unwrap: Callable[[], bytes]) -> bytes:
    try:
        return unwrap()
    except keywrap.InvalidUnwrap:
        raise DecryptionFailed("the wrapped key could not be unwrapped") from None


_START: Final[dict[type, Callable[[Any, Any, bool], Running]]] = {
    Ecb: _ecb,
    Cbc: _cbc,
    Ctr: _ctr,
    Gcm: _gcm,
    KeyWrap: _key_wrap,
    KeyWrapPadded: _key_wrap_padded,
}
_AES_ONLY: Final = frozenset({Ctr, Gcm, KeyWrap, KeyWrapPadded})


def takes(algorithm: BlockCipherAlgorithm, scheme: SymmetricScheme) -> bool:
    """Whether the scheme goes together with the block cipher."""
    kind = type(scheme)
    return kind in _START and (isinstance(algorithm, AES) or kind not in _AES_ONLY)


def start(algorithm: BlockCipherAlgorithm, scheme: SymmetricScheme, *, encrypts: bool) -> Running:
    """Start a cipher that `takes` allows. Raises DataLength for parameters that do not fit."""
    return _START[type(scheme)](algorithm, scheme, encrypts)
