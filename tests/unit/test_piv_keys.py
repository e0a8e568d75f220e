"""Keys in the slots: made, imported, used, moved, deleted, told, attested."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils, x25519
from cryptography.hazmat.primitives.hashes import SHA256

from apdu import tlv
from apdu.model import SW
from host_tools.conformance import piv_commands as piv
from host_tools.conformance.piv_commands import AUTHENTICATION, KEY_MANAGEMENT, P256, RETIRED
from tests import cards, piv_cards

DIGEST = bytes(range(32))
DIGEST_INFO = bytes.fromhex("3031300D060960864801650304020105000420")
EXPONENTIATION = 0x85
SLOTS = [AUTHENTICATION, piv.SIGNATURE, KEY_MANAGEMENT, piv.CARD_AUTHENTICATION, RETIRED, 0x95]
UNCOMPRESSED = (serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def pkcs1_block(size: int) -> bytes:
    """The digest padded for a signature (RFC 8017 9.2)."""
    tail = DIGEST_INFO + DIGEST
    return b"\x00\x01" + b"\xff" * (size - len(tail) - 3) + b"\x00" + tail


@pytest.mark.parametrize("slot", SLOTS)
def test_a_key_in_any_slot_signs(slot: int) -> None:
    client = piv_cards.managed()
    public = client.make_key(slot)
    client.log_in()
    signature = client.use(slot, P256, DIGEST)
    public.verify(signature, DIGEST, ec.ECDSA(utils.Prehashed(SHA256())))


@pytest.mark.parametrize("slot", [0x81, 0x96, 0x9B, 0x99, 0x00])
def test_no_key_is_made_outside_the_slots(slot: int) -> None:
    assert piv_cards.managed().status(piv.generate(slot, P256)) == SW.INCORRECT_P1P2


def test_an_rsa_key_does_nothing_but_the_power() -> None:
    client = piv_cards.managed()
    public = client.make_key(AUTHENTICATION, piv.RSA_2048)
    numbers = public.public_numbers()
    for block in (b"\x00" + bytes(range(255)), pkcs1_block(256), bytes(255) + b"\x02"):
        power = int.from_bytes(client.use(AUTHENTICATION, piv.RSA_2048, block), "big")
        assert pow(power, numbers.e, numbers.n) == int.from_bytes(block, "big")


@pytest.mark.parametrize("change", [b"\x00\x01\x00", b"\x00\x02\xff", b"\x00\x01\xfe"])
def test_a_block_that_is_almost_padded_is_taken_as_it_is(change: bytes) -> None:
    client = piv_cards.managed()
    numbers = client.make_key(AUTHENTICATION, piv.RSA_2048).public_numbers()
    block = change + pkcs1_block(256)[len(change) :]
    power = int.from_bytes(client.use(AUTHENTICATION, piv.RSA_2048, block), "big")
    assert pow(power, numbers.e, numbers.n) == int.from_bytes(block, "big")


@pytest.mark.parametrize("size", [0, 32, 255, 257])
def test_a_block_of_another_length_than_the_modulus_is_refused(size: int) -> None:
    client = piv_cards.managed()
    client.make_key(AUTHENTICATION, piv.RSA_2048)
    use = piv.use(AUTHENTICATION, piv.RSA_2048, bytes(size))
    assert client.status(use) == SW.INCORRECT_DATA


def test_a_block_that_is_no_number_below_the_modulus_is_refused() -> None:
    client = piv_cards.managed()
    client.make_key(AUTHENTICATION, piv.RSA_2048)
    use = piv.use(AUTHENTICATION, piv.RSA_2048, b"\xff" * 256)
    assert client.status(use) == SW.INCORRECT_DATA


@pytest.mark.parametrize(("algorithm", "size"), [(P256, 32), (piv.P384, 48)])
def test_a_digest_has_a_byte_and_is_as_long_as_the_key_at_most(algorithm: int, size: int) -> None:
    client = piv_cards.managed()
    client.make_key(AUTHENTICATION, algorithm)
    statuses = [
        client.status(piv.use(AUTHENTICATION, algorithm, bytes(length)))
        for length in (0, 20, size, size + 1)
    ]
    bad, good = SW.INCORRECT_DATA, SW.NO_ERROR
    assert statuses == [bad, good, good, bad]


@pytest.mark.parametrize("length", [0, 3, 300, 65536])
def test_ed25519_signs_messages_of_up_to_64_kib(length: int) -> None:
    client = piv_cards.managed()
    public = client.make_key(AUTHENTICATION, piv.ED25519)
    message = bytes(length)
    public.verify(client.use(AUTHENTICATION, piv.ED25519, message), message)


def test_a_longer_message_is_refused() -> None:
    client = piv_cards.managed()
    client.make_key(AUTHENTICATION, piv.ED25519)
    use = piv.use(AUTHENTICATION, piv.ED25519, bytes(65537))
    assert client.status(use) == SW.WRONG_LENGTH


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
def test_a_key_on_a_curve_agrees(curve: ec.EllipticCurve) -> None:
    algorithm = P256 if isinstance(curve, ec.SECP256R1) else piv.P384
    client, peer = piv_cards.managed(), ec.generate_private_key(curve)
    public = client.make_key(KEY_MANAGEMENT, algorithm)
    point = peer.public_key().public_bytes(*UNCOMPRESSED)
    secret = client.use(KEY_MANAGEMENT, algorithm, point, EXPONENTIATION)
    assert secret == peer.exchange(ec.ECDH(), public)


def test_x25519_agrees_and_does_not_sign() -> None:
    client, peer = piv_cards.managed(), x25519.X25519PrivateKey.generate()
    public = client.make_key(KEY_MANAGEMENT, piv.X25519)
    point = peer.public_key().public_bytes_raw()
    secret = client.use(KEY_MANAGEMENT, piv.X25519, point, EXPONENTIATION)
    assert secret == peer.exchange(public)
    sign = piv.use(KEY_MANAGEMENT, piv.X25519, DIGEST)
    assert client.status(sign) == SW.INCORRECT_DATA


@pytest.mark.parametrize("algorithm", [piv.RSA_2048, piv.ED25519])
def test_a_key_that_does_not_agree_says_so(algorithm: int) -> None:
    client = piv_cards.managed()
    client.make_key(KEY_MANAGEMENT, algorithm)
    agree = piv.use(KEY_MANAGEMENT, algorithm, bytes(32), EXPONENTIATION)
    assert client.status(agree) == SW.INCORRECT_DATA


@pytest.mark.parametrize("point", [b"\x04" + bytes(64), b"\x04" + bytes(63), bytes(32)])
def test_a_point_that_is_not_on_the_curve_is_refused(point: bytes) -> None:
    client = piv_cards.managed()
    client.make_key(KEY_MANAGEMENT)
    agree = piv.use(KEY_MANAGEMENT, P256, point, EXPONENTIATION)
    assert client.status(agree) == SW.INCORRECT_DATA


@pytest.mark.parametrize("point", [b"\x09", bytes(31), bytes(33), bytes(32)])
def test_a_point_that_x25519_does_not_take_is_refused(point: bytes) -> None:
    client = piv_cards.managed()
    client.make_key(KEY_MANAGEMENT, piv.X25519)
    agree = piv.use(KEY_MANAGEMENT, piv.X25519, point, EXPONENTIATION)
    assert client.status(agree) == SW.INCORRECT_DATA


def test_a_slot_without_a_key_and_another_algorithm_are_told_apart() -> None:
    client = piv_cards.managed()
    use = piv.use(AUTHENTICATION, piv.P384, DIGEST)
    assert client.status(use) == SW.REFERENCED_DATA_NOT_FOUND
    client.make_key(AUTHENTICATION, P256)
    assert client.status(use) == SW.INCORRECT_P1P2


def test_the_attestation_key_attests_and_does_nothing_else() -> None:
    client = piv_cards.managed()
    assert client.status(piv.use(piv.ATTESTATION, P256, DIGEST)) == SW.INCORRECT_P1P2


def private_keys() -> dict[str, tuple[int, Any, dict[int, bytes]]]:
    """An algorithm, a key, and its data objects, by a name."""
    on_rsa = rsa.generate_private_key(65537, 2048)
    on_p256 = ec.generate_private_key(ec.SECP256R1())
    on_p384 = ec.generate_private_key(ec.SECP384R1())
    edwards, montgomery = ed25519.Ed25519PrivateKey.generate(), x25519.X25519PrivateKey.generate()
    return {
        "RSA": (piv.RSA_2048, on_rsa, piv.rsa_fields(on_rsa)),
        "P-256": (P256, on_p256, {0x06: number(on_p256, 32)}),
        "P-384": (piv.P384, on_p384, {0x06: number(on_p384, 48)}),
        "Ed25519": (piv.ED25519, edwards, {0x07: edwards.private_bytes_raw()}),
        "X25519": (piv.X25519, montgomery, {0x08: montgomery.private_bytes_raw()}),
    }


def number(key: ec.EllipticCurvePrivateKey, size: int) -> bytes:
    return key.private_numbers().private_value.to_bytes(size, "big")


PRIVATE_KEYS = private_keys()


@pytest.mark.parametrize("name", PRIVATE_KEYS)
def test_an_imported_key_is_that_key_and_lasts(name: str) -> None:
    algorithm, private, fields = PRIVATE_KEYS[name]
    bench = cards.Bench()
    piv_cards.managed(bench).ok(
        piv.import_key(RETIRED, algorithm, fields, pin=piv.NEVER, touch=0x01)
    )
    told = piv_cards.client(bench.restarted()).metadata(RETIRED)
    assert (told[0x01], told[0x03]) == (bytes((algorithm,)), b"\x02")
    assert told[0x02] == bytes((piv.NEVER, 0x01))
    public = piv.public_key(algorithm, tlv.to_dict(tlv.parse(told[0x04])))
    assert public == private.public_key()


@pytest.mark.parametrize("name", PRIVATE_KEYS)
def test_a_key_of_another_algorithm_than_said_is_refused(name: str) -> None:
    algorithm, _, fields = PRIVATE_KEYS[name]
    bench = cards.Bench()
    client = piv_cards.managed(bench)
    before = bench.digest()
    for other in {piv.RSA_2048, piv.RSA_3072, P256, piv.P384, piv.ED25519} - {algorithm}:
        assert client.status(piv.import_key(RETIRED, other, fields)) == SW.INCORRECT_DATA
    assert client.status(piv.import_key(RETIRED, 0x06, fields)) == SW.INCORRECT_P1P2
    assert bench.digest() == before


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {0x06: b""},
        {0x06: bytes(32)},
        {0x06: b"\xff" * 32},
        {0x06: DIGEST, 0x07: DIGEST},
        {0x06: DIGEST, 0xAA: b"\x04"},
        {0x06: DIGEST, 0xAA: b"\x01\x02"},
        {0x06: DIGEST, 0xAB: b"\x04"},
        {0x06: DIGEST, 0xAC: b"\x01"},
    ],
)
def test_what_is_no_key_is_refused_and_the_old_one_stays(fields: dict[int, bytes]) -> None:
    client = piv_cards.managed()
    public = client.make_key(AUTHENTICATION)
    status = client.status(piv.import_key(AUTHENTICATION, P256, fields))
    assert status in {SW.INCORRECT_DATA, SW.WRONG_LENGTH}
    signature = client.use(AUTHENTICATION, P256, DIGEST)
    public.verify(signature, DIGEST, ec.ECDSA(utils.Prehashed(SHA256())))


@pytest.mark.parametrize("algorithm", [0x06, 0x00, 0x08, 0xFF])
def test_an_unknown_algorithm_is_not_generated(algorithm: int) -> None:
    assert piv_cards.managed().status(piv.generate(AUTHENTICATION, algorithm)) == SW.INCORRECT_DATA


def test_policies_of_zero_are_the_slots_own() -> None:
    client = piv_cards.managed()
    client.ok(piv.generate(piv.SIGNATURE, P256, pin=0x00, touch=0x00))
    assert client.metadata(piv.SIGNATURE)[0x02] == bytes((piv.ALWAYS, 0x01))


def test_a_key_moves_to_an_empty_slot_alone() -> None:
    bench = cards.Bench()
    client = piv_cards.managed(bench)
    client.make_key(AUTHENTICATION, P256, pin=piv.NEVER)
    client.make_key(KEY_MANAGEMENT)
    told = client.metadata(AUTHENTICATION)
    occupied = piv.move(KEY_MANAGEMENT, AUTHENTICATION)
    assert client.status(occupied) == SW.CONDITIONS_NOT_SATISFIED
    client.ok(piv.move(RETIRED, AUTHENTICATION))
    again = piv_cards.client(bench.restarted())
    assert again.metadata(RETIRED) == told
    assert again.status(piv.metadata(AUTHENTICATION)) == SW.REFERENCED_DATA_NOT_FOUND


@pytest.mark.parametrize(
    ("target", "source", "status"),
    [
        (RETIRED, AUTHENTICATION, SW.REFERENCED_DATA_NOT_FOUND),
        (0xFF, AUTHENTICATION, SW.REFERENCED_DATA_NOT_FOUND),
        (RETIRED, piv.ATTESTATION, SW.INCORRECT_P1P2),
        (piv.ATTESTATION, AUTHENTICATION, SW.INCORRECT_P1P2),
        (RETIRED, RETIRED, SW.INCORRECT_P1P2),
        (0x9B, AUTHENTICATION, SW.INCORRECT_P1P2),
        (RETIRED, 0x9B, SW.INCORRECT_P1P2),
    ],
)
def test_a_move_from_or_to_nowhere_is_refused(target: int, source: int, status: int) -> None:
    bench = cards.Bench()
    client = piv_cards.managed(bench)
    before = bench.digest()
    assert client.status(piv.move(target, source)) == status
    assert bench.digest() == before


@pytest.mark.parametrize("reference", [0x96, 0x00, 0x83, 0xFF])
def test_metadata_of_what_is_not_there_is_not_found(reference: int) -> None:
    assert piv_cards.client().status(piv.metadata(reference)) == SW.REFERENCED_DATA_NOT_FOUND


def test_an_attestation_is_verified_by_the_cards_certificate() -> None:
    client = piv_cards.managed()
    public = client.make_key(AUTHENTICATION, piv.ED25519)
    attested = x509.load_der_x509_certificate(client.ok(piv.attest(AUTHENTICATION)))
    attested.verify_directly_issued_by(authority(client))
    assert attested.public_key() == public


def authority(client: piv_cards.Client) -> x509.Certificate:
    whole = tlv.to_dict(tlv.parse(client.ok(piv.get_data(piv.ATTESTATION_CERTIFICATE))))
    return x509.load_der_x509_certificate(tlv.to_dict(tlv.parse(whole[0x53]))[0x70])


@pytest.mark.parametrize("algorithm", [piv.RSA_2048, piv.P384, piv.ED25519])
def test_another_attestation_key_signs_too(algorithm: int) -> None:
    client = piv_cards.managed()
    signer = client.make_key(piv.ATTESTATION, algorithm)
    client.make_key(AUTHENTICATION)
    attested = x509.load_der_x509_certificate(client.ok(piv.attest(AUTHENTICATION)))
    if isinstance(signer, rsa.RSAPublicKey):
        signer.verify(
            attested.signature, attested.tbs_certificate_bytes, padding.PKCS1v15(), SHA256()
        )
    elif isinstance(signer, ec.EllipticCurvePublicKey):
        signer.verify(attested.signature, attested.tbs_certificate_bytes, ec.ECDSA(SHA256()))
    else:
        signer.verify(attested.signature, attested.tbs_certificate_bytes)


def test_what_cannot_be_attested_is_not() -> None:
    client = piv_cards.managed()
    ask = piv.attest(AUTHENTICATION)
    assert client.status(ask) == SW.REFERENCED_DATA_NOT_FOUND
    client.ok(piv.import_key(AUTHENTICATION, P256, {0x06: DIGEST}))
    assert client.status(ask) == SW.CONDITIONS_NOT_SATISFIED
    client.make_key(AUTHENTICATION)
    client.make_key(piv.ATTESTATION, piv.X25519)
    assert client.status(ask) == SW.CONDITIONS_NOT_SATISFIED
    client.make_key(piv.ATTESTATION)
    client.ok(piv.put_data(piv.ATTESTATION_CERTIFICATE, b"no certificate"))
    assert client.status(ask) == SW.CONDITIONS_NOT_SATISFIED
    client.ok(piv.move(0xFF, piv.ATTESTATION))
    assert client.status(ask) == SW.REFERENCED_DATA_NOT_FOUND


def test_a_private_key_is_in_no_answer() -> None:
    client = piv_cards.managed()
    _, private, fields = PRIVATE_KEYS["Ed25519"]
    client.ok(piv.import_key(AUTHENTICATION, piv.ED25519, fields))
    told = client.ok(piv.metadata(AUTHENTICATION))
    assert private.public_key().public_bytes_raw() in told
    assert fields[0x07] not in told
