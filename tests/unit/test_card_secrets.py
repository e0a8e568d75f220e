"""Keys and PINs are in no response, but for keys that may be told, and in no line of a trace."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x448, x25519

from apdu import tlv
from apdu.codec import Command, Response
from apdu.trace import Trace
from apdu.transport import Transport
from host_tools.conformance import pki_commands as pki
from tests import cards
from token_fw.apps.pki import commands, key_commands
from token_fw.apps.pki.keys import KeyPolicy, StoredKey, Usage
from token_fw.card import Card
from token_fw.crypto import GostPrivateKey, KeyKind, KeySpec, generate, secret_key
from token_fw.env import Env
from token_fw.factory import Profile, personalise
from token_fw.pin import PinRecord
from token_fw.storage.sqlite import SqliteStore

PIN, NEW_PIN = b"ninth-of-may", b"tenth-of-may"
AES_128 = KeySpec.secret(KeyKind.AES, 128)
RSA_KEY = rsa.generate_private_key(65537, 2048)


class Listener:
    """Keeps every byte that the card answers."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.responses: list[bytes] = []

    def transceive(self, command: bytes) -> bytes:
        response = self.inner.transceive(command)
        self.responses.append(response)
        return response


def number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def imported() -> dict[bytes, tuple[int, bytes]]:
    """Secrets to look for, and under which kind and template they were sent."""
    numbers = RSA_KEY.private_numbers()
    curve = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    d = curve.to_bytes(32, "big")
    rsa_template = pki.rsa_template(RSA_KEY)
    secrets = {
        number(value): (pki.RSA_2048, rsa_template)
        for value in (numbers.p, numbers.q, numbers.d, numbers.iqmp, numbers.dmp1, numbers.dmq1)
    }
    secrets[d] = pki.EC, tlv.encode(0xE0, pki.p256() + tlv.encode(0x88, d))
    for kind, seed in (
        (pki.ED25519, ed25519.Ed25519PrivateKey.generate().private_bytes_raw()),
        (pki.X25519, x25519.X25519PrivateKey.generate().private_bytes_raw()),
        (pki.ED448, ed448.Ed448PrivateKey.generate().private_bytes_raw()),
        (pki.X448, x448.X448PrivateKey.generate().private_bytes_raw()),
    ):
        secrets[seed] = kind, tlv.encode(0xE0, tlv.encode(0x88, seed))
    for kind, length in (
        (pki.AES, 32),
        (pki.DES3, 24),
        (pki.GENERIC, 40),
        (pki.ML_DSA[65], 32),
        (pki.ML_KEM[768], 64),
        (pki.KUZNYECHIK, 32),
        (pki.MAGMA_TWIN, 64),
    ):
        value = os.urandom(length)
        secrets[value] = kind, tlv.encode(0xE0, tlv.encode(0x88, value))
    gost = generate(KeySpec.gost("CryptoPro-A"))
    assert isinstance(gost, GostPrivateKey)
    template = tlv.encode(0xE0, gost.spec.oid_der + tlv.encode(0x88, gost.d))
    secrets |= dict.fromkeys((gost.d, gost.d[::-1]), (pki.GOST_256, template))
    return secrets


def scenario(transport: Transport, secrets: dict[bytes, tuple[int, bytes]]) -> None:
    client = cards.Client(transport)
    client.ok(pki.initialize(cards.SO_PIN, [(b"\x2f\x00", pki.fcp(b"\x2f\x00"), b"file")]))
    client.ok(pki.reset_by_so(PIN))
    client.log_in(pki.USER, PIN)
    short = cards.Client(transport, extended=False)
    short.log_in(pki.USER, PIN)
    for reference, (kind, template) in enumerate(secrets.values()):
        for sender in (short, client):
            sender.ok(pki.mse(pki.GENERATE, kind, reference))
            sender.ok(pki.put_key(template))
        secret = kind in (pki.AES, pki.DES3, pki.GENERIC, pki.KUZNYECHIK, pki.MAGMA_TWIN)
        assert client.status(pki.public_key()) == (0x6985 if secret else 0x9000)
        assert client.status(pki.get_secret(reference)) == 0x6985
    for use, algorithm, reference, extra, command in (
        (pki.SIGN, pki.PKCS1, 0, b"", pki.sign(bytes(32))),
        (pki.SIGN, pki.ECDSA, 6, b"", pki.sign(bytes(32))),
        (pki.SIGN, pki.EDDSA, 7, b"", pki.sign(bytes(32))),
        (pki.SIGN, pki.EDDSA, 9, b"", pki.sign(bytes(32))),
        (pki.DECIPHER, pki.ECB, 11, b"", pki.encipher(bytes(32))),
        (pki.CHECKSUM, pki.CMAC, 12, b"\xc9\x01\x08", pki.checksum(bytes(32))),
        (pki.CHECKSUM, pki.HMAC, 13, b"\xc1\x01\x03", pki.checksum(bytes(32))),
        (pki.SIGN, pki.ML_DSA_SIGN, 14, b"", pki.sign(bytes(32))),
        (pki.DECIPHER, pki.ML_KEM_DECAPSULATE, 15, b"", pki.decipher(bytes(1088))),
        (pki.DECIPHER, pki.CTR_ACPKM, 16, b"\xc6\x08" + bytes(8), pki.encipher(bytes(40))),
        (pki.DECIPHER, pki.KEXP15, 17, b"\xc6\x04" + bytes(4), pki.encipher(bytes(32))),
        (pki.SIGN, pki.GOST_SIGN, 18, b"", pki.sign(bytes(32))),
    ):
        client.ok(pki.mse(use, algorithm, reference, extra))
        client.ok(command)
    for what in (1, 2, 3, 4):
        client.ok(pki.get_data(what))
    client.ok(pki.change(pki.USER, PIN, NEW_PIN))
    client.status(pki.verify(pki.USER, PIN))
    client.ok(pki.unblock(cards.SO_PIN, NEW_PIN))
    # Nothing but the file's content can be read, whatever is asked for.
    for p1 in range(0x80):
        client.status(Command(0x00, 0xB0, p1, 0x00, b"", 256))
        client.status(Command(0x00, 0xCA, p1, 0x00, b"", 256))


def test_secrets_are_in_no_response_and_no_trace() -> None:
    secrets = imported()
    bench = cards.Bench()
    lines: list[str] = []
    listener = Listener(bench.connect())
    scenario(Trace(listener, lines.append, pki.PKI), secrets)
    data = b"".join(Response.parse(response).data for response in listener.responses)
    text = "\n".join(lines).lower()
    assert len(lines) == 2 * len(listener.responses) > 200
    for secret in (*secrets, PIN, NEW_PIN, cards.SO_PIN):
        assert secret not in data
        for part in (secret, secret[:8], secret[-8:]):
            assert part.hex() not in text.replace(" ", "")
            assert part.hex(" ") not in text
            assert part.decode("latin-1").lower() not in text


def test_what_the_card_tells_the_user_is_in_no_trace() -> None:
    bench = cards.operational()
    lines: list[str] = []
    listener = Listener(bench.connect())
    client = cards.Client(Trace(listener, lines.append, pki.PKI))
    client.log_in()
    value, header, plaintext = (os.urandom(16) for _ in range(3))
    exported = pki.attributes(0x7E, pki.EXPORT)
    cards.put_secret(client, 0, pki.AES, value, exported)
    parameters = tlv.encode(0xC6, bytes(12)) + tlv.encode(0xC8, header)
    client.ok(pki.mse(pki.DECIPHER, pki.GCM, 0, parameters))
    cryptogram = client.ok(pki.encipher(plaintext))
    client.ok(pki.mse(pki.CHECKSUM, pki.CMAC, 0, b"\xc9\x01\x10"))
    told = [
        client.ok(pki.decipher(cryptogram)),
        client.ok(pki.checksum(b"a derived key")),
        client.ok(pki.get_secret(0)),
    ]
    assert told[0] == plaintext
    assert told[2] == value
    text = "\n".join(lines).replace(" ", "")
    assert "GETSECRETKEY" in text
    for secret in (*told, header, cryptogram):
        assert secret[:6].hex().upper() not in text
        assert secret[-6:].hex().upper() not in text


def test_no_object_of_the_card_shows_a_secret() -> None:
    bench = cards.operational()
    client = cards.logged_in(bench)
    cards.make_key(client, 0)
    shown = [
        repr(commands.parse_verify(pki.verify(pki.USER, PIN))),
        repr(commands.parse_change_reference_data_odd(pki.change(pki.USER, PIN, NEW_PIN))),
        repr(commands.parse_initialize(pki.initialize(PIN))),
        repr(commands.parse_reset_retry_counter_by_so(pki.reset_by_so(PIN))),
        repr(PinRecord.decode(bench.medium.records["pin", b"\x01"])),
        repr(key_commands.parse_import(pki.put_value(PIN))),
        repr(StoredKey(0, AES_128, Usage.MAC, KeyPolicy.NONE, encoded=PIN)),
        repr(secret_key(KeyKind.GENERIC, PIN)),
    ]
    for text in shown:
        assert PIN.decode() not in text
        assert "salt=" not in text


def test_secrets_are_not_in_the_clear_in_any_file(tmp_path: Path) -> None:
    secrets = imported()
    store = SqliteStore(tmp_path / "token.sqlite", bytes(range(32)))
    personalise(store, Profile(cards.SERIAL))
    scenario(Card(Env(store)).connect(), secrets)
    # Once with the write-ahead log beside the database, once with everything in it.
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    store.close()
    files |= {tmp_path / f"{path.name} closed": path.read_bytes() for path in tmp_path.iterdir()}
    assert len(files) >= 3
    for content in files.values():
        for secret in (*secrets, PIN, NEW_PIN, cards.SO_PIN):
            assert secret[:8] not in content
    store = SqliteStore(tmp_path / "token.sqlite", bytes(range(32)), create=False)
    client = cards.Client(Card(Env(store)).connect())
    client.log_in(pki.USER, NEW_PIN)
    assert len(cards.key_list(client)) == len(secrets)
    store.close()
