"""ML-DSA and ML-KEM: published keys, lengths, encodings, contexts, implicit rejection."""

from collections.abc import Callable
from functools import cache

import pytest
from asn1crypto.core import ObjectIdentifier
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import mldsa, mlkem

from token_fw.crypto import (
    DataLength,
    EdDsa,
    InvalidKey,
    InvalidSignature,
    KeyKind,
    KeySpec,
    MlDsa,
    MlDsaPrivateKey,
    MlKemPrivateKey,
    RsaRaw,
    Unsupported,
    generate,
    load_private,
    load_public,
    ml_dsa_private,
    ml_dsa_public,
    ml_kem_private,
    ml_kem_public,
)

DSA_LEVELS, KEM_LEVELS = (44, 65, 87), (768, 1024)
# FIPS 204 table 2, FIPS 203 table 3: public key, then signature or ciphertext, in bytes.
SIZES = {
    44: (1312, 2420),
    65: (1952, 3309),
    87: (2592, 4627),
    768: (1184, 1088),
    1024: (1568, 1568),
}
# The public keys of RFC 9881 C and RFC 9935 C, whose seeds count up from zero: both their ends.
PUBLISHED = {
    44: (
        "d7b2b47254aae0db45e7930d4a98d2c97d8f1397d1789dafa17024b316e9bec9",
        "2202766151f16a965f9f81ece76cc070b55869e4db9784cf05c830b3242c8312",
    ),
    65: (
        "48683d91978e31eb3dddb8b0473482d2b88a5f625949fd8f58a561e696bd4c27",
        "ad18bd13fca55059dd9b185f79f9c47196a4e81b2104bc460a051e02f2e8444f",
    ),
    87: (
        "9792bcec2f2430686a82fccf3c2f5ff665e771d7ab41b90258cfa7e90ec97124",
        "caa4a9cbe885f786fa86e55be062222f8ba90a974073326b31212aece0a34a60",
    ),
    768: (
        "298aa10d423c8dda069d02bc59e6cdf03a096b8b3da4cab9b80ca4a14907672c",
        "5e43481c3eeb397eb192505229b67a201ea893c3e2cb32da8bc342fa4dea0578",
    ),
    1024: (
        "4b94c29450111191823b3514c9ac1ea3d9825ccb86393a2dfb04654fa2192d37",
        "44b6c66984a868aa92fa02227a086950eb0c8701ed58dc628776b983882e1175",
    ),
}
# What the same keys make of a ciphertext of zeros (FIPS 203 6.3 step 7: a hash of it and of z).
REJECTED = {
    768: "c8fbeddafdacef2ffeb8b354ea644f11b5c150f3e2c4a74ce38abba8f854ae16",
    1024: "294cb5b6b0f37a047745a2a69991f66ac85936e1b077e717eaeb26bb0ba42c68",
}
OIDS = {
    KeySpec.ml_dsa(44): "2.16.840.1.101.3.4.3.17",
    KeySpec.ml_dsa(65): "2.16.840.1.101.3.4.3.18",
    KeySpec.ml_dsa(87): "2.16.840.1.101.3.4.3.19",
    KeySpec.ml_kem(768): "2.16.840.1.101.3.4.4.2",
    KeySpec.ml_kem(1024): "2.16.840.1.101.3.4.4.3",
}


@cache
def dsa_key(level: int) -> MlDsaPrivateKey:
    key = generate(KeySpec.ml_dsa(level))
    assert isinstance(key, MlDsaPrivateKey)
    return key


@cache
def kem_key(level: int) -> MlKemPrivateKey:
    key = generate(KeySpec.ml_kem(level))
    assert isinstance(key, MlKemPrivateKey)
    return key


def key_of(spec: KeySpec) -> MlDsaPrivateKey | MlKemPrivateKey:
    return dsa_key(spec.level) if spec.kind is KeyKind.ML_DSA else kem_key(spec.level)


@pytest.mark.parametrize("spec", OIDS, ids=str)
def test_a_parameter_set_has_an_identifier(spec: KeySpec) -> None:
    assert spec.oid == OIDS[spec]
    assert ObjectIdentifier.load(spec.oid_der, strict=True).dotted == spec.oid
    assert KeySpec.from_oid(spec.oid) == KeySpec.from_oid_der(spec.oid_der) == spec
    assert str(spec) == f"{spec.kind}-{spec.level}"


@pytest.mark.parametrize("level", [0, 2, 512, 768])
def test_other_sets_of_ml_dsa_are_unsupported(level: int) -> None:
    for attempt in (
        KeySpec.ml_dsa,
        lambda level: ml_dsa_private(level, bytes(32)),
        lambda level: ml_dsa_public(level, bytes(1312)),
    ):
        with pytest.raises(Unsupported):
            attempt(level)


@pytest.mark.parametrize("level", [0, 44, 512])
def test_other_sets_of_ml_kem_are_unsupported(level: int) -> None:
    for attempt in (
        KeySpec.ml_kem,
        lambda level: ml_kem_private(level, bytes(64)),
        lambda level: ml_kem_public(level, bytes(1184)),
    ):
        with pytest.raises(Unsupported):
            attempt(level)


@pytest.mark.parametrize("level", DSA_LEVELS)
def test_published_ml_dsa_key(level: int) -> None:
    raw = ml_dsa_private(level, bytes(range(32))).public().raw
    assert (raw[:32].hex(), raw[-32:].hex()) == PUBLISHED[level]


@pytest.mark.parametrize("level", KEM_LEVELS)
def test_published_ml_kem_key(level: int) -> None:
    key = ml_kem_private(level, bytes(range(64)))
    raw = key.public().raw
    assert (raw[:32].hex(), raw[-32:].hex()) == PUBLISHED[level]
    assert key.decapsulate(bytes(SIZES[level][1])).hex() == REJECTED[level]


@pytest.mark.parametrize("spec", OIDS, ids=str)
def test_a_key_leads_back_to_itself_from_every_encoding(spec: KeySpec) -> None:
    key = key_of(spec)
    assert key.spec == key.public().spec == spec
    assert len(key.public().raw) == SIZES[spec.level][0]
    assert len(key.seed) == (32 if spec.kind is KeyKind.ML_DSA else 64)
    loaded, public = load_private(key.to_pkcs8()), load_public(key.public().to_spki())
    assert type(loaded) is type(key)
    assert type(public) is type(key.public())
    assert loaded.spec == public.spec == spec
    assert loaded.to_pkcs8() == key.to_pkcs8()
    assert public.to_spki() == loaded.public().to_spki() == key.public().to_spki()


@pytest.mark.parametrize("level", DSA_LEVELS)
def test_an_ml_dsa_key_is_made_from_its_parts(level: int) -> None:
    key = dsa_key(level)
    assert ml_dsa_private(level, key.seed).to_pkcs8() == key.to_pkcs8()
    assert ml_dsa_public(level, key.public().raw).to_spki() == key.public().to_spki()


@pytest.mark.parametrize("level", KEM_LEVELS)
def test_an_ml_kem_key_is_made_from_its_parts(level: int) -> None:
    key = kem_key(level)
    assert ml_kem_private(level, key.seed).to_pkcs8() == key.to_pkcs8()
    assert ml_kem_public(level, key.public().raw).to_spki() == key.public().to_spki()


def test_parts_of_another_length_are_no_keys() -> None:
    attempts: list[Callable[[], object]] = [
        *(lambda n=n: ml_dsa_private(44, bytes(n)) for n in (0, 31, 33, 64)),
        *(lambda n=n: ml_dsa_public(44, bytes(n)) for n in (0, 1311, 1313, 1952)),
        *(lambda n=n: ml_kem_private(768, bytes(n)) for n in (0, 32, 63, 65)),
        *(lambda n=n: ml_kem_public(768, bytes(n)) for n in (0, 1183, 1185, 1568)),
    ]
    for attempt in attempts:
        with pytest.raises(InvalidKey):
            attempt()


def test_a_public_ml_kem_key_has_reduced_coefficients() -> None:
    with pytest.raises(InvalidKey):
        ml_kem_public(768, b"\xff" * 1184)


@pytest.mark.parametrize("level", DSA_LEVELS)
def test_signatures_are_hedged_and_belong_to_message_and_context(level: int) -> None:
    key = dsa_key(level)
    public = key.public()
    first, second = key.sign(MlDsa(), b"message"), key.sign(MlDsa(), b"message")
    assert first != second
    assert len(first) == SIZES[level][1]
    public.verify(MlDsa(), b"message", first)
    named = key.sign(MlDsa(b"context"), b"message")
    public.verify(MlDsa(b"context"), b"message", named)
    bad = [
        (MlDsa(), b"Message", first),
        (MlDsa(), b"message", named),
        (MlDsa(b"context"), b"message", first),
        (MlDsa(b"contex"), b"tmessage", named),
        (MlDsa(), b"message", b""),
        (MlDsa(), b"message", first[:-1]),
        (MlDsa(), b"message", first + b"\0"),
        (MlDsa(), b"message", first[:-1] + bytes((first[-1] ^ 1,))),
    ]
    for scheme, message, signature in bad:
        with pytest.raises(InvalidSignature):
            public.verify(scheme, message, signature)
    with pytest.raises(InvalidSignature):
        ml_dsa_private(level, bytes(32)).public().verify(MlDsa(), b"message", first)


def test_a_context_has_at_most_255_bytes() -> None:
    key = dsa_key(44)
    longest = MlDsa(bytes(255))
    key.public().verify(longest, b"", key.sign(longest, b""))
    with pytest.raises(DataLength):
        key.sign(MlDsa(bytes(256)), b"")
    with pytest.raises(DataLength):
        key.public().verify(MlDsa(bytes(256)), b"", bytes(2420))


def test_the_library_verifies_and_decapsulates_what_was_made_here() -> None:
    dsa = serialization.load_der_public_key(dsa_key(65).public().to_spki())
    assert isinstance(dsa, mldsa.MLDSA65PublicKey)
    dsa.verify(dsa_key(65).sign(MlDsa(b"context"), b"data"), b"data", b"context")
    kem = serialization.load_der_private_key(kem_key(768).to_pkcs8(), None)
    assert isinstance(kem, mlkem.MLKEM768PrivateKey)
    ciphertext, secret = kem_key(768).public().encapsulate()
    assert kem.decapsulate(ciphertext) == secret


@pytest.mark.parametrize("level", KEM_LEVELS)
def test_both_sides_of_an_encapsulation_have_the_secret(level: int) -> None:
    key = kem_key(level)
    ciphertext, secret = key.public().encapsulate()
    assert (len(ciphertext), len(secret)) == (SIZES[level][1], 32)
    assert key.decapsulate(ciphertext) == secret
    assert key.public().encapsulate()[0] != ciphertext


@pytest.mark.parametrize("level", KEM_LEVELS)
def test_a_changed_ciphertext_gives_another_secret_each_time_the_same(level: int) -> None:
    key = kem_key(level)
    ciphertext, secret = key.public().encapsulate()
    changed = ciphertext[:-1] + bytes((ciphertext[-1] ^ 1,))
    rejected = key.decapsulate(changed)
    assert rejected == key.decapsulate(changed) != secret
    assert len(rejected) == 32
    assert ml_kem_private(level, bytes(64)).decapsulate(ciphertext) != secret
    for wrong in (b"", ciphertext[:-1], ciphertext + b"\0"):
        with pytest.raises(DataLength):
            key.decapsulate(wrong)


def test_what_the_kinds_cannot_do_is_unsupported() -> None:
    dsa, kem = dsa_key(44), kem_key(768)
    attempts: list[Callable[[], object]] = [
        lambda: dsa.sign(EdDsa(), b""),
        lambda: dsa.public().verify(EdDsa(), b"", b""),
        lambda: dsa.decapsulate(bytes(1088)),
        lambda: dsa.public().encapsulate(),
        lambda: dsa.agree(bytes(32)),
        lambda: kem.sign(MlDsa(), b""),
        lambda: kem.public().verify(MlDsa(), b"", b""),
        lambda: kem.public().encrypt(RsaRaw(), b""),
        lambda: kem.agree(bytes(32)),
        lambda: generate(KeySpec.X25519).decapsulate(bytes(1088)),
        lambda: generate(KeySpec.ED25519).sign(MlDsa(), b""),
        lambda: generate(KeySpec.ED25519).public().recover(RsaRaw(), bytes(64)),
    ]
    for attempt in attempts:
        with pytest.raises(Unsupported):
            attempt()


@pytest.mark.parametrize("spec", OIDS, ids=str)
def test_encodings_that_are_no_keys_are_refused(spec: KeySpec) -> None:
    encoding, seed = key_of(spec).to_pkcs8(), key_of(spec).seed
    # One byte less, and so say the three lengths around it.
    shorter = bytearray(encoding.replace(seed, seed[1:]))
    for at in (1, encoding.index(seed) - 3, encoding.index(seed) - 1):
        shorter[at] -= 1
    for bad in (encoding[:-1], bytes(shorter)):
        with pytest.raises(InvalidKey):
            load_private(bad)
    with pytest.raises(InvalidKey):
        load_public(key_of(spec).public().to_spki()[:-1])


def test_a_parameter_set_that_is_not_offered_is_unsupported() -> None:
    kem_512 = bytes.fromhex("0609608648016503040401")
    with pytest.raises(Unsupported):
        KeySpec.from_oid_der(kem_512)
    encoding = kem_key(768).to_pkcs8().replace(KeySpec.ml_kem(768).oid_der, kem_512)
    with pytest.raises(Unsupported):
        load_private(encoding)
    spki = kem_key(768).public().to_spki().replace(KeySpec.ml_kem(768).oid_der, kem_512)
    with pytest.raises(Unsupported):
        load_public(spki)


def test_nothing_printed_contains_the_seed() -> None:
    key = ml_dsa_private(44, b"0123456789abcdef" * 2)
    assert repr(key) == "<MlDsaPrivateKey ML-DSA-44>"
    assert repr(kem_key(768)) == "<MlKemPrivateKey ML-KEM-768>"
    with pytest.raises(InvalidKey) as error:
        ml_dsa_private(44, b"0123456789abcdef")
    assert "0123" not in repr(error.value)
    assert error.value.__suppress_context__
