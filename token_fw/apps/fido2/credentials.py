"""Credentials: discoverable ones as records, others wrapped in their own identifiers.

A record's identifier is 32 random bytes; a wrapped one holds what its credential is, encrypted and
bound to the RP ID's hash. Both have a signature counter of their own, from 1 on; of the wrapped
ones, which nobody can delete, those that are made once there are many counters share one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from token_fw.apps.fido2 import cbor, cose
from token_fw.apps.fido2.cose import Algorithm
from token_fw.apps.fido2.secrets import Secrets
from token_fw.crypto import CryptoError, PrivateKey
from token_fw.storage.base import StorageCorrupt
from token_fw.transaction import Transaction

CAPACITY = 128
"""Discoverable credentials that there can be."""
MAX_ID_LENGTH = 320
"""Bytes of a credential's identifier: one with a wrapped RSA key has nearly as many."""

_RECORD, _COUNTER = "fido-credential", "fido-counter"
_RECORD_ID_SIZE = 32
MOST_COUNTERS = 512
"""Signature counters until further wrapped credentials share one (WebAuthn 6.1.1 allows that)."""
_SHARED_COUNTER = b"\x00"
_LARGEST_COUNT = 0xFFFFFFFF


class Protection(IntEnum):
    """Policies of credProtect (CTAP 2.1 12.1)."""

    OPTIONAL = 0x01
    OPTIONAL_WITH_LIST = 0x02
    REQUIRED = 0x03


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """What is kept of a discoverable credential beside its key.

    `created` orders the credentials of one relying party. `large_blob_key` has 32 bytes.
    """

    rp_id: str
    user_id: bytes
    rp_name: str | None = None
    user_name: str | None = None
    display_name: str | None = None
    cred_blob: bytes | None = None
    large_blob_key: bytes | None = None
    created: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """A credential of the relying party whose ID has that SHA-256; `account` if discoverable.

    `packed` is the private key, see cose.pack.
    """

    rp_id_hash: bytes
    algorithm: Algorithm
    packed: bytes
    protection: Protection = Protection.OPTIONAL
    hmac_secret: bool = False
    third_party_payment: bool = False
    account: Account | None = None
    id: bytes = field(default=b"", kw_only=True)

    def private(self) -> PrivateKey:
        """The private key; raises StorageCorrupt."""
        try:
            return cose.unpack(self.algorithm, self.packed)
        except CryptoError:
            raise StorageCorrupt("the key of a credential cannot be read") from None

    def public(self) -> cose.CoseKey:
        """The COSE_Key of the public key."""
        return self.algorithm.public(self.private().public())

    def encode(self) -> bytes:
        """The record, or what is wrapped in the identifier."""
        members: dict[int, Any] = {
            1: self.algorithm.alg,
            2: self.packed,
            3: int(self.protection),
            4: self.hmac_secret,
            5: self.third_party_payment,
        }
        if self.account is not None:
            kept = self.account
            members |= {6: self.id, 7: self.rp_id_hash, 8: _encode_account(kept)}
        return cbor.encode(members)

    @classmethod
    def decode(cls, record: bytes, rp_id_hash: bytes = b"", ident: bytes = b"") -> Credential:
        """Raises StorageCorrupt."""
        try:
            members = cbor.decode(record)
            account = members.get(8)
            return cls(
                members.get(7, rp_id_hash),
                cose.ALGORITHMS[members[1]],
                members[2],
                Protection(members[3]),
                members[4],
                members[5],
                None if account is None else Account(**account),
                id=members.get(6, ident),
            )
        except (cbor.CborError, KeyError, TypeError, ValueError):
            raise StorageCorrupt("the record of a credential cannot be read") from None


def _encode_account(account: Account) -> dict[str, Any]:
    members = ((name, getattr(account, name)) for name in Account.__slots__)
    return {name: value for name, value in members if value is not None}


class Credentials:
    """The credentials of one token. What changes is durable with the transaction."""

    def __init__(
        self, transaction: Transaction, secrets: Secrets, rng: Callable[[int], bytes]
    ) -> None:
        self._transaction = transaction
        self._secrets = secrets
        self._rng = rng

    # What there is

    def __len__(self) -> int:
        """How many discoverable ones there are."""
        return len(self._transaction.idents(_RECORD))

    @property
    def remaining(self) -> int:
        """How many discoverable ones can be added."""
        return max(0, CAPACITY - len(self))

    def state(self) -> bytes:
        """32 bytes that are others when a discoverable credential was added, changed or deleted."""
        places = sorted(self._transaction.idents(_RECORD))
        records = (self._transaction.get(_RECORD, place) or b"" for place in places)
        digests = (hashlib.sha256(record).digest() for record in records)
        return hashlib.sha256(b"".join(digests)).digest()

    def all(self) -> list[Credential]:
        """The discoverable ones, the newest of a relying party first."""
        found = [self._load(ident) for ident in self._transaction.idents(_RECORD)]
        return sorted(found, key=_created, reverse=True)

    def of(self, rp_id_hash: bytes) -> list[Credential]:
        """The discoverable ones of a relying party, the newest first."""
        place = self._secrets.name(rp_id_hash)
        idents = self._transaction.idents(_RECORD)
        found = [self._load(ident) for ident in idents if ident.startswith(place)]
        return sorted(found, key=_created, reverse=True)

    def find(self, rp_id_hash: bytes, ident: bytes) -> Credential | None:
        """The credential with that identifier, of either kind, if it is the relying party's."""
        if len(ident) == _RECORD_ID_SIZE:
            record = self._transaction.get(_RECORD, self._place(rp_id_hash, ident))
            return None if record is None else Credential.decode(record)
        content = self._secrets.unwrap(ident, rp_id_hash)
        return None if content is None else Credential.decode(content, rp_id_hash, ident)

    # Changes

    def add(self, credential: Credential) -> Credential:
        """Keep a new credential, or wrap it; gives it with its identifier.

        A discoverable one takes the place of that of the same user. Whether there is room is asked
        before.
        """
        if credential.account is None:
            ident = self._secrets.wrap(credential.encode(), credential.rp_id_hash)
            made = replace(credential, id=ident)
        else:
            known = self.of(credential.rp_id_hash)
            account = replace(credential.account, created=1 + max(map(_created, known), default=0))
            same = self.of_user(credential.rp_id_hash, account.user_id)
            if same is not None:
                self.delete(same)
            made = replace(credential, account=account, id=self._rng(_RECORD_ID_SIZE))
            self.put(made)
        counters = self._transaction.idents(_COUNTER)
        if made.account is not None or len(counters) < MOST_COUNTERS:
            self._put_count(self._secrets.name(made.id), 0)
        self.count(made)
        return made

    def of_user(self, rp_id_hash: bytes, user_id: bytes) -> Credential | None:
        """The discoverable credential of a user, if there is one."""
        for credential in self.of(rp_id_hash):
            if credential.account is not None and credential.account.user_id == user_id:
                return credential
        return None

    def put(self, credential: Credential) -> None:
        """Keep a discoverable credential as it is now."""
        place = self._place(credential.rp_id_hash, credential.id)
        self._transaction.put(_RECORD, place, credential.encode())

    def delete(self, credential: Credential) -> None:
        """Forget a discoverable credential."""
        self._transaction.delete(_RECORD, self._place(credential.rp_id_hash, credential.id))
        self._transaction.delete(_COUNTER, self._secrets.name(credential.id))

    def clear(self) -> None:
        """Forget all of them."""
        for kind in (_RECORD, _COUNTER):
            for ident in self._transaction.idents(kind):
                self._transaction.delete(kind, ident)

    def count(self, credential: Credential) -> int:
        """The signature counter after another signature, durable with the transaction."""
        place, last = self._counter(credential)
        count = min(last + 1, _LARGEST_COUNT)
        self._put_count(place, count)
        return count

    def last_count(self, credential: Credential) -> int:
        """The signature counter as it stands, 1 or more."""
        _, last = self._counter(credential)
        return last

    def cred_random(self, credential: Credential, *, uv: bool) -> bytes:
        """CredRandom of 32 bytes, another one with user verification (CTAP 2.1 12.5)."""
        return self._secrets.make((b"with uv" if uv else b"without") + credential.id)

    def _counter(self, credential: Credential) -> tuple[bytes, int]:
        """Where the signature counter is, and what it is: its own, or else the shared one."""
        for place in (self._secrets.name(credential.id), _SHARED_COUNTER):
            record = self._transaction.get(_COUNTER, place)
            if record is not None:
                return place, int.from_bytes(record, "big")
        return _SHARED_COUNTER, 0

    def _put_count(self, place: bytes, count: int) -> None:
        self._transaction.put(_COUNTER, place, count.to_bytes(4, "big"), visible=False)

    def _place(self, rp_id_hash: bytes, ident: bytes) -> bytes:
        return self._secrets.name(rp_id_hash) + self._secrets.name(ident)

    def _load(self, place: bytes) -> Credential:
        return Credential.decode(self._transaction.get(_RECORD, place) or b"")


def _created(credential: Credential) -> int:
    return 0 if credential.account is None else credential.account.created
