"""CKA_TRUSTED on the token: the SO gives it and gains nothing else, the user may take it away."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from apdu.model import SW, StatusWordError
from apdu.transport import Transport
from pkcs11_module import _constants as ck
from pkcs11_module.cards import pkcs15
from pkcs11_module.cards.card import TokenCard
from pkcs11_module.cards.card_keys import USAGE_MAC
from pkcs11_module.cards.entries import DirectoryKind
from pkcs11_module.types import Mechanism
from tests.unit.facade_rig import (
    P256,
    ROOM,
    SO_PIN,
    USER_PIN,
    Client,
    Rig,
    Value,
    data_template,
    template,
)
from tests.unit.facade_samples import certificate
from tests.unit.facade_secrets import generate, make, tells
from token_fw.crypto import KeyKind, KeySpec, secret_key

KEK, SECRET = bytes(range(32)), bytes(range(32, 64))
KEY_WRAP = Mechanism(ck.CKM_AES_KEY_WRAP)
CERTIFICATE: dict[str, Value] = {
    "CLASS": ck.CKO_CERTIFICATE,
    "CERTIFICATE_TYPE": ck.CKC_X_509,
    "TOKEN": True,
    "ID": b"ca",
    "VALUE": certificate(),
}
Maker = Callable[[Client, int], int]


def as_so(client: Client, session: int) -> None:
    switch(client, session, ck.CKU_SO, SO_PIN)


def as_user(client: Client, session: int) -> None:
    switch(client, session, ck.CKU_USER, USER_PIN)


def switch(client: Client, session: int, user: int, pin: bytes) -> None:
    client.outcome("C_Logout", session)
    client("C_Login", session, user, pin)


def trust(client: Client, session: int, handle: int, *, on: bool = True) -> None:
    """Have the SO mark an object; the user is logged in before and after."""
    as_so(client, session)
    client("C_SetAttributeValue", session, handle, template(TRUSTED=on))
    as_user(client, session)


def make_certificate(client: Client, session: int) -> int:
    handle: int = client("C_CreateObject", session, template(**CERTIFICATE))
    return handle


def make_public(client: Client, session: int) -> int:
    return client.make_ec_pair(session)[0]


def make_wrapping(client: Client, session: int) -> int:
    return make(client, session, KEK, TOKEN=True, PRIVATE=False)


MAKERS = pytest.mark.parametrize(
    "maker",
    [make_certificate, make_public, make_wrapping],
    ids=["certificate", "public key", "secret key"],
)


@MAKERS
def test_the_so_marks_a_public_object_and_takes_the_mark_away(
    rig: Rig, client: Client, maker: Maker
) -> None:
    session = client.user()
    handle = maker(client, session)
    label, ident = client.get(session, handle, "LABEL", "UNIQUE_ID")
    trust(client, session, handle)
    assert tells(client, session, handle, "TRUSTED") == [True]
    rig.reinsert()
    other = rig.application()
    session = other.user()
    (handle,) = other.find(session, TRUSTED=True)
    assert other.get(session, handle, "LABEL", "UNIQUE_ID") == [label, ident]
    trust(other, session, handle, on=False)
    assert other.find(session, TRUSTED=True) == []


@MAKERS
def test_the_user_can_take_the_mark_away_but_not_give_it(client: Client, maker: Maker) -> None:
    session = client.user()
    handle = maker(client, session)
    wanted = template(TRUSTED=True)
    assert client.fails("C_SetAttributeValue", session, handle, wanted) == "CKR_ATTRIBUTE_READ_ONLY"
    trust(client, session, handle)
    client("C_SetAttributeValue", session, handle, template(TRUSTED=False))
    assert tells(client, session, handle, "TRUSTED") == [False]


def test_a_trusted_key_of_the_token_wraps_what_others_may_not(client: Client) -> None:
    session = client.user()
    wrapping = make_wrapping(client, session)
    key = make(client, session, SECRET, TOKEN=True, PRIVATE=False, WRAP_WITH_TRUSTED=True)

    def wrap() -> str:
        return client.outcome("C_WrapKey", session, KEY_WRAP, wrapping, key, ROOM)

    assert wrap() == "CKR_KEY_NOT_WRAPPABLE"
    trust(client, session, wrapping)
    assert wrap() == "CKR_OK"
    wrapped = client("C_WrapKey", session, KEY_WRAP, wrapping, key, ROOM)
    wanted = template(CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=ck.CKK_AES, SENSITIVE=False)
    back = client("C_UnwrapKey", session, KEY_WRAP, wrapping, wrapped, wanted)
    assert client.get(session, back, "VALUE") == [SECRET]
    client("C_SetAttributeValue", session, wrapping, template(TRUSTED=False))
    assert wrap() == "CKR_KEY_NOT_WRAPPABLE"
    off = client.fails("C_SetAttributeValue", session, key, template(WRAP_WITH_TRUSTED=False))
    assert off == "CKR_ATTRIBUTE_READ_ONLY"


# What the user may do to a trusted object


@pytest.mark.parametrize("on_token", [True, False])
def test_what_the_so_vouches_for_stays_while_it_is_trusted(client: Client, on_token: bool) -> None:
    session = client.open()
    as_so(client, session)
    public: dict[str, Value] = {
        "CLASS": ck.CKO_PUBLIC_KEY,
        "KEY_TYPE": ck.CKK_EC,
        "EC_PARAMS": P256,
        "EC_POINT": point(),
        "TRUSTED": True,
        "TOKEN": on_token,
    }
    key = client("C_CreateObject", session, template(**public))
    as_user(client, session)
    for change in (
        {"WRAP": True},
        {"VERIFY": False},
        {"SUBJECT": b"\x30\x00"},
        {"END_DATE": b"20991231"},
        {"LABEL": "both", "ENCRYPT": True},
        {"TRUSTED": True, "WRAP": True},
    ):
        refusal = client.fails("C_SetAttributeValue", session, key, template(**change))
        assert refusal == "CKR_ATTRIBUTE_READ_ONLY", change
    client("C_SetAttributeValue", session, key, template(LABEL="mine", ID=b"\x07", VERIFY=True))
    assert client.get(session, key, "LABEL", "TRUSTED", "WRAP") == [b"mine", b"\x01", b"\x00"]
    client("C_SetAttributeValue", session, key, template(WRAP=True, TRUSTED=False))
    assert tells(client, session, key, "WRAP", "TRUSTED") == [True, False]
    client("C_SetAttributeValue", session, key, template(SUBJECT=b"\x30\x00"))


def point() -> bytes:
    """The base point of P-256 as a CKA_EC_POINT."""
    x = "6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296"
    y = "4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5"
    return bytes.fromhex("044104" + x + y)


@MAKERS
def test_no_other_value_gets_under_the_mark(client: Client, maker: Maker) -> None:
    session = client.user()
    handle = maker(client, session)
    trust(client, session, handle)
    for name, value in (("VALUE", SECRET), ("EC_POINT", point()), ("WRAP_TEMPLATE", b"")):
        refusal = client.fails("C_SetAttributeValue", session, handle, template(**{name: value}))
        assert refusal in ("CKR_ATTRIBUTE_READ_ONLY", "CKR_ATTRIBUTE_TYPE_INVALID")
    assert client.fails("C_CopyObject", session, handle, ()) == "CKR_ATTRIBUTE_READ_ONLY"
    copy = client("C_CopyObject", session, handle, template(TRUSTED=False))
    assert tells(client, session, copy, "TRUSTED") == [False]
    client("C_DestroyObject", session, copy)
    client("C_DestroyObject", session, handle)
    again = maker(client, session)
    assert tells(client, session, again, "TRUSTED") == [False]


def test_a_key_in_the_place_of_a_trusted_one_that_is_gone_is_not_trusted(
    rig: Rig, client: Client
) -> None:
    session = client.user()
    wrapping = make_wrapping(client, session)
    trust(client, session, wrapping)
    # A program that knows no directories deletes the key, whose reference is free then.
    card = stranger(rig, pkcs15.USER_PIN, USER_PIN)
    (reference,) = card.keys()
    card.delete_key(reference)
    assert client.find(session, CLASS=ck.CKO_SECRET_KEY) == []
    other = make(client, session, SECRET, TOKEN=True, PRIVATE=False)
    assert list(card.keys()) == [reference]
    assert tells(client, session, other, "TRUSTED") == [False]
    assert client.find(session, CLASS=ck.CKO_SECRET_KEY) == [other]


# What the SO may do


def test_the_so_lists_what_is_trusted_from_the_start(rig: Rig, client: Client) -> None:
    session = client.open()
    as_so(client, session)
    first, second = (
        client("C_CreateObject", session, template(**{**CERTIFICATE, "TRUSTED": True}))
        for _ in range(2)
    )
    assert first != second
    key = client(
        "C_CreateObject",
        session,
        template(
            CLASS=ck.CKO_PUBLIC_KEY,
            KEY_TYPE=ck.CKK_EC,
            TOKEN=True,
            EC_PARAMS=P256,
            EC_POINT=point(),
            TRUSTED=True,
            LABEL="partner",
        ),
    )
    rig.reinsert()
    other = rig.application()
    session = other.user()
    (key,) = other.find(session, LABEL="partner", TRUSTED=True)
    assert other.get(session, key, "EC_POINT", "EC_PARAMS") == [point(), P256]
    found = other.find(session, CLASS=ck.CKO_CERTIFICATE, TRUSTED=True)
    assert [other.get(session, each, "VALUE") for each in found] == [[certificate()]] * 2
    other("C_SetAttributeValue", session, found[0], template(LABEL="renamed"))
    other("C_DestroyObject", session, found[1])
    assert other.find(session, CLASS=ck.CKO_CERTIFICATE) == found[:1]
    assert other.find(session, LABEL="renamed") == found[:1]


@pytest.mark.parametrize(
    "values",
    [
        CERTIFICATE,
        {**CERTIFICATE, "TRUSTED": True, "PRIVATE": True},
        data_template("data"),
        {
            "CLASS": ck.CKO_SECRET_KEY,
            "KEY_TYPE": ck.CKK_AES,
            "VALUE": KEK,
            "TOKEN": True,
            "PRIVATE": False,
            "TRUSTED": True,
        },
    ],
    ids=["not trusted", "private", "data", "secret key"],
)
def test_the_so_makes_nothing_else_on_the_token(client: Client, values: dict[str, Value]) -> None:
    session = client.open()
    as_so(client, session)
    refusal = client.fails("C_CreateObject", session, template(**values))
    assert refusal == "CKR_USER_NOT_LOGGED_IN"
    wanted = template(TOKEN=True, VALUE_LEN=32, TRUSTED=True, PRIVATE=False)
    mechanism = Mechanism(ck.CKM_AES_KEY_GEN)
    assert client.fails("C_GenerateKey", session, mechanism, wanted) == "CKR_USER_NOT_LOGGED_IN"
    as_user(client, session)
    assert client.find(session) == []


@MAKERS
def test_the_so_changes_nothing_else_and_destroys_nothing(client: Client, maker: Maker) -> None:
    session = client.user()
    handle = maker(client, session)
    hidden = make(client, session, SECRET, TOKEN=True)
    before = client.get(session, handle, "LABEL", "ID", "TRUSTED")
    as_so(client, session)
    for values in ({"LABEL": "x"}, {"LABEL": "x", "TRUSTED": True}, {}):
        change = template(**values)
        refusal = client.fails("C_SetAttributeValue", session, handle, change)
        assert refusal == "CKR_USER_NOT_LOGGED_IN"
    assert client.fails("C_DestroyObject", session, handle) == "CKR_USER_NOT_LOGGED_IN"
    refusal = client.fails("C_SetAttributeValue", session, hidden, template(TRUSTED=True))
    assert refusal == "CKR_OBJECT_HANDLE_INVALID"
    as_user(client, session)
    assert client.get(session, handle, "LABEL", "ID", "TRUSTED") == before


def test_what_is_not_modifiable_is_not_marked(client: Client) -> None:
    session = client.user()
    handle = client("C_CreateObject", session, template(**CERTIFICATE, MODIFIABLE=False))
    as_so(client, session)
    refusal = client.fails("C_SetAttributeValue", session, handle, template(TRUSTED=True))
    assert refusal == "CKR_ACTION_PROHIBITED"


def stranger(rig: Rig, reference: int, pin: bytes) -> TokenCard:
    """A program of another make at the card."""
    assert rig.reader.card is not None
    transport: Transport = rig.reader.card.connect()
    card = TokenCard(transport)
    card.verify(reference, pin)
    return card


def refused(work: Callable[[], object]) -> bool:
    try:
        work()
    except StatusWordError as error:
        return error.sw == SW.SECURITY_STATUS_NOT_SATISFIED
    return False


def test_the_card_lets_the_so_write_the_public_directories_alone(rig: Rig, client: Client) -> None:
    session = client.user()
    make_wrapping(client, session)
    make_certificate(client, session)
    card = stranger(rig, pkcs15.SO_PIN, SO_PIN)
    writable = set()
    for kind, path, private in pkcs15.DIRECTORIES:
        if not refused(partial(card.write, path, b"", b"\x00")):
            writable.add((kind, private))
    assert writable == {
        (DirectoryKind.PUBLIC_KEYS, False),
        (DirectoryKind.CERTIFICATES, False),
        (DirectoryKind.SECRET_KEYS, False),
    }
    value = pkcs15.DF + b"\x90\x00"
    free = pkcs15.DF + b"\x90\x77"
    open_to_all = pkcs15.conditions(read=0, update=0, delete=0)
    key = secret_key(KeySpec.secret(KeyKind.AES, 256), KEK)
    for work in (
        lambda: card.write(pkcs15.ODF, b"", b"\x00"),
        lambda: card.write(pkcs15.TOKEN_INFO, b"", b"\x00"),
        lambda: card.write(value, b"", b"\x00"),
        lambda: card.delete(value),
        lambda: card.delete(pkcs15.DF + b"\x44\x04"),
        lambda: card.create(free, open_to_all, b""),
        lambda: card.delete_key(0),
        lambda: card.secret_value(0),
        lambda: card.put_secret(0, key, USAGE_MAC, 0),
        lambda: card.generate_secret(1, key.spec, USAGE_MAC, 0),
    ):
        assert refused(work)
    assert card.read(value) == certificate()


def test_the_so_and_the_user_write_at_the_same_time(rig: Rig, client: Client) -> None:
    session = client.user()
    handle = make_certificate(client, session)
    officer = rig.application()
    so_session = officer.open()
    as_so(officer, so_session)
    (theirs,) = officer.find(so_session, CLASS=ck.CKO_CERTIFICATE)
    other = make_certificate(client, session)
    officer("C_SetAttributeValue", so_session, theirs, template(TRUSTED=True))
    assert client.find(session, TRUSTED=True) == [handle]
    client("C_SetAttributeValue", session, handle, template(LABEL="mine"))
    officer("C_SetAttributeValue", so_session, theirs, template(TRUSTED=False))
    officer("C_SetAttributeValue", so_session, theirs, template(TRUSTED=True))
    assert client.get(session, handle, "LABEL", "TRUSTED") == [b"mine", b"\x01"]
    assert tells(client, session, other, "TRUSTED") == [False]
    assert client.find(session) == [handle, other]


def test_keys_that_the_so_does_not_see_outlast_what_the_so_does_first(
    rig: Rig, client: Client
) -> None:
    session = client.user()
    make_certificate(client, session)
    make(client, session, SECRET, TOKEN=True, SENSITIVE=False)
    rig.reinsert()
    officer = rig.application()
    so_session = officer.open()
    as_so(officer, so_session)
    (handle,) = officer.find(so_session)
    officer("C_SetAttributeValue", so_session, handle, template(TRUSTED=True))
    user = rig.application()
    session = user.user()
    make(user, session, KEK, TOKEN=True)
    assert rig.reader.card is not None
    assert len(TokenCard(rig.reader.card.connect()).keys()) == 2
    (key,) = user.find(session, VALUE=SECRET)
    assert user.get(session, key, "VALUE") == [SECRET]


# Tokens whose directories are the user's alone


def test_a_token_of_an_older_make_answers_that_the_user_is_not_logged_in(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pkcs15, "_TRUSTABLE", frozenset())
    client = rig.initialised()
    session = client.user()
    handle = make_certificate(client, session)
    as_so(client, session)
    refusal = client.fails("C_SetAttributeValue", session, handle, template(TRUSTED=True))
    assert refusal == "CKR_USER_NOT_LOGGED_IN"
    wanted = template(**{**CERTIFICATE, "TRUSTED": True})
    assert client.fails("C_CreateObject", session, wanted) == "CKR_USER_NOT_LOGGED_IN"
    assert client("C_GetSessionInfo", session)[1] == ck.CKS_RW_SO_FUNCTIONS
    assert tells(client, session, handle, "TRUSTED") == [False]
    as_user(client, session)
    assert client.find(session) == [handle]


def test_a_directory_that_is_added_is_like_the_first_of_its_kind(
    rig: Rig, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pkcs15, "DIRECTORY_SIZE", 1)
    session = client.user()
    handles = [make_certificate(client, session) for _ in range(2)]
    for handle in handles:
        trust(client, session, handle)
    assert client.find(session, TRUSTED=True) == handles
    generate(client, session, ck.CKM_AES_KEY_GEN, TOKEN=True, VALUE_LEN=32)
    generate(client, session, ck.CKM_AES_KEY_GEN, TOKEN=True, VALUE_LEN=32)
    assert refused(lambda: stranger(rig, pkcs15.SO_PIN, SO_PIN).read(pkcs15.DF + b"\x44\x80"))
