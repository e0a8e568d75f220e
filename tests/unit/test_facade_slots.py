"""Slots, tokens, mechanisms, C_InitToken and the waiting for slot events."""

from __future__ import annotations

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module.types import Buffer, BufferTooSmall, Length
from tests.unit.facade_rig import SERIAL, SO_PIN, USER_PIN, Client, Rig, SlotReader
from token_fw.card import Card
from token_fw.env import Env
from token_fw.factory import Profile, personalise
from token_fw.storage.memory import MemoryStore

FLAGS, MAX_SESSIONS, SESSIONS, RW_SESSIONS, MAX_PIN, MIN_PIN = 4, 5, 6, 8, 9, 10


def token_flags(client: Client) -> set[str]:
    """The token's flags by name."""
    flags = client("C_GetTokenInfo", 1)[FLAGS]
    names = {
        name.removeprefix("CKF_"): getattr(ck, name)
        for name in dir(ck)
        if name.startswith(("CKF_USER_PIN", "CKF_SO_PIN", "CKF_TOKEN_INIT"))
    }
    return {name for name, flag in names.items() if flags & flag}


def test_a_blank_token_is_there_but_not_initialised() -> None:
    client = Rig().application()
    label, _, _, serial, flags, *_ = client("C_GetTokenInfo", 1)
    assert (label, serial) == ("", SERIAL.hex())
    assert flags == ck.CKF_RNG | ck.CKF_LOGIN_REQUIRED | ck.CKF_DUAL_CRYPTO_OPERATIONS
    assert client.fails("C_OpenSession", 1, ck.CKF_SERIAL_SESSION) == "CKR_TOKEN_NOT_RECOGNIZED"


def test_the_token_information_of_a_new_token() -> None:
    client = Rig().initialised()
    info = client("C_GetTokenInfo", 1)
    assert info[0] == "test token"
    assert token_flags(client) == {"TOKEN_INITIALIZED", "USER_PIN_INITIALIZED"}
    assert info[MAX_PIN : MIN_PIN + 1] == (64, 4)
    assert set(info[11:15]) == {ck.CK_UNAVAILABLE_INFORMATION}


def test_session_counts_are_those_of_the_application() -> None:
    rig = Rig()
    client, other = rig.initialised(), rig.application()
    client.open()
    client.open(rw=False)
    other.open()
    info = client("C_GetTokenInfo", 1)
    assert (info[SESSIONS], info[RW_SESSIONS]) == (2, 1)


def test_pin_flags_are_live() -> None:
    client = Rig(user_tries=3, so_tries=2).initialised()
    session = client.open()
    assert not token_flags(client) & {"USER_PIN_COUNT_LOW", "USER_PIN_FINAL_TRY"}
    assert client.fails("C_Login", session, ck.CKU_USER, b"wrong") == "CKR_PIN_INCORRECT"
    assert "USER_PIN_COUNT_LOW" in token_flags(client)
    assert client.fails("C_Login", session, ck.CKU_USER, b"wrong") == "CKR_PIN_INCORRECT"
    assert {"USER_PIN_COUNT_LOW", "USER_PIN_FINAL_TRY"} <= token_flags(client)
    assert client.fails("C_Login", session, ck.CKU_USER, b"wrong") == "CKR_PIN_LOCKED"
    assert client.fails("C_Login", session, ck.CKU_USER, USER_PIN) == "CKR_PIN_LOCKED"
    flags = token_flags(client)
    assert "USER_PIN_LOCKED" in flags
    assert not flags & {"USER_PIN_COUNT_LOW", "USER_PIN_FINAL_TRY", "SO_PIN_COUNT_LOW"}
    assert client.fails("C_Login", session, ck.CKU_SO, b"wrong") == "CKR_PIN_INCORRECT"
    assert {"SO_PIN_COUNT_LOW", "SO_PIN_FINAL_TRY"} <= token_flags(client)


def test_slot_lists_follow_the_tokens() -> None:
    rig = Rig()
    client = rig.application()
    empty = SlotReader(7)
    rig.all.append(empty)
    room = Buffer(9)
    # A list grows where its length is asked for, and only there.
    assert client("C_GetSlotList", False, room) == [1]
    assert client.fails("C_GetSlotInfo", 7) == "CKR_SLOT_ID_INVALID"
    assert client("C_GetSlotList", True, Buffer(None)) == Length(1)
    assert client("C_GetSlotList", False, room) == [1, 7]
    assert not client("C_GetSlotInfo", 7)[2] & ck.CKF_TOKEN_PRESENT
    assert client("C_GetSlotList", True, room) == [1]
    assert client("C_GetSlotList", True, Buffer(None)) == Length(1)
    with pytest.raises(BufferTooSmall) as raised:
        client("C_GetSlotList", False, Buffer(1))
    assert raised.value.length == 2
    rig.reader.remove()
    assert client("C_GetSlotList", True, room) == []


def test_slot_flags_tell_whether_a_token_is_present() -> None:
    rig = Rig()
    client = rig.application()
    fixed = ck.CKF_REMOVABLE_DEVICE | ck.CKF_HW_SLOT
    assert client("C_GetSlotInfo", 1)[2] == fixed | ck.CKF_TOKEN_PRESENT
    rig.reader.remove()
    assert client("C_GetSlotInfo", 1)[2] == fixed
    assert client.fails("C_GetTokenInfo", 1) == "CKR_TOKEN_NOT_PRESENT"
    assert client.fails("C_GetMechanismList", 1, Buffer(None)) == "CKR_TOKEN_NOT_PRESENT"
    assert client.fails("C_GetSlotInfo", 2) == "CKR_SLOT_ID_INVALID"


def test_every_listed_mechanism_has_its_information() -> None:
    client = Rig().application()
    mechanisms = client("C_GetMechanismList", 1, Buffer(1000))
    assert len(mechanisms) == len(set(mechanisms))
    for mechanism in mechanisms:
        smallest, largest, flags = client("C_GetMechanismInfo", 1, mechanism)
        assert 0 <= smallest <= largest
        assert flags & ~ck.CKF_HW
    assert client.fails("C_GetMechanismInfo", 1, ck.CKM_MD5) == "CKR_MECHANISM_INVALID"


def test_initialising_erases_everything_and_asks_the_so_pin() -> None:
    rig = Rig()
    client = rig.initialised()
    session = client.user()
    client.make_ec_pair(session)
    new_label = b"renamed".ljust(32)
    assert client.fails("C_InitToken", 1, SO_PIN, new_label) == "CKR_SESSION_EXISTS"
    other = rig.application()
    assert other.fails("C_InitToken", 1, SO_PIN, new_label) == "CKR_SESSION_EXISTS"
    client("C_CloseAllSessions", 1)
    assert client.fails("C_InitToken", 1, b"not the SO PIN", new_label) == "CKR_PIN_INCORRECT"
    assert client("C_GetTokenInfo", 1)[0] == "test token"
    other("C_InitToken", 1, SO_PIN, new_label)
    assert client("C_GetTokenInfo", 1)[0] == "renamed"
    assert "USER_PIN_INITIALIZED" not in token_flags(client)
    session = client.open()
    assert client.find(session) == []
    refusal = client.fails("C_Login", session, ck.CKU_USER, USER_PIN)
    assert refusal == "CKR_USER_PIN_NOT_INITIALIZED"


def test_initialising_logs_nobody_in() -> None:
    client = Rig().application()
    client("C_InitToken", 1, SO_PIN, b"".ljust(32))
    session = client.open()
    assert client("C_GetSessionInfo", session)[1] == ck.CKS_RW_PUBLIC_SESSION
    assert client.fails("C_InitPIN", session, USER_PIN) == "CKR_USER_NOT_LOGGED_IN"


@pytest.mark.parametrize(
    ("pin", "error"),
    [
        (None, "CKR_ARGUMENTS_BAD"),
        (b"", "CKR_PIN_LEN_RANGE"),
        (b"123", "CKR_PIN_LEN_RANGE"),
        (b"1" * 65, "CKR_PIN_LEN_RANGE"),
    ],
)
def test_a_blank_token_takes_no_so_pin_outside_the_policy(pin: bytes | None, error: str) -> None:
    client = Rig().application()
    assert client.fails("C_InitToken", 1, pin, b"".ljust(32)) == error


def test_the_so_pin_locks_at_zero_also_for_initialising() -> None:
    client = Rig(so_tries=2).initialised()
    label = b"x".ljust(32)
    assert client.fails("C_InitToken", 1, b"wrong", label) == "CKR_PIN_INCORRECT"
    assert client.fails("C_InitToken", 1, b"wrong", label) == "CKR_PIN_LOCKED"
    assert client.fails("C_InitToken", 1, SO_PIN, label) == "CKR_PIN_LOCKED"


def test_a_pulled_token_ends_its_sessions() -> None:
    rig = Rig()
    client = rig.initialised()
    session, other = client.user(), client.open()
    public, _ = client.make_ec_pair(session)
    rig.reader.remove()
    assert client.fails("C_GetSessionInfo", session) == "CKR_DEVICE_REMOVED"
    assert client.fails("C_FindObjectsInit", other, ()) == "CKR_DEVICE_REMOVED"
    assert client.fails("C_OpenSession", 1, ck.CKF_SERIAL_SESSION) == "CKR_TOKEN_NOT_PRESENT"
    rig.reader.insert(Card(Env(rig.store)))
    assert client.fails("C_GetSessionInfo", session) == "CKR_SESSION_HANDLE_INVALID"
    again = client.open()
    assert client("C_GetSessionInfo", again)[1] == ck.CKS_RW_PUBLIC_SESSION
    refusal = client.fails("C_GetAttributeValue", again, public, ())
    assert refusal == "CKR_OBJECT_HANDLE_INVALID"
    assert len(client.find(again)) == 1
    client("C_CloseSession", again)
    client("C_InitToken", 1, SO_PIN, b"sessions are all gone".ljust(32))


def test_another_token_in_the_same_reader_is_another_token() -> None:
    rig = Rig()
    client = rig.initialised()
    session = client.user()
    client.make_ec_pair(session)
    store = MemoryStore()
    personalise(store, Profile(bytes(8)))
    rig.reader.remove()
    rig.reader.insert(Card(Env(store)))
    assert client.fails("C_GetSessionInfo", session) == "CKR_SESSION_HANDLE_INVALID"
    assert client("C_GetTokenInfo", 1)[3] == "0" * 16


def test_unknown_functions_are_not_supported() -> None:
    client = Rig().initialised()
    session = client.open()
    assert client.fails("C_AsyncComplete", session) == "CKR_FUNCTION_NOT_SUPPORTED"
