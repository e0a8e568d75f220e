"""Ciphers and codes: any split of the data gives what one step gives, and decryption undoes."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from token_fw.crypto import (
    Cbc,
    Cmac,
    CryptoError,
    Ctr,
    DataLength,
    DecryptionFailed,
    Ecb,
    Gcm,
    Hash,
    Hmac,
    KeyKind,
    KeyWrap,
    KeyWrapPadded,
    MacScheme,
    Running,
    SecretKey,
    SymmetricScheme,
    secret_key,
)

BLOCK = 16
aes_keys = (
    st.sampled_from([16, 24, 32])
    .flatmap(lambda size: st.binary(min_size=size, max_size=size))
    .map(lambda value: secret_key(KeyKind.AES, value))
)
generic_keys = st.binary(min_size=1, max_size=300).map(
    lambda value: secret_key(KeyKind.GENERIC, value)
)
blocks = st.binary(min_size=BLOCK, max_size=BLOCK)
any_data = st.binary(max_size=200)
whole_blocks = st.lists(blocks, max_size=10).map(b"".join)
wrappable = st.lists(st.binary(min_size=8, max_size=8), min_size=2, max_size=10).map(b"".join)
cuts = st.lists(st.integers(0, 220), max_size=8).map(sorted)
far_cuts = st.lists(st.integers(0, 3000), max_size=8).map(sorted)

gcm = st.builds(
    Gcm,
    st.binary(min_size=8, max_size=128),
    st.binary(max_size=40),
    st.sampled_from([4, 8, 12, 13, 14, 15, 16]),
)
Case = tuple[SymmetricScheme, bytes]
cases: st.SearchStrategy[Case] = st.one_of(
    st.tuples(st.just(Ecb()), whole_blocks),
    st.tuples(st.builds(Cbc, blocks), whole_blocks),
    st.tuples(st.builds(Cbc, blocks, st.just(True)), any_data),
    st.tuples(st.builds(Ctr, blocks, st.integers(4, 128)), any_data),
    st.tuples(gcm, any_data),
    st.tuples(st.just(KeyWrap()), wrappable),
    st.tuples(st.just(KeyWrapPadded()), st.binary(min_size=1, max_size=100)),
)
any_scheme = st.one_of(
    st.just(Ecb()),
    st.builds(Cbc, blocks, st.booleans()),
    st.builds(Ctr, blocks, st.integers(1, 128)),
    gcm,
    st.just(KeyWrap()),
    st.just(KeyWrapPadded()),
)


def split(data: bytes, at: list[int]) -> list[bytes]:
    places = [0, *(min(place, len(data)) for place in at), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def in_parts(running: Running, parts: list[bytes]) -> bytes:
    return b"".join([*(running.update(part) for part in parts), running.finish()])


@given(key=aes_keys, case=cases, at=cuts)
def test_parts_give_what_one_step_gives_and_decryption_undoes(
    key: SecretKey, case: Case, at: list[int]
) -> None:
    scheme, data = case
    cryptogram = key.encrypt(scheme, data)
    assert in_parts(key.encryptor(scheme), split(data, at)) == cryptogram
    assert key.decrypt(scheme, cryptogram) == data
    assert in_parts(key.decryptor(scheme), split(cryptogram, at)) == data


@given(key=aes_keys, scheme=any_scheme, data=any_data, at=cuts)
def test_whatever_is_decrypted_gives_plaintext_or_a_typed_error(
    key: SecretKey, scheme: SymmetricScheme, data: bytes, at: list[int]
) -> None:
    def outcome(run: Callable[[], bytes]) -> bytes | type[CryptoError]:
        try:
            return run()
        except (DataLength, DecryptionFailed) as error:
            return type(error)

    whole = outcome(lambda: key.decrypt(scheme, data))
    assert outcome(lambda: in_parts(key.decryptor(scheme), split(data, at))) == whole


@given(
    key=aes_keys, block=blocks, bits=st.integers(1, 7), data=st.binary(max_size=3000), at=far_cuts
)
def test_a_counter_is_the_cipher_over_blocks_that_count_and_never_repeat(
    key: SecretKey, block: bytes, bits: int, data: bytes, at: list[int]
) -> None:
    scheme = Ctr(block, bits)
    total, first = 1 << bits, int.from_bytes(block, "big")
    if len(data) > BLOCK * total:
        with pytest.raises(DataLength):
            in_parts(key.encryptor(scheme), split(data, at))
        return
    counters = (first - first % total + (first + i) % total for i in range(total))
    stream = key.encrypt(Ecb(), b"".join(count.to_bytes(BLOCK, "big") for count in counters))
    expected = bytes(a ^ b for a, b in zip(data, stream, strict=False))
    assert in_parts(key.encryptor(scheme), split(data, at)) == expected


@given(key=aes_keys, scheme=gcm, data=any_data, bit=st.integers(0))
def test_gcm_notices_every_changed_bit(key: SecretKey, scheme: Gcm, data: bytes, bit: int) -> None:
    cryptogram = bytearray(key.encrypt(scheme, data))
    bit %= 8 * len(cryptogram)
    cryptogram[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DecryptionFailed):
        key.decrypt(scheme, bytes(cryptogram))


def code(key: SecretKey, scheme: MacScheme, parts: list[bytes]) -> bytes:
    running = key.mac(scheme)
    for part in parts:
        running.update(part)
        # A copy that goes another way leaves the first alone.
        running.copy().update(b"other")
    return running.finish()


@given(key=aes_keys, size=st.integers(1, 16), data=any_data, at=cuts)
def test_a_cmac_of_parts_is_that_of_the_whole(
    key: SecretKey, size: int, data: bytes, at: list[int]
) -> None:
    whole = code(key, Cmac(16), [data])
    assert code(key, Cmac(size), split(data, at)) == whole[:size]


@given(key=generic_keys, hash_=st.sampled_from(Hash), data=any_data, at=cuts)
def test_an_hmac_of_parts_is_that_of_the_whole(
    key: SecretKey, hash_: Hash, data: bytes, at: list[int]
) -> None:
    scheme = Hmac(hash_, hash_.size)
    assert code(key, scheme, split(data, at)) == code(key, scheme, [data])
