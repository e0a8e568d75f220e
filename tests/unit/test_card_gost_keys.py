"""Keys of GOST R 34.10-2012 on the card: made, imported, listed, used, and what is refused."""

from __future__ import annotations

import pytest

from apdu import tlv
from apdu.model import SW
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.pki_commands import DECIPHER, GENERATE, SIGN
from tests import cards
from token_fw.crypto import (
    GOST_SIZES,
    GOST_SPECS,
    Gost3410,
    GostPublicKey,
    Hash,
    InvalidSignature,
    KeyKind,
    KeySpec,
    digest,
    gost_private,
    gost_public,
)

KINDS = {KeyKind.GOST_256: pki.GOST_256, KeyKind.GOST_512: pki.GOST_512}
HASHES = {KeyKind.GOST_256: Hash.STREEBOG256, KeyKind.GOST_512: Hash.STREEBOG512}
SETS = sorted(spec.curve for spec in GOST_SPECS)
UKM = bytes.fromhex("1d80603c8544c727")
SHORT, LONG = KeySpec.gost("CryptoPro-A"), KeySpec.gost("tc26-512-A")


def make(client: cards.Client, reference: int, spec: KeySpec, extra: bytes = b"") -> GostPublicKey:
    data = spec.oid_der + extra
    return gost_public(spec.curve, cards.make_key(client, reference, KINDS[spec.kind], data))


def hashed(spec: KeySpec, message: bytes = b"message") -> bytes:
    return digest.compute(HASHES[spec.kind], message)


def put(spec: KeySpec, number: bytes) -> bytes:
    return tlv.encode(0xE0, spec.oid_der + tlv.encode(0x88, number))


def vko(client: cards.Client, reference: int, ukm: bytes, size: int | None = None) -> int:
    """Choose VKO; the status word."""
    extra = tlv.encode(0xCA, ukm) + (b"" if size is None else tlv.encode(0xC9, bytes((size,))))
    return client.status(pki.mse(DECIPHER, pki.VKO, reference, extra))


@pytest.mark.parametrize("name", SETS)
def test_keys_of_every_set_are_made_and_sign_digests(name: str) -> None:
    spec, client = KeySpec.gost(name), cards.logged_in()
    public = make(client, 0, spec)
    client.ok(pki.mse(SIGN, pki.GOST_SIGN, 0))
    signature = client.ok(pki.sign(hashed(spec)))
    public.verify(Gost3410(), hashed(spec), signature)
    assert signature != client.ok(pki.sign(hashed(spec)))
    with pytest.raises(InvalidSignature):
        public.verify(Gost3410(), hashed(spec, b"another"), signature)


@pytest.mark.parametrize("name", SETS)
def test_two_owners_of_keys_agree(name: str) -> None:
    spec, client = KeySpec.gost(name), cards.logged_in()
    public = make(client, 0, spec)
    peer = gost_private(name, b"\x1a" * GOST_SIZES[spec.kind])
    for size in (32, 64):
        assert vko(client, 0, UKM, size) == SW.NO_ERROR
        assert client.ok(pki.derive(peer.public().point)) == peer.vko(public.point, UKM, size)
    assert vko(client, 0, UKM) == SW.NO_ERROR
    assert len(client.ok(pki.derive(peer.public().point))) == 32


@pytest.mark.parametrize("spec", [SHORT, LONG], ids=str)
def test_an_imported_key_is_the_one_that_was_sent(spec: KeySpec) -> None:
    client, number = cards.logged_in(), bytes(range(1, 1 + GOST_SIZES[spec.kind]))
    client.ok(pki.mse(GENERATE, KINDS[spec.kind], 0))
    client.ok(pki.put_key(put(spec, number)))
    public = gost_private(spec.curve, number).public()
    assert pki.point_of(client.ok(pki.public_key())) == public.point
    client.ok(pki.mse(SIGN, pki.GOST_SIGN, 0))
    public.verify(Gost3410(), hashed(spec), client.ok(pki.sign(hashed(spec))))


@pytest.mark.parametrize("size", [0, 1, 31, 33, 63, 64, 65])
def test_a_digest_of_another_length_is_not_signed(size: int) -> None:
    client = cards.logged_in()
    make(client, 0, SHORT)
    client.ok(pki.mse(SIGN, pki.GOST_SIGN, 0))
    assert client.status(pki.sign(bytes(size))) == SW.WRONG_LENGTH


@pytest.mark.parametrize(
    ("spec", "number"),
    [
        (SHORT, b""),
        (SHORT, bytes(32)),
        (SHORT, b"\x01" * 31),
        (SHORT, b"\x01" * 33),
        (SHORT, b"\xff" * 32),
        (SHORT, b"\x01" * 64),
        (LONG, bytes(64)),
        (LONG, b"\xff" * 64),
        (LONG, b"\x01" * 32),
    ],
)
def test_what_is_no_private_number_is_not_imported(spec: KeySpec, number: bytes) -> None:
    client = cards.logged_in()
    client.ok(pki.mse(GENERATE, KINDS[spec.kind], 0))
    assert client.status(pki.put_key(put(spec, number))) == SW.INCORRECT_DATA
    assert cards.key_list(client) == {}


@pytest.mark.parametrize(
    ("kind", "data", "answer"),
    [
        (pki.GOST_256, b"", SW.INCORRECT_DATA),
        (pki.GOST_256, LONG.oid_der, SW.INCORRECT_DATA),
        (pki.GOST_512, SHORT.oid_der, SW.INCORRECT_DATA),
        (pki.GOST_256, pki.p256(), SW.INCORRECT_DATA),
        (pki.EC, SHORT.oid_der, SW.INCORRECT_DATA),
        # The test set of RFC 7091, which is for nobody's keys.
        (pki.GOST_256, bytes.fromhex("06072a850302022300"), SW.FUNCTION_NOT_SUPPORTED),
        (pki.GOST_256, pki.explicit_p256(), SW.INCORRECT_DATA),
    ],
)
def test_a_set_that_is_missing_unknown_or_of_another_kind_makes_no_key(
    kind: int, data: bytes, answer: int
) -> None:
    client = cards.logged_in()
    client.ok(pki.mse(GENERATE, kind, 0))
    assert client.status(pki.generate(data)) == answer
    assert cards.key_list(client) == {}


def test_points_and_ukms_that_give_no_secret_are_refused() -> None:
    client = cards.logged_in()
    public = make(client, 0, SHORT)
    assert vko(client, 0, UKM) == SW.NO_ERROR
    on_curve = public.point
    for point in (
        b"",
        on_curve[:-1],
        on_curve + b"\0",
        bytes(64),
        bytes((on_curve[0] ^ 1,)) + on_curve[1:],
        b"\xff" * 64,
        b"\x04" + on_curve,
    ):
        assert client.status(pki.derive(point)) == SW.INCORRECT_DATA
    assert client.status(pki.decipher(on_curve)) == SW.CONDITIONS_NOT_SATISFIED
    assert vko(client, 0, b"") == SW.INCORRECT_DATA
    assert client.status(pki.mse(DECIPHER, pki.VKO, 0)) == SW.INCORRECT_DATA
    for ukm, size in ((bytes(8), 32), (b"\1" * 33, 32), (UKM, 33), (UKM, 1)):
        assert vko(client, 0, ukm, size) == SW.NO_ERROR
        assert client.status(pki.derive(on_curve)) == SW.WRONG_LENGTH


def test_a_key_does_only_what_its_kind_and_its_usage_allow() -> None:
    client = cards.logged_in()
    make(client, 0, SHORT)
    cards.make_key(client, 1)
    for template, algorithm, reference in (
        (SIGN, pki.ECDSA, 0),
        (SIGN, pki.EDDSA, 0),
        (SIGN, pki.GOST_SIGN, 1),
        (DECIPHER, pki.ECDH, 0),
    ):
        status = client.status(pki.mse(template, algorithm, reference))
        assert status == SW.CONDITIONS_NOT_SATISFIED
    assert vko(client, 1, UKM) == SW.CONDITIONS_NOT_SATISFIED
    public = make(client, 0, SHORT, pki.attributes(0x01))
    assert vko(client, 0, UKM) == SW.NO_ERROR
    assert client.status(pki.derive(public.point)) == SW.CONDITIONS_NOT_SATISFIED
    make(client, 0, SHORT, pki.attributes(0x04))
    client.ok(pki.mse(SIGN, pki.GOST_SIGN, 0))
    assert client.status(pki.sign(hashed(SHORT))) == SW.CONDITIONS_NOT_SATISFIED


def test_nobody_but_the_user_signs_or_agrees() -> None:
    bench = cards.operational()
    public = make(cards.logged_in(bench), 0, SHORT)
    stranger = bench.client()
    stranger.ok(pki.mse(SIGN, pki.GOST_SIGN, 0))
    assert stranger.status(pki.sign(hashed(SHORT))) == SW.SECURITY_STATUS_NOT_SATISFIED
    assert vko(stranger, 0, UKM) == SW.NO_ERROR
    assert stranger.status(pki.derive(public.point)) == SW.SECURITY_STATUS_NOT_SATISFIED


def test_the_list_tells_the_set_of_each_key_and_a_restart_keeps_them() -> None:
    bench = cards.operational()
    client = cards.logged_in(bench)
    specs = [KeySpec.gost(name) for name in SETS]
    publics = [make(client, reference, spec) for reference, spec in enumerate(specs)]
    again = cards.logged_in(bench.restarted())
    listed = cards.key_list(again)
    for reference, (spec, public) in enumerate(zip(specs, publics, strict=True)):
        assert listed[reference] == {
            0x84: bytes((0, reference)),
            0x80: bytes((KINDS[spec.kind],)),
            0x06: spec.oid_der[2:],
            0x9C: b"\x05",
            0x9D: b"\0",
        }
        again.ok(pki.mse(GENERATE, KINDS[spec.kind], reference))
        assert pki.point_of(again.ok(pki.public_key())) == public.point
        again.ok(pki.mse(SIGN, pki.GOST_SIGN, reference))
        public.verify(Gost3410(), hashed(spec), again.ok(pki.sign(hashed(spec))))
