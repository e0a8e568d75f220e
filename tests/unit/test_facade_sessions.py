"""Sessions, logins and PINs."""

from __future__ import annotations

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module.types import Mechanism
from tests.unit.facade_rig import SO_PIN, USER_PIN, Client, Rig, data_template, template


def state(client: Client, session: int) -> int:
    found: int = client("C_GetSessionInfo", session)[1]
    return found


def test_the_state_of_every_session_follows_the_login(client: Client) -> None:
    writable, readable = client.open(), client.open(rw=False)
    assert client("C_GetSessionInfo", writable) == (1, ck.CKS_RW_PUBLIC_SESSION, 0b110, 0)
    assert client("C_GetSessionInfo", readable) == (1, ck.CKS_RO_PUBLIC_SESSION, 0b100, 0)
    client("C_Login", readable, ck.CKU_USER, USER_PIN)
    assert state(client, writable) == ck.CKS_RW_USER_FUNCTIONS
    assert state(client, readable) == ck.CKS_RO_USER_FUNCTIONS
    client("C_Logout", writable)
    assert state(client, readable) == ck.CKS_RO_PUBLIC_SESSION
    client("C_CloseSession", readable)
    client("C_Login", writable, ck.CKU_SO, SO_PIN)
    assert state(client, writable) == ck.CKS_RW_SO_FUNCTIONS


def test_a_session_needs_the_serial_flag(client: Client) -> None:
    assert client.fails("C_OpenSession", 1, 0) == "CKR_SESSION_PARALLEL_NOT_SUPPORTED"
    assert client.fails("C_OpenSession", 9, ck.CKF_SERIAL_SESSION) == "CKR_SLOT_ID_INVALID"


def test_wild_session_handles_are_refused(client: Client) -> None:
    session = client.open()
    client("C_CloseSession", session)
    for handle in (0, session, session + 1, 2**64 - 1):
        assert client.fails("C_GetSessionInfo", handle) == "CKR_SESSION_HANDLE_INVALID"
        assert client.fails("C_CloseSession", handle) == "CKR_SESSION_HANDLE_INVALID"


def test_logging_in_and_out_twice(client: Client) -> None:
    session = client.open()
    assert client.fails("C_Logout", session) == "CKR_USER_NOT_LOGGED_IN"
    client("C_Login", session, ck.CKU_USER, USER_PIN)
    refusal = client.fails("C_Login", session, ck.CKU_USER, b"whatever")
    assert refusal == "CKR_USER_ALREADY_LOGGED_IN"
    refusal = client.fails("C_Login", session, ck.CKU_SO, SO_PIN)
    assert refusal == "CKR_USER_ANOTHER_ALREADY_LOGGED_IN"
    client("C_Logout", session)
    assert client.fails("C_Logout", session) == "CKR_USER_NOT_LOGGED_IN"
    assert client.fails("C_Login", session, 3, USER_PIN) == "CKR_USER_TYPE_INVALID"


def test_the_so_and_read_only_sessions_exclude_each_other(client: Client) -> None:
    writable, readable = client.open(), client.open(rw=False)
    for session in (writable, readable):
        refusal = client.fails("C_Login", session, ck.CKU_SO, SO_PIN)
        assert refusal == "CKR_SESSION_READ_ONLY_EXISTS"
    client("C_CloseSession", readable)
    client("C_Login", writable, ck.CKU_SO, SO_PIN)
    refusal = client.fails("C_OpenSession", 1, ck.CKF_SERIAL_SESSION)
    assert refusal == "CKR_SESSION_READ_WRITE_SO_EXISTS"


def test_the_last_session_to_close_logs_out(client: Client) -> None:
    first, second = client.user(), client.open()
    client("C_CloseSession", first)
    assert state(client, second) == ck.CKS_RW_USER_FUNCTIONS
    client("C_CloseAllSessions", 1)
    assert state(client, client.open()) == ck.CKS_RW_PUBLIC_SESSION


def test_logins_are_separate_between_applications(rig: Rig, client: Client) -> None:
    client.user()
    other = rig.application()
    session = other.open()
    assert state(other, session) == ck.CKS_RW_PUBLIC_SESSION
    other("C_Login", session, ck.CKU_SO, SO_PIN)
    assert state(other, session) == ck.CKS_RW_SO_FUNCTIONS


@pytest.mark.parametrize(
    ("pin", "error"),
    [
        (None, "CKR_ARGUMENTS_BAD"),
        (b"", "CKR_PIN_INCORRECT"),
        (b"1" * 65, "CKR_PIN_INCORRECT"),
    ],
)
def test_a_pin_that_cannot_be_sent_costs_no_try(
    client: Client, pin: bytes | None, error: str
) -> None:
    session = client.open()
    assert client.fails("C_Login", session, ck.CKU_USER, pin) == error
    assert not client("C_GetTokenInfo", 1)[4] & ck.CKF_USER_PIN_COUNT_LOW


def test_the_so_unblocks_the_user(client: Client) -> None:
    session = client.open()
    for _ in range(3):
        client.fails("C_Login", session, ck.CKU_USER, b"wrong")
    assert client.fails("C_Login", session, ck.CKU_USER, USER_PIN) == "CKR_PIN_LOCKED"
    assert client.fails("C_Login", session, ck.CKU_USER, b"") == "CKR_PIN_LOCKED"
    client("C_Login", session, ck.CKU_SO, SO_PIN)
    client("C_InitPIN", session, b"a new PIN")
    client("C_Logout", session)
    client("C_Login", session, ck.CKU_USER, b"a new PIN")


def test_the_user_changes_the_pin_logged_in_or_not(client: Client) -> None:
    session = client.open()
    client("C_SetPIN", session, USER_PIN, b"second")
    assert state(client, session) == ck.CKS_RW_PUBLIC_SESSION
    client("C_Login", session, ck.CKU_USER, b"second")
    client("C_SetPIN", session, b"second", b"third")
    client.make_ec_pair(session)
    client("C_Logout", session)
    assert client.fails("C_Login", session, ck.CKU_USER, b"second") == "CKR_PIN_INCORRECT"
    client("C_Login", session, ck.CKU_USER, b"third")


def test_the_so_changes_the_so_pin(client: Client) -> None:
    session = client.open()
    client("C_Login", session, ck.CKU_SO, SO_PIN)
    client("C_SetPIN", session, SO_PIN, b"another SO PIN")
    client("C_InitPIN", session, b"7777")
    client("C_Logout", session)
    assert client.fails("C_Login", session, ck.CKU_SO, SO_PIN) == "CKR_PIN_INCORRECT"
    client("C_Login", session, ck.CKU_SO, b"another SO PIN")


def test_changing_with_the_wrong_pin_spends_a_try(client: Client) -> None:
    session = client.open()
    assert client.fails("C_SetPIN", session, b"wrong", b"4321") == "CKR_PIN_INCORRECT"
    assert client("C_GetTokenInfo", 1)[4] & ck.CKF_USER_PIN_COUNT_LOW
    client.fails("C_SetPIN", session, b"wrong", b"4321")
    assert client.fails("C_SetPIN", session, b"wrong", b"4321") == "CKR_PIN_LOCKED"
    assert client.fails("C_SetPIN", session, USER_PIN, b"4321") == "CKR_PIN_LOCKED"


def test_pin_functions_ask_for_their_session(client: Client) -> None:
    readable = client.open(rw=False)
    assert client.fails("C_SetPIN", readable, USER_PIN, b"4321") == "CKR_SESSION_READ_ONLY"
    assert client.fails("C_InitPIN", readable, b"4321") == "CKR_USER_NOT_LOGGED_IN"
    client("C_Login", readable, ck.CKU_USER, USER_PIN)
    assert client.fails("C_InitPIN", readable, b"4321") == "CKR_USER_NOT_LOGGED_IN"


@pytest.mark.parametrize(
    ("policy", "pin", "error"),
    [
        ("default", b"123", "CKR_PIN_LEN_RANGE"),
        ("default", b"1" * 65, "CKR_PIN_LEN_RANGE"),
        ("default", None, "CKR_ARGUMENTS_BAD"),
        ("strict6", b"12345", "CKR_PIN_LEN_RANGE"),
        ("strict6", b"1234567", "CKR_PIN_LEN_RANGE"),
        ("strict6", b"123456", "CKR_PIN_INVALID"),
        ("strict6", b"aBcDeF", "CKR_PIN_INVALID"),
        ("strict6", b"111122", "CKR_PIN_INVALID"),
    ],
)
def test_the_policy_decides_what_a_new_pin_is(policy: str, pin: bytes | None, error: str) -> None:
    client = Rig(pin_policy=policy).application()
    client("C_InitToken", 1, SO_PIN, b"".ljust(32))
    session = client.open()
    client("C_Login", session, ck.CKU_SO, SO_PIN)
    assert client.fails("C_InitPIN", session, pin) == error
    client("C_InitPIN", session, b"135724")
    client("C_Logout", session)
    assert client.fails("C_SetPIN", session, b"135724", pin) == error
    client("C_Login", session, ck.CKU_USER, b"135724")


def test_a_new_pin_by_another_application_ends_the_login(rig: Rig, client: Client) -> None:
    session = client.user()
    _, key = client.make_ec_pair(session)
    other = rig.application()
    other_session = other.open()
    other("C_Login", other_session, ck.CKU_SO, SO_PIN)
    other("C_InitPIN", other_session, b"9999")
    refusal = client.fails("C_SignInit", session, Mechanism(ck.CKM_ECDSA), key)
    assert refusal == "CKR_USER_NOT_LOGGED_IN"
    assert state(client, session) == ck.CKS_RW_PUBLIC_SESSION
    client("C_Login", session, ck.CKU_USER, b"9999")


def test_logging_out_hides_private_objects_for_good(client: Client) -> None:
    session = client.user()
    values = data_template("private", PRIVATE=True)
    private = client("C_CreateObject", session, template(**values))
    in_session = client("C_CreateObject", session, template(**{**values, "TOKEN": False}))
    client("C_Logout", session)
    assert client.find(session, LABEL="private") == []
    client("C_Login", session, ck.CKU_USER, USER_PIN)
    for handle in (private, in_session):
        refusal = client.fails("C_GetAttributeValue", session, handle, ())
        assert refusal == "CKR_OBJECT_HANDLE_INVALID"
    (found,) = client.find(session, LABEL="private")
    assert client.get(session, found, "VALUE") == [b"content"]


def test_a_token_without_validations_says_so(client: Client) -> None:
    session = client.open()
    assert client("C_GetSessionValidationFlags", session, ck.CKS_LAST_VALIDATION_OK) == 0
    assert client.fails("C_GetSessionValidationFlags", session, 9) == "CKR_ARGUMENTS_BAD"
