"""Who may log in and out, and when: each refusal once, in the words of the standard."""

from __future__ import annotations

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module.types import Mechanism
from tests.unit.facade_rig import SO_PIN, USER_PIN, Client

BY_TYPE = [(ck.CKU_USER, USER_PIN), (ck.CKU_SO, SO_PIN)]


@pytest.mark.parametrize(("user", "pin"), BY_TYPE)
def test_whoever_is_logged_in_does_not_log_in_again(client: Client, user: int, pin: bytes) -> None:
    first, second = client.open(), client.open()
    client("C_Login", first, user, pin)
    assert client.fails("C_Login", first, user, pin) == "CKR_USER_ALREADY_LOGGED_IN"
    assert client.fails("C_Login", second, user, b"wrong") == "CKR_USER_ALREADY_LOGGED_IN"


@pytest.mark.parametrize(("one", "other"), [BY_TYPE, BY_TYPE[::-1]])
def test_nobody_logs_in_beside_another(
    client: Client, one: tuple[int, bytes], other: tuple[int, bytes]
) -> None:
    session = client.open()
    client("C_Login", session, *one)
    assert client.fails("C_Login", session, *other) == "CKR_USER_ANOTHER_ALREADY_LOGGED_IN"
    client("C_Logout", session)
    client("C_Login", session, *other)


def test_the_so_does_not_log_in_where_a_read_only_session_is_open(client: Client) -> None:
    session, reading = client.open(), client.open(rw=False)
    for tried in (session, reading):
        assert client.fails("C_Login", tried, ck.CKU_SO, SO_PIN) == "CKR_SESSION_READ_ONLY_EXISTS"
    client("C_CloseSession", reading)
    client("C_Login", session, ck.CKU_SO, SO_PIN)


def test_no_read_only_session_is_opened_beside_the_so(client: Client) -> None:
    session = client.open()
    client("C_Login", session, ck.CKU_SO, SO_PIN)
    flags = ck.CKF_SERIAL_SESSION
    assert client.fails("C_OpenSession", 1, flags) == "CKR_SESSION_READ_WRITE_SO_EXISTS"
    client.open(rw=True)
    client("C_Logout", session)
    client.open(rw=False)


@pytest.mark.parametrize("user", [3, 7, 2**64 - 1])
def test_there_are_three_types_of_users(client: Client, user: int) -> None:
    session = client.open()
    assert client.fails("C_Login", session, user, USER_PIN) == "CKR_USER_TYPE_INVALID"
    assert client.fails("C_LoginUser", session, user, USER_PIN, b"") == "CKR_USER_TYPE_INVALID"


def test_users_have_no_names(client: Client) -> None:
    call = "C_LoginUser", client.open(), ck.CKU_USER, USER_PIN
    assert client.fails(*call, b"ivan") == "CKR_USER_TYPE_INVALID"
    client(*call, None)


def test_a_login_for_one_use_needs_an_operation_that_waits_for_it(client: Client) -> None:
    session = client.open()
    call = "C_Login", session, ck.CKU_CONTEXT_SPECIFIC, USER_PIN
    assert client.fails(*call) == "CKR_OPERATION_NOT_INITIALIZED"
    client("C_Login", session, ck.CKU_USER, USER_PIN)
    assert client.fails(*call) == "CKR_OPERATION_NOT_INITIALIZED"
    _, ordinary = client.make_ec_pair(session, b"1")
    client("C_SignInit", session, Mechanism(ck.CKM_ECDSA), ordinary)
    assert client.fails(*call) == "CKR_OPERATION_NOT_INITIALIZED"
    client("C_SignInit", session, None, 0)
    _, asking = client.make_ec_pair(session, b"2", ALWAYS_AUTHENTICATE=True)
    client("C_SignInit", session, Mechanism(ck.CKM_ECDSA), asking)
    client(*call)


def test_only_who_is_logged_in_logs_out(client: Client) -> None:
    session = client.open()
    assert client.fails("C_Logout", session) == "CKR_USER_NOT_LOGGED_IN"
    client("C_Login", session, ck.CKU_USER, USER_PIN)
    client("C_Logout", session)
    assert client.fails("C_Logout", session) == "CKR_USER_NOT_LOGGED_IN"


def test_only_the_so_initialises_the_pin(client: Client) -> None:
    session = client.open()
    call = "C_InitPIN", session, b"246810"
    assert client.fails(*call) == "CKR_USER_NOT_LOGGED_IN"
    client("C_Login", session, ck.CKU_USER, USER_PIN)
    assert client.fails(*call) == "CKR_USER_NOT_LOGGED_IN"
    client("C_Logout", session)
    client("C_Login", session, ck.CKU_SO, SO_PIN)
    client(*call)
    client("C_Logout", session)
    client("C_Login", session, ck.CKU_USER, b"246810")
