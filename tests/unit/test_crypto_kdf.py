"""Key derivation: other implementations, every hash, and lengths out of range."""

import hashlib
import threading
import time
from collections.abc import Callable

import pytest

from token_fw.crypto import DataLength, Hash, Unsupported, digest, kdf


def hmac_of(hash_: Hash, key: bytes, data: bytes) -> bytes:
    """HMAC spelled out (FIPS 198-1 4)."""
    block = hashlib.new(hash_.value).block_size
    key = (digest.compute(hash_, key) if len(key) > block else key).ljust(block, b"\0")
    inner = digest.compute(hash_, bytes(byte ^ 0x36 for byte in key) + data)
    return digest.compute(hash_, bytes(byte ^ 0x5C for byte in key) + inner)


@pytest.mark.parametrize("hash_", digest.ALGORITHMS)
def test_hkdf_is_made_of_hmacs(hash_: Hash) -> None:
    prk = kdf.hkdf_extract(hash_, b"salt", b"secret")
    assert prk == hmac_of(hash_, b"salt", b"secret")
    first = hmac_of(hash_, prk, b"info\1")
    second = hmac_of(hash_, prk, first + b"info\2")
    length = hash_.size + 5
    assert kdf.hkdf_expand(hash_, prk, b"info", length) == (first + second)[:length]


@pytest.mark.parametrize("hash_", digest.ALGORITHMS)
def test_no_salt_is_a_salt_of_zeros(hash_: Hash) -> None:
    expected = kdf.hkdf_extract(hash_, bytes(hash_.size), b"secret")
    assert kdf.hkdf_extract(hash_, None, b"secret") == expected
    assert kdf.hkdf_extract(hash_, b"", b"secret") == expected


@pytest.mark.parametrize("hash_", digest.ALGORITHMS)
def test_pbkdf2_is_that_of_the_standard_library(hash_: Hash) -> None:
    expected = hashlib.pbkdf2_hmac(hash_.value, b"password", b"salt", 3, 100)
    assert kdf.pbkdf2(hash_, b"password", b"salt", 3, 100) == expected


@pytest.mark.parametrize("hash_", digest.ALGORITHMS)
def test_x963_hashes_the_secret_with_a_counter(hash_: Hash) -> None:
    blocks = (digest.compute(hash_, b"z" + bytes((0, 0, 0, i)) + b"info") for i in (1, 2))
    length = hash_.size + 1
    assert kdf.x963(hash_, b"z", b"info", length) == b"".join(blocks)[:length]


@pytest.mark.parametrize("hash_", [Hash.STREEBOG256, Hash.STREEBOG512])
def test_streebog_has_derivations_of_its_own(hash_: Hash) -> None:
    attempts: list[Callable[[], bytes]] = [
        lambda: kdf.hkdf_extract(hash_, b"salt", b"secret"),
        lambda: kdf.hkdf_expand(hash_, b"prk", b"info", 32),
        lambda: kdf.pbkdf2(hash_, b"password", b"salt", 3, 32),
        lambda: kdf.x963(hash_, b"z", b"info", 32),
    ]
    for attempt in attempts:
        with pytest.raises(Unsupported, match=hash_.name):
            attempt()


def test_the_longest_hkdf() -> None:
    longest = 255 * 32
    prk = bytes(32)
    whole = kdf.hkdf_expand(Hash.SHA256, prk, b"", longest)
    assert len(whole) == longest
    assert whole.startswith(kdf.hkdf_expand(Hash.SHA256, prk, b"", longest - 1))


def test_lengths_out_of_range_are_refused() -> None:
    too_many_blocks = 2**32
    attempts: list[Callable[[], object]] = [
        *(lambda n=n: kdf.hkdf_expand(Hash.SHA256, bytes(32), b"", n) for n in (-1, 0, 8161)),
        lambda: kdf.hkdf_expand(Hash.SHA1, bytes(20), b"", 5101),
        *(lambda n=n: kdf.pbkdf2(Hash.SHA256, b"p", b"s", 1, n) for n in (-1, 0)),
        *(lambda n=n: kdf.pbkdf2(Hash.SHA256, b"p", b"s", n, 32) for n in (-1, 0)),
        lambda: kdf.pbkdf2(Hash.SHA256, b"p", b"s", 1, 32 * too_many_blocks),
        *(lambda n=n: kdf.x963(Hash.SHA256, b"z", b"", n) for n in (-1, 0)),
        lambda: kdf.x963(Hash.SHA256, b"z", b"", 32 * too_many_blocks),
    ]
    for attempt in attempts:
        with pytest.raises(DataLength):
            attempt()


def test_other_threads_run_during_pbkdf2() -> None:
    started = threading.Event()

    def work() -> None:
        started.set()
        kdf.pbkdf2(Hash.SHA256, b"password", b"salt", 200_000, 32)

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    turns = 0
    while thread.is_alive():
        turns += 1
        time.sleep(0.001)
    # If it held the interpreter, this thread would wake once, after it.
    assert turns > 3
