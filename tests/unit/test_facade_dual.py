"""Two operations on the same data, and operations that are put aside and taken up again."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pkcs11_module import _constants as ck
from pkcs11_module.types import Buffer, Length, Mechanism
from tests.unit.facade_rig import ROOM, Client, template

SECRET, IV = bytes(range(32)), bytes(16)
CBC, HMAC, SHA256 = (
    Mechanism(ck.CKM_AES_CBC, IV),
    Mechanism(ck.CKM_SHA256_HMAC),
    Mechanism(ck.CKM_SHA256),
)
PARTS = (b"0123456789", b"abcdef", bytes(16))
DATA = b"".join(PARTS)


def secret(
    client: Client,
    session: int,
    key_type: int = ck.CKK_AES,
    on_token: bool = False,
    extractable: bool = False,
) -> int:
    uses = dict.fromkeys(("ENCRYPT", "DECRYPT", "SIGN", "VERIFY"), True)
    kind = {"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": key_type, "EXTRACTABLE": extractable}
    made = template(VALUE=SECRET, TOKEN=on_token, **kind, **uses)
    handle: int = client("C_CreateObject", session, made)
    return handle


def encrypted() -> bytes:
    return Cipher(algorithms.AES(SECRET), modes.CBC(IV)).encryptor().update(DATA)


def fed(client: Client, session: int, name: str, parts: tuple[bytes, ...]) -> bytes:
    """What comes out; every part is first asked for its length and refused for want of room."""
    made = b""
    for part in parts:
        size = client(name, session, part, Buffer(None)).value
        if size:
            assert client.fails(name, session, part, Buffer(size - 1)) == "CKR_BUFFER_TOO_SMALL"
        made += client(name, session, part, Buffer(size))
    return made


def test_the_digest_is_of_the_plaintext_that_goes_in(client: Client, session: int) -> None:
    client("C_DigestInit", session, SHA256)
    client("C_EncryptInit", session, CBC, secret(client, session))
    assert fed(client, session, "C_DigestEncryptUpdate", PARTS) == encrypted()
    assert client("C_EncryptFinal", session, ROOM) == b""
    assert client("C_DigestFinal", session, ROOM) == hashlib.sha256(DATA).digest()


def test_the_digest_is_of_the_plaintext_that_comes_out(client: Client, session: int) -> None:
    cryptogram = encrypted()
    client("C_DecryptInit", session, CBC, secret(client, session))
    client("C_DigestInit", session, SHA256)
    parts = cryptogram[:5], cryptogram[5:]
    assert fed(client, session, "C_DecryptDigestUpdate", parts) == DATA
    assert client("C_DigestFinal", session, ROOM) == hashlib.sha256(DATA).digest()
    assert client("C_DecryptFinal", session, ROOM) == b""


def test_signing_and_encrypting_at_once(client: Client, session: int) -> None:
    client("C_SignInit", session, HMAC, secret(client, session, ck.CKK_GENERIC_SECRET))
    client("C_EncryptInit", session, CBC, secret(client, session))
    assert fed(client, session, "C_SignEncryptUpdate", PARTS) == encrypted()
    assert client("C_SignFinal", session, ROOM) == hmac.digest(SECRET, DATA, "sha256")


@pytest.mark.parametrize("good", [True, False])
def test_decrypting_and_verifying_at_once(client: Client, session: int, good: bool) -> None:
    code = hmac.digest(SECRET, DATA if good else b"other", "sha256")
    client("C_DecryptInit", session, CBC, secret(client, session, on_token=True))
    client("C_VerifyInit", session, HMAC, secret(client, session, ck.CKK_GENERIC_SECRET))
    assert fed(client, session, "C_DecryptVerifyUpdate", (encrypted(),)) == DATA
    outcome = client.outcome("C_VerifyFinal", session, code)
    assert outcome == ("CKR_OK" if good else "CKR_SIGNATURE_INVALID")


@pytest.mark.parametrize("on_token", [False, True])
def test_a_digest_of_keys_and_data(client: Client, session: int, on_token: bool) -> None:
    key = secret(client, session, on_token=on_token, extractable=on_token)
    client("C_DigestInit", session, SHA256)
    client("C_DigestUpdate", session, b"before")
    client("C_DigestKey", session, key)
    client("C_DigestUpdate", session, b"after")
    digest = client("C_DigestFinal", session, ROOM)
    assert digest == hashlib.sha256(b"before" + SECRET + b"after").digest()


def test_keys_that_are_not_digested(client: Client, session: int) -> None:
    public, private = client.make_ec_pair(session)
    kept = secret(client, session, on_token=True)
    for key, error in (
        (public, "CKR_KEY_INDIGESTIBLE"),
        (private, "CKR_KEY_INDIGESTIBLE"),
        (kept, "CKR_KEY_INDIGESTIBLE"),
        (0, "CKR_KEY_HANDLE_INVALID"),
    ):
        client("C_DigestInit", session, SHA256)
        assert client.fails("C_DigestKey", session, key) == error
        assert client.fails("C_DigestFinal", session, ROOM) == "CKR_OPERATION_NOT_INITIALIZED"


def test_a_saved_digest_goes_on_in_any_session(client: Client, session: int) -> None:
    client("C_DigestInit", session, SHA256)
    client("C_DigestUpdate", session, b"one ")
    assert client("C_GetOperationState", session, Buffer(None)) == Length(32)
    state = client("C_GetOperationState", session, Buffer(32))
    client("C_DigestUpdate", session, b"way")
    assert client("C_DigestFinal", session, ROOM) == hashlib.sha256(b"one way").digest()
    for _ in range(2):
        other = client.open()
        client("C_SetOperationState", other, state, 0, 0)
        assert client.fails("C_Digest", other, b"", ROOM) == "CKR_OPERATION_ACTIVE"
        client("C_SetOperationState", other, state, 0, 0)
        client("C_DigestUpdate", other, b"or another")
        digest = client("C_DigestFinal", other, ROOM)
        assert digest == hashlib.sha256(b"one or another").digest()


def test_a_restored_state_makes_what_was_active_give_way(client: Client, session: int) -> None:
    client("C_DigestInit", session, SHA256)
    state = client("C_GetOperationState", session, ROOM)
    client("C_DigestUpdate", session, b"gone")
    client("C_EncryptInit", session, CBC, secret(client, session))
    client("C_SetOperationState", session, state, 0, 0)
    assert client("C_DigestFinal", session, ROOM) == hashlib.sha256(b"").digest()
    refusal = client.fails("C_EncryptFinal", session, ROOM)
    assert refusal == "CKR_OPERATION_NOT_INITIALIZED"


def test_states_that_are_none(client: Client, session: int) -> None:
    client("C_DigestInit", session, SHA256)
    state = client("C_GetOperationState", session, ROOM)
    for wrong in (None, b"", state[:-1], state[::-1]):
        refusal = client.fails("C_SetOperationState", session, wrong, 0, 0)
        assert refusal == "CKR_SAVED_STATE_INVALID"
    assert client.fails("C_SetOperationState", session, state, 1, 0) == "CKR_KEY_NOT_NEEDED"
    assert client.fails("C_SetOperationState", session, state, 0, 1) == "CKR_KEY_NOT_NEEDED"
    stranger = Client(client.application.module.application())
    refusal = stranger.fails("C_SetOperationState", stranger.open(), state, 0, 0)
    assert refusal == "CKR_SAVED_STATE_INVALID"
    for _ in range(300):
        client("C_GetOperationState", session, ROOM)
    refusal = client.fails("C_SetOperationState", session, state, 0, 0)
    assert refusal == "CKR_SAVED_STATE_INVALID"
