"""Ciphers of secret keys: the same bytes in one part, in many, and wherever the key is."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import keywrap, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pkcs11_module import _constants as ck
from pkcs11_module.types import (
    AesCtrParams,
    Buffer,
    BufferTooSmall,
    GcmParams,
    Length,
    Mechanism,
)
from tests.unit.facade_rig import ROOM, Client, Rig, template

AES_KEY = bytes(range(32))
# Every byte with an odd number of ones.
DES3_KEY = bytes.fromhex("0102040708 0b0d0e 1013151619 1a1c1f 2023252629 2a2c2f")
IV = bytes(range(100, 116))
NONCE = bytes(12)
COUNTER = bytes(15) + b"\xfe"
ECB, CBC, PADDED, CTR, GCM = (
    Mechanism(ck.CKM_AES_ECB),
    Mechanism(ck.CKM_AES_CBC, IV),
    Mechanism(ck.CKM_AES_CBC_PAD, IV),
    Mechanism(ck.CKM_AES_CTR, AesCtrParams(128, COUNTER)),
    Mechanism(ck.CKM_AES_GCM, GcmParams(NONCE, 96, b"header", 96)),
)
DES3_ECB, DES3_CBC, DES3_PADDED = (
    Mechanism(ck.CKM_DES3_ECB),
    Mechanism(ck.CKM_DES3_CBC, IV[:8]),
    Mechanism(ck.CKM_DES3_CBC_PAD, IV[:8]),
)
MECHANISMS = [ECB, CBC, PADDED, CTR, GCM, DES3_ECB, DES3_CBC, DES3_PADDED]
NAMES = [ck.CKM_NAMES[mechanism.type] for mechanism in MECHANISMS]
every_mechanism = pytest.mark.parametrize("mechanism", MECHANISMS, ids=NAMES)
anywhere = pytest.mark.parametrize("on_token", [False, True], ids=["session", "token"])


def expected(mechanism: Mechanism, data: bytes) -> bytes:
    """What the cipher gives, by another implementation."""
    if mechanism is GCM:
        sealed = AESGCM(AES_KEY).encrypt(NONCE, data, b"header")
        return sealed[:-4]
    triple = mechanism in (DES3_ECB, DES3_CBC, DES3_PADDED)
    block = 64 if triple else 128
    algorithm = TripleDES(DES3_KEY) if triple else algorithms.AES(AES_KEY)
    if mechanism in (PADDED, DES3_PADDED):
        padder = padding.PKCS7(block).padder()
        data = padder.update(data) + padder.finalize()
    mode: modes.CBC | modes.ECB | modes.CTR = modes.CBC(IV[: block // 8])
    if mechanism in (ECB, DES3_ECB):
        mode = modes.ECB()
    elif mechanism is CTR:
        mode = modes.CTR(COUNTER)
    encryptor = Cipher(algorithm, mode).encryptor()
    return encryptor.update(data) + encryptor.finalize()


@pytest.fixture(scope="module")
def client() -> Client:
    return Rig().initialised()


@pytest.fixture
def session(client: Client) -> int:
    client("C_CloseAllSessions", 1)
    return client.user()


def key(client: Client, session: int, mechanism: Mechanism, on_token: bool) -> int:
    triple = mechanism in (DES3_ECB, DES3_CBC, DES3_PADDED)
    handle: int = client(
        "C_CreateObject",
        session,
        template(
            CLASS=ck.CKO_SECRET_KEY,
            KEY_TYPE=ck.CKK_DES3 if triple else ck.CKK_AES,
            VALUE=DES3_KEY if triple else AES_KEY,
            TOKEN=on_token,
            ENCRYPT=True,
            DECRYPT=True,
        ),
    )
    return handle


def in_parts(client: Client, session: int, name: str, parts: list[bytes]) -> bytes:
    """The result of the operation that was begun, with every length asked for first."""
    made = b""
    for part in parts:
        size = client(f"C_{name}Update", session, part, Buffer(None)).value
        given = client(f"C_{name}Update", session, part, Buffer(size))
        assert len(given) == size
        made += given
    at_most = client(f"C_{name}Final", session, Buffer(None)).value
    last = client(f"C_{name}Final", session, Buffer(at_most))
    assert len(last) <= at_most
    return made + bytes(last)


def split(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@anywhere
@every_mechanism
@pytest.mark.parametrize("size", [0, 16, 96, (1 << 16) - 16])
def test_a_cipher_gives_what_another_one_gives(
    client: Client, session: int, mechanism: Mechanism, size: int, on_token: bool
) -> None:
    handle = key(client, session, mechanism, on_token)
    data = os.urandom(size)
    room = Buffer(1 << 18)
    client("C_EncryptInit", session, mechanism, handle)
    asked = client("C_Encrypt", session, data, Buffer(None)).value
    cryptogram = client("C_Encrypt", session, data, Buffer(asked))
    assert cryptogram == expected(mechanism, data)
    assert len(cryptogram) == asked
    client("C_DecryptInit", session, mechanism, handle)
    assert client("C_Decrypt", session, cryptogram, room) == data


@anywhere
@every_mechanism
@pytest.mark.parametrize("size", [1, 7, 16, 33])
def test_parts_of_any_length_give_the_same(
    client: Client, session: int, mechanism: Mechanism, size: int, on_token: bool
) -> None:
    handle = key(client, session, mechanism, on_token)
    data = bytes(range(112))
    cryptogram = expected(mechanism, data)
    client("C_EncryptInit", session, mechanism, handle)
    assert in_parts(client, session, "Encrypt", split(data, size)) == cryptogram
    client("C_DecryptInit", session, mechanism, handle)
    assert in_parts(client, session, "Decrypt", split(cryptogram, size)) == data


@anywhere
def test_long_streams_go_through_the_card_in_pieces(
    client: Client, session: int, on_token: bool
) -> None:
    data = os.urandom(3 * (1 << 15) + 5)
    for mechanism in (PADDED, CTR):
        handle = key(client, session, mechanism, on_token)
        client("C_EncryptInit", session, mechanism, handle)
        assert client("C_Encrypt", session, data, Buffer(1 << 18)) == expected(mechanism, data)


@anywhere
@pytest.mark.parametrize("mechanism", [ECB, CBC, DES3_ECB, DES3_CBC])
def test_what_is_not_a_whole_number_of_blocks_is_refused(
    client: Client, session: int, mechanism: Mechanism, on_token: bool
) -> None:
    handle = key(client, session, mechanism, on_token)
    for name, error in (
        ("Encrypt", "CKR_DATA_LEN_RANGE"),
        ("Decrypt", "CKR_ENCRYPTED_DATA_LEN_RANGE"),
    ):
        client(f"C_{name}Init", session, mechanism, handle)
        assert client.fails(f"C_{name}", session, bytes(17), ROOM) == error
        client(f"C_{name}Init", session, mechanism, handle)
        client(f"C_{name}Update", session, bytes(17), ROOM)
        assert client.fails(f"C_{name}Final", session, ROOM) == error
        assert client.fails(f"C_{name}Final", session, ROOM) == "CKR_OPERATION_NOT_INITIALIZED"


@anywhere
@pytest.mark.parametrize("mechanism", [PADDED, DES3_PADDED])
def test_every_wrong_padding_is_the_same_error(
    client: Client, session: int, mechanism: Mechanism, on_token: bool
) -> None:
    handle = key(client, session, mechanism, on_token)
    size = 8 if mechanism is DES3_PADDED else 16
    bare = DES3_CBC if mechanism is DES3_PADDED else CBC
    endings = [b"\x00", bytes((size + 1,)), b"\x01\x03\x03", b"\xff", bytes((size - 1,)) * 3]
    for ending in endings:
        cryptogram = expected(bare, ending.rjust(2 * size, b"\x55"))
        client("C_DecryptInit", session, mechanism, handle)
        refusal = client.fails("C_Decrypt", session, cryptogram, ROOM)
        assert refusal == "CKR_ENCRYPTED_DATA_INVALID"
    for length in (0, size - 1, size + 1):
        client("C_DecryptInit", session, mechanism, handle)
        refusal = client.fails("C_Decrypt", session, bytes(length), ROOM)
        assert refusal == "CKR_ENCRYPTED_DATA_LEN_RANGE"
    for count in range(1, size + 1):
        block = bytes(size - count) + bytes((count,)) * count
        client("C_DecryptInit", session, mechanism, handle)
        data = client("C_Decrypt", session, expected(bare, block), ROOM)
        assert data == bytes(size - count)


@anywhere
def test_gcm_gives_nothing_of_what_was_tampered_with(
    client: Client, session: int, on_token: bool
) -> None:
    handle = key(client, session, GCM, on_token)
    cryptogram = expected(GCM, b"message")
    for wrong in (cryptogram[:-1] + b"\0", b"\0" + cryptogram[1:]):
        client("C_DecryptInit", session, GCM, handle)
        assert client("C_DecryptUpdate", session, wrong, ROOM) == b""
        assert client.fails("C_DecryptFinal", session, ROOM) == "CKR_ENCRYPTED_DATA_INVALID"
    client("C_DecryptInit", session, GCM, handle)
    refusal = client.fails("C_Decrypt", session, cryptogram[:5], ROOM)
    assert refusal == "CKR_ENCRYPTED_DATA_LEN_RANGE"


@anywhere
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_a_counter_never_overflows(client: Client, session: int, bits: int, on_token: bool) -> None:
    block = bytes(15) + b"\xfb"
    mechanism = Mechanism(ck.CKM_AES_CTR, AesCtrParams(bits, block))
    handle = key(client, session, mechanism, on_token)
    last = 0xFB | (1 << bits) - 1
    blocks = [expected(ECB, block[:-1] + bytes((count,))) for count in range(0xFB, last + 1)]
    limit = 16 * len(blocks)
    client("C_EncryptInit", session, mechanism, handle)
    made = in_parts(client, session, "Encrypt", split(bytes(limit), 40))
    assert made == b"".join(blocks)
    client("C_EncryptInit", session, mechanism, handle)
    assert client.fails("C_Encrypt", session, bytes(limit + 1), ROOM) == "CKR_DATA_LEN_RANGE"
    client("C_EncryptInit", session, mechanism, handle)
    assert client("C_EncryptUpdate", session, bytes(limit), ROOM) == made
    assert client.fails("C_EncryptUpdate", session, b"\0", ROOM) == "CKR_DATA_LEN_RANGE"


@anywhere
def test_key_wrap_encrypts_as_well(client: Client, session: int, on_token: bool) -> None:
    wrap, padded = Mechanism(ck.CKM_AES_KEY_WRAP), Mechanism(ck.CKM_AES_KEY_WRAP_KWP)
    handle = key(client, session, ECB, on_token)
    for mechanism, data, result in (
        (wrap, bytes(24), keywrap.aes_key_wrap(AES_KEY, bytes(24))),
        (padded, b"seven..", keywrap.aes_key_wrap_with_padding(AES_KEY, b"seven..")),
    ):
        client("C_EncryptInit", session, mechanism, handle)
        assert client("C_Encrypt", session, data, Buffer(None)) == Length(len(result))
        assert client("C_Encrypt", session, data, ROOM) == result
        client("C_DecryptInit", session, mechanism, handle)
        assert client("C_Decrypt", session, result, ROOM) == data
        client("C_DecryptInit", session, mechanism, handle)
        refusal = client.fails("C_Decrypt", session, result[::-1], ROOM)
        assert refusal == "CKR_ENCRYPTED_DATA_INVALID"
        client("C_EncryptInit", session, mechanism, handle)
        refusal = client.fails("C_EncryptUpdate", session, data, ROOM)
        assert refusal == "CKR_FUNCTION_NOT_SUPPORTED"


@pytest.mark.parametrize(
    ("mechanism", "parameter"),
    [
        (ck.CKM_AES_ECB, b"x"),
        (ck.CKM_AES_CBC, IV[:15]),
        (ck.CKM_AES_CBC, None),
        (ck.CKM_DES3_CBC, IV),
        (ck.CKM_AES_CTR, None),
        (ck.CKM_AES_CTR, AesCtrParams(0, IV)),
        (ck.CKM_AES_CTR, AesCtrParams(129, IV)),
        (ck.CKM_AES_GCM, GcmParams(b"", 0, None, 128)),
        (ck.CKM_AES_GCM, GcmParams(NONCE, 96, None, 0)),
        (ck.CKM_AES_GCM, GcmParams(NONCE, 96, None, 121)),
        (ck.CKM_AES_GCM, GcmParams(NONCE, 96, None, 136)),
        (ck.CKM_AES_GCM, AesCtrParams(128, IV)),
    ],
)
def test_parameters_are_checked(
    client: Client, session: int, mechanism: int, parameter: AesCtrParams | GcmParams | bytes | None
) -> None:
    asked = Mechanism(mechanism, parameter)
    handle = key(client, session, DES3_CBC if mechanism == ck.CKM_DES3_CBC else CBC, False)
    for name in ("C_EncryptInit", "C_DecryptInit"):
        assert client.fails(name, session, asked, handle) == "CKR_MECHANISM_PARAM_INVALID"


def test_a_short_buffer_leaves_every_way_open(client: Client, session: int) -> None:
    handle = key(client, session, PADDED, False)
    cryptogram = expected(PADDED, b"secret")
    client("C_DecryptInit", session, PADDED, handle)
    with pytest.raises(BufferTooSmall) as raised:
        client("C_Decrypt", session, cryptogram, Buffer(5))
    assert raised.value.length == 6
    assert client("C_DecryptUpdate", session, cryptogram, ROOM) == b""
    assert client("C_DecryptFinal", session, Buffer(None)) == Length(16)
    with pytest.raises(BufferTooSmall) as raised:
        client("C_DecryptFinal", session, Buffer(5))
    assert raised.value.length == 6
    assert client("C_DecryptFinal", session, Buffer(6)) == b"secret"
    assert client.fails("C_DecryptFinal", session, ROOM) == "CKR_OPERATION_NOT_INITIALIZED"


def test_nothing_is_added_behind_the_last_part(client: Client, session: int) -> None:
    handle = key(client, session, PADDED, False)
    client("C_DecryptInit", session, PADDED, handle)
    client("C_DecryptUpdate", session, expected(PADDED, b"secret"), ROOM)
    assert client.fails("C_DecryptFinal", session, Buffer(0)) == "CKR_BUFFER_TOO_SMALL"
    assert client.fails("C_DecryptUpdate", session, bytes(16), ROOM) == "CKR_OPERATION_ACTIVE"


def test_more_than_the_card_takes_is_refused(client: Client, session: int) -> None:
    handle = key(client, session, GCM, True)
    client("C_EncryptInit", session, GCM, handle)
    client("C_EncryptUpdate", session, bytes((1 << 16) - 16), ROOM)
    assert client.fails("C_EncryptUpdate", session, b"x", ROOM) == "CKR_DATA_LEN_RANGE"
