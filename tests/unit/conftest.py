"""What tests of the facade begin with: a token in a reader, an application, a user's session."""

from __future__ import annotations

import pytest

from tests.unit.facade_rig import Client, Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def client(rig: Rig) -> Client:
    return rig.initialised()


@pytest.fixture
def session(client: Client) -> int:
    return client.user()


@pytest.fixture(params=[True, False], ids=["on the card", "in the session"])
def on_token(request: pytest.FixtureRequest) -> bool:
    """Where a key is."""
    return bool(request.param)
