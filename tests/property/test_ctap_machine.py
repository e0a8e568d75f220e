"""No credential, counter or try is lost or given back, wherever an authenticator's power is cut."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.ctap_machine import CtapMachine


@pytest.mark.usefixtures("cheap_hash")
def test_a_power_cut_leaves_the_authenticator_before_or_after_a_request() -> None:
    examples = max(60, settings.default.max_examples // 10) if settings.default else 60
    run_state_machine_as_test(
        CtapMachine, settings=settings(max_examples=examples, stateful_step_count=40)
    )
