"""The state in which the application leaves the factory: that of a YubiKey of the same firmware."""

from __future__ import annotations

from token_fw.apps.piv.algorithms import ATTESTATION, Origin, default_pin_policy
from token_fw.apps.piv.objects import ATTESTATION_CERTIFICATE
from token_fw.apps.piv.session import Core
from token_fw.apps.piv.slots import ManagementRecord, Policies, SlotKey
from token_fw.apps.yubikey import serial_number
from token_fw.crypto import KeySpec, generate
from token_fw.pin import PinRef, Pins

TRIES = 3
DEFAULT_PINS = {PinRef.PIV: b"123456", PinRef.PUK: b"12345678"}
DEFAULT_MANAGEMENT_KEY = ManagementRecord(0x0A, bytes(range(1, 9)) * 3)
"""AES-192, as firmware 5.7 has it; the value is every YubiKey's."""

_P256 = 0x11


def furnish(core: Core) -> None:
    """Give a token that never had the application what it needs; nothing where it had it."""
    if not core.management.exists:
        _make_attestation_key(core)
        restore(core)


def restore(core: Core) -> None:
    """Forget all but the attestation key and its certificate; all has its factory value again."""
    core.keys.clear()
    core.objects.clear()
    for ref in DEFAULT_PINS:
        restore_pin(core, ref, TRIES)
    core.management.set(DEFAULT_MANAGEMENT_KEY)


def restore_pin(core: Core, ref: PinRef, tries: int) -> None:
    """Give a PIN its factory value, and so many tries."""
    Pins.create(core.transaction, ref, tries)
    core.pins.set(ref, DEFAULT_PINS[ref])


def _make_attestation_key(core: Core) -> None:
    from token_fw.apps.piv import attestation  # noqa: PLC0415  slow to load

    private = generate(KeySpec.ec("P-256"))
    policies = Policies(default_pin_policy(ATTESTATION))
    core.keys.put(ATTESTATION, SlotKey(_P256, policies, Origin.GENERATED, parsed=private))
    number = core.rng(attestation.NUMBER_SIZE)
    certificate = attestation.attestation_certificate(private, serial_number(core.token), number)
    core.objects.write(ATTESTATION_CERTIFICATE, certificate)
