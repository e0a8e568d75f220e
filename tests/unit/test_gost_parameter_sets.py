"""Parameter sets of GOST R 34.10-2012: what their numbers have to fulfil."""

import random

import pytest

from tests.unit.gost_examples import TEST_256, TEST_512
from token_fw.crypto import KeyKind, KeySpec, Unsupported
from token_fw.crypto.gost import curve
from token_fw.crypto.gost.parameter_sets import PARAMETER_SETS, ParameterSet, parameter_set

ALL = {**PARAMETER_SETS, "test-256": TEST_256, "test-512": TEST_512}


@pytest.fixture(params=list(ALL.values()), ids=list(ALL))
def parameters(request: pytest.FixtureRequest) -> ParameterSet:
    found = request.param
    assert isinstance(found, ParameterSet)
    return found


def is_prime(n: int) -> bool:
    """Miller and Rabin's test with fixed bases: enough for numbers that nobody chose to fool it."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in random.Random(7091).sample(range(2, 2**31), 20):
        x = pow(base, odd, n)
        if x not in {1, n - 1} and all((x := x * x % n) != n - 1 for _ in range(twos - 1)):
            return False
    return True


def test_p_and_q_are_prime(parameters: ParameterSet) -> None:
    assert is_prime(parameters.p)
    assert is_prime(parameters.q)


def test_the_curve_is_not_singular(parameters: ParameterSet) -> None:
    assert (4 * parameters.a**3 + 27 * parameters.b**2) % parameters.p


def test_the_base_point_is_on_the_curve_and_has_order_q(parameters: ParameterSet) -> None:
    assert parameters.has(*parameters.generator)
    assert curve.multiply(parameters, parameters.q, parameters.generator) is None


def test_the_cofactor_is_that_of_the_number_of_points(parameters: ParameterSet) -> None:
    # Hasse: the number of points differs from p + 1 by at most twice the root of p.
    trace = parameters.p + 1 - parameters.cofactor * parameters.q
    assert trace * trace <= 4 * parameters.p


def test_q_is_fit_for_signatures(parameters: ParameterSet) -> None:
    # RFC 7091 5.2: the length of q, and that discrete logarithms are not easier elsewhere.
    p, q = parameters.p, parameters.q
    lowest, highest = {32: (254, 256), 64: (508, 512)}[parameters.size]
    assert 2**lowest < q < 2**highest
    assert p != q
    assert all(pow(p, t, q) != 1 for t in range(1, 132))


@pytest.mark.parametrize(
    ("name", "d"),
    [
        ("tc26-256-A", "0605F6B7C183FA81578BC39CFAD518132B9DF62897009AF7E522C32D6DC7BFFB"),
        (
            "tc26-512-C",
            (
                "9E4F5D8C017D8D9F13A5CF3CDF5BFE4DAB402D54198E31EBDE28A0621050439C"
                "A6B39E0A515C06B304E2CE43E79E369E91A0CFC2BC2A22B4CA302DBB33EE7550"
            ),
        ),
    ],
)
def test_the_edwards_form_is_the_same_curve(name: str, d: str) -> None:
    # RFC 7836 A.2, 5.2: u² + v² = 1 + d·u²·v², turned into y² = x³ + ax + b.
    parameters = PARAMETER_SETS[name]
    p = parameters.p
    s = (1 - int(d, 16)) * pow(4, -1, p) % p
    t = (1 + int(d, 16)) * pow(6, -1, p) % p
    assert parameters.a == (s * s - 3 * t * t) % p
    assert parameters.b == (2 * t**3 - t * s * s) % p


def test_twins_have_the_same_numbers_under_identifiers_of_their_own() -> None:
    # RFC 7836 A.1, RFC 4357 11.4.
    for name, twin in (
        ("tc26-256-B", "CryptoPro-A"),
        ("tc26-256-C", "CryptoPro-B"),
        ("tc26-256-D", "CryptoPro-C"),
        ("CryptoPro-XchA", "CryptoPro-A"),
        ("CryptoPro-XchB", "CryptoPro-C"),
    ):
        one, other = PARAMETER_SETS[name], PARAMETER_SETS[twin]
        assert (one.p, one.a, one.b, one.q) == (other.p, other.a, other.b, other.q)
        assert one.generator == other.generator
        assert one.oid != other.oid


def test_every_set_has_a_kind_of_key() -> None:
    assert len(PARAMETER_SETS) == 12
    for name, parameters in PARAMETER_SETS.items():
        spec = KeySpec.gost(name)
        assert parameters.name == str(spec) == name
        assert parameter_set(spec) is parameters
        assert KeySpec.from_oid(parameters.oid) == KeySpec.from_oid_der(spec.oid_der) == spec
        kind = KeyKind.GOST_512 if parameters.size == 64 else KeyKind.GOST_256
        assert spec.kind is kind


def test_unknown_sets_are_not_supported() -> None:
    for name in ("tc26-256-E", "tc26-512-D", "test-256", "P-256", ""):
        with pytest.raises(Unsupported, match="parameter set"):
            KeySpec.gost(name)
    with pytest.raises(Unsupported, match="P-256"):
        parameter_set(KeySpec.ec("P-256"))
