"""Digests and random bytes."""

from __future__ import annotations

import hashlib

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module.types import Buffer, Length, Mechanism
from tests.unit.facade_rig import ROOM, Client


@pytest.mark.parametrize(
    ("mechanism", "name"),
    [
        (ck.CKM_SHA_1, "sha1"),
        (ck.CKM_SHA256, "sha256"),
        (ck.CKM_SHA512, "sha512"),
        (ck.CKM_SHA3_384, "sha3_384"),
    ],
)
def test_digests(client: Client, mechanism: int, name: str) -> None:
    session = client.open()
    expected = hashlib.new(name, b"message", usedforsecurity=False).digest()
    asked = Mechanism(mechanism)
    client("C_DigestInit", session, asked)
    assert client.fails("C_DigestInit", session, asked) == "CKR_OPERATION_ACTIVE"
    assert client("C_Digest", session, b"message", Buffer(None)) == Length(len(expected))
    assert client.outcome("C_Digest", session, b"message", Buffer(1)) == "CKR_BUFFER_TOO_SMALL"
    assert client("C_Digest", session, b"message", ROOM) == expected
    client("C_DigestInit", session, asked)
    client("C_DigestUpdate", session, b"mess")
    client("C_DigestUpdate", session, b"age")
    assert client("C_DigestFinal", session, Buffer(None)) == Length(len(expected))
    assert client("C_DigestFinal", session, ROOM) == expected
    client("C_DigestInit", session, asked)
    client("C_DigestUpdate", session, b"")
    assert client.fails("C_Digest", session, b"x", ROOM) == "CKR_OPERATION_ACTIVE"
    assert client.fails("C_DigestFinal", session, ROOM) == "CKR_OPERATION_NOT_INITIALIZED"


def test_random_bytes_come_from_the_card(client: Client) -> None:
    session = client.open()
    assert client("C_GenerateRandom", session, 0) == b""
    long = client("C_GenerateRandom", session, 70_000)
    assert len(long) == 70_000
    assert len({long[index : index + 16] for index in range(0, 16_000, 16)}) == 1000


def test_a_seed_makes_random_bytes_no_less_random(client: Client) -> None:
    session = client.open()
    client("C_SeedRandom", session, b"seed")
    told = {client("C_GenerateRandom", session, 16) for _ in range(100)}
    client("C_SeedRandom", session, b"seed")
    told |= {client("C_GenerateRandom", session, 16) for _ in range(100)}
    assert len(told) == 200
    assert client("C_GenerateRandom", session, 0) == b""
