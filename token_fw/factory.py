"""The factory: what it decides of a token, and how a blank one is made."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from token_fw._pins import POLICIES
from token_fw.pin import MAX_TRIES, PinRef, Pins
from token_fw.state import Attestation, Token
from token_fw.storage.base import Store
from token_fw.transaction import Transaction

SERIAL_SIZE = 8


@dataclass(frozen=True, slots=True)
class Profile:
    """What the factory decides: serial number of 8 bytes, name of the PIN policy, 1 to 15 tries.

    `protected_path`: the token has a pad or a sensor of its own, on which PINs can be entered.
    `attestation`: of its FIDO credentials.
    """

    serial: bytes
    pin_policy: str = "default"
    user_tries: int = 3
    so_tries: int = 10
    protected_path: bool = False
    attestation: Attestation = Attestation.CERTIFICATE

    def __post_init__(self) -> None:
        if len(self.serial) != SERIAL_SIZE:
            raise ValueError(f"a serial number has {SERIAL_SIZE} bytes")
        if self.pin_policy not in POLICIES:
            raise ValueError(f"no PIN policy is called {self.pin_policy!r}")
        if not (1 <= self.user_tries <= MAX_TRIES and 1 <= self.so_tries <= MAX_TRIES):
            raise ValueError(f"a PIN has 1 to {MAX_TRIES} tries")


def personalise(store: Store, profile: Profile) -> None:
    """Make a blank token in an empty store, in one transaction.

    Raises StorageError, ValueError when the store holds a token already.
    """
    transaction = Transaction(store, threading.Lock())
    if Token.exists(transaction):
        raise ValueError("the store holds a token already")
    Token.create(
        transaction,
        profile.serial,
        profile.pin_policy,
        protected_path=profile.protected_path,
        attestation=profile.attestation,
    )
    Pins.create(transaction, PinRef.USER, profile.user_tries)
    Pins.create(transaction, PinRef.SO, profile.so_tries)
    transaction.commit()
