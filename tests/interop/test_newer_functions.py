"""Functions of PKCS#11 3.0 and 3.2 through the C library, the daemon and the card."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from host_tools.cryptoki import (
    Cryptoki,
    CryptokiError,
    GcmMessage,
    Session,
    Template,
    encode,
)
from host_tools.cryptoki_values import Value, mechanism_of
from host_tools.testing import Scratch, ScratchToken
from pkcs11_module import _constants as ck

SECRET: Final[dict[int, Value]] = {
    ck.CKA_CLASS: ck.CKO_SECRET_KEY,
    ck.CKA_KEY_TYPE: ck.CKK_AES,
    ck.CKA_SENSITIVE: False,
    ck.CKA_EXTRACTABLE: True,
}
NESTED: Final[dict[int, int]] = {ck.CKA_CLASS: ck.CKO_SECRET_KEY, ck.CKA_EXTRACTABLE: True}
TEXT: Final = b"a text in two parts"


@pytest.fixture
def session(home: Scratch, token: ScratchToken) -> Iterator[Session]:
    assert home.path.is_dir()
    with Cryptoki() as library, library.open_session(token.slot) as session:
        session.login(ck.CKU_USER, token.pin.encode())
        yield session


@pytest.fixture
def key(session: Session) -> int:
    """An AES key of the session that may do everything."""
    uses = (ck.CKA_ENCRYPT, ck.CKA_DECRYPT, ck.CKA_WRAP, ck.CKA_UNWRAP)
    template: Template = {
        ck.CKA_VALUE_LEN: 32,
        ck.CKA_WRAP_TEMPLATE: NESTED,
        **dict.fromkeys(uses, True),
    }
    return session.generate_key(ck.CKM_AES_KEY_GEN, {**SECRET, **template})


def value(session: Session, handle: int) -> bytes | None:
    return session.attributes(handle, ck.CKA_VALUE)[ck.CKA_VALUE]


def test_messages_get_a_nonce_and_a_tag_each(session: Session, key: int) -> None:
    session.call("C_MessageEncryptInit", mechanism_of(ck.CKM_AES_GCM), key)
    first, second = (GcmMessage(bytes(12), generator=ck.CKG_GENERATE_RANDOM) for _ in range(2))
    cryptograms = [session.encrypt_message(one, b"aad", TEXT) for one in (first, second)]
    assert bytes(12) != first.iv != second.iv != bytes(12)
    again = GcmMessage(first.iv)
    parts = session.message_parts("Encrypt", again, b"aad", [TEXT[:5], TEXT[5:]])
    assert (parts, again.tag) == (cryptograms[0], first.tag)
    session.call("C_MessageEncryptFinal")
    session.call("C_MessageDecryptInit", mechanism_of(ck.CKM_AES_GCM), key)
    for one, cryptogram in zip((first, second), cryptograms, strict=True):
        known = GcmMessage(one.iv, one.tag)
        assert session.decrypt_message(known, b"aad", cryptogram) == TEXT
        with pytest.raises(CryptokiError, match="CKR_AEAD_DECRYPT_FAILED"):
            session.decrypt_message(known, b"other", cryptogram)
    session.call("C_MessageDecryptFinal")


def test_a_key_is_wrapped_with_data_that_is_authenticated(session: Session, key: int) -> None:
    inner = session.generate_key(ck.CKM_AES_KEY_GEN, SECRET | {ck.CKA_VALUE_LEN: 16})
    made = GcmMessage(bytes(12), generator=ck.CKG_GENERATE)
    wrapped = session.wrap_authenticated((ck.CKM_AES_GCM, made.parameter), key, inner, b"aad")
    assert made.iv != bytes(12)
    known = GcmMessage(made.iv, made.tag)
    unwrapped = session.unwrap_authenticated(
        (ck.CKM_AES_GCM, known.parameter), key, wrapped, SECRET, b"aad"
    )
    assert value(session, unwrapped) == value(session, inner)
    with pytest.raises(CryptokiError):
        session.unwrap_authenticated((ck.CKM_AES_GCM, known.parameter), key, wrapped, SECRET)


def test_a_key_on_the_token_opens_what_was_encapsulated(session: Session) -> None:
    public, private = session.generate_key_pair(
        ck.CKM_ML_KEM_KEY_PAIR_GEN,
        {ck.CKA_PARAMETER_SET: ck.CKP_ML_KEM_768, ck.CKA_ENCAPSULATE: True},
        {ck.CKA_TOKEN: True, ck.CKA_DECAPSULATE: True},
    )
    before = session.find({ck.CKA_CLASS: ck.CKO_SECRET_KEY})
    ciphertext, shared = session.encapsulate(ck.CKM_ML_KEM, public, SECRET)
    assert session.find({ck.CKA_CLASS: ck.CKO_SECRET_KEY}) == [*before, shared]
    opened = session.decapsulate(ck.CKM_ML_KEM, private, ciphertext, SECRET)
    secret = value(session, shared)
    assert secret is not None
    assert (len(ciphertext), len(secret)) == (1088, 32)
    assert value(session, opened) == secret


def test_a_template_in_a_key_is_read_back_and_obeyed(session: Session, key: int) -> None:
    assert session.template(key, ck.CKA_WRAP_TEMPLATE) == {
        kind: encode(wanted) for kind, wanted in NESTED.items()
    }
    wrapped = session.generate_key(ck.CKM_AES_KEY_GEN, SECRET | {ck.CKA_VALUE_LEN: 16})
    assert len(session.wrap(ck.CKM_AES_KEY_WRAP, key, wrapped)) == 24
    _, private = session.generate_key_pair(
        ck.CKM_EC_KEY_PAIR_GEN,
        {ck.CKA_EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")},
        {ck.CKA_SENSITIVE: False, ck.CKA_EXTRACTABLE: True},
    )
    with pytest.raises(CryptokiError, match="CKR_KEY_HANDLE_INVALID"):
        session.wrap(ck.CKM_AES_KEY_WRAP_KWP, key, private)


def test_a_known_signature_is_checked_over_parts(session: Session) -> None:
    public, private = session.generate_key_pair(
        ck.CKM_ML_DSA_KEY_PAIR_GEN,
        {ck.CKA_PARAMETER_SET: ck.CKP_ML_DSA_44},
        {ck.CKA_TOKEN: True},
    )
    session.call("C_MessageSignInit", mechanism_of(ck.CKM_ML_DSA), private)
    signature = session.sign_message(TEXT)
    session.call("C_MessageSignFinal")
    for parts, right in (([TEXT[:7], TEXT[7:]], True), ([TEXT, b"!"], False)):
        assert session.verify_signature(ck.CKM_ML_DSA, public, parts, signature) is right


def test_an_operation_is_cancelled_by_name_and_by_no_mechanism(session: Session, key: int) -> None:
    counter = (ck.CKM_AES_CTR, encode(128) + bytes(16))
    for cancel in (
        lambda: session.cancel(ck.CKF_ENCRYPT),
        lambda: session.call("C_EncryptInit", None, 0),
    ):
        session.call("C_EncryptInit", mechanism_of(counter), key)
        cancel()
        with pytest.raises(CryptokiError, match="CKR_OPERATION_NOT_INITIALIZED"):
            session.output("C_EncryptFinal")
