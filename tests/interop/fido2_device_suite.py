"""python-fido2's own tests of authenticators, from its source distribution, and what they skip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.interop import peer_suite
from tests.interop.peer_suite import Outcomes

PACKAGE: Final = "fido2"
FINGERPRINTS: Final = {
    "device.test_bioenroll.test_get_sensor_info",
    *(f"device.test_bioenroll.test_enroll_use_delete[PinProtocolV{number}]" for number in (1, 2)),
}
PINS: Final = {
    f"device.test_clientpin.{test}[PinProtocolV{number}]"
    for test in ("test_pin_validation", "test_change_pin", "test_set_and_reset")
    for number in (1, 2)
}
LEFT_OUT: Final[Mapping[str, str]] = {
    "previewSign not supported by authenticator": (
        "a draft of an extension, which no standard has yet"
    ),
    "Algorithm ES256K not supported": "we have no secp256k1",
    "No RP ID provided with --ep-rp-id": (
        "no relying party is built in for vendor-facilitated enterprise attestation"
    ),
}
"""Why tests are skipped, in their words, and why that is right."""
ONLY_HID: Final[Mapping[str, str]] = {
    "Device is not a CtapHidDevice": "PING is of CTAPHID",
}
PASSED: Final = 88
"""How many are not skipped over HID."""


def run(
    folder: Path, *options: str, environment: Mapping[str, str], patience: float = 1000
) -> Outcomes:
    """Run them all, with these options of pytest."""
    suite = peer_suite.extract(PACKAGE, folder)
    # A test that waits for a user who is not there would wait for ever.
    tests = ("tests/device", "--timeout=100", *options)
    return peer_suite.run(suite, tests, environment, patience)


def check(outcomes: Outcomes, expected: int, left_out: Mapping[str, str]) -> None:
    """That all passed but those that are left out, the fingerprints and the PINs among them."""
    told = "\n".join(f"{name}\n{said}" for name, said in outcomes.failed.items())
    assert not outcomes.failed, told
    assert set(outcomes.skipped.values()) == left_out.keys()
    assert outcomes.passed >= FINGERPRINTS | PINS
    assert len(outcomes.passed) == expected
