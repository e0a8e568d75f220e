"""Secret keys: lengths, kinds, check values, and what a kind of key cannot do."""

from collections import Counter
from collections.abc import Callable

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from token_fw.crypto import (
    MAX_GENERIC_BYTES,
    Cbc,
    Cmac,
    Ctr,
    DataLength,
    Ecb,
    Gcm,
    Hash,
    Hmac,
    InvalidKey,
    KeyKind,
    KeySpec,
    KeyWrap,
    KeyWrapPadded,
    SecretKey,
    SymmetricScheme,
    Unsupported,
    block_size,
    generate,
    generate_secret,
    is_weak_des3,
    secret_key,
)

AES, DES3, GENERIC = KeyKind.AES, KeyKind.DES3, KeyKind.GENERIC
LENGTHS = {AES: (16, 24, 32), DES3: (16, 24), GENERIC: (1, 20, 64, 255, MAX_GENERIC_BYTES)}
CASES = [(kind, length) for kind, lengths in LENGTHS.items() for length in lengths]
NOT_LENGTHS = {
    AES: (0, 8, 15, 17, 31, 33, 64),
    DES3: (0, 7, 8, 15, 23, 25, 32),
    GENERIC: (0, MAX_GENERIC_BYTES + 1),
}
NO_CASES = [(kind, length) for kind, lengths in NOT_LENGTHS.items() for length in lengths]


@pytest.mark.parametrize(("kind", "length"), CASES)
def test_a_key_is_made_from_its_value(kind: KeyKind, length: int) -> None:
    value = bytes(range(256)) * 16
    spec = KeySpec.secret(kind, 8 * length)
    for key in (secret_key(kind, value[:length]), secret_key(spec, value[:length])):
        assert key.spec == spec
        assert key.value == value[:length]


@pytest.mark.parametrize(("kind", "length"), NO_CASES)
def test_other_lengths_are_no_keys(kind: KeyKind, length: int) -> None:
    with pytest.raises(InvalidKey):
        secret_key(kind, bytes(length))
    with pytest.raises(Unsupported):
        KeySpec.secret(kind, 8 * length)


def test_part_of_a_byte_is_no_length() -> None:
    with pytest.raises(Unsupported):
        KeySpec.secret(GENERIC, 12)


def test_a_value_must_have_the_length_that_the_spec_names() -> None:
    with pytest.raises(InvalidKey):
        secret_key(KeySpec.secret(AES, 256), bytes(16))


@pytest.mark.parametrize("kind", [KeyKind.RSA, KeyKind.EC, KeyKind.ED25519, KeyKind.ML_KEM])
def test_private_kinds_have_no_secret_keys(kind: KeyKind) -> None:
    with pytest.raises(Unsupported):
        secret_key(kind, bytes(32))
    with pytest.raises(Unsupported):
        KeySpec.secret(kind, 256)
    with pytest.raises(Unsupported):
        generate_secret(KeySpec(kind, bits=256))


def test_secret_kinds_have_no_private_keys() -> None:
    with pytest.raises(Unsupported):
        generate(KeySpec.secret(AES, 256))


@pytest.mark.parametrize(("kind", "length"), CASES)
def test_generated_keys_differ_and_have_the_size_asked_for(kind: KeyKind, length: int) -> None:
    spec = KeySpec.secret(kind, 8 * length)
    keys = [generate_secret(spec) for _ in range(2)]
    assert all(key.spec == spec and len(key.value) == length for key in keys)
    if length > 1:
        assert keys[0].value != keys[1].value


def test_a_size_that_does_not_exist_is_not_generated() -> None:
    with pytest.raises(Unsupported):
        generate_secret(KeySpec(AES, bits=64))


def test_generated_des_keys_have_odd_parity_and_all_other_bits() -> None:
    values = b"".join(generate_secret(KeySpec.secret(DES3, 192)).value for _ in range(40))
    assert all(byte.bit_count() % 2 == 1 for byte in values)
    assert len(Counter(values)) > 64


@pytest.mark.parametrize(
    ("spec", "name", "block"),
    [
        (KeySpec.secret(AES, 192), "AES-192", 16),
        (KeySpec.secret(DES3, 128), "DES3-128", 8),
        (KeySpec.secret(GENERIC, 160), "generic-160", 0),
    ],
)
def test_a_kind_has_a_name_and_a_block(spec: KeySpec, name: str, block: int) -> None:
    assert str(spec) == name
    assert block_size(spec) == block
    assert (spec.oid, spec.oid_der) == ("", b"")


def test_nothing_printed_contains_the_value() -> None:
    key = secret_key(AES, b"0123456789abcdef")
    assert repr(key) == str(key) == "<SecretKey AES-128>"
    with pytest.raises(InvalidKey) as error:
        secret_key(AES, b"0123456789abcdef!")
    assert "0123" not in repr(error.value)
    assert error.value.__cause__ is None
    assert not hasattr(key, "__dict__")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        # FIPS 197 with a key of zeros, DES of zeros under a key of parity bits alone.
        (AES, bytes(16), "66e94b"),
        (DES3, b"\x01" * 16, "8ca64d"),
        (DES3, b"\x01" * 24, "8ca64d"),
        (GENERIC, b"abc", "a9993e"),
    ],
)
def test_check_values(kind: KeyKind, value: bytes, expected: str) -> None:
    assert secret_key(kind, value).check_value().hex() == expected


def test_two_des_keys_are_used_as_first_second_first() -> None:
    value = bytes(range(1, 17))
    expected = Cipher(TripleDES(value + value[:8]), modes.ECB()).encryptor().update(bytes(8))
    assert secret_key(DES3, value).encrypt(Ecb(), bytes(8)) == expected


AES_SCHEMES: list[SymmetricScheme] = [
    Ctr(bytes(16), 128),
    Gcm(bytes(12)),
    KeyWrap(),
    KeyWrapPadded(),
]
BLOCK_SCHEMES: list[SymmetricScheme] = [Ecb(), Cbc(bytes(8)), Cbc(bytes(8), padded=True)]


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [(DES3, scheme) for scheme in AES_SCHEMES]
    + [(GENERIC, scheme) for scheme in (*AES_SCHEMES, *BLOCK_SCHEMES)],
    ids=str,
)
def test_a_scheme_of_another_cipher_is_unsupported(kind: KeyKind, scheme: SymmetricScheme) -> None:
    key = secret_key(kind, bytes(16))
    for start in (key.encryptor, key.decryptor):
        with pytest.raises(Unsupported, match=type(scheme).__name__):
            start(scheme)


def test_codes_of_another_kind_of_key_are_unsupported() -> None:
    attempts: list[Callable[[], object]] = [
        lambda: secret_key(AES, bytes(16)).mac(Hmac(Hash.SHA256, 32)),
        lambda: secret_key(DES3, bytes(16)).mac(Hmac(Hash.SHA1, 20)),
        lambda: secret_key(GENERIC, bytes(16)).mac(Cmac(16)),
    ]
    for attempt in attempts:
        with pytest.raises(Unsupported):
            attempt()


@pytest.mark.parametrize("size", [-1, 0, 17])
def test_a_cmac_is_at_most_a_block(size: int) -> None:
    with pytest.raises(DataLength):
        secret_key(AES, bytes(16)).mac(Cmac(size))
    with pytest.raises(DataLength):
        secret_key(DES3, bytes(16)).mac(Cmac(9))


@pytest.mark.parametrize("hash_", Hash)
def test_an_hmac_is_at_most_a_digest(hash_: Hash) -> None:
    key = secret_key(GENERIC, b"key")
    for size in (-1, 0, hash_.size + 1):
        with pytest.raises(DataLength):
            key.mac(Hmac(hash_, size))
    whole, cut = (code_of(key, Hmac(hash_, size)) for size in (hash_.size, 7))
    assert len(whole) == hash_.size
    assert cut == whole[:7]


def code_of(key: SecretKey, scheme: Hmac | Cmac, *parts: bytes) -> bytes:
    running = key.mac(scheme)
    for part in parts:
        running.update(part)
    return running.finish()


@pytest.mark.parametrize(
    ("kind", "scheme"), [(AES, Cmac(16)), (DES3, Cmac(8)), (GENERIC, Hmac(Hash.SHA3_256, 32))]
)
def test_codes_go_their_own_ways_after_a_copy(kind: KeyKind, scheme: Hmac | Cmac) -> None:
    key = secret_key(kind, bytes(range(24)))
    running = key.mac(scheme)
    running.update(b"ab")
    branch = running.copy()
    running.update(b"c")
    branch.update(b"d")
    assert running.finish() == code_of(key, scheme, b"abc")
    assert branch.finish() == code_of(key, scheme, b"abd")


def test_codes_of_several_hashes_with_one_key_do_not_mix() -> None:
    key = secret_key(GENERIC, b"key")
    first = {hash_: code_of(key, Hmac(hash_, hash_.size), b"data") for hash_ in Hash}
    again = {
        hash_: code_of(secret_key(GENERIC, b"key"), Hmac(hash_, hash_.size), b"da", b"ta")
        for hash_ in Hash
    }
    assert first == again
    assert len(set(first.values())) == len(Hash)


@pytest.mark.parametrize(
    ("value", "weak"),
    [
        ("01010101010101010123456789ABCDEF23456789ABCDEF01", True),
        ("0123456789ABCDEF000000000000000023456789ABCDEF01", True),
        ("0123456789ABCDEF23456789ABCDEF01E0FEE0FEF1FEF1FE", True),
        ("0123456789ABCDEF" * 3, False),
        ("0123456789ABCDEF010101010101010223456789ABCDEF01", False),
    ],
    ids=["first", "without parity", "semi-weak", "parts alike", "none"],
)
def test_a_des3_key_with_a_weak_part_is_known(value: str, weak: bool) -> None:
    assert is_weak_des3(bytes.fromhex(value)) == weak
