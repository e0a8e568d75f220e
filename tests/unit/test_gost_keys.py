"""GOST keys: certificates of RFC 9215, encodings, and bad input."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from tests.unit.gost_examples import EXAMPLES, textbook_product
from token_fw.crypto import (
    CryptoError,
    DataLength,
    Ecdsa,
    Gost3410,
    GostPrivateKey,
    GostPublicKey,
    Hash,
    InvalidKey,
    InvalidSignature,
    KeyKind,
    KeySpec,
    RsaPkcs1,
    Unsupported,
    der,
    digest,
    generate,
    gost_private,
    gost_public,
    load_private,
    load_public,
)
from token_fw.crypto.der import Reader
from token_fw.crypto.gost import signatures
from token_fw.crypto.gost.encodings import point_of
from token_fw.crypto.gost.parameter_sets import PARAMETER_SETS, ParameterSet

# RFC 9215 A: the certificates of its examples, on the test sets and on tc26-256-A.
CERTIFICATE_TEST_256 = """
MIIBLTCB26ADAgECAgEKMAoGCCqFAwcBAQMCMBIxEDAOBgNVBAMTB0V4YW1wbGUwIBcNMDEwMTAx
MDAwMDAwWhgPMjA1MDEyMzEwMDAwMDBaMBIxEDAOBgNVBAMTB0V4YW1wbGUwZjAfBggqhQMHAQEB
ATATBgcqhQMCAiMABggqhQMHAQECAgNDAARAC9hv5djbiWaPeJtOHbqFhcVQi0XsW1nYkG3bcOJJ
K3/ad/+HGhD73ydm0pPF0WSvuzx7lzpByIXRHXDWibTxJqMTMBEwDwYDVR0TAQH/BAUwAwEB/zAK
BggqhQMHAQEDAgNBAE1T8BL+CBd2UH1Nm7gfAO/bTu/Uq4O6xLrPc1Fzz6gcQaoo0vGrFIKAzZ7V
b+2kGXQFNVSkJ2e4OtBD/TncBJM=
"""
CERTIFICATE_256_A = """
MIIBJTCB06ADAgECAgEKMAoGCCqFAwcBAQMCMBIxEDAOBgNVBAMTB0V4YW1wbGUwIBcNMDEwMTAx
MDAwMDAwWhgPMjA1MDEyMzEwMDAwMDBaMBIxEDAOBgNVBAMTB0V4YW1wbGUwXjAXBggqhQMHAQEB
ATALBgkqhQMHAQIBAQEDQwAEQHQnldS+6ITd8oUP7APqP68YROAdnaYLZFCTpV4m38OZePWWz01N
DGzx0YlD2UST0WuewKFtUS0uEnzEaRpjGOKjEzARMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoUDBwEB
AwIDQQAUC02pEksJyw1c6Sjuh0JzoxASlJLsDik2njt5EkhXjB0OHaW+NHxvG1JWx66sIArWSsd6
b1s6DglzGOeubudp
"""
CERTIFICATE_TEST_512 = """
MIIBqjCCARagAwIBAgIBCzAKBggqhQMHAQEDAzASMRAwDgYDVQQDEwdFeGFtcGxlMCAXDTAxMDEw
MTAwMDAwMFoYDzIwNTAxMjMxMDAwMDAwWjASMRAwDgYDVQQDEwdFeGFtcGxlMIGgMBcGCCqFAwcB
AQECMAsGCSqFAwcBAgECAAOBhAAEgYDh7zDVLGEz3dmdHVxBRVz3302LTJJbvGmvFDPRVlhRWt0h
RoUMMlxbgcEzvmVaqMTUQOe5io1ZSHsMdpa8xV0R7L53NqnsNX/y/TmTH04RTLjNo1knCsfw5/9D
2UGUGeph/Sq3f12fY1I9O1CgT2PioM9Rt8E63CFWDwvUDMnHN6MTMBEwDwYDVR0TAQH/BAUwAwEB
/zAKBggqhQMHAQEDAwOBgQBBVwPYkvGl8/aMQ1MYmn7iB7gLVjHvnUlSmk1rVCws+hWqLqzxH0cP
3n2VSFaQPDX9j5Ve8wDZXHdTSnJKDu5wL4b6YKCBCRoj3XleHjxonuUSo8gu4NzCZDx47qj8rNNU
klWEhrIPHJ7Bl8kGmYUCYMk7y82cXDMX4ZNE4XOuNg==
"""
D_256_A = 0x3A929ADE789BB9BE10ED359DD39A72C10B87C83F80BE18B85C041F4325B62EC1
CERTIFICATES: list[tuple[ParameterSet, int, str]] = [
    (EXAMPLES[0].parameters, EXAMPLES[0].d, CERTIFICATE_TEST_256),
    (PARAMETER_SETS["tc26-256-A"], D_256_A, CERTIFICATE_256_A),
    (EXAMPLES[1].parameters, EXAMPLES[1].d, CERTIFICATE_TEST_512),
]
HASHES = {32: Hash.STREEBOG256, 64: Hash.STREEBOG512}
by_both = pytest.mark.usefixtures("gost_implementation")
every_set = pytest.mark.parametrize("name", PARAMETER_SETS)


class Certificate:
    """What is signed, the SubjectPublicKeyInfo and the signature, out of a certificate."""

    def __init__(self, text: str) -> None:
        fields = Reader(base64.b64decode(text)).reader(der.SEQUENCE)
        to_be_signed = fields.take(der.SEQUENCE)
        self.signed = der.encode(der.SEQUENCE, to_be_signed)
        fields.take(der.SEQUENCE)
        self.signature = fields.take(der.BIT_STRING)[1:]
        inner = Reader(to_be_signed)
        # version, serialNumber, signature, issuer, validity, subject (RFC 5280 4.1).
        for tag in (0xA0, der.INTEGER, *[der.SEQUENCE] * 4):
            inner.take(tag)
        self.spki = der.encode(der.SEQUENCE, inner.take(der.SEQUENCE))


@pytest.mark.parametrize(
    ("parameters", "d", "text"), CERTIFICATES, ids=["test-256", "tc26-256-A", "test-512"]
)
def test_published_certificates_verify(parameters: ParameterSet, d: int, text: str) -> None:
    certificate = Certificate(text)
    point = point_of(parameters, certificate.spki[-2 * parameters.size :])
    assert signatures.public_point(parameters, d) == point
    hashed = digest.compute(HASHES[parameters.size], certificate.signed)
    assert signatures.verify(parameters, point, hashed, certificate.signature)
    other = digest.compute(HASHES[parameters.size], certificate.signed + b"\x00")
    assert not signatures.verify(parameters, point, other, certificate.signature)


@by_both
def test_the_key_of_a_published_certificate_is_read_and_written_alike() -> None:
    certificate = Certificate(CERTIFICATE_256_A)
    key = load_public(certificate.spki)
    assert key.spec == KeySpec.gost("tc26-256-A")
    assert key.to_spki() == certificate.spki
    hashed = digest.compute(Hash.STREEBOG256, certificate.signed)
    key.verify(Gost3410(), hashed, certificate.signature)
    private = gost_private("tc26-256-A", D_256_A.to_bytes(32, "big"))
    assert private.public().to_spki() == certificate.spki


def test_keys_on_the_test_sets_are_not_supported() -> None:
    for text in (CERTIFICATE_TEST_256, CERTIFICATE_TEST_512):
        with pytest.raises(Unsupported):
            load_public(Certificate(text).spki)


def key_of(name: str) -> GostPrivateKey:
    key = generate(KeySpec.gost(name))
    assert isinstance(key, GostPrivateKey)
    return key


def some_digest(key: GostPrivateKey) -> bytes:
    return digest.compute(HASHES[len(key.d)], b"Pay 10 roubles to Ivan Petrov")


@every_set
def test_encodings_lead_back_to_the_key(name: str) -> None:
    key = key_of(name)
    again, public = load_private(key.to_pkcs8()), load_public(key.public().to_spki())
    assert again.spec == public.spec == key.spec == KeySpec.gost(name)
    assert again.to_pkcs8() == key.to_pkcs8()
    assert isinstance(again, GostPrivateKey)
    assert isinstance(public, GostPublicKey)
    assert gost_private(name, again.d).d == key.d
    assert gost_public(name, public.point).to_spki() == public.to_spki()
    public.verify(Gost3410(), some_digest(key), again.sign(Gost3410(), some_digest(key)))


@every_set
def test_the_digest_is_named_with_the_sets_of_cryptopro_alone(name: str) -> None:
    # RFC 9215 4.2, and both forms are read.
    key = key_of(name)
    identifier = bytes.fromhex(f"06082a8503070101020{2 if len(key.d) == 32 else 3}")
    spki = key.public().to_spki()
    assert (identifier in spki) is name.startswith("CryptoPro-")
    sets = [KeySpec.gost(name).oid_der, identifier][: 1 if identifier in spki else 2]
    other = with_sets(spki, *sets)
    assert other != spki
    assert load_public(other).to_spki() == spki
    assert load_private(with_sets(key.to_pkcs8(), *sets)).to_pkcs8() == key.to_pkcs8()


def with_sets(encoded: bytes, *sets: bytes) -> bytes:
    """The same key with other parameters in its AlgorithmIdentifier."""
    fields = Reader(encoded).reader(der.SEQUENCE)
    version = [der.encode(der.INTEGER, fields.take(der.INTEGER))] if fields.next_is(2) else []
    algorithm = der.encode(der.OID, fields.reader(der.SEQUENCE).take(der.OID))
    tag = der.OCTET_STRING if version else der.BIT_STRING
    return der.encode(
        der.SEQUENCE,
        *version,
        der.encode(der.SEQUENCE, algorithm, der.encode(der.SEQUENCE, *sets)),
        der.encode(tag, fields.take(tag)),
    )


def with_number(key: GostPrivateKey, number: bytes) -> bytes:
    """The key's PrivateKeyInfo with something else for the number."""
    fields = Reader(key.to_pkcs8()).reader(der.SEQUENCE)
    version, algorithm = fields.take(der.INTEGER), fields.take(der.SEQUENCE)
    return der.encode(
        der.SEQUENCE,
        der.encode(der.INTEGER, version),
        der.encode(der.SEQUENCE, algorithm),
        der.encode(der.OCTET_STRING, number),
    )


@pytest.mark.parametrize("name", ["CryptoPro-A", "tc26-512-A"])
def test_other_forms_of_a_private_number_are_read(name: str) -> None:
    key = key_of(name)
    number = int.from_bytes(key.d, "big")
    forms = {
        "OCTET STRING": der.encode(der.OCTET_STRING, key.d[::-1]),
        "INTEGER": der.encode(der.INTEGER, number.to_bytes(len(key.d) + 1, "big")),
    }
    for form in forms.values():
        assert load_private(with_number(key, form)).to_pkcs8() == key.to_pkcs8()


@pytest.mark.parametrize("masks", [1, 2])
def test_a_masked_private_key_is_refused_clearly(masks: int) -> None:
    key = key_of("CryptoPro-A")
    with pytest.raises(Unsupported, match="mask"):
        load_private(with_number(key, key.d * (masks + 1)))


def bad_private_keys() -> dict[str, bytes]:
    key = key_of("tc26-256-A")
    good, size = key.to_pkcs8(), 32
    q = PARAMETER_SETS["tc26-256-A"].q
    return {
        "zero": with_number(key, bytes(size)),
        "the order": with_number(key, q.to_bytes(size, "little")),
        "beyond the order": with_number(key, b"\xff" * size),
        "an INTEGER below zero": with_number(key, der.encode(der.INTEGER, b"\xff" * 32)),
        "short": with_number(key, key.d[1:]),
        "long": with_number(key, key.d + b"\x01"),
        "empty": with_number(key, b""),
        "a short OCTET STRING": with_number(key, der.encode(der.OCTET_STRING, key.d[1:])),
        "a long OCTET STRING": with_number(key, der.encode(der.OCTET_STRING, key.d + b"\x01")),
        "something after it": good + b"\x00",
        "cut": good[:-1],
        "no parameters": with_sets(good),
        "of another length": with_sets(good, KeySpec.gost("tc26-512-A").oid_der),
        "three sets": with_sets(good, KeySpec.gost("tc26-256-A").oid_der * 3),
        "another version": good.replace(b"\x02\x01\x00", b"\x02\x01\x02", 1),
    }


@pytest.mark.parametrize("what", bad_private_keys())
def test_a_bad_private_key_is_refused(what: str) -> None:
    with pytest.raises(CryptoError) as error:
        load_private(bad_private_keys()[what])
    assert isinstance(error.value, InvalidKey | Unsupported)


def bad_points(name: str) -> dict[str, bytes]:
    good = key_of(name).public().point
    size, p = len(good) // 2, PARAMETER_SETS[name].p
    x, y = good[:size], good[size:]
    return {
        "empty": b"",
        "zeros": bytes(2 * size),
        "short": good[:-1],
        "long": good + b"\x00",
        "off the curve": good[:-1] + bytes((good[-1] ^ 1,)),
        "big-endian": x[::-1] + y[::-1],
        "a coordinate beyond the field": p.to_bytes(size, "little") + y,
        "with a header": b"\x04" + bytes((2 * size,)) + good,
    }


@every_set
def test_a_bad_point_is_refused(name: str) -> None:
    spki = key_of(name).public().to_spki()
    for what, point in bad_points(name).items():
        with pytest.raises(InvalidKey):
            pytest.fail(f"{what}: {gost_public(name, point)}")
        fields = Reader(spki).reader(der.SEQUENCE)
        algorithm = der.encode(der.SEQUENCE, fields.take(der.SEQUENCE))
        bits = der.encode(der.BIT_STRING, b"\x00", der.encode(der.OCTET_STRING, point))
        with pytest.raises(InvalidKey):
            pytest.fail(f"{what}: {load_public(der.encode(der.SEQUENCE, algorithm, bits))}")


@pytest.mark.parametrize("name", ["tc26-256-A", "tc26-512-C"])
def test_a_point_outside_the_group_is_refused(name: str) -> None:
    parameters = PARAMETER_SETS[name]
    p, q, size = parameters.p, parameters.q, parameters.size
    outside = []
    for x in range(2, 40):
        square = (x**3 + parameters.a * x + parameters.b) % p
        y = pow(square, (p + 1) // 4, p)
        if y * y % p == square and textbook_product(parameters, q, (x, y)) is not None:
            outside.append(x.to_bytes(size, "little") + y.to_bytes(size, "little"))
    assert outside
    for point in outside:
        with pytest.raises(InvalidKey, match="group"):
            gost_public(name, point)


def test_the_private_number_must_be_below_the_order() -> None:
    q = PARAMETER_SETS["tc26-256-A"].q
    for bad in (0, q, q + 1, 2**600):
        with pytest.raises(InvalidKey):
            gost_private("tc26-256-A", bad.to_bytes(80, "big"))
    with pytest.raises(InvalidKey):
        gost_private("tc26-256-A", b"")
    assert gost_private("tc26-256-A", (q - 1).to_bytes(32, "big")).d == (q - 1).to_bytes(32, "big")


@by_both
@every_set
def test_a_changed_signature_is_refused(name: str) -> None:
    key = key_of(name)
    good, size = key.sign(Gost3410(), some_digest(key)), len(key.d)
    zero, order = bytes(size), PARAMETER_SETS[name].q.to_bytes(size, "big")
    for signature in (
        b"",
        good[:-1],
        good + b"\x00",
        good[:-1] + bytes((good[-1] ^ 1,)),
        zero + good[size:],
        good[:size] + zero,
        order + good[size:],
        good[:size] + order,
        good[size:] + good[:size],
    ):
        with pytest.raises(InvalidSignature):
            key.public().verify(Gost3410(), some_digest(key), signature)


@by_both
@every_set
def test_a_deterministic_signature_comes_again_and_verifies(name: str) -> None:
    key = key_of(name)
    value = some_digest(key)
    first, again = (key.sign(Gost3410(deterministic=True), value) for _ in range(2))
    assert first == again != key.sign(Gost3410(), value)
    key.public().verify(Gost3410(), value, first)
    assert key.sign(Gost3410(deterministic=True), value[::-1]) != first


def test_a_digest_has_the_size_of_the_key() -> None:
    for name, size in (("CryptoPro-A", 32), ("tc26-512-A", 64)):
        key = key_of(name)
        for wrong in (0, 20, size - 1, size + 1, 96 - size):
            with pytest.raises(DataLength, match=f"{size} bytes"):
                key.sign(Gost3410(), bytes(wrong))
            with pytest.raises(DataLength, match=f"{size} bytes"):
                key.public().verify(Gost3410(), bytes(wrong), bytes(2 * size))


def test_other_sets_and_operations_are_not_supported() -> None:
    key = key_of("CryptoPro-A")
    value = some_digest(key)
    signature = key.sign(Gost3410(), value)
    unsupported: list[Callable[[], object]] = [
        lambda: gost_private("tc26-256-E", b"\x01"),
        lambda: gost_public("P-256", bytes(64)),
        lambda: generate(KeySpec(KeyKind.GOST_256, curve="tc26-256-E")),
        lambda: key.sign(Ecdsa(), value),
        lambda: key.public().verify(Ecdsa(), value, signature),
        lambda: key.public().verify(Gost3410(deterministic=True), value, signature),
        lambda: generate(KeySpec.ec("P-256")).sign(Gost3410(), value),
        lambda: key.decrypt(RsaPkcs1(), b""),
        lambda: key.agree(key.public().point),
        lambda: load_public(with_sets(key.public().to_spki(), KeySpec.ec("P-256").oid_der)),
    ]
    for attempt in unsupported:
        with pytest.raises(Unsupported):
            attempt()


def test_nothing_printed_contains_the_private_number() -> None:
    key = gost_private("CryptoPro-A", EXAMPLES[0].d.to_bytes(32, "big"))
    assert repr(key) == "<GostPrivateKey CryptoPro-A>"
    with pytest.raises(CryptoError) as error:
        gost_private("CryptoPro-A", EXAMPLES[0].d.to_bytes(32, "big") + b"\x00")
    assert str(EXAMPLES[0].d)[:8] not in str(error.value)
