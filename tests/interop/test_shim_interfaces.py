"""C_GetInterfaceList and C_GetInterface: three real lists, and a refusal of everything else."""

from __future__ import annotations

import ctypes
import subprocess
from ctypes import POINTER, byref, c_ulong, c_void_p
from pathlib import Path
from typing import Final

import pytest

from host_tools.cryptoki import Cryptoki
from host_tools.cryptoki_types import CK_STRUCTS, CkInterface, CkVersion
from host_tools.testing import Run, Scratch, ScratchToken
from pkcs11_module._constants import (
    CKF_INTERFACE_FORK_SAFE,
    CKR_ARGUMENTS_BAD,
    CKR_BUFFER_TOO_SMALL,
    CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_OK,
)
from pkcs11_module._functions import FUNCTIONS
from tests.conftest import program
from tests.interop.fake_daemon import LIBRARY_INFO, FakeDaemon

NAME: Final = b"PKCS 11"
VERSIONS: Final = [(3, 2), (3, 0), (2, 40)]
"""The first one is the default."""
CANARY: Final = 0xDEAD0000


def version_of(interface: CkInterface) -> tuple[int, int]:
    major, minor = ctypes.string_at(interface.pFunctionList, 2)
    return major, minor


def pointers(table: int, version: tuple[int, int]) -> dict[str, int | None]:
    """What a list of functions of that version holds, by name."""
    listed = [spec.name for spec in FUNCTIONS if spec.since <= version]
    found = (c_void_p * len(listed)).from_address(table + ctypes.sizeof(c_void_p))
    return dict(zip(listed, found, strict=True))


def interface(
    library: Cryptoki,
    name: bytes | None = NAME,
    version: tuple[int, int] | None = None,
    flags: int = 0,
) -> CkInterface | int:
    """The interface, or the return value that refused it; the place is then as it was."""
    place = c_void_p(CANARY)
    wanted = None if version is None else byref(CkVersion(*version))
    rv: int = library.raw["C_GetInterface"](name, wanted, byref(place), flags)
    if rv != CKR_OK:
        assert place.value == CANARY
        return rv
    found = ctypes.cast(place, POINTER(CkInterface)).contents
    assert isinstance(found, CkInterface)
    return found


def test_function_list_is_that_of_the_old_version_and_holds_the_exported_functions(
    library: Cryptoki,
) -> None:
    place = c_void_p()
    library.call("C_GetFunctionList", byref(place))
    assert place.value is not None
    assert ctypes.string_at(place.value, 2) == bytes([2, 40])
    listed = pointers(place.value, (2, 40))
    assert len(listed) == 68
    for name, pointer in listed.items():
        assert ctypes.cast(getattr(library.library, name), c_void_p).value == pointer
    assert library.raw["C_GetFunctionList"](None) == CKR_ARGUMENTS_BAD


def test_interface_list_follows_the_rules_of_other_lists(library: Cryptoki) -> None:
    listing, count = library.raw["C_GetInterfaceList"], c_ulong(99)
    assert listing(None, None) == CKR_ARGUMENTS_BAD
    assert (listing(None, byref(count)), count.value) == (CKR_OK, 3)
    places = (CkInterface * 4)()
    count.value = 2
    assert (listing(places, byref(count)), count.value) == (CKR_BUFFER_TOO_SMALL, 3)
    assert places[0].pFunctionList is None
    count.value = 4
    assert (listing(places, byref(count)), count.value) == (CKR_OK, 3)
    assert [version_of(one) for one in places[:3]] == VERSIONS
    assert {one.pInterfaceName for one in places[:3]} == {NAME}
    assert {one.flags for one in places[:3]} == {0}
    assert places[3].pFunctionList is None


@pytest.mark.parametrize("version", VERSIONS)
def test_every_list_holds_every_function_of_its_version(
    version: tuple[int, int], library: Cryptoki
) -> None:
    found = interface(library, version=version)
    assert isinstance(found, CkInterface)
    assert found.pInterfaceName == NAME
    assert version_of(found) == version
    listed = pointers(found.pFunctionList, version)
    assert len(listed) == {(2, 40): 68, (3, 0): 92, (3, 2): 104}[version]
    for name, pointer in listed.items():
        exported = ctypes.cast(getattr(library.library, name), c_void_p).value
        assert pointer is not None
        # C_GetInfo tells the version of its own list, so every list has its own.
        assert pointer == exported or (name == "C_GetInfo" and version > (2, 40))


@pytest.mark.parametrize("name", [None, NAME])
def test_default_interface_is_the_newest(name: bytes | None, library: Cryptoki) -> None:
    found = interface(library, name)
    assert isinstance(found, CkInterface)
    assert version_of(found) == (3, 2)


@pytest.mark.parametrize(
    ("name", "version", "flags"),
    [
        (b"Vendor NSS FIPS Interface", None, 0),
        (b"PKCS 11 ", None, 0),
        (b"pkcs 11", None, 0),
        (b"PKCS 1", None, 0),
        (b"", None, 0),
        (NAME, (3, 1), 0),
        (NAME, (2, 20), 0),
        (NAME, (3, 3), 0),
        (NAME, (4, 0), 0),
        (NAME, (0, 0), 0),
        (None, (3, 1), 0),
        (NAME, None, 2),
        # A child's C_Initialize starts afresh: the parent's sessions are not its own.
        (NAME, None, CKF_INTERFACE_FORK_SAFE),
        (NAME, (3, 0), 0x8000_0000),
        (None, None, 2**64 - 1),
    ],
)
def test_unknown_names_versions_and_flags_are_refused_never_approximated(
    name: bytes | None, version: tuple[int, int] | None, flags: int, library: Cryptoki
) -> None:
    assert interface(library, name, version, flags) == CKR_ARGUMENTS_BAD


def test_a_place_is_needed_for_an_interface(library: Cryptoki) -> None:
    assert library.raw["C_GetInterface"](NAME, None, None, 0) == CKR_ARGUMENTS_BAD


def test_the_same_interface_is_given_every_time_also_while_initialised(
    library: Cryptoki, fake: FakeDaemon
) -> None:
    before = interface(library)
    with library:
        during = interface(library)
        assert isinstance(before, CkInterface)
        assert isinstance(during, CkInterface)
        assert ctypes.addressof(before) == ctypes.addressof(during)


@pytest.mark.parametrize("version", VERSIONS)
def test_information_tells_the_version_of_the_interface_it_was_asked_through(
    version: tuple[int, int], library: Cryptoki, fake: FakeDaemon
) -> None:
    found = interface(library, version=version)
    assert isinstance(found, CkInterface)
    pointer = pointers(found.pFunctionList, version)["C_GetInfo"]
    assert pointer is not None
    get_info = ctypes.CFUNCTYPE(c_ulong, c_void_p)(pointer)
    info = CK_STRUCTS["CK_INFO"]()
    assert get_info(byref(info)) == CKR_CRYPTOKI_NOT_INITIALIZED
    with library:
        assert get_info(None) == CKR_ARGUMENTS_BAD
        assert get_info(byref(info)) == CKR_OK
    told = info.cryptokiVersion
    assert (told.major, told.minor) == version
    assert bytes(info.manufacturerID) == LIBRARY_INFO[1].encode().ljust(32)


def test_pkcs11_tool_lists_the_interfaces_and_works_through_the_newest(
    pkcs11_tool: Run, token: ScratchToken
) -> None:
    listed = pkcs11_tool("--list-interfaces").stdout.splitlines()
    assert [line.strip() for line in listed if "version:" in line] == [
        "version: 3.2",
        "version: 3.0",
        "version: 2.40",
    ]
    assert listed.count("Interface 'PKCS 11'") == 3
    assert "Cryptoki version 3.2" in pkcs11_tool("-I").stdout
    assert f"serial num         : {token.serial}" in pkcs11_tool("-L").stdout


def test_nss_loads_the_newest_interface_and_sees_the_token(
    home: Scratch, token: ScratchToken, tmp_path: Path
) -> None:
    database = ("-dbdir", f"sql:{tmp_path}", "-force")
    outputs = [
        subprocess.run(
            [program("modutil", "libnss3-tools"), *database, *arguments],
            capture_output=True,
            check=True,
            text=True,
            timeout=120,
        ).stdout
        for arguments in (
            ("-create",),
            ("-add", "klyuch", "-libfile", str(home.library)),
            ("-list", "klyuch"),
        )
    ]
    assert "PKCS #11 Version 3.2" in outputs[-1]
    assert f"Token Serial Number: {token.serial}" in outputs[-1]
