"""`TokenCard`: what it asks of the card comes back as keys, values and cryptograms."""

from __future__ import annotations

import hmac
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from apdu import tlv
from apdu.model import SW, StatusWordError
from apdu.transport import Transport, TransportError
from host_tools.conformance import pki_commands as pki
from pkcs11_module.cards import pkcs15
from pkcs11_module.cards.card import MAX_DATA, TokenCard
from pkcs11_module.cards.card_keys import (
    POLICY_ALWAYS_AUTHENTICATE,
    POLICY_EXPORT,
    USAGE_DECRYPT,
    USAGE_DERIVE,
    USAGE_ENCRYPT,
    USAGE_MAC,
    USAGE_SIGN,
    USAGE_UNWRAP,
    USAGE_WRAP,
    CardKey,
    KeyMaterial,
    key_reference,
)
from tests import cards
from token_fw import crypto
from token_fw.apps.pki.keys import KeyPolicy, Usage
from token_fw.crypto import KeyKind, KeySpec

MESSAGE = b"a message"
AES_KEY = crypto.secret_key(KeyKind.AES, bytes(range(32)))
ECB, CBC = b"\x80\x01\x41", b"\x80\x01\x42"
HMAC_SHA256 = b"\x80\x01\x51\xc1\x01\x03"


class Counting:
    """Counts the commands by INS."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.seen: list[int] = []

    def transceive(self, command: bytes) -> bytes:
        self.seen.append(command[1])
        return self.inner.transceive(command)


def user(transport: Transport | None = None) -> TokenCard:
    card = TokenCard(transport or cards.operational().connect())
    card.verify(pki.USER, cards.USER_PIN)
    return card


def environment(algorithm: bytes, reference: int, parameters: bytes = b"") -> bytes:
    return algorithm[:3] + key_reference(reference) + algorithm[3:] + parameters


def test_flags_and_sizes_are_those_of_the_card() -> None:
    assert {flag.name: flag.value for flag in Usage} == {
        "SIGN": USAGE_SIGN,
        "DECRYPT": USAGE_DECRYPT,
        "DERIVE": USAGE_DERIVE,
        "ENCRYPT": USAGE_ENCRYPT,
        "WRAP": USAGE_WRAP,
        "UNWRAP": USAGE_UNWRAP,
        "MAC": USAGE_MAC,
    }
    policies = POLICY_ALWAYS_AUTHENTICATE, POLICY_EXPORT
    assert tuple(KeyPolicy) == policies


@pytest.mark.parametrize(
    "spec",
    [
        KeySpec.secret(KeyKind.AES, 128),
        KeySpec.secret(KeyKind.AES, 256),
        KeySpec.secret(KeyKind.DES3, 128),
        KeySpec.secret(KeyKind.DES3, 192),
        KeySpec.secret(KeyKind.GENERIC, 8),
        KeySpec.secret(KeyKind.GENERIC, 32768),
    ],
    ids=str,
)
def test_secret_keys_are_made_listed_told_and_deleted(spec: KeySpec) -> None:
    card = user()
    card.generate_secret(300, spec, USAGE_MAC, POLICY_EXPORT)
    assert dict(card.keys()) == {300: CardKey(300, spec, USAGE_MAC, POLICY_EXPORT)}
    assert len(card.secret_value(300)) == spec.bits // 8
    card.delete_key(300)
    assert not card.keys()
    with pytest.raises(StatusWordError) as refused:
        card.secret_value(300)
    assert refused.value.sw == SW.REFERENCED_DATA_NOT_FOUND


def test_a_key_without_export_is_not_told() -> None:
    card = user()
    card.put_secret(0, AES_KEY, USAGE_ENCRYPT, 0)
    assert card.keys()[0] == CardKey(0, AES_KEY.spec, USAGE_ENCRYPT, 0)
    with pytest.raises(StatusWordError) as refused:
        card.secret_value(0)
    assert refused.value.sw == SW.CONDITIONS_NOT_SATISFIED
    card.put_secret(0, AES_KEY, USAGE_ENCRYPT, POLICY_EXPORT)
    assert card.secret_value(0) == AES_KEY.value


def test_an_imported_key_enciphers_deciphers_and_authenticates() -> None:
    card = user()
    generic = crypto.secret_key(KeyKind.GENERIC, b"secret")
    card.put_secret(1, AES_KEY, USAGE_ENCRYPT | USAGE_DECRYPT, 0)
    card.put_secret(2, generic, USAGE_MAC, 0)
    data, iv = bytes(MAX_DATA), bytes(range(16))
    encryptor = Cipher(AES(AES_KEY.value), modes.CBC(iv)).encryptor()
    chosen = environment(CBC, 1, tlv.encode(0xC6, iv))
    cryptogram = card.encipher(chosen, data)
    assert cryptogram == encryptor.update(data)
    assert card.decipher(chosen, cryptogram) == data
    digest = card.checksum(environment(HMAC_SHA256, 2), data)
    assert digest == hmac.digest(b"secret", data, "sha256")
    with pytest.raises(StatusWordError) as refused:
        card.encipher(environment(ECB, 1), data + bytes(16))
    assert refused.value.sw == SW.WRONG_LENGTH


def test_the_environment_is_set_once_for_many_uses_and_again_after_another() -> None:
    transport = Counting(cards.operational().connect())
    card = user(transport)
    card.put_secret(1, AES_KEY, USAGE_ENCRYPT | USAGE_DECRYPT | USAGE_MAC, 0)
    transport.seen.clear()
    for _ in range(3):
        card.decipher(environment(ECB, 1), card.encipher(environment(ECB, 1), bytes(16)))
    assert transport.seen == [0x22] + [0x2A] * 6
    card.checksum(environment(b"\x80\x01\x52\xc9\x01\x10", 1), b"")
    card.encipher(environment(ECB, 1), bytes(16))
    assert transport.seen[-4:] == [0x22, 0x2A, 0x22, 0x2A]


def test_the_changes_of_one_program_are_what_the_change_counter_goes_up_by() -> None:
    card = user()
    path, material = pkcs15.DF[:2] + b"\x60\x00", KeyMaterial(KeySpec.ED25519, {0x88: bytes(32)})
    secret = KeySpec.secret(KeyKind.AES, 256)
    open_to_all = pkcs15.conditions(read=0, update=0, delete=0)
    steps: list[Callable[[], object]] = [
        lambda: card.create(path, open_to_all, b"content"),
        lambda: card.write(path, b"content", b"other"),
        lambda: card.write(path, b"other", bytes(MAX_DATA + 1000)),
        lambda: card.write(path, b"", b""),
        lambda: card.generate(0, KeySpec.ED25519, USAGE_SIGN, 0),
        lambda: card.put_key(1, material, USAGE_SIGN, 0),
        lambda: card.generate_secret(2, secret, USAGE_ENCRYPT, 0),
        lambda: card.put_secret(2, AES_KEY, USAGE_ENCRYPT, 0),
        lambda: card.encipher(environment(ECB, 2), bytes(16)),
        lambda: card.delete_key(2),
        lambda: card.delete(path),
        lambda: card.verify(pki.USER, cards.USER_PIN),
        lambda: card.log_out(pki.USER),
    ]
    for step in steps:
        counter, changes = card.change_counter(), card.changes
        step()
        moved = int.from_bytes(card.change_counter(), "big") - int.from_bytes(counter, "big")
        assert moved % 2**32 == card.changes - changes


def test_a_key_that_takes_a_reference_is_chosen_afresh() -> None:
    card = user()
    card.put_secret(1, AES_KEY, USAGE_ENCRYPT, 0)
    before = card.encipher(environment(ECB, 1), bytes(16))
    card.put_secret(1, crypto.secret_key(KeyKind.AES, bytes(16)), USAGE_ENCRYPT, 0)
    assert card.encipher(environment(ECB, 1), bytes(16)) != before
    card.generate_secret(1, KeySpec.secret(KeyKind.GENERIC, 128), USAGE_MAC, 0)
    with pytest.raises(StatusWordError) as refused:
        card.encipher(environment(ECB, 1), bytes(16))
    assert refused.value.sw == SW.CONDITIONS_NOT_SATISFIED


@pytest.mark.parametrize("level", [44, 65, 87])
def test_ml_dsa_keys_are_made_imported_and_sign(level: int) -> None:
    card, spec = user(), KeySpec.ml_dsa(level)
    made = card.generate(0, spec, USAGE_SIGN, 0)
    card.put_key(1, KeyMaterial(spec, {0x88: bytes(32)}), USAGE_SIGN, 0)
    assert made.spec == spec
    assert made.to_spki() == card.public_key(0, spec).to_spki()
    imported = card.public_key(1, spec)
    assert imported.to_spki() == crypto.ml_dsa_private(level, bytes(32)).public().to_spki()
    assert {key.spec for key in card.keys().values()} == {spec}
    scheme = crypto.MlDsa(b"context")
    for reference, public in ((0, made), (1, imported)):
        chosen = environment(b"\x80\x01\x23", reference, tlv.encode(0xC5, b"context"))
        public.verify(scheme, MESSAGE, card.sign(chosen, MESSAGE))


@pytest.mark.parametrize("level", [768, 1024])
def test_ml_kem_keys_are_made_imported_and_decapsulate(level: int) -> None:
    card, spec = user(), KeySpec.ml_kem(level)
    made = card.generate(0, spec, USAGE_DECRYPT, 0)
    card.put_key(1, KeyMaterial(spec, {0x88: bytes(64)}), USAGE_DECRYPT, 0)
    for reference, public in ((0, made), (1, card.public_key(1, spec))):
        cryptogram, shared = public.encapsulate()
        assert card.decipher(environment(b"\x80\x01\x32", reference), cryptogram) == shared
    assert {key.spec for key in card.keys().values()} == {spec}


def test_a_key_agrees_with_a_point() -> None:
    card = user()
    card.generate(0, KeySpec.ec("P-256"), USAGE_DERIVE, 0)
    card.generate(1, KeySpec.X25519, USAGE_DERIVE, 0)
    curve_key = ec.generate_private_key(ec.SECP256R1())
    peer = crypto.load_private(crypto.ec_private("P-256", _scalar(curve_key)).to_pkcs8())
    ours = card.public_key(0, KeySpec.ec("P-256"))
    assert isinstance(ours, crypto.EcPublicKey)
    theirs = peer.public()
    assert isinstance(theirs, crypto.EcPublicKey)
    shared = card.agree(environment(b"\x80\x01\x31", 0), theirs.point)
    assert shared == peer.agree(ours.point)
    edwards = x25519.X25519PrivateKey.generate()
    point = card.public_key(1, KeySpec.X25519)
    assert isinstance(point, crypto.EdwardsPublicKey)
    public = x25519.X25519PublicKey.from_public_bytes(point.point)
    agreed = card.agree(environment(b"\x80\x01\x31", 1), edwards.public_key().public_bytes_raw())
    assert agreed == edwards.exchange(public)


def _scalar(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_numbers().private_value.to_bytes(32, "big")


class Listing:
    """A card that answers the list of keys with something of its own."""

    def __init__(self, inner: Transport, listed: bytes) -> None:
        self.inner = inner
        self.listed = listed

    def transceive(self, command: bytes) -> bytes:
        if command[:4] == bytes.fromhex("00CA0103"):
            return self.listed + b"\x90\x00"
        return self.inner.transceive(command)


@pytest.mark.parametrize(
    "listed",
    [
        "E10D 84020000 8001F8 9C0108 9D0100",
        "E111 84020000 8001F8 81020011 9C0108 9D0100",
        "E111 84020000 8001F7 81020010 9C0108 9D0100",
        "E10D 84020000 8001EC 9C0108 9D0100",
        "E10A 84020000 8001E1 9C0101",
        "E1",
    ],
)
def test_a_malformed_list_of_keys_is_an_error_of_the_transport(listed: str) -> None:
    card = TokenCard(Listing(cards.operational().connect(), bytes.fromhex(listed)))
    with pytest.raises(TransportError):
        card.keys()
