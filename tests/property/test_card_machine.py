"""Nothing acknowledged is lost and no PIN try is given back, wherever the power is cut."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.card_machine import CardMachine


@pytest.mark.usefixtures("cheap_hash")
def test_a_power_cut_leaves_the_state_before_or_after_and_never_gives_a_try_back() -> None:
    examples = max(80, settings.default.max_examples // 10) if settings.default else 80
    run_state_machine_as_test(
        CardMachine, settings=settings(max_examples=examples, stateful_step_count=50)
    )
