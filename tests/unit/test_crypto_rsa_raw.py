"""RSA without padding, data recovered from signatures, and OAEP with every two hashes."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from token_fw.crypto import (
    CryptoError,
    DataLength,
    DecryptionFailed,
    Hash,
    InvalidSignature,
    KeySpec,
    RsaOaep,
    RsaPkcs1,
    RsaPrivateKey,
    RsaPss,
    RsaRaw,
    digest,
    digest_info,
    generate,
    load_private,
    oaep,
)
from token_fw.crypto.rsa_raw import CrtKey

RAW = RsaRaw()
SIZE = 256
SHA3 = RsaOaep(Hash.SHA3_256, Hash.SHA3_256)
LIBRARY_HASHES = (Hash.SHA1, Hash.SHA224, Hash.SHA256, Hash.SHA384, Hash.SHA512)
PAIRS = list(product(digest.ALGORITHMS, repeat=2))


@cache
def key_of() -> RsaPrivateKey:
    key = generate(KeySpec.rsa(8 * SIZE))
    assert isinstance(key, RsaPrivateKey)
    return key


@cache
def numbers() -> rsa.RSAPrivateNumbers:
    native = serialization.load_der_private_key(key_of().to_pkcs8(), None)
    assert isinstance(native, rsa.RSAPrivateKey)
    return native.private_numbers()


@cache
def crt() -> CrtKey:
    parts = numbers()
    n, e = parts.public_numbers.n, parts.public_numbers.e
    return CrtKey(n, e, parts.p, parts.q, parts.dmp1, parts.dmq1, parts.iqmp)


def to_bytes(number: int) -> bytes:
    return number.to_bytes(SIZE, "big")


def test_the_private_operation_is_the_power_of_the_private_exponent() -> None:
    n, d = crt().n, numbers().d
    for number in (0, 1, 2, 0xC0FFEE, n // 2, n - 1, crt().p, 3 * crt().q):
        expected = to_bytes(pow(number, d, n))
        assert key_of().sign(RAW, to_bytes(number)) == expected
        assert key_of().decrypt(RAW, to_bytes(number)) == expected
        assert key_of().public().encrypt(RAW, expected) == to_bytes(number)


def test_shorter_data_has_leading_zeros() -> None:
    for data in (b"", b"\0", b"data", b"\0\0data"):
        signature = key_of().sign(RAW, data)
        assert signature == key_of().sign(RAW, data.rjust(SIZE, b"\0"))
        assert len(signature) == SIZE
        key_of().public().verify(RAW, data, signature)
        assert key_of().public().recover(RAW, signature) == data.rjust(SIZE, b"\0")


def test_the_number_is_below_the_modulus() -> None:
    key, n = key_of(), crt().n
    operations: list[Callable[[bytes], object]] = [
        lambda data: key.sign(RAW, data),
        lambda data: key.decrypt(RAW, data),
        lambda data: key.public().encrypt(RAW, data),
        lambda data: key.public().verify(RAW, data, bytes(SIZE)),
    ]
    for operation in operations:
        for data in (to_bytes(n), to_bytes(n + 1), b"\xff" * SIZE, bytes(SIZE + 1)):
            with pytest.raises(DataLength):
                operation(data)


def test_a_changed_raw_signature_is_refused() -> None:
    public, n = key_of().public(), crt().n
    good = key_of().sign(RAW, b"data")
    not_below_the_modulus = to_bytes(n - 1)[:-1] + b"\xff"
    for bad in (b"", good[1:], good + b"\0", b"\0" + good, bytes(SIZE), not_below_the_modulus):
        with pytest.raises(InvalidSignature):
            public.verify(RAW, b"data", bad)
    with pytest.raises(InvalidSignature):
        public.verify(RAW, b"Data", good)
    with pytest.raises(InvalidSignature):
        public.verify(RAW, bytes(SIZE), bytes(SIZE - 1))
    public.verify(RAW, bytes(SIZE), bytes(SIZE))


@pytest.mark.parametrize("part", ["dp", "dq", "qinv", "p"])
def test_a_fault_in_the_private_operation_gives_nothing_away(part: str) -> None:
    number = getattr(crt(), part)
    with pytest.raises(CryptoError, match="went wrong"):
        replace(crt(), **{part: number ^ 2}).power(12345)


def test_the_numbers_are_not_printed() -> None:
    assert str(crt().p)[:8] not in f"{crt()!r} {crt()}"


def test_the_same_number_is_masked_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    bases: list[int] = []

    def spied(base: int, exponent: int, modulus: int) -> int:
        if exponent in (crt().dp, crt().dq):
            bases.append(base)
        return pow(base, exponent, modulus)

    monkeypatch.setattr("token_fw.crypto.rsa_raw.pow", spied, raising=False)
    assert crt().power(5) == crt().power(5) == pow(5, numbers().d, crt().n)
    assert len(bases) == 4
    assert len({base % crt().p for base in (5, bases[0], bases[2])}) == 3


def test_data_is_recovered_from_a_pkcs1_signature() -> None:
    key, public = key_of(), key_of().public()
    named = digest_info(Hash.SHA256, digest.compute(Hash.SHA256, b"message"))
    for data in (b"", b"d", bytes(SIZE - 11), named):
        assert public.recover(RsaPkcs1(), key.sign(RsaPkcs1(), data)) == data


@pytest.mark.parametrize("scheme", [RsaPkcs1(), RAW], ids=str)
def test_a_signature_to_recover_from_is_as_long_as_the_modulus(
    scheme: RsaPkcs1 | RsaRaw,
) -> None:
    for length in (0, SIZE - 1, SIZE + 1):
        with pytest.raises(DataLength):
            key_of().public().recover(scheme, bytes(length))
    with pytest.raises(InvalidSignature):
        key_of().public().recover(scheme, b"\xff" * SIZE)


def test_nothing_is_recovered_from_another_padding() -> None:
    key, public = key_of(), key_of().public()
    value = digest.compute(Hash.SHA256, b"message")
    pss = key.sign(RsaPss(Hash.SHA256, Hash.SHA256, 32), value)
    for signature in (pss, public.encrypt(RsaPkcs1(), b"data"), key.sign(RAW, b"data")):
        with pytest.raises(InvalidSignature):
            public.recover(RsaPkcs1(), signature)


@pytest.mark.parametrize(("hash_", "mgf_hash"), PAIRS)
def test_oaep_with_every_two_hashes(hash_: Hash, mgf_hash: Hash) -> None:
    scheme = RsaOaep(hash_, mgf_hash, b"label")
    longest = SIZE - 2 * hash_.size - 2
    data = bytes(range(longest))
    cryptogram = key_of().public().encrypt(scheme, data)
    assert key_of().decrypt(scheme, cryptogram) == data
    with pytest.raises(DataLength):
        key_of().public().encrypt(scheme, bytes(longest + 1))
    with pytest.raises(DecryptionFailed):
        key_of().decrypt(replace(scheme, label=b""), cryptogram)


@pytest.mark.parametrize(("hash_", "mgf_hash"), PAIRS)
def test_pss_with_every_two_hashes(hash_: Hash, mgf_hash: Hash) -> None:
    value = digest.compute(hash_, b"message")
    for salt_length in (0, 20, hash_.size):
        scheme = RsaPss(hash_, mgf_hash, salt_length)
        signature = key_of().sign(scheme, value)
        key_of().public().verify(scheme, value, signature)
        with pytest.raises(InvalidSignature):
            key_of().public().verify(scheme, bytes(hash_.size), signature)


@pytest.mark.parametrize("hash_", LIBRARY_HASHES)
@pytest.mark.parametrize("mgf_hash", LIBRARY_HASHES)
def test_the_own_oaep_and_the_library_s_understand_each_other(hash_: Hash, mgf_hash: Hash) -> None:
    key, public = key_of(), key_of().public()
    for data in (b"", b"secret", b"\0\1\0", bytes(SIZE - 2 * hash_.size - 2)):
        scheme = RsaOaep(hash_, mgf_hash, b"label")
        assert oaep.decode(scheme, key.decrypt(RAW, public.encrypt(scheme, data))) == data
        assert key.decrypt(scheme, public.encrypt(RAW, oaep.encode(scheme, data, SIZE))) == data


def encoded_with(block_end: bytes, first: int = 0) -> bytes:
    """An encoding for SHA3 with a chosen end of the data block and first byte."""
    label_hash = digest.compute(Hash.SHA3_256, b"")
    block = label_hash + block_end.rjust(SIZE - 2 * 32 - 1, b"\0")
    seed = bytes(range(32))
    masked_block = xor(block, oaep.mgf1(Hash.SHA3_256, seed, len(block)))
    masked_seed = xor(seed, oaep.mgf1(Hash.SHA3_256, masked_block, 32))
    return bytes((first,)) + masked_seed + masked_block


def xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def test_an_encoding_is_read_as_the_standard_says() -> None:
    assert oaep.decode(SHA3, encoded_with(b"\1data")) == b"data"
    assert oaep.decode(SHA3, encoded_with(b"\1\1\0\2")) == b"\1\0\2"
    assert oaep.decode(SHA3, encoded_with(b"\1")) == b""


BAD_ENCODINGS = {
    "first byte": encoded_with(b"\1data", first=1),
    "first byte high": encoded_with(b"\1data", first=0x80),
    "no separator": encoded_with(b""),
    "another separator": encoded_with(b"\2data"),
    "something before the separator": encoded_with(b"\2\0\1data"),
    "high byte before the separator": encoded_with(b"\xff\1data"),
    "zeros": bytes(SIZE),
}


@pytest.mark.parametrize("name", BAD_ENCODINGS)
def test_a_bad_encoding_reads_the_same_whatever_is_wrong(name: str) -> None:
    with pytest.raises(DecryptionFailed) as direct:
        oaep.decode(SHA3, BAD_ENCODINGS[name])
    encoded = BAD_ENCODINGS[name]
    if encoded < to_bytes(crt().n):
        with pytest.raises(DecryptionFailed) as error:
            key_of().decrypt(SHA3, key_of().public().encrypt(RAW, encoded))
        assert str(error.value) == str(direct.value) == "the cryptogram could not be decrypted"
        assert error.value.__suppress_context__ or error.value.__context__ is None


def test_failed_oaep_reads_the_same_with_every_hash() -> None:
    key, public = key_of(), key_of().public()
    sha2 = RsaOaep(Hash.SHA256, Hash.SHA256)
    for scheme, other in ((SHA3, sha2), (sha2, SHA3)):
        for cryptogram in (public.encrypt(other, b"secret"), b"\xff" * SIZE, bytes(SIZE)):
            with pytest.raises(DecryptionFailed, match=r"^the cryptogram could not be decrypted$"):
                key.decrypt(scheme, cryptogram)
        for length in (0, SIZE - 1, SIZE + 1):
            with pytest.raises(DataLength):
                key.decrypt(scheme, bytes(length))


def test_a_hash_too_large_for_the_key_is_refused() -> None:
    small = load_private(small_key(), checked=True)
    scheme = RsaOaep(Hash.SHA3_512, Hash.SHA3_512)
    with pytest.raises(DataLength):
        small.public().encrypt(scheme, b"")
    with pytest.raises(DecryptionFailed):
        small.decrypt(scheme, bytes(128))


def small_key() -> bytes:
    return rsa.generate_private_key(65537, 1024).private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
