"""RSA: published vectors, import from CRT numbers, lengths, padding, errors that tell nothing."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from token_fw.crypto import (
    CryptoError,
    DataLength,
    DecryptionFailed,
    Ecdsa,
    Hash,
    InvalidKey,
    InvalidSignature,
    KeySpec,
    RsaOaep,
    RsaPkcs1,
    RsaPrivateKey,
    RsaPss,
    RsaPublicKey,
    Unsupported,
    digest,
    generate,
    load_private,
    load_public,
    rsa_primes,
    rsa_private,
    rsa_public,
)

OAEP = RsaOaep(Hash.SHA256, Hash.SHA256)
PSS = RsaPss(Hash.SHA256, Hash.SHA256, 32)
DIGEST = digest.compute(Hash.SHA256, b"message")

# NIST CAVS 10.1, SigGen PKCS#1 RSASSA-PSS (FIPS 186-3), 1024 bits, SHA-256, salt of 0 bytes.
CAVS_N = (
    "c87155f3d9f3771f6ab89ef30cd36230463902ff0633aa869b6dbd7592c83f4b"
    "2f882739ff499f1499fb0db4586c7f7b2dfd5a37dbe0df37dea9d0d5814a4047"
    "b647c1d8eb356ebae6a198899f97c25f9182fab2b6be88384a1b8cb16a82a05a"
    "aadf610ce2e045b41b8880a13b7133ea07296126471c9a450ae48bc880102c8b"
)
CAVS_E = "1001"
CAVS_MESSAGE = (
    "19828d058058243557e29ec3f95b566fb4292c6e7dc0d56ae1c475cb3f6d6f35"
    "35307b51589cfad1288287ae4358cfb4d8dfa2415f044a4a87041b9e70d44b6f"
    "1bc0040e1f52b8f69d75b50c75daf925ba9b47c9641f7a37453d1aa83fa42dd8"
    "b37a4fc33c4305ac9e054f64f9a97cc943a5428df4d80e3903b5997112a4bc79"
)
CAVS_SIGNATURE = (
    "a3263f4c84ab6ef687a3853e5d91d296b125428f80f3c4dcefcf4fb7f1c41ceb"
    "f9aa3cfd0cf2b617ec2df8ab3379ffcc7fdf72ec659940e0dcdfa453bef7e917"
    "2941b5c8aaf87e58de3316f103856d922ae5929b3b6cf2a7bbf95c49ddbd8c15"
    "b4ac73370d0a28b20514637abff56157e15df57c5860edebed44d4917f2d1f8b"
)


@dataclass(frozen=True)
class Numbers:
    """The parts of a private key, as PUT DATA carries them."""

    p: int
    q: int
    dp: int
    dq: int
    qinv: int
    e: int | None = None

    def load(self) -> RsaPrivateKey:
        p, q, dp, dq, qinv = (
            to_bytes(part) for part in (self.p, self.q, self.dp, self.dq, self.qinv)
        )
        e = None if self.e is None else to_bytes(self.e)
        return rsa_private(p, q, dp, dq, qinv, e=e)


def to_bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


@cache
def key_of(bits: int = 2048) -> RsaPrivateKey:
    key = generate(KeySpec.rsa(bits))
    assert isinstance(key, RsaPrivateKey)
    return key


def numbers_of(key: RsaPrivateKey) -> Numbers:
    native = serialization.load_der_private_key(key.to_pkcs8(), None)
    assert isinstance(native, rsa.RSAPrivateKey)
    parts = native.private_numbers()
    return Numbers(parts.p, parts.q, parts.dmp1, parts.dmq1, parts.iqmp)


def test_published_pss_signature() -> None:
    key = rsa_public(bytes.fromhex(CAVS_N), bytes.fromhex(CAVS_E))
    scheme = RsaPss(Hash.SHA256, Hash.SHA256, 0)
    value = digest.compute(Hash.SHA256, bytes.fromhex(CAVS_MESSAGE))
    key.verify(scheme, value, bytes.fromhex(CAVS_SIGNATURE))
    with pytest.raises(InvalidSignature):
        key.verify(scheme, DIGEST, bytes.fromhex(CAVS_SIGNATURE))


@pytest.mark.parametrize("bits", [1024, 2048, 3072, 4096])
def test_a_generated_key_has_the_size_asked_for(bits: int) -> None:
    key = key_of(bits)
    assert key.spec == KeySpec.rsa(bits)
    assert key.size == bits // 8
    assert key.public().modulus[0] & 0x80
    assert key.public().exponent == b"\x01\x00\x01"


@pytest.mark.parametrize("bits", [0, 512, 1025, 2047, 8192])
def test_other_sizes_are_not_generated(bits: int) -> None:
    with pytest.raises(Unsupported):
        generate(KeySpec.rsa(bits))


def test_other_threads_run_while_a_key_is_generated() -> None:
    started = threading.Event()

    def work() -> None:
        started.set()
        generate(KeySpec.rsa(4096))

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    turns = 0
    while thread.is_alive():
        turns += 1
        time.sleep(0.001)
    # If generation held the interpreter, this thread would wake once, after it.
    assert turns > 3


def test_a_signature_of_empty_data_is_verified() -> None:
    key, scheme = key_of(), RsaPkcs1()
    signature = key.sign(scheme, b"")
    key.public().verify(scheme, b"", signature)
    for wrong in (key.sign(scheme, b"x"), signature[1:], b"", bytes(256), b"\xff" * 256):
        with pytest.raises(InvalidSignature):
            key.public().verify(scheme, b"", wrong)


def test_the_primes_follow_from_the_modulus_and_the_exponents() -> None:
    numbers, public = numbers_of(key_of()), key_of().public()
    n, e = public.modulus, public.exponent
    d = to_bytes(pow(65537, -1, (numbers.p - 1) * (numbers.q - 1)))
    assert set(rsa_primes(n, e, d)) == {to_bytes(numbers.p), to_bytes(numbers.q)}
    even = n[:-1] + b"\x00"
    for wrong in ((n, e, e), (n, e, b""), (even, e, d), (n[:-1] + b"\x01", e, d)):
        with pytest.raises(InvalidKey):
            rsa_primes(*wrong)
    with pytest.raises(Unsupported):
        rsa_primes(b"\x0f", b"\x03", b"\x03")


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_a_key_is_made_from_its_crt_numbers(bits: int) -> None:
    numbers = numbers_of(key_of(bits))
    assert numbers.load().to_pkcs8() == key_of(bits).to_pkcs8()
    assert replace(numbers, e=65537).load().to_pkcs8() == key_of(bits).to_pkcs8()


def test_the_primes_may_come_in_either_order() -> None:
    numbers = numbers_of(key_of())
    swapped = Numbers(
        numbers.q, numbers.p, numbers.dq, numbers.dp, pow(numbers.p, -1, numbers.q)
    ).load()
    key_of().public().verify(RsaPkcs1(), b"data", swapped.sign(RsaPkcs1(), b"data"))


def test_leading_zeros_of_the_numbers_do_not_matter() -> None:
    numbers = numbers_of(key_of())
    parts = (numbers.p, numbers.q, numbers.dp, numbers.dq, numbers.qinv)
    p, q, dp, dq, qinv = (b"\x00" * 3 + to_bytes(part) for part in parts)
    assert rsa_private(p, q, dp, dq, qinv).to_pkcs8() == key_of().to_pkcs8()


def test_another_public_exponent_is_derived() -> None:
    native = rsa.generate_private_key(3, 2048).private_numbers()
    key = Numbers(native.p, native.q, native.dmp1, native.dmq1, native.iqmp).load()
    assert key.public().exponent == b"\x03"


CHANGES: dict[str, Callable[[Numbers], Numbers]] = {
    "p even": lambda n: replace(n, p=n.p - 1),
    "p not prime": lambda n: replace(n, p=n.p + 2),
    "q not prime": lambda n: replace(n, q=n.q + 2),
    "both primes the same": lambda n: replace(n, q=n.p, dq=n.dp),
    "dp off by two": lambda n: replace(n, dp=n.dp + 2),
    "dq off by two": lambda n: replace(n, dq=n.dq + 2),
    "dp and dq exchanged": lambda n: replace(n, dp=n.dq, dq=n.dp),
    "qinv off by one": lambda n: replace(n, qinv=n.qinv + 1),
    "qinv not reduced": lambda n: replace(n, qinv=n.qinv + n.p),
    "qinv zero": lambda n: replace(n, qinv=0),
    "dp zero": lambda n: replace(n, dp=0),
    "e of another key": lambda n: replace(n, e=3),
    "e even": lambda n: replace(n, e=65536),
    "e one": lambda n: replace(n, e=1),
    "e zero": lambda n: replace(n, e=0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_numbers_that_do_not_belong_together_are_no_key(change: str) -> None:
    with pytest.raises(InvalidKey, match="do not belong together"):
        CHANGES[change](numbers_of(key_of())).load()


@pytest.mark.parametrize("p", [b"", b"\x00", b"\x01", b"\x07"])
def test_tiny_or_missing_primes_are_no_key(p: bytes) -> None:
    with pytest.raises(Unsupported):
        rsa_private(p, p, p, p, p)


def test_a_composite_in_an_encoding_is_found_unless_it_was_checked_before() -> None:
    numbers = numbers_of(key_of())
    encoding = key_of().to_pkcs8()
    garbled = encoding.replace(to_bytes(numbers.p), to_bytes(numbers.p ^ 6))
    with pytest.raises(InvalidKey):
        load_private(garbled)
    assert load_private(encoding, checked=True).to_pkcs8() == encoding


def test_public_keys_outside_the_limits_are_refused() -> None:
    e = b"\x01\x00\x01"
    for bits in (511, 8193, 16384):
        with pytest.raises(Unsupported):
            rsa_public(to_bytes((1 << bits) - 1), e)
    for modulus, exponent in (
        (to_bytes((1 << 2048) - 2), e),
        (to_bytes((1 << 2048) - 1), b"\x02"),
        (to_bytes((1 << 2048) - 1), b"\x01"),
        (to_bytes((1 << 2048) - 1), b""),
        (b"", e),
    ):
        with pytest.raises(CryptoError):
            rsa_public(modulus, exponent)
    for bits in (1024, 1536, 8192):
        assert rsa_public(to_bytes((1 << bits) - 1), e).spec.bits == bits


def test_parts_of_the_public_key_lead_back_to_it() -> None:
    public = key_of().public()
    again = rsa_public(public.modulus, public.exponent)
    assert again.to_spki() == public.to_spki()
    loaded = load_public(public.to_spki())
    assert isinstance(loaded, RsaPublicKey)
    assert loaded.modulus == public.modulus


def test_data_must_fit_the_key() -> None:
    key = key_of()
    longest = bytes(256 - 11)
    key.public().verify(RsaPkcs1(), longest, key.sign(RsaPkcs1(), longest))
    too_long: list[Callable[[], object]] = [
        lambda: key.sign(RsaPkcs1(), longest + b"\x00"),
        lambda: key.public().verify(RsaPkcs1(), longest + b"\x00", bytes(256)),
        lambda: key.public().encrypt(RsaPkcs1(), longest + b"\x00"),
        lambda: key.public().encrypt(OAEP, bytes(256 - 2 * 32 - 2 + 1)),
        lambda: key.sign(PSS, DIGEST + b"\x00"),
        lambda: key.sign(PSS, DIGEST[:-1]),
        lambda: key.public().verify(PSS, b"", bytes(256)),
        lambda: key.sign(replace(PSS, salt_length=256 - 32 - 1), DIGEST),
        lambda: key.sign(replace(PSS, salt_length=-1), DIGEST),
        lambda: key.decrypt(RsaPkcs1(), bytes(255)),
        lambda: key.decrypt(OAEP, bytes(257)),
        lambda: key.decrypt(OAEP, b""),
    ]
    for attempt in too_long:
        with pytest.raises(DataLength):
            attempt()
    assert key.decrypt(OAEP, key.public().encrypt(OAEP, bytes(190))) == bytes(190)


@pytest.mark.parametrize("scheme", [RsaPkcs1(), PSS], ids=["PKCS1", "PSS"])
def test_a_changed_signature_is_refused(scheme: RsaPkcs1 | RsaPss) -> None:
    key = key_of()
    good = key.sign(scheme, DIGEST)
    modulus = key.public().modulus
    bad = [b"", good[:-1], good + b"\x00", b"\x00" + good, bytes(256), modulus, b"\xff" * 256]
    bad += [good[:i] + bytes((good[i] ^ 1,)) + good[i + 1 :] for i in (0, 128, 255)]
    for signature in bad:
        with pytest.raises(InvalidSignature):
            key.public().verify(scheme, DIGEST, signature)
    with pytest.raises(InvalidSignature):
        key.public().verify(scheme, bytes(32), good)


def test_a_failed_decryption_reads_the_same_whatever_the_cause() -> None:
    key = key_of()
    good = key.public().encrypt(OAEP, b"secret")
    other_label = key.public().encrypt(replace(OAEP, label=b"other"), b"secret")
    other_hash = key.public().encrypt(RsaOaep(Hash.SHA1, Hash.SHA1), b"secret")
    pkcs1 = key.public().encrypt(RsaPkcs1(), b"secret")
    above_modulus = b"\xff" * 256
    garbled = good[:-1] + bytes((good[-1] ^ 1,))
    errors = []
    for cryptogram in (other_label, other_hash, pkcs1, above_modulus, garbled, bytes(256)):
        with pytest.raises(DecryptionFailed) as error:
            key.decrypt(OAEP, cryptogram)
        errors.append((str(error.value), error.value.__cause__))
    assert set(errors) == {("the cryptogram could not be decrypted", None)}


def test_bad_pkcs1_padding_gives_the_same_random_looking_bytes_each_time() -> None:
    key = key_of()
    oaep = key.public().encrypt(OAEP, b"secret")
    first, second = key.decrypt(RsaPkcs1(), oaep), key.decrypt(RsaPkcs1(), oaep)
    assert first == second != b"secret"


def test_schemes_of_other_kinds_of_key_are_unsupported() -> None:
    key = key_of()
    unsupported: list[Callable[[], object]] = [
        lambda: key.sign(Ecdsa(), DIGEST),
        lambda: key.public().verify(Ecdsa(), DIGEST, bytes(256)),
        lambda: key.agree(bytes(65)),
        lambda: key.decapsulate(bytes(1088)),
        lambda: key.public().encapsulate(),
    ]
    for attempt in unsupported:
        with pytest.raises(Unsupported):
            attempt()


def test_an_encrypted_or_garbled_encoding_is_no_key() -> None:
    encoding = key_of().to_pkcs8()
    native = serialization.load_der_private_key(encoding, None)
    encrypted = native.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    for bad in (b"", b"\x30\x00", encoding[:-1], encrypted, os.urandom(64)):
        with pytest.raises(InvalidKey):
            load_private(bad)
    with pytest.raises(InvalidKey):
        load_public(encoding)


def test_nothing_printed_contains_the_primes() -> None:
    numbers = numbers_of(key_of())
    assert repr(key_of()) == str(key_of()) == "<RsaPrivateKey RSA-2048>"
    with pytest.raises(InvalidKey) as error:
        replace(numbers, qinv=1).load()
    told = f"{error.value!r} {error.value.__cause__!r}"
    assert not any(str(number)[:6] in told for number in (numbers.p, numbers.q))
    assert error.value.__suppress_context__
