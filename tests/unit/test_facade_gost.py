"""GOST keys and mechanisms of a session and of the token: parameter sets, signatures, agreement."""

from __future__ import annotations

from typing import Any

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module.types import (
    Ecdh1DeriveParams,
    GcmParams,
    Gostr3410DeriveParams,
    KdfTreeGostParams,
    Mechanism,
)
from tests.unit.facade_rig import ROOM, Client, Rig, template
from token_fw.crypto import (
    GOST_SIZES,
    GOST_SPECS,
    CtrAcpkm,
    Gost3410,
    GostPrivateKey,
    Hash,
    Hmac,
    KExp15,
    KeyKind,
    KeySpec,
    Mgm,
    digest,
    encode_oid,
    gost_private,
    gost_public,
    secret_key,
)

SETS = sorted(spec.curve for spec in GOST_SPECS)
SHORT, LONG = KeySpec.gost("CryptoPro-A"), KeySpec.gost("tc26-512-A")
TYPES = {KeyKind.GOST_256: ck.CKK_GOSTR3410, KeyKind.GOST_512: ck.CKK_GOSTR3410_512}
GENERATORS = {
    KeyKind.GOST_256: ck.CKM_GOSTR3410_KEY_PAIR_GEN,
    KeyKind.GOST_512: ck.CKM_GOSTR3410_512_KEY_PAIR_GEN,
}
RAW = {KeyKind.GOST_256: ck.CKM_GOSTR3410, KeyKind.GOST_512: ck.CKM_GOSTR3410_512}
HASHED = {
    KeyKind.GOST_256: ck.CKM_GOSTR3410_WITH_GOSTR3411_12_256,
    KeyKind.GOST_512: ck.CKM_GOSTR3410_WITH_GOSTR3411_12_512,
}
HASHES = {KeyKind.GOST_256: Hash.STREEBOG256, KeyKind.GOST_512: Hash.STREEBOG512}
IDENTIFIERS = {
    KeyKind.GOST_256: encode_oid("1.2.643.7.1.1.2.2"),
    KeyKind.GOST_512: encode_oid("1.2.643.7.1.1.2.3"),
}
OLD_HASH = encode_oid("1.2.643.2.2.30.1")
"""GOST R 34.11-94 with the parameters of CryptoPro."""
TEST_SET = encode_oid("1.2.643.2.2.35.0")
UKM = bytes.fromhex("1d80603c8544c727")
WHERE = pytest.mark.parametrize("on_token", [False, True], ids=["session", "token"])


@pytest.fixture
def client() -> Client:
    return Rig().initialised()


def pair(client: Client, session: int, spec: KeySpec, **more: Any) -> tuple[int, int]:
    """A pair made; `more` is in both templates."""
    mechanism = Mechanism(GENERATORS[spec.kind])
    common = {"ID": b"gost", **more}
    public = template(GOSTR3410_PARAMS=spec.oid_der, **common)
    made: tuple[int, int] = client(
        "C_GenerateKeyPair", session, mechanism, public, template(DERIVE=True, **common)
    )
    return made


def of_key(key: GostPrivateKey, **more: Any) -> dict[str, Any]:
    """A private key as a template for C_CreateObject."""
    return {
        "CLASS": ck.CKO_PRIVATE_KEY,
        "KEY_TYPE": TYPES[key.spec.kind],
        "GOSTR3410_PARAMS": key.spec.oid_der,
        "VALUE": key.d[::-1],
        **more,
    }


def sample(spec: KeySpec) -> GostPrivateKey:
    return gost_private(spec.curve, bytes(range(1, 1 + GOST_SIZES[spec.kind])))


def sign(client: Client, session: int, mechanism: Mechanism, key: int, data: bytes) -> bytes:
    client("C_SignInit", session, mechanism, key)
    made: bytes = client("C_Sign", session, data, ROOM)
    return made


@WHERE
@pytest.mark.parametrize("name", SETS)
def test_a_pair_of_every_set_tells_what_it_is_and_signs(
    client: Client, name: str, on_token: bool
) -> None:
    spec, session = KeySpec.gost(name), client.user()
    public, private = pair(client, session, spec, TOKEN=on_token)
    told = ("KEY_TYPE", "GOSTR3410_PARAMS", "GOSTR3411_PARAMS", "GOST28147_PARAMS")
    expected = [
        TYPES[spec.kind].to_bytes(8, "little"),
        spec.oid_der,
        IDENTIFIERS[spec.kind],
        encode_oid("1.2.643.7.1.2.5.1.1"),
    ]
    assert client.get(session, public, *told) == client.get(session, private, *told) == expected
    (point,) = client.get(session, public, "VALUE")
    assert len(point) == 2 * GOST_SIZES[spec.kind]
    key = gost_public(name, point)
    assert client.get(session, public, "PUBLIC_KEY_INFO") == [key.to_spki()]
    message = b"a message of any length"
    signature = sign(client, session, Mechanism(HASHED[spec.kind]), private, message)
    key.verify(Gost3410(), digest.compute(HASHES[spec.kind], message), signature)
    client("C_VerifyInit", session, Mechanism(HASHED[spec.kind]), public)
    client("C_VerifyUpdate", session, message[:5])
    client("C_VerifyUpdate", session, message[5:])
    client("C_VerifyFinal", session, signature)


@WHERE
@pytest.mark.parametrize("spec", [SHORT, LONG], ids=str)
def test_a_digest_is_signed_and_bad_signatures_are_told(
    client: Client, spec: KeySpec, on_token: bool
) -> None:
    session, size = client.user(), GOST_SIZES[spec.kind]
    public, private = pair(client, session, spec, TOKEN=on_token)
    hashed = digest.compute(HASHES[spec.kind], b"message")
    mechanism = Mechanism(RAW[spec.kind])
    for used in (Mechanism(RAW[spec.kind], IDENTIFIERS[spec.kind]), mechanism):
        made = sign(client, session, used, private, hashed)
        client("C_VerifyInit", session, used, public)
        client("C_Verify", session, hashed, made)
    signature = sign(client, session, mechanism, private, hashed)
    for wrong in (
        bytes(2 * size),
        bytes(size) + signature[size:],
        signature[:size] + bytes(size),
        b"\xff" * 2 * size,
        signature[size:] + signature[:size],
        bytes((signature[0] ^ 1,)) + signature[1:],
    ):
        client("C_VerifyInit", session, mechanism, public)
        assert client.fails("C_Verify", session, hashed, wrong) == "CKR_SIGNATURE_INVALID"
    for wrong in (b"", signature[:-1], signature + b"\0"):
        client("C_VerifyInit", session, mechanism, public)
        assert client.fails("C_Verify", session, hashed, wrong) == "CKR_SIGNATURE_LEN_RANGE"
    for data in (b"", hashed[:-1], hashed + b"\0"):
        client("C_SignInit", session, mechanism, private)
        assert client.fails("C_Sign", session, data, ROOM) == "CKR_DATA_LEN_RANGE"


@WHERE
@pytest.mark.parametrize("spec", [SHORT, LONG], ids=str)
def test_a_key_from_outside_is_the_one_that_was_given(
    client: Client, spec: KeySpec, on_token: bool
) -> None:
    session, key = client.user(), sample(spec)
    cipher = encode_oid("1.2.643.2.2.31.1")
    given = of_key(key, TOKEN=on_token, GOST28147_PARAMS=cipher, DERIVE=True)
    private = client("C_CreateObject", session, template(**given))
    assert client.get(session, private, "GOST28147_PARAMS") == [cipher]
    assert client.get(session, private, "PUBLIC_KEY_INFO") == [key.public().to_spki()]
    hashed = digest.compute(HASHES[spec.kind], b"message")
    signature = sign(client, session, Mechanism(RAW[spec.kind]), private, hashed)
    key.public().verify(Gost3410(), hashed, signature)


def test_a_copy_and_a_wrapped_key_are_the_same_key(client: Client) -> None:
    session = client.user()
    key = sample(SHORT)
    first = client(
        "C_CreateObject",
        session,
        template(**of_key(key, EXTRACTABLE=True, SENSITIVE=False)),
    )
    assert client.get(session, first, "VALUE") == [key.d[::-1]]
    copy = client("C_CopyObject", session, first, template(LABEL="copy"))
    assert client.get(session, copy, "VALUE") == [key.d[::-1]]
    aes = client("C_GenerateKey", session, Mechanism(ck.CKM_AES_KEY_GEN), template(VALUE_LEN=32))
    wrapped = client("C_WrapKey", session, Mechanism(ck.CKM_AES_KEY_WRAP_KWP), aes, first, ROOM)
    asked = {"CLASS": ck.CKO_PRIVATE_KEY, "KEY_TYPE": ck.CKK_GOSTR3410}
    unwrap = ("C_UnwrapKey", session, Mechanism(ck.CKM_AES_KEY_WRAP_KWP), aes, wrapped)
    again = client(*unwrap, template(**asked, SENSITIVE=False))
    assert client.get(session, again, "VALUE", "GOSTR3410_PARAMS") == [key.d[::-1], SHORT.oid_der]
    other = {**asked, "KEY_TYPE": ck.CKK_GOSTR3410_512}
    assert client.fails(*unwrap, template(**other)) == "CKR_WRAPPED_KEY_INVALID"


@WHERE
def test_sets_that_are_not_known_make_no_key(client: Client, on_token: bool) -> None:
    session = client.user()
    generate = ("C_GenerateKeyPair", session, Mechanism(ck.CKM_GOSTR3410_KEY_PAIR_GEN))
    for name, value, error in (
        ("GOSTR3410_PARAMS", TEST_SET, "CKR_DOMAIN_PARAMS_INVALID"),
        ("GOSTR3410_PARAMS", LONG.oid_der, "CKR_DOMAIN_PARAMS_INVALID"),
        ("GOSTR3410_PARAMS", KeySpec.ec("P-256").oid_der, "CKR_DOMAIN_PARAMS_INVALID"),
        ("GOSTR3410_PARAMS", b"", "CKR_ATTRIBUTE_VALUE_INVALID"),
        ("GOSTR3410_PARAMS", b"CryptoPro-A", "CKR_ATTRIBUTE_VALUE_INVALID"),
        ("GOSTR3410_PARAMS", SHORT.oid_der + b"\0", "CKR_ATTRIBUTE_VALUE_INVALID"),
        ("GOSTR3411_PARAMS", OLD_HASH, "CKR_DOMAIN_PARAMS_INVALID"),
        ("GOSTR3411_PARAMS", IDENTIFIERS[KeyKind.GOST_512], "CKR_DOMAIN_PARAMS_INVALID"),
        ("GOST28147_PARAMS", TEST_SET, "CKR_DOMAIN_PARAMS_INVALID"),
        ("GOST28147_PARAMS", b"\x06", "CKR_ATTRIBUTE_VALUE_INVALID"),
    ):
        given: dict[str, Any] = {"GOSTR3410_PARAMS": SHORT.oid_der, "TOKEN": on_token}
        given[name] = value
        private = template(TOKEN=on_token)
        assert client.fails(*generate, template(**given), private) == error, (name, value)
        created = {**of_key(sample(SHORT)), **given}
        assert client.fails("C_CreateObject", session, template(**created)) == error
    other = template(GOSTR3410_PARAMS=KeySpec.gost("tc26-256-A").oid_der, TOKEN=on_token)
    refused = client.fails(*generate, template(GOSTR3410_PARAMS=SHORT.oid_der), other)
    assert refused == "CKR_TEMPLATE_INCONSISTENT"
    assert client.find(session, TOKEN=True) == []


@WHERE
@pytest.mark.parametrize("spec", [SHORT, LONG], ids=str)
def test_the_parameter_set_has_to_be_named_and_the_others_follow(
    client: Client, spec: KeySpec, on_token: bool
) -> None:
    session, hashed = client.user(), IDENTIFIERS[spec.kind]
    generate = ("C_GenerateKeyPair", session, Mechanism(GENERATORS[spec.kind]))
    bare = template(TOKEN=on_token)
    for public in (bare, template(TOKEN=on_token, GOSTR3411_PARAMS=hashed)):
        assert client.fails(*generate, public, bare) == "CKR_TEMPLATE_INCOMPLETE"
    assert client.find(session, TOKEN=on_token) == []
    made = client(*generate, template(TOKEN=on_token, GOSTR3410_PARAMS=spec.oid_der), bare)
    others = [hashed, encode_oid("1.2.643.7.1.2.5.1.1")]
    for key in made:
        assert client.get(session, key, "GOSTR3411_PARAMS", "GOST28147_PARAMS") == others


@pytest.mark.parametrize("spec", [SHORT, LONG], ids=str)
def test_what_is_no_point_makes_no_public_key(client: Client, spec: KeySpec) -> None:
    session, point = client.user(), sample(spec).public().point
    common: dict[str, Any] = {
        "CLASS": ck.CKO_PUBLIC_KEY,
        "KEY_TYPE": TYPES[spec.kind],
        "GOSTR3410_PARAMS": spec.oid_der,
    }
    for wrong in (
        b"",
        point[:-1],
        point + b"\0",
        bytes(len(point)),
        b"\xff" * len(point),
        bytes((point[0] ^ 1,)) + point[1:],
        bytes((4, len(point))) + point,
    ):
        given = template(**common, VALUE=wrong)
        assert client.fails("C_CreateObject", session, given) == "CKR_ATTRIBUTE_VALUE_INVALID"
    made = client("C_CreateObject", session, template(**common, VALUE=point))
    assert client.get(session, made, "VALUE") == [point]


def test_mechanisms_of_2001_are_not_for_keys_of_2012(client: Client) -> None:
    session = client.user()
    public, private = pair(client, session, SHORT)
    old = Mechanism(ck.CKM_GOSTR3410_WITH_GOSTR3411)
    assert client.fails("C_SignInit", session, old, private) == "CKR_KEY_TYPE_INCONSISTENT"
    assert client.fails("C_VerifyInit", session, old, public) == "CKR_KEY_TYPE_INCONSISTENT"
    derive = Mechanism(ck.CKM_GOSTR3410_DERIVE, Gostr3410DeriveParams(ck.CKD_NULL, None, UKM))
    refused = client.fails("C_DeriveKey", session, derive, private, template())
    assert refused == "CKR_KEY_TYPE_INCONSISTENT"
    assert ck.CKM_GOSTR3410_WITH_GOSTR3411 not in client("C_GetMechanismList", 1, ROOM)


# Agreement and what is made of it

OPEN = {"SENSITIVE": False, "EXTRACTABLE": True}


def derive(client: Client, session: int, mechanism: Mechanism, key: int, **wanted: Any) -> bytes:
    made = client("C_DeriveKey", session, mechanism, key, template(**OPEN, **wanted))
    (value,) = client.get(session, made, "VALUE")
    return bytes(value)


@WHERE
@pytest.mark.parametrize("name", SETS)
def test_two_owners_of_keys_agree(client: Client, name: str, on_token: bool) -> None:
    spec, session = KeySpec.gost(name), client.user()
    peer = gost_private(name, b"\x1a" * GOST_SIZES[spec.kind])
    public, private = pair(client, session, spec, TOKEN=on_token)
    (point,) = client.get(session, public, "VALUE")
    parameter = Gostr3410DeriveParams(ck.CKD_NULL, peer.public().point, UKM)
    for number, size in ((ck.CKM_GOSTR3410_12_DERIVE, 32), (ck.CKM_VKO_GOSTR3410_2012_512, 64)):
        secret = derive(client, session, Mechanism(number, parameter), private)
        assert secret == peer.vko(point, UKM, size)
    cipher = {"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": ck.CKK_KUZNYECHIK}
    mechanism = Mechanism(ck.CKM_GOSTR3410_12_DERIVE, parameter)
    assert derive(client, session, mechanism, private, **cipher) == peer.vko(point, UKM, 32)
    diversified = Gostr3410DeriveParams(ck.CKD_KDF_GOSTR3411_2012_256, peer.public().point, UKM)
    kek = derive(client, session, Mechanism(ck.CKM_GOSTR3410_12_DERIVE, diversified), private)
    label = bytes.fromhex("26BDB878")
    agreed = secret_key(KeyKind.GENERIC, peer.vko(point, UKM, 32))
    mac = agreed.mac(Hmac(Hash.STREEBOG256, 32))
    mac.update(b"\x01" + label + b"\x00" + UKM + b"\x01\x00")
    assert kek == mac.finish()


@WHERE
def test_what_gives_no_secret_is_refused(client: Client, on_token: bool) -> None:
    session = client.user()
    public, private = pair(client, session, SHORT, TOKEN=on_token)
    (point,) = client.get(session, public, "VALUE")
    for parameter in (
        Gostr3410DeriveParams(ck.CKD_NULL, None, UKM),
        Gostr3410DeriveParams(ck.CKD_NULL, point[:-1], UKM),
        Gostr3410DeriveParams(ck.CKD_NULL, bytes(64), UKM),
        Gostr3410DeriveParams(ck.CKD_NULL, bytes((point[0] ^ 1,)) + point[1:], UKM),
        Gostr3410DeriveParams(ck.CKD_NULL, point, None),
        Gostr3410DeriveParams(ck.CKD_NULL, point, bytes(8)),
        Gostr3410DeriveParams(ck.CKD_NULL, point, b"\1" * 33),
        Gostr3410DeriveParams(ck.CKD_SHA256_KDF, point, UKM),
        Gostr3410DeriveParams(99, point, UKM),
        # A buffer that was none of the structure.
        bytes(84),
    ):
        mechanism = Mechanism(ck.CKM_GOSTR3410_12_DERIVE, parameter)
        refused = client.fails("C_DeriveKey", session, mechanism, private, template())
        assert refused == "CKR_MECHANISM_PARAM_INVALID", parameter
    good = Gostr3410DeriveParams(ck.CKD_NULL, point, UKM)
    too_long = template(VALUE_LEN=33)
    mechanism = Mechanism(ck.CKM_GOSTR3410_12_DERIVE, good)
    refused = client.fails("C_DeriveKey", session, mechanism, private, too_long)
    assert refused == "CKR_TEMPLATE_INCONSISTENT"


def test_a_tree_of_keys_is_that_of_the_standard(client: Client) -> None:
    """The second example of R 50.1.113-2016: RFC 7836 B, KDF_TREE with R = 1 and L = 512."""
    session = client.user()
    given = {"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": ck.CKK_KUZNYECHIK, "DERIVE": True, **OPEN}
    base = client("C_CreateObject", session, template(**given, VALUE=bytes(range(32))))
    label, seed = bytes.fromhex("26bdb878"), bytes.fromhex("af21434145656378")
    first = bytes.fromhex("22b6837845c6bef65ea71672b265831086d3c76aebe6dae91cad51d83f79d16b")
    second = bytes.fromhex("074c9330599d7f8d712fca54392f4ddde93751206b3584c8f43f9e6dc51531f9")
    for offset, value in ((0, first), (32, second)):
        tree = KdfTreeGostParams(label, seed, 1, 64, offset)
        mechanism = Mechanism(ck.CKM_KDF_TREE_GOSTR3411_2012_256, tree)
        wanted = {"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": ck.CKK_MAGMA}
        assert derive(client, session, mechanism, base, **wanted) == value
    for tree in (
        KdfTreeGostParams(label, seed, 0, 64, 0),
        KdfTreeGostParams(label, seed, 5, 64, 0),
        KdfTreeGostParams(label, seed, 1, 64, 64),
        KdfTreeGostParams(label, seed, 1, 1 << 40, 0),
        KdfTreeGostParams(label, seed, 1, 0, 0),
    ):
        mechanism = Mechanism(ck.CKM_KDF_TREE_GOSTR3411_2012_256, tree)
        refused = client.fails("C_DeriveKey", session, mechanism, base, template())
        assert refused == "CKR_MECHANISM_PARAM_INVALID", tree


# Kuznyechik and Magma

CIPHERS = {
    "KUZNYECHIK": (KeyKind.KUZNYECHIK, KeyKind.KUZNYECHIK_TWIN, 16),
    "MAGMA": (KeyKind.MAGMA, KeyKind.MAGMA_TWIN, 8),
}
NAMES = pytest.mark.parametrize("name", CIPHERS)
VALUE = bytes(range(0x60, 0x80))
DATA = bytes(range(100))


def named(name: str) -> int:
    return int(getattr(ck, name))


def cipher_key(client: Client, session: int, name: str, **more: Any) -> int:
    given = {"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": named(f"CKK_{name}"), "VALUE": VALUE}
    made: int = client("C_CreateObject", session, template(**{**given, **more}))
    return made


@WHERE
@NAMES
def test_ciphers_and_codes_are_those_of_the_algorithms(
    client: Client, name: str, on_token: bool
) -> None:
    session, (kind, _, block) = client.user(), CIPHERS[name]
    key, own = cipher_key(client, session, name, TOKEN=on_token), secret_key(kind, VALUE)
    half, section = bytes(range(block // 2)), 2 * block
    nonce = bytes(range(block))
    acpkm = (8 * section).to_bytes(4, "big") + half
    gcm = GcmParams(nonce, 8 * block, b"header", 8 * block)
    for suffix, parameter, scheme, data in (
        ("CTR_ACPKM", acpkm, CtrAcpkm(half, section), DATA),
        ("CTR_ACPKM", bytes(4) + half, CtrAcpkm(half), DATA),
        ("MGM", gcm, Mgm(nonce, b"header", block), DATA),
    ):
        mechanism = Mechanism(named(f"CKM_{name}_{suffix}"), parameter)
        client("C_EncryptInit", session, mechanism, key)
        made = b"".join(
            client("C_EncryptUpdate", session, data[at : at + 7], ROOM)
            for at in range(0, len(data), 7)
        )
        made += client("C_EncryptFinal", session, ROOM)
        assert made == own.encrypt(scheme, data), suffix
        client("C_DecryptInit", session, mechanism, key)
        assert client("C_Decrypt", session, made, ROOM) == data
    mgm = Mechanism(named(f"CKM_{name}_MGM"), gcm)
    sealed = own.encrypt(Mgm(nonce, b"header", block), DATA)
    client("C_DecryptInit", session, mgm, key)
    bad = bytes((sealed[0] ^ 1,)) + sealed[1:]
    assert client.fails("C_Decrypt", session, bad, ROOM) == "CKR_ENCRYPTED_DATA_INVALID"
    code = sign(client, session, Mechanism(named(f"CKM_{name}_MAC")), key, DATA)
    assert len(code) == block
    client("C_VerifyInit", session, Mechanism(named(f"CKM_{name}_MAC")), key)
    client("C_Verify", session, DATA, code)


@WHERE
@NAMES
def test_keys_of_ciphers_are_made(client: Client, name: str, on_token: bool) -> None:
    session = client.user()
    mechanism = Mechanism(named(f"CKM_{name}_KEY_GEN"))
    key = client("C_GenerateKey", session, mechanism, template(TOKEN=on_token, **OPEN))
    (value,) = client.get(session, key, "VALUE")
    assert len(value) == 32
    block = CIPHERS[name][2]
    client("C_EncryptInit", session, Mechanism(named(f"CKM_{name}_ECB")), key)
    made = client("C_Encrypt", session, bytes(block), ROOM)
    assert client.get(session, key, "CHECK_VALUE") == [made[:3]]
    client("C_DecryptInit", session, Mechanism(named(f"CKM_{name}_ECB")), key)
    assert client("C_Decrypt", session, made, ROOM) == bytes(block)


@WHERE
@NAMES
@pytest.mark.parametrize("spec", [SHORT, LONG], ids=str)
def test_a_key_is_sent_to_the_owner_of_another(
    client: Client, spec: KeySpec, name: str, on_token: bool
) -> None:
    """KEG and KExp15, as GOST in TLS and CMS has them (RFC 9189 8.2, 8.3.1)."""
    session, block = client.user(), CIPHERS[name][2]
    ukm, iv = bytes(range(1, 33)), bytes(range(block // 2))
    owners = [pair(client, session, spec, TOKEN=on_token, LABEL=label) for label in "ab"]
    points = [client.get(session, public, "VALUE")[0] for public, _ in owners]
    twin = {"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": named(f"CKK_{name}_TWIN_KEY")}
    keg = [
        Mechanism(ck.CKM_GOST_KEG, Ecdh1DeriveParams(ck.CKD_NULL, ukm, point))
        for point in reversed(points)
    ]
    values = [
        derive(client, session, mechanism, private, **twin)
        for mechanism, (_, private) in zip(keg, owners, strict=True)
    ]
    assert values[0] == values[1]
    assert len(values[0]) == 64
    ends = [
        client("C_DeriveKey", session, mechanism, private, template(**twin, TOKEN=on_token))
        for mechanism, (_, private) in zip(keg, owners, strict=True)
    ]
    sent = cipher_key(client, session, name, **OPEN)
    mechanism = Mechanism(named(f"CKM_{name}_KEXP_15_WRAP"), iv)
    wrapped = client("C_WrapKey", session, mechanism, ends[0], sent, ROOM)
    own = secret_key(CIPHERS[name][1], values[0])
    assert wrapped == own.encrypt(KExp15(iv), VALUE)
    asked = template(CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=named(f"CKK_{name}"), **OPEN)
    got = client("C_UnwrapKey", session, mechanism, ends[1], wrapped, asked)
    assert client.get(session, got, "VALUE") == [VALUE]
    bad = bytes((wrapped[0] ^ 1,)) + wrapped[1:]
    refused = client.fails("C_UnwrapKey", session, mechanism, ends[1], bad, asked)
    assert refused == "CKR_WRAPPED_KEY_INVALID"
    for length in (0, len(ukm) // 2 - 1, 33):
        short = Ecdh1DeriveParams(ck.CKD_NULL, bytes(length), points[0])
        refused = client.fails(
            "C_DeriveKey",
            session,
            Mechanism(ck.CKM_GOST_KEG, short),
            owners[0][1],
            template(**twin),
        )
        assert refused == "CKR_MECHANISM_PARAM_INVALID"


@pytest.mark.parametrize(
    ("mechanism", "hash_"),
    [
        (ck.CKM_GOSTR3411_12_256, Hash.STREEBOG256),
        (ck.CKM_GOSTR3411_12_512, Hash.STREEBOG512),
    ],
)
def test_digests_in_parts_are_those_in_one(client: Client, mechanism: int, hash_: Hash) -> None:
    session = client.open()
    client("C_DigestInit", session, Mechanism(mechanism))
    for at in range(0, len(DATA), 9):
        client("C_DigestUpdate", session, DATA[at : at + 9])
    assert client("C_DigestFinal", session, ROOM) == digest.compute(hash_, DATA)
    wrong = Mechanism(mechanism, OLD_HASH[:10].ljust(10, b"\0"))
    assert client.fails("C_DigestInit", session, wrong) == "CKR_MECHANISM_PARAM_INVALID"


@WHERE
@pytest.mark.parametrize("size", [32, 64])
def test_codes_of_secrets_are_hmacs(client: Client, size: int, on_token: bool) -> None:
    """RFC 7836 B: HMAC_GOSTR3411_2012_256 and _512."""
    session = client.user()
    key = client(
        "C_CreateObject",
        session,
        template(
            CLASS=ck.CKO_SECRET_KEY,
            KEY_TYPE=ck.CKK_GENERIC_SECRET,
            VALUE=bytes(range(32)),
            TOKEN=on_token,
        ),
    )
    mechanism = {32: ck.CKM_GOSTR3411_12_256_HMAC, 64: ck.CKM_GOSTR3411_12_512_HMAC}[size]
    data = bytes.fromhex("0126bdb87800af214341456563780100")
    expected = {
        32: "a1aa5f7de402d7b3d323f2991c8d4534013137010a83754fd0af6d7cd4922ed9",
        64: "a59bab22ecae19c65fbde6e5f4e9f5d8549d31f037f9df9b905500e171923a77"
        "3d5f1530f2ed7e964cb2eedc29e9ad2f3afe93b2814f79f5000ffc0366c251e6",
    }[size]
    assert sign(client, session, Mechanism(mechanism), key, data).hex() == expected
