"""The emulated card does what spec/vectors/piv.toml says."""

from __future__ import annotations

from typing import Any

import pytest

from host_tools.conformance import piv_commands as piv
from host_tools.conformance import vectors
from host_tools.conformance.checks import Verdict
from host_tools.conformance.piv import PivDialect
from host_tools.conformance.subject import Subject
from host_tools.conformance.vectors import Vector
from tests import cards, piv_cards
from tests.vectors.examined import EmulatedCard

TABLE = vectors.load("piv")
VECTORS = pytest.mark.parametrize("vector", TABLE.vectors, ids=lambda vector: vector.name)


@pytest.fixture
def subject() -> Subject:
    return Subject(EmulatedCard(), piv.SPEC)


def run(subject: Subject, vector: Vector) -> list[Any]:
    checks = list(vectors.examine(subject, PivDialect(subject, TABLE, {}), vector, TABLE.tries))
    assert len(checks) == 1 + len(vector.steps)
    return [check for check in checks if check.verdict is not Verdict.PASSED]


@VECTORS
def test_vector(subject: Subject, vector: Vector) -> None:
    assert run(subject, vector) == []


def test_the_values_of_a_factory_new_card_are_those_of_the_table() -> None:
    client = piv_cards.client(cards.Bench())
    client.ok(piv.verify(TABLE.pins["pin"].encode()))
    puk = TABLE.pins["puk"].encode()
    client.ok(piv.change(piv.REF_PUK, puk, puk))
    client.prove(bytes.fromhex(TABLE.table["management_keys"]["factory"]["value"]))


@pytest.mark.parametrize(
    ("step", "got"),
    [
        ({"command": "VERIFY", "pin": "pin-wrong", "expect": "NO_ERROR"}, "63C2"),
        ({"command": "GET DATA", "tag": "5FC102", "text": "", "expect": "NO_ERROR"}, "6A82"),
    ],
)
def test_a_card_that_does_something_else_fails(
    subject: Subject, step: dict[str, Any], got: str
) -> None:
    [failed] = run(subject, Vector("a wrong one", vectors.FACTORY, [step]))
    assert (failed.verdict, failed.got[:4]) == (Verdict.FAILED, got)
