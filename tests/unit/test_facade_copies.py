"""C_CopyObject, and the attributes that forbid things to be done with an object."""

from __future__ import annotations

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module.types import Mechanism
from tests.unit.facade_rig import P256, Client, Value, data_template, template
from tests.unit.facade_samples import certificate, ec_private_key

AES: dict[str, Value] = {
    "CLASS": ck.CKO_SECRET_KEY,
    "KEY_TYPE": ck.CKK_AES,
    "VALUE": bytes(16),
    "EXTRACTABLE": True,
}
CERTIFICATE: dict[str, Value] = {
    "CLASS": ck.CKO_CERTIFICATE,
    "CERTIFICATE_TYPE": ck.CKC_X_509,
    "VALUE": certificate(),
}
KINDS: dict[str, tuple[dict[str, Value], list[str]]] = {
    "data": (dict(data_template("d", APPLICATION="app")), ["VALUE", "APPLICATION"]),
    "certificate": (CERTIFICATE, ["VALUE", "SUBJECT", "CHECK_VALUE"]),
    "secret key": (AES, ["VALUE", "VALUE_LEN", "CHECK_VALUE", "EXTRACTABLE"]),
}
PLACES = [(False, False), (False, True), (True, False), (True, True)]


@pytest.mark.parametrize(("source", "goal"), PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_an_object_is_copied_between_session_and_token(
    client: Client, session: int, kind: str, source: bool, goal: bool
) -> None:
    values, names = KINDS[kind]
    original = client(
        "C_CreateObject", session, template(**{**values, "TOKEN": source, "LABEL": "first"})
    )
    change = template(LABEL="second", TOKEN=goal, MODIFIABLE=False, DESTROYABLE=False)
    copy = client("C_CopyObject", session, original, change)
    told = client.get(session, copy, "LABEL", "TOKEN", "MODIFIABLE", "DESTROYABLE")
    assert told == [b"second", bytes((goal,)), b"\x00", b"\x00"]
    assert client.get(session, copy, *names) == client.get(session, original, *names)
    assert client.get(session, original, "LABEL", "TOKEN") == [b"first", bytes((source,))]
    unique = [client.get(session, handle, "UNIQUE_ID") for handle in (original, copy)]
    assert unique[0] != unique[1]
    client("C_DestroyObject", session, original)
    assert client.get(session, copy, *names)


@pytest.mark.parametrize(("source", "goal"), PLACES)
def test_a_public_key_is_copied_between_session_and_token(
    client: Client, session: int, source: bool, goal: bool
) -> None:
    public, private = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(ck.CKM_EC_KEY_PAIR_GEN),
        template(TOKEN=source, EC_PARAMS=P256),
        template(TOKEN=False),
    )
    copy = client("C_CopyObject", session, public, template(TOKEN=goal, ID=b"copy"))
    names = ("EC_POINT", "PUBLIC_KEY_INFO", "LOCAL", "KEY_GEN_MECHANISM")
    assert client.get(session, copy, *names) == client.get(session, public, *names)
    signature = client.sign(session, ck.CKM_ECDSA, private, bytes(32))
    assert client.verifies(session, ck.CKM_ECDSA, copy, bytes(32), signature)


def test_a_private_key_of_the_session_is_copied_onto_the_token_and_not_back(
    client: Client, session: int
) -> None:
    original = client("C_CreateObject", session, template(**ec_private_key()))
    copy = client("C_CopyObject", session, original, template(TOKEN=True))
    signature = client.sign(session, ck.CKM_ECDSA, copy, bytes(32))
    assert len(signature) == 64
    for place in ({"TOKEN": False}, {"TOKEN": True}, {}):
        refusal = client.fails("C_CopyObject", session, copy, template(**place))
        assert refusal == "CKR_ACTION_PROHIBITED"


def test_a_told_private_key_goes_onto_the_token_only_as_one_that_is_not(
    client: Client, session: int
) -> None:
    told = {**ec_private_key(), "SENSITIVE": False, "EXTRACTABLE": True}
    original = client("C_CreateObject", session, template(**told))
    refusal = client.fails("C_CopyObject", session, original, template(TOKEN=True))
    assert refusal == "CKR_TEMPLATE_INCONSISTENT"
    hidden = template(TOKEN=True, SENSITIVE=True, EXTRACTABLE=False)
    copy = client("C_CopyObject", session, original, hidden)
    told_of = client.get(session, copy, "SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE")
    assert told_of == [b"\x01", b"\x00", b"\x00"]


def test_a_copy_is_as_sensitive_as_its_original(client: Client, session: int) -> None:
    original = client("C_CreateObject", session, template(**{**AES, "SENSITIVE": True}))
    assert client.fails("C_CopyObject", session, original, template(SENSITIVE=False)) == (
        "CKR_ATTRIBUTE_READ_ONLY"
    )
    copy = client("C_CopyObject", session, original, template(EXTRACTABLE=False))
    assert client.get(session, copy, "EXTRACTABLE", "NEVER_EXTRACTABLE") == [b"\x00", b"\x00"]
    assert client.fails("C_CopyObject", session, copy, template(EXTRACTABLE=True)) == (
        "CKR_ATTRIBUTE_READ_ONLY"
    )
    assert client.fails("C_CopyObject", session, original, template(PRIVATE=False)) == (
        "CKR_TEMPLATE_INCONSISTENT"
    )


def test_a_generated_key_stays_local_when_copied(client: Client, session: int) -> None:
    original = client(
        "C_GenerateKey",
        session,
        Mechanism(ck.CKM_AES_KEY_GEN),
        template(VALUE_LEN=16, SENSITIVE=True, EXTRACTABLE=False),
    )
    names = ("LOCAL", "KEY_GEN_MECHANISM", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE")
    generated = client.get(session, original, *names)
    assert generated == [
        b"\x01",
        ck.CKM_AES_KEY_GEN.to_bytes(8, "little"),
        b"\x01",
        b"\x01",
    ]
    copy = client("C_CopyObject", session, original, template(TOKEN=True))
    assert client.get(session, copy, *names) == generated


@pytest.mark.parametrize("on_token", [True, False])
def test_what_an_object_forbids(client: Client, session: int, on_token: bool) -> None:
    values = data_template("fixed", TOKEN=on_token, DESTROYABLE=False, COPYABLE=False)
    handle = client("C_CreateObject", session, template(**values))
    assert client.fails("C_DestroyObject", session, handle) == "CKR_ACTION_PROHIBITED"
    assert client.fails("C_CopyObject", session, handle, ()) == "CKR_ACTION_PROHIBITED"
    assert client.find(session, LABEL="fixed") == [handle]
    refusal = client.fails("C_SetAttributeValue", session, handle, template(COPYABLE=True))
    assert refusal == "CKR_ATTRIBUTE_READ_ONLY"


def test_copies_are_made_where_objects_may_be_made(client: Client) -> None:
    public = client.open()
    original = client("C_CreateObject", public, template(**data_template("x", TOKEN=False)))
    refusal = client.fails("C_CopyObject", public, original, template(TOKEN=True))
    assert refusal == "CKR_USER_NOT_LOGGED_IN"
    refusal = client.fails("C_CopyObject", public, original, template(PRIVATE=True))
    assert refusal == "CKR_USER_NOT_LOGGED_IN"
    readable = client.user(rw=False)
    refusal = client.fails("C_CopyObject", readable, original, template(TOKEN=True))
    assert refusal == "CKR_SESSION_READ_ONLY"
    assert client.fails("C_CopyObject", readable, 99, ()) == "CKR_OBJECT_HANDLE_INVALID"
