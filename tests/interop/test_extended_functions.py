"""The extension that plug-ins for Russian tokens look for: its list, and true answers."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_ulong, c_void_p
from typing import Any, Final

import pytest

from host_tools.cryptoki import Cryptoki
from host_tools.cryptoki_types import CK_STRUCTS
from host_tools.testing import ScratchToken
from pkcs11_module import _constants as ck
from pkcs11_module._functions import FUNCTIONS

ORDER: Final = [
    "GetFunctionListExtended",
    "InitToken",
    "GetTokenInfoExtended",
    "UnblockUserPIN",
    "SetTokenName",
    "SetLicense",
    "GetLicense",
    "GetCertificateInfoText",
    "PKCS7Sign",
    "CreateCSR",
    "FreeBuffer",
    "GetTokenName",
    "SetLocalPIN",
    "LoadActivationKey",
    "SetActivationPassword",
    "GetVolumesInfo",
    "GetDriveSize",
    "ChangeVolumeAttributes",
    "FormatDrive",
    "TokenManage",
    "GenerateActivationPassword",
    "GetJournal",
    "SignInvisibleInit",
    "SignInvisible",
    "SlotManage",
    "WrapKey",
    "UnwrapKey",
    "PKCS7VerifyInit",
    "PKCS7Verify",
    "PKCS7VerifyUpdate",
    "PKCS7VerifyFinal",
    "Authenticate",
    "Deauthenticate",
    "UnblockAuthenticator",
]
SERVED: Final = {"GetFunctionListExtended", "GetTokenInfoExtended", "GetTokenName"}
INFO: Final = CK_STRUCTS["CK_TOKEN_INFO_EXTENDED"]
OLD_SIZE: Final[int] = INFO.ulFirmwareChecksum.offset
"""Bytes of the structure as its first header had it."""
CANARY: Final = 0xA5A5_A5A5_A5A5_A5A5


def told(library: Cryptoki, slot: int, size: int | None = None) -> tuple[str, Any]:
    """What the library answers, and the structure."""
    raw = INFO()
    ctypes.memset(byref(raw), 0xA5, ctypes.sizeof(raw))
    raw.ulSizeofThisStructure = ctypes.sizeof(raw) if size is None else size
    rv = library.raw["C_EX_GetTokenInfoExtended"](slot, byref(raw))
    return ck.CKR_NAMES[rv], raw


def test_the_list_holds_the_exported_functions_in_the_order_of_the_extension() -> None:
    library, place = Cryptoki(), c_void_p()
    library.call("C_EX_GetFunctionListExtended", byref(place))
    assert place.value is not None
    assert ctypes.string_at(place.value, 2) == bytes([2, 40])
    found = (c_void_p * len(ORDER)).from_address(place.value + ctypes.sizeof(c_void_p))
    exported = [getattr(library.library, f"C_EX_{name}") for name in ORDER]
    assert list(found) == [ctypes.cast(one, c_void_p).value for one in exported]
    assert library.raw["C_EX_GetFunctionListExtended"](None) == ck.CKR_ARGUMENTS_BAD


def test_what_the_token_does_not_have_is_refused(token: ScratchToken) -> None:
    with Cryptoki() as library:
        for spec in FUNCTIONS:
            name = spec.name.removeprefix("C_EX_")
            if name != spec.name and name not in SERVED:
                nothing = [0 for argument in spec.arguments for _ in argument.members]
                rv = library.raw[spec.name](*nothing)
                assert ck.CKR_NAMES[rv] == "CKR_FUNCTION_NOT_SUPPORTED", name


def test_the_token_tells_its_pins_tries_and_serial_number(token: ScratchToken) -> None:
    with Cryptoki() as library:
        answer, info = told(library, token.slot)
        assert answer == "CKR_OK"
        assert info.ulSizeofThisStructure == ctypes.sizeof(INFO)
        assert bytes(info.serialNumber).hex() == library.token_info(token.slot).serial
        assert (info.ulMinUserPinLen, info.ulMaxUserPinLen) == (4, 64)
        assert info.ulUserRetryCountLeft == info.ulMaxUserRetryCount
        assert info.ulAdminRetryCountLeft == info.ulMaxAdminRetryCount
        assert info.flags & ck.TOKEN_FLAGS_USER_PIN_NOT_DEFAULT
        assert info.flags & ck.TOKEN_FLAGS_ADMIN_PIN_NOT_DEFAULT
        assert (info.ulTokenType, info.ulTokenClass) == (0xFF, 0xFFFF_FFFF)
        with library.open_session(token.slot) as session:
            wrong = session.call("C_Login", ck.CKU_USER, b"wrong", 5, allowed=[0xA0])
            assert ck.CKR_NAMES[wrong] == "CKR_PIN_INCORRECT"
        _, after = told(library, token.slot)
        assert after.ulUserRetryCountLeft == info.ulUserRetryCountLeft - 1


def test_a_caller_with_an_older_structure_gets_what_fits(token: ScratchToken) -> None:
    with Cryptoki() as library:
        answer, info = told(library, token.slot, OLD_SIZE)
        assert (answer, info.ulSizeofThisStructure) == ("CKR_OK", OLD_SIZE)
        assert info.ulBodyColor == 0
        assert info.ulFirmwareChecksum == CANARY
        answer, info = told(library, token.slot, ctypes.sizeof(INFO) + 800)
        assert (answer, info.ulSizeofThisStructure) == ("CKR_OK", ctypes.sizeof(INFO))


@pytest.mark.parametrize("size", [0, 1, 8, OLD_SIZE - 1])
def test_a_structure_that_is_too_small_is_left_alone(token: ScratchToken, size: int) -> None:
    with Cryptoki() as library:
        answer, info = told(library, token.slot, size)
        assert (answer, info.ulSizeofThisStructure) == ("CKR_ARGUMENTS_BAD", size)
        assert info.ulTokenType == CANARY
        rv = library.raw["C_EX_GetTokenInfoExtended"](token.slot, None)
        assert ck.CKR_NAMES[rv] == "CKR_ARGUMENTS_BAD"
        assert told(library, 0x7FFF)[0] == "CKR_SLOT_ID_INVALID"


def test_the_name_of_the_token_is_its_label(token: ScratchToken) -> None:
    with Cryptoki() as library, library.open_session(token.slot) as session:
        size = c_ulong()
        session.call("C_EX_GetTokenName", None, byref(size))
        room = ctypes.create_string_buffer(size.value)
        session.call("C_EX_GetTokenName", room, byref(size))
        assert room.raw.decode() == token.label == library.token_info(token.slot).label
