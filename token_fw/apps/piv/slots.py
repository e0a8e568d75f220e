"""The keys in the slots and the management key: how they are kept."""

from __future__ import annotations

from dataclasses import dataclass

from apdu import tlv
from token_fw.apps.piv.algorithms import (
    ALGORITHMS,
    ATTESTATION,
    MANAGEMENT_ALGORITHMS,
    MANAGEMENT_KEY,
    Origin,
    PinPolicy,
    TouchPolicy,
)
from token_fw.crypto import CryptoError, KeySpec, PrivateKey, SecretKey, load_private, secret_key
from token_fw.errors import ReferencedDataNotFound
from token_fw.storage.base import StorageCorrupt
from token_fw.transaction import Transaction

_KEY, _MANAGEMENT = "piv-key", "piv-management"
_IDENT = bytes((MANAGEMENT_KEY,))


@dataclass(frozen=True, slots=True)
class Policies:
    """What the use of a key asks for."""

    pin: PinPolicy
    touch: TouchPolicy = TouchPolicy.NEVER


class SlotKey:
    """A key in a slot. The private part is parsed at its first use and kept."""

    __slots__ = ("_encoded", "_private", "algorithm", "origin", "policies")

    def __init__(
        self,
        algorithm: int,
        policies: Policies,
        origin: Origin,
        *,
        encoded: bytes = b"",
        parsed: PrivateKey | None = None,
    ) -> None:
        """`encoded` is a PrivateKeyInfo where the key is not `parsed`."""
        self.algorithm = algorithm
        self.policies = policies
        self.origin = origin
        self._encoded = encoded
        self._private = parsed

    def __repr__(self) -> str:
        return f"<SlotKey {self.spec}>"

    @property
    def spec(self) -> KeySpec:
        return ALGORITHMS[self.algorithm]

    @property
    def private(self) -> PrivateKey:
        """The private key; raises StorageCorrupt."""
        if self._private is None:
            try:
                self._private = load_private(self._encoded, checked=True)
            except CryptoError:
                raise StorageCorrupt("the key of a PIV slot cannot be read") from None
            self._encoded = b""
        return self._private

    def encode(self) -> bytes:
        """The durable record: 80 algorithm, policies and origin, 81 PrivateKeyInfo."""
        header = bytes((self.algorithm, self.policies.pin, self.policies.touch, self.origin))
        return tlv.encode(0x80, header) + tlv.encode(0x81, self.private.to_pkcs8())

    @classmethod
    def decode(cls, record: bytes) -> SlotKey:
        """Raises StorageCorrupt."""
        try:
            fields = tlv.to_dict(tlv.parse(record))
            algorithm, pin, touch, origin = fields[0x80]
            policies = Policies(PinPolicy(pin), TouchPolicy(touch))
            key = cls(algorithm, policies, Origin(origin), encoded=fields[0x81])
        except (tlv.TlvError, KeyError, ValueError):
            raise StorageCorrupt("the record of a PIV key cannot be read") from None
        if algorithm not in ALGORITHMS:
            raise StorageCorrupt("the record of a PIV key cannot be read")
        return key


class SlotKeys:
    """The keys of one token by slot; read once and kept."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._known: dict[int, SlotKey] = {}
        transaction.on_rollback(self._known.clear)

    def find(self, slot: int) -> SlotKey | None:
        """The key in that slot, if there is one."""
        key = self._known.get(slot)
        if key is None:
            record = self._transaction.get(_KEY, bytes((slot,)))
            if record is None:
                return None
            key = self._known[slot] = SlotKey.decode(record)
        return key

    def get(self, slot: int) -> SlotKey:
        """The key in that slot; raises ReferencedDataNotFound."""
        key = self.find(slot)
        if key is None:
            raise ReferencedDataNotFound("there is no key in the slot")
        return key

    def put(self, slot: int, key: SlotKey) -> None:
        """Keep a key, in the place of the one in the slot."""
        self._transaction.put(_KEY, bytes((slot,)), key.encode())
        self._known[slot] = key

    def delete(self, slot: int) -> None:
        """Empty the slot."""
        self._transaction.delete(_KEY, bytes((slot,)))
        self._known.pop(slot, None)

    def clear(self) -> None:
        """Empty every slot but that of the attestation key."""
        for (slot,) in self._transaction.idents(_KEY):
            if slot != ATTESTATION:
                self.delete(slot)


@dataclass(frozen=True, slots=True, repr=False)
class ManagementRecord:
    """The management key: algorithm, value, and whether its use asks for a touch."""

    algorithm: int
    value: bytes
    touch: TouchPolicy = TouchPolicy.NEVER

    def encode(self) -> bytes:
        header = bytes((self.algorithm, self.touch))
        return tlv.encode(0x80, header) + tlv.encode(0x81, self.value)

    @classmethod
    def decode(cls, record: bytes) -> ManagementRecord:
        """Raises StorageCorrupt."""
        try:
            fields = tlv.to_dict(tlv.parse(record))
            algorithm, touch = fields[0x80]
            made = cls(algorithm, fields[0x81], TouchPolicy(touch))
            made.key()
        except (tlv.TlvError, CryptoError, KeyError, ValueError):
            raise StorageCorrupt("the PIV management key cannot be read") from None
        return made

    def key(self) -> SecretKey:
        """The key; raises CryptoError where the value is of another length than the algorithm's."""
        return secret_key(MANAGEMENT_ALGORITHMS[self.algorithm], self.value)


class ManagementKey:
    """The management key of one token."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self.epoch = 0
        """Moves when the key changes: what was proven in an earlier epoch counts no more."""

    @property
    def exists(self) -> bool:
        """Whether the application was ever used on this token."""
        return self._transaction.get(_MANAGEMENT, _IDENT) is not None

    def record(self) -> ManagementRecord:
        """The key's record, straight from the store; raises StorageCorrupt."""
        record = self._transaction.get(_MANAGEMENT, _IDENT)
        if record is None:
            raise StorageCorrupt("the PIV management key is missing")
        return ManagementRecord.decode(record)

    def set(self, record: ManagementRecord) -> None:
        """Give the key a value."""
        self._transaction.put(_MANAGEMENT, _IDENT, record.encode())
        self._transaction.after(self._next_epoch)

    def _next_epoch(self) -> None:
        self.epoch += 1
