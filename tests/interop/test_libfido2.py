"""libfido2 as an independent judge: another implementation of the client and of the checks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from ctypes import byref, c_void_p, string_at

import pytest
from cryptography import x509

from host_tools.testing.fido import FidoKey
from tests.interop import libfido2 as lib
from tests.interop.libfido2 import Device, FidoError
from token_fw.env import Sample
from token_fw.finger_sensor import Step

PIN, NEW_PIN, WRONG = b"48151623", b"42424242", b"00000000"
RP, HASH = b"example.org", hashlib.sha256(b"client data").digest()
SALT = bytes(range(32))
FINGER = Sample(b"thumb")


@pytest.fixture
def key() -> Iterator[FidoKey]:
    with FidoKey() as made, made.touched():
        yield made


@pytest.fixture
def device(key: FidoKey) -> Iterator[Device]:
    with Device(key) as made:
        made.do("fido_dev_set_pin", made.handle, PIN, None)
        yield made


def tries(device: Device) -> int:
    left = lib.number()
    device.do("fido_dev_get_retry_count", device.handle, byref(left))
    return left.value


def make(
    device: Device,
    algorithm: int = lib.ES256,
    *,
    pin: bytes | None = PIN,
    extensions: int = 0,
    resident: bool = False,
) -> c_void_p:
    """A credential, whose attestation libfido2 has verified."""
    made = device.pointer("fido_cred_new")
    device.do("fido_cred_set_type", made, algorithm)
    device.do("fido_cred_set_clientdata_hash", made, HASH, len(HASH))
    device.do("fido_cred_set_rp", made, RP, b"An example")
    device.do("fido_cred_set_user", made, b"user", 4, b"ann", b"Ann Lee", None)
    if extensions:
        device.do("fido_cred_set_extensions", made, extensions)
    if resident:
        device.do("fido_cred_set_rk", made, lib.TRUE)
    device.do("fido_dev_make_cred", device.handle, made, pin)
    device.do("fido_cred_verify", made)
    return made


def get(
    device: Device,
    made: c_void_p | None,
    *,
    pin: bytes | None = PIN,
    uv: bool = False,
    extensions: int = 0,
) -> c_void_p:
    """An assertion, of a credential or of whichever is on the token."""
    got = device.pointer("fido_assert_new")
    device.do("fido_assert_set_clientdata_hash", got, HASH, len(HASH))
    device.do("fido_assert_set_rp", got, RP)
    if made is not None:
        ident = device.bytes_of("fido_cred_id", made)
        device.do("fido_assert_allow_cred", got, ident, len(ident))
    if extensions:
        device.do("fido_assert_set_extensions", got, extensions)
    if extensions & lib.HMAC_SECRET:
        device.do("fido_assert_set_hmac_salt", got, SALT, len(SALT))
    if uv:
        device.do("fido_assert_set_uv", got, lib.TRUE)
    device.do("fido_dev_get_assert", device.handle, got, pin)
    return got


def verify(device: Device, got: c_void_p, made: c_void_p, algorithm: int = lib.ES256) -> None:
    """That the assertion is of the credential, by libfido2."""
    kind = {lib.ES256: "es256", lib.EDDSA: "eddsa", lib.RS256: "rs256"}[algorithm]
    public = device.pointer(f"{kind}_pk_new")
    encoded = device.bytes_of("fido_cred_pubkey", made)
    device.do(f"{kind}_pk_from_ptr", public, encoded, len(encoded))
    device.do("fido_assert_verify", got, 0, algorithm, public)


def test_it_is_taken_for_an_authenticator_with_a_pin(device: Device) -> None:
    assert device.number("fido_dev_is_fido2", device.handle) == 1
    assert device.number("fido_dev_has_pin", device.handle) == 1
    assert device.number("fido_dev_supports_credman", device.handle) == 1


def test_a_wrong_pin_costs_a_try_and_the_right_one_gives_it_back(
    device: Device, key: FidoKey
) -> None:
    assert tries(device) == 8
    for left, code in ((7, lib.PIN_INVALID), (6, lib.PIN_INVALID), (5, lib.PIN_AUTH_BLOCKED)):
        with pytest.raises(FidoError) as refused:
            make(device, pin=WRONG)
        assert refused.value.code == code
        assert tries(device) == left
    with pytest.raises(FidoError) as refused:
        make(device)
    assert refused.value.code == lib.PIN_AUTH_BLOCKED
    key.unplug()
    key.plug()
    with Device(key) as again:
        make(again)
        assert tries(again) == 8


def test_the_pin_is_changed(device: Device) -> None:
    device.do("fido_dev_set_pin", device.handle, NEW_PIN, PIN)
    with pytest.raises(FidoError) as refused:
        make(device)
    assert refused.value.code == lib.PIN_INVALID
    make(device, pin=NEW_PIN)


@pytest.mark.parametrize("algorithm", [lib.ES256, lib.EDDSA, lib.RS256])
def test_a_credential_signs_and_libfido2_verifies(device: Device, algorithm: int) -> None:
    made = make(device, algorithm)
    assert device.text("fido_cred_fmt", made) == "packed"
    x509.load_der_x509_certificate(device.bytes_of("fido_cred_x5c", made))
    verify(device, get(device, made), made, algorithm)


def test_a_discoverable_credential_is_found_and_managed(device: Device) -> None:
    made = make(device, resident=True)
    got = get(device, None)
    assert device.number("fido_assert_count", got) == 1
    verify(device, got, made)
    listed = device.pointer("fido_credman_rk_new")
    device.do("fido_credman_get_dev_rk", device.handle, RP, listed, PIN)
    assert device.number("fido_credman_rk_count", listed) == 1
    found = device.pointer("fido_credman_rk", listed, 0)
    ident = device.bytes_of("fido_cred_id", found)
    assert ident == device.bytes_of("fido_cred_id", made)
    device.do("fido_credman_del_dev_rk", device.handle, ident, len(ident), PIN)
    with pytest.raises(FidoError) as refused:
        get(device, None)
    assert refused.value.code == lib.NO_CREDENTIALS


def test_secrets_of_a_credential_differ_by_salt_and_by_credential(device: Device) -> None:
    secrets = set()
    for _ in range(2):
        made = make(device, extensions=lib.HMAC_SECRET, resident=True)
        for _ in range(2):
            got = get(device, made, extensions=lib.HMAC_SECRET)
            verify(device, got, made)
            secrets.add(device.bytes_of("fido_assert_hmac_secret", got, 0))
    assert len(secrets) == 2
    assert {len(secret) for secret in secrets} == {32}


def test_a_large_blob_is_written_and_read_with_the_key_of_a_credential(device: Device) -> None:
    made = make(device, extensions=lib.LARGE_BLOB_KEY, resident=True)
    blob_key = device.bytes_of("fido_cred_largeblob_key", made)
    blob = b"a certificate for SSH " * 40
    device.do(
        "fido_dev_largeblob_set", device.handle, blob_key, len(blob_key), blob, len(blob), PIN
    )
    place, size = lib.buffer()
    device.do(
        "fido_dev_largeblob_get", device.handle, blob_key, len(blob_key), byref(place), byref(size)
    )
    assert string_at(place, size.value) == blob


def test_a_finger_is_enrolled_and_stands_for_the_pin(device: Device, key: FidoKey) -> None:
    key.sensor.script(Step(FINGER) for _ in range(5))
    template = device.pointer("fido_bio_template_new")
    enrolment = device.pointer("fido_bio_enroll_new")
    device.do("fido_bio_dev_enroll_begin", device.handle, template, enrolment, 10000, PIN)
    while device.number("fido_bio_enroll_remaining_samples", enrolment):
        device.do("fido_bio_dev_enroll_continue", device.handle, template, enrolment, 10000)
    fingers = device.pointer("fido_bio_template_array_new")
    device.do("fido_bio_dev_get_template_array", device.handle, fingers, PIN)
    assert device.number("fido_bio_template_array_count", fingers) == 1
    made = make(device)
    key.sensor.forget()
    key.sensor.script([Step(FINGER)])
    # It has asked only once what the token has.
    with Device(key) as again:
        verify(again, get(again, made, pin=None, uv=True), made)


def test_u2f_makes_and_uses_credentials(key: FidoKey) -> None:
    with Device(key) as device:
        device.number("fido_dev_force_u2f", device.handle)
        made = make(device, pin=None)
        assert device.text("fido_cred_fmt", made) == "fido-u2f"
        verify(device, get(device, made, pin=None), made)


def test_a_reset_erases_the_credentials_and_the_pin(device: Device, key: FidoKey) -> None:
    make(device, resident=True)
    key.unplug()
    key.plug()
    with Device(key) as again:
        again.do("fido_dev_reset", again.handle)
        assert again.number("fido_dev_has_pin", again.handle) == 0
        with pytest.raises(FidoError) as refused:
            get(again, None, pin=None)
        assert refused.value.code == lib.NO_CREDENTIALS
