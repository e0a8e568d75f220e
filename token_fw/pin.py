"""PINs: their tries, their values, and since when an interface has them verified.

A try is spent in a committed transaction of its own before the value is compared, so neither a
wrong value nor a power cut gives it back (ISO/IEC 7816-4:2013, 11.5.6).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum

from apdu import tlv
from token_fw.errors import PinBlocked, PinNotInitialised, WrongPin
from token_fw.policy import PIV_RULE, PinPolicy, PinRule
from token_fw.storage.base import StorageCorrupt
from token_fw.transaction import Transaction

MAX_TRIES = 15
"""The status word 63Cx has four bits for the tries left; where there are more, it says so many."""

HASH_COST = 1024
"""scrypt's N: about 3 ms. It slows whoever has the store and its key; tries protect the PIN."""

_KIND = "pin"
_SALT = 16
_NO_RECORD = "the record of a PIN cannot be read"


class PinRef(IntEnum):
    """Reference of a PIN, P2 of the PIN commands.

    The PKI application has the user PIN and the SO PIN, which is also its PUK. The PIV application
    has a PIN and a PUK of its own. FIDO's PIN, of which the left half of the SHA-256 is compared,
    has no command.
    """

    USER = 0x01
    SO = 0x02
    PIV = 0x80
    PUK = 0x81
    FIDO = 0xF1


PKI_PINS = (PinRef.USER, PinRef.SO)


@dataclass(frozen=True, slots=True, repr=False)
class PinRecord:
    """The durable record: tries, salt of 16 bytes and scrypt hash (empty: no value yet)."""

    tries_left: int
    tries_max: int
    salt: bytes = b""
    hash: bytes = b""

    @property
    def initialised(self) -> bool:
        """Whether the PIN has a value."""
        return bool(self.hash)

    def encode(self) -> bytes:
        return (
            tlv.encode(0x80, bytes((self.tries_left, self.tries_max)))
            + tlv.encode(0x81, self.salt)
            + tlv.encode(0x82, self.hash)
        )

    @classmethod
    def decode(cls, record: bytes) -> PinRecord:
        """Raises StorageCorrupt."""
        try:
            fields = tlv.to_dict(tlv.parse(record))
            left, most = fields[0x80]
            return cls(left, most, fields[0x81], fields[0x82])
        except (tlv.TlvError, KeyError, ValueError):
            raise StorageCorrupt(_NO_RECORD) from None


def _hash(value: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(value, salt=salt, n=HASH_COST, r=8, p=1, dklen=32)


class Pins:
    """The PINs of one token. Values come without padding, and never appear in messages."""

    def __init__(
        self, transaction: Transaction, policy: PinPolicy, rng: Callable[[int], bytes]
    ) -> None:
        self._transaction = transaction
        self._rng = rng
        self.policy = policy
        self.epochs = dict.fromkeys(PinRef, 0)
        """Moves when a PIN changes: what was verified in an earlier epoch is verified no more."""
        self.misses = dict.fromkeys(PinRef, 0)
        """Moves with each value that was wrong."""
        self.proven: list[Callable[[PinRef], None]] = []
        """Called with each PIN that was right, in the transaction that gives its tries back."""

    @staticmethod
    def create(transaction: Transaction, ref: PinRef, tries: int) -> None:
        """Write the record of a PIN without a value."""
        transaction.put(_KIND, bytes((ref,)), PinRecord(tries, tries).encode())

    def record(self, ref: PinRef) -> PinRecord:
        """The PIN's record, straight from the store."""
        record = self._transaction.get(_KIND, bytes((ref,)))
        if record is None:
            raise StorageCorrupt(_NO_RECORD)
        return PinRecord.decode(record)

    def known(self, ref: PinRef) -> bool:
        """Whether the PIN has a record: its application was used."""
        return self._transaction.get(_KIND, bytes((ref,))) is not None

    def rule(self, ref: PinRef) -> PinRule:
        """What a value of that PIN must be."""
        if ref not in PKI_PINS:
            return PIV_RULE
        return self.policy.user if ref is PinRef.USER else self.policy.so

    def check(self, ref: PinRef, value: bytes) -> None:
        """Spend a try, compare, and on success give the tries back with the transaction.

        Raises PinNotInitialised or PinBlocked with nothing spent, WrongPin with one try spent,
        StorageError when the try could not be spent: then nothing was compared.
        """
        assert not self._transaction.pending, "a try is spent in a transaction of its own"
        record = self.record(ref)
        if not record.initialised:
            raise PinNotInitialised("the PIN has no value yet")
        if not record.tries_left:
            raise PinBlocked("no try is left")
        left = record.tries_left - 1
        self._put(ref, replace(record, tries_left=left))
        self._transaction.commit()
        if not hmac.compare_digest(_hash(value, record.salt), record.hash):
            self.misses[ref] += 1
            raise WrongPin(left)
        self._put(ref, replace(record, tries_left=record.tries_max))
        for tell in self.proven:
            tell(ref)

    def holds(self, ref: PinRef, value: bytes) -> bool:
        """Whether the PIN has that value, for a question about a value that is no secret."""
        record = self.record(ref)
        return hmac.compare_digest(_hash(value, record.salt), record.hash)

    def set(self, ref: PinRef, value: bytes) -> None:
        """Give the PIN a value that its rule has let pass, and all its tries."""
        most = self.record(ref).tries_max
        salt = self._rng(_SALT)
        self._put(ref, PinRecord(most, most, salt, _hash(value, salt)), visible=True)
        self._transaction.after(lambda: self._next_epoch(ref))

    def clear(self, ref: PinRef) -> None:
        """Take the PIN's value away and give it all its tries."""
        most = self.record(ref).tries_max
        self._put(ref, PinRecord(most, most), visible=True)
        self._transaction.after(lambda: self._next_epoch(ref))

    def _put(self, ref: PinRef, record: PinRecord, *, visible: bool = False) -> None:
        self._transaction.put(_KIND, bytes((ref,)), record.encode(), visible=visible)

    def _next_epoch(self, ref: PinRef) -> None:
        self.epochs[ref] += 1
