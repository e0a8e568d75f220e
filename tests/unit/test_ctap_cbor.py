"""The decoder takes what is canonical, and nothing else (CTAP 2.1 8)."""

from __future__ import annotations

import pytest

from token_fw.apps.fido2 import cbor

REFUSED = {
    "nothing": "",
    "bytes after the item": "0000",
    "an integer that is longer than it must be": "1817",
    "a length that is longer than it must be": "580100",
    "16 bits where 8 do": "1900ff",
    "32 bits where 16 do": "1a0000ffff",
    "64 bits where 32 do": "1b00000000ffffffff",
    "a reserved length": "1c",
    "an indefinite array": "9fff",
    "an indefinite map": "bfff",
    "an indefinite byte string": "5f4100ff",
    "a key that is there twice": "a201000100",
    "keys out of order": "a202000100",
    "a longer key before a shorter one": "a262616100616200",
    "a text before an integer": "a26161000100",
    "a key that is an array": "a18000",
    "a key that is true": "a1f500",
    "a text that is not UTF-8": "61ff",
    "a surrogate in a text": "63eda080",
    "a byte string that is cut off": "4200",
    "an array that is cut off": "8200",
    "an array that says it has 2^64-1 members": "9bffffffffffffffff",
    "an integer that is cut off": "19ff",
    "a float that is cut off": "f900",
    "a tag": "c000",
    "undefined": "f7",
    "a simple value without a meaning": "e0",
    "a simple value in two bytes": "f8ff",
    "a break": "ff",
    "five levels": "8181818180",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_canonical_is_refused(name: str) -> None:
    with pytest.raises(cbor.CborError):
        cbor.decode(bytes.fromhex(REFUSED[name]))


def test_a_thousand_levels_are_refused_like_five() -> None:
    with pytest.raises(cbor.CborError, match="levels"):
        cbor.decode(b"\x81" * 1000 + b"\x00")


def test_four_levels_are_taken() -> None:
    value = {1: [{2: [b"", "", True]}]}
    assert cbor.decode(cbor.encode(value)) == value


def test_keys_go_by_type_then_length_then_bytes() -> None:
    value = {"b": 0, "aa": 1, -1: 2, 255: 3, 2: 4, b"z": 5}
    assert list(cbor.decode(cbor.encode(value))) == [2, 255, -1, b"z", "b", "aa"]


def test_floats_are_written_as_they_were_read() -> None:
    twice = bytes.fromhex("82f93e00fb3ff8000000000000")
    assert cbor.decode(twice) == [cbor.Float(twice[1:4]), cbor.Float(twice[4:])]
    assert cbor.encode(cbor.decode(twice)) == twice


def test_a_value_without_an_encoding_is_an_error() -> None:
    with pytest.raises(TypeError):
        cbor.encode(1.5)
    with pytest.raises(OverflowError):
        cbor.encode(1 << 64)
