"""Ed25519, Ed448, X25519 and X448: published vectors and bad input."""

from collections.abc import Callable

import pytest

from token_fw.crypto import (
    Ecdsa,
    EdDsa,
    EdwardsPrivateKey,
    EdwardsPublicKey,
    InvalidKey,
    InvalidSignature,
    KeyKind,
    KeySpec,
    PublicKey,
    RsaPkcs1,
    Unsupported,
    edwards_private,
    edwards_public,
    generate,
    load_private,
    load_public,
)

P = {
    KeyKind.ED25519: 2**255 - 19,
    KeyKind.X25519: 2**255 - 19,
    KeyKind.ED448: 2**448 - 2**224 - 1,
    KeyKind.X448: 2**448 - 2**224 - 1,
}
ORDER = {
    KeyKind.ED25519: 2**252 + 27742317777372353535851937790883648493,
    KeyKind.ED448: 2**446 - 13818066809895115352007386748515426880336692474882178609894547503885,
}
SIGNING, AGREEING = (KeyKind.ED25519, KeyKind.ED448), (KeyKind.X25519, KeyKind.X448)
SIZES = {KeyKind.ED25519: 32, KeyKind.X25519: 32, KeyKind.ED448: 57, KeyKind.X448: 56}

# RFC 8032 7.1, tests 1 to 3, and 7.4, tests of 0, 1 and 11 octets: seed, public key, message,
# signature.
RFC8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    (
        (
            "6c82a562cb808d10d632be89c8513ebf6c929f34ddfa8c9f63c9960ef6e348a3"
            "528c8a3fcc2f044e39a3fc5b94492f8f032e7549a20098f95b"
        ),
        (
            "5fd7449b59b461fd2ce787ec616ad46a1da1342485a70e1f8a0ea75d80e96778"
            "edf124769b46c7061bd6783df1e50f6cd1fa1abeafe8256180"
        ),
        "",
        (
            "533a37f6bbe457251f023c0d88f976ae2dfb504a843e34d2074fd823d41a591f"
            "2b233f034f628281f2fd7a22ddd47d7828c59bd0a21bfd3980ff0d2028d4b18a"
            "9df63e006c5d1c2d345b925d8dc00b4104852db99ac5c7cdda8530a113a0f4db"
            "b61149f05a7363268c71d95808ff2e652600"
        ),
    ),
    (
        (
            "c4eab05d357007c632f3dbb48489924d552b08fe0c353a0d4a1f00acda2c463a"
            "fbea67c5e8d2877c5e3bc397a659949ef8021e954e0a12274e"
        ),
        (
            "43ba28f430cdff456ae531545f7ecd0ac834a55d9358c0372bfa0c6c6798c086"
            "6aea01eb00742802b8438ea4cb82169c235160627b4c3a9480"
        ),
        "03",
        (
            "26b8f91727bd62897af15e41eb43c377efb9c610d48f2335cb0bd0087810f435"
            "2541b143c4b981b7e18f62de8ccdf633fc1bf037ab7cd779805e0dbcc0aae1cb"
            "cee1afb2e027df36bc04dcecbf154336c19f0af7e0a6472905e799f1953d2a0f"
            "f3348ab21aa4adafd1d234441cf807c03a00"
        ),
    ),
    (
        (
            "cd23d24f714274e744343237b93290f511f6425f98e64459ff203e8985083ffd"
            "f60500553abc0e05cd02184bdb89c4ccd67e187951267eb328"
        ),
        (
            "dcea9e78f35a1bf3499a831b10b86c90aac01cd84b67a0109b55a36e9328b1e3"
            "65fce161d71ce7131a543ea4cb5f7e9f1d8b00696447001400"
        ),
        "0c3e544074ec63b0265e0c",
        (
            "1f0a8888ce25e8d458a21130879b840a9089d999aaba039eaf3e3afa090a09d3"
            "89dba82c4ff2ae8ac5cdfb7c55e94d5d961a29fe0109941e00b8dbdeea6d3b05"
            "1068df7254c0cdc129cbe62db2dc957dbb47b51fd3f213fb8698f064774250a5"
            "028961c9bf8ffd973fe5d5c206492b140e00"
        ),
    ),
]

# RFC 7748 6.1 and 6.2: each party's secret and public key, and what they share.
ALICE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
RFC7748 = {
    KeyKind.X25519: (
        (ALICE, "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"),
        (
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        ),
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    ),
    KeyKind.X448: (
        (
            (
                "9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28d"
                "d9c9baf574a9419744897391006382a6f127ab1d9ac2d8c0a598726b"
            ),
            (
                "9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c"
                "22c5d9bbc836647241d953d40c5b12da88120d53177f80e532c41fa0"
            ),
        ),
        (
            (
                "1c306a7ac2a0e2e0990b294470cba339e6453772b075811d8fad0d1d"
                "6927c120bb5ee8972b0d3e21374c9c921b09d1b0366f10b65173992d"
            ),
            (
                "3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b430"
                "27d8b972fc3e34fb4232a13ca706dcb57aec3dae07bdc1c67bf33609"
            ),
        ),
        (
            "07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282b"
            "b60c0b56fd2464c335543936521c24403085d59a449a5037514a879d"
        ),
    ),
}

# Points of low order, and encodings beyond the field (RFC 7748 6.1, 6.2).
LOW_ORDER = [
    (KeyKind.X25519, "zero", 0),
    (KeyKind.X25519, "one", 1),
    (
        KeyKind.X25519,
        "order 8",
        int.from_bytes(
            bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
            "little",
        ),
    ),
    (
        KeyKind.X25519,
        "the other of order 8",
        int.from_bytes(
            bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
            "little",
        ),
    ),
    (KeyKind.X25519, "p - 1", P[KeyKind.X25519] - 1),
    (KeyKind.X25519, "p", P[KeyKind.X25519]),
    (KeyKind.X25519, "p + 1", P[KeyKind.X25519] + 1),
    (KeyKind.X448, "zero", 0),
    (KeyKind.X448, "one", 1),
    (KeyKind.X448, "p - 1", P[KeyKind.X448] - 1),
    (KeyKind.X448, "p", P[KeyKind.X448]),
    (KeyKind.X448, "p + 1", P[KeyKind.X448] + 1),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC8032)
def test_published_signatures(seed: str, public: str, message: str, signature: str) -> None:
    kind = {64: KeyKind.ED25519, 114: KeyKind.ED448}[len(seed)]
    key = edwards_private(kind, bytes.fromhex(seed))
    data, expected = bytes.fromhex(message), bytes.fromhex(signature)
    assert key.public().point == bytes.fromhex(public)
    assert key.sign(EdDsa(), data) == expected
    edwards_public(kind, bytes.fromhex(public)).verify(EdDsa(), data, expected)


@pytest.mark.parametrize("kind", AGREEING)
def test_published_agreement(kind: KeyKind) -> None:
    (a, a_public), (b, b_public), shared = RFC7748[kind]
    alice = edwards_private(kind, bytes.fromhex(a))
    bob = edwards_private(kind, bytes.fromhex(b))
    assert alice.public().point == bytes.fromhex(a_public)
    assert bob.public().point == bytes.fromhex(b_public)
    assert alice.agree(bob.public().point) == bytes.fromhex(shared)
    assert bob.agree(alice.public().point) == bytes.fromhex(shared)


@pytest.mark.parametrize(("kind", "name", "point"), LOW_ORDER)
def test_a_peer_of_low_order_gives_no_secret(kind: KeyKind, name: str, point: int) -> None:
    key = generate(KeySpec(kind))
    with pytest.raises(InvalidKey, match="gives no secret"):
        key.agree(point.to_bytes(SIZES[kind], "little"))


@pytest.mark.parametrize("kind", AGREEING)
@pytest.mark.parametrize("wrong", [-1, 1, 33])
def test_a_peer_of_a_wrong_length_is_refused(kind: KeyKind, wrong: int) -> None:
    for length in (0, SIZES[kind] + wrong):
        with pytest.raises(InvalidKey, match=f"{SIZES[kind]} bytes"):
            generate(KeySpec(kind)).agree(b"\x09" * length)


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("wrong", [-1, 1, 32])
def test_a_key_of_a_wrong_length_is_refused(kind: KeyKind, wrong: int) -> None:
    for length in (0, SIZES[kind] + wrong):
        with pytest.raises(InvalidKey):
            edwards_private(kind, b"\x01" * length)
        with pytest.raises(InvalidKey):
            edwards_public(kind, b"\x01" * length)


@pytest.mark.parametrize(
    ("kind", "encoded"),
    [
        (KeyKind.ED25519, 2),  # x² is no square
        (KeyKind.ED25519, P[KeyKind.ED25519]),  # y is not reduced
        (KeyKind.ED25519, P[KeyKind.ED25519] + 1),
        (KeyKind.ED25519, 2**255 - 1),
        (KeyKind.ED25519, 1 + 2**255),  # x is zero and its sign is one
        (KeyKind.ED448, 2),
        (KeyKind.ED448, P[KeyKind.ED448]),
        (KeyKind.ED448, P[KeyKind.ED448] + 1),
        (KeyKind.ED448, 1 + 2**448),  # a bit between y and the sign
        (KeyKind.ED448, 1 + 2**455),
    ],
)
def test_what_does_not_decode_to_a_point_is_no_key(kind: KeyKind, encoded: int) -> None:
    with pytest.raises(InvalidKey):
        edwards_public(kind, encoded.to_bytes(SIZES[kind], "little"))


@pytest.mark.parametrize("kind", SIGNING)
def test_every_generated_key_passes_the_check_of_points(kind: KeyKind) -> None:
    for _ in range(50):
        key = generate(KeySpec(kind))
        assert isinstance(key, EdwardsPrivateKey)
        assert edwards_public(kind, key.public().point).spec == KeySpec(kind)


def verifies(key: PublicKey, message: bytes, signature: bytes) -> bool:
    try:
        key.verify(EdDsa(), message, signature)
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("kind", SIGNING)
def test_a_changed_signature_is_refused(kind: KeyKind) -> None:
    key, size = generate(KeySpec(kind)), SIZES[kind]
    good = key.sign(EdDsa(), b"message")
    assert len(good) == 2 * size
    half = int.from_bytes(good[size:], "little")
    bad = {
        "empty": b"",
        "short": good[:-1],
        "long": good + b"\x00",
        "zeros": bytes(2 * size),
        "bit in R": bytes((good[0] ^ 1,)) + good[1:],
        # S + L would verify without the range check of RFC 8032 5.1.7 and 5.2.7.
        "S not reduced": good[:size] + (half + ORDER[kind]).to_bytes(size, "little"),
    }
    for name, signature in bad.items():
        assert not verifies(key.public(), b"message", signature), name
    assert not verifies(key.public(), b"massage", good)
    assert verifies(key.public(), b"message", good)


@pytest.mark.parametrize("kind", SIZES)
def test_encodings_lead_back_to_the_key(kind: KeyKind) -> None:
    key = generate(KeySpec(kind))
    assert load_private(key.to_pkcs8()).to_pkcs8() == key.to_pkcs8()
    public = load_public(key.public().to_spki())
    assert isinstance(public, EdwardsPublicKey)
    assert public.spec == KeySpec(kind)


@pytest.mark.parametrize(("sign", "agree"), list(zip(SIGNING, AGREEING, strict=True)))
def test_each_kind_does_only_its_own(sign: KeyKind, agree: KeyKind) -> None:
    signing, agreeing, size = generate(KeySpec(sign)), generate(KeySpec(agree)), SIZES[sign]
    unsupported: list[Callable[[], object]] = [
        lambda: signing.agree(bytes(size)),
        lambda: signing.sign(Ecdsa(), bytes(32)),
        lambda: signing.decrypt(RsaPkcs1(), b""),
        lambda: signing.public().verify(Ecdsa(), bytes(32), bytes(2 * size)),
        lambda: agreeing.sign(EdDsa(), b""),
        lambda: agreeing.public().verify(EdDsa(), b"", bytes(2 * size)),
        lambda: edwards_private(KeyKind.RSA, bytes(size)),
    ]
    for attempt in unsupported:
        with pytest.raises(Unsupported):
            attempt()


def test_nothing_printed_contains_the_seed() -> None:
    key = edwards_private(KeyKind.X25519, bytes.fromhex(ALICE))
    assert repr(key) == str(key) == "<EdwardsPrivateKey X25519>"
