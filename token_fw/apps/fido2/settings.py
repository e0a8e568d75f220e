"""What can be configured of the authenticator (authenticatorConfig, CTAP 2.1 6.11)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from token_fw.apps.fido2 import cbor
from token_fw.storage.base import StorageCorrupt
from token_fw.transaction import Transaction

MIN_PIN_LENGTH = 4
"""Code points that a PIN has at least, until the setting is raised."""

_KIND, _IDENT = "fido-settings", b"\x00"


@dataclass(frozen=True, slots=True)
class Settings:
    """The durable settings, with their factory values."""

    always_uv: bool = False
    enterprise_attestation: bool = False
    force_pin_change: bool = False
    min_pin_length: int = MIN_PIN_LENGTH
    min_pin_length_rp_ids: tuple[str, ...] = ()
    pin_complexity_policy: bool = False


def load(transaction: Transaction) -> Settings:
    """The settings in force; raises StorageCorrupt."""
    record = transaction.get(_KIND, _IDENT)
    if record is None:
        return Settings()
    try:
        fields = cbor.decode(record)
        fields["min_pin_length_rp_ids"] = tuple(fields["min_pin_length_rp_ids"])
        return Settings(**fields)
    except (cbor.CborError, TypeError, KeyError):
        raise StorageCorrupt("the settings of the authenticator cannot be read") from None


def save(transaction: Transaction, settings: Settings) -> None:
    """Keep the settings."""
    transaction.put(_KIND, _IDENT, cbor.encode(asdict(settings)))


def forget(transaction: Transaction) -> None:
    """Have the factory values again."""
    transaction.delete(_KIND, _IDENT)
