"""Message-based encryption and signing, with keys of the session and of the token."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pkcs11_module import _constants as ck
from pkcs11_module.types import (
    Buffer,
    GcmMessageParams,
    GcmParams,
    Length,
    Mechanism,
    MessageOutput,
)
from tests.unit.facade_rig import P256, ROOM, Client, Rig, template

SECRET = bytes(range(16))
NONCE, AAD, DATA = bytes(12), b"header", b"the whole message"
GCM, HMAC = Mechanism(ck.CKM_AES_GCM), Mechanism(ck.CKM_SHA256_HMAC)
anywhere = pytest.mark.parametrize("on_token", [False, True], ids=["session", "token"])


@pytest.fixture(scope="module")
def client() -> Client:
    return Rig().initialised()


@pytest.fixture
def session(client: Client) -> int:
    client("C_CloseAllSessions", 1)
    return client.user()


def secret(client: Client, session: int, on_token: bool, key_type: int = ck.CKK_AES) -> int:
    uses = dict.fromkeys(("ENCRYPT", "DECRYPT", "SIGN", "VERIFY"), True)
    handle: int = client(
        "C_CreateObject",
        session,
        template(CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=key_type, VALUE=SECRET, TOKEN=on_token, **uses),
    )
    return handle


def parameter(
    iv: bytes = NONCE,
    generator: int = ck.CKG_NO_GENERATE,
    fixed: int = 0,
    tag: bytes = bytes(16),
) -> GcmMessageParams:
    return GcmMessageParams(iv, fixed, generator, tag, 8 * len(tag))


def opened(nonce: bytes, sealed: bytes) -> bytes:
    return AESGCM(SECRET).decrypt(nonce, sealed, AAD)


@anywhere
def test_messages_are_encrypted_one_after_the_other(
    client: Client, session: int, on_token: bool
) -> None:
    client("C_MessageEncryptInit", session, GCM, secret(client, session, on_token))
    for number in range(3):
        nonce = bytes((number,)) * 12
        asked = client("C_EncryptMessage", session, parameter(nonce), AAD, DATA, Buffer(None))
        assert asked == (MessageOutput(), Length(len(DATA)))
        room = Buffer(len(DATA))
        output, body = client("C_EncryptMessage", session, parameter(nonce), AAD, DATA, room)
        assert opened(nonce, body + output.tag) == DATA
        assert output.iv is None
    client("C_MessageEncryptFinal", session)
    refusal = client.fails("C_EncryptMessage", session, parameter(), AAD, DATA, ROOM)
    assert refusal == "CKR_OPERATION_NOT_INITIALIZED"


@anywhere
@pytest.mark.parametrize("parts", [(b"",), (DATA,), (DATA[:3], b"", DATA[3:])])
def test_a_message_in_parts(
    client: Client, session: int, on_token: bool, parts: Sequence[bytes]
) -> None:
    key = secret(client, session, on_token)
    client("C_MessageEncryptInit", session, GCM, key)
    output = client("C_EncryptMessageBegin", session, parameter(), AAD)
    assert output == MessageOutput()
    body, tag = b"", None
    for number, part in enumerate(parts, start=1):
        flags = ck.CKF_END_OF_MESSAGE if number == len(parts) else 0
        args = "C_EncryptMessageNext", session, parameter(), part
        size = client(*args, Buffer(None), flags)[1].value
        output, made = client(*args, Buffer(size), flags)
        assert len(made) == size
        assert (output.tag is not None) == bool(flags)
        body, tag = body + made, output.tag
    assert tag is not None
    data = b"".join(parts)
    assert opened(NONCE, body + tag) == data
    client("C_MessageEncryptFinal", session)
    client("C_MessageDecryptInit", session, GCM, key)
    client("C_DecryptMessageBegin", session, parameter(), AAD)
    assert client("C_DecryptMessageNext", session, parameter(), body[:5], ROOM, 0) == b""
    rest = parameter(tag=tag), body[5:]
    asked = client("C_DecryptMessageNext", session, *rest, Buffer(None), ck.CKF_END_OF_MESSAGE)
    assert asked == Length(len(data))
    room = Buffer(len(data))
    assert client("C_DecryptMessageNext", session, *rest, room, ck.CKF_END_OF_MESSAGE) == data


@anywhere
def test_a_message_that_was_tampered_with_does_not_end_the_process(
    client: Client, session: int, on_token: bool
) -> None:
    sealed = AESGCM(SECRET).encrypt(NONCE, DATA, AAD)
    body, tag = sealed[:-16], sealed[-16:]
    client("C_MessageDecryptInit", session, GCM, secret(client, session, on_token))
    wrong = parameter(tag=tag[::-1])
    refusal = client.fails("C_DecryptMessage", session, wrong, AAD, body, ROOM)
    assert refusal == "CKR_AEAD_DECRYPT_FAILED"
    refusal = client.fails("C_DecryptMessage", session, parameter(tag=tag), b"", body, ROOM)
    assert refusal == "CKR_AEAD_DECRYPT_FAILED"
    client("C_DecryptMessageBegin", session, wrong, AAD)
    args = "C_DecryptMessageNext", session, wrong, body, ROOM, ck.CKF_END_OF_MESSAGE
    assert client.fails(*args) == "CKR_AEAD_DECRYPT_FAILED"
    assert client.fails(*args) == "CKR_OPERATION_NOT_INITIALIZED"
    good = parameter(tag=tag)
    assert client("C_DecryptMessage", session, good, AAD, body, Buffer(None)) == Length(len(DATA))
    assert client("C_DecryptMessage", session, good, AAD, body, ROOM) == DATA


@pytest.mark.parametrize(
    ("generator", "fixed", "base"),
    [
        (ck.CKG_GENERATE, 0, bytes(12)),
        (ck.CKG_GENERATE, 32, b"abcd" + bytes(8)),
        (ck.CKG_GENERATE_RANDOM, 32, b"abcd" + b"\xff" * 8),
        (ck.CKG_GENERATE_COUNTER, 92, b"x" * 12),
        (ck.CKG_GENERATE_COUNTER, 0, b"x" * 12),
        (ck.CKG_GENERATE_COUNTER_XOR, 64, b"x" * 12),
    ],
)
def test_nonces_are_made_around_the_fixed_bits_and_differ(
    client: Client, session: int, generator: int, fixed: int, base: bytes
) -> None:
    key = secret(client, session, on_token=False)
    seen = []
    # A process of its own does not begin anew with a key that the session had before.
    for _ in range(2):
        client("C_MessageEncryptInit", session, GCM, key)
        for _ in range(8):
            asked = parameter(base, generator, fixed)
            # Asking for the length makes no nonce.
            client("C_EncryptMessage", session, asked, AAD, DATA, Buffer(None))
            output, body = client("C_EncryptMessage", session, asked, AAD, DATA, ROOM)
            nonce = output.iv if output.iv is not None else base
            assert opened(nonce, body + output.tag) == DATA
            seen.append(nonce)
        client("C_MessageEncryptFinal", session)
    assert len(set(seen)) == 16
    numbers = [int.from_bytes(nonce, "big") for nonce in seen]
    free = 96 - fixed
    first = int.from_bytes(base, "big")
    assert {number >> free for number in numbers} == {first >> free}
    if generator == ck.CKG_GENERATE_COUNTER:
        assert [number % (1 << free) for number in numbers] == list(range(16))
    if generator == ck.CKG_GENERATE_COUNTER_XOR:
        assert [number ^ first for number in numbers] == list(range(16))


def test_a_counter_that_is_used_up_makes_no_more_nonces(client: Client, session: int) -> None:
    key = secret(client, session, on_token=False)
    client("C_MessageEncryptInit", session, GCM, key)
    asked = parameter(b"n" * 12, ck.CKG_GENERATE_COUNTER, 94)
    for _ in range(4):
        client("C_EncryptMessage", session, asked, AAD, DATA, ROOM)
    refusal = client.fails("C_EncryptMessage", session, asked, AAD, DATA, ROOM)
    assert refusal == "CKR_DATA_LEN_RANGE"
    other = parameter(b"m" * 12, ck.CKG_GENERATE_COUNTER, 94)
    output, _ = client("C_EncryptMessageBegin", session, other, AAD), None
    assert output.iv == b"m" * 11 + b"l"


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        b"",
        b"parameter",
        parameter(b""),
        parameter(tag=bytes(3)),
        parameter(generator=9),
        parameter(generator=ck.CKG_GENERATE, fixed=33),
        parameter(generator=ck.CKG_GENERATE_COUNTER, fixed=96),
        parameter(generator=ck.CKG_GENERATE_COUNTER, fixed=2**64 - 1),
        GcmMessageParams(None, 0, ck.CKG_GENERATE, None, 128),
        GcmMessageParams(NONCE, 0, ck.CKG_NO_GENERATE, None, 127),
    ],
)
def test_parameters_of_messages_are_checked(
    client: Client, session: int, wrong: GcmMessageParams | bytes | None
) -> None:
    key = secret(client, session, on_token=False)
    client("C_MessageEncryptInit", session, GCM, key)
    refusal = client.fails("C_EncryptMessage", session, wrong, AAD, DATA, ROOM)
    assert refusal == "CKR_MECHANISM_PARAM_INVALID"
    refusal = client.fails("C_EncryptMessageBegin", session, wrong, AAD)
    assert refusal == "CKR_MECHANISM_PARAM_INVALID"
    client("C_EncryptMessage", session, parameter(), AAD, DATA, ROOM)


def test_a_tag_of_another_length_is_refused(client: Client, session: int) -> None:
    client("C_MessageDecryptInit", session, GCM, secret(client, session, on_token=False))
    wrong = GcmMessageParams(NONCE, 0, ck.CKG_NO_GENERATE, bytes(12), 128)
    refusal = client.fails("C_DecryptMessage", session, wrong, AAD, DATA, ROOM)
    assert refusal == "CKR_MECHANISM_PARAM_INVALID"


def test_only_mechanisms_of_messages_take_messages(client: Client, session: int) -> None:
    key = secret(client, session, on_token=False)
    refusal = client.fails("C_MessageEncryptInit", session, Mechanism(ck.CKM_AES_ECB), key)
    assert refusal == "CKR_MECHANISM_INVALID"
    classic = Mechanism(ck.CKM_AES_GCM, GcmParams(NONCE, 96, None, 128))
    refusal = client.fails("C_MessageEncryptInit", session, classic, key)
    assert refusal == "CKR_MECHANISM_PARAM_INVALID"
    client("C_MessageEncryptInit", session, Mechanism(ck.CKM_AES_GCM, parameter()), key)


@anywhere
def test_messages_are_signed_and_verified_one_after_the_other(
    client: Client, session: int, on_token: bool
) -> None:
    key = secret(client, session, on_token, ck.CKK_GENERIC_SECRET)
    client("C_MessageSignInit", session, HMAC, key)
    made = []
    for number in range(3):
        message = bytes((number,)) * 5
        if number == 1:
            client("C_SignMessageBegin", session, None)
            client("C_SignMessageNext", session, b"", message[:2], None)
            rest = None, message[2:]
            assert client("C_SignMessageNext", session, *rest, Buffer(None)) == Length(32)
            made.append(client("C_SignMessageNext", session, *rest, Buffer(32)))
        else:
            assert client("C_SignMessage", session, None, message, Buffer(None)) == Length(32)
            made.append(client("C_SignMessage", session, None, message, Buffer(32)))
        assert made[-1] == hmac.digest(SECRET, message, "sha256")
    client("C_MessageSignFinal", session)
    client("C_MessageVerifyInit", session, HMAC, key)
    refusal = client.fails("C_VerifyMessage", session, None, bytes(5), made[1])
    assert refusal == "CKR_SIGNATURE_INVALID"
    for number, signature in enumerate(made):
        message = bytes((number,)) * 5
        client("C_VerifyMessage", session, None, message, signature)
        client("C_VerifyMessageBegin", session, None)
        client("C_VerifyMessageNext", session, None, message[:1], None)
        client("C_VerifyMessageNext", session, None, message[1:], signature)
    client("C_MessageVerifyFinal", session)


@anywhere
def test_messages_are_signed_with_private_keys(
    client: Client, session: int, on_token: bool
) -> None:
    public, private = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(ck.CKM_EC_KEY_PAIR_GEN),
        template(EC_PARAMS=P256, TOKEN=on_token),
        template(TOKEN=on_token),
    )
    hashed = Mechanism(ck.CKM_ECDSA_SHA256)
    client("C_MessageSignInit", session, hashed, private)
    client("C_MessageVerifyInit", client.open(), hashed, public)
    verifier = client.open()
    client("C_MessageVerifyInit", verifier, hashed, public)
    for message in (b"one", b"two"):
        signature = client("C_SignMessage", session, None, message, ROOM)
        client("C_VerifyMessage", verifier, None, message, signature)
    refusal = client.fails("C_SignMessage", session, b"parameter", b"three", ROOM)
    assert refusal == "CKR_MECHANISM_PARAM_INVALID"
