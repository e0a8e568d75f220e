"""What a token is, beside its PINs, files and keys: serial number, life cycle, PIN policy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from apdu import tlv
from token_fw._pins import POLICIES
from token_fw.policy import PinPolicy
from token_fw.storage.base import StorageCorrupt
from token_fw.transaction import Transaction

_KIND, _IDENT = "token", b"\x00"


class Lifecycle(IntEnum):
    """Life cycle status (ISO/IEC 7816-4:2013, 7.4.10)."""

    CREATION = 0x01
    OPERATIONAL = 0x05


class Attestation(StrEnum):
    """What the FIDO application says of where a new credential was made (WebAuthn 6.5.4)."""

    CERTIFICATE = "certificate"
    SELF = "self"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """The durable record: serial number of 8 bytes, life cycle, name of the PIN policy.

    `protected_path`: PINs can be entered on the token itself.
    """

    serial: bytes
    lifecycle: Lifecycle
    policy: str
    protected_path: bool = False
    attestation: Attestation = Attestation.CERTIFICATE

    def encode(self) -> bytes:
        return (
            tlv.encode(0x80, self.serial)
            + tlv.encode(0x81, bytes((self.lifecycle,)))
            + tlv.encode(0x82, self.policy.encode())
            + (tlv.encode(0x83, b"") if self.protected_path else b"")
            + tlv.encode(0x84, self.attestation.encode())
        )

    @classmethod
    def decode(cls, record: bytes) -> TokenRecord:
        """Raises StorageCorrupt."""
        try:
            fields = tlv.to_dict(tlv.parse(record))
            lifecycle = Lifecycle(int.from_bytes(fields[0x81], "big"))
            # Tokens that were made earlier do not say.
            attestation = Attestation(fields.get(0x84, b"certificate").decode())
            policy = fields[0x82].decode()
            return cls(fields[0x80], lifecycle, policy, 0x83 in fields, attestation)
        except (tlv.TlvError, KeyError, ValueError):
            raise StorageCorrupt("the record of the token cannot be read") from None


class Token:
    """The token's record, read once and kept."""

    def __init__(self, transaction: Transaction) -> None:
        """Raises StorageCorrupt when the store holds no token."""
        self._transaction = transaction
        self._record = self._load()
        if self._record.policy not in POLICIES:
            raise StorageCorrupt(f"the PIN policy {self._record.policy!r} is not known")
        transaction.on_rollback(self._forget)
        self._stale = False

    @staticmethod
    def exists(transaction: Transaction) -> bool:
        """Whether the store holds a token."""
        return transaction.get(_KIND, _IDENT) is not None

    @staticmethod
    def create(
        transaction: Transaction,
        serial: bytes,
        policy: str,
        *,
        protected_path: bool = False,
        attestation: Attestation = Attestation.CERTIFICATE,
    ) -> None:
        """Write the record of a blank token."""
        record = TokenRecord(serial, Lifecycle.CREATION, policy, protected_path, attestation)
        transaction.put(_KIND, _IDENT, record.encode())

    @property
    def serial(self) -> bytes:
        return self._record.serial

    @property
    def policy(self) -> PinPolicy:
        return POLICIES[self._record.policy]

    @property
    def protected_path(self) -> bool:
        return self._record.protected_path

    @property
    def attestation(self) -> Attestation:
        return self._record.attestation

    @property
    def lifecycle(self) -> Lifecycle:
        if self._stale:
            self._record = self._load()
            self._stale = False
        return self._record.lifecycle

    def make_operational(self) -> None:
        """From here on the access rules of files hold."""
        self._record = replace(self._record, lifecycle=Lifecycle.OPERATIONAL)
        self._transaction.put(_KIND, _IDENT, self._record.encode())

    def _load(self) -> TokenRecord:
        record = self._transaction.get(_KIND, _IDENT)
        if record is None:
            raise StorageCorrupt("the store holds no token")
        return TokenRecord.decode(record)

    def _forget(self) -> None:
        self._stale = True
