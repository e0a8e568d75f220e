"""Wrapping and unwrapping keys for tests of the facade, and what they are wrapped with."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pkcs11_module import _constants as ck
from pkcs11_module.types import Buffer, BufferTooSmall, Length, Mechanism, RsaPkcsOaepParams
from tests.unit.facade_rig import P256, ROOM, Client, Value, template

KEK = bytes(range(32))
SECRET = bytes.fromhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")
IV = bytes(range(16, 32))
NONCE = bytes(range(12))
KEY_WRAP = Mechanism(ck.CKM_AES_KEY_WRAP)
KWP = Mechanism(ck.CKM_AES_KEY_WRAP_KWP)
OAEP = Mechanism(
    ck.CKM_RSA_PKCS_OAEP, RsaPkcsOaepParams(ck.CKM_SHA256, ck.CKG_MGF1_SHA256, 1, b"label")
)
AES: dict[str, Value] = {"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": ck.CKK_AES}
GENERIC: dict[str, Value] = {"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": ck.CKK_GENERIC_SECRET}


def wrap(client: Client, session: int, mechanism: Mechanism, wrapper: int, key: int) -> bytes:
    """The wrapped key, whose length was told before."""
    size = client("C_WrapKey", session, mechanism, wrapper, key, Buffer(None))
    assert isinstance(size, Length)
    with pytest.raises(BufferTooSmall) as raised:
        client("C_WrapKey", session, mechanism, wrapper, key, Buffer(size.value - 1))
    assert raised.value.length == size.value
    wrapped: bytes = client("C_WrapKey", session, mechanism, wrapper, key, Buffer(size.value))
    assert len(wrapped) == size.value
    return wrapped


def not_wrapped(client: Client, session: int, mechanism: Mechanism, wrapper: int, key: int) -> str:
    """How that fails."""
    return client.fails("C_WrapKey", session, mechanism, wrapper, key, ROOM)


def unwrap(
    client: Client,
    session: int,
    mechanism: Mechanism,
    unwrapper: int,
    wrapped: bytes,
    **wanted: Value,
) -> int:
    """The handle of the unwrapped key."""
    handle: int = client("C_UnwrapKey", session, mechanism, unwrapper, wrapped, template(**wanted))
    return handle


def not_unwrapped(
    client: Client,
    session: int,
    mechanism: Mechanism,
    unwrapper: int,
    wrapped: bytes,
    **wanted: Value,
) -> str:
    """How that fails."""
    return client.fails("C_UnwrapKey", session, mechanism, unwrapper, wrapped, template(**wanted))


def session_pair(client: Client, session: int, **private: Value) -> tuple[int, int]:
    """Public and private key of a pair on P-256 that is not on the token, and may be wrapped."""
    pair: tuple[int, int] = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(ck.CKM_EC_KEY_PAIR_GEN),
        template(EC_PARAMS=P256),
        template(**{"SENSITIVE": True, "EXTRACTABLE": True, **private}),
    )
    return pair


def expected_cbc(kek: bytes, data: bytes) -> bytes:
    """Whole blocks by AES in CBC with that IV."""
    encryptor = Cipher(algorithms.AES(kek), modes.CBC(IV)).encryptor()
    return encryptor.update(data) + encryptor.finalize()
