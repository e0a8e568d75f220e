"""python-fido2's own tests of authenticators, over packets of HID, within their process."""

from __future__ import annotations

from pathlib import Path

from tests.interop.fido2_device_suite import LEFT_OUT, PASSED, check, run


def test_the_device_tests_pass_over_hid(tmp_path: Path) -> None:
    here = {"PYTHONPATH": str(Path(__file__).parent)}
    check(run(tmp_path, "-p", "fido2_bench", environment=here), PASSED, LEFT_OUT)
