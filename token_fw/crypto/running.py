"""What the modes of all block ciphers have in common, wherever the cipher comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.hazmat.primitives.padding import PKCS7, PaddingContext

from token_fw.crypto.errors import DataLength, DecryptionFailed


class Running(ABC):
    """An encryption or decryption in progress. After `finish` or an error it is over."""

    __slots__ = ()

    @abstractmethod
    def update(self, data: bytes) -> bytes:
        """Take data of any length and give what of the result is ready. Raises DataLength."""

    @abstractmethod
    def finish(self) -> bytes:
        """Give the rest of the result. Raises DataLength or DecryptionFailed."""


class BlockContext(Protocol):
    """ECB or CBC in progress; `finalize` raises ValueError where a block is not whole."""

    def update(self, data: bytes, /) -> bytes: ...
    def finalize(self) -> bytes: ...


class MacState(Protocol):
    """A keyed state, with the methods of cryptography's HMAC and CMAC."""

    def update(self, data: bytes, /) -> None:
        """Add data of any length."""

    def finalize(self) -> bytes:
        """Give the code of all data so far, and end."""

    def copy(self) -> MacState:
        """Give an independent state that has seen the same data."""


@dataclass(frozen=True, slots=True)
class BlockCipher:
    """A kind of cipher: the length of its blocks in bytes, how it is keyed, what it does.

    `starts` has for each class of scheme what starts it: of the keyed cipher, the scheme and
    whether it encrypts; it raises DataLength for parameters that do not fit.
    """

    block_size: int
    keyed: Callable[[bytes], Any]
    starts: Mapping[type, Callable[[Any, Any, bool], Running]]
    cmac: Callable[[Any], MacState] | None = None


class Blocks(Running):
    """ECB or CBC over whole blocks."""

    __slots__ = ("_context",)

    def __init__(self, context: BlockContext) -> None:
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

    def __init__(self, context: BlockContext, padder: PaddingContext) -> None:
        self._context = context
        self._padder = padder

    def update(self, data: bytes) -> bytes:
        return self._context.update(self._padder.update(data))

    def finish(self) -> bytes:
        return self._context.update(self._padder.finalize()) + self._context.finalize()


class _Unpadding(Running):
    """Decryption of padded data; the last block is held back until `finish`."""

    __slots__ = ("_context", "_empty", "_unpadder")

    def __init__(self, context: BlockContext, unpadder: PaddingContext) -> None:
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


def padded(context: BlockContext, block_size: int, encrypts: bool) -> Running:
    """Put the padding of RFC 5652 6.3 around a mode over whole blocks."""
    padding = PKCS7(8 * block_size)
    if encrypts:
        return _Padding(context, padding.padder())
    return _Unpadding(context, padding.unpadder())


class Gathered(Running):
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
