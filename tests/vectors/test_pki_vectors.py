"""The emulated card does what spec/vectors/pki.toml says."""

from __future__ import annotations

import pytest

from host_tools.conformance import vectors
from host_tools.conformance.checks import Verdict
from host_tools.conformance.pki import PkiDialect
from host_tools.conformance.pki_commands import PKI
from host_tools.conformance.subject import Subject
from host_tools.conformance.vectors import Vector
from tests.vectors.examined import PINS, EmulatedCard

TABLE = vectors.load("pki")


@pytest.mark.parametrize("vector", TABLE.vectors, ids=lambda vector: vector.name)
def test_vector(vector: Vector) -> None:
    card = EmulatedCard()
    subject = Subject(card, PKI)
    dialect = PkiDialect(subject, TABLE, {}, card.blank)
    checks = list(vectors.examine(subject, dialect, vector, TABLE.tries))
    assert len(checks) == 1 + len(vector.steps)
    assert [check for check in checks if check.verdict is not Verdict.PASSED] == []


def test_the_pins_of_an_operational_card_are_those_of_the_table() -> None:
    assert {name: TABLE.pins[name] for name in PINS} == PINS
