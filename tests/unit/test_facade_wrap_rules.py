"""C_WrapKey and C_UnwrapKey: what may be wrapped by what, what comes out, and refusals."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import keywrap

from pkcs11_module import _constants as ck
from pkcs11_module.types import Attribute, Buffer, Mechanism
from tests.unit.facade_rig import ROOM, SO_PIN, USER_PIN, Client, Value, template
from tests.unit.facade_secrets import make, tells, value
from tests.unit.facade_wraps import (
    AES,
    GENERIC,
    IV,
    KEK,
    KEY_WRAP,
    KWP,
    OAEP,
    SECRET,
    expected_cbc,
    not_unwrapped,
    not_wrapped,
    session_pair,
    unwrap,
    wrap,
)

# What may be wrapped by what


def test_a_key_that_is_not_extractable_stays(
    client: Client, session: int, *, on_token: bool
) -> None:
    wrapper = make(client, session, KEK)
    key = make(client, session, SECRET, EXTRACTABLE=False, TOKEN=on_token)
    assert not_wrapped(client, session, KEY_WRAP, wrapper, key) == "CKR_KEY_UNEXTRACTABLE"
    refusal = client.fails("C_WrapKey", session, KEY_WRAP, wrapper, key, Buffer(None))
    assert refusal == "CKR_KEY_UNEXTRACTABLE"


def test_a_key_that_may_be_wrapped_with_trusted_keys_only(client: Client) -> None:
    session = client.open()
    client("C_Login", session, ck.CKU_SO, SO_PIN)
    trusted = make(client, session, KEK, PRIVATE=False, TRUSTED=True)
    client("C_Logout", session)
    client("C_Login", session, ck.CKU_USER, USER_PIN)
    untrusted = make(client, session, KEK)
    key = make(client, session, SECRET, WRAP_WITH_TRUSTED=True)
    assert not_wrapped(client, session, KEY_WRAP, untrusted, key) == "CKR_KEY_NOT_WRAPPABLE"
    assert len(wrap(client, session, KEY_WRAP, trusted, key)) == 40


def test_a_wrap_template_leaves_other_keys_out(client: Client, session: int) -> None:
    given = template(CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=ck.CKK_AES, VALUE=KEK, WRAP=True)
    nested = (Attribute(ck.CKA_LABEL, b"travels"),)
    wrapper = client(
        "C_CreateObject", session, (*given, Attribute(ck.CKA_WRAP_TEMPLATE, None, nested))
    )
    travels = make(client, session, SECRET, LABEL="travels")
    stays = make(client, session, SECRET, LABEL="stays")
    assert len(wrap(client, session, KEY_WRAP, wrapper, travels)) == 40
    assert not_wrapped(client, session, KEY_WRAP, wrapper, stays) == "CKR_KEY_HANDLE_INVALID"


def test_an_unwrap_template_is_added_or_the_key_refused(client: Client, session: int) -> None:
    given = template(CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=ck.CKK_AES, VALUE=KEK, UNWRAP=True)
    nested = (Attribute(ck.CKA_EXTRACTABLE, b"\0"), Attribute(ck.CKA_LABEL, b"inside"))
    unwrapper = client(
        "C_CreateObject", session, (*given, Attribute(ck.CKA_UNWRAP_TEMPLATE, None, nested))
    )
    wrapped = keywrap.aes_key_wrap(KEK, SECRET)
    key = unwrap(client, session, KEY_WRAP, unwrapper, wrapped, **AES)
    assert client.get(session, key, "EXTRACTABLE", "LABEL") == [b"\0", b"inside"]
    refusal = not_unwrapped(client, session, KEY_WRAP, unwrapper, wrapped, **AES, EXTRACTABLE=True)
    assert refusal == "CKR_TEMPLATE_INCONSISTENT"


def test_handles_and_attributes_of_the_wrapping_key(client: Client, session: int) -> None:
    key = make(client, session, SECRET)
    wrapped = keywrap.aes_key_wrap(KEK, SECRET)
    idle = make(client, session, KEK, WRAP=False, UNWRAP=False)
    generic = make(client, session, KEK, ck.CKK_GENERIC_SECRET)
    other = make(client, session, KEK, ALLOWED_MECHANISMS=ck.CKM_AES_ECB.to_bytes(8, "little"))
    cases = [
        (999, "CKR_WRAPPING_KEY_HANDLE_INVALID", "CKR_UNWRAPPING_KEY_HANDLE_INVALID"),
        (
            generic,
            "CKR_WRAPPING_KEY_TYPE_INCONSISTENT",
            "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT",
        ),
        (idle, "CKR_KEY_FUNCTION_NOT_PERMITTED", "CKR_KEY_FUNCTION_NOT_PERMITTED"),
        (other, "CKR_MECHANISM_INVALID", "CKR_MECHANISM_INVALID"),
    ]
    for handle, wrapping, unwrapping in cases:
        assert not_wrapped(client, session, KEY_WRAP, handle, key) == wrapping
        refusal = not_unwrapped(client, session, KEY_WRAP, handle, wrapped, **AES)
        assert refusal == unwrapping
    wrapper = make(client, session, KEK)
    assert not_wrapped(client, session, KEY_WRAP, wrapper, 999) == "CKR_KEY_HANDLE_INVALID"
    public, _ = session_pair(client, session)
    assert not_wrapped(client, session, KEY_WRAP, wrapper, public) == "CKR_KEY_NOT_WRAPPABLE"
    digest = Mechanism(ck.CKM_SHA256)
    assert not_wrapped(client, session, digest, wrapper, key) == "CKR_MECHANISM_INVALID"
    no_iv = Mechanism(ck.CKM_AES_CBC)
    assert not_wrapped(client, session, no_iv, wrapper, key) == "CKR_MECHANISM_PARAM_INVALID"
    refusal = client.fails("C_WrapKey", session, None, wrapper, key, ROOM)
    assert refusal == "CKR_ARGUMENTS_BAD"
    refusal = client.fails("C_UnwrapKey", session, None, wrapper, wrapped, ())
    assert refusal == "CKR_ARGUMENTS_BAD"


def test_wrapping_with_a_key_of_the_token_is_for_its_user(client: Client) -> None:
    session = client.user()
    make(client, session, KEK, TOKEN=True, PRIVATE=False)
    client("C_Logout", session)
    (wrapper,) = client.find(session, CLASS=ck.CKO_SECRET_KEY)
    key = make(client, session, SECRET, PRIVATE=False)
    assert not_wrapped(client, session, KEY_WRAP, wrapper, key) == "CKR_USER_NOT_LOGGED_IN"
    wrapped = keywrap.aes_key_wrap(KEK, SECRET)
    refusal = not_unwrapped(client, session, KEY_WRAP, wrapper, wrapped, **AES, PRIVATE=False)
    assert refusal == "CKR_USER_NOT_LOGGED_IN"


def test_a_key_too_short_for_key_wrap(client: Client, session: int, *, on_token: bool) -> None:
    wrapper = make(client, session, KEK, TOKEN=on_token)
    key = make(client, session, b"8 bytes!", ck.CKK_GENERIC_SECRET)
    assert not_wrapped(client, session, KEY_WRAP, wrapper, key) == "CKR_KEY_SIZE_RANGE"


# What comes out


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({}, "CKR_TEMPLATE_INCOMPLETE"),
        ({"CLASS": ck.CKO_SECRET_KEY}, "CKR_TEMPLATE_INCOMPLETE"),
        ({"CLASS": ck.CKO_DATA}, "CKR_TEMPLATE_INCONSISTENT"),
        ({"CLASS": ck.CKO_PUBLIC_KEY, "KEY_TYPE": ck.CKK_RSA}, "CKR_TEMPLATE_INCONSISTENT"),
        ({**AES, "KEY_TYPE": ck.CKK_RSA}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({**AES, "VALUE_LEN": 16}, "CKR_WRAPPED_KEY_LEN_RANGE"),
        ({**AES, "VALUE": SECRET}, "CKR_TEMPLATE_INCONSISTENT"),
        ({**AES, "ALWAYS_SENSITIVE": True}, "CKR_ATTRIBUTE_READ_ONLY"),
        ({**AES, "KEY_TYPE": ck.CKK_DES3}, "CKR_WRAPPED_KEY_LEN_RANGE"),
        ({**AES, "KEY_TYPE": ck.CKK_DES3, "VALUE_LEN": 16}, "CKR_TEMPLATE_INCONSISTENT"),
        (GENERIC, "CKR_TEMPLATE_INCOMPLETE"),
        ({**GENERIC, "VALUE_LEN": 24}, "CKR_WRAPPED_KEY_LEN_RANGE"),
        ({**GENERIC, "VALUE_LEN": 33}, "CKR_WRAPPED_KEY_LEN_RANGE"),
    ],
)
def test_a_template_that_does_not_fit_makes_no_key(
    client: Client, session: int, wanted: dict[str, Value], error: str
) -> None:
    unwrapper = make(client, session, KEK)
    wrapped = keywrap.aes_key_wrap(KEK, SECRET)
    assert not_unwrapped(client, session, KEY_WRAP, unwrapper, wrapped, **wanted) == error
    assert client.find(session) == [unwrapper]


def test_zeros_that_fill_are_told_from_the_key_by_its_length(client: Client, session: int) -> None:
    unwrapper = make(client, session, KEK)
    filled = keywrap.aes_key_wrap(KEK, SECRET[:29] + bytes(3))
    key = unwrap(client, session, KEY_WRAP, unwrapper, filled, **GENERIC, VALUE_LEN=29)
    assert value(client, session, key) == SECRET[:29]
    cbc = Mechanism(ck.CKM_AES_CBC, IV)
    # 24 bytes and zeros, or 32 bytes: only the length tells.
    wrapped = expected_cbc(KEK, SECRET)
    assert not_unwrapped(client, session, cbc, unwrapper, wrapped, **AES) == (
        "CKR_TEMPLATE_INCOMPLETE"
    )
    for length in (24, 32):
        key = unwrap(client, session, cbc, unwrapper, wrapped, **AES, VALUE_LEN=length)
        assert value(client, session, key) == SECRET[:length]
    key = unwrap(client, session, cbc, unwrapper, wrapped[:16], **AES)
    assert value(client, session, key) == SECRET[:16]


@pytest.mark.parametrize(
    ("mechanism", "wrapped", "error"),
    [
        (KEY_WRAP, keywrap.aes_key_wrap(KEK[::-1], SECRET), "CKR_WRAPPED_KEY_INVALID"),
        (KEY_WRAP, bytes(23), "CKR_WRAPPED_KEY_LEN_RANGE"),
        (KEY_WRAP, b"", "CKR_WRAPPED_KEY_LEN_RANGE"),
        (KWP, keywrap.aes_key_wrap(KEK, SECRET), "CKR_WRAPPED_KEY_INVALID"),
        (Mechanism(ck.CKM_AES_CBC_PAD, IV), bytes(16), "CKR_WRAPPED_KEY_INVALID"),
        (Mechanism(ck.CKM_AES_CBC_PAD, IV), bytes(15), "CKR_WRAPPED_KEY_LEN_RANGE"),
        (Mechanism(ck.CKM_AES_CBC_PAD, IV), b"", "CKR_WRAPPED_KEY_LEN_RANGE"),
        (Mechanism(ck.CKM_AES_ECB), bytes(20), "CKR_WRAPPED_KEY_LEN_RANGE"),
    ],
)
def test_what_was_not_wrapped_with_the_key(
    client: Client,
    session: int,
    *,
    mechanism: Mechanism,
    wrapped: bytes,
    error: str,
    on_token: bool,
) -> None:
    unwrapper = make(client, session, KEK, TOKEN=on_token)
    assert not_unwrapped(client, session, mechanism, unwrapper, wrapped, **AES) == error
    assert client.find(session) == [unwrapper]


def test_what_an_unwrapped_key_says_of_itself(
    client: Client, session: int, *, on_token: bool
) -> None:
    unwrapper = make(client, session, KEK)
    wrapped = keywrap.aes_key_wrap(KEK, SECRET)
    key = unwrap(client, session, KEY_WRAP, unwrapper, wrapped, **AES, TOKEN=on_token)
    assert tells(client, session, key, "EXTRACTABLE", "TOKEN") == [True, on_token]
    sealed = unwrap(
        client,
        session,
        KEY_WRAP,
        unwrapper,
        wrapped,
        **AES,
        TOKEN=on_token,
        SENSITIVE=True,
        EXTRACTABLE=False,
    )
    names = ("LOCAL", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "SENSITIVE", "EXTRACTABLE")
    assert tells(client, session, sealed, *names) == [False, False, False, True, False]
    made_by, length = client.get(session, sealed, "KEY_GEN_MECHANISM", "VALUE_LEN")
    assert (made_by, length) == (b"\xff" * 8, (32).to_bytes(8, "little"))
    assert client.get(session, sealed, "CHECK_VALUE") == client.get(session, key, "CHECK_VALUE")


def test_unwrapping_onto_the_token_needs_a_writable_session(client: Client) -> None:
    client.user()
    session = client.open(rw=False)
    unwrapper = make(client, session, KEK)
    wrapped = keywrap.aes_key_wrap(KEK, SECRET)
    refusal = not_unwrapped(client, session, KEY_WRAP, unwrapper, wrapped, **AES, TOKEN=True)
    assert refusal == "CKR_SESSION_READ_ONLY"


def test_a_key_that_asks_for_a_login_each_time_does_not_unwrap_without(
    client: Client, session: int
) -> None:
    public, private = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(ck.CKM_RSA_PKCS_KEY_PAIR_GEN),
        template(MODULUS_BITS=2048, WRAP=True),
        template(TOKEN=True, UNWRAP=True, ALWAYS_AUTHENTICATE=True),
    )
    wrapped = wrap(client, session, OAEP, public, make(client, session, SECRET))
    refusal = not_unwrapped(client, session, OAEP, private, wrapped, **AES)
    assert refusal == "CKR_USER_NOT_LOGGED_IN"
