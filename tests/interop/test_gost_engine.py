"""GOST keys, signatures, digests, codes and agreed keys against OpenSSL's gost engine."""

from __future__ import annotations

from typing import Final

import pytest

from tests.interop.gost_engine import Engine
from token_fw.crypto import (
    Gost3410,
    GostPrivateKey,
    Hash,
    Hmac,
    InvalidSignature,
    KeyKind,
    KeySpec,
    digest,
    generate,
    gost_private,
    load_private,
    load_public,
    secret_key,
)
from token_fw.crypto.gost.parameter_sets import PARAMETER_SETS

MESSAGE: Final = b"Pay 10 roubles to Ivan Petrov\n"
HASHES: Final = {KeyKind.GOST_256: Hash.STREEBOG256, KeyKind.GOST_512: Hash.STREEBOG512}
NAMES: Final = {Hash.STREEBOG256: "md_gost12_256", Hash.STREEBOG512: "md_gost12_512"}
by_both = pytest.mark.usefixtures("gost_implementation")
every_set = pytest.mark.parametrize("name", PARAMETER_SETS)


def hashed(name: str, message: bytes = MESSAGE) -> bytes:
    return digest.compute(HASHES[KeySpec.gost(name).kind], message)


def key_of(name: str) -> GostPrivateKey:
    key = generate(KeySpec.gost(name))
    assert isinstance(key, GostPrivateKey)
    return key


@by_both
@every_set
def test_our_signature_is_valid_for_the_engine(name: str, engine: Engine) -> None:
    key = key_of(name)
    public = engine.public_file(key.public().to_spki())
    value = engine.file("digest", hashed(name))
    options = ("-verify", "-pubin", "-inkey", public, "-in", value, "-sigfile")
    for scheme in (Gost3410(), Gost3410(deterministic=True)):
        signature = engine.file("signature", key.sign(scheme, hashed(name)))
        engine.run("pkeyutl", *options, signature)
    wrong = engine.file("signature", key.sign(Gost3410(), hashed(name, MESSAGE + b"!")))
    engine.run("pkeyutl", *options, wrong, code=1)


@by_both
@every_set
def test_a_signature_of_the_engine_is_valid_for_us(name: str, engine: Engine) -> None:
    pkcs8 = engine.generate(name)
    private = engine.private_file(pkcs8)
    public = load_private(pkcs8).public()
    hash_name = NAMES[HASHES[public.spec.kind]]
    # With the hash, and over a digest that is ours.
    message = engine.file("message", MESSAGE)
    whole = engine.run("dgst", f"-{hash_name}", "-sign", private, message)
    raw = engine.run("pkeyutl", "-sign", "-inkey", private, "-in", engine.file("d", hashed(name)))
    for signature in (whole, raw):
        public.verify(Gost3410(), hashed(name), signature)
        with pytest.raises(InvalidSignature):
            public.verify(Gost3410(), hashed(name, MESSAGE + b"!"), signature)


@every_set
def test_keys_are_read_and_written_alike(name: str, engine: Engine) -> None:
    theirs = engine.generate(name)
    key = load_private(theirs)
    assert key.spec == KeySpec.gost(name)
    spki = engine.run("pkey", "-inform", "DER", "-pubout", "-outform", "DER", data=theirs)
    public = load_public(spki)
    assert public.spec == key.spec
    assert public.to_spki() == key.public().to_spki()
    # The engine reads ours, and derives the same public key from it.
    ours = engine.run("pkey", "-inform", "DER", "-pubout", "-outform", "DER", data=key.to_pkcs8())
    assert load_public(ours).to_spki() == public.to_spki()


@every_set
def test_the_identifier_of_a_set_is_the_engines(name: str, engine: Engine) -> None:
    # The key of ours is printed with the name of the set that generation goes by.
    printed = [
        engine.run("pkey", "-inform", "DER", "-noout", "-text", data=pkcs8).decode()
        for pkcs8 in (key_of(name).to_pkcs8(), engine.generate(name))
    ]
    ours, theirs = (text[text.index("Parameter set") :].split("\n", 1)[0] for text in printed)
    assert ours == theirs


@by_both
@pytest.mark.parametrize("hash_", NAMES)
@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 1000])
def test_digests_are_the_engines(hash_: Hash, length: int, engine: Engine) -> None:
    message = (MESSAGE * 40)[:length]
    told = engine.run("dgst", f"-{NAMES[hash_]}", "-binary", data=message)
    assert digest.compute(hash_, message) == told


@pytest.mark.parametrize("hash_", NAMES)
@pytest.mark.parametrize("length", [1, 32, 64, 65, 100])
def test_codes_are_the_engines(hash_: Hash, length: int, engine: Engine) -> None:
    key = bytes(range(length))
    options = ("-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}", "-binary")
    told = engine.run("dgst", f"-{NAMES[hash_]}", *options, data=MESSAGE)
    running = secret_key(KeyKind.GENERIC, key).mac(Hmac(hash_, hash_.size))
    running.update(MESSAGE)
    assert running.finish() == told


@every_set
def test_the_engine_agrees_on_the_same_key(name: str, engine: Engine) -> None:
    own, peer = key_of(name), key_of(name)
    private = engine.private_file(own.to_pkcs8())
    public = engine.public_file(peer.public().to_spki())
    ukm = bytes(range(1, 9))
    for bits in (256, 512):
        options = ("-pkeyopt", f"ukmhex:{ukm.hex()}", "-pkeyopt", f"vko:{bits}")
        told = engine.run("pkeyutl", "-derive", "-inkey", private, "-peerkey", public, *options)
        assert own.vko(peer.public().point, ukm, bits // 8) == told
        assert peer.vko(own.public().point, ukm, bits // 8) == told


def test_numbers_with_leading_zeros_keep_their_length(engine: Engine) -> None:
    # A private number of one byte, and a public point whose X begins with a zero byte.
    for d in (b"\x01", next_with_short_x()):
        key = gost_private("CryptoPro-A", d)
        ours = engine.run(
            "pkey", "-inform", "DER", "-pubout", "-outform", "DER", data=key.to_pkcs8()
        )
        assert ours == key.public().to_spki()


def next_with_short_x() -> bytes:
    candidates = (number.to_bytes(2, "big") for number in range(2, 5000))
    return next(d for d in candidates if not gost_private("CryptoPro-A", d).public().point[31])
