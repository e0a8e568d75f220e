"""C_WrapKeyAuthenticated and C_UnwrapKeyAuthenticated."""

from __future__ import annotations

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
from tests.unit.facade_rig import ROOM, Client, template
from tests.unit.facade_secrets import make, value
from tests.unit.facade_wraps import AES, KEK, KEY_WRAP, NONCE, SECRET, session_pair


def message(iv: bytes, tag: bytes, generator: int = ck.CKG_NO_GENERATE) -> Mechanism:
    return Mechanism(ck.CKM_AES_GCM, GcmMessageParams(iv, 0, generator, tag, 8 * len(tag)))


def test_an_authenticated_wrap_gives_nonce_and_tag_apart(
    client: Client, session: int, *, on_token: bool
) -> None:
    wrapper = make(client, session, KEK, TOKEN=on_token)
    key = make(client, session, SECRET)
    mechanism = message(bytes(12), bytes(16), ck.CKG_GENERATE)
    asked = client("C_WrapKeyAuthenticated", session, mechanism, wrapper, key, b"aad", Buffer(None))
    assert asked == (MessageOutput(), Length(32))
    output, wrapped = client(
        "C_WrapKeyAuthenticated", session, mechanism, wrapper, key, b"aad", Buffer(32)
    )
    assert AESGCM(KEK).decrypt(output.iv, wrapped + output.tag, b"aad") == SECRET
    with_both = message(output.iv, output.tag)
    again = client(
        "C_UnwrapKeyAuthenticated",
        session,
        with_both,
        wrapper,
        wrapped,
        template(**AES),
        b"aad",
    )
    assert value(client, session, again) == SECRET
    refusal = client.fails(
        "C_UnwrapKeyAuthenticated",
        session,
        with_both,
        wrapper,
        wrapped,
        template(**AES),
        b"other",
    )
    assert refusal == "CKR_WRAPPED_KEY_INVALID"


def test_an_authenticated_wrap_of_a_private_key(client: Client, session: int) -> None:
    wrapper = make(client, session, KEK)
    public, private = session_pair(client, session)
    output, wrapped = client(
        "C_WrapKeyAuthenticated",
        session,
        message(NONCE, bytes(12)),
        wrapper,
        private,
        None,
        ROOM,
    )
    again = client(
        "C_UnwrapKeyAuthenticated",
        session,
        message(NONCE, output.tag),
        wrapper,
        wrapped,
        template(CLASS=ck.CKO_PRIVATE_KEY, KEY_TYPE=ck.CKK_EC),
        None,
    )
    assert client.get(session, again, "EC_POINT") == client.get(session, public, "EC_POINT")


def test_an_authenticated_wrap_obeys_the_same_rules(client: Client, session: int) -> None:
    wrapper = make(client, session, KEK)
    stays = make(client, session, SECRET, EXTRACTABLE=False)
    name, mechanism = "C_WrapKeyAuthenticated", message(NONCE, bytes(16))
    refusal = client.fails(name, session, mechanism, wrapper, stays, None, ROOM)
    assert refusal == "CKR_KEY_UNEXTRACTABLE"
    refusal = client.fails(name, session, KEY_WRAP, wrapper, stays, None, ROOM)
    assert refusal == "CKR_MECHANISM_INVALID"
    key = make(client, session, SECRET)
    short = message(NONCE, b"")
    refusal = client.fails(name, session, short, wrapper, key, None, ROOM)
    assert refusal == "CKR_MECHANISM_PARAM_INVALID"
    plain = Mechanism(ck.CKM_AES_GCM, GcmParams(NONCE, 96, None, 128))
    refusal = client.fails(name, session, plain, wrapper, key, None, ROOM)
    assert refusal == "CKR_MECHANISM_PARAM_INVALID"
