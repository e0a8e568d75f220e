"""Fixtures: a project has them by ``pytest_plugins = ["host_tools.testing.fixtures"]``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from host_tools.testing.fido import FidoKey


@pytest.fixture
def fido_key() -> Iterator[FidoKey]:
    """A FIDO2 token in memory, as new, which python-fido2 finds and no other.

    Nobody touches it unless the test says so: ``with fido_key.touched(): ...``.
    """
    with FidoKey() as key, key.found():
        yield key
