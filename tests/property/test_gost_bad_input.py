"""Whatever is not a key, a point, a digest or a signature of GOST gives an error, nothing else."""

from __future__ import annotations

from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from apdu import tlv
from apdu.model import SW
from host_tools.conformance import pki_commands as pki
from pkcs11_module import _constants as ck
from pkcs11_module.types import Gostr3410DeriveParams, Mechanism
from tests import cards
from tests.unit.facade_rig import Client, Rig, Value, template
from token_fw.crypto import (
    Gost3410,
    InvalidKey,
    InvalidSignature,
    KeySpec,
    gost_private,
    gost_public,
)

SPEC = KeySpec.gost("CryptoPro-A")
ORDER = int("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF6C611070995AD10045841B09B761B893", 16)
KEY = gost_private(SPEC.curve, b"\x1a" * 32)
DIGEST = bytes(range(32))
UKM = bytes.fromhex("1d80603c8544c727")
ANY = st.one_of(st.binary(max_size=140), st.binary(min_size=64, max_size=64))
REFUSALS = {SW.INCORRECT_DATA, SW.WRONG_LENGTH, SW.FUNCTION_NOT_SUPPORTED}


@cache
def card() -> cards.Client:
    client = cards.logged_in()
    client.ok(pki.mse(pki.GENERATE, pki.GOST_256, 0))
    client.ok(pki.put_key(tlv.encode(0xE0, SPEC.oid_der + tlv.encode(0x88, KEY.d))))
    return client


@cache
def facade() -> tuple[Client, int, int, int]:
    """A client, its session, and the two halves of the key in it."""
    client = Rig().initialised()
    session = client.user()
    common: dict[str, Value] = {"KEY_TYPE": ck.CKK_GOSTR3410, "GOSTR3410_PARAMS": SPEC.oid_der}
    public = template(CLASS=ck.CKO_PUBLIC_KEY, VALUE=KEY.public().point, **common)
    private = template(CLASS=ck.CKO_PRIVATE_KEY, VALUE=KEY.d[::-1], DERIVE=True, **common)
    made = (client("C_CreateObject", session, given) for given in (public, private))
    return client, session, *made


def is_point(data: bytes) -> bool:
    try:
        gost_public(SPEC.curve, data)
    except InvalidKey:
        return False
    return True


@given(ANY)
def test_the_card_agrees_with_points_alone(point: bytes) -> None:
    client = card()
    client.ok(pki.mse(pki.DECIPHER, pki.VKO, 0, tlv.encode(0xCA, UKM)))
    expected = {SW.NO_ERROR} if is_point(point) else {SW.INCORRECT_DATA}
    assert client.status(pki.derive(point)) in expected


@given(ANY)
def test_the_card_signs_digests_alone(data: bytes) -> None:
    client = card()
    client.ok(pki.mse(pki.SIGN, pki.GOST_SIGN, 0))
    expected = SW.NO_ERROR if len(data) == 32 else SW.WRONG_LENGTH
    assert client.status(pki.sign(data)) == expected


@given(st.one_of(st.binary(max_size=70), st.binary(min_size=32, max_size=32)))
def test_the_card_keeps_private_numbers_alone(number: bytes) -> None:
    client = cards.logged_in(_bench())
    client.ok(pki.mse(pki.GENERATE, pki.GOST_256, 1))
    fits = len(number) == 32 and 0 < int.from_bytes(number, "big") < ORDER
    data = tlv.encode(0xE0, SPEC.oid_der + tlv.encode(0x88, number))
    expected = SW.NO_ERROR if fits else SW.INCORRECT_DATA
    assert client.status(pki.put_key(data)) == expected


@cache
def _bench() -> cards.Bench:
    return cards.operational()


@given(st.binary(max_size=40), st.binary(max_size=80), st.integers(0, 255))
def test_what_is_chosen_and_imported_never_breaks_the_card(
    ukm: bytes, template_: bytes, size: int
) -> None:
    client = card()
    parameters = tlv.encode(0xCA, ukm) + tlv.encode(0xC9, bytes((size,)))
    status = client.status(pki.mse(pki.DECIPHER, pki.VKO, 0, parameters))
    assert status in REFUSALS | {SW.NO_ERROR}
    if status == SW.NO_ERROR:
        status = client.status(pki.derive(KEY.public().point))
        assert status == (SW.NO_ERROR if any(ukm) and size in {32, 64} else SW.WRONG_LENGTH) or (
            len(ukm) > 32 and status == SW.WRONG_LENGTH
        )
    client.ok(pki.mse(pki.GENERATE, pki.GOST_256, 2))
    assert client.status(pki.put_key(tlv.encode(0xE0, template_))) in REFUSALS


@given(
    st.one_of(
        st.binary(max_size=130),
        st.tuples(
            st.sampled_from((0, 1, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1)),
            st.sampled_from((0, 1, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1)),
        ).map(lambda both: b"".join(number.to_bytes(32, "big") for number in both)),
    )
)
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    client, session, public, _ = facade()
    client("C_VerifyInit", session, Mechanism(ck.CKM_GOSTR3410), public)
    length = "CKR_SIGNATURE_LEN_RANGE" if len(signature) != 64 else "CKR_SIGNATURE_INVALID"
    assert client.fails("C_Verify", session, DIGEST, signature) == length
    try:
        KEY.public().verify(Gost3410(), DIGEST, signature)
    except InvalidSignature:
        return
    raise AssertionError("a signature that nobody made")


@given(ANY, st.binary(max_size=40), st.integers(0, 2**64 - 1))
def test_pkcs11_agrees_with_points_alone(point: bytes, ukm: bytes, kdf: int) -> None:
    client, session, _, private = facade()
    parameter = Gostr3410DeriveParams(kdf, point, ukm)
    mechanism = Mechanism(ck.CKM_GOSTR3410_12_DERIVE, parameter)
    outcome = client.outcome("C_DeriveKey", session, mechanism, private, template())
    fits = kdf in {ck.CKD_NULL, ck.CKD_KDF_GOSTR3411_2012_256}
    fits = fits and any(ukm) and len(ukm) <= 32 and is_point(point)
    assert outcome == ("CKR_OK" if fits else "CKR_MECHANISM_PARAM_INVALID")


@given(ANY)
def test_pkcs11_makes_public_keys_of_points_alone(point: bytes) -> None:
    client, session, _, _ = facade()
    made = template(
        CLASS=ck.CKO_PUBLIC_KEY,
        KEY_TYPE=ck.CKK_GOSTR3410,
        GOSTR3410_PARAMS=SPEC.oid_der,
        VALUE=point,
    )
    outcome = client.outcome("C_CreateObject", session, made)
    assert outcome == ("CKR_OK" if is_point(point) else "CKR_ATTRIBUTE_VALUE_INVALID")
