"""Secret keys for tests of the facade: made from their values, and told where they may be."""

from __future__ import annotations

from pkcs11_module import _constants as ck
from pkcs11_module.types import Mechanism
from tests.unit.facade_rig import Client, Value, template


def make(
    client: Client, session: int, value: bytes, key_type: int = ck.CKK_AES, **more: Value
) -> int:
    """A secret key with that value, extractable and good for everything."""
    wanted: dict[str, Value] = {
        "CLASS": ck.CKO_SECRET_KEY,
        "KEY_TYPE": key_type,
        "VALUE": value,
        "SENSITIVE": False,
        "EXTRACTABLE": True,
        "DERIVE": True,
        "WRAP": True,
        "UNWRAP": True,
    }
    handle: int = client("C_CreateObject", session, template(**{**wanted, **more}))
    return handle


def generate(client: Client, session: int, mechanism: int, **wanted: Value) -> int:
    """A key of that mechanism without a parameter."""
    handle: int = client("C_GenerateKey", session, Mechanism(mechanism), template(**wanted))
    return handle


def value(client: Client, session: int, handle: int) -> bytes:
    """CKA_VALUE."""
    (told,) = client.get(session, handle, "VALUE")
    return told


def tells(client: Client, session: int, handle: int, *names: str) -> list[bool]:
    """CK_BBOOL attributes."""
    return [bool(told[0]) for told in client.get(session, handle, *names)]
