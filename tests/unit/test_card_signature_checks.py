"""PSO VERIFY DIGITAL SIGNATURE: right signatures pass, and every other one is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric import utils

from apdu import tlv
from apdu.codec import Command
from apdu.model import SW
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.pki_commands import GENERATE, SIGN
from tests import cards
from tests.unit.test_card_keys import RSA_KEY
from token_fw.crypto.ec import curve_of
from token_fw.crypto.gost.parameter_sets import parameter_set
from token_fw.crypto.kinds import KeySpec

DIGEST, LONG_DIGEST = bytes(range(32)), bytes(range(64))
P256_ORDER = curve_of(KeySpec.ec("P-256")).order


@dataclass(frozen=True)
class Kind:
    """A key, how it is chosen, and what it signs."""

    algorithm: int
    signed: bytes
    code: int = pki.EC
    curve: str = ""
    extra: bytes = b""

    def make(self, client: cards.Client) -> None:
        client.ok(pki.mse(GENERATE, self.code, 0))
        if self.code == pki.RSA_2048:
            client.ok(pki.put_key(pki.rsa_template(RSA_KEY)))
        else:
            client.ok(pki.generate(pki.curve(self.curve) if self.curve else b""))

    def choose(self, client: cards.Client) -> None:
        client.ok(pki.mse(SIGN, self.algorithm, 0, self.extra))


KINDS = {
    "RSA PKCS#1": Kind(pki.PKCS1, DIGEST, pki.RSA_2048),
    "RSA PKCS#1, nothing": Kind(pki.PKCS1, b"", pki.RSA_2048),
    "RSA PSS": Kind(pki.PSS, DIGEST, pki.RSA_2048),
    "RSA PSS, SHA-512": Kind(pki.PSS, LONG_DIGEST, pki.RSA_2048, extra=b"\xc1\x01\x05"),
    "RSA raw": Kind(pki.RSA_RAW, bytes(200) + DIGEST, pki.RSA_2048),
    "P-256": Kind(pki.ECDSA, DIGEST, curve="P-256"),
    "P-384": Kind(pki.ECDSA, DIGEST, curve="P-384"),
    "P-521": Kind(pki.ECDSA, LONG_DIGEST, curve="P-521"),
    "P-256, IsoApplet": Kind(0x21, b"a message that the card hashes", curve="P-256"),
    "Ed25519": Kind(pki.EDDSA, b"a message", pki.ED25519),
    "Ed25519, nothing": Kind(pki.EDDSA, b"", pki.ED25519),
    "Ed448": Kind(pki.EDDSA, bytes(1 << 16), pki.ED448),
    "ML-DSA-44": Kind(pki.ML_DSA_SIGN, b"a message", pki.ML_DSA[44]),
    "ML-DSA-87, context": Kind(pki.ML_DSA_SIGN, b"", pki.ML_DSA[87], extra=b"\xc5\x01\x01"),
    "CryptoPro-A": Kind(pki.GOST_SIGN, DIGEST, pki.GOST_256, "CryptoPro-A"),
    "tc26-512-A": Kind(pki.GOST_SIGN, LONG_DIGEST, pki.GOST_512, "tc26-512-A"),
}
GOST = KINDS["CryptoPro-A"]


def signed_by(kind: Kind) -> tuple[cards.Bench, bytes]:
    """A card with the key, and a signature by it."""
    bench = cards.operational()
    client = cards.logged_in(bench)
    kind.make(client)
    kind.choose(client)
    return bench, client.ok(pki.sign(kind.signed))


def verified(client: cards.Client, kind: Kind, signature: bytes) -> int:
    kind.choose(client)
    return client.status(pki.verify_signature(kind.signed, signature))


def flipped(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("name", KINDS)
def test_a_signature_of_every_kind_is_right_until_a_bit_changes(name: str) -> None:
    kind = KINDS[name]
    bench, signature = signed_by(kind)
    client = bench.client()
    assert verified(client, kind, signature) == SW.NO_ERROR
    for wrong in (
        flipped(signature),
        flipped(signature, len(signature) // 2),
        signature[:-1],
        signature + b"\0",
        b"\0" + signature,
        b"",
    ):
        assert verified(client, kind, wrong) == SW.VERIFICATION_FAILED
    other = flipped(kind.signed) if kind.signed else b"x"
    assert client.status(pki.verify_signature(other, signature)) == SW.VERIFICATION_FAILED
    assert verified(client, kind, signature) == SW.NO_ERROR


def test_a_signature_by_another_key_is_wrong() -> None:
    bench, signature = signed_by(GOST)
    client = cards.logged_in(bench)
    GOST.make(client)
    assert verified(client, GOST, signature) == SW.VERIFICATION_FAILED


def _gost(r: Callable[[int], int], s: Callable[[int], int], signature: bytes) -> bytes:
    numbers = signature[:32], signature[32:]
    new = (change(int.from_bytes(n, "big")) for change, n in zip((s, r), numbers, strict=True))
    return b"".join(number.to_bytes(32, "big") for number in new)


def _ecdsa(r: Callable[[int], int], s: Callable[[int], int], signature: bytes) -> bytes:
    old_r, old_s = utils.decode_dss_signature(signature)
    return utils.encode_dss_signature(r(old_r), s(old_s))


def same(number: int) -> int:
    return number


@pytest.mark.parametrize(
    ("kind", "made", "order"),
    [
        (GOST, _gost, parameter_set(KeySpec.gost("CryptoPro-A")).q),
        (KINDS["P-256"], _ecdsa, P256_ORDER),
    ],
    ids=["GOST", "ECDSA"],
)
def test_numbers_out_of_range_are_never_right(
    kind: Kind,
    made: Callable[[Callable[[int], int], Callable[[int], int], bytes], bytes],
    order: int,
) -> None:
    bench, signature = signed_by(kind)
    client = bench.client()
    assert verified(client, kind, made(same, same, signature)) == SW.NO_ERROR
    for bad in (lambda _: 0, lambda _: order, lambda _: 2**256 - 1):
        assert verified(client, kind, made(bad, same, signature)) == SW.VERIFICATION_FAILED
        assert verified(client, kind, made(same, bad, signature)) == SW.VERIFICATION_FAILED
    assert verified(client, kind, made(lambda _: 0, lambda _: 0, signature)) != SW.NO_ERROR


def test_numbers_longer_than_the_order_and_bad_der_are_never_right() -> None:
    kind = KINDS["P-256"]
    bench, signature = signed_by(kind)
    client = bench.client()
    r, s = utils.decode_dss_signature(signature)
    for wrong in (
        utils.encode_dss_signature(r + (P256_ORDER << 256), s),
        utils.encode_dss_signature(r, s << 2048),
        r.to_bytes(32, "big") + s.to_bytes(32, "big"),
        bytes.fromhex("3006 0201FF 020101"),
        bytes.fromhex("3081") + signature[1:],
        bytes.fromhex("3000"),
        b"\x30",
    ):
        assert verified(client, kind, wrong) == SW.VERIFICATION_FAILED


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        tlv.encode(0x9A, DIGEST),
        tlv.encode(0x9E, bytes(64)),
        tlv.encode(0x9A, DIGEST) * 2 + tlv.encode(0x9E, bytes(64)),
        tlv.encode(0x9A, DIGEST) + tlv.encode(0x9E, bytes(64)) + tlv.encode(0x90, DIGEST),
        tlv.encode(0x9A, DIGEST) + tlv.encode(0x9E, bytes(64)) + b"\0",
    ],
)
def test_anything_but_what_was_signed_and_a_signature_is_no_data(data: bytes) -> None:
    bench, _ = signed_by(GOST)
    client = bench.client()
    GOST.choose(client)
    assert client.status(Command(0x00, 0x2A, 0x00, 0xA8, data)) == SW.INCORRECT_DATA


def test_the_objects_may_come_in_either_order() -> None:
    bench, signature = signed_by(GOST)
    client = bench.client()
    GOST.choose(client)
    data = tlv.encode(0x9E, signature) + tlv.encode(0x9A, DIGEST)
    assert client.status(Command(0x00, 0x2A, 0x00, 0xA8, data)) == SW.NO_ERROR


@pytest.mark.parametrize(
    ("name", "size"),
    [("CryptoPro-A", 31), ("CryptoPro-A", 64), ("tc26-512-A", 32), ("RSA PSS", 31), ("P-256", 0)],
)
def test_a_digest_of_another_length_is_refused_as_it_is_for_signing(name: str, size: int) -> None:
    bench, signature = signed_by(KINDS[name])
    client = bench.client()
    KINDS[name].choose(client)
    assert client.status(pki.verify_signature(bytes(size), signature)) == SW.WRONG_LENGTH


def test_a_message_longer_than_64_kib_is_refused() -> None:
    kind = KINDS["Ed448"]
    bench, signature = signed_by(kind)
    client = bench.client()
    kind.choose(client)
    message = kind.signed + b"\0"
    assert client.status(pki.verify_signature(message, signature)) == SW.WRONG_LENGTH


def test_a_key_has_to_be_chosen_to_be_there_and_to_sign() -> None:
    bench, signature = signed_by(GOST)
    client = bench.client()
    command = pki.verify_signature(DIGEST, signature)
    assert client.status(command) == SW.CONDITIONS_NOT_SATISFIED
    GOST.choose(client)
    cards.logged_in(bench).ok(pki.delete_key(0))
    assert client.status(command) == SW.REFERENCED_DATA_NOT_FOUND
    owner = cards.logged_in(bench)
    owner.ok(pki.mse(GENERATE, pki.GOST_256, 0))
    owner.ok(pki.generate(pki.curve("CryptoPro-A") + pki.attributes(0x04)))
    assert client.status(command) == SW.CONDITIONS_NOT_SATISFIED


def test_verifying_needs_no_consent_and_is_none() -> None:
    bench = cards.operational()
    client = cards.logged_in(bench)
    client.ok(pki.mse(GENERATE, pki.GOST_256, 0))
    always = pki.attributes(0x01, pki.ALWAYS_AUTHENTICATE)
    client.ok(pki.generate(pki.curve("CryptoPro-A") + always))
    GOST.choose(client)
    client.log_in()
    signature = client.ok(pki.sign(DIGEST))
    assert verified(client, GOST, signature) == SW.NO_ERROR
    client.log_in()
    assert verified(client, GOST, signature) == SW.NO_ERROR
    assert client.status(pki.sign(DIGEST)) == SW.SECURITY_STATUS_NOT_SATISFIED


def test_verifying_changes_nothing() -> None:
    bench, signature = signed_by(GOST)
    client = bench.client()
    before, count = bench.digest(), cards.changes(client)
    assert verified(client, GOST, signature) == SW.NO_ERROR
    assert verified(client, GOST, flipped(signature)) == SW.VERIFICATION_FAILED
    assert (bench.digest(), cards.changes(client)) == (before, count)
