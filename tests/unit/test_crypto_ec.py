"""ECDSA and ECDH on P-256, P-384 and P-521: published vectors, digest lengths, bad input."""

from collections.abc import Callable

import pytest

from token_fw.crypto import (
    CURVES,
    CryptoError,
    Curve,
    DataLength,
    Ecdsa,
    EcPrivateKey,
    EcPublicKey,
    Hash,
    InvalidKey,
    InvalidSignature,
    KeyKind,
    KeySpec,
    RsaPkcs1,
    Unsupported,
    curve_of,
    digest,
    ec_private,
    ec_public,
    generate,
    load_private,
    load_public,
)

# RFC 6979 A.2.5 to A.2.7: private number, public X and Y; then r and s for the message "sample".
RFC6979_KEYS = {
    "P-192": (
        "6FAB034934E4C0FC9AE67F5B5659A9D7D1FEFD187EE09FD4",
        "AC2C77F529F91689FEA0EA5EFEC7F210D8EEA0B9E047ED56",
        "3BC723E57670BD4887EBC732C523063D0A7C957BC97C1C43",
    ),
    "P-256": (
        "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721",
        "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6",
        "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299",
    ),
    "P-384": (
        (
            "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D8"
            "96D5724E4C70A825F872C9EA60D2EDF5"
        ),
        (
            "EC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64"
            "DEF8F0EA9055866064A254515480BC13"
        ),
        (
            "8015D9B72D7D57244EA8EF9AC0C621896708A59367F9DFB9F54CA84B3F1C9DB1"
            "288B231C3AE0D4FE7344FD2533264720"
        ),
    ),
    "P-521": (
        (
            "0FAD06DAA62BA3B25D2FB40133DA757205DE67F5BB0018FEE8C86E1B68C7E75C"
            "AA896EB32F1F47C70855836A6D16FCC1466F6D8FBEC67DB89EC0C08B0E996B83538"
        ),
        (
            "1894550D0785932E00EAA23B694F213F8C3121F86DC97A04E5A7167DB4E5BCD3"
            "71123D46E45DB6B5D5370A7F20FB633155D38FFA16D2BD761DCAC474B9A2F5023A4"
        ),
        (
            "0493101C962CD4D2FDDF782285E64584139C2F91B47F87FF82354D6630F746A2"
            "8A0DB25741B5B34A828008B22ACC23F924FAAFBD4D33F81EA66956DFEAA2BFDFCF5"
        ),
    ),
}
RFC6979_SIGNATURES = [
    (
        "P-256",
        Hash.SHA1,
        "61340C88C3AAEBEB4F6D667F672CA9759A6CCAA9FA8811313039EE4A35471D32",
        "6D7F147DAC089441BB2E2FE8F7A3FA264B9C475098FDCF6E00D7C996E1B8B7EB",
    ),
    (
        "P-256",
        Hash.SHA256,
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
    ),
    (
        "P-256",
        Hash.SHA384,
        "0EAFEA039B20E9B42309FB1D89E213057CBF973DC0CFC8F129EDDDC800EF7719",
        "4861F0491E6998B9455193E34E7B0D284DDD7149A74B95B9261F13ABDE940954",
    ),
    (
        "P-256",
        Hash.SHA512,
        "8496A60B5E9B47C825488827E0495B0E3FA109EC4568FD3F8D1097678EB97F00",
        "2362AB1ADBE2B8ADF9CB9EDAB740EA6049C028114F2460F96554F61FAE3302FE",
    ),
    (
        "P-384",
        Hash.SHA384,
        (
            "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C"
            "81A648152E44ACF96E36DD1E80FABE46"
        ),
        (
            "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94F"
            "A329C145786E679E7B82C71A38628AC8"
        ),
    ),
    (
        "P-521",
        Hash.SHA512,
        (
            "0C328FAFCBD79DD77850370C46325D987CB525569FB63C5D3BC53950E6D4C5F1"
            "74E25A1EE9017B5D450606ADD152B534931D7D4E8455CC91F9B15BF05EC36E377FA"
        ),
        (
            "0617CCE7CF5064806C467F678D3B4080D6F1CC50AF26CA209417308281B68AF2"
            "82623EAA63E5B5C0723D8B8C37FF0777B1A20F8CCB1DCCC43997F1EE0E44DA4A67A"
        ),
    ),
]
DIGEST = digest.compute(Hash.SHA256, b"sample")


def number(curve: str, text: str) -> bytes:
    return int(text, 16).to_bytes(CURVES[curve].size, "big")


def rfc6979_key(curve: str) -> tuple[EcPrivateKey, bytes]:
    d, x, y = RFC6979_KEYS[curve]
    return ec_private(curve, number(curve, d)), b"\x04" + number(curve, x) + number(curve, y)


@pytest.mark.parametrize("curve", CURVES)
def test_the_public_point_follows_from_the_private_number(curve: str) -> None:
    key, point = rfc6979_key(curve)
    assert key.public().point == point
    assert ec_public(curve, point).to_spki() == key.public().to_spki()


@pytest.mark.parametrize(("curve", "hash_", "r", "s"), RFC6979_SIGNATURES)
def test_published_signatures_verify(curve: str, hash_: Hash, r: str, s: str) -> None:
    key, _ = rfc6979_key(curve)
    signature = number(curve, r) + number(curve, s)
    key.public().verify(Ecdsa(), digest.compute(hash_, b"sample"), signature)
    with pytest.raises(InvalidSignature):
        key.public().verify(Ecdsa(), digest.compute(hash_, b"Sample"), signature)


def test_published_agreement() -> None:
    # NIST CAVS 14.1, ECC CDH primitive, P-256, count 0.
    key = ec_private(
        "P-256",
        bytes.fromhex("7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534"),
    )
    peer = bytes.fromhex(
        "04"
        "700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287"
        "db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac"
    )
    assert key.agree(peer) == bytes.fromhex(
        "46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b"
    )


@pytest.mark.parametrize("curve", CURVES)
def test_agreement_keeps_the_leading_zeros_of_the_secret(curve: str) -> None:
    # With the generator as the peer's point, the secret is the X of one's own public point.
    size = CURVES[curve].size
    d = next(
        d for d in range(1, 2000) if ec_private(curve, d.to_bytes(2, "big")).public().point[1] == 0
    )
    secret = ec_private(curve, d.to_bytes(2, "big")).agree(CURVES[curve].generator_point)
    assert len(secret) == size
    assert secret[0] == 0


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("extra", [0, 1, 2, 64, 1000])
def test_only_the_leftmost_bits_of_a_long_digest_count(curve: str, extra: int) -> None:
    key = generate(KeySpec.ec(curve))
    assert isinstance(key, EcPrivateKey)
    value = (b"\xb5" * CURVES[curve].size) + bytes(range(256)) * 4
    long = value[: CURVES[curve].size + extra]
    signature = key.sign(Ecdsa(), long)
    key.public().verify(Ecdsa(), long, signature)
    assert textbook_verifies(CURVES[curve], key.public().point, long, signature)
    key.public().verify(Ecdsa(), value, signature)


def test_a_digest_of_p521_loses_its_last_seven_bits() -> None:
    key = generate(KeySpec.ec("P-521"))
    value = b"\xb5" * 65 + b"\x80"
    signature = key.sign(Ecdsa(), value)
    key.public().verify(Ecdsa(), value[:-1] + b"\xff", signature)
    with pytest.raises(InvalidSignature):
        key.public().verify(Ecdsa(), value[:-1] + b"\x00", signature)


@pytest.mark.parametrize("curve", CURVES)
def test_signature_numbers_are_as_long_as_the_order(curve: str) -> None:
    key = generate(KeySpec.ec(curve))
    # Enough tries for an r or s that begins with a zero byte.
    assert {len(key.sign(Ecdsa(), DIGEST)) for _ in range(300)} == {2 * CURVES[curve].size}


@pytest.mark.parametrize("curve", CURVES)
def test_a_changed_signature_is_refused(curve: str) -> None:
    key = generate(KeySpec.ec(curve))
    size = CURVES[curve].size
    order = CURVES[curve].order.to_bytes(size, "big")
    good = key.sign(Ecdsa(), DIGEST)
    one, zero = (1).to_bytes(size, "big"), bytes(size)
    bad = [
        b"",
        good[:-1],
        good + b"\x00",
        good[:-1] + bytes((good[-1] ^ 1,)),
        zero + zero,
        zero + good[size:],
        good[:size] + zero,
        order + good[size:],
        good[:size] + order,
        one + one,
        b"\xff" * (2 * size),
    ]
    for signature in bad:
        with pytest.raises(InvalidSignature):
            key.public().verify(Ecdsa(), DIGEST, signature)


def test_an_empty_digest_is_refused() -> None:
    key = generate(KeySpec.ec("P-256"))
    with pytest.raises(DataLength):
        key.sign(Ecdsa(), b"")
    with pytest.raises(DataLength):
        key.public().verify(Ecdsa(), b"", bytes(64))


def bad_points(curve: str) -> dict[str, bytes]:
    parameters = CURVES[curve]
    size, point = parameters.size, parameters.generator_point
    x, y = point[1 : 1 + size], point[1 + size :]
    beyond = (parameters.p + 1).to_bytes(size, "big")
    return {
        "empty": b"",
        "infinity": b"\x00",
        "not on the curve": b"\x04" + x + y[:-1] + bytes((y[-1] ^ 1,)),
        "origin": b"\x04" + bytes(2 * size),
        "coordinate beyond the field": b"\x04" + beyond + y,
        "short": point[:-1],
        "long": point + b"\x00",
        "hybrid form": bytes((6 + (y[-1] & 1),)) + x + y,
        "unknown form": b"\x05" + x + y,
        "no form": x + y,
        "half": b"\x04" + x,
        "compressed with a wrong length": b"\x02" + x[:-1],
        "of another curve": CURVES["P-256" if curve != "P-256" else "P-384"].generator_point,
    }


@pytest.mark.parametrize("curve", CURVES)
def test_a_bad_point_is_refused(curve: str) -> None:
    key = generate(KeySpec.ec(curve))
    for name, point in bad_points(curve).items():
        with pytest.raises(InvalidKey):
            pytest.fail(f"{name}: {ec_public(curve, point)}")
        with pytest.raises(InvalidKey):
            pytest.fail(f"{name}: {key.agree(point)!r}")


@pytest.mark.parametrize("curve", CURVES)
def test_a_compressed_point_is_the_same_key(curve: str) -> None:
    size, point = CURVES[curve].size, CURVES[curve].generator_point
    compressed = bytes((2 + (point[-1] & 1),)) + point[1 : 1 + size]
    assert ec_public(curve, compressed).point == point


@pytest.mark.parametrize("curve", CURVES)
def test_the_private_number_must_be_below_the_order(curve: str) -> None:
    parameters = CURVES[curve]
    size, order = parameters.size, parameters.order
    for bad in (0, order, order + 1, 2**600):
        with pytest.raises(InvalidKey):
            ec_private(curve, bad.to_bytes(80, "big"))
    with pytest.raises(InvalidKey):
        ec_private(curve, b"")
    highest = ec_private(curve, (order - 1).to_bytes(size, "big"))
    assert highest.public().point[1 : 1 + size] == parameters.generator_point[1 : 1 + size]
    assert ec_private(curve, b"\x01").public().point == parameters.generator_point


def test_a_public_part_of_another_key_in_the_encoding_is_refused() -> None:
    mine, other = generate(KeySpec.ec("P-256")), generate(KeySpec.ec("P-256"))
    assert isinstance(mine, EcPrivateKey)
    assert isinstance(other, EcPrivateKey)
    with pytest.raises(InvalidKey):
        load_private(mine.to_pkcs8().replace(mine.public().point, other.public().point))


@pytest.mark.parametrize("curve", CURVES)
def test_encodings_lead_back_to_the_key(curve: str) -> None:
    key = generate(KeySpec.ec(curve))
    again = load_private(key.to_pkcs8())
    assert again.spec == key.spec
    public = load_public(key.public().to_spki())
    assert isinstance(public, EcPublicKey)
    public.verify(Ecdsa(), DIGEST, again.sign(Ecdsa(), DIGEST))


def test_domain_parameters_fulfil_their_equation() -> None:
    for curve in CURVES.values():
        x, y = curve.generator
        assert (y * y - x**3 - curve.a * x - curve.b) % curve.p == 0
        assert ec_public(curve.name, curve.generator_point).spec == curve.spec
        assert curve_of(curve.spec) is curve


def test_other_curves_and_operations_are_not_supported() -> None:
    key = generate(KeySpec.ec("P-256"))
    unsupported: list[Callable[[], object]] = [
        lambda: KeySpec.ec("P-224"),
        lambda: ec_private("secp256k1", b"\x01"),
        lambda: curve_of(KeySpec.ED25519),
        lambda: key.sign(RsaPkcs1(), b""),
        lambda: key.decrypt(RsaPkcs1(), b""),
        lambda: key.public().verify(RsaPkcs1(), b"", b""),
        lambda: key.public().encrypt(RsaPkcs1(), b""),
        lambda: generate(KeySpec(KeyKind.EC, curve="P-224")),
    ]
    for attempt in unsupported:
        with pytest.raises(Unsupported):
            attempt()


def test_nothing_printed_contains_the_private_number() -> None:
    key, _ = rfc6979_key("P-256")
    d = RFC6979_KEYS["P-256"][0].lower()
    assert repr(key) == "<EcPrivateKey P-256>"
    with pytest.raises(CryptoError) as error:
        ec_private("P-256", bytes.fromhex(d) + b"\x00")
    assert d[:8] not in str(error.value)
    assert str(int(d, 16))[:8] not in str(error.value)


Point = tuple[int, int] | None


def textbook_verifies(curve: Curve, point: bytes, value: bytes, signature: bytes) -> bool:
    """ECDSA verification by the letter of FIPS 186-5 6.4.2."""
    size, n = curve.size, curve.order
    excess = max(0, 8 * len(value) - n.bit_length())
    e = int.from_bytes(value, "big") >> excess
    r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    q = (int.from_bytes(point[1 : 1 + size], "big"), int.from_bytes(point[1 + size :], "big"))
    inverse = pow(s, -1, n)
    total = add(
        curve,
        multiply(curve, e * inverse % n, curve.generator),
        multiply(curve, r * inverse % n, q),
    )
    return total is not None and total[0] % n == r


def multiply(curve: Curve, factor: int, point: Point) -> Point:
    result: Point = None
    for bit in f"{factor:b}":
        result = add(curve, result, result)
        if bit == "1":
            result = add(curve, result, point)
    return result


def add(curve: Curve, left: Point, right: Point) -> Point:
    if left is None or right is None:
        return left or right
    (x1, y1), (x2, y2), p = left, right, curve.p
    if x1 == x2 and (y1 + y2) % p == 0:
        return None
    if left == right:
        slope = (3 * x1 * x1 + curve.a) * pow(2 * y1, -1, p)
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, p)
    x3 = (slope * slope - x1 - x2) % p
    return x3, (slope * (x1 - x3) - y1) % p
