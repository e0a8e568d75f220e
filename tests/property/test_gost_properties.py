"""GOST: what is signed verifies and nothing else does, and no encoding breaks what reads it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from token_fw.crypto import (
    CryptoError,
    Gost3410,
    GostPrivateKey,
    InvalidKey,
    InvalidSignature,
    KeySpec,
    Unsupported,
    gost_private,
    gost_public,
    load_private,
    load_public,
)
from token_fw.crypto.gost import curve
from token_fw.crypto.gost.parameter_sets import PARAMETER_SETS, ParameterSet
from token_fw.crypto.gost.streebog import Streebog

by_both = pytest.mark.usefixtures("gost_implementation")
sets = st.sampled_from(list(PARAMETER_SETS.values()))


@st.composite
def keys(draw: st.DrawFn) -> GostPrivateKey:
    parameters = draw(sets)
    edges = st.sampled_from([1, 2, parameters.q - 1])
    d = draw(st.integers(1, parameters.q - 1) | edges)
    return gost_private(parameters.name, d.to_bytes(parameters.size, "big"))


def bytes_of(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


@by_both
@given(key=keys(), deterministic=st.booleans(), data=st.data())
def test_what_is_signed_verifies_and_nothing_near_it(
    key: GostPrivateKey, deterministic: bool, data: st.DataObject
) -> None:
    size = len(key.d)
    value = data.draw(bytes_of(size))
    signature = key.sign(Gost3410(deterministic), value)
    public = key.public()
    public.verify(Gost3410(), value, signature)
    bit = data.draw(st.integers(0, 16 * size - 1))
    changed = (int.from_bytes(signature, "big") ^ 1 << bit).to_bytes(2 * size, "big")
    with pytest.raises(InvalidSignature):
        public.verify(Gost3410(), value, changed)
    q = PARAMETER_SETS[key.spec.curve].q
    other = data.draw(bytes_of(size))
    if (int.from_bytes(other, "little") - int.from_bytes(value, "little")) % q:
        with pytest.raises(InvalidSignature):
            public.verify(Gost3410(), other, signature)


@by_both
@given(key=keys(), data=st.data())
def test_no_numbers_are_a_signature(key: GostPrivateKey, data: st.DataObject) -> None:
    size, q = len(key.d), PARAMETER_SETS[key.spec.curve].q
    top = 256**size - 1
    numbers = st.integers(0, top) | st.sampled_from([0, 1, q - 1, q, q + 1, top])
    s, r = (data.draw(numbers).to_bytes(size, "big") for _ in range(2))
    with pytest.raises(InvalidSignature):
        key.public().verify(Gost3410(), data.draw(bytes_of(size)), s + r)


@given(parameters=sets, data=st.data())
def test_a_point_off_the_curve_is_no_key(parameters: ParameterSet, data: st.DataObject) -> None:
    coordinate = st.integers(0, 256**parameters.size - 1)
    x, y = data.draw(coordinate), data.draw(coordinate)
    encoded = b"".join(each.to_bytes(parameters.size, "little") for each in (x, y))
    with pytest.raises(InvalidKey):
        gost_public(parameters.name, encoded)


@given(parameters=sets, data=st.data())
def test_products_of_sums_are_sums_of_products(
    parameters: ParameterSet, data: st.DataObject
) -> None:
    q = parameters.q
    k, l, m = (data.draw(st.integers(1, q - 1)) for _ in range(3))
    point = curve.multiply_base(parameters, m)
    total = (k + l * m) % q
    expected = curve.multiply_base(parameters, total) if total else None
    assert curve.add_products(parameters, k, l, point) == expected
    assert curve.multiply(parameters, l, point) == curve.multiply_base(parameters, l * m % q)


@given(first=keys(), data=st.data())
def test_both_sides_agree(first: GostPrivateKey, data: st.DataObject) -> None:
    parameters = PARAMETER_SETS[first.spec.curve]
    d = data.draw(st.integers(1, parameters.q - 1))
    second = gost_private(parameters.name, d.to_bytes(parameters.size, "big"))
    ukm = data.draw(st.integers(1, 2**64 - 1)).to_bytes(8, "little")
    size = data.draw(st.sampled_from([32, 64]))
    agreed = first.vko(second.public().point, ukm, size)
    assert second.vko(first.public().point, ukm, size) == agreed
    assert len(agreed) == size


@given(key=keys(), data=st.data())
def test_a_damaged_encoding_is_refused_or_is_a_key(
    key: GostPrivateKey, data: st.DataObject
) -> None:
    private = data.draw(st.booleans())
    encoded = bytearray(key.to_pkcs8() if private else key.public().to_spki())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(encoded) - 1))
        encoded[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        read = load_private(bytes(encoded)) if private else load_public(bytes(encoded))
    except CryptoError as error:
        assert type(error) in {InvalidKey, Unsupported}  # noqa: PT017  either is right
    else:
        assert read.spec in {KeySpec.gost(name) for name in PARAMETER_SETS}


@given(
    size=st.sampled_from([32, 64]),
    data=st.binary(max_size=300),
    cuts=st.lists(st.integers(0, 320), max_size=6).map(sorted),
)
def test_a_digest_of_parts_is_that_of_the_whole(size: int, data: bytes, cuts: list[int]) -> None:
    state = Streebog(size)
    for start, end in pairwise([0, *cuts, 320]):
        state.update(data[start:end])
    assert state.digest() == Streebog(size, data).digest()
