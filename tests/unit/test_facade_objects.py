"""Objects: templates, attributes, changes, searches."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module.types import UNAVAILABLE, AttributeRequest, Buffer, Length, Mechanism
from tests.unit.facade_rig import (
    ED448,
    ED25519,
    P256,
    USER_PIN,
    Client,
    Rig,
    Value,
    data_template,
    encoded,
    template,
)
from tests.unit.facade_samples import SERIAL_NUMBER, certificate, ec_private_key, rsa_private_key
from token_fw import crypto

DODF = bytes.fromhex("3F0050154405")
CERTIFICATE: dict[str, Value] = {
    "CLASS": ck.CKO_CERTIFICATE,
    "CERTIFICATE_TYPE": ck.CKC_X_509,
    "LABEL": "certificate",
    "ID": b"\x07",
    "VALUE": certificate(),
}
BARE_RSA_KEY: dict[str, Value] = {
    name: rsa_private_key()[name] for name in ("CLASS", "KEY_TYPE", "MODULUS", "PRIVATE_EXPONENT")
}
SECRET_KEY: dict[str, Value] = {
    "CLASS": ck.CKO_SECRET_KEY,
    "KEY_TYPE": ck.CKK_AES,
    "ID": b"aes",
    "VALUE": bytes(range(16)),
}
KINDS: dict[str, Mapping[str, Value]] = {
    "secret key": SECRET_KEY,
    "data": data_template("d", APPLICATION="app", OBJECT_ID=b"\x2a\x03"),
    "certificate": CERTIFICATE,
    "RSA private key": rsa_private_key(),
    "EC private key": ec_private_key(),
}


@pytest.mark.parametrize("on_token", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_an_object_has_what_it_was_made_with(
    client: Client, session: int, name: str, on_token: bool
) -> None:
    values = {**KINDS[name], "TOKEN": on_token, "PRIVATE": True}
    handle = client("C_CreateObject", session, template(**values))
    secret = {"PRIVATE_EXPONENT", "PRIME_1", "PRIME_2", "EXPONENT_1", "EXPONENT_2", "COEFFICIENT"}
    if values["CLASS"] in (ck.CKO_PRIVATE_KEY, ck.CKO_SECRET_KEY):
        secret |= {"VALUE"}
    told = [item for item in values if item not in secret]
    assert client.get(session, handle, *told) == [encoded(values[item]) for item in told]
    assert client.find(session, **{item: values[item] for item in told}) == [handle]
    assert client("C_GetObjectSize", session, handle) > 0
    for item in secret & values.keys():
        assert client.find(session, **{item: values[item]}) == []


def test_the_same_attributes_exist_on_the_token_and_in_a_session(
    client: Client, session: int
) -> None:
    for values in KINDS.values():
        found = []
        for on_token in (True, False):
            handle = client("C_CreateObject", session, template(**{**values, "TOKEN": on_token}))
            requests = tuple(AttributeRequest(name, 1 << 16) for name in ck.CKA_NAMES)
            _, answers = client("C_GetAttributeValue", session, handle, requests)
            told = dict(zip(ck.CKA_NAMES.values(), answers, strict=True))
            del told["CKA_TOKEN"], told["CKA_UNIQUE_ID"]
            found.append(told)
        assert found[0] == found[1]


def test_unknown_and_sensitive_attributes_do_not_hide_the_others(
    client: Client, session: int
) -> None:
    handle = client("C_CreateObject", session, template(**{**rsa_private_key(), "TOKEN": True}))
    names = (ck.CKA_CLASS, 0x633, ck.CKA_PRIME_1, ck.CKA_ID, 0xCE5363B4, ck.CKA_LABEL)
    rv, answers = client(
        "C_GetAttributeValue", session, handle, tuple(AttributeRequest(n, 100) for n in names)
    )
    assert rv in (ck.CKR_ATTRIBUTE_TYPE_INVALID, ck.CKR_ATTRIBUTE_SENSITIVE)
    assert answers[0] == encoded(ck.CKO_PRIVATE_KEY)
    assert answers[1] is answers[2] is answers[4] is UNAVAILABLE
    assert isinstance(answers[3], bytes)
    assert isinstance(answers[5], bytes)
    rv, answers = client(
        "C_GetAttributeValue", session, handle, (AttributeRequest(ck.CKA_PRIME_1, None),)
    )
    assert (rv, answers) == (ck.CKR_ATTRIBUTE_SENSITIVE, [UNAVAILABLE])


def test_a_short_buffer_is_told_and_the_others_are_filled(client: Client, session: int) -> None:
    handle = client("C_CreateObject", session, template(**data_template("label", b"12345")))
    requests = (
        AttributeRequest(ck.CKA_VALUE, 4),
        AttributeRequest(ck.CKA_LABEL, None),
        AttributeRequest(ck.CKA_CLASS, 8),
    )
    rv, answers = client("C_GetAttributeValue", session, handle, requests)
    assert rv == ck.CKR_BUFFER_TOO_SMALL
    assert answers == [UNAVAILABLE, Length(5), encoded(ck.CKO_DATA)]


def test_a_certificate_tells_what_is_in_it(client: Client, session: int) -> None:
    handle = client("C_CreateObject", session, template(**{**CERTIFICATE, "TOKEN": True}))
    subject, issuer, serial, start, end = client.get(
        session, handle, "SUBJECT", "ISSUER", "SERIAL_NUMBER", "START_DATE", "END_DATE"
    )
    assert subject == issuer
    assert subject in certificate()
    assert serial == b"\x02\x05" + SERIAL_NUMBER.to_bytes(5, "big")
    assert (start, end) == (b"20200102", b"20491231")
    client("C_Logout", session)
    assert client.find(session, CLASS=ck.CKO_CERTIFICATE, SUBJECT=subject) == [handle]
    assert client.find(session, ISSUER=issuer, SERIAL_NUMBER=serial) == [handle]
    assert client.find(session, SUBJECT=b"nobody") == []


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({}, "CKR_TEMPLATE_INCOMPLETE"),
        ({"CLASS": ck.CKO_DATA, "ID": b"1"}, "CKR_ATTRIBUTE_TYPE_INVALID"),
        ({"CLASS": b"\x00"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({"CLASS": ck.CKO_DATA, "TOKEN": b""}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({"CLASS": ck.CKO_DATA, "LABEL": b"\xff"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({"CLASS": ck.CKO_DATA, "UNIQUE_ID": b"mine"}, "CKR_ATTRIBUTE_READ_ONLY"),
        ({"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": ck.CKK_AES}, "CKR_TEMPLATE_INCOMPLETE"),
        ({"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": ck.CKK_DES}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({**SECRET_KEY, "VALUE": bytes(17)}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({**SECRET_KEY, "VALUE_LEN": 32}, "CKR_TEMPLATE_INCONSISTENT"),
        ({**SECRET_KEY, "CHECK_VALUE": b"abc"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({"CLASS": ck.CKO_PUBLIC_KEY}, "CKR_TEMPLATE_INCOMPLETE"),
        ({**CERTIFICATE, "CERTIFICATE_TYPE": 1}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({**CERTIFICATE, "VALUE": b"no certificate"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({**CERTIFICATE, "SUBJECT": b"\x30\x00"}, "CKR_TEMPLATE_INCONSISTENT"),
        ({**CERTIFICATE, "TRUSTED": True}, "CKR_ATTRIBUTE_READ_ONLY"),
        ({**ec_private_key(), "LOCAL": True}, "CKR_ATTRIBUTE_READ_ONLY"),
        ({**ec_private_key(), "VALUE": bytes(32)}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({**ec_private_key(), "SUBJECT": b"CN=x"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({**ec_private_key(), "START_DATE": b"20231301"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({**ec_private_key(), "EC_PARAMS": ED25519}, "CKR_CURVE_NOT_SUPPORTED"),
        ({**ec_private_key(), "EC_PARAMS": b"\x30\x00"}, "CKR_CURVE_NOT_SUPPORTED"),
        ({**ec_private_key(), "EC_PARAMS": b"\x30"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({**rsa_private_key(), "PRIME_1": b"\x11"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({**BARE_RSA_KEY, "PRIME_2": b""}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({**BARE_RSA_KEY, "PRIVATE_EXPONENT": b"\x11"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({**rsa_private_key(), "PUBLIC_EXPONENT": b"\x03"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
    ],
)
@pytest.mark.parametrize("on_token", [True, False])
def test_templates_are_refused_with_the_error_of_the_standard(
    client: Client, session: int, values: Mapping[str, Value], error: str, on_token: bool
) -> None:
    given = template(**{"TOKEN": on_token, **values})
    assert client.fails("C_CreateObject", session, given) == error
    assert client.find(session) == []


@pytest.mark.parametrize("on_token", [True, False])
@pytest.mark.parametrize("told", [(), ("PUBLIC_EXPONENT",), ("PRIME_1",), ("PRIME_2",)])
def test_an_rsa_key_needs_no_more_than_modulus_and_exponent(
    client: Client, session: int, told: tuple[str, ...], on_token: bool
) -> None:
    key = rsa_private_key()
    values = {**BARE_RSA_KEY, **{name: key[name] for name in told}}
    if not on_token:
        values |= {"SENSITIVE": False, "EXTRACTABLE": True}
    handle = client("C_CreateObject", session, template(**values, TOKEN=on_token))
    client("C_SignInit", session, Mechanism(ck.CKM_SHA256_RSA_PKCS), handle)
    signature = client("C_Sign", session, b"data", Buffer(256))
    whole = client("C_CreateObject", session, template(**key))
    client("C_SignInit", session, Mechanism(ck.CKM_SHA256_RSA_PKCS), whole)
    assert client("C_Sign", session, b"data", Buffer(256)) == signature
    if not on_token:
        primes = client.get(session, handle, "PRIME_1", "PRIME_2")
        assert set(primes) == {key["PRIME_1"], key["PRIME_2"]}


@pytest.mark.parametrize("asked", [{"SENSITIVE": False}, {"EXTRACTABLE": True}])
def test_private_keys_of_the_token_are_never_made_extractable(
    client: Client, session: int, asked: Mapping[str, Value]
) -> None:
    on_token = template(**{**ec_private_key(), "TOKEN": True, **asked})
    assert client.fails("C_CreateObject", session, on_token) == "CKR_TEMPLATE_INCONSISTENT"


def test_a_session_key_is_told_only_if_made_so(client: Client, session: int) -> None:
    key = ec_private_key()
    told = {**key, "SENSITIVE": False, "EXTRACTABLE": True}
    handle = client("C_CreateObject", session, template(**told))
    assert client.get(session, handle, "VALUE") == [key["VALUE"]]
    client("C_SetAttributeValue", session, handle, template(SENSITIVE=True))
    request = (AttributeRequest(ck.CKA_VALUE, 100),)
    rv, _ = client("C_GetAttributeValue", session, handle, request)
    assert rv == ck.CKR_ATTRIBUTE_SENSITIVE
    refusal = client.fails("C_SetAttributeValue", session, handle, template(SENSITIVE=False))
    assert refusal == "CKR_ATTRIBUTE_READ_ONLY"


@pytest.mark.parametrize("on_token", [True, False])
def test_attributes_are_changed_all_or_none(client: Client, session: int, on_token: bool) -> None:
    values = data_template("before", b"old", TOKEN=on_token, APPLICATION="app")
    handle = client("C_CreateObject", session, template(**values))
    client("C_SetAttributeValue", session, handle, template(LABEL="after", VALUE=b"a new value"))
    told = client.get(session, handle, "LABEL", "VALUE", "APPLICATION")
    assert told == [b"after", b"a new value", b"app"]
    assert client.find(session, LABEL="after") == [handle]
    bad = template(LABEL="never", CLASS=ck.CKO_CERTIFICATE)
    refusal = client.fails("C_SetAttributeValue", session, handle, bad)
    assert refusal == "CKR_ATTRIBUTE_READ_ONLY"
    bad = template(LABEL="never", ID=b"1")
    refusal = client.fails("C_SetAttributeValue", session, handle, bad)
    assert refusal == "CKR_ATTRIBUTE_TYPE_INVALID"
    assert client.get(session, handle, "LABEL") == [b"after"]


def test_a_key_keeps_its_handle_and_works_after_a_change(client: Client, session: int) -> None:
    public, private = client.make_ec_pair(session)
    client(
        "C_SetAttributeValue",
        session,
        private,
        template(LABEL="renamed", ID=b"\x99", SUBJECT=b"\x30\x00", END_DATE=b"20300101"),
    )
    told = client.get(session, private, "LABEL", "ID", "SUBJECT", "END_DATE", "START_DATE")
    assert told == [b"renamed", b"\x99", b"\x30\x00", b"20300101", b""]
    signature = client.sign(session, ck.CKM_ECDSA, private, bytes(32))
    assert client.verifies(session, ck.CKM_ECDSA, public, bytes(32), signature)


def test_what_is_not_modifiable_stays(client: Client, session: int) -> None:
    values = data_template("fixed", MODIFIABLE=False)
    handle = client("C_CreateObject", session, template(**values))
    refusal = client.fails("C_SetAttributeValue", session, handle, template(LABEL="x"))
    assert refusal == "CKR_ACTION_PROHIBITED"


def test_the_token_is_written_by_its_user_in_a_writable_session(client: Client) -> None:
    values = template(**data_template("x"))
    public = client.open()
    assert client.fails("C_CreateObject", public, values) == "CKR_USER_NOT_LOGGED_IN"
    readable = client.user(rw=False)
    assert client.fails("C_CreateObject", readable, values) == "CKR_SESSION_READ_ONLY"
    handle = client("C_CreateObject", public, values)
    assert client.fails("C_DestroyObject", readable, handle) == "CKR_SESSION_READ_ONLY"
    refusal = client.fails("C_SetAttributeValue", readable, handle, template(LABEL="y"))
    assert refusal == "CKR_SESSION_READ_ONLY"
    in_session = template(**data_template("x", TOKEN=False))
    client("C_DestroyObject", readable, client("C_CreateObject", readable, in_session))
    client("C_Logout", public)
    assert client.fails("C_DestroyObject", public, handle) == "CKR_USER_NOT_LOGGED_IN"
    private = template(**data_template("x", TOKEN=False, PRIVATE=True))
    assert client.fails("C_CreateObject", public, private) == "CKR_USER_NOT_LOGGED_IN"


def test_session_objects_end_with_their_session(client: Client) -> None:
    first, second = client.user(), client.open()
    handle = client("C_CreateObject", first, template(**data_template("x", TOKEN=False)))
    assert client.find(second, LABEL="x") == [handle]
    client("C_CloseSession", first)
    assert client.find(second, LABEL="x") == []
    refusal = client.fails("C_GetAttributeValue", second, handle, ())
    assert refusal == "CKR_OBJECT_HANDLE_INVALID"


def test_private_objects_are_invisible_before_login(client: Client) -> None:
    session = client.user()
    client.make_ec_pair(session)
    client("C_CreateObject", session, template(**data_template("secret", PRIVATE=True)))
    client("C_CreateObject", session, template(**{**CERTIFICATE, "TOKEN": True}))
    client("C_Logout", session)
    classes = [client.get(session, handle, "CLASS")[0] for handle in client.find(session)]
    assert sorted(classes) == [encoded(ck.CKO_CERTIFICATE), encoded(ck.CKO_PUBLIC_KEY)]
    client("C_Login", session, ck.CKU_USER, USER_PIN)
    assert len(client.find(session)) == 4


def test_searching_is_a_state_of_its_own(client: Client, session: int) -> None:
    assert client.fails("C_FindObjects", session, 1) == "CKR_OPERATION_NOT_INITIALIZED"
    assert client.fails("C_FindObjectsFinal", session) == "CKR_OPERATION_NOT_INITIALIZED"
    made = {client("C_CreateObject", session, template(**data_template("x"))) for _ in range(5)}
    client("C_FindObjectsInit", session, ())
    assert client.fails("C_FindObjectsInit", session, ()) == "CKR_OPERATION_ACTIVE"
    found = [client("C_FindObjects", session, count) for count in (0, 2, 2, 2, 2)]
    assert [len(part) for part in found] == [0, 2, 2, 1, 0]
    assert {handle for part in found for handle in part} == made
    client("C_FindObjectsFinal", session)


@pytest.mark.parametrize(
    "wanted",
    [
        {"CLASS": 9},
        {"CLASS": 0xCE534353},
        {"CLASS": ck.CKO_SECRET_KEY, "TOKEN": True},
        {"LABEL": "x", "ID": b"1"},
        {"KEY_TYPE": ck.CKK_RSA},
    ],
)
def test_searches_for_what_nobody_has_find_nothing(
    client: Client, session: int, wanted: Mapping[str, Value]
) -> None:
    client("C_CreateObject", session, template(**data_template("x")))
    assert client.find(session, **wanted) == []


def test_a_search_with_two_values_of_one_attribute_finds_nothing(
    client: Client, session: int
) -> None:
    client("C_CreateObject", session, template(**data_template("x")))
    client("C_FindObjectsInit", session, template(LABEL="x") + template(LABEL="y"))
    assert client("C_FindObjects", session, 9) == []


def test_objects_are_the_same_for_every_application(rig: Rig, client: Client) -> None:
    session = client.user()
    other = rig.application()
    other_session = other.user()
    public, private = client.make_ec_pair(session, b"shared")
    found = other.find(other_session, ID=b"shared")
    assert len(found) == 2
    client("C_DestroyObject", session, private)
    gone = [other.outcome("C_GetAttributeValue", other_session, handle, ()) for handle in found]
    assert sorted(gone) == ["CKR_OBJECT_HANDLE_INVALID", "CKR_OK"]
    client.make_ec_pair(session, b"shared")
    assert len(set(other.find(other_session, ID=b"shared")) - set(found)) == 2
    client("C_DestroyObject", session, public)
    assert client.fails("C_DestroyObject", session, public) == "CKR_OBJECT_HANDLE_INVALID"


def test_what_another_program_writes_by_apdus_is_seen_at_the_next_search(
    rig: Rig, client: Client, session: int
) -> None:
    stranger = rig.application()
    stranger.user()
    card = stranger.application.slot(1).card
    client("C_CreateObject", session, template(**data_template("x")))
    listing = card.read(DODF)
    card.write(DODF, listing, listing.replace(b"x", b"z"))
    assert client.find(session, LABEL="x") == []
    assert len(client.find(session, LABEL="z")) == 1
    foreign, garbage = b"\x30\x03abc", b"\x5f\xff"
    card.write(DODF, listing, foreign + garbage)
    assert client.find(session) == []
    client("C_CreateObject", session, template(**data_template("y")))
    assert len(client.find(session, LABEL="y")) == 1
    assert card.read(DODF).startswith(foreign)
    assert card.read(DODF).endswith(garbage)


POINTS = {
    ED25519: bytes.fromhex("D75A980182B10AB7D54BFED3C964073A0EE172F3DAA62325AF021A68F707511A"),
    ED448: bytes.fromhex(
        "5FD7449B59B461FD2CE787EC616AD46A1DA1342485A70E1F8A0EA75D80E96778"
        "EDF124769B46C7061BD6783DF1E50F6CD1FA1ABEAFE8256180"
    ),
}


@pytest.mark.parametrize(
    ("form", "curve"),
    [
        (b"\x13\x0cedwards25519", ED25519),
        (ED25519, ED25519),
        (b"\x13\x0aedwards448", ED448),
        (ED448, ED448),
    ],
)
def test_a_public_key_reads_in_one_form_however_it_was_given(
    client: Client, session: int, form: bytes, curve: bytes
) -> None:
    point = POINTS[curve]
    wrapped = bytes((4, len(point))) + point
    for given in (point, wrapped):
        handle = client(
            "C_CreateObject",
            session,
            template(
                CLASS=ck.CKO_PUBLIC_KEY,
                KEY_TYPE=ck.CKK_EC_EDWARDS,
                TOKEN=True,
                EC_PARAMS=form,
                EC_POINT=given,
            ),
        )
        told = client.get(session, handle, "EC_PARAMS", "EC_POINT")
        assert told == [curve, wrapped]


@pytest.mark.parametrize("last", [0x00, 0xFF])
def test_a_key_may_end_in_a_byte_that_looks_like_fill(
    client: Client, session: int, last: int
) -> None:
    candidates = (crypto.ec_private("P-256", d.to_bytes(32, "big")) for d in range(1, 1 << 16))
    public = next(key.public() for key in candidates if key.public().point[-1] == last)
    point = b"\x04\x41" + public.point
    values: dict[str, Value] = {
        "CLASS": ck.CKO_PUBLIC_KEY,
        "KEY_TYPE": ck.CKK_EC,
        "EC_PARAMS": P256,
    }
    handle = client(
        "C_CreateObject", session, template(**{**values, "EC_POINT": point, "TOKEN": True})
    )
    told = client.get(session, handle, "EC_POINT", "PUBLIC_KEY_INFO")
    assert told == [point, public.to_spki()]
