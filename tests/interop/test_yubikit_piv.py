"""yubikit, which ykman is made of, drives the PIV application as it drives a YubiKey."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.x509.oid import NameOID
from yubikit.core import InvalidPinError, NotSupportedError
from yubikit.core.smartcard import SW, ApduError
from yubikit.management import CAPABILITY, ManagementSession
from yubikit.piv import (
    DEFAULT_MANAGEMENT_KEY,
    KEY_TYPE,
    MANAGEMENT_KEY_TYPE,
    OBJECT_ID,
    PIN_POLICY,
    SLOT,
    TOUCH_POLICY,
    PivSession,
)

from tests import cards
from tests.interop.yubikit_card import Connection

PIN, PUK = "123456", "12345678"
NEW_PIN, NEW_PUK = "654321", "87654321"
MESSAGE = b"to be signed"
SIGNING = (
    KEY_TYPE.RSA2048,
    KEY_TYPE.RSA3072,
    KEY_TYPE.RSA4096,
    KEY_TYPE.ECCP256,
    KEY_TYPE.ECCP384,
    KEY_TYPE.ED25519,
)


@pytest.fixture(params=[True, False], ids=["extended", "short"])
def piv(request: pytest.FixtureRequest) -> PivSession:
    return session(cards.Bench(), extended=request.param)


def session(bench: cards.Bench, *, extended: bool = True) -> PivSession:
    return PivSession(Connection(bench.connect(), extended=extended))


def managed(bench: cards.Bench | None = None) -> PivSession:
    """A session that may do everything."""
    made = session(bench or cards.Bench())
    made.authenticate(DEFAULT_MANAGEMENT_KEY)
    made.verify_pin(PIN)
    return made


def verify(public: Any, signature: bytes) -> None:
    """Raises InvalidSignature."""
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, MESSAGE, ec.ECDSA(hashes.SHA256()))
    else:
        public.verify(signature, MESSAGE)


def sign(piv: PivSession, slot: SLOT, kind: KEY_TYPE) -> bytes:
    return piv.sign(slot, kind, MESSAGE, hashes.SHA256(), padding.PKCS1v15())


def certificate(public: Any, signer: Any) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    builder = x509.CertificateBuilder(name, name, public, 1)
    builder = builder.not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
    return builder.not_valid_after(datetime(2035, 1, 1, tzinfo=UTC)).sign(signer, hashes.SHA256())


def refused(call: Callable[[], object]) -> int:
    """The status word of a call that the card refuses."""
    with pytest.raises(ApduError) as refusal:
        call()
    return int(refusal.value.sw)


def test_the_card_says_of_itself_what_a_yubikey_says(piv: PivSession) -> None:
    assert str(piv.version) == "5.7.1"
    assert piv.get_serial() == int.from_bytes(cards.SERIAL[-4:], "big")
    assert piv.management_key_type is MANAGEMENT_KEY_TYPE.AES192
    with pytest.raises(NotSupportedError):
        piv.get_bio_metadata()


@pytest.mark.parametrize(
    ("shown", "capabilities"),
    [
        ((), CAPABILITY.PIV | CAPABILITY.FIDO2 | CAPABILITY.U2F),
        (("piv", "management"), CAPABILITY.PIV),
    ],
    ids=["all", "piv"],
)
def test_the_management_application_knows_serial_number_and_applications(
    shown: tuple[str, ...], capabilities: CAPABILITY
) -> None:
    card = cards.Bench().card
    info = ManagementSession(Connection(card.connect(*shown))).read_device_info()
    assert str(info.version) == "5.7.1"
    assert info.serial == int.from_bytes(cards.SERIAL[-4:], "big")
    assert set(info.supported_capabilities.values()) == {capabilities}


def test_factory_values_are_told_as_such_until_they_change() -> None:
    piv = managed()
    assert piv.get_pin_metadata().default_value
    assert piv.get_puk_metadata().default_value
    assert piv.get_management_key_metadata().default_value
    piv.change_pin(PIN, NEW_PIN)
    piv.change_puk(PUK, NEW_PUK)
    piv.set_management_key(MANAGEMENT_KEY_TYPE.AES256, bytes(range(32)))
    assert not piv.get_pin_metadata().default_value
    assert not piv.get_puk_metadata().default_value
    assert not piv.get_management_key_metadata().default_value


def test_a_pin_is_verified_blocked_and_unblocked(piv: PivSession) -> None:
    piv.verify_pin(PIN)
    for left in (2, 1, 0):
        with pytest.raises(InvalidPinError) as refusal:
            piv.verify_pin("111111")
        assert refusal.value.attempts_remaining == left
    with pytest.raises(InvalidPinError):
        piv.verify_pin(PIN)
    with pytest.raises(InvalidPinError) as refusal:
        piv.unblock_pin("11111111", NEW_PIN)
    assert refusal.value.attempts_remaining == 2
    piv.unblock_pin(PUK, NEW_PIN)
    piv.verify_pin(NEW_PIN)
    assert piv.get_puk_metadata().attempts_remaining == 3


@pytest.mark.parametrize("kind", SIGNING)
def test_a_key_of_every_kind_is_made_told_and_signs(kind: KEY_TYPE) -> None:
    piv = managed()
    public = piv.generate_key(SLOT.AUTHENTICATION, kind)
    verify(public, sign(piv, SLOT.AUTHENTICATION, kind))
    told = piv.get_slot_metadata(SLOT.AUTHENTICATION)
    assert (told.key_type, told.generated) == (kind, True)
    assert (told.pin_policy, told.touch_policy) == (PIN_POLICY.ONCE, TOUCH_POLICY.NEVER)
    assert told.public_key == public


@pytest.mark.parametrize(
    "scheme",
    [padding.PKCS1v15(), padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)],
)
def test_an_rsa_key_decrypts(scheme: padding.AsymmetricPadding) -> None:
    piv = managed()
    public = piv.generate_key(SLOT.KEY_MANAGEMENT, KEY_TYPE.RSA2048)
    assert isinstance(public, rsa.RSAPublicKey)
    cryptogram = public.encrypt(b"a session key", scheme)
    assert piv.decrypt(SLOT.KEY_MANAGEMENT, cryptogram, scheme) == b"a session key"


def test_pss_signatures_are_padded_by_the_client() -> None:
    piv = managed()
    public = piv.generate_key(SLOT.AUTHENTICATION, KEY_TYPE.RSA2048)
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    signature = piv.sign(SLOT.AUTHENTICATION, KEY_TYPE.RSA2048, MESSAGE, hashes.SHA256(), scheme)
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(signature, MESSAGE, scheme, hashes.SHA256())


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
def test_keys_on_a_curve_agree_on_a_secret(curve: ec.EllipticCurve) -> None:
    piv, peer = managed(), ec.generate_private_key(curve)
    kind = KEY_TYPE.from_public_key(peer.public_key())
    public = piv.generate_key(SLOT.KEY_MANAGEMENT, kind)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    secret = piv.calculate_secret(SLOT.KEY_MANAGEMENT, peer.public_key())
    assert secret == peer.exchange(ec.ECDH(), public)


def test_x25519_keys_agree_on_a_secret() -> None:
    piv, peer = managed(), x25519.X25519PrivateKey.generate()
    public = piv.generate_key(SLOT.RETIRED20, KEY_TYPE.X25519)
    assert isinstance(public, x25519.X25519PublicKey)
    assert piv.calculate_secret(SLOT.RETIRED20, peer.public_key()) == peer.exchange(public)


@pytest.mark.parametrize(
    "private",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["RSA", "P-256", "P-384", "Ed25519"],
)
def test_an_imported_key_signs_and_is_never_attested(private: Any) -> None:
    piv = managed()
    kind = piv.put_key(SLOT.CARD_AUTH, private, PIN_POLICY.ONCE, TOUCH_POLICY.NEVER)
    verify(private.public_key(), sign(piv, SLOT.CARD_AUTH, kind))
    assert not piv.get_slot_metadata(SLOT.CARD_AUTH).generated
    assert refused(lambda: piv.attest_key(SLOT.CARD_AUTH)) == SW.CONDITIONS_NOT_SATISFIED


def test_the_signature_key_wants_the_pin_before_each_use() -> None:
    piv = managed()
    public = piv.generate_key(SLOT.SIGNATURE, KEY_TYPE.ECCP256)
    denied = SW.SECURITY_CONDITION_NOT_SATISFIED
    assert refused(lambda: sign(piv, SLOT.SIGNATURE, KEY_TYPE.ECCP256)) == denied
    piv.verify_pin(PIN)
    verify(public, sign(piv, SLOT.SIGNATURE, KEY_TYPE.ECCP256))
    assert refused(lambda: sign(piv, SLOT.SIGNATURE, KEY_TYPE.ECCP256)) == denied


@pytest.mark.parametrize("compress", [False, True])
def test_a_certificate_is_kept_and_deleted(piv: PivSession, compress: bool) -> None:
    piv.authenticate(DEFAULT_MANAGEMENT_KEY)
    signer = rsa.generate_private_key(65537, 2048)
    made = certificate(signer.public_key(), signer)
    piv.put_certificate(SLOT.AUTHENTICATION, made, compress)
    assert piv.get_certificate(SLOT.AUTHENTICATION) == made
    piv.delete_certificate(SLOT.AUTHENTICATION)
    absent = refused(lambda: piv.get_certificate(SLOT.AUTHENTICATION))
    assert absent == SW.FILE_NOT_FOUND


def test_an_attestation_says_what_key_it_is_and_where_it_was_made() -> None:
    piv = managed()
    public = piv.generate_key(
        SLOT.SIGNATURE, KEY_TYPE.ECCP384, PIN_POLICY.ONCE, TOUCH_POLICY.CACHED
    )
    attested = piv.attest_key(SLOT.SIGNATURE)
    authority = piv.get_certificate(SLOT.ATTESTATION)
    attested.verify_directly_issued_by(authority)
    authority.verify_directly_issued_by(authority)
    assert attested.public_key() == public
    told = {
        extension.oid.dotted_string.rpartition(".")[2]: extension.value.public_bytes()
        for extension in attested.extensions
    }
    serial = int.from_bytes(cards.SERIAL[-4:], "big")
    assert told["3"] == bytes((5, 7, 1))
    assert told["7"] == bytes((0x02, 4)) + serial.to_bytes(4, "big")
    assert told["8"] == bytes((PIN_POLICY.ONCE, TOUCH_POLICY.CACHED))


def test_tries_are_set_and_the_pins_get_their_factory_values() -> None:
    piv = managed()
    piv.change_puk(PUK, NEW_PUK)
    piv.set_pin_attempts(20, 5)
    told = piv.get_pin_metadata()
    assert (told.total_attempts, told.attempts_remaining) == (20, 20)
    with pytest.raises(InvalidPinError) as refusal:
        piv.verify_pin("111111")
    assert refusal.value.attempts_remaining == 15
    assert piv.get_pin_metadata().attempts_remaining == 19
    piv.change_puk(PUK, NEW_PUK)


@pytest.mark.parametrize("kind", MANAGEMENT_KEY_TYPE)
def test_the_management_key_is_of_any_kind(kind: MANAGEMENT_KEY_TYPE) -> None:
    bench = cards.Bench()
    value = bytes(range(1, kind.key_len + 1))
    managed(bench).set_management_key(kind, value)
    piv = session(bench)
    assert piv.management_key_type is kind
    piv.authenticate(value)
    piv.put_object(OBJECT_ID.CHUID, b"written")
    wrong = session(bench)
    denied = refused(lambda: wrong.authenticate(bytes(reversed(value))))
    assert denied == SW.SECURITY_CONDITION_NOT_SATISFIED


def test_a_key_moves_with_its_policies_and_is_deleted() -> None:
    piv = managed()
    public = piv.generate_key(SLOT.AUTHENTICATION, KEY_TYPE.ED25519, PIN_POLICY.NEVER)
    piv.move_key(SLOT.AUTHENTICATION, SLOT.RETIRED1)
    moved = piv.get_slot_metadata(SLOT.RETIRED1)
    assert (moved.public_key, moved.pin_policy) == (public, PIN_POLICY.NEVER)
    gone = SW.REFERENCE_DATA_NOT_FOUND
    assert refused(lambda: piv.get_slot_metadata(SLOT.AUTHENTICATION)) == gone
    piv.delete_key(SLOT.RETIRED1)
    assert refused(lambda: sign(piv, SLOT.RETIRED1, KEY_TYPE.ED25519)) == gone


def test_a_reset_application_is_factory_new_but_for_the_attestation_key() -> None:
    bench = cards.Bench()
    piv = managed(bench)
    authority = piv.get_certificate(SLOT.ATTESTATION)
    piv.set_management_key(MANAGEMENT_KEY_TYPE.TDES, bytes(range(24)))
    piv.generate_key(SLOT.AUTHENTICATION, KEY_TYPE.ECCP256)
    piv.put_object(OBJECT_ID.CHUID, b"written")
    piv.change_pin(PIN, NEW_PIN)
    piv.reset()
    again = managed(bench)
    assert again.get_pin_attempts() == 3
    assert refused(lambda: again.get_slot_metadata(SLOT.AUTHENTICATION))
    assert refused(lambda: again.get_object(OBJECT_ID.CHUID)) == SW.FILE_NOT_FOUND
    assert again.get_certificate(SLOT.ATTESTATION) == authority
    again.generate_key(SLOT.CARD_AUTH, KEY_TYPE.ECCP256)
    again.attest_key(SLOT.CARD_AUTH).verify_directly_issued_by(authority)


def test_printed_information_is_read_with_the_pin_alone() -> None:
    bench = cards.Bench()
    managed(bench).put_object(OBJECT_ID.PRINTED, b"a name")
    piv = session(bench)
    denied = refused(lambda: piv.get_object(OBJECT_ID.PRINTED))
    assert denied == SW.SECURITY_CONDITION_NOT_SATISFIED
    piv.verify_pin(PIN)
    assert piv.get_object(OBJECT_ID.PRINTED) == b"a name"
