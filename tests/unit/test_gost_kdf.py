"""HMAC over Streebog and what is derived with it, and VKO: published answers, and bad input."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from tests.unit.gost_examples import textbook_sum
from token_fw.crypto import (
    DataLength,
    Hash,
    Hmac,
    InvalidKey,
    KeyKind,
    digest,
    gost_private,
    secret_key,
)
from token_fw.crypto.gost import curve, kdf
from token_fw.crypto.gost.encodings import point_bytes
from token_fw.crypto.gost.parameter_sets import PARAMETER_SETS
from token_fw.crypto.gost.streebog import BLOCK_SIZE, Streebog

# RFC 7836 B: the key, the label and the seed of its examples 1, 2, 9 and 10.
KEY = bytes(range(32))
LABEL = bytes.fromhex("26bdb878")
SEED = bytes.fromhex("af21434145656378")
CODES = {
    Hash.STREEBOG256: "a1aa5f7de402d7b3d323f2991c8d4534013137010a83754fd0af6d7cd4922ed9",
    Hash.STREEBOG512: (
        "a59bab22ecae19c65fbde6e5f4e9f5d8549d31f037f9df9b905500e171923a77"
        "3d5f1530f2ed7e964cb2eedc29e9ad2f3afe93b2814f79f5000ffc0366c251e6"
    ),
}


@pytest.mark.parametrize("hash_", CODES)
def test_published_hmac(hash_: Hash) -> None:
    running = secret_key(KeyKind.GENERIC, KEY).mac(Hmac(hash_, hash_.size))
    running.update(bytes.fromhex("0126bdb87800af2143"))
    running.update(bytes.fromhex("41456563780100"))
    assert running.finish().hex() == CODES[hash_]


class HashlibStreebog:
    """Streebog with all that the standard library's hmac asks of a hash."""

    block_size = BLOCK_SIZE

    def __init__(self, size: int, data: bytes = b"") -> None:
        self._state = Streebog(size, data)
        self.digest_size = size
        self.update, self.digest = self._state.update, self._state.digest

    def copy(self) -> HashlibStreebog:
        twin = HashlibStreebog(self.digest_size)
        twin._state = self._state.copy()
        twin.update, twin.digest = twin._state.update, twin._state.digest
        return twin


@pytest.mark.parametrize(("size", "length"), list(product([32, 64], [0, 1, 63, 64, 65, 200])))
def test_hmac_with_a_key_of_any_length_is_the_standard_librarys(size: int, length: int) -> None:
    def streebog(data: bytes = b"") -> Any:
        return HashlibStreebog(size, data)

    key = bytes(range(length))
    assert kdf.StreebogHmac(size, key).of(b"data") == hmac.new(key, b"data", streebog).digest()


def test_published_kdf() -> None:
    derived = "a1aa5f7de402d7b3d323f2991c8d4534013137010a83754fd0af6d7cd4922ed9"
    assert kdf.kdf(KEY, LABEL, SEED).hex() == derived


def test_published_kdf_tree() -> None:
    assert kdf.kdf_tree(KEY, LABEL, SEED, 64).hex() == (
        "22b6837845c6bef65ea71672b265831086d3c76aebe6dae91cad51d83f79d16b"
        "074c9330599d7f8d712fca54392f4ddde93751206b3584c8f43f9e6dc51531f9"
    )


@pytest.mark.parametrize("counter_size", [1, 2, 3, 4])
def test_kdf_tree_counts_blocks_in_as_many_bytes_as_it_is_told(counter_size: int) -> None:
    # RFC 7836 4.5: the length in bits has no leading zero bytes.
    blocks = (
        kdf.StreebogHmac(32, KEY).of(
            bytes(counter_size - 1) + bytes((i,)) + LABEL + b"\x00" + SEED + bytes((0x02, 0x58))
        )
        for i in (1, 2, 3)
    )
    assert kdf.kdf_tree(KEY, LABEL, SEED, 75, counter_size) == b"".join(blocks)[:75]


@pytest.mark.parametrize(
    ("iterations", "derived"),
    [
        (
            1,
            (
                "64770af7f748c3b1c9ac831dbcfd85c26111b30a8a657ddc3056b80ca73e040d"
                "2854fd36811f6d825cc4ab66ec0a68a490a9e5cf5156b3a2b7eecddbf9a16b47"
            ),
        ),
        (
            2,
            (
                "5a585bafdfbb6e8830d6d68aa3b43ac00d2e4aebce01c9b31c2caed56f0236d4"
                "d34b2b8fbd2c4e89d54d46f50e47d45bbac301571743119e8d3c42ba66d348de"
            ),
        ),
    ],
)
def test_published_pbkdf2(iterations: int, derived: str) -> None:
    # R 50.1.111-2016 A, RFC 9337 B.
    for length in (64, 1, 63):
        key = kdf.pbkdf2(b"password", b"salt", iterations, length)
        assert key.hex() == derived[: 2 * length]


def test_pbkdf2_goes_on_in_a_second_block() -> None:
    long = kdf.pbkdf2(b"password", b"salt", 1, 100)
    second = kdf.StreebogHmac(64, b"password").of(b"salt\x00\x00\x00\x02")
    assert long[:64] == kdf.pbkdf2(b"password", b"salt", 1, 64)
    assert long[64:] == second[:36]


def test_lengths_out_of_range_are_refused() -> None:
    attempts: list[Callable[[], bytes]] = [
        lambda: kdf.kdf_tree(KEY, LABEL, SEED, 0),
        lambda: kdf.kdf_tree(KEY, LABEL, SEED, 255 * 32 + 1),
        lambda: kdf.kdf_tree(KEY, LABEL, SEED, 32, 0),
        lambda: kdf.kdf_tree(KEY, LABEL, SEED, 32, 5),
        lambda: kdf.pbkdf2(b"password", b"salt", 0, 32),
        lambda: kdf.pbkdf2(b"password", b"salt", 1, 0),
        lambda: kdf.pbkdf2(b"password", b"salt", 1, 64 * (2**32 - 1) + 1),
    ]
    for attempt in attempts:
        with pytest.raises(DataLength):
            attempt()
    assert len(kdf.kdf_tree(KEY, LABEL, SEED, 255 * 32)) == 255 * 32


# RFC 7836 B, examples 7 and 8: two keys on tc26-512-A, little-endian.
UKM = bytes.fromhex("1d80603c8544c727")
FIRST_D = (
    "c990ecd972fce84ec4db022778f50fcac726f46708384b8d458304962d7147f8"
    "c2db41cef22c90b102f2968404f9b9be6d47c79692d81826b32b8daca43cb667"
)
FIRST_POINT = (
    "aab0eda4abff21208d18799fb9a8556654ba783070eba10cb9abb253ec56dcf5"
    "d3ccba6192e464e6e5bcb6dea137792f2431f6c897eb1b3c0cc14327b1adc0a7"
    "914613a3074e363aedb204d38d3563971bd8758e878c9db11403721b48002d38"
    "461f92472d40ea92f9958c0ffa4c93756401b97f89fdbe0b5e46e4a4631cdb5a"
)
SECOND_D = (
    "48c859f7b6f11585887cc05ec6ef1390cfea739b1a18c0d4662293ef63b79e3b"
    "8014070b44918590b4b996acfea4edfbbbcccc8c06edd8bf5bda92a51392d0db"
)
SECOND_POINT = (
    "192fe183b9713a077253c72c8735de2ea42a3dbc66ea317838b65fa32523cd5e"
    "fca974eda7c863f4954d1147f1f2b25c395fce1c129175e876d132e94ed5a651"
    "04883b414c9b592ec4dc84826f07d0b6d9006dda176ce48c391e3f97d102e03b"
    "b598bf132a228a45f7201aba08fc524a2d77e43a362ab022ad4028f75bde3b79"
)
AGREED = {
    32: "c9a9a77320e2cc559ed72dce6f47e2192ccea95fa648670582c054c0ef36c221",
    64: (
        "79f002a96940ce7bde3259a52e015297adaad84597a0d205b50e3e1719f97bfa"
        "7ee1d2661fa9979a5aa235b558a7e6d9f88f982dd63fc35a8ec0dd5e242d3bdf"
    ),
}


@pytest.mark.parametrize("size", AGREED)
def test_published_agreement(size: int) -> None:
    first, second = (
        gost_private("tc26-512-A", bytes.fromhex(d)[::-1]) for d in (FIRST_D, SECOND_D)
    )
    assert first.public().point.hex() == FIRST_POINT
    assert second.public().point.hex() == SECOND_POINT
    assert first.vko(bytes.fromhex(SECOND_POINT), UKM, size).hex() == AGREED[size]
    assert second.vko(bytes.fromhex(FIRST_POINT), UKM, size).hex() == AGREED[size]


@pytest.mark.parametrize("name", PARAMETER_SETS)
def test_both_sides_agree_on_the_digest_of_the_same_point(name: str) -> None:
    # RFC 7836 4.3: the cofactor counts.
    parameters = PARAMETER_SETS[name]
    first, second = gost_private(name, b"\x05"), gost_private(name, b"\x07")
    shared = curve.multiply_base(parameters, parameters.cofactor * 5 * 7 * 0x0201)
    key = digest.compute(Hash.STREEBOG256, point_bytes(parameters, shared))
    assert first.vko(second.public().point, b"\x01\x02", 32) == key
    assert second.vko(first.public().point, b"\x01\x02\x00", 32) == key


@pytest.mark.parametrize("name", ["tc26-256-A", "tc26-512-C"])
def test_a_part_of_small_order_in_the_peers_point_tells_nothing_of_the_key(name: str) -> None:
    parameters = PARAMETER_SETS[name]
    point = point_of_order_two(name)
    own = gost_private(name, b"\x05")
    with pytest.raises(InvalidKey, match="no secret"):
        own.vko(point_bytes(parameters, point), UKM, 32)
    honest = parameters.generator
    mixed = textbook_sum(parameters, honest, point)
    assert mixed is not None
    agreed = {own.vko(point_bytes(parameters, each), UKM, 32) for each in (honest, mixed)}
    assert len(agreed) == 1


def point_of_order_two(name: str) -> curve.Point:
    """The point with y = 0, where x³ + ax + b is 0 (RFC 7836 5.2: x is t, from the Edwards d)."""
    d = {
        "tc26-256-A": "0605F6B7C183FA81578BC39CFAD518132B9DF62897009AF7E522C32D6DC7BFFB",
        "tc26-512-C": (
            "9E4F5D8C017D8D9F13A5CF3CDF5BFE4DAB402D54198E31EBDE28A0621050439C"
            "A6B39E0A515C06B304E2CE43E79E369E91A0CFC2BC2A22B4CA302DBB33EE7550"
        ),
    }[name]
    p = PARAMETER_SETS[name].p
    return (1 + int(d, 16)) * pow(6, -1, p) % p, 0


def test_bad_parameters_of_an_agreement_are_refused() -> None:
    own, peer = gost_private("tc26-256-A", b"\x05"), gost_private("tc26-256-A", b"\x07").public()
    order = PARAMETER_SETS["tc26-256-A"].q.to_bytes(32, "little")
    for ukm in (b"", b"\x00", bytes(8), bytes(33), b"\x01" * 33, order):
        with pytest.raises(DataLength, match="UKM"):
            own.vko(peer.point, ukm, 32)
    with pytest.raises(DataLength, match="32 or 64"):
        own.vko(peer.point, UKM, 48)
    wrong = peer.point[:-1] + bytes((peer.point[-1] ^ 1,))
    for point in (b"", peer.point[:-1], peer.point + b"\x00", bytes(64), b"\xff" * 64, wrong):
        with pytest.raises(InvalidKey):
            own.vko(point, UKM, 32)
