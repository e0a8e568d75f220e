"""Block cipher modes: parameters, lengths, tags, counters, and when plaintext is given away."""

from collections.abc import Callable

import pytest

from token_fw.crypto import (
    Cbc,
    Ctr,
    DataLength,
    DecryptionFailed,
    Ecb,
    Gcm,
    KeyKind,
    KeyWrap,
    KeyWrapPadded,
    SecretKey,
    SymmetricScheme,
    secret_key,
)

AES = secret_key(KeyKind.AES, bytes(range(32)))
DES3 = secret_key(KeyKind.DES3, bytes(range(24)))
IV = bytes(range(16))
PADDED = Cbc(IV, padded=True)


def flipped(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


BAD_PARAMETERS: list[SymmetricScheme] = [
    Cbc(b""),
    Cbc(bytes(8)),
    Cbc(bytes(17), padded=True),
    Ctr(bytes(15), 32),
    Ctr(bytes(17), 32),
    Ctr(bytes(16), 0),
    Ctr(bytes(16), -1),
    Ctr(bytes(16), 129),
    Gcm(b""),
    Gcm(bytes(7)),
    Gcm(bytes(129)),
    *(Gcm(bytes(12), tag_size=size) for size in (-1, 0, 1, 3, 5, 7, 9, 11, 17, 32)),
]


@pytest.mark.parametrize("scheme", BAD_PARAMETERS, ids=str)
def test_parameters_are_checked_before_any_data(scheme: SymmetricScheme) -> None:
    for start in (AES.encryptor, AES.decryptor):
        with pytest.raises(DataLength):
            start(scheme)


def test_the_iv_is_as_long_as_the_block_of_the_cipher() -> None:
    with pytest.raises(DataLength):
        DES3.encryptor(Cbc(bytes(16)))
    assert len(DES3.encrypt(Cbc(bytes(8)), bytes(16))) == 16


@pytest.mark.parametrize("scheme", [Ecb(), Cbc(IV)], ids=str)
@pytest.mark.parametrize("length", [1, 15, 17, 31])
def test_without_padding_only_whole_blocks_are_taken(scheme: SymmetricScheme, length: int) -> None:
    for attempt in (AES.encrypt, AES.decrypt):
        with pytest.raises(DataLength):
            attempt(scheme, bytes(length))
    assert AES.encrypt(scheme, b"") == AES.decrypt(scheme, b"") == b""


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 32, 100])
def test_padding_always_adds_something(length: int) -> None:
    cryptogram = AES.encrypt(PADDED, bytes(length))
    assert len(cryptogram) == (length // 16 + 1) * 16
    assert AES.decrypt(PADDED, cryptogram) == bytes(length)


def test_padding_is_that_of_pkcs7() -> None:
    assert AES.decrypt(Cbc(IV), AES.encrypt(PADDED, b"thirteen byte")) == b"thirteen byte\3\3\3"
    scheme = Cbc(bytes(8), padded=True)
    assert DES3.decrypt(Cbc(bytes(8)), DES3.encrypt(scheme, b"abc")) == b"abc\5\5\5\5\5"


@pytest.mark.parametrize("length", [0, 1, 15, 17, 31])
def test_a_padded_cryptogram_is_one_block_or_more(length: int) -> None:
    with pytest.raises(DataLength):
        AES.decrypt(PADDED, bytes(length))


@pytest.mark.parametrize(
    "last", [b"\0" * 16, b"\x11" * 16, b"\xff" * 16, bytes(14) + b"\1\2", bytes(13) + b"\2\3\3"]
)
def test_wrong_padding_reads_the_same_whatever_is_wrong(last: bytes) -> None:
    with pytest.raises(DecryptionFailed) as error:
        AES.decrypt(PADDED, AES.encrypt(Cbc(IV), bytes(16) + last))
    assert str(error.value) == "the cryptogram could not be decrypted"
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


def test_the_last_block_is_held_back_until_its_padding_is_checked() -> None:
    running = AES.decryptor(PADDED)
    cryptogram = AES.encrypt(PADDED, bytes(32))
    assert running.update(cryptogram[:16]) == b""
    assert running.update(cryptogram[16:32]) == bytes(16)
    assert running.update(cryptogram[32:]) == bytes(16)
    assert running.finish() == b""


def blocks_of(*counters: bytes) -> bytes:
    return b"".join(AES.encrypt(Ecb(), counter) for counter in counters)


@pytest.mark.parametrize(
    ("bits", "block", "then"),
    [
        (8, b"A" * 15 + b"\xfe", [b"A" * 15 + last for last in (b"\xff", b"\0", b"\1")]),
        (32, b"A" * 12 + b"\xff" * 4, [b"A" * 12 + bytes(4), b"A" * 12 + b"\0\0\0\1"]),
        (64, b"\xff" * 16, [b"\xff" * 8 + bytes(8), b"\xff" * 8 + bytes(7) + b"\1"]),
        (127, b"\xff" * 16, [b"\x80" + bytes(15), b"\x80" + bytes(14) + b"\1"]),
        (128, b"\xff" * 16, [bytes(16), bytes(15) + b"\1"]),
        (3, b"\xff" * 15 + b"\x0e", [b"\xff" * 15 + last for last in (b"\x0f", b"\x08", b"\x09")]),
    ],
)
def test_the_counter_wraps_within_its_bits(bits: int, block: bytes, then: list[bytes]) -> None:
    stream = AES.encrypt(Ctr(block, bits), bytes(16 * (1 + len(then))))
    assert stream == blocks_of(block, *then)


@pytest.mark.parametrize("length", [1, 16, 40, 100, 4096])
def test_the_counter_wraps_once_whatever_the_parts(length: int) -> None:
    counters = [0xFE, 0xFF, *range(0xFE)]
    running = AES.encryptor(Ctr(bytes(15) + b"\xfe", 8))
    parts = [running.update(bytes(length)) for _ in range(4096 // length)]
    expected = blocks_of(*(bytes(15) + bytes((counter,)) for counter in counters))
    assert b"".join(parts) == expected[: length * (4096 // length)]


@pytest.mark.parametrize("bits", [1, 2, 5])
@pytest.mark.parametrize("first", [0, 1])
def test_a_counter_value_is_never_used_twice(bits: int, first: int) -> None:
    whole = 16 << bits
    scheme = Ctr(bytes(15) + bytes((first,)), bits)
    running = AES.encryptor(scheme)
    running.update(bytes(whole - 1))
    with pytest.raises(DataLength):
        running.update(bytes(2))
    assert len(running.update(bytes(1))) == 1
    with pytest.raises(DataLength):
        running.update(b"x")
    assert (running.update(b""), running.finish()) == (b"", b"")
    for attempt in (AES.encrypt, AES.decrypt):
        with pytest.raises(DataLength):
            attempt(scheme, bytes(whole + 1))


@pytest.mark.parametrize("tag_size", [4, 8, 12, 13, 14, 15, 16])
def test_gcm_opens_nothing_that_was_changed(tag_size: int) -> None:
    scheme = Gcm(bytes(12), b"header", tag_size)
    cryptogram = AES.encrypt(scheme, b"secret")
    assert cryptogram == AES.encrypt(Gcm(bytes(12), b"header"), b"secret")[: 6 + tag_size]
    assert AES.decrypt(scheme, cryptogram) == b"secret"
    other_key = secret_key(KeyKind.AES, bytes(32))
    attempts: list[Callable[[], object]] = [
        lambda: AES.decrypt(scheme, flipped(cryptogram)),
        lambda: AES.decrypt(scheme, flipped(cryptogram, 0)),
        lambda: AES.decrypt(scheme, cryptogram[1:]),
        lambda: AES.decrypt(scheme, cryptogram + b"\0"),
        lambda: AES.decrypt(Gcm(bytes(12), b"Header", tag_size), cryptogram),
        lambda: AES.decrypt(Gcm(bytes(11) + b"\1", b"header", tag_size), cryptogram),
        lambda: other_key.decrypt(scheme, cryptogram),
    ]
    for attempt in attempts:
        with pytest.raises(DecryptionFailed):
            attempt()
    with pytest.raises(DataLength):
        AES.decrypt(scheme, cryptogram[: tag_size - 1])


def test_gcm_gives_no_plaintext_before_the_tag_is_checked() -> None:
    scheme = Gcm(bytes(12))
    cryptogram = AES.encrypt(scheme, bytes(1000))
    running = AES.decryptor(scheme)
    assert running.update(cryptogram[:-1] + flipped(cryptogram[-1:])) == b""
    with pytest.raises(DecryptionFailed):
        running.finish()


@pytest.mark.parametrize("size", [8, 12, 13, 16, 64, 128])
def test_gcm_takes_ivs_of_many_lengths(size: int) -> None:
    scheme = Gcm(bytes(range(size)), b"header")
    assert AES.decrypt(scheme, AES.encrypt(scheme, b"data")) == b"data"


@pytest.mark.parametrize("length", [0, 8, 15, 17, 31])
def test_key_wrap_takes_multiples_of_eight_from_sixteen(length: int) -> None:
    with pytest.raises(DataLength):
        AES.wrap(KeyWrap(), bytes(length))


@pytest.mark.parametrize("length", [0, 8, 16, 23, 25])
def test_a_wrapped_key_has_the_length_of_one(length: int) -> None:
    with pytest.raises(DataLength):
        AES.unwrap(KeyWrap(), bytes(length))


def test_key_wrap_with_padding_takes_a_byte_or_more() -> None:
    for length in (1, 7, 8, 9, 16, 100):
        wrapped = AES.wrap(KeyWrapPadded(), bytes(length))
        assert len(wrapped) == (length + 7) // 8 * 8 + 8
        assert AES.unwrap(KeyWrapPadded(), wrapped) == bytes(length)
    with pytest.raises(DataLength):
        AES.wrap(KeyWrapPadded(), b"")
    for length in (0, 8, 15, 17):
        with pytest.raises(DataLength):
            AES.unwrap(KeyWrapPadded(), bytes(length))


@pytest.mark.parametrize("scheme", [KeyWrap(), KeyWrapPadded()], ids=str)
@pytest.mark.parametrize("length", [16, 24, 40])
def test_a_changed_wrapped_key_is_refused(scheme: KeyWrap | KeyWrapPadded, length: int) -> None:
    wrapped = AES.wrap(scheme, bytes(length))
    for at in range(len(wrapped)):
        with pytest.raises(DecryptionFailed):
            AES.unwrap(scheme, flipped(wrapped, at))
    with pytest.raises(DecryptionFailed):
        secret_key(KeyKind.AES, bytes(32)).unwrap(scheme, wrapped)


def test_the_two_ways_to_wrap_do_not_take_each_other_for_their_own() -> None:
    with pytest.raises(DecryptionFailed):
        AES.unwrap(KeyWrap(), AES.wrap(KeyWrapPadded(), bytes(16)))
    with pytest.raises(DecryptionFailed):
        AES.unwrap(KeyWrapPadded(), AES.wrap(KeyWrap(), bytes(16)))


def test_one_key_runs_many_ciphers_at_once() -> None:
    key: SecretKey = secret_key(KeyKind.AES, bytes(16))
    running = [key.encryptor(Ctr(bytes((n,)) + bytes(15), 128)) for n in range(8)]
    streams = [b"".join(cipher.update(bytes(16)) for _ in range(4)) for cipher in running]
    assert streams == [key.encrypt(Ctr(bytes((n,)) + bytes(15), 128), bytes(64)) for n in range(8)]
