"""CKA_ALWAYS_AUTHENTICATE: keys that ask for a login for each use (PKCS#11 3.1 4.9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module.types import (
    Attribute,
    Buffer,
    BufferTooSmall,
    Ecdh1DeriveParams,
    Length,
    Mechanism,
)
from tests.unit.facade_rig import P256, ROOM, USER_PIN, Client, Value, template

DIGEST = bytes(range(32))
ECDSA = Mechanism(ck.CKM_ECDSA)
PLACES = pytest.mark.parametrize("on_token", [True, False], ids=["token", "session"])


def consent(client: Client, session: int, pin: bytes = USER_PIN) -> str:
    return client.outcome("C_Login", session, ck.CKU_CONTEXT_SPECIFIC, pin)


def pair(
    client: Client,
    session: int,
    mechanism: int,
    public: dict[str, Value],
    *,
    on_token: bool = True,
    **private: Value,
) -> tuple[int, int]:
    made: tuple[int, int] = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(mechanism),
        template(**public, PRIVATE=False),
        template(TOKEN=on_token, ALWAYS_AUTHENTICATE=True, **private),
    )
    return made


def ec(client: Client, session: int, *, on_token: bool = True, **private: Value) -> int:
    public: dict[str, Value] = {"EC_PARAMS": P256}
    made = pair(client, session, ck.CKM_EC_KEY_PAIR_GEN, public, on_token=on_token, **private)
    return made[1]


def state(client: Client, session: int) -> int:
    return int(client("C_GetSessionInfo", session)[1])


@PLACES
def test_one_login_is_good_for_one_signature(client: Client, session: int, on_token: bool) -> None:
    private = ec(client, session, on_token=on_token)
    for _ in range(2):
        client("C_SignInit", session, ECDSA, private)
        assert consent(client, session) == "CKR_OK"
        assert client("C_Sign", session, DIGEST, Buffer(None)) == Length(64)
        assert len(client("C_Sign", session, DIGEST, ROOM)) == 64
        client("C_SignInit", session, ECDSA, private)
        assert client.fails("C_Sign", session, DIGEST, ROOM) == "CKR_USER_NOT_LOGGED_IN"


@PLACES
def test_a_login_before_the_operation_is_no_consent(
    client: Client, session: int, on_token: bool
) -> None:
    private = ec(client, session, on_token=on_token)
    assert consent(client, session) == "CKR_OPERATION_NOT_INITIALIZED"
    if on_token:
        client("C_Logout", session)
        client("C_Login", session, ck.CKU_USER, USER_PIN)
        (private,) = client.find(session, CLASS=ck.CKO_PRIVATE_KEY)
    client("C_SignInit", session, ECDSA, private)
    assert client.fails("C_Sign", session, DIGEST, ROOM) == "CKR_USER_NOT_LOGGED_IN"


@PLACES
def test_a_wrong_pin_is_as_if_there_had_been_no_login(
    client: Client, session: int, on_token: bool
) -> None:
    private = ec(client, session, on_token=on_token)
    client("C_SignInit", session, ECDSA, private)
    assert consent(client, session, b"wrong") == "CKR_PIN_INCORRECT"
    assert state(client, session) == ck.CKS_RW_USER_FUNCTIONS
    assert consent(client, session) == "CKR_OK"
    assert consent(client, session, b"wrong") == "CKR_PIN_INCORRECT"
    assert len(client("C_Sign", session, DIGEST, ROOM)) == 64
    client("C_SignInit", session, ECDSA, private)
    assert consent(client, session, b"wrong") == "CKR_PIN_INCORRECT"
    assert client.fails("C_Sign", session, DIGEST, ROOM) == "CKR_USER_NOT_LOGGED_IN"
    assert state(client, session) == ck.CKS_RW_USER_FUNCTIONS


def test_the_last_try_logs_out_and_ends_the_operation(client: Client, session: int) -> None:
    private = ec(client, session)
    client("C_SignInit", session, ECDSA, private)
    outcomes = [consent(client, session, b"wrong") for _ in range(3)]
    assert outcomes == ["CKR_PIN_INCORRECT", "CKR_PIN_INCORRECT", "CKR_PIN_LOCKED"]
    assert state(client, session) == ck.CKS_RW_PUBLIC_SESSION
    assert client.fails("C_Sign", session, DIGEST, ROOM) == "CKR_OPERATION_NOT_INITIALIZED"


def test_consent_is_not_passed_on(client: Client, session: int) -> None:
    first, other_key = ec(client, session), ec(client, session, ID=b"other")
    other = client.open()
    client("C_SignInit", session, ECDSA, first)
    client("C_SignInit", other, ECDSA, other_key)
    assert consent(client, session) == "CKR_OK"
    assert client.fails("C_Sign", other, DIGEST, ROOM) == "CKR_USER_NOT_LOGGED_IN"
    client("C_SessionCancel", session, ck.CKF_SIGN)
    client("C_SignInit", session, ECDSA, first)
    assert client.fails("C_Sign", session, DIGEST, ROOM) == "CKR_USER_NOT_LOGGED_IN"


def test_what_other_sessions_do_does_not_end_a_consent(client: Client, session: int) -> None:
    private = ec(client, session)
    client("C_SignInit", session, ECDSA, private)
    assert consent(client, session) == "CKR_OK"
    other = client.open()
    client.make_ec_pair(other, b"\x02")
    client("C_GetTokenInfo", 1)
    assert client.fails("C_SetPIN", other, b"wrong", b"4321") == "CKR_PIN_INCORRECT"
    assert len(client("C_Sign", session, DIGEST, ROOM)) == 64


def test_a_consent_ends_where_the_pin_gets_a_new_value(client: Client, session: int) -> None:
    private = ec(client, session)
    client("C_SignInit", session, ECDSA, private)
    assert consent(client, session) == "CKR_OK"
    client("C_SetPIN", session, USER_PIN, b"4321")
    assert client.fails("C_Sign", session, DIGEST, ROOM) == "CKR_USER_NOT_LOGGED_IN"
    assert state(client, session) == ck.CKS_RW_USER_FUNCTIONS


@PLACES
def test_one_login_is_good_for_a_signature_in_parts(
    client: Client, session: int, on_token: bool
) -> None:
    private = ec(client, session, on_token=on_token)
    hashed = Mechanism(ck.CKM_ECDSA_SHA256)
    client("C_SignInit", session, hashed, private)
    client("C_SignUpdate", session, b"first")
    assert consent(client, session) == "CKR_OK"
    client("C_SignUpdate", session, b"second")
    assert len(client("C_SignFinal", session, ROOM)) == 64
    client("C_SignInit", session, hashed, private)
    client("C_SignUpdate", session, b"first")
    assert client.fails("C_SignFinal", session, ROOM) == "CKR_USER_NOT_LOGGED_IN"


@PLACES
def test_every_message_asks_for_a_login(client: Client, session: int, on_token: bool) -> None:
    private = ec(client, session, on_token=on_token)
    client("C_MessageSignInit", session, ECDSA, private)
    for _ in range(2):
        refusal = client.fails("C_SignMessage", session, None, DIGEST, ROOM)
        assert refusal == "CKR_USER_NOT_LOGGED_IN"
        assert consent(client, session) == "CKR_OK"
        client("C_SignMessage", session, None, DIGEST, ROOM)
    client("C_MessageSignFinal", session)


@PLACES
def test_decrypting_asks_once_whatever_the_buffer(
    client: Client, session: int, on_token: bool
) -> None:
    public, private = pair(
        client,
        session,
        ck.CKM_RSA_PKCS_KEY_PAIR_GEN,
        {"MODULUS_BITS": 2048},
        on_token=on_token,
        DECRYPT=True,
        SIGN_RECOVER=True,
    )
    mechanism = Mechanism(ck.CKM_RSA_PKCS)
    client("C_EncryptInit", session, mechanism, public)
    cryptogram = client("C_Encrypt", session, b"secret", ROOM)
    client("C_DecryptInit", session, mechanism, private)
    assert consent(client, session) == "CKR_OK"
    assert client("C_Decrypt", session, cryptogram, Buffer(None)) == Length(256)
    with pytest.raises(BufferTooSmall):
        client("C_Decrypt", session, cryptogram, Buffer(1))
    assert client("C_Decrypt", session, cryptogram, ROOM) == b"secret"
    client("C_DecryptInit", session, mechanism, private)
    assert client.fails("C_Decrypt", session, cryptogram, ROOM) == "CKR_USER_NOT_LOGGED_IN"
    client("C_SignRecoverInit", session, mechanism, private)
    assert client.fails("C_SignRecover", session, b"data", ROOM) == "CKR_USER_NOT_LOGGED_IN"
    client("C_SignRecoverInit", session, mechanism, private)
    assert consent(client, session) == "CKR_OK"
    assert len(client("C_SignRecover", session, b"data", ROOM)) == 256


Secret = tuple[Attribute, ...]
SECRET: Secret = template(
    CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=ck.CKK_GENERIC_SECRET, VALUE_LEN=16, TOKEN=False
)


def derive(client: Client, session: int, on_token: bool) -> str:
    private = ec(client, session, on_token=on_token, DERIVE=True)
    public, _ = client.make_ec_pair(session, b"peer")
    (point,) = client.get(session, public, "EC_POINT")
    params = Ecdh1DeriveParams(ck.CKD_NULL, None, point)
    return client.outcome(
        "C_DeriveKey", session, Mechanism(ck.CKM_ECDH1_DERIVE, params), private, SECRET
    )


def unwrap(client: Client, session: int, on_token: bool) -> str:
    public, private = pair(
        client,
        session,
        ck.CKM_RSA_PKCS_KEY_PAIR_GEN,
        {"MODULUS_BITS": 2048, "ENCRYPT": True},
        on_token=on_token,
        UNWRAP=True,
    )
    mechanism = Mechanism(ck.CKM_RSA_PKCS)
    client("C_EncryptInit", session, mechanism, public)
    wrapped = client("C_Encrypt", session, bytes(16), ROOM)
    made = tuple(one for one in SECRET if one.type != ck.CKA_VALUE_LEN)
    return client.outcome("C_UnwrapKey", session, mechanism, private, wrapped, made)


def decapsulate(client: Client, session: int, on_token: bool) -> str:
    public, private = pair(
        client,
        session,
        ck.CKM_ML_KEM_KEY_PAIR_GEN,
        {"PARAMETER_SET": ck.CKP_ML_KEM_768, "ENCAPSULATE": True},
        on_token=on_token,
        DECAPSULATE=True,
    )
    mechanism = Mechanism(ck.CKM_ML_KEM)
    made = tuple(one for one in SECRET if one.type != ck.CKA_VALUE_LEN)
    cryptogram, _ = client("C_EncapsulateKey", session, mechanism, public, made, ROOM)
    return client.outcome("C_DecapsulateKey", session, mechanism, private, made, cryptogram)


@PLACES
@pytest.mark.parametrize("use", [derive, unwrap, decapsulate])
def test_what_is_done_in_one_call_leaves_no_place_for_a_login(
    client: Client, session: int, use: Callable[[Client, int, bool], Any], on_token: bool
) -> None:
    assert use(client, session, on_token) == "CKR_USER_NOT_LOGGED_IN"


def test_only_private_keys_ask_for_every_use(client: Client, session: int) -> None:
    wanted = template(VALUE_LEN=16, TOKEN=True, ALWAYS_AUTHENTICATE=True)
    outcome = client.outcome("C_GenerateKey", session, Mechanism(ck.CKM_AES_KEY_GEN), wanted)
    assert outcome == "CKR_ATTRIBUTE_TYPE_INVALID"
