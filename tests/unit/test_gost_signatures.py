"""Signatures of GOST R 34.10-2012: the examples of RFC 7091, arithmetic at its edges, nonces."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from itertools import product

import pytest

from tests.unit.gost_examples import EXAMPLES, Example, textbook_sum
from token_fw.crypto.gost import curve, signatures
from token_fw.crypto.gost.kdf import StreebogHmac
from token_fw.crypto.gost.nonces import deterministic_nonce
from token_fw.crypto.gost.parameter_sets import PARAMETER_SETS, ParameterSet

published = pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.parameters.name)
every_set = pytest.mark.parametrize("parameters", PARAMETER_SETS.values(), ids=PARAMETER_SETS)


def digest_of(example: Example) -> bytes:
    return example.e.to_bytes(example.parameters.size, "little")


def signature_of(example: Example) -> bytes:
    size = example.parameters.size
    return example.s.to_bytes(size, "big") + example.r.to_bytes(size, "big")


@published
def test_the_published_public_point(example: Example) -> None:
    assert signatures.public_point(example.parameters, example.d) == example.point


@published
def test_the_published_signature(example: Example) -> None:
    made = signatures.sign(example.parameters, example.d, digest_of(example), example.k)
    assert made == signature_of(example)
    assert signatures.verify(example.parameters, example.point, digest_of(example), made)


@published
def test_nothing_else_verifies(example: Example) -> None:
    parameters, point, digest = example.parameters, example.point, digest_of(example)
    q, size, good = parameters.q, parameters.size, signature_of(example)
    s, r = good[:size], good[size:]
    zero, order, ones = bytes(size), q.to_bytes(size, "big"), b"\xff" * size
    bad = [
        b"",
        good[:-1],
        good + b"\x00",
        r + s,
        good[:-1] + bytes((good[-1] ^ 1,)),
        *(first + last for first, last in product((s, zero, order, ones), (r, zero, order, ones))),
    ]
    bad.remove(good)
    for signature in bad:
        assert not signatures.verify(parameters, point, digest, signature)
    assert not signatures.verify(parameters, point, digest[::-1], good)
    assert not signatures.verify(parameters, parameters.generator, digest, good)


@published
def test_a_digest_of_zero_counts_as_one(example: Example) -> None:
    # RFC 7091 6.1 step 2, and of q, which is zero modulo q.
    parameters = example.parameters
    size = parameters.size
    zero, order = bytes(size), parameters.q.to_bytes(size, "little")
    one = (1).to_bytes(size, "little")
    made = [signatures.sign(parameters, example.d, digest, 5) for digest in (zero, order, one)]
    assert len(set(made)) == 1
    assert signatures.verify(parameters, example.point, zero, made[0])


@published
def test_a_k_that_gives_no_signature_is_refused(example: Example) -> None:
    parameters, k = example.parameters, example.k
    q = parameters.q
    r = curve.multiply_base(parameters, k)[0] % q
    # s = r·d + k·e is zero for this digest.
    e = -r * example.d * pow(k, -1, q) % q
    with pytest.raises(ValueError, match="no signature"):
        signatures.sign(parameters, example.d, e.to_bytes(parameters.size, "little"), k)


@every_set
def test_every_signature_has_a_k_of_its_own(parameters: ParameterSet) -> None:
    digest = bytes(range(parameters.size))
    point = signatures.public_point(parameters, 12345)
    made = {signatures.sign(parameters, 12345, digest) for _ in range(5)}
    assert len(made) == 5
    assert all(signatures.verify(parameters, point, digest, signature) for signature in made)


@every_set
def test_multiples_are_the_sums_of_the_textbook(parameters: ParameterSet) -> None:
    expected: curve.Point | None = None
    for k in range(1, 300):
        expected = textbook_sum(parameters, expected, parameters.generator)
        assert curve.multiply_base(parameters, k) == expected
        assert curve.multiply(parameters, k, parameters.generator) == expected


@every_set
def test_sums_that_meet_themselves_or_infinity(parameters: ParameterSet) -> None:
    q, g = parameters.q, parameters.generator
    minus_g = (g[0], parameters.p - g[1])
    assert curve.multiply_base(parameters, q - 1) == minus_g
    assert curve.multiply(parameters, q - 1, g) == minus_g
    assert curve.multiply(parameters, 0, g) is None
    assert curve.multiply(parameters, q + 1, g) == g
    # The last point that is added equals the sum so far, or is its negative.
    assert curve.add_products(parameters, 7, 7, g) == curve.multiply_base(parameters, 14)
    assert curve.add_products(parameters, 7, q - 7, g) is None
    assert curve.add_products(parameters, 0, 0, g) is None
    assert curve.add_products(parameters, 0, 9, g) == curve.multiply_base(parameters, 9)
    for k in (2 * 255 * 256**31 - q, 256**30 + 1, q // 2, q // 3):
        if 0 < k < q:
            assert curve.multiply_base(parameters, k) == curve.multiply(parameters, k, g)


def textbook_nonce(
    q: int, d: int, hashed: bytes, code: Callable[[bytes, bytes], bytes], size: int
) -> int:
    """RFC 6979 3.2 with a code as long as the hash, for any group."""
    length = (q.bit_length() + 7) // 8

    def number(bits: bytes) -> int:
        return int.from_bytes(bits, "big") >> max(0, 8 * len(bits) - q.bit_length())

    seed = d.to_bytes(length, "big") + (number(hashed) % q).to_bytes(length, "big")
    v, key = b"\x01" * size, b"\x00" * size
    key = code(key, v + b"\x00" + seed)
    v = code(key, v)
    key = code(key, v + b"\x01" + seed)
    v = code(key, v)
    while True:
        t = b""
        while 8 * len(t) < q.bit_length():
            v = code(key, v)
            t += v
        if 0 < number(t) < q:
            return number(t)
        key = code(key, v + b"\x00")
        v = code(key, v)


def test_the_textbook_of_nonces_gives_the_published_one() -> None:
    # RFC 6979 A.2.5, P-256 with SHA-256, message "sample".
    k = textbook_nonce(
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721,
        bytes.fromhex("AF2BDBE1AA9B6EC1E2ADE1D694F41FC71A831D0268E9891562113D8A62ADD1BF"),
        lambda key, data: hmac.digest(key, data, "sha256"),
        32,
    )
    assert k == 0xA6E3C57DD01ABE90086538398355DD4C3B17AA873382B0F24D6129493D8AAD60


@every_set
def test_a_deterministic_nonce_is_that_of_the_textbook(parameters: ParameterSet) -> None:
    q, size = parameters.q, parameters.size

    def code(key: bytes, data: bytes) -> bytes:
        return StreebogHmac(size, key).of(data)

    for d, digest in ((1, bytes(size)), (q - 1, b"\xff" * size), (q // 3, bytes(range(size)))):
        # The number e of the digest, in as many bits as q has.
        e = signatures.hash_number(parameters, digest)
        hashed = (e << 8 * size - q.bit_length()).to_bytes(size, "big")
        k = deterministic_nonce(parameters, d, digest)
        assert k == textbook_nonce(q, d, hashed, code, size)
        assert 0 < k < q
