"""Kuznyechik and Magma with their modes in progress, for `SecretKey`.

ECB, counter mode, CBC and the code of GOST R 34.13-2015 5.1, 5.2, 5.4 and 5.6; CTR-ACPKM, KExp15
and KImp15 of R 1323565.1.017-2018.
"""

from __future__ import annotations

import hmac
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from token_fw.crypto.errors import DataLength, DecryptionFailed
from token_fw.crypto.gost.keystream import KEY_SIZE, KeyedBlocks, Keystream
from token_fw.crypto.gost.kuznyechik import Kuznyechik
from token_fw.crypto.gost.magma import Magma
from token_fw.crypto.gost.mgm import start_mgm
from token_fw.crypto.kinds import KeyKind
from token_fw.crypto.running import BlockCipher, Blocks, Gathered, Running, padded
from token_fw.crypto.schemes import Cbc, CtrAcpkm, Ecb, KExp15, Mgm


class _Context:
    """A mode over whole blocks, which waits for the rest of each."""

    __slots__ = ("_size", "_waiting")

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting = b""

    @abstractmethod
    def _next(self, block: int) -> int:
        """The result for the next block."""

    def update(self, data: bytes) -> bytes:
        data, size = self._waiting + data, self._size
        whole = len(data) - len(data) % size
        self._waiting = data[whole:]
        starts = range(0, whole, size)
        return b"".join(
            self._next(int.from_bytes(data[at : at + size])).to_bytes(size) for at in starts
        )

    def finalize(self) -> bytes:
        if self._waiting:
            raise ValueError("the last block is not whole")
        return b""


class _EcbContext(_Context):
    __slots__ = ("_step",)

    def __init__(self, cipher: KeyedBlocks, encrypts: bool) -> None:
        super().__init__(cipher.block_size)
        self._step = cipher.encrypt if encrypts else cipher.decrypt

    def _next(self, block: int) -> int:
        return self._step(block)


class _CbcContext(_Context):
    __slots__ = ("_cipher", "_encrypts", "_register")

    def __init__(self, cipher: KeyedBlocks, iv: bytes, encrypts: bool) -> None:
        size = cipher.block_size
        super().__init__(size)
        starts = range(0, len(iv), size)
        self._register = deque(int.from_bytes(iv[at : at + size]) for at in starts)
        self._cipher = cipher
        self._encrypts = encrypts

    def _next(self, block: int) -> int:
        chained = self._register.popleft()
        if self._encrypts:
            result = self._cipher.encrypt(block ^ chained)
            self._register.append(result)
            return result
        self._register.append(block)
        return self._cipher.decrypt(block) ^ chained


class Omac:
    """The code of GOST R 34.13-2015 5.6, which is CMAC (SP 800-38B 6.2), as long as a block."""

    __slots__ = ("_cipher", "_state", "_waiting")

    def __init__(self, cipher: KeyedBlocks) -> None:
        self._cipher = cipher
        self._state = 0
        self._waiting = b""

    def update(self, data: bytes) -> None:
        """Add data of any length; the last block is held back."""
        data, size = self._waiting + data, self._cipher.block_size
        whole = max(0, len(data) - 1) // size * size
        for at in range(0, whole, size):
            block = int.from_bytes(data[at : at + size])
            self._state = self._cipher.encrypt(self._state ^ block)
        self._waiting = data[whole:]

    def finalize(self) -> bytes:
        """Give the code of all data so far."""
        size, last = self._cipher.block_size, self._waiting
        mask = self._doubled(self._cipher.encrypt(0))
        if len(last) < size:
            mask, last = self._doubled(mask), (last + b"\x80").ljust(size, b"\0")
        block = self._state ^ int.from_bytes(last) ^ mask
        return self._cipher.encrypt(block).to_bytes(size)

    def _doubled(self, mask: int) -> int:
        bits = 8 * self._cipher.block_size
        doubled = mask << 1
        return doubled ^ (1 << bits | _CONSTANTS[bits]) if doubled >> bits else doubled

    def copy(self) -> Omac:
        """Give an independent code that has seen the same data."""
        twin = Omac(self._cipher)
        twin._state, twin._waiting = self._state, self._waiting
        return twin


_CONSTANTS: Final = {64: 0x1B, 128: 0x87}
"""B_n of 5.6.1: what doubling adds where a bit falls out."""


class _Counter(Running):
    __slots__ = ("_stream",)

    def __init__(self, stream: Keystream) -> None:
        self._stream = stream

    def update(self, data: bytes) -> bytes:
        return self._stream.add(data)

    def finish(self) -> bytes:
        return b""


@dataclass(frozen=True, slots=True)
class _Twin:
    """The two keys of KExp15."""

    mac: KeyedBlocks
    encryption: KeyedBlocks


def _ecb(cipher: KeyedBlocks, _: Ecb, encrypts: bool) -> Running:
    return Blocks(_EcbContext(cipher, encrypts))


def _cbc(cipher: KeyedBlocks, scheme: Cbc, encrypts: bool) -> Running:
    size = cipher.block_size
    if not scheme.iv or len(scheme.iv) % size:
        raise DataLength(f"the IV has {size} bytes or a multiple of that")
    context = _CbcContext(cipher, scheme.iv, encrypts)
    return padded(context, size, encrypts) if scheme.padded else Blocks(context)


def _first_counter(cipher: KeyedBlocks, iv: bytes) -> int:
    half = cipher.block_size // 2
    if len(iv) != half:
        raise DataLength(f"the IV has {half} bytes")
    return int.from_bytes(iv) << 8 * half


def _ctr_acpkm(cipher: KeyedBlocks, scheme: CtrAcpkm, _: bool) -> Running:
    counter = _first_counter(cipher, scheme.iv)
    if scheme.section < 0 or scheme.section % cipher.block_size:
        raise DataLength(f"a section has a multiple of {cipher.block_size} bytes")
    return _Counter(Keystream(cipher, counter, scheme.section))


def _kexp15(twin: _Twin, scheme: KExp15, encrypts: bool) -> Running:
    counter = _first_counter(twin.encryption, scheme.iv)
    size = twin.mac.block_size

    def code(key: bytes) -> bytes:
        mac = Omac(twin.mac)
        mac.update(scheme.iv + key)
        return mac.finalize()

    def wrap(key: bytes) -> bytes:
        if not key:
            raise DataLength("there is nothing to wrap")
        return Keystream(twin.encryption, counter).add(key + code(key))

    def unwrap(data: bytes) -> bytes:
        if len(data) <= size:
            raise DataLength(f"a wrapped key has more than {size} bytes")
        plain = Keystream(twin.encryption, counter).add(data)
        key, tag = plain[:-size], plain[-size:]
        if not hmac.compare_digest(code(key), tag):
            raise DecryptionFailed("the wrapped key could not be unwrapped")
        return key

    return Gathered(wrap if encrypts else unwrap)


def _cipher(blocks: type[KeyedBlocks]) -> BlockCipher:
    return BlockCipher(
        block_size=blocks.block_size,
        keyed=blocks,
        starts={Ecb: _ecb, Cbc: _cbc, CtrAcpkm: _ctr_acpkm, Mgm: start_mgm},
        cmac=Omac,
    )


def _twin_cipher(blocks: Callable[[bytes], KeyedBlocks], block_size: int) -> BlockCipher:
    def keyed(value: bytes) -> _Twin:
        return _Twin(blocks(value[:KEY_SIZE]), blocks(value[KEY_SIZE:]))

    return BlockCipher(block_size, keyed, {KExp15: _kexp15})


CIPHERS: Final[dict[KeyKind, BlockCipher]] = {
    KeyKind.KUZNYECHIK: _cipher(Kuznyechik),
    KeyKind.KUZNYECHIK_TWIN: _twin_cipher(Kuznyechik, Kuznyechik.block_size),
    KeyKind.MAGMA: _cipher(Magma),
    KeyKind.MAGMA_TWIN: _twin_cipher(Magma, Magma.block_size),
}
