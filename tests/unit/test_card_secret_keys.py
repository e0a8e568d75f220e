"""Secret keys: made, imported, told, used, refused. Results are checked with other libraries."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import cmac, keywrap
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.padding import PKCS7

from apdu import tlv
from apdu.codec import Command
from apdu.model import SW
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.pki_commands import CHECKSUM, DECIPHER, GENERATE, SIGN
from tests import cards

MAX_DATA = 1 << 16
AES_VALUE, DES3_VALUE, SECRET = bytes(range(32)), bytes(range(1, 25)), b"a generic secret"
IV, DES_IV, NONCE = bytes(range(16, 32)), bytes(range(8)), bytes(range(12))
BLOCKS, MESSAGE = bytes(range(48)), b"a message of thirty-one bytes  "
HASHES = {
    1: "sha1",
    2: "sha224",
    3: "sha256",
    4: "sha384",
    5: "sha512",
    6: "sha3_224",
    7: "sha3_256",
    8: "sha3_384",
    9: "sha3_512",
}
AES_KEY, DES3_KEY, GENERIC_KEY = 1, 2, 3
Mode = modes.ECB | modes.CBC | modes.CTR
EXPORT = pki.attributes(0x7E, pki.EXPORT)


def with_keys(bench: cards.Bench | None = None, extra: bytes = b"") -> cards.Client:
    client = cards.logged_in(bench)
    cards.put_secret(client, AES_KEY, pki.AES, AES_VALUE, extra)
    cards.put_secret(client, DES3_KEY, pki.DES3, DES3_VALUE, extra)
    cards.put_secret(client, GENERIC_KEY, pki.GENERIC, SECRET, extra)
    return client


def number(tag: int, value: int) -> bytes:
    return bytes((tag, 1, value))


def initial(value: bytes) -> bytes:
    return tlv.encode(0xC6, value)


def encrypted(algorithm: BlockCipherAlgorithm, mode: Mode, data: bytes) -> bytes:
    encryptor = Cipher(algorithm, mode).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def padded(data: bytes, block: int) -> bytes:
    padder = PKCS7(8 * block).padder()
    return padder.update(data) + padder.finalize()


_AES, _DES3 = AES(AES_VALUE), TripleDES(DES3_VALUE)
_GCM = AESGCM(AES_VALUE)
# Key, algorithm, its parameters, plaintext, and what another library makes of it.
CIPHERS: dict[str, tuple[int, int, bytes, bytes, bytes]] = {
    "AES-ECB": (AES_KEY, pki.ECB, b"", BLOCKS, encrypted(_AES, modes.ECB(), BLOCKS)),
    "AES-CBC": (AES_KEY, pki.CBC, initial(IV), BLOCKS, encrypted(_AES, modes.CBC(IV), BLOCKS)),
    "AES-CBC of nothing": (AES_KEY, pki.CBC, initial(IV), b"", b""),
    "AES-CBC padded": (
        AES_KEY,
        pki.CBC_PADDED,
        initial(IV),
        MESSAGE,
        encrypted(_AES, modes.CBC(IV), padded(MESSAGE, 16)),
    ),
    "AES-CBC padded, of nothing": (
        AES_KEY,
        pki.CBC_PADDED,
        initial(IV),
        b"",
        encrypted(_AES, modes.CBC(IV), padded(b"", 16)),
    ),
    "AES-CTR": (
        AES_KEY,
        pki.CTR,
        initial(IV) + number(0xC7, 128),
        MESSAGE,
        encrypted(_AES, modes.CTR(IV), MESSAGE),
    ),
    "AES-GCM": (
        AES_KEY,
        pki.GCM,
        initial(NONCE) + tlv.encode(0xC8, b"header"),
        MESSAGE,
        _GCM.encrypt(NONCE, MESSAGE, b"header"),
    ),
    "AES-GCM with a tag of 12 bytes, of nothing": (
        AES_KEY,
        pki.GCM,
        initial(NONCE) + number(0xC9, 12),
        b"",
        _GCM.encrypt(NONCE, b"", None)[:12],
    ),
    "AES key wrap": (
        AES_KEY,
        pki.WRAP,
        b"",
        bytes(24),
        keywrap.aes_key_wrap(AES_VALUE, bytes(24)),
    ),
    "AES key wrap with padding": (
        AES_KEY,
        pki.WRAP_PADDED,
        b"",
        b"seven..",
        keywrap.aes_key_wrap_with_padding(AES_VALUE, b"seven.."),
    ),
    "3DES-ECB": (DES3_KEY, pki.ECB, b"", BLOCKS, encrypted(_DES3, modes.ECB(), BLOCKS)),
    "3DES-CBC": (
        DES3_KEY,
        pki.CBC,
        initial(DES_IV),
        BLOCKS,
        encrypted(_DES3, modes.CBC(DES_IV), BLOCKS),
    ),
    "3DES-CBC padded": (
        DES3_KEY,
        pki.CBC_PADDED,
        initial(DES_IV),
        MESSAGE,
        encrypted(_DES3, modes.CBC(DES_IV), padded(MESSAGE, 8)),
    ),
}


@pytest.mark.parametrize("name", CIPHERS)
def test_a_key_enciphers_and_deciphers(name: str) -> None:
    key, algorithm, parameters, plaintext, cryptogram = CIPHERS[name]
    client = with_keys()
    client.ok(pki.mse(DECIPHER, algorithm, key, parameters))
    assert client.ok(pki.encipher(plaintext)) == cryptogram
    assert client.ok(pki.decipher(cryptogram)) == plaintext


@pytest.mark.parametrize(
    ("algorithm", "parameters"),
    [
        (pki.CBC_PADDED, initial(IV)),
        (pki.GCM, initial(NONCE)),
        (pki.WRAP, b""),
        (pki.WRAP_PADDED, b""),
    ],
)
def test_a_changed_cryptogram_is_refused(algorithm: int, parameters: bytes) -> None:
    client = with_keys()
    client.ok(pki.mse(DECIPHER, algorithm, AES_KEY, parameters))
    cryptogram = bytearray(client.ok(pki.encipher(bytes(24))))
    cryptogram[-1] ^= 0x80
    assert client.status(pki.decipher(bytes(cryptogram))) == SW.INCORRECT_DATA


def test_other_additional_data_is_refused() -> None:
    client = with_keys()
    client.ok(pki.mse(DECIPHER, pki.GCM, AES_KEY, initial(NONCE) + tlv.encode(0xC8, b"one")))
    cryptogram = client.ok(pki.encipher(MESSAGE))
    client.ok(pki.mse(DECIPHER, pki.GCM, AES_KEY, initial(NONCE) + tlv.encode(0xC8, b"two")))
    assert client.status(pki.decipher(cryptogram)) == SW.INCORRECT_DATA


@pytest.mark.parametrize("hash_", HASHES)
def test_hmac_with_every_hash(hash_: int) -> None:
    client = with_keys()
    whole = hmac.digest(SECRET, MESSAGE, HASHES[hash_])
    client.ok(pki.mse(CHECKSUM, pki.HMAC, GENERIC_KEY, number(0xC1, hash_)))
    assert client.ok(pki.checksum(MESSAGE)) == whole
    assert client.ok(pki.checksum(b"")) == hmac.digest(SECRET, b"", HASHES[hash_])
    shorter = number(0xC1, hash_) + number(0xC9, 10)
    client.ok(pki.mse(CHECKSUM, pki.HMAC, GENERIC_KEY, shorter))
    assert client.ok(pki.checksum(MESSAGE)) == whole[:10]


@pytest.mark.parametrize(("key", "algorithm", "block"), [(AES_KEY, _AES, 16), (DES3_KEY, _DES3, 8)])
def test_cmac(key: int, algorithm: BlockCipherAlgorithm, block: int) -> None:
    client = with_keys()
    for message in (b"", MESSAGE, bytes(MAX_DATA)):
        reference = cmac.CMAC(algorithm)
        reference.update(message)
        whole = reference.finalize()
        for length in (block, 4):
            client.ok(pki.mse(CHECKSUM, pki.CMAC, key, number(0xC9, length)))
            assert client.ok(pki.checksum(message)) == whole[:length]
    client.ok(pki.mse(CHECKSUM, pki.CMAC, key, number(0xC9, block + 1)))
    assert client.status(pki.checksum(MESSAGE)) == SW.WRONG_LENGTH


def test_a_command_takes_64_kib_and_gives_back_what_it_made_of_them() -> None:
    bench = cards.operational()
    client = with_keys(bench)
    short = cards.Client(bench.connect(), extended=False)
    short.log_in()
    data = hashlib.shake_128(b"data").digest(MAX_DATA)
    for sender in (client, short):
        for algorithm, parameters in ((pki.CBC_PADDED, initial(IV)), (pki.GCM, initial(NONCE))):
            sender.ok(pki.mse(DECIPHER, algorithm, AES_KEY, parameters))
            cryptogram = sender.ok(pki.encipher(data))
            assert len(cryptogram) == MAX_DATA + 16
            assert sender.ok(pki.decipher(cryptogram)) == data
    for command in (pki.encipher(data + b"x"), pki.decipher(data + bytes(17))):
        assert client.status(command) == SW.WRONG_LENGTH
    client.ok(pki.mse(CHECKSUM, pki.HMAC, GENERIC_KEY, number(0xC1, 3)))
    assert client.ok(pki.checksum(data)) == hmac.digest(SECRET, data, "sha256")
    assert client.status(pki.checksum(data + b"x")) == SW.WRONG_LENGTH


@pytest.mark.parametrize(
    ("kind", "lengths"),
    [
        (pki.AES, (16, 24, 32)),
        (pki.DES3, (16, 24)),
        (pki.GENERIC, (1, 20, 4096)),
    ],
)
def test_keys_of_every_length_are_made_listed_and_told(kind: int, lengths: tuple[int, ...]) -> None:
    client = cards.logged_in()
    seen = set()
    for length in lengths:
        client.ok(pki.mse(GENERATE, kind, length % 1024))
        client.ok(pki.generate_secret(length, EXPORT))
        value = client.ok(pki.get_secret(length % 1024))
        assert len(value) == length
        assert cards.key_list(client)[length % 1024] == {
            0x84: (length % 1024).to_bytes(2, "big"),
            0x80: bytes((kind,)),
            0x81: length.to_bytes(2, "big"),
            0x9C: b"\x7e",
            0x9D: b"\x02",
        }
        seen.add(value)
    assert len(seen) == len(lengths)


def test_a_generated_key_is_another_each_time_and_works() -> None:
    client = cards.logged_in()
    values = []
    for _ in range(2):
        client.ok(pki.mse(GENERATE, pki.AES, 0))
        client.ok(pki.generate_secret(32, EXPORT))
        values.append(client.ok(pki.get_secret(0)))
    assert values[0] != values[1]
    client.ok(pki.mse(DECIPHER, pki.ECB, 0))
    assert client.ok(pki.encipher(BLOCKS)) == encrypted(AES(values[1]), modes.ECB(), BLOCKS)


@pytest.mark.parametrize(
    ("kind", "length", "told"),
    [
        (pki.AES, 16, True),
        (pki.AES, 32, True),
        (pki.DES3, 16, True),
        (pki.DES3, 24, True),
        (pki.GENERIC, 16, True),
        (pki.GENERIC, 4096, True),
        (pki.GENERIC, 15, False),
        (pki.GENERIC, 1, False),
    ],
)
def test_the_check_value_is_told_of_what_nobody_can_go_through(
    kind: int, length: int, told: bool
) -> None:
    client = cards.logged_in()
    client.ok(pki.mse(GENERATE, kind, 0))
    # For no use at all but to be read: nothing else would tell the check value.
    answer = client.ok(pki.generate_secret(length, pki.attributes(0, pki.EXPORT)))
    value = client.ok(pki.get_secret(0))
    expected = {
        pki.AES: lambda: encrypted(AES(value), modes.ECB(), bytes(16)),
        pki.DES3: lambda: encrypted(TripleDES((value * 2)[:24]), modes.ECB(), bytes(8)),
        pki.GENERIC: lambda: hashlib.sha1(value).digest(),
    }[kind]()
    assert answer == (expected[:3] if told else b"")


@pytest.mark.parametrize(("kind", "usage"), [(pki.AES, 0x7A), (pki.DES3, 0x7A), (0xFA, 0x44)])
def test_the_usual_usage_of_a_kind(kind: int, usage: int) -> None:
    client = cards.logged_in()
    cards.put_secret(client, 0, kind, bytes(range(16)))
    listed = cards.key_list(client)[0]
    assert (listed[0x9C], listed[0x9D]) == (bytes((usage,)), b"\0")


@pytest.mark.parametrize(
    ("kind", "length", "sw"),
    [
        (pki.AES, 15, SW.FUNCTION_NOT_SUPPORTED),
        (pki.AES, 64, SW.FUNCTION_NOT_SUPPORTED),
        (pki.DES3, 8, SW.FUNCTION_NOT_SUPPORTED),
        (pki.GENERIC, 0, SW.FUNCTION_NOT_SUPPORTED),
        (pki.GENERIC, 4097, SW.FUNCTION_NOT_SUPPORTED),
        (pki.EC, 32, SW.CONDITIONS_NOT_SATISFIED),
        (pki.RSA_2048, 32, SW.CONDITIONS_NOT_SATISFIED),
        (pki.ML_KEM[768], 64, SW.CONDITIONS_NOT_SATISFIED),
    ],
)
def test_a_length_that_the_kind_does_not_have_is_not_made(kind: int, length: int, sw: int) -> None:
    bench = cards.operational()
    client = cards.logged_in(bench)
    client.ok(pki.mse(GENERATE, kind, 0))
    before = bench.digest()
    assert client.status(pki.generate_secret(length)) == sw
    assert bench.digest() == before


@pytest.mark.parametrize(
    "data",
    [
        "8001 20",
        "8003 000020",
        "8102 0020",
        "8002 0020 8801 00",
        "8002 0020 E203 800101",
        "8002 0020 E203 800180",
        "8002 0020 E203 810104",
        "E203 800108",
    ],
)
def test_a_malformed_generation_is_refused(data: str) -> None:
    client = cards.logged_in()
    client.ok(pki.mse(GENERATE, pki.AES, 0))
    command = Command(0x80, 0x46, 0x00, 0x00, bytes.fromhex(data))
    assert client.status(command) == SW.INCORRECT_DATA
    assert cards.key_list(client) == {}


@pytest.mark.parametrize(
    ("kind", "template"),
    [
        (pki.AES, tlv.encode(0x88, bytes(15))),
        (pki.AES, tlv.encode(0x88, b"")),
        (pki.AES, pki.p256() + tlv.encode(0x88, bytes(32))),
        (pki.AES, tlv.encode(0x88, bytes(32)) + b"\x81\x00"),
        (pki.DES3, tlv.encode(0x88, bytes(8))),
        (pki.GENERIC, tlv.encode(0x88, bytes(4097))),
        (pki.GENERIC, b""),
    ],
)
def test_what_is_no_secret_key_of_the_kind_is_not_imported(kind: int, template: bytes) -> None:
    client = cards.logged_in()
    client.ok(pki.mse(GENERATE, kind, 0))
    assert client.status(pki.put_key(tlv.encode(0xE0, template))) == SW.INCORRECT_DATA
    assert cards.key_list(client) == {}


def test_a_private_key_has_no_usage_and_no_policy_of_a_secret_key() -> None:
    client = cards.logged_in()
    client.ok(pki.mse(GENERATE, pki.EC, 0))
    for attributes in (
        pki.attributes(0x08),
        pki.attributes(0x10),
        pki.attributes(0x40),
        pki.attributes(0x01, pki.EXPORT),
    ):
        assert client.status(pki.generate(pki.p256() + attributes)) == SW.INCORRECT_DATA
        template = tlv.encode(0xE0, pki.p256() + tlv.encode(0x88, bytes(31) + b"\x07"))
        assert client.status(pki.put_key(template + attributes)) == SW.INCORRECT_DATA
    assert cards.key_list(client) == {}


def test_only_a_key_that_may_be_told_is_told_and_only_to_the_user() -> None:
    bench = cards.operational()
    client = with_keys(bench, EXPORT)
    for key, value in ((AES_KEY, AES_VALUE), (DES3_KEY, DES3_VALUE), (GENERIC_KEY, SECRET)):
        assert client.ok(pki.get_secret(key)) == value
        assert bench.client().status(pki.get_secret(key)) == SW.SECURITY_STATUS_NOT_SATISFIED
    cards.put_secret(client, AES_KEY, pki.AES, AES_VALUE)
    cards.make_key(client, 4)
    for key in (AES_KEY, 4):
        assert client.status(pki.get_secret(key)) == SW.CONDITIONS_NOT_SATISFIED
    for key in (5, 0xFFFF):
        assert client.status(pki.get_secret(key)) == SW.REFERENCED_DATA_NOT_FOUND


# Algorithm, parameters, what is done, and the usages each of which allows it.
USES = {
    "encipher": (pki.ECB, b"", pki.encipher(BLOCKS), {0x04, 0x08, 0x10}),
    "decipher": (pki.ECB, b"", pki.decipher(BLOCKS), {0x02, 0x20}),
    "checksum": (pki.CMAC, number(0xC9, 16), pki.checksum(BLOCKS), {0x04, 0x40}),
}


@pytest.mark.parametrize("name", USES)
def test_a_key_is_used_only_as_it_may_be(name: str) -> None:
    algorithm, parameters, command, allowed = USES[name]
    client = cards.logged_in()
    template = CHECKSUM if name == "checksum" else DECIPHER
    for usage in (0x02, 0x04, 0x08, 0x10, 0x20, 0x40):
        cards.put_secret(client, 0, pki.AES, AES_VALUE, pki.attributes(usage))
        client.ok(pki.mse(template, algorithm, 0, parameters))
        expected = SW.NO_ERROR if usage in allowed else SW.CONDITIONS_NOT_SATISFIED
        assert client.status(command) == expected


def test_an_algorithm_needs_a_key_of_its_kind_also_after_the_choice() -> None:
    client = with_keys()
    cards.make_key(client, 4)
    for template, algorithm, key, extra in (
        (DECIPHER, pki.ECB, GENERIC_KEY, b""),
        (DECIPHER, pki.GCM, DES3_KEY, initial(NONCE)),
        (DECIPHER, pki.WRAP, DES3_KEY, b""),
        (DECIPHER, pki.ECB, 4, b""),
        (DECIPHER, pki.ECDH, AES_KEY, b""),
        (CHECKSUM, pki.HMAC, AES_KEY, number(0xC1, 3)),
        (CHECKSUM, pki.CMAC, GENERIC_KEY, number(0xC9, 8)),
        (SIGN, pki.ECDSA, AES_KEY, b""),
    ):
        choice = pki.mse(template, algorithm, key, extra)
        assert client.status(choice) == SW.CONDITIONS_NOT_SATISFIED
    client.ok(pki.mse(DECIPHER, pki.CTR, AES_KEY, initial(IV) + number(0xC7, 32)))
    cards.put_secret(client, AES_KEY, pki.GENERIC, SECRET)
    assert client.status(pki.encipher(MESSAGE)) == SW.CONDITIONS_NOT_SATISFIED


def test_a_secret_key_has_no_public_part_and_no_private_key_enciphers() -> None:
    client = with_keys()
    client.ok(pki.mse(GENERATE, pki.AES, AES_KEY))
    assert client.status(pki.public_key()) == SW.CONDITIONS_NOT_SATISFIED
    assert client.status(pki.generate()) == SW.CONDITIONS_NOT_SATISFIED
    cards.make_key(client, 4, pki.EC, pki.attributes(0x04))
    client.ok(pki.mse(DECIPHER, pki.ECDH, 4))
    assert client.status(pki.encipher(MESSAGE)) == SW.CONDITIONS_NOT_SATISFIED


def test_a_secret_key_needs_a_cryptogram_not_a_point() -> None:
    client = cards.logged_in()
    cards.put_secret(client, 0, pki.AES, AES_VALUE, pki.attributes(0x06))
    client.ok(pki.mse(DECIPHER, pki.ECB, 0))
    assert client.status(pki.derive(b"\x04" + bytes(64))) == SW.INCORRECT_DATA


@pytest.mark.parametrize(
    ("template", "algorithm", "parameters", "sw"),
    [
        (DECIPHER, pki.CBC, b"", SW.INCORRECT_DATA),
        (DECIPHER, pki.CBC, initial(b""), SW.INCORRECT_DATA),
        (DECIPHER, pki.ECB, initial(IV), SW.INCORRECT_DATA),
        (DECIPHER, pki.CTR, initial(IV), SW.INCORRECT_DATA),
        (DECIPHER, pki.CTR, initial(IV) + number(0xC7, 0), SW.INCORRECT_DATA),
        (DECIPHER, pki.CTR, initial(IV) + b"\xc7\x02\x00\x20", SW.INCORRECT_DATA),
        (DECIPHER, pki.GCM, b"", SW.INCORRECT_DATA),
        (DECIPHER, pki.GCM, initial(NONCE) + number(0xC9, 0), SW.INCORRECT_DATA),
        (DECIPHER, pki.WRAP, initial(IV), SW.INCORRECT_DATA),
        (DECIPHER, pki.HMAC, number(0xC1, 3), SW.FUNCTION_NOT_SUPPORTED),
        (CHECKSUM, pki.HMAC, b"", SW.INCORRECT_DATA),
        (CHECKSUM, pki.HMAC, number(0xC1, 12), SW.INCORRECT_DATA),
        (CHECKSUM, pki.CMAC, b"", SW.INCORRECT_DATA),
        (CHECKSUM, pki.ECB, b"", SW.FUNCTION_NOT_SUPPORTED),
    ],
)
def test_a_malformed_choice_is_refused(
    template: int, algorithm: int, parameters: bytes, sw: int
) -> None:
    client = with_keys()
    assert client.status(pki.mse(template, algorithm, AES_KEY, parameters)) == sw


@pytest.mark.parametrize(
    ("algorithm", "parameters", "data"),
    [
        (pki.ECB, b"", bytes(15)),
        (pki.CBC, initial(IV), bytes(17)),
        (pki.CBC, initial(bytes(8)), BLOCKS),
        (pki.CTR, initial(bytes(12)) + number(0xC7, 32), BLOCKS),
        (pki.CTR, initial(IV) + number(0xC7, 1), BLOCKS),
        (pki.CTR, initial(IV) + number(0xC7, 129), BLOCKS),
        (pki.GCM, initial(NONCE) + number(0xC9, 17), BLOCKS),
        (pki.WRAP, b"", bytes(17)),
        (pki.WRAP_PADDED, b"", b""),
    ],
)
def test_lengths_that_the_algorithm_does_not_take_are_refused(
    algorithm: int, parameters: bytes, data: bytes
) -> None:
    client = with_keys()
    client.ok(pki.mse(DECIPHER, algorithm, AES_KEY, parameters))
    assert client.status(pki.encipher(data)) == SW.WRONG_LENGTH


def test_nothing_is_done_without_a_choice() -> None:
    client = cards.logged_in()
    for command in (pki.generate_secret(16), pki.encipher(b""), pki.checksum(b"")):
        assert client.status(command) == SW.CONDITIONS_NOT_SATISFIED


def test_an_always_authenticate_key_wants_the_pin_before_every_use() -> None:
    client = cards.logged_in()
    policy = pki.ALWAYS_AUTHENTICATE | pki.EXPORT
    cards.put_secret(client, 0, pki.AES, AES_VALUE, pki.attributes(0x7E, policy))
    client.ok(pki.mse(DECIPHER, pki.ECB, 0))
    client.ok(pki.mse(CHECKSUM, pki.CMAC, 0, number(0xC9, 8)))
    uses = (
        pki.encipher(BLOCKS),
        pki.decipher(BLOCKS),
        pki.checksum(BLOCKS),
        pki.get_secret(0),
    )
    for command in uses:
        assert client.status(command) == SW.SECURITY_STATUS_NOT_SATISFIED
        client.log_in()
        client.ok(command)
        for other in uses:
            assert client.status(other) == SW.SECURITY_STATUS_NOT_SATISFIED


def test_secret_keys_outlive_a_restart_and_share_their_references() -> None:
    bench = cards.operational()
    client = with_keys(bench, EXPORT)
    before = cards.key_list(client)
    again = cards.logged_in(bench.restarted())
    assert cards.key_list(again) == before
    assert again.ok(pki.get_secret(DES3_KEY)) == DES3_VALUE
    again.ok(pki.mse(CHECKSUM, pki.HMAC, GENERIC_KEY, number(0xC1, 3)))
    assert again.ok(pki.checksum(MESSAGE)) == hmac.digest(SECRET, MESSAGE, "sha256")
    point = cards.make_key(again, AES_KEY)
    assert again.status(pki.get_secret(AES_KEY)) == SW.CONDITIONS_NOT_SATISFIED
    again.ok(pki.mse(SIGN, pki.ECDSA, AES_KEY))
    pki.check_ecdsa(point, bytes(32), again.ok(pki.sign(bytes(32))))
    again.ok(pki.delete_key(DES3_KEY))
    assert again.status(pki.get_secret(DES3_KEY)) == SW.REFERENCED_DATA_NOT_FOUND
