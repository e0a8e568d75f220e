"""How much fits on a token, and that directories go on in further files."""

from __future__ import annotations

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module.cards import pkcs15
from tests.unit.facade_rig import Rig, data_template, template


def test_256_key_pairs_among_a_thousand_objects() -> None:
    rig = Rig()
    client = rig.initialised()
    session = client.user()
    for index in range(256):
        client.make_ec_pair(session, index.to_bytes(2, "big"))
    for index in range(1000 - 512):
        values = data_template(f"{index} {'x' * 60}", TOKEN=True, PRIVATE=bool(index % 2))
        client("C_CreateObject", session, template(**values))
    assert len(client.find(session)) == 1000
    rig.reinsert()
    again = rig.application()
    session = again.user()
    assert len(again.find(session)) == 1000
    for index in (0, 100, 255):
        ident = index.to_bytes(2, "big")
        (public,) = again.find(session, CLASS=ck.CKO_PUBLIC_KEY, ID=ident)
        (private,) = again.find(session, CLASS=ck.CKO_PRIVATE_KEY, ID=ident)
        signature = again.sign(session, ck.CKM_ECDSA, private, bytes(32))
        assert again.verifies(session, ck.CKM_ECDSA, public, bytes(32), signature)


def test_a_full_directory_goes_on_in_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pkcs15, "DIRECTORY_SIZE", 200)
    rig = Rig()
    client = rig.initialised()
    session = client.user()
    for index in range(20):
        client.make_ec_pair(session, bytes((index,)))
        for private in (False, True):
            values = data_template(f"{private} {index}", PRIVATE=private)
            client("C_CreateObject", session, template(**values))
    assert len(client.find(session)) == 80
    for label in ("False 0", "True 19", "True 3"):
        (handle,) = client.find(session, LABEL=label)
        client("C_SetAttributeValue", session, handle, template(LABEL="renamed"))
    for handle in client.find(session, LABEL="renamed"):
        client("C_DestroyObject", session, handle)
    assert len(client.find(session)) == 77
    other = rig.application()
    session = other.open()
    assert len(other.find(session)) == 20 + 19
