"""Ed25519 and X25519: published vectors and bad input."""

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

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493

# RFC 8032 7.1, tests 1 to 3: seed, public key, message, signature.
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
]

# RFC 7748 6.1.
ALICE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
ALICE_PUBLIC = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
BOB = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
BOB_PUBLIC = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
SHARED = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"

# The points of order 1, 2, 4 and 8 on Curve25519, and encodings beyond the field (RFC 7748 6.1).
LOW_ORDER = {
    "zero": 0,
    "one": 1,
    "order 8": int.from_bytes(
        bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"), "little"
    ),
    "the other of order 8": int.from_bytes(
        bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"), "little"
    ),
    "p - 1": P - 1,
    "p": P,
    "p + 1": P + 1,
}


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC8032)
def test_published_signatures(seed: str, public: str, message: str, signature: str) -> None:
    key = edwards_private(KeyKind.ED25519, bytes.fromhex(seed))
    data, expected = bytes.fromhex(message), bytes.fromhex(signature)
    assert key.public().point == bytes.fromhex(public)
    assert key.sign(EdDsa(), data) == expected
    edwards_public(KeyKind.ED25519, bytes.fromhex(public)).verify(EdDsa(), data, expected)


def test_published_agreement() -> None:
    alice = edwards_private(KeyKind.X25519, bytes.fromhex(ALICE))
    bob = edwards_private(KeyKind.X25519, bytes.fromhex(BOB))
    assert alice.public().point == bytes.fromhex(ALICE_PUBLIC)
    assert bob.public().point == bytes.fromhex(BOB_PUBLIC)
    assert alice.agree(bob.public().point) == bytes.fromhex(SHARED)
    assert bob.agree(alice.public().point) == bytes.fromhex(SHARED)


@pytest.mark.parametrize("name", LOW_ORDER)
def test_a_peer_of_low_order_gives_no_secret(name: str) -> None:
    key = generate(KeySpec.X25519)
    with pytest.raises(InvalidKey, match="gives no secret"):
        key.agree(LOW_ORDER[name].to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33, 65])
def test_a_peer_of_a_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(InvalidKey, match="32 bytes"):
        generate(KeySpec.X25519).agree(b"\x09" * length)


@pytest.mark.parametrize("kind", [KeyKind.ED25519, KeyKind.X25519])
@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_of_a_wrong_length_is_refused(kind: KeyKind, length: int) -> None:
    with pytest.raises(InvalidKey):
        edwards_private(kind, b"\x01" * length)
    with pytest.raises(InvalidKey):
        edwards_public(kind, b"\x01" * length)


@pytest.mark.parametrize(
    "encoded",
    [
        2,  # x² is no square
        P,  # y is not reduced
        P + 1,
        2**255 - 1,
        1 + 2**255,  # x is zero and its sign is one
    ],
)
def test_what_does_not_decode_to_a_point_is_no_key(encoded: int) -> None:
    with pytest.raises(InvalidKey):
        edwards_public(KeyKind.ED25519, encoded.to_bytes(32, "little"))


def test_every_generated_key_passes_the_check_of_points() -> None:
    for _ in range(50):
        key = generate(KeySpec.ED25519)
        assert isinstance(key, EdwardsPrivateKey)
        assert edwards_public(KeyKind.ED25519, key.public().point).spec == KeySpec.ED25519


def verifies(key: PublicKey, message: bytes, signature: bytes) -> bool:
    try:
        key.verify(EdDsa(), message, signature)
    except InvalidSignature:
        return False
    return True


def test_a_changed_signature_is_refused() -> None:
    key = generate(KeySpec.ED25519)
    good = key.sign(EdDsa(), b"message")
    half = int.from_bytes(good[32:], "little")
    bad = {
        "empty": b"",
        "short": good[:-1],
        "long": good + b"\x00",
        "zeros": bytes(64),
        "bit in R": bytes((good[0] ^ 1,)) + good[1:],
        # S + L would verify without the range check of RFC 8032 5.1.7.
        "S not reduced": good[:32] + (half + ORDER).to_bytes(32, "little"),
    }
    for name, signature in bad.items():
        assert not verifies(key.public(), b"message", signature), name
    assert not verifies(key.public(), b"massage", good)
    assert verifies(key.public(), b"message", good)


@pytest.mark.parametrize("spec", [KeySpec.ED25519, KeySpec.X25519], ids=str)
def test_encodings_lead_back_to_the_key(spec: KeySpec) -> None:
    key = generate(spec)
    assert load_private(key.to_pkcs8()).to_pkcs8() == key.to_pkcs8()
    public = load_public(key.public().to_spki())
    assert isinstance(public, EdwardsPublicKey)
    assert public.spec == spec


def test_each_kind_does_only_its_own() -> None:
    signing, agreeing = generate(KeySpec.ED25519), generate(KeySpec.X25519)
    unsupported: list[Callable[[], object]] = [
        lambda: signing.agree(bytes(32)),
        lambda: signing.sign(Ecdsa(), bytes(32)),
        lambda: signing.decrypt(RsaPkcs1(), b""),
        lambda: signing.public().verify(Ecdsa(), bytes(32), bytes(64)),
        lambda: agreeing.sign(EdDsa(), b""),
        lambda: agreeing.public().verify(EdDsa(), b"", bytes(64)),
        lambda: edwards_private(KeyKind.RSA, bytes(32)),
    ]
    for attempt in unsupported:
        with pytest.raises(Unsupported):
            attempt()


def test_nothing_printed_contains_the_seed() -> None:
    key = edwards_private(KeyKind.X25519, bytes.fromhex(ALICE))
    assert repr(key) == str(key) == "<EdwardsPrivateKey X25519>"
