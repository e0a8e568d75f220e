"""The emulated card does what spec/vectors/piv.toml says."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests import cards, piv
from tests.vectors.piv_runner import PivRunner

SPEC = Path(__file__).parents[2] / "spec" / "vectors" / "piv.toml"
TABLE = tomllib.loads(SPEC.read_text(encoding="utf-8"))


def runner() -> PivRunner:
    interface = cards.Bench().connect()

    def reset() -> None:
        interface.reset()

    return PivRunner(piv.Client(interface), reset, TABLE["pins"], TABLE["management_keys"])


@pytest.mark.parametrize("vector", TABLE["vector"], ids=lambda vector: vector["name"])
def test_vector(vector: dict[str, Any]) -> None:
    made = runner()
    for step in vector["steps"]:
        made.run(step)


def test_the_values_of_a_factory_new_card_are_those_of_the_table() -> None:
    assert (TABLE["pins"]["pin"].encode(), TABLE["pins"]["puk"].encode()) == (piv.PIN, piv.PUK)
    factory = TABLE["management_keys"]["factory"]
    assert bytes.fromhex(factory["value"]) == piv.MANAGEMENT_KEY


@pytest.mark.parametrize(
    "step",
    [
        {"command": "VERIFY", "pin": "pin-wrong", "expect": "NO_ERROR"},
        {"command": "GET DATA", "tag": "5FC102", "text": "", "expect": "NO_ERROR"},
    ],
)
def test_a_card_that_does_something_else_fails(step: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match=r"VERIFY: 63C2|GET DATA: 6A82"):
        runner().run(step)
