"""Secret keys as objects of the session and of the token."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from pkcs11_module import _constants as ck
from pkcs11_module.cards import pkcs15
from pkcs11_module.cards.entries import DirectoryKind
from pkcs11_module.types import AttributeRequest
from tests.unit.facade_rig import USER_PIN, Client, Rig, Value, template

VALUE = bytes(range(0x10, 0x30))


def aes(client: Client, session: int, **more: Value) -> int:
    values = {"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": ck.CKK_AES, "VALUE": VALUE, **more}
    return int(client("C_CreateObject", session, template(**values)))


def answer(client: Client, session: int, handle: int, name: int) -> str:
    """How C_GetAttributeValue answers for one attribute."""
    request = (AttributeRequest(name, 1 << 16),)
    return ck.CKR_NAMES[client("C_GetAttributeValue", session, handle, request)[0]]


@pytest.mark.parametrize("on_token", [True, False])
def test_a_key_tells_its_length_its_check_value_and_where_it_comes_from(
    client: Client, session: int, on_token: bool
) -> None:
    handle = aes(client, session, TOKEN=on_token)
    block = Cipher(AES(VALUE), ECB()).encryptor().update(bytes(16))
    told = client.get(session, handle, "VALUE_LEN", "CHECK_VALUE", "LOCAL", "ALWAYS_SENSITIVE")
    assert told == [(32).to_bytes(8, "little"), block[:3], b"\x00", b"\x00"]
    generic: dict[str, Value] = {
        "KEY_TYPE": ck.CKK_GENERIC_SECRET,
        "VALUE": b"secret",
        "TOKEN": on_token,
    }
    handle = aes(client, session, **generic)
    assert client.get(session, handle, "CHECK_VALUE") == [hashlib.sha1(b"secret").digest()[:3]]
    handle = aes(client, session, TOKEN=on_token, CHECK_VALUE=b"")
    assert client.get(session, handle, "CHECK_VALUE") == [b""]


@pytest.mark.parametrize("on_token", [True, False])
def test_the_value_is_told_only_if_not_sensitive_and_extractable(
    client: Client, session: int, on_token: bool
) -> None:
    open_key = aes(client, session, TOKEN=on_token, SENSITIVE=False, EXTRACTABLE=True)
    assert client.get(session, open_key, "VALUE") == [VALUE]
    for hidden in ({"SENSITIVE": True, "EXTRACTABLE": True}, {"EXTRACTABLE": False}):
        handle = aes(client, session, TOKEN=on_token, **hidden)
        assert answer(client, session, handle, ck.CKA_VALUE) == "CKR_ATTRIBUTE_SENSITIVE"
    assert client.find(session, VALUE=VALUE) == [open_key]
    client("C_SetAttributeValue", session, open_key, template(SENSITIVE=True))
    assert answer(client, session, open_key, ck.CKA_VALUE) == "CKR_ATTRIBUTE_SENSITIVE"


def test_what_may_not_be_extracted_any_more_is_kept_by_the_card(
    client: Client, session: int
) -> None:
    handle = aes(client, session, TOKEN=True, EXTRACTABLE=True)
    card = client.application.slot(1).card
    (key,) = card.keys().values()
    assert card.secret_value(key.reference) == VALUE
    client("C_SetAttributeValue", session, handle, template(EXTRACTABLE=False))
    assert client.get(session, handle, "EXTRACTABLE") == [b"\x00"]
    assert client.fails("C_CopyObject", session, handle, ()) == "CKR_ACTION_PROHIBITED"
    (kept,) = card.keys().values()
    assert (kept.usage, kept.policy) == (key.usage, 0)
    refusal = client.fails("C_SetAttributeValue", session, handle, template(EXTRACTABLE=True))
    assert refusal == "CKR_ATTRIBUTE_READ_ONLY"


def test_public_secret_keys_are_listed_before_login_without_their_value(
    rig: Rig, client: Client, session: int
) -> None:
    shown = aes(client, session, TOKEN=True, PRIVATE=False, EXTRACTABLE=True, ID=b"public")
    hidden = aes(client, session, TOKEN=True, ID=b"private")
    client("C_Logout", session)
    assert client.find(session, CLASS=ck.CKO_SECRET_KEY) == [shown]
    assert answer(client, session, shown, ck.CKA_VALUE) == "CKR_ATTRIBUTE_SENSITIVE"
    assert client.fails("C_GetObjectSize", session, hidden) == "CKR_OBJECT_HANDLE_INVALID"
    client("C_Login", session, ck.CKU_USER, USER_PIN)
    assert client.get(session, shown, "VALUE") == [VALUE]
    assert len(client.find(session, CLASS=ck.CKO_SECRET_KEY)) == 2
    rig.reinsert()
    again = rig.application()
    session = again.open()
    assert len(again.find(session)) == 1
    again("C_Login", session, ck.CKU_USER, USER_PIN)
    again("C_CreateObject", session, template(CLASS=ck.CKO_DATA, TOKEN=True))
    found = again.find(session, CLASS=ck.CKO_SECRET_KEY)
    assert {again.get(session, handle, "ID")[0] for handle in found} == {b"public", b"private"}


def test_a_destroyed_key_is_gone_from_the_card(client: Client, session: int) -> None:
    handles = [aes(client, session, TOKEN=True, ID=bytes((index,))) for index in range(3)]
    card = client.application.slot(1).card
    assert len(card.keys()) == 3
    client("C_DestroyObject", session, handles[1])
    assert len(card.keys()) == 2
    assert client.find(session, CLASS=ck.CKO_SECRET_KEY) == [handles[0], handles[2]]


@pytest.mark.parametrize(
    ("key_type", "value"),
    [
        (ck.CKK_DES2, b"\x01\x02\x04\x07\x08\x0b\x0d\x0e" * 2),
        (ck.CKK_DES3, b"\x01\x02\x04\x07\x08\x0b\x0d\x0e" * 3),
        (ck.CKK_SHA3_256_HMAC, bytes(7)),
        (ck.CKK_HKDF, bytes(4096)),
    ],
)
def test_every_type_comes_back_from_the_card(
    rig: Rig, client: Client, session: int, key_type: int, value: bytes
) -> None:
    aes(client, session, TOKEN=True, KEY_TYPE=key_type, VALUE=value, EXTRACTABLE=True)
    rig.reinsert()
    again = rig.application()
    session = again.user()
    (handle,) = again.find(session, CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=key_type)
    assert again.get(session, handle, "VALUE") == [value]


def test_a_token_made_without_directories_of_secret_keys_gets_them(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = [place for place in pkcs15.DIRECTORIES if place[0] is not DirectoryKind.SECRET_KEYS]
    with monkeypatch.context() as older:
        older.setattr(pkcs15, "DIRECTORIES", tuple(fewer))
        client = rig.initialised()
    session = client.user()
    made = [aes(client, session, TOKEN=True, PRIVATE=private) for private in (True, False)]
    assert client.find(session, CLASS=ck.CKO_SECRET_KEY) == made
    rig.reinsert()
    again = rig.application()
    assert len(again.find(again.open())) == 1
    assert len(again.find(again.user())) == 2
