"""Encryption and decryption in progress: one protocol for keys of a session and of a card.

The engines keep the initialisation vector or the counter, hold back what is not a whole block, and
put the padding on and take it off, so that both kinds of key give the same bytes at the same calls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from apdu.model import SW, StatusWordError
from pkcs11_module import _constants as ck
from pkcs11_module.cards.card import MAX_DATA
from pkcs11_module.facade.operations import (
    OnCard,
    crypto_refusal,
    on_card,
    public_key,
    session_key,
)
from pkcs11_module.facade.signing import MAX_GATHERED
from pkcs11_module.mechanisms.ciphers import CipherPlan, environment
from pkcs11_module.types import Pkcs11Error
from token_fw.crypto import (
    Cbc,
    CipherScheme,
    CryptoError,
    Ctr,
    CtrAcpkm,
    DataLength,
    Ecb,
    Gcm,
    KExp15,
    KeyWrap,
    KeyWrapPadded,
    Mgm,
    RsaOaep,
    RsaPkcs1,
    RsaRaw,
    Running,
    SecretKey,
    SymmetricScheme,
    block_size,
)

if TYPE_CHECKING:
    from pkcs11_module.facade.sessions import Session
    from pkcs11_module.facade.slot import AnyObject

_CHUNK: Final = 1 << 15
"""Bytes of a stream that go to the card in one command."""
_RSA_OVERHEAD: Final = 11
_COUNTER_BLOCK: Final = 16
_LONGEST_TAG: Final = 16
_SEMIBLOCK: Final = 8
"""Bytes of a unit of AES key wrap (RFC 3394)."""


class Engine(ABC):
    """An encryption or decryption in progress; after `finish` or an error it is over.

    Sizes are exact but for the last part of what is padded, where they are upper bounds. What it
    does raises Pkcs11Error, StatusWordError, TransportError.
    """

    gathered = 0
    """Bytes that were taken, and that nothing was given for yet."""

    @abstractmethod
    def update_size(self, length: int) -> int:
        """How many bytes `update` would give for that many."""

    @abstractmethod
    def update(self, data: bytes) -> bytes:
        """Take data, and give what of the result is ready."""

    @abstractmethod
    def finish_size(self) -> int:
        """How many bytes `finish` would give."""

    @abstractmethod
    def finish(self) -> bytes:
        """The rest of the result."""

    @abstractmethod
    def whole_size(self, length: int) -> int:
        """How many bytes that many in one part would give."""

    def whole(self, data: bytes) -> bytes:
        """All of it in one part."""
        return self.update(data) + self.finish()


class _Blocks(Engine):
    """A block cipher over whole blocks, with padding or without."""

    def __init__(
        self, transform: Callable[[bytes], bytes], block: int, *, encrypting: bool, padded: bool
    ) -> None:
        self._transform = transform
        self._block = block
        self._encrypting = encrypting
        self._padded = padded
        # The last block of a padded cryptogram is not known to be it before the end.
        self._held = int(padded and not encrypting)
        self._pending = b""
        self._over = False

    def update_size(self, length: int) -> int:
        total = len(self._pending) + length - self._held
        return max(total, 0) // self._block * self._block

    def update(self, data: bytes) -> bytes:
        if self._over:
            raise Pkcs11Error(ck.CKR_OPERATION_ACTIVE, "the last part was asked for before")
        ready = self.update_size(len(data))
        data = self._pending + data
        self._pending = data[ready:]
        return self._transform(data[:ready]) if ready else b""

    def finish_size(self) -> int:
        return self._block if self._padded else 0

    def finish(self) -> bytes:
        pending, self._over = self._pending, True
        if self._padded and self._encrypting:
            return self._transform(_padded(pending, self._block))
        if len(pending) != (self._block if self._padded else 0):
            wrong = ck.CKR_DATA_LEN_RANGE if self._encrypting else ck.CKR_ENCRYPTED_DATA_LEN_RANGE
            raise Pkcs11Error(wrong, "not a whole number of blocks")
        return _unpadded(self._transform(pending)) if self._padded else b""

    def whole_size(self, length: int) -> int:
        if self._padded and self._encrypting:
            return (length // self._block + 1) * self._block
        return length


def _padded(data: bytes, block: int) -> bytes:
    """The data with the padding of RFC 5652 6.3, up to whole blocks."""
    missing = block - len(data) % block
    return data + bytes((missing,)) * missing


def _unpadded(block: bytes) -> bytes:
    """The last block without its padding (RFC 5652 6.3), by the same steps for every block.

    Whatever is wrong with it gives the one error that the standard has for that. How far Python's
    arithmetic takes the same time for every value is not known.
    """
    size, count = len(block), block[-1]
    wrong = (count - 1) >> 8 & 1 | (size - count) >> 8 & 1
    for place, byte in enumerate(reversed(block)):
        inside = (place - count) >> 8 & 1
        wrong |= inside & (((byte ^ count) + 0xFF) >> 8)
    if wrong:
        raise Pkcs11Error(ck.CKR_ENCRYPTED_DATA_INVALID)
    return block[: size - count]


class _Stream(Engine):
    """A cipher whose output is as long as its input, and a tag behind it."""

    def __init__(
        self, update: Callable[[bytes], bytes], finish: Callable[[], bytes], tag_size: int
    ) -> None:
        self._update = update
        self._finish = finish
        self._tag_size = tag_size

    def update_size(self, length: int) -> int:
        return length

    def update(self, data: bytes) -> bytes:
        return self._update(data)

    def finish_size(self) -> int:
        return self._tag_size

    def finish(self) -> bytes:
        return self._finish()

    def whole_size(self, length: int) -> int:
        return length + self._tag_size


class _Gathering(Engine):
    """What needs all of its data: it gives nothing before the end.

    `size` tells the length of the result by that of the data.
    """

    def __init__(
        self,
        run: Callable[[bytes], bytes],
        size: Callable[[int], int],
        *,
        limit: int,
        too_long: int,
    ) -> None:
        self._run = run
        self._size = size
        self._limit = limit
        self._too_long = too_long
        self._parts: list[bytes] = []

    def update_size(self, length: int) -> int:
        return 0

    def update(self, data: bytes) -> bytes:
        self.gathered += len(data)
        if self.gathered > self._limit:
            raise Pkcs11Error(self._too_long)
        self._parts.append(data)
        return b""

    def finish_size(self) -> int:
        return self._size(self.gathered)

    def finish(self) -> bytes:
        return self._run(b"".join(self._parts))

    def whole_size(self, length: int) -> int:
        return self._size(length)


class _CardBlocks:
    """ECB or CBC with a key of the card, whole blocks at a time."""

    def __init__(self, use: OnCard, scheme: Ecb | Cbc, block: int, *, encrypting: bool) -> None:
        self._use = use
        self._scheme = scheme
        self._block = block
        self._encrypting = encrypting

    def __call__(self, data: bytes) -> bytes:
        """Encrypt or decrypt whole blocks."""
        chunks = (data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK))
        return b"".join(map(self._transform, chunks))

    def _transform(self, data: bytes) -> bytes:
        result = _on_card(self._use, self._scheme, data, encrypting=self._encrypting)
        if isinstance(self._scheme, Cbc):
            cryptogram = result if self._encrypting else data
            self._scheme = Cbc(cryptogram[-self._block :])
        return result


class _CardCounter:
    """Counter mode with a key of the card: what is left of a block's key stream is kept."""

    def __init__(self, use: OnCard, scheme: Ctr) -> None:
        self._use = use
        self._scheme = scheme
        self._stream = b""

    def update(self, data: bytes) -> bytes:
        """Encrypt or decrypt."""
        head = data[: len(self._stream)]
        made = bytes(a ^ b for a, b in zip(head, self._stream, strict=False))
        self._stream = self._stream[len(head) :]
        rest = data[len(head) :]
        chunks = (rest[start : start + _CHUNK] for start in range(0, len(rest), _CHUNK))
        return made + b"".join(map(self._blocks, chunks))

    def _blocks(self, data: bytes) -> bytes:
        blocks = -(-len(data) // _COUNTER_BLOCK)
        filled = data.ljust(blocks * _COUNTER_BLOCK, b"\0")
        made = _on_card(self._use, self._scheme, filled, encrypting=True)
        self._stream = made[len(data) :]
        self._scheme = replace(self._scheme, block=_counted(self._scheme, blocks))
        return made[: len(data)]


def _counter(update: Callable[[bytes], bytes], scheme: Ctr) -> Engine:
    """Counter mode that ends with CKR_DATA_LEN_RANGE where the counter would overflow (3.1 6.13.4).

    A counter that starts at 1 and has two bits gives three blocks, although none was used twice.
    """
    counts = 1 << scheme.bits
    left = _COUNTER_BLOCK * (counts - int.from_bytes(scheme.block, "big") % counts)

    def limited(data: bytes) -> bytes:
        nonlocal left
        if len(data) > left:
            raise Pkcs11Error(ck.CKR_DATA_LEN_RANGE, "the counter would overflow")
        left -= len(data)
        return update(data)

    return _Stream(limited, bytes, 0)


def _counted(scheme: Ctr, blocks: int) -> bytes:
    """The counter block that many blocks on."""
    number, counts = int.from_bytes(scheme.block, "big"), 1 << scheme.bits
    fixed = number & ~(counts - 1)
    return (fixed | (number + blocks) % counts).to_bytes(_COUNTER_BLOCK, "big")


def _on_card(
    use: OnCard, scheme: CipherScheme | SymmetricScheme, data: bytes, *, encrypting: bool
) -> bytes:
    objects = environment(scheme)
    try:
        if encrypting:
            return use(lambda card, key: card.encipher(objects + key, data))
        return use(lambda card, key: card.decipher(objects + key, data))
    except StatusWordError as error:
        if encrypting or error.sw not in (SW.INCORRECT_DATA, SW.WRONG_LENGTH):
            raise
        wrong_length = error.sw == SW.WRONG_LENGTH
        rv = ck.CKR_ENCRYPTED_DATA_LEN_RANGE if wrong_length else ck.CKR_ENCRYPTED_DATA_INVALID
        raise Pkcs11Error(rv) from error


def cipher_engine(
    session: Session,
    target: AnyObject,
    plan: CipherPlan,
    *,
    encrypting: bool,
    use: OnCard | None = None,
) -> Engine:
    """An engine for a mechanism's plan with a key, wherever that is.

    `use` runs something on the key's card (`operations.on_card` where it is left out). Raises
    Pkcs11Error: CKR_MECHANISM_PARAM_INVALID, CKR_KEY_SIZE_RANGE, CKR_KEY_HANDLE_INVALID.
    """
    scheme = plan.scheme
    use = use or partial(on_card, session, target)
    if isinstance(scheme, RsaPkcs1 | RsaRaw | RsaOaep):
        return _rsa(session, target, scheme, encrypting=encrypting, use=use)
    if target.token:
        return _card_engine(target, plan, encrypting=encrypting, use=use)
    key = session_key(target)
    assert isinstance(key, SecretKey)
    return secret_engine(key, plan, encrypting=encrypting)


def _rsa(
    session: Session,
    target: AnyObject,
    scheme: RsaPkcs1 | RsaRaw | RsaOaep,
    *,
    encrypting: bool,
    use: OnCard,
) -> Engine:
    assert target.spec is not None
    size = (target.spec.bits + 7) // 8
    room = size
    if isinstance(scheme, RsaPkcs1):
        room = size - _RSA_OVERHEAD
    elif isinstance(scheme, RsaOaep):
        room = size - 2 - 2 * scheme.hash.size
        if room < 0:
            # The padding has to fit into the modulus (RFC 8017 7.1.1).
            raise Pkcs11Error(ck.CKR_KEY_SIZE_RANGE, "the hashes do not fit into the modulus")

    def encrypt(data: bytes) -> bytes:
        key = public_key(session, target)
        # As long as the modulus, and yet no number less than it.
        too_great = isinstance(scheme, RsaRaw) and len(data) == size
        rv = ck.CKR_DATA_INVALID if too_great else ck.CKR_DATA_LEN_RANGE
        return _crypto(lambda: key.encrypt(scheme, data), rv)

    def decrypt(data: bytes) -> bytes:
        if len(data) != size:
            raise Pkcs11Error(ck.CKR_ENCRYPTED_DATA_LEN_RANGE)
        if target.token:
            try:
                return _on_card(use, scheme, data, encrypting=False)
            except Pkcs11Error as error:
                if error.rv != ck.CKR_ENCRYPTED_DATA_LEN_RANGE:
                    raise
                raise Pkcs11Error(ck.CKR_ENCRYPTED_DATA_INVALID) from error
        key = session_key(target)
        assert not isinstance(key, SecretKey)
        return _crypto(lambda: key.decrypt(scheme, data), ck.CKR_ENCRYPTED_DATA_INVALID)

    return _Gathering(
        encrypt if encrypting else decrypt,
        lambda _: size,
        limit=room if encrypting else size,
        too_long=ck.CKR_DATA_LEN_RANGE if encrypting else ck.CKR_ENCRYPTED_DATA_LEN_RANGE,
    )


def secret_engine(key: SecretKey, plan: CipherPlan, *, encrypting: bool) -> Engine:
    """The engine for a secret key of the middleware; raises as `cipher_engine`."""
    scheme = plan.scheme
    assert not isinstance(scheme, RsaPkcs1 | RsaRaw | RsaOaep)
    too_long = ck.CKR_DATA_LEN_RANGE if encrypting else ck.CKR_ENCRYPTED_DATA_LEN_RANGE
    try:
        running = key.encryptor(scheme) if encrypting else key.decryptor(scheme)
    except DataLength as error:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID) from error
    except CryptoError as error:
        raise crypto_refusal(error) from error

    def update(data: bytes) -> bytes:
        return _crypto(lambda: running.update(data), too_long)

    if isinstance(scheme, Ecb | Cbc):
        block = block_size(key.spec)
        return _Blocks(update, block, encrypting=encrypting, padded=plan.padded)
    if isinstance(scheme, Ctr):
        return _counter(update, scheme)
    if isinstance(scheme, CtrAcpkm):
        return _Stream(update, bytes, 0)
    if isinstance(scheme, Gcm | Mgm) and encrypting:
        return _Stream(update, lambda: _crypto(running.finish, too_long), scheme.tag_size)
    return _gathering(
        plan, lambda data: _whole(running, data, too_long), MAX_GATHERED, encrypting=encrypting
    )


def _whole(running: Running, data: bytes, too_long: int) -> bytes:
    return _crypto(lambda: running.update(data) + running.finish(), too_long)


def _card_engine(target: AnyObject, plan: CipherPlan, *, encrypting: bool, use: OnCard) -> Engine:
    scheme = plan.scheme
    if isinstance(scheme, Ecb | Cbc):
        assert target.spec is not None
        block = block_size(target.spec)
        blocks = _CardBlocks(use, scheme, block, encrypting=encrypting)
        return _Blocks(blocks, block, encrypting=encrypting, padded=plan.padded)
    if isinstance(scheme, Ctr):
        return _counter(_CardCounter(use, scheme).update, scheme)
    # A key that changes with each section cannot be taken up in the middle: nothing streams.
    assert isinstance(scheme, Gcm | Mgm | CtrAcpkm | KeyWrap | KeyWrapPadded | KExp15)
    return _gathering(
        plan,
        lambda data: _on_card(use, scheme, data, encrypting=encrypting),
        # What is encrypted can be decrypted: the tag or the padding has to fit as well.
        MAX_DATA - _LONGEST_TAG if encrypting else MAX_DATA,
        encrypting=encrypting,
    )


def _gathering(
    plan: CipherPlan, run: Callable[[bytes], bytes], limit: int, *, encrypting: bool
) -> Engine:
    def unpadding(data: bytes) -> bytes:
        result = run(data)
        return result[:-_SEMIBLOCK] + _unpadded(result[-_SEMIBLOCK:])

    def padding(data: bytes) -> bytes:
        return run(_padded(data, _SEMIBLOCK))

    padded = padding if encrypting else unpadding
    return _Gathering(
        padded if plan.padded else run,
        partial(_result_size, plan, encrypting),
        limit=limit,
        too_long=ck.CKR_DATA_LEN_RANGE if encrypting else ck.CKR_ENCRYPTED_DATA_LEN_RANGE,
    )


def _result_size(plan: CipherPlan, encrypting: bool, length: int) -> int:
    scheme = plan.scheme
    more = _SEMIBLOCK
    if isinstance(scheme, Gcm | Mgm):
        more = scheme.tag_size
    elif isinstance(scheme, CtrAcpkm):
        more = 0
    elif isinstance(scheme, KExp15):
        more = 2 * len(scheme.iv)
    if not encrypting:
        return max(length - more, 0)
    if plan.padded:
        length += 1
    if plan.padded or isinstance(scheme, KeyWrapPadded):
        length += -length % _SEMIBLOCK
    return length + more


def _crypto(run: Callable[[], bytes], wrong_length: int) -> bytes:
    try:
        return run()
    except DataLength as error:
        raise Pkcs11Error(wrong_length) from error
    except CryptoError as error:
        raise crypto_refusal(error) from error
