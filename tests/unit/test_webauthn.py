"""Relying parties and browsers before the token: python-fido2's Fido2Server and Fido2Client."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from cryptography import x509
from fido2.attestation.base import UntrustedAttestation
from fido2.client import ClientError
from fido2.cose import CoseKey
from fido2.ctap2.base import Ctap2
from fido2.ctap2.bio import FPBioEnrollment
from fido2.ctap2.config import Config
from fido2.ctap2.credman import CredentialManagement
from fido2.ctap2.extensions import (
    CredBlobExtension,
    CredPropsExtension,
    CredProtectExtension,
    LargeBlobExtension,
    MinPinLengthExtension,
    PinComplexityPolicyExtension,
)
from fido2.ctap2.pin import ClientPin

from host_tools.testing.fido import FidoKey
from host_tools.testing.webauthn import WebAuthn
from tests.fido_clients import card_device
from token_fw.env import Sample
from token_fw.finger_sensor import Step

PIN = "correct horse"
FINGER, OTHER = Sample(b"thumb"), Sample(b"somebody else's")


@pytest.fixture
def key() -> Iterator[FidoKey]:
    with FidoKey(patience=5) as made, made.touched():
        yield made


@pytest.fixture
def secured(key: FidoKey) -> FidoKey:
    """With a PIN."""
    ClientPin(Ctap2(key.device())).set_pin(PIN)
    return key


def token_of(key: FidoKey, permissions: ClientPin.PERMISSION) -> tuple[Ctap2, ClientPin, bytes]:
    ctap2 = Ctap2(key.device())
    client = ClientPin(ctap2)
    return ctap2, client, client.get_pin_token(PIN, permissions)


def enrol(key: FidoKey) -> None:
    """Enrol the user's finger."""
    ctap2, client, token = token_of(key, ClientPin.PERMISSION.BIO_ENROLL)
    enrolment = FPBioEnrollment(ctap2, client.protocol, token).enroll()
    template = None
    while template is None:
        key.sensor.script([Step(FINGER)])
        template = enrolment.capture()


def authority(key: FidoKey) -> bytes:
    """The certificate of the token's attestation authority, as whoever made the token has it."""
    Ctap2(key.device()).get_info()
    return key.card.authenticator.core.attester.chain()[-1]


def test_a_user_registers_and_logs_in_without_a_pin(key: FidoKey) -> None:
    page = WebAuthn(key.device())
    made = page.register(uv="discouraged")
    logged_in = page.log_in(made, uv="discouraged")
    assert logged_in.credential == made.credential
    assert logged_in.data.is_user_present()
    assert not logged_in.data.is_user_verified()
    assert page.log_in(made, uv="discouraged").data.counter > logged_in.data.counter


def test_a_user_is_verified_by_the_pin(secured: FidoKey) -> None:
    page = WebAuthn(secured.device(), pin=PIN)
    made = page.register(uv="required")
    assert made.data.is_user_verified()
    assert page.log_in(made, uv="required").data.is_user_verified()
    with pytest.raises(ClientError):
        WebAuthn(secured.device(), pin="wrong horse").log_in(made, uv="required")


def test_a_user_is_verified_by_a_finger(secured: FidoKey) -> None:
    enrol(secured)
    page = WebAuthn(secured.device())
    secured.sensor.script([Step(FINGER), Step(FINGER)])
    made = page.register(uv="required")
    assert page.log_in(made, uv="required").data.is_user_verified()
    secured.sensor.script([Step(OTHER)])
    with pytest.raises(ClientError):
        page.log_in(made, uv="required")


def test_where_no_finger_fits_the_browser_asks_for_the_pin(secured: FidoKey) -> None:
    enrol(secured)
    page = WebAuthn(secured.device(), pin=PIN)
    secured.sensor.script([Step(FINGER)])
    made = page.register(uv="required")
    secured.sensor.script([Step(OTHER)] * 3)
    for _ in range(3):
        try:
            logged_in = page.log_in(made, uv="required")
        except ClientError:
            continue
        break
    else:
        logged_in = page.log_in(made, uv="required")
    assert logged_in.data.is_user_verified()


def test_a_passkey_is_found_without_its_name(secured: FidoKey) -> None:
    page = WebAuthn(secured.device(), pin=PIN)
    ann, bob = (page.register(name, discoverable=True) for name in ("ann", "bob"))
    logged_in = page.log_in(ann, bob, offered=False)
    # The one that was made last comes first.
    assert logged_in.credential == bob.credential
    assert logged_in.response.response.user_handle == bob.user


def test_a_token_that_is_known_is_not_registered_again(secured: FidoKey) -> None:
    page = WebAuthn(secured.device(), pin=PIN)
    made = page.register()
    with pytest.raises(ClientError) as refused:
        page.register(known=[made.credential])
    assert refused.value.code == ClientError.ERR.DEVICE_INELIGIBLE


@pytest.mark.parametrize(
    "algorithm", [-7, -8, -35, -36, -257, *{-48, -49, -50} & {*CoseKey.supported_algorithms()}]
)
def test_every_algorithm_of_the_server_works(secured: FidoKey, algorithm: int) -> None:
    page = WebAuthn(secured.device(), pin=PIN)
    page.server.allowed_algorithms = [
        one for one in page.server.allowed_algorithms if one.alg == algorithm
    ]
    made = page.register()
    assert made.credential.public_key[3] == algorithm
    page.log_in(made)


def test_the_attestation_leads_to_the_tokens_authority_and_to_no_other(secured: FidoKey) -> None:
    made = WebAuthn(secured.device(), pin=PIN, authority=authority(secured)).register()
    leaf = x509.load_der_x509_certificate(made.certificates[0])
    extension = leaf.extensions.get_extension_for_oid(
        x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
    )
    assert isinstance(extension.value, x509.UnrecognizedExtension)
    assert extension.value.value[2:] == bytes(made.credential.aaguid)
    with FidoKey() as other:
        stranger = WebAuthn(secured.device(), pin=PIN, authority=authority(other))
        with pytest.raises(UntrustedAttestation):
            stranger.register()


def test_an_enterprise_learns_the_serial_number_where_that_is_allowed(secured: FidoKey) -> None:
    trusted = authority(secured)
    made = WebAuthn(secured.device(), pin=PIN, authority=trusted).register()
    assert secured.serial not in made.certificates[0]
    ctap2, client, token = token_of(secured, ClientPin.PERMISSION.AUTHENTICATOR_CFG)
    Config(ctap2, client.protocol, token).enable_enterprise_attestation()
    # The browser has asked only once what the token has.
    page = WebAuthn(secured.device(), pin=PIN, authority=trusted, enterprise=True)
    assert secured.serial in page.register().certificates[0]


def test_a_page_gets_the_same_secret_for_the_same_input(secured: FidoKey) -> None:
    page = WebAuthn(secured.device(), pin=PIN)
    made = page.register(extensions={"prf": {}}, discoverable=True)
    assert made.extensions.prf.enabled
    first, second = os.urandom(32), os.urandom(32)

    def secrets(**inputs: bytes) -> list[bytes]:
        extensions = {"prf": {"eval": inputs}}
        results = page.log_in(made, uv="required", extensions=extensions).extensions.prf.results
        return [value for value in (results.first, results.second) if value]

    (alone,) = secrets(first=first)
    assert secrets(first=first, second=second)[0] == alone
    assert secrets(first=second) != [alone]


def test_a_page_keeps_a_large_blob_at_the_token(secured: FidoKey) -> None:
    page = WebAuthn(secured.device(), pin=PIN, extensions=[LargeBlobExtension()])
    made = page.register(discoverable=True, extensions={"largeBlob": {"support": "required"}})
    assert made.extensions.large_blob.supported
    blob = b"what the page wants to find again " * 20
    written = page.log_in(made, uv="required", extensions={"largeBlob": {"write": blob}})
    assert written.extensions.large_blob.written
    read = page.log_in(made, uv="required", extensions={"largeBlob": {"read": True}})
    assert read.extensions.large_blob.blob == blob


def test_a_page_keeps_a_small_blob_and_asks_for_protection(secured: FidoKey) -> None:
    page = WebAuthn(
        secured.device(),
        pin=PIN,
        extensions=[CredBlobExtension(), CredProtectExtension(), CredPropsExtension()],
    )
    made = page.register(
        discoverable=True,
        extensions={
            "credBlob": b"small",
            "credProps": True,
            "credentialProtectionPolicy": "userVerificationRequired",
        },
    )
    assert made.extensions.cred_props.rk
    assert made.data.extensions == {"credBlob": True, "credProtect": 3}
    got = page.log_in(made, uv="required", extensions={"getCredBlob": True})
    assert got.data.extensions == {"credBlob": b"small"}


def test_a_page_that_the_owner_trusts_learns_what_pins_have_to_be(secured: FidoKey) -> None:
    ctap2, client, token = token_of(secured, ClientPin.PERMISSION.AUTHENTICATOR_CFG)
    Config(ctap2, client.protocol, token).set_min_pin_length(
        6, rp_ids=["example.org"], pin_complexity_policy=True
    )
    another = "another correct horse"
    client.change_pin(PIN, another)
    asked = {"minPinLength": True, "pinComplexityPolicy": True}

    def told(rp_id: str) -> object:
        extensions = [MinPinLengthExtension(), PinComplexityPolicyExtension()]
        page = WebAuthn(secured.device(), rp_id, pin=another, extensions=extensions)
        return page.register(extensions=asked).data.extensions

    assert told("example.org") == asked | {"minPinLength": 6}
    assert told("example.com") is None


def test_what_is_deleted_logs_nobody_in(secured: FidoKey) -> None:
    page = WebAuthn(secured.device(), pin=PIN)
    made = page.register(discoverable=True)
    ctap2, client, token = token_of(secured, ClientPin.PERMISSION.CREDENTIAL_MGMT)
    manager = CredentialManagement(ctap2, client.protocol, token)
    ((rp,),) = [[one[CredentialManagement.RESULT.RP]["id"]] for one in manager.enumerate_rps()]
    assert rp == "example.org"
    (found,) = manager.enumerate_creds(made.data.rp_id_hash)
    ident = found[CredentialManagement.RESULT.CREDENTIAL_ID]
    assert ident["id"] == made.credential.credential_id
    manager.delete_cred(ident)
    with pytest.raises(ClientError):
        page.log_in(made)


def test_a_token_in_a_card_reader_serves_the_same_pages(secured: FidoKey) -> None:
    device = card_device(secured.card.connect("fido2"))
    for extended in (False, True):
        device.use_ext_apdu = extended
        page = WebAuthn(device, pin=PIN)
        made = page.register(discoverable=True)
        assert page.log_in(made).credential == made.credential
