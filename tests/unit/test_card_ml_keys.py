"""ML-DSA and ML-KEM keys on the card; every result is checked with `cryptography`."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import mldsa, mlkem

from apdu import tlv
from apdu.model import SW
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.pki_commands import DECIPHER, GENERATE, SIGN
from tests import cards

MESSAGE = b"a message to sign"
KemPrivate = mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey
KemPublic = mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey
DsaPrivate = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
DsaPublic = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
DSA: dict[int, tuple[type[DsaPrivate], type[DsaPublic], int]] = {
    44: (mldsa.MLDSA44PrivateKey, mldsa.MLDSA44PublicKey, 2420),
    65: (mldsa.MLDSA65PrivateKey, mldsa.MLDSA65PublicKey, 3309),
    87: (mldsa.MLDSA87PrivateKey, mldsa.MLDSA87PublicKey, 4627),
}
KEM: dict[int, tuple[type[KemPrivate], type[KemPublic]]] = {
    768: (mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey),
    1024: (mlkem.MLKEM1024PrivateKey, mlkem.MLKEM1024PublicKey),
}
SEED_32, SEED_64 = bytes(range(32)), bytes(range(64))


def sign(client: cards.Client, data: bytes, context: bytes | None = None) -> bytes:
    extra = b"" if context is None else tlv.encode(0xC5, context)
    client.ok(pki.mse(SIGN, pki.ML_DSA_SIGN, 0, extra))
    return client.ok(pki.sign(data))


@pytest.mark.parametrize("level", DSA)
def test_ml_dsa_keys_are_made_and_sign_messages_of_any_length(level: int) -> None:
    client = cards.logged_in()
    public = DSA[level][1].from_public_bytes(cards.make_key(client, 0, pki.ML_DSA[level]))
    for message in (b"", MESSAGE, bytes(1 << 16)):
        signature = sign(client, message)
        assert len(signature) == DSA[level][2]
        public.verify(signature, message)
    assert client.status(pki.sign(bytes((1 << 16) + 1))) == SW.WRONG_LENGTH


def test_a_context_is_signed_with_the_message() -> None:
    client = cards.logged_in()
    public = mldsa.MLDSA44PublicKey.from_public_bytes(cards.make_key(client, 0, pki.ML_DSA[44]))
    for context in (b"", b"context", bytes(255)):
        public.verify(sign(client, MESSAGE, context), MESSAGE, context)
    with pytest.raises(InvalidSignature):
        public.verify(sign(client, MESSAGE, b"context"), MESSAGE)
    client.ok(pki.mse(SIGN, pki.ML_DSA_SIGN, 0, tlv.encode(0xC5, bytes(256))))
    assert client.status(pki.sign(MESSAGE)) == SW.WRONG_LENGTH


@pytest.mark.parametrize("level", KEM)
def test_ml_kem_keys_are_made_and_decapsulate(level: int) -> None:
    client = cards.logged_in()
    public = KEM[level][1].from_public_bytes(cards.make_key(client, 0, pki.ML_KEM[level]))
    shared, cryptogram = public.encapsulate()
    client.ok(pki.mse(DECIPHER, pki.ML_KEM_DECAPSULATE, 0))
    assert client.ok(pki.decipher(cryptogram)) == shared
    assert client.status(pki.decipher(cryptogram[:-1])) == SW.WRONG_LENGTH
    # A changed cryptogram gives another secret and no error (FIPS 203, 6.3).
    other = client.ok(pki.decipher(bytes((cryptogram[0] ^ 1,)) + cryptogram[1:]))
    assert (len(other), other == shared) == (32, False)


@pytest.mark.parametrize("level", DSA)
def test_an_imported_ml_dsa_key_is_the_one_that_was_sent(level: int) -> None:
    client = cards.logged_in()
    client.ok(pki.mse(GENERATE, pki.ML_DSA[level], 0))
    client.ok(pki.put_value(SEED_32))
    public = DSA[level][0].from_seed_bytes(SEED_32).public_key()
    assert pki.point_of(client.ok(pki.public_key())) == public.public_bytes_raw()
    public.verify(sign(client, MESSAGE), MESSAGE)


@pytest.mark.parametrize("level", KEM)
def test_an_imported_ml_kem_key_is_the_one_that_was_sent(level: int) -> None:
    client = cards.logged_in()
    client.ok(pki.mse(GENERATE, pki.ML_KEM[level], 0))
    client.ok(pki.put_value(SEED_64))
    public = KEM[level][0].from_seed_bytes(SEED_64).public_key()
    assert pki.point_of(client.ok(pki.public_key())) == public.public_bytes_raw()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pki.ML_DSA[44], bytes(31)),
        (pki.ML_DSA[44], SEED_64),
        (pki.ML_KEM[768], SEED_32),
        (pki.ML_KEM[768], b""),
        (pki.RSA_2048, SEED_32),
    ],
)
def test_what_is_no_seed_of_the_kind_is_not_imported(kind: int, value: bytes) -> None:
    client = cards.logged_in()
    client.ok(pki.mse(GENERATE, kind, 0))
    assert client.status(pki.put_value(value)) == SW.INCORRECT_DATA
    assert cards.key_list(client) == {}


def test_the_list_of_keys_says_what_each_is_and_a_restart_keeps_them() -> None:
    bench = cards.operational()
    client = cards.logged_in(bench)
    kinds = [*pki.ML_DSA.values(), *pki.ML_KEM.values()]
    points = [cards.make_key(client, reference, kind) for reference, kind in enumerate(kinds)]
    again = cards.logged_in(bench.restarted())
    listed = cards.key_list(again)
    usages = [0x01] * len(pki.ML_DSA) + [0x02] * len(pki.ML_KEM)
    for reference, (kind, usage) in enumerate(zip(kinds, usages, strict=True)):
        assert listed[reference] == {
            0x84: bytes((0, reference)),
            0x80: bytes((kind,)),
            0x9C: bytes((usage,)),
            0x9D: b"\0",
        }
        again.ok(pki.mse(GENERATE, kind, reference))
        assert pki.point_of(again.ok(pki.public_key())) == points[reference]
    mldsa.MLDSA44PublicKey.from_public_bytes(points[0]).verify(sign(again, MESSAGE), MESSAGE)


def test_a_key_does_only_what_its_kind_does() -> None:
    client = cards.logged_in()
    cards.make_key(client, 0, pki.ML_DSA[44])
    cards.make_key(client, 1, pki.ML_KEM[768])
    for template, algorithm, key in (
        (SIGN, pki.ML_DSA_SIGN, 1),
        (SIGN, pki.EDDSA, 0),
        (DECIPHER, pki.ML_KEM_DECAPSULATE, 0),
        (DECIPHER, pki.ECDH, 1),
    ):
        assert client.status(pki.mse(template, algorithm, key)) == SW.CONDITIONS_NOT_SATISFIED
    client.ok(pki.mse(DECIPHER, pki.ML_KEM_DECAPSULATE, 1))
    assert client.status(pki.derive(bytes(1088))) == SW.CONDITIONS_NOT_SATISFIED
    for reference, kind in ((0, pki.ML_DSA[44]), (1, pki.ML_KEM[768])):
        cards.make_key(client, reference, kind, pki.attributes(0x04))
    client.ok(pki.mse(SIGN, pki.ML_DSA_SIGN, 0))
    assert client.status(pki.sign(MESSAGE)) == SW.CONDITIONS_NOT_SATISFIED
    client.ok(pki.mse(DECIPHER, pki.ML_KEM_DECAPSULATE, 1))
    assert client.status(pki.decipher(bytes(1088))) == SW.CONDITIONS_NOT_SATISFIED
    assert client.status(pki.derive(bytes(1088))) == SW.INCORRECT_DATA
