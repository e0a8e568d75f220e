"""Private keys: made, imported, used, refused. Every result is checked with `cryptography`."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import (
    ec,
    ed448,
    ed25519,
    padding,
    rsa,
    utils,
    x448,
    x25519,
)
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from apdu import tlv
from apdu.codec import Command
from apdu.model import SW
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.pki_commands import DECIPHER, GENERATE, SIGN
from tests import cards
from token_fw import crypto

MESSAGE = b"a message to sign"
HASHES = (
    hashes.SHA1(),
    hashes.SHA224(),
    hashes.SHA256(),
    hashes.SHA384(),
    hashes.SHA512(),
    hashes.SHA3_224(),
    hashes.SHA3_256(),
    hashes.SHA3_384(),
    hashes.SHA3_512(),
)
CURVES = {
    "2A8648CE3D030107": ec.SECP256R1(),
    "2B81040022": ec.SECP384R1(),
    "2B81040023": ec.SECP521R1(),
}
NOT_SATISFIED = SW.SECURITY_STATUS_NOT_SATISFIED
RSA_KEY = rsa.generate_private_key(65537, 2048)


def oid(value: str) -> bytes:
    return tlv.encode(0x06, bytes.fromhex(value))


def digest_of(hash_: hashes.HashAlgorithm) -> bytes:
    digest = hashes.Hash(hash_)
    digest.update(MESSAGE)
    return digest.finalize()


def import_rsa(client: cards.Client, reference: int = 0, extra: bytes = b"") -> None:
    client.ok(pki.mse(GENERATE, pki.RSA_2048, reference))
    client.ok(pki.put_key(pki.rsa_template(RSA_KEY) + extra))


def sign(client: cards.Client, algorithm: int, data: bytes, extra: bytes = b"") -> bytes:
    client.ok(pki.mse(SIGN, algorithm, 0, extra))
    return client.ok(pki.sign(data))


@pytest.mark.parametrize(("kind", "bits"), [(0xF3, 2048), (0xF4, 3072), (0xF5, 4096)])
def test_rsa_keys_are_made_and_sign(kind: int, bits: int) -> None:
    client = cards.logged_in()
    client.ok(pki.mse(GENERATE, kind, 0))
    objects = pki.public_objects(client.ok(Command(0, 0x46, 0x42, 0, b"", pki.ALL)))
    assert (len(objects[0x81]) * 8, objects[0x82]) == (bits, b"\x01\x00\x01")
    public = rsa.RSAPublicNumbers(65537, int.from_bytes(objects[0x81], "big")).public_key()
    info = bytes.fromhex("3031300D060960864801650304020105000420") + digest_of(hashes.SHA256())
    cards.check_pkcs1(public, MESSAGE, sign(client, pki.PKCS1, info))


@pytest.mark.parametrize("curve", CURVES)
def test_ec_keys_are_made_sign_and_agree(curve: str) -> None:
    client = cards.logged_in()
    client.ok(pki.mse(GENERATE, pki.EC, 0))
    answer = client.ok(pki.generate(oid(curve)))
    public = ec.EllipticCurvePublicKey.from_encoded_point(CURVES[curve], pki.point_of(answer))
    for hash_ in HASHES[:5]:
        signature = sign(client, pki.ECDSA, digest_of(hash_))
        public.verify(signature, MESSAGE, ec.ECDSA(hash_))
    peer = ec.generate_private_key(CURVES[curve])
    point = peer.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    client.ok(pki.mse(DECIPHER, pki.ECDH, 0))
    assert client.ok(pki.derive(point)) == peer.exchange(ec.ECDH(), public)


def test_an_ecdsa_signature_is_der_whatever_its_numbers_are() -> None:
    client = cards.logged_in()
    point = cards.make_key(client, 0)
    client.ok(pki.mse(SIGN, pki.ECDSA, 0))
    lengths = set()
    for number in range(600):
        digest = number.to_bytes(32, "big")
        signature = client.ok(pki.sign(digest))
        pki.check_ecdsa(point, digest, signature)
        lengths.add(len(signature))
    assert lengths >= {70, 71, 72}


@pytest.mark.parametrize(("kind", "size"), [(pki.ED25519, 32), (pki.ED448, 57)])
def test_edwards_keys_are_made_and_sign_messages_of_any_length(kind: int, size: int) -> None:
    client = cards.logged_in()
    raw = cards.make_key(client, 0, kind)
    assert len(raw) == size
    for message in (b"", MESSAGE, bytes(1 << 16)):
        signature = sign(client, pki.EDDSA, message)
        assert len(signature) == 2 * size
        pki.check_eddsa(raw, message, signature)
    assert client.status(pki.sign(bytes((1 << 16) + 1))) == SW.WRONG_LENGTH


def test_x25519_keys_are_made_and_agree() -> None:
    client = cards.logged_in()
    public = x25519.X25519PublicKey.from_public_bytes(cards.make_key(client, 0, pki.X25519))
    peer = x25519.X25519PrivateKey.generate()
    client.ok(pki.mse(DECIPHER, pki.ECDH, 0))
    mine = peer.public_key().public_bytes_raw()
    assert client.ok(pki.derive(mine)) == peer.exchange(public)
    assert client.status(pki.derive(bytes(32))) == SW.INCORRECT_DATA


def test_x448_keys_are_made_and_agree() -> None:
    client = cards.logged_in()
    public = x448.X448PublicKey.from_public_bytes(cards.make_key(client, 0, pki.X448))
    peer = x448.X448PrivateKey.generate()
    client.ok(pki.mse(DECIPHER, pki.ECDH, 0))
    mine = peer.public_key().public_bytes_raw()
    assert client.ok(pki.derive(mine)) == peer.exchange(public)
    for useless in (bytes(56), mine[1:], mine + b"\0"):
        assert client.status(pki.derive(useless)) == SW.INCORRECT_DATA


@pytest.mark.parametrize("number", range(1, 10))
def test_pss_with_every_hash(number: int) -> None:
    client = cards.logged_in()
    import_rsa(client)
    hash_, mgf = HASHES[number - 1], HASHES[9 - number]
    extra = bytes((0xC1, 1, number, 0xC2, 1, 10 - number, 0xC3, 2, 0, 17))
    signature = sign(client, pki.PSS, digest_of(hash_), extra)
    scheme = padding.PSS(padding.MGF1(mgf), 17)
    RSA_KEY.public_key().verify(signature, MESSAGE, scheme, hash_)


@pytest.mark.parametrize("hash_", HASHES[:5], ids=lambda hash_: hash_.name)
def test_pss_without_parameters_follows_the_length_of_the_digest(
    hash_: hashes.HashAlgorithm,
) -> None:
    client = cards.logged_in()
    import_rsa(client)
    signature = sign(client, pki.PSS, digest_of(hash_))
    scheme = padding.PSS(padding.MGF1(hash_), hash_.digest_size)
    RSA_KEY.public_key().verify(signature, MESSAGE, scheme, hash_)
    assert client.status(pki.sign(bytes(33))) == SW.WRONG_LENGTH


def test_pkcs1_signs_what_fits_as_it_is() -> None:
    client = cards.logged_in()
    import_rsa(client)
    for data in (b"x", bytes(range(245))):
        signature = sign(client, pki.PKCS1, data)
        recovered = RSA_KEY.public_key().recover_data_from_signature(
            signature, padding.PKCS1v15(), None
        )
        assert recovered == data
    assert client.status(pki.sign(bytes(246))) == SW.WRONG_LENGTH


def test_rsa_decrypts_with_pkcs1_and_oaep() -> None:
    client = cards.logged_in()
    import_rsa(client)
    public = RSA_KEY.public_key()
    client.ok(pki.mse(DECIPHER, pki.PKCS1, 0))
    assert client.ok(pki.decipher(public.encrypt(MESSAGE, padding.PKCS1v15()))) == MESSAGE
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    client.ok(pki.mse(DECIPHER, pki.OAEP, 0))
    assert client.ok(pki.decipher(public.encrypt(MESSAGE, oaep))) == MESSAGE
    oaep = padding.OAEP(padding.MGF1(hashes.SHA512()), hashes.SHA256(), b"label")
    extra = bytes((0xC1, 1, 3, 0xC2, 1, 5)) + tlv.encode(0xC4, b"label")
    client.ok(pki.mse(DECIPHER, pki.OAEP, 0, extra))
    cryptogram = public.encrypt(MESSAGE, oaep)
    assert client.ok(pki.decipher(cryptogram)) == MESSAGE
    assert client.status(pki.decipher(cryptogram[:-1])) == SW.WRONG_LENGTH
    assert client.status(pki.decipher(bytes(256))) == SW.INCORRECT_DATA
    assert client.status(pki.derive(b"\x04" + bytes(64))) == SW.CONDITIONS_NOT_SATISFIED


@pytest.mark.parametrize("number", range(1, 10))
def test_oaep_with_every_hash(number: int) -> None:
    client = cards.logged_in()
    import_rsa(client)
    hashes_of = list(crypto.Hash)
    scheme = crypto.RsaOaep(hashes_of[number - 1], hashes_of[9 - number], b"label")
    public = crypto.load_public(
        RSA_KEY.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    extra = bytes((0xC1, 1, number, 0xC2, 1, 10 - number)) + tlv.encode(0xC4, b"label")
    client.ok(pki.mse(DECIPHER, pki.OAEP, 0, extra))
    cryptogram = public.encrypt(scheme, MESSAGE)
    assert client.ok(pki.decipher(cryptogram)) == MESSAGE
    client.ok(pki.mse(DECIPHER, pki.OAEP, 0, extra[:6]))
    assert client.status(pki.decipher(cryptogram)) == SW.INCORRECT_DATA


def test_raw_rsa_is_the_private_operation_on_a_number() -> None:
    client = cards.logged_in()
    import_rsa(client)
    numbers = RSA_KEY.private_numbers()
    n, d = numbers.public_numbers.n, numbers.d
    for data in (b"", b"\x02", (n - 1).to_bytes(256, "big")):
        power = pow(int.from_bytes(data, "big"), d, n).to_bytes(256, "big")
        assert sign(client, pki.RSA_RAW, data) == power
        client.ok(pki.mse(DECIPHER, pki.RSA_RAW, 0))
        assert client.ok(pki.decipher(data.rjust(256, b"\0"))) == power
    for data in (n.to_bytes(256, "big"), bytes(257)):
        client.ok(pki.mse(SIGN, pki.RSA_RAW, 0))
        assert client.status(pki.sign(data)) == SW.WRONG_LENGTH
        client.ok(pki.mse(DECIPHER, pki.RSA_RAW, 0))
        assert client.status(pki.decipher(data)) == SW.WRONG_LENGTH


def pkcs8(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_records_of_keys_as_the_first_version_kept_them_are_read() -> None:
    bench = cards.operational()
    curve_key, edwards = ec.generate_private_key(ec.SECP256R1()), x25519.X25519PrivateKey.generate()
    kept: dict[bytes, tuple[str, PrivateKeyTypes]] = {
        b"\x00\x00": ("E10D 84020000 8001F3 9C0103 9D0100", RSA_KEY),
        b"\x03\xff": ("E117 840203FF 8001EC 06082A8648CE3D030107 9C0105 9D0101", curve_key),
        b"\x00\x07": ("E10D 84020007 8001EE 9C0104 9D0100", edwards),
    }
    for ident, (description, key) in kept.items():
        record = bytes.fromhex(description) + tlv.encode(0xC0, pkcs8(key))
        bench.medium.records["key", ident] = record
    client = cards.logged_in(bench.restarted())
    descriptions = b"".join(bytes.fromhex(kept[ident][0]) for ident in sorted(kept))
    assert client.ok(pki.get_data(3)) == descriptions
    signature = sign(client, pki.PKCS1, b"x")
    pki.check_rsa(RSA_KEY.public_key(), b"x", signature, pss=False)
    client.log_in()
    client.ok(pki.mse(SIGN, pki.ECDSA, 1023))
    curve_key.public_key().verify(
        client.ok(pki.sign(bytes(32))), bytes(32), ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    )
    client.ok(pki.mse(GENERATE, pki.X25519, 7))
    told = pki.point_of(client.ok(pki.public_key()))
    assert told == edwards.public_key().public_bytes_raw()


def test_imported_keys_are_the_ones_that_were_sent() -> None:
    client = cards.logged_in()
    curve_key = ec.generate_private_key(ec.SECP256R1())
    d = curve_key.private_numbers().private_value.to_bytes(32, "big")
    client.ok(pki.mse(GENERATE, pki.EC, 0))
    client.ok(pki.put_key(tlv.encode(0xE0, pki.p256() + tlv.encode(0x88, d))))
    curve_key.public_key().verify(
        sign(client, pki.ECDSA, digest_of(hashes.SHA256())),
        digest_of(hashes.SHA256()),
        ec.ECDSA(utils.Prehashed(hashes.SHA256())),
    )
    for kind, signing in (
        (pki.ED25519, ed25519.Ed25519PrivateKey.generate()),
        (pki.ED448, ed448.Ed448PrivateKey.generate()),
    ):
        client.ok(pki.mse(GENERATE, kind, 0))
        client.ok(pki.put_key(tlv.encode(0xE0, tlv.encode(0x88, signing.private_bytes_raw()))))
        signing.public_key().verify(sign(client, pki.EDDSA, MESSAGE), MESSAGE)
    for kind, agreeing in (
        (pki.X25519, x25519.X25519PrivateKey.generate()),
        (pki.X448, x448.X448PrivateKey.generate()),
    ):
        client.ok(pki.mse(GENERATE, kind, 1))
        client.ok(pki.put_key(tlv.encode(0xE0, tlv.encode(0x88, agreeing.private_bytes_raw()))))
        point = pki.point_of(client.ok(pki.public_key()))
        assert point == agreeing.public_key().public_bytes_raw()


def test_keys_outlive_a_restart() -> None:
    bench = cards.operational()
    client = cards.logged_in(bench)
    import_rsa(client)
    point = cards.make_key(client, 1000)
    again = cards.logged_in(bench.restarted())
    assert sign(again, pki.PKCS1, b"x")
    again.ok(pki.mse(SIGN, pki.ECDSA, 1000))
    pki.check_ecdsa(point, bytes(32), again.ok(pki.sign(bytes(32))))


def test_the_list_of_keys_says_what_each_is() -> None:
    client = cards.logged_in()
    import_rsa(client, 7, pki.attributes(0x02))
    cards.make_key(client, 300, pki.EC, pki.attributes(0x04, pki.ALWAYS_AUTHENTICATE))
    cards.make_key(client, 301, pki.X25519)
    listed = cards.key_list(client)
    assert listed[7] == {0x84: b"\0\x07", 0x80: b"\xf3", 0x9C: b"\x02", 0x9D: b"\0"}
    assert listed[300] == {
        0x84: b"\x01\x2c",
        0x80: b"\xec",
        0x06: pki.P256_OID,
        0x9C: b"\x04",
        0x9D: b"\x01",
    }
    assert listed[301][0x9C] == b"\x04"


def test_a_new_key_replaces_the_old_one_and_a_deleted_one_is_gone() -> None:
    client = cards.logged_in()
    first = cards.make_key(client, 0)
    second = cards.make_key(client, 0)
    assert first != second
    pki.check_ecdsa(second, bytes(32), sign(client, pki.ECDSA, bytes(32)))
    client.ok(pki.delete_key(0))
    assert client.status(pki.sign(bytes(32))) == SW.REFERENCED_DATA_NOT_FOUND
    assert client.status(pki.delete_key(0)) == SW.REFERENCED_DATA_NOT_FOUND
    assert client.status(pki.public_key()) == SW.REFERENCED_DATA_NOT_FOUND
    assert client.status(pki.delete_key(0xFFFF)) == SW.REFERENCED_DATA_NOT_FOUND


def test_a_key_is_used_only_as_it_may_be() -> None:
    client = cards.logged_in()
    import_rsa(client, 0, pki.attributes(0x02))
    client.ok(pki.mse(SIGN, pki.PKCS1, 0))
    assert client.status(pki.sign(b"x")) == SW.CONDITIONS_NOT_SATISFIED
    import_rsa(client, 0, pki.attributes(0x01))
    client.ok(pki.mse(DECIPHER, pki.PKCS1, 0))
    assert client.status(pki.decipher(bytes(256))) == SW.CONDITIONS_NOT_SATISFIED
    point = cards.make_key(client, 1, pki.EC, pki.attributes(0x01))
    client.ok(pki.mse(DECIPHER, pki.ECDH, 1))
    assert client.status(pki.derive(point)) == SW.CONDITIONS_NOT_SATISFIED


def test_an_algorithm_needs_a_key_of_its_kind_also_after_the_choice() -> None:
    client = cards.logged_in()
    cards.make_key(client, 0)
    assert client.status(pki.mse(SIGN, pki.EDDSA, 0)) == SW.CONDITIONS_NOT_SATISFIED
    assert client.status(pki.mse(SIGN, pki.ECDSA, 1)) == SW.REFERENCED_DATA_NOT_FOUND
    client.ok(pki.mse(SIGN, pki.ECDSA, 0))
    cards.make_key(client, 0, pki.ED25519)
    assert client.status(pki.sign(bytes(32))) == SW.CONDITIONS_NOT_SATISFIED


def always_authenticate() -> cards.Client:
    client = cards.logged_in()
    cards.make_key(client, 0, pki.EC, pki.attributes(0x01, pki.ALWAYS_AUTHENTICATE))
    cards.make_key(client, 1)
    client.ok(pki.mse(SIGN, pki.ECDSA, 0))
    return client


def test_an_always_authenticate_key_wants_the_pin_before_every_use() -> None:
    client = always_authenticate()
    assert client.status(pki.sign(bytes(32))) == NOT_SATISFIED
    for _ in range(2):
        client.log_in()
        client.ok(pki.mse(SIGN, pki.ECDSA, 0))
        client.ok(pki.sign(bytes(32)))
        assert client.status(pki.sign(bytes(32))) == NOT_SATISFIED


@pytest.mark.parametrize(
    "between",
    [
        pki.get_data(2),
        pki.verify(pki.USER),
        pki.verify(pki.SO, cards.SO_PIN),
        pki.select(b""),
        pki.select(b"\x50\x15"),
        Command(0x00, 0xFE, 0, 0),
        Command(0x00, 0xC0, 0, 0, b"", 1),
        Command(0x04, 0x22, 0, 0),
    ],
    ids=str,
)
def test_any_other_command_takes_the_consent_away(between: Command) -> None:
    client = always_authenticate()
    client.log_in()
    client.status(between)
    assert client.status(pki.sign(bytes(32))) == NOT_SATISFIED
    client.ok(pki.mse(SIGN, pki.ECDSA, 1))
    client.ok(pki.sign(bytes(32)))


def test_consent_is_used_up_by_another_key_and_by_a_failed_use() -> None:
    client = always_authenticate()
    client.log_in()
    client.ok(pki.mse(SIGN, pki.ECDSA, 1))
    client.ok(pki.sign(bytes(32)))
    client.ok(pki.mse(SIGN, pki.ECDSA, 0))
    assert client.status(pki.sign(bytes(32))) == NOT_SATISFIED
    client.log_in()
    assert client.status(pki.sign(b"")) == SW.WRONG_LENGTH
    assert client.status(pki.sign(bytes(32))) == NOT_SATISFIED


def test_a_chained_signature_is_one_use() -> None:
    client = always_authenticate()
    short = cards.Client(client.transport, extended=False)
    short.log_in()
    short.ok(pki.mse(SIGN, pki.ECDSA, 0))
    short.ok(pki.sign(bytes(300)))
    assert short.status(pki.sign(bytes(300))) == NOT_SATISFIED


@pytest.mark.parametrize(
    ("template", "data", "sw"),
    [
        (SIGN, b"", SW.WRONG_LENGTH),
        (SIGN, b"\x80\x01\x21", SW.INCORRECT_DATA),
        (SIGN, b"\x84\x01\x00", SW.INCORRECT_DATA),
        (SIGN, b"\x80\x01\x21\x84\x00", SW.INCORRECT_DATA),
        (SIGN, b"\x80\x01\x21\x84\x02\x04\x00", SW.INCORRECT_DATA),
        (SIGN, b"\x80\x01\x21\x84\x01\x00\x83\x01\x00", SW.INCORRECT_DATA),
        (SIGN, b"\x80\x01\x21\x84\x01\x00\xc1\x01\x03", SW.INCORRECT_DATA),
        (SIGN, b"\x80\x01\x13\x84\x01\x00", SW.FUNCTION_NOT_SUPPORTED),
        (SIGN, b"\x80\x01\x12\x84\x01\x00\xc2\x01\x03", SW.INCORRECT_DATA),
        (SIGN, b"\x80\x01\x12\x84\x01\x00\xc1\x01\x0a", SW.INCORRECT_DATA),
        (SIGN, b"\x80\x01\x12\x84\x01\x00\xc1\x01\x03\xc3\x01\x20", SW.INCORRECT_DATA),
        (DECIPHER, b"\x80\x01\x12\x84\x01\x00", SW.FUNCTION_NOT_SUPPORTED),
        (GENERATE, b"\x80\x01\xf6\x84\x01\x00", SW.FUNCTION_NOT_SUPPORTED),
        (GENERATE, b"\x80\x01\xf3\x84\x01\x00\xc1\x01\x01", SW.INCORRECT_DATA),
    ],
)
def test_a_malformed_choice_is_refused(template: int, data: bytes, sw: int) -> None:
    client = cards.logged_in()
    assert client.status(Command(0x00, 0x22, 0x41, template, data)) == sw


def test_nothing_is_done_without_a_choice() -> None:
    client = cards.logged_in()
    for command in (
        pki.generate(pki.p256()),
        pki.put_key(pki.rsa_template(RSA_KEY)),
        pki.public_key(),
        pki.sign(b"x"),
        pki.decipher(b"x"),
    ):
        assert client.status(command) == SW.CONDITIONS_NOT_SATISFIED


@pytest.mark.parametrize(
    ("kind", "template", "sw"),
    [
        (pki.EC, b"", SW.WRONG_LENGTH),
        (pki.EC, tlv.encode(0xE0, tlv.encode(0x88, b"\x07")), SW.INCORRECT_DATA),
        (pki.EC, tlv.encode(0xE0, pki.p256()), SW.INCORRECT_DATA),
        (pki.EC, tlv.encode(0xE0, pki.p256() + b"\x88\x01\x00"), SW.INCORRECT_DATA),
        (pki.EC, tlv.encode(0xE0, pki.p256() + b"\x88\x20" + b"\xff" * 32), SW.INCORRECT_DATA),
        (pki.EC, tlv.encode(0xE0, b"\x06\x01\x2a\x88\x01\x07"), SW.FUNCTION_NOT_SUPPORTED),
        (pki.EC, pki.rsa_template(RSA_KEY), SW.INCORRECT_DATA),
        (0xF4, pki.rsa_template(RSA_KEY), SW.INCORRECT_DATA),
        (pki.RSA_2048, pki.rsa_template(RSA_KEY)[:-1], SW.INCORRECT_DATA),
        (pki.RSA_2048, pki.rsa_template(RSA_KEY) + b"\xe2\x03\x80\x01\x08", SW.INCORRECT_DATA),
        (pki.RSA_2048, pki.rsa_template(RSA_KEY) + b"\xe2\x03\x81\x01\x02", SW.INCORRECT_DATA),
        (pki.RSA_2048, tlv.encode(0xE0, pki.p256() + b"\x88\x01\x07"), SW.INCORRECT_DATA),
        (pki.ED25519, tlv.encode(0xE0, b"\x88\x1f" + bytes(31)), SW.INCORRECT_DATA),
        (pki.ED25519, tlv.encode(0xE0, pki.p256() + b"\x88\x20" + bytes(32)), 0x6A80),
        (pki.ED25519, tlv.encode(0xE0, b"\x88\x39" + bytes(57)), SW.INCORRECT_DATA),
        (pki.ED448, tlv.encode(0xE0, b"\x88\x38" + bytes(56)), SW.INCORRECT_DATA),
        (pki.X448, tlv.encode(0xE0, b"\x88\x39" + bytes(57)), SW.INCORRECT_DATA),
    ],
)
def test_what_is_no_private_key_of_the_kind_is_not_imported(
    kind: int, template: bytes, sw: int
) -> None:
    bench = cards.operational()
    client = cards.logged_in(bench)
    client.ok(pki.mse(GENERATE, kind, 0))
    before = bench.digest()
    assert client.status(pki.put_key(template)) == sw
    assert bench.digest() == before


def test_rsa_numbers_that_do_not_belong_together_are_refused() -> None:
    client = cards.logged_in()
    client.ok(pki.mse(GENERATE, pki.RSA_2048, 0))
    other = rsa.generate_private_key(65537, 2048)
    (mine,), (theirs,) = (tlv.parse(pki.rsa_template(key)) for key in (RSA_KEY, other))
    mixed = b"".join(
        tlv.encode(one.tag, two.value if one.tag == 0x95 else one.value)
        for one, two in zip(tlv.parse(mine.value), tlv.parse(theirs.value), strict=True)
    )
    assert client.status(pki.put_key(tlv.encode(0x7F48, mixed))) == SW.INCORRECT_DATA


def test_a_key_made_while_the_pin_changes_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = cards.operational()
    client, other = cards.logged_in(bench), bench.client()

    def slowly(spec: crypto.KeySpec) -> crypto.PrivateKey:
        other.ok(pki.change(pki.USER, cards.USER_PIN, b"123456"))
        return crypto.generate(spec)

    monkeypatch.setattr("token_fw.apps.pki.key_commands.generate", slowly)
    client.ok(pki.mse(GENERATE, pki.EC, 0))
    assert client.status(pki.generate(pki.p256())) == NOT_SATISFIED
    assert cards.key_list(client) == {}


def test_the_public_part_is_read_without_a_pin() -> None:
    bench = cards.operational()
    point = cards.make_key(cards.logged_in(bench), 5)
    client = bench.client()
    client.ok(Command(0x00, 0x22, 0x41, GENERATE, b"\x84\x01\x05"))
    assert pki.point_of(client.ok(pki.public_key())) == point


def test_challenges_are_as_long_as_asked_and_differ() -> None:
    client = cards.Bench().client()
    assert [len(client.ok(pki.challenge(length))) for length in (1, 8, 5000)] == [1, 8, 5000]
    assert client.ok(pki.challenge(16)) != client.ok(pki.challenge(16))
