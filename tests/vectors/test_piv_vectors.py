"""The emulated card does what spec/vectors/piv.toml says."""

from __future__ import annotations

import pytest

from host_tools.conformance import piv_commands as piv
from host_tools.conformance import vectors
from host_tools.conformance.checks import Verdict
from host_tools.conformance.piv import PivDialect
from host_tools.conformance.subject import Subject
from host_tools.conformance.vectors import Vector
from tests.vectors.examined import EmulatedCard

TABLE = vectors.load("piv")


@pytest.mark.parametrize("vector", TABLE.vectors, ids=lambda vector: vector.name)
def test_vector(vector: Vector) -> None:
    subject = Subject(EmulatedCard(), piv.SPEC)
    dialect = PivDialect(subject, TABLE.pins, TABLE.table["management_keys"], {})
    checks = list(vectors.examine(subject, dialect, vector, TABLE.tries))
    assert len(checks) == 1 + len(vector.steps)
    assert [check for check in checks if check.verdict is not Verdict.PASSED] == []


def test_the_values_of_a_factory_new_card_are_those_of_the_table() -> None:
    assert (TABLE.pins["pin"].encode(), TABLE.pins["puk"].encode()) == (piv.PIN, piv.PUK)
    factory = TABLE.table["management_keys"]["factory"]
    assert bytes.fromhex(factory["value"]) == piv.MANAGEMENT_KEY
