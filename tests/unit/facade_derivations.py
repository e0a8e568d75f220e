"""Deriving keys for tests of the facade."""

from __future__ import annotations

from pkcs11_module import _constants as ck
from pkcs11_module.types import Mechanism
from tests.unit.facade_rig import Client, Value, template
from tests.unit.facade_secrets import make

BASE = bytes.fromhex("01234567")


def generic(client: Client, session: int, secret: bytes, **more: Value) -> int:
    """A generic secret key with that value."""
    return make(client, session, secret, ck.CKK_GENERIC_SECRET, **more)


def derive(client: Client, session: int, mechanism: Mechanism, base: int, **wanted: Value) -> int:
    """A derived key that tells its value, unless something else is wanted."""
    told: dict[str, Value] = {"SENSITIVE": False, "EXTRACTABLE": True, **wanted}
    handle: int = client("C_DeriveKey", session, mechanism, base, template(**told))
    return handle


def refused(client: Client, session: int, mechanism: Mechanism, base: int, **wanted: Value) -> str:
    """How the derivation fails."""
    return client.fails("C_DeriveKey", session, mechanism, base, template(**wanted))
