"""C_DeriveKey from private keys: agreements by ECDH, X25519 and X448, KDFs and refusals."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

from pkcs11_module import _constants as ck
from pkcs11_module.cards.card import TokenCard
from pkcs11_module.types import Ecdh1DeriveParams, Mechanism
from tests.unit.facade_derivations import BASE, derive, generic, refused
from tests.unit.facade_rig import P256, X448, X25519, Client, Value, template
from tests.unit.facade_secrets import value

PRIVATE_256 = bytes.fromhex("C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433")
PEER_256 = bytes.fromhex(
    "04D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63"
    "56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB"
)
SHARED_256 = bytes.fromhex("D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE")


def ecdh(point: bytes | None, kdf: int = ck.CKD_NULL, shared: bytes | None = None) -> Mechanism:
    return Mechanism(ck.CKM_ECDH1_DERIVE, Ecdh1DeriveParams(kdf, shared, point))


@pytest.fixture
def agreeing(client: Client, session: int, on_token: bool) -> int:
    """The key of RFC 5903 8.1, for agreements."""
    pair = ec.derive_private_key(int.from_bytes(PRIVATE_256, "big"), ec.SECP256R1()).public_key()
    point = pair.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    given = template(
        CLASS=ck.CKO_PRIVATE_KEY,
        KEY_TYPE=ck.CKK_EC,
        TOKEN=on_token,
        EC_PARAMS=P256,
        EC_POINT=b"\x04\x41" + point,
        VALUE=PRIVATE_256,
        DERIVE=True,
    )
    handle: int = client("C_CreateObject", session, given)
    return handle


@pytest.mark.parametrize(
    "point",
    [PEER_256, b"\x04\x41" + PEER_256, bytes((2 + PEER_256[-1] % 2,)) + PEER_256[1:33]],
    ids=["raw", "DER", "compressed"],
)
@pytest.mark.parametrize("kind", [ck.CKM_ECDH1_DERIVE, ck.CKM_ECDH1_COFACTOR_DERIVE])
def test_ecdh_as_in_rfc_5903(
    client: Client, session: int, agreeing: int, kind: int, *, point: bytes
) -> None:
    mechanism = Mechanism(kind, ecdh(point).parameter)
    key = derive(client, session, mechanism, agreeing)
    assert value(client, session, key) == SHARED_256


def test_of_a_longer_secret_the_last_bytes_are_taken(
    client: Client, session: int, agreeing: int
) -> None:
    wanted: dict[str, Value] = {"KEY_TYPE": ck.CKK_AES, "VALUE_LEN": 16}
    key = derive(client, session, ecdh(PEER_256), agreeing, **wanted)
    assert value(client, session, key) == SHARED_256[16:]
    refusal = refused(client, session, ecdh(PEER_256), agreeing, VALUE_LEN=33)
    assert refusal == "CKR_TEMPLATE_INCONSISTENT"
    refusal = refused(client, session, ecdh(PEER_256), agreeing, KEY_TYPE=ck.CKK_AES)
    assert refusal == "CKR_TEMPLATE_INCOMPLETE"


KDFS: dict[int, hashes.HashAlgorithm] = {
    ck.CKD_SHA1_KDF: hashes.SHA1(),
    ck.CKD_SHA224_KDF: hashes.SHA224(),
    ck.CKD_SHA256_KDF: hashes.SHA256(),
    ck.CKD_SHA384_KDF: hashes.SHA384(),
    ck.CKD_SHA512_KDF: hashes.SHA512(),
    ck.CKD_SHA3_224_KDF: hashes.SHA3_224(),
    ck.CKD_SHA3_256_KDF: hashes.SHA3_256(),
    ck.CKD_SHA3_384_KDF: hashes.SHA3_384(),
    ck.CKD_SHA3_512_KDF: hashes.SHA3_512(),
}


@pytest.mark.parametrize("kdf", KDFS)
def test_a_kdf_gives_as_much_as_is_wanted(
    client: Client, session: int, agreeing: int, kdf: int
) -> None:
    mechanism = ecdh(PEER_256, kdf, b"shared")
    for length in (7, 100):
        key = derive(client, session, mechanism, agreeing, VALUE_LEN=length)
        expected = X963KDF(KDFS[kdf], length, b"shared").derive(SHARED_256)
        assert value(client, session, key) == expected
    assert refused(client, session, mechanism, agreeing) == "CKR_TEMPLATE_INCOMPLETE"


@pytest.mark.parametrize(
    "mechanism",
    [
        ecdh(PEER_256, ck.CKD_NULL, b"shared"),
        ecdh(PEER_256, 99),
        ecdh(None),
        ecdh(PEER_256[:-1]),
        ecdh(PEER_256[:-1] + b"\0"),
        ecdh(b"\x04\x40" + PEER_256[:-1]),
        ecdh(b"\x00"),
    ],
)
def test_a_parameter_that_gives_no_secret(
    client: Client, session: int, agreeing: int, mechanism: Mechanism
) -> None:
    refusal = refused(client, session, mechanism, agreeing, VALUE_LEN=32)
    assert refusal == "CKR_MECHANISM_PARAM_INVALID"


def test_x25519(client: Client, session: int, *, on_token: bool) -> None:
    public, private = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(ck.CKM_EC_MONTGOMERY_KEY_PAIR_GEN),
        template(EC_PARAMS=X25519),
        template(TOKEN=on_token),
    )
    (spki,) = client.get(session, public, "PUBLIC_KEY_INFO")
    theirs = serialization.load_der_public_key(spki)
    assert isinstance(theirs, x25519.X25519PublicKey)
    mine = x25519.X25519PrivateKey.generate()
    point = mine.public_key().public_bytes_raw()
    for form in (point, b"\x04\x20" + point):
        key = derive(client, session, ecdh(form), private)
        assert value(client, session, key) == mine.exchange(theirs)
    for useless in (bytes(32), b"\x01" + bytes(31), point[1:]):
        refusal = refused(client, session, ecdh(useless), private)
        assert refusal == "CKR_MECHANISM_PARAM_INVALID"


def test_x448(client: Client, session: int, *, on_token: bool) -> None:
    public, private = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(ck.CKM_EC_MONTGOMERY_KEY_PAIR_GEN),
        template(EC_PARAMS=X448),
        template(TOKEN=on_token),
    )
    (spki,) = client.get(session, public, "PUBLIC_KEY_INFO")
    theirs = serialization.load_der_public_key(spki)
    assert isinstance(theirs, x448.X448PublicKey)
    mine = x448.X448PrivateKey.generate()
    point = mine.public_key().public_bytes_raw()
    for form in (point, b"\x04\x38" + point):
        key = derive(client, session, ecdh(form), private)
        assert value(client, session, key) == mine.exchange(theirs)
    for useless in (bytes(56), b"\x01" + bytes(55), point[1:]):
        refusal = refused(client, session, ecdh(useless), private)
        assert refusal == "CKR_MECHANISM_PARAM_INVALID"


def test_a_card_that_gives_a_secret_of_zeros_is_not_believed(
    client: Client, session: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, private = client.make_ec_pair(session, DERIVE=True)
    monkeypatch.setattr(TokenCard, "agree", lambda *_: bytes(32))
    refusal = refused(client, session, ecdh(PEER_256), private)
    assert refusal == "CKR_MECHANISM_PARAM_INVALID"


def test_a_key_of_another_kind_agrees_on_nothing(client: Client, session: int) -> None:
    _, signing = client.make_ec_pair(session)
    refusal = refused(client, session, ecdh(PEER_256), signing)
    assert refusal == "CKR_KEY_FUNCTION_NOT_PERMITTED"
    secret = generic(client, session, BASE)
    assert refused(client, session, ecdh(PEER_256), secret) == "CKR_KEY_TYPE_INCONSISTENT"


def test_a_key_that_asks_for_a_login_each_time_does_not_agree_without(
    client: Client, session: int
) -> None:
    _, private = client.make_ec_pair(session, DERIVE=True, ALWAYS_AUTHENTICATE=True)
    refusal = refused(client, session, ecdh(PEER_256), private)
    assert refusal == "CKR_USER_NOT_LOGGED_IN"
