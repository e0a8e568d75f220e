"""The emulated card does what spec/vectors/pki.toml says."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests import cards
from tests.vectors.runner import Runner

SPEC = Path(__file__).parents[2] / "spec" / "vectors" / "pki.toml"
TABLE = tomllib.loads(SPEC.read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", TABLE["vector"], ids=lambda vector: vector["name"])
def test_vector(vector: dict[str, Any]) -> None:
    bench = cards.Bench() if vector["card"] == "blank" else cards.operational()
    interface = bench.connect()

    def reset() -> None:
        interface.reset()

    runner = Runner(cards.Client(interface), reset, TABLE["pins"])
    for step in vector["steps"]:
        runner.run(step)


def test_the_pins_of_an_operational_card_are_those_of_the_table() -> None:
    assert TABLE["pins"]["user"].encode() == cards.USER_PIN
    assert TABLE["pins"]["so"].encode() == cards.SO_PIN


def test_a_card_that_does_something_else_fails() -> None:
    interface = cards.operational().connect()
    runner = Runner(cards.Client(interface), lambda: None, TABLE["pins"])
    step = {"command": "VERIFY", "ref": "user", "pin": "user-wrong", "expect": "NO_ERROR"}
    with pytest.raises(AssertionError, match="VERIFY: 63C2, not 9000"):
        runner.run(step)
