"""Streebog: the examples of RFC 6986, and data in parts."""

import pytest

from token_fw.crypto.gost.streebog import Streebog

# RFC 6986 10.1 and 10.2, whose octets are printed from the last to the first.
DIGITS = b"012345678901234567890123456789012345678901234567890123456789012"
LETTERS = "Се ветри, Стрибожи внуци, веютъ с моря стрелами на храбрыя плъкы Игоревы"
EXAMPLES = [
    (
        DIGITS,
        (
            "1b54d01a4af5b9d5cc3d86d68d285462b19abc2475222f35c085122be4ba1ffa"
            "00ad30f8767b3a82384c6574f024c311e2a481332b08ef7f41797891c1646f48"
        ),
    ),
    (DIGITS, "9d151eefd8590b89daa6ba6cb74af9275dd051026bb149a452fd84e5e57b5500"),
    (
        LETTERS.encode("cp1251"),
        (
            "1e88e62226bfca6f9994f1f2d51569e0daf8475a3b0fe61a5300eee46d961376"
            "035fe83549ada2b8620fcd7c496ce5b33f0cb9dddc2b6460143b03dabac9fb28"
        ),
    ),
    (
        LETTERS.encode("cp1251"),
        "9dd2fe4e90409e5da87f53976d7405b0c0cac628fc669a741d50063c557e8f50",
    ),
]


@pytest.mark.parametrize(("message", "digest"), EXAMPLES)
def test_published_digests(message: bytes, digest: str) -> None:
    assert Streebog(len(digest) // 2, message).digest().hex() == digest


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("cut", [0, 1, 63, 64, 65, 127, 128, 129, 200])
def test_parts_give_the_digest_of_the_whole(size: int, cut: int) -> None:
    message = bytes(range(200))
    state = Streebog(size)
    state.update(message[:cut])
    branch = state.copy()
    state.update(message[cut:])
    assert state.digest() == state.digest() == Streebog(size, message).digest()
    branch.update(b"another end")
    assert branch.digest() == Streebog(size, message[:cut] + b"another end").digest()


def test_the_sum_and_the_number_of_bits_wrap_around_and_are_hashed() -> None:
    # A block of ones makes the sum of all blocks overflow; zeros alone change only the number.
    ones, zeros = b"\xff" * 64, bytes(64)
    digests = {Streebog(64, data).digest() for data in (ones, ones + ones, zeros, zeros * 2, b"")}
    assert len(digests) == 5
