"""U2F, which is CTAP1, and CTAP in APDUs, on an interface of the card."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fido2.cose import CoseKey
from fido2.ctap1 import RegistrationData, SignatureData

from apdu.codec import Command
from apdu.model import APPLICATIONS, SW, StatusWordError
from tests import cards
from tests.fido_cards import HASH, RP, Desk, Refused, ident_of, with_sensor
from tests.piv_cards import Finger
from token_fw.apps.fido2 import cbor
from token_fw.state import Attestation

APPLICATION = hashlib.sha256(RP.encode()).digest()
OTHER = hashlib.sha256(b"example.com").digest()
REGISTER, AUTHENTICATE, VERSION = 0x01, 0x02, 0x03
ENFORCED, CHECK_ONLY, WITHOUT = 0x03, 0x07, 0x08
ABSENT = Finger(touches=False)


class Client(cards.Client):
    """A client with the FIDO application selected."""

    application = APPLICATIONS["fido2"]

    def register(self, application: bytes = APPLICATION) -> RegistrationData:
        return RegistrationData(self.ok(Command(0, REGISTER, 3, 0, HASH + application, 256)))

    def sign(
        self, handle: bytes, control: int = ENFORCED, application: bytes = APPLICATION
    ) -> SignatureData:
        data = HASH + application + bytes((len(handle),)) + handle
        return SignatureData(self.ok(Command(0, AUTHENTICATE, control, 0, data, 256)))


def client(desk: Desk) -> Client:
    return Client(desk.card.connect())


def refusal(client: Client, handle: bytes, control: int = ENFORCED, **more: bytes) -> int:
    with pytest.raises(StatusWordError) as caught:
        client.sign(handle, control, **more)
    return caught.value.sw


def test_a_registered_credential_authenticates() -> None:
    desk = Desk()
    made = client(desk).register()
    made.verify(APPLICATION, HASH)
    desk.power()
    got = client(desk).sign(made.key_handle)
    got.verify(APPLICATION, HASH, made.public_key)
    assert (got.user_presence, got.counter) == (1, 2)
    assert client(desk).sign(made.key_handle).counter == 3


@pytest.mark.parametrize("attestation", [Attestation.SELF, Attestation.NONE])
def test_a_token_without_an_attestation_registers_by_each_credential_itself(
    attestation: Attestation,
) -> None:
    u2f = client(Desk(attestation=attestation))
    first, second = u2f.register(), u2f.register()
    for made in (first, second):
        made.verify(APPLICATION, HASH)
        certificate = x509.load_der_x509_certificate(made.certificate)
        certificate.verify_directly_issued_by(certificate)
        point = certificate.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        assert point == made.public_key
        assert certificate.subject.rfc4514_string() == "CN=FIDO U2F"
    assert serial(first) != serial(second)
    u2f.sign(first.key_handle).verify(APPLICATION, HASH, first.public_key)


def serial(made: RegistrationData) -> int:
    return x509.load_der_x509_certificate(made.certificate).serial_number


def test_it_is_asked_whether_a_handle_is_known() -> None:
    u2f = client(Desk())
    handle = u2f.register().key_handle
    assert refusal(u2f, handle, CHECK_ONLY) == SW.CONDITIONS_NOT_SATISFIED
    assert refusal(u2f, handle[::-1], CHECK_ONLY) == SW.INCORRECT_DATA
    assert refusal(u2f, handle, CHECK_ONLY, application=OTHER) == SW.INCORRECT_DATA
    assert u2f.sign(handle).counter == 2


def test_a_signature_without_a_touch_says_so() -> None:
    desk = Desk()
    handle = client(desk).register().key_handle
    desk.finger = ABSENT
    desk.power()
    u2f = client(desk)
    assert refusal(u2f, handle) == SW.CONDITIONS_NOT_SATISFIED
    assert u2f.sign(handle, WITHOUT).user_presence == 0


def test_without_a_touch_nothing_is_registered() -> None:
    u2f = client(Desk(ABSENT))
    command = Command(0, REGISTER, 0, 0, HASH + APPLICATION)
    assert u2f.status(command) == SW.CONDITIONS_NOT_SATISFIED


def test_what_either_protocol_makes_the_other_uses() -> None:
    desk = Desk()
    u2f = client(desk)
    registered = u2f.register()
    desk.get(registered.key_handle).verify(HASH, es256(registered.public_key))
    for rk in (False, True):
        made = desk.make(rk=rk)
        assert made.auth_data.credential_data is not None
        key = made.auth_data.credential_data.public_key
        point = b"\x04" + key[-2] + key[-3]
        u2f.sign(ident_of(made)).verify(APPLICATION, HASH, point)


def es256(point: bytes) -> CoseKey:
    return CoseKey.parse({1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})


def test_a_credential_of_another_algorithm_is_unknown() -> None:
    desk = Desk()
    ident = ident_of(desk.make(alg=-8))
    assert refusal(client(desk), ident) == SW.INCORRECT_DATA


@pytest.mark.parametrize("policy", [2, 3])
def test_a_credential_that_wants_the_verified_user_is_unknown(policy: int) -> None:
    desk = Desk()
    ident = ident_of(desk.make(more={6: {"credProtect": policy}}))
    u2f = client(desk)
    if policy == 3:
        assert refusal(u2f, ident, CHECK_ONLY) == SW.INCORRECT_DATA
        assert refusal(u2f, ident) == SW.INCORRECT_DATA
    else:
        assert u2f.sign(ident).user_presence == 1


def test_where_the_user_is_always_verified_u2f_is_off() -> None:
    desk = with_sensor()
    u2f = client(desk)
    handle = u2f.register().key_handle
    core = desk.card.authenticator.core
    core.settings = replace(core.settings, always_uv=True)
    core.transaction.commit()
    assert refusal(u2f, handle) == SW.NO_CURRENT_EF
    assert u2f.status(Command(0, VERSION, 0, 0, b"", 256)) == SW.NO_CURRENT_EF
    assert selected(desk) == b"FIDO_2_0"


def test_selection_and_version_say_u2f() -> None:
    desk = Desk()
    assert selected(desk) == b"U2F_V2"
    assert client(desk).ok(Command(0, VERSION, 0, 0, b"", 256)) == b"U2F_V2"


def selected(desk: Desk) -> bytes:
    select = Command(0, 0xA4, 4, 0, APPLICATIONS["fido2"].aid, 256)
    return desk.card.connect().transceive(select.encode())[:-2]


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_registration_has_two_parameters_of_32_bytes(size: int) -> None:
    command = Command(0, REGISTER, 0, 0, bytes(size))
    assert client(Desk()).status(command) == SW.WRONG_LENGTH


@pytest.mark.parametrize("data", [bytes(64), bytes(64) + b"\x05four", bytes(64) + b"\x01two"])
def test_the_length_of_a_handle_is_its_own(data: bytes) -> None:
    command = Command(0, AUTHENTICATE, ENFORCED, 0, data)
    assert client(Desk()).status(command) == SW.WRONG_LENGTH


def test_another_command_ends_the_assertions_that_are_left() -> None:
    desk = Desk()
    for user in (b"first", b"second"):
        desk.make(user, rk=True)
    desk.get()
    client(desk).register()
    with pytest.raises(Refused):
        desk.next()


# CTAP in APDUs


@pytest.mark.parametrize("extended", [False, True], ids=["chained", "extended"])
def test_a_ctap_request_goes_in_apdus(extended: bool) -> None:
    desk = Desk()
    made = desk.make()
    ctap = Client(desk.card.connect(), extended=extended)
    others = [{"id": bytes(200), "type": "public-key"}] * 8
    request = {1: RP, 2: HASH, 3: [*others, {"id": ident_of(made), "type": "public-key"}]}
    answer = ctap.ok(Command(0x80, 0x10, 0, 0, b"\x02" + cbor.encode(request), 256))
    assert answer[0] == 0
    assert cbor.decode(answer[1:])[1]["id"] == ident_of(made)


def test_two_interfaces_are_two_channels() -> None:
    desk = Desk()
    for user in (b"first", b"second"):
        desk.make(user, rk=True)
    first, second = client(desk), client(desk)
    ask = Command(0x80, 0x10, 0, 0, b"\x02" + cbor.encode({1: RP, 2: HASH}), 256)
    following = Command(0x80, 0x10, 0, 0, b"\x08", 256)
    assert first.ok(ask)[0] == 0
    assert first.ok(following)[0] == 0
    assert first.ok(ask)[0] == 0
    assert second.ok(following) == b"\x30"


def test_a_refused_request_is_answered_all_the_same() -> None:
    assert client(Desk()).ok(Command(0x80, 0x10, 0, 0, b"\x3f", 256)) == b"\x01"
