"""C_GenerateKey: kinds, lengths, defaults and computed attributes of secret keys; PBKDF2."""

from __future__ import annotations

import hashlib

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module.types import UNAVAILABLE, AttributeRequest, Mechanism, Pkcs5Pbkd2Params2
from tests.unit.facade_rig import Client, Value, template
from tests.unit.facade_secrets import generate, tells, value


@pytest.mark.parametrize("on_token", [True, False])
@pytest.mark.parametrize(
    ("mechanism", "wanted", "key_type", "length"),
    [
        (ck.CKM_AES_KEY_GEN, {"VALUE_LEN": 16}, ck.CKK_AES, 16),
        (ck.CKM_AES_KEY_GEN, {"VALUE_LEN": 24}, ck.CKK_AES, 24),
        (ck.CKM_AES_KEY_GEN, {"VALUE_LEN": 32, "KEY_TYPE": ck.CKK_AES}, ck.CKK_AES, 32),
        (ck.CKM_DES2_KEY_GEN, {}, ck.CKK_DES2, 16),
        (ck.CKM_DES3_KEY_GEN, {"VALUE_LEN": 24}, ck.CKK_DES3, 24),
        (ck.CKM_GENERIC_SECRET_KEY_GEN, {"VALUE_LEN": 1}, ck.CKK_GENERIC_SECRET, 1),
        (ck.CKM_GENERIC_SECRET_KEY_GEN, {"VALUE_LEN": 4096}, ck.CKK_GENERIC_SECRET, 4096),
        (ck.CKM_SHA_1_KEY_GEN, {}, ck.CKK_SHA_1_HMAC, 20),
        (ck.CKM_SHA512_KEY_GEN, {"VALUE_LEN": 11}, ck.CKK_SHA512_HMAC, 11),
        (ck.CKM_SHA3_384_KEY_GEN, {}, ck.CKK_SHA3_384_HMAC, 48),
        (ck.CKM_HKDF_KEY_GEN, {"VALUE_LEN": 32}, ck.CKK_HKDF, 32),
    ],
)
def test_keys_of_every_kind(
    client: Client,
    session: int,
    *,
    mechanism: int,
    wanted: dict[str, Value],
    key_type: int,
    length: int,
    on_token: bool,
) -> None:
    key = generate(
        client, session, mechanism, **wanted, TOKEN=on_token, EXTRACTABLE=True, ID=b"secret"
    )
    assert client.find(session, ID=b"secret", KEY_TYPE=key_type) == [key]
    kind, made_by = (
        int.from_bytes(told, "little")
        for told in client.get(session, key, "KEY_TYPE", "KEY_GEN_MECHANISM")
    )
    assert (kind, made_by) == (key_type, mechanism)
    assert len(value(client, session, key)) == length
    assert tells(client, session, key, "LOCAL", "TOKEN", "PRIVATE") == [True, on_token, True]


@pytest.mark.parametrize("on_token", [True, False])
@pytest.mark.parametrize(
    ("sensitive", "extractable"), [(True, False), (True, True), (False, True), (False, False)]
)
def test_what_a_key_was_always_is_computed_when_it_is_made(
    client: Client, session: int, on_token: bool, sensitive: bool, extractable: bool
) -> None:
    key = generate(
        client,
        session,
        ck.CKM_AES_KEY_GEN,
        TOKEN=on_token,
        VALUE_LEN=16,
        SENSITIVE=sensitive,
        EXTRACTABLE=extractable,
    )
    told = tells(client, session, key, "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE")
    assert told == [sensitive, not extractable]
    if sensitive or not extractable:
        with pytest.raises(AssertionError, match="CKR_ATTRIBUTE_SENSITIVE"):
            client.get(session, key, "VALUE")


@pytest.mark.parametrize("on_token", [True, False])
@pytest.mark.parametrize("mechanism", [ck.CKM_DES2_KEY_GEN, ck.CKM_DES3_KEY_GEN])
def test_des_keys_have_odd_parity(
    client: Client, session: int, mechanism: int, on_token: bool
) -> None:
    key = generate(client, session, mechanism, TOKEN=on_token, EXTRACTABLE=True)
    assert all(byte.bit_count() % 2 for byte in value(client, session, key))


@pytest.mark.parametrize("on_token", [True, False])
def test_the_check_value_is_that_of_the_value(client: Client, session: int, on_token: bool) -> None:
    key = generate(
        client, session, ck.CKM_AES_KEY_GEN, TOKEN=on_token, VALUE_LEN=32, EXTRACTABLE=True
    )
    copy = client(
        "C_CreateObject",
        session,
        template(CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=ck.CKK_AES, VALUE=value(client, session, key)),
    )
    assert client.get(session, key, "CHECK_VALUE") == client.get(session, copy, "CHECK_VALUE")


@pytest.mark.parametrize(
    ("mechanism", "wanted"),
    [
        (ck.CKM_GENERIC_SECRET_KEY_GEN, {"VALUE_LEN": 16}),
        (ck.CKM_SHA256_KEY_GEN, {}),
        (ck.CKM_AES_KEY_GEN, {"VALUE_LEN": 16, "ENCRYPT": False, "WRAP": False}),
        (ck.CKM_DES3_KEY_GEN, {"ENCRYPT": False, "WRAP": False, "DECRYPT": True}),
    ],
)
def test_keys_of_the_card_that_do_not_encipher_have_a_check_value(
    client: Client, session: int, mechanism: int, wanted: dict[str, Value]
) -> None:
    key = generate(client, session, mechanism, TOKEN=True, EXTRACTABLE=True, **wanted)
    copy = client("C_CopyObject", session, key, template(TOKEN=False))
    (check_value,) = client.get(session, key, "CHECK_VALUE")
    assert len(check_value) == 3
    kind, secret = client.get(session, copy, "KEY_TYPE", "VALUE")
    again = client(
        "C_CreateObject",
        session,
        template(CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=kind, VALUE=secret),
    )
    assert client.get(session, again, "CHECK_VALUE") == [check_value]


def test_a_short_secret_of_the_card_has_no_check_value(client: Client, session: int) -> None:
    mechanism = ck.CKM_GENERIC_SECRET_KEY_GEN
    key = generate(client, session, mechanism, TOKEN=True, VALUE_LEN=15, SENSITIVE=True)
    request = (AttributeRequest(ck.CKA_CHECK_VALUE, 3),)
    rv, answers = client("C_GetAttributeValue", session, key, request)
    assert (ck.CKR_NAMES[rv], answers) == ("CKR_ATTRIBUTE_TYPE_INVALID", [UNAVAILABLE])
    assert client.find(session, CHECK_VALUE=b"abc") == []
    assert client("C_GetObjectSize", session, key) > 0


@pytest.mark.parametrize("on_token", [True, False])
def test_a_check_value_may_be_left_out_but_not_be_chosen(
    client: Client, session: int, on_token: bool
) -> None:
    key = generate(
        client, session, ck.CKM_AES_KEY_GEN, TOKEN=on_token, VALUE_LEN=16, CHECK_VALUE=b""
    )
    assert client.get(session, key, "CHECK_VALUE") == [b""]
    wanted = template(TOKEN=on_token, VALUE_LEN=16, CHECK_VALUE=b"four")
    refusal = client.fails("C_GenerateKey", session, Mechanism(ck.CKM_AES_KEY_GEN), wanted)
    assert refusal == "CKR_ATTRIBUTE_VALUE_INVALID"
    assert client.find(session) == [key]


@pytest.mark.parametrize(
    ("mechanism", "wanted", "error"),
    [
        (ck.CKM_AES_KEY_GEN, {}, "CKR_TEMPLATE_INCOMPLETE"),
        (ck.CKM_AES_KEY_GEN, {"VALUE_LEN": 17}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        (ck.CKM_AES_KEY_GEN, {"VALUE_LEN": 0}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        (ck.CKM_AES_KEY_GEN, {"VALUE_LEN": b"\x10"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        (ck.CKM_AES_KEY_GEN, {"VALUE_LEN": 1 << 63}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        (
            ck.CKM_AES_KEY_GEN,
            {"VALUE_LEN": 16, "KEY_TYPE": ck.CKK_DES3},
            "CKR_TEMPLATE_INCONSISTENT",
        ),
        (
            ck.CKM_AES_KEY_GEN,
            {"VALUE_LEN": 16, "CLASS": ck.CKO_PRIVATE_KEY},
            "CKR_TEMPLATE_INCONSISTENT",
        ),
        (
            ck.CKM_AES_KEY_GEN,
            {"VALUE_LEN": 16, "VALUE": bytes(16)},
            "CKR_TEMPLATE_INCONSISTENT",
        ),
        (ck.CKM_AES_KEY_GEN, {"VALUE_LEN": 16, "LOCAL": True}, "CKR_ATTRIBUTE_READ_ONLY"),
        (ck.CKM_AES_KEY_GEN, {"VALUE_LEN": 16, "MODULUS": b"\1"}, "CKR_ATTRIBUTE_TYPE_INVALID"),
        (ck.CKM_DES3_KEY_GEN, {"VALUE_LEN": 16}, "CKR_TEMPLATE_INCONSISTENT"),
        (ck.CKM_GENERIC_SECRET_KEY_GEN, {}, "CKR_TEMPLATE_INCOMPLETE"),
        (ck.CKM_GENERIC_SECRET_KEY_GEN, {"VALUE_LEN": 4097}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        (ck.CKM_HKDF_KEY_GEN, {}, "CKR_TEMPLATE_INCOMPLETE"),
        (ck.CKM_AES_CBC, {}, "CKR_MECHANISM_INVALID"),
        (ck.CKM_EC_KEY_PAIR_GEN, {}, "CKR_MECHANISM_INVALID"),
    ],
)
@pytest.mark.parametrize("on_token", [True, False])
def test_a_template_that_makes_no_key_is_refused(
    client: Client,
    session: int,
    mechanism: int,
    wanted: dict[str, Value],
    error: str,
    *,
    on_token: bool,
) -> None:
    asked = template(**{"TOKEN": on_token, **wanted})
    assert client.fails("C_GenerateKey", session, Mechanism(mechanism), asked) == error
    assert client.find(session) == []


def test_a_mechanism_is_needed_and_takes_no_parameter(client: Client, session: int) -> None:
    wanted = template(VALUE_LEN=16)
    assert client.fails("C_GenerateKey", session, None, wanted) == "CKR_ARGUMENTS_BAD"
    with_parameter = Mechanism(ck.CKM_AES_KEY_GEN, b"1")
    refusal = client.fails("C_GenerateKey", session, with_parameter, wanted)
    assert refusal == "CKR_MECHANISM_PARAM_INVALID"


def test_token_keys_need_a_writable_session_of_the_user(client: Client) -> None:
    mechanism = Mechanism(ck.CKM_AES_KEY_GEN)
    public = template(VALUE_LEN=16, PRIVATE=False)
    on_token = template(VALUE_LEN=16, TOKEN=True)
    session = client.open(rw=False)
    assert client.outcome("C_GenerateKey", session, mechanism, public) == "CKR_OK"
    refusal = client.fails("C_GenerateKey", session, mechanism, template(VALUE_LEN=16))
    assert refusal == "CKR_USER_NOT_LOGGED_IN"
    refusal = client.fails("C_GenerateKey", session, mechanism, on_token)
    assert refusal == "CKR_SESSION_READ_ONLY"
    user = client.user()
    assert client.fails("C_GenerateKey", session, mechanism, on_token) == "CKR_SESSION_READ_ONLY"
    assert client.outcome("C_GenerateKey", user, mechanism, on_token) == "CKR_OK"


def test_a_key_of_the_token_is_there_after_the_session(client: Client) -> None:
    session = client.user()
    key = generate(client, session, ck.CKM_AES_KEY_GEN, TOKEN=True, VALUE_LEN=32, EXTRACTABLE=True)
    kept = value(client, session, key)
    generate(client, session, ck.CKM_AES_KEY_GEN, VALUE_LEN=32)
    client("C_CloseAllSessions", 1)
    session = client.user()
    (key,) = client.find(session, CLASS=ck.CKO_SECRET_KEY)
    assert value(client, session, key) == kept


def password_key(
    client: Client, session: int, parameter: Pkcs5Pbkd2Params2, **wanted: Value
) -> int:
    handle: int = client(
        "C_GenerateKey", session, Mechanism(ck.CKM_PKCS5_PBKD2, parameter), template(**wanted)
    )
    return handle


def pbkdf2(prf: int, *, iterations: int = 4096) -> Pkcs5Pbkd2Params2:
    return Pkcs5Pbkd2Params2(ck.CKZ_SALT_SPECIFIED, b"salt", iterations, prf, None, b"password")


def test_pbkdf2_gives_the_key_of_rfc_6070(client: Client, session: int) -> None:
    parameter = pbkdf2(ck.CKP_PKCS5_PBKD2_HMAC_SHA1)
    key = password_key(client, session, parameter, VALUE_LEN=20, EXTRACTABLE=True)
    expected = bytes.fromhex("4b007901b765489abead49d926f721d065a429c1")
    assert value(client, session, key) == expected
    assert tells(client, session, key, "LOCAL") == [True]


@pytest.mark.parametrize("name", ["sha1", "sha224", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("on_token", [True, False])
def test_pbkdf2_with_every_hash(client: Client, session: int, name: str, on_token: bool) -> None:
    parameter = pbkdf2(getattr(ck, f"CKP_PKCS5_PBKD2_HMAC_{name.upper()}"), iterations=3)
    key = password_key(
        client,
        session,
        parameter,
        KEY_TYPE=ck.CKK_AES,
        VALUE_LEN=32,
        EXTRACTABLE=True,
        TOKEN=on_token,
    )
    assert value(client, session, key) == hashlib.pbkdf2_hmac(name, b"password", b"salt", 3, 32)


@pytest.mark.parametrize(
    "parameter",
    [
        pbkdf2(99),
        pbkdf2(ck.CKP_PKCS5_PBKD2_HMAC_SHA256, iterations=0),
        pbkdf2(ck.CKP_PKCS5_PBKD2_HMAC_SHA256, iterations=1 << 40),
        Pkcs5Pbkd2Params2(0, b"salt", 1, ck.CKP_PKCS5_PBKD2_HMAC_SHA256, None, b"password"),
        Pkcs5Pbkd2Params2(
            ck.CKZ_SALT_SPECIFIED, b"salt", 1, ck.CKP_PKCS5_PBKD2_HMAC_SHA256, b"x", b"password"
        ),
    ],
)
def test_pbkdf2_parameters_that_make_no_sense(
    client: Client, session: int, parameter: Pkcs5Pbkd2Params2
) -> None:
    mechanism = Mechanism(ck.CKM_PKCS5_PBKD2, parameter)
    refusal = client.fails("C_GenerateKey", session, mechanism, template(VALUE_LEN=16))
    assert refusal == "CKR_MECHANISM_PARAM_INVALID"


def test_a_password_key_needs_a_length_that_its_type_has(client: Client, session: int) -> None:
    mechanism = Mechanism(ck.CKM_PKCS5_PBKD2, pbkdf2(ck.CKP_PKCS5_PBKD2_HMAC_SHA256, iterations=1))
    assert client.fails("C_GenerateKey", session, mechanism, ()) == "CKR_TEMPLATE_INCOMPLETE"
    wanted = template(KEY_TYPE=ck.CKK_AES, VALUE_LEN=20)
    refusal = client.fails("C_GenerateKey", session, mechanism, wanted)
    assert refusal == "CKR_ATTRIBUTE_VALUE_INVALID"
    wanted = template(KEY_TYPE=ck.CKK_RSA, VALUE_LEN=20)
    refusal = client.fails("C_GenerateKey", session, mechanism, wanted)
    assert refusal == "CKR_TEMPLATE_INCONSISTENT"
