"""Ciphers and digests give the same however the data is cut, and wherever the key is."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pkcs11_module import _constants as ck
from pkcs11_module.types import AesCtrParams, Buffer, GcmParams, Mechanism
from tests.unit.facade_rig import Client, Rig, template

SECRET, IV = bytes(range(32)), bytes(16)
ROOM = Buffer(1 << 12)
BLOCKS = [Mechanism(ck.CKM_AES_ECB), Mechanism(ck.CKM_AES_CBC, IV)]
ANY_LENGTH = [
    Mechanism(ck.CKM_AES_CBC_PAD, IV),
    Mechanism(ck.CKM_AES_CTR, AesCtrParams(5, b"\xff" * 15 + b"\xe0")),
    Mechanism(ck.CKM_AES_GCM, GcmParams(IV[:12], 96, b"header", 128)),
]
DATA = st.binary(max_size=200)
CUTS = st.lists(st.integers(0, 300), max_size=6)
PLACES = st.tuples(st.booleans(), st.booleans())
"""Whether the key is on the token: to encrypt in one part and in many, the other way to decrypt."""


@cache
def ground() -> tuple[Client, int, dict[bool, int]]:
    """A client, its session, and the same key in the session and on the token."""
    client = Rig().initialised()
    session = client.user()
    uses = dict.fromkeys(("ENCRYPT", "DECRYPT", "SIGN", "VERIFY"), True)
    keys = {
        on_token: client(
            "C_CreateObject",
            session,
            template(
                CLASS=ck.CKO_SECRET_KEY,
                KEY_TYPE=ck.CKK_AES,
                VALUE=SECRET,
                TOKEN=on_token,
                **uses,
            ),
        )
        for on_token in (False, True)
    }
    return client, session, keys


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place for place in cuts if place < len(data))})
    return [data[start:end] for start, end in pairwise(places)]


def in_parts(name: str, mechanism: Mechanism, key: int, parts: list[bytes]) -> bytes:
    client, session, _ = ground()
    client(f"C_{name}Init", session, mechanism, key)
    made = b""
    for part in parts:
        size = client(f"C_{name}Update", session, part, Buffer(None)).value
        given_ = client(f"C_{name}Update", session, part, Buffer(size))
        assert len(given_) == size
        made += given_
    return made + bytes(client(f"C_{name}Final", session, ROOM))


@given(st.sampled_from(BLOCKS + ANY_LENGTH), DATA, st.tuples(CUTS, CUTS), PLACES)
def test_a_cipher_does_not_see_where_the_data_is_cut(
    mechanism: Mechanism, data: bytes, cuts: tuple[list[int], list[int]], places: tuple[bool, bool]
) -> None:
    client, session, keys = ground()
    here, there = places
    if mechanism in BLOCKS:
        data = data[: len(data) // 16 * 16]
    client("C_EncryptInit", session, mechanism, keys[here])
    whole = client("C_Encrypt", session, data, ROOM)
    assert in_parts("Encrypt", mechanism, keys[there], cut(data, cuts[0])) == whole
    assert in_parts("Decrypt", mechanism, keys[here], cut(whole, cuts[1])) == data
    client("C_DecryptInit", session, mechanism, keys[there])
    assert client("C_Decrypt", session, whole, ROOM) == data


@given(DATA, CUTS, st.booleans())
def test_a_code_does_not_see_where_the_data_is_cut(
    data: bytes, cuts: list[int], on_token: bool
) -> None:
    client, session, keys = ground()
    mechanism = Mechanism(ck.CKM_AES_CMAC)
    whole = client.sign(session, ck.CKM_AES_CMAC, keys[not on_token], data)
    client("C_SignInit", session, mechanism, keys[on_token])
    for part in cut(data, cuts):
        client("C_SignUpdate", session, part)
    assert client("C_SignFinal", session, ROOM) == whole


@given(st.binary(min_size=16, max_size=64))
def test_whatever_is_decrypted_with_padding_ends_in_data_or_in_one_error(data: bytes) -> None:
    client, session, keys = ground()
    mechanism = Mechanism(ck.CKM_AES_CBC_PAD, IV)
    whole = data[: len(data) // 16 * 16]
    client("C_DecryptInit", session, Mechanism(ck.CKM_AES_CBC, IV), keys[False])
    plain = client("C_Decrypt", session, whole, ROOM)
    count = plain[-1]
    good = 1 <= count <= 16 and plain.endswith(bytes((count,)) * count)
    for key in keys.values():
        client("C_DecryptInit", session, mechanism, key)
        outcome = client.outcome("C_Decrypt", session, whole, ROOM)
        assert outcome == ("CKR_OK" if good else "CKR_ENCRYPTED_DATA_INVALID")
