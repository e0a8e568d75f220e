"""authenticatorMakeCredential, rule by rule (CTAP 2.1 6.1.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from fido2.attestation.base import verify_x509_chain
from fido2.attestation.packed import PackedAttestation

from apdu.ctap import CtapCommand, Status
from tests import cards
from tests.fido_cards import (
    AT,
    ED,
    HASH,
    OTHER_FINGER,
    RP,
    UP,
    USER_FINGER,
    UV,
    Desk,
    Refused,
    check,
    descriptors,
    ident_of,
    with_sensor,
)
from tests.piv_cards import Finger
from token_fw import crypto
from token_fw.apps.fido2 import Channel, cose, credentials
from token_fw.apps.fido2.auth_data import AAGUID
from token_fw.apps.fido2.make_credential import MAX_CREDENTIALS_IN_LIST
from token_fw.crypto import PrivateKey
from token_fw.pin import PinRef
from token_fw.state import Attestation

ABSENT = Finger(touches=False)


def refused(desk: Desk, **arguments: Any) -> Status:
    with pytest.raises(Refused) as caught:
        desk.make(**arguments)
    return caught.value.status


@pytest.mark.parametrize("rk", [False, True], ids=["wrapped", "discoverable"])
@pytest.mark.parametrize("alg", cose.ALGORITHMS)
def test_a_credential_of_every_algorithm_signs(alg: int, rk: bool) -> None:
    desk = Desk()
    made = desk.make(alg=alg, rk=rk)
    PackedAttestation().verify(made.att_stmt, made.auth_data, HASH)
    assert len(ident_of(made)) <= credentials.MAX_ID_LENGTH
    desk.power()
    check(made, desk.get(ident_of(made)))


@pytest.mark.parametrize("end", [Desk.cancel, lambda desk: desk.card.power_up()])
def test_a_request_that_ends_while_the_key_is_made_leaves_no_credential(
    end: Callable[[Desk], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk()
    other = Channel()

    def generate(algorithm: cose.Algorithm) -> PrivateKey:
        end(desk)
        desk.ask(CtapCommand.RESET, channel=other)
        return crypto.generate(algorithm.spec)

    monkeypatch.setattr(cose.Algorithm, "generate", generate)
    assert refused(desk, rk=True) is Status.CTAP2_ERR_KEEPALIVE_CANCEL
    monkeypatch.undo()
    assert desk.status(CtapCommand.GET_ASSERTION, {1: RP, 2: HASH}) is (
        Status.CTAP2_ERR_NO_CREDENTIALS
    )
    assert desk.card.authenticator.core.credentials.remaining == 128


def test_the_first_known_algorithm_of_the_list_is_taken() -> None:
    params = [{"alg": alg, "type": "public-key"} for alg in (-1, -8, -7)]
    made = Desk().make(more={4: [{"alg": -7, "type": "other"}, *params]})
    assert made.auth_data.credential_data is not None
    assert made.auth_data.credential_data.public_key[3] == -8


def test_without_a_known_algorithm_nothing_is_made() -> None:
    params = [{"alg": -1, "type": "public-key"}]
    assert refused(Desk(), more={4: params}) is Status.CTAP2_ERR_UNSUPPORTED_ALGORITHM
    assert refused(Desk(), more={4: []}) is Status.CTAP2_ERR_UNSUPPORTED_ALGORITHM


def test_the_authenticator_data_says_what_was_made() -> None:
    made = Desk().make()
    assert made.fmt == "packed"
    assert made.auth_data.flags == UP | AT
    assert made.auth_data.counter == 1
    assert made.auth_data.credential_data is not None
    assert made.auth_data.credential_data.aaguid == AAGUID


def test_the_chain_of_the_attestation_ends_in_the_tokens_own_authority() -> None:
    made = Desk().make()
    chain = made.att_stmt["x5c"]
    verify_x509_chain(chain)
    authority = x509.load_der_x509_certificate(chain[-1])
    assert authority.issuer == authority.subject


def test_only_the_certificate_for_enterprises_has_the_serial_number() -> None:
    desk = enterprise()
    ordinary = desk.make().att_stmt["x5c"]
    leaf, authority = desk.make(more={0x0A: 2}).att_stmt["x5c"]
    assert authority == ordinary[1]
    for certificate in ordinary:
        assert cards.SERIAL not in certificate
        assert cards.SERIAL.hex().encode() not in certificate.lower()
    assert cards.SERIAL in leaf


@pytest.mark.parametrize("alg", [-7, -8, -257, -48])
def test_a_token_may_have_its_credentials_sign_for_themselves(alg: int) -> None:
    made = Desk(attestation=Attestation.SELF).make(alg=alg)
    assert made.fmt == "packed"
    assert set(made.att_stmt) == {"alg", "sig"}
    PackedAttestation().verify(made.att_stmt, made.auth_data, HASH)


def test_a_token_may_have_no_attestation() -> None:
    desk = Desk(attestation=Attestation.NONE)
    assert desk.info()[0x16] == ["none"]
    assert desk.make(more={0x0B: ["packed"]}).fmt == "none"
    desk.power()
    assert desk.make().fmt == "none"


def test_a_preference_for_no_attestation_is_met() -> None:
    made = Desk().make(more={0x0B: ["none"]})
    assert (made.fmt, made.att_stmt) == ("none", {})


def test_the_first_known_format_of_a_preference_is_taken() -> None:
    assert Desk().make(more={0x0B: ["tpm", "none", "packed"]}).fmt == "none"
    assert Desk().make(more={0x0B: ["tpm"]}).fmt == "packed"


def test_a_new_credential_needs_a_touch() -> None:
    assert refused(Desk(ABSENT)) is Status.CTAP2_ERR_OPERATION_DENIED
    assert refused(Desk(), up=False) is Status.CTAP2_ERR_INVALID_OPTION
    assert Desk().make(up=True).auth_data.flags & UP


def test_an_unknown_option_is_passed_over() -> None:
    Desk().make(future=True)


def test_a_user_handle_has_1_to_64_bytes() -> None:
    assert refused(Desk(), user=b"") is Status.CTAP1_ERR_INVALID_LENGTH
    assert refused(Desk(), user=b"u" * 65) is Status.CTAP1_ERR_INVALID_LENGTH
    Desk().make(user=b"u" * 64)


def test_a_user_has_one_discoverable_credential_at_a_relying_party() -> None:
    desk = Desk()
    first, second = desk.make(rk=True), desk.make(rk=True)
    elsewhere = desk.make(rk=True, rp="example.com")
    check(second, desk.get())
    assert refused_get(desk, ident_of(first)) is Status.CTAP2_ERR_NO_CREDENTIALS
    check(elsewhere, desk.get(rp="example.com"))


def refused_get(desk: Desk, *allowed: bytes, **arguments: Any) -> Status:
    with pytest.raises(Refused) as caught:
        desk.get(*allowed, **arguments)
    return caught.value.status


def test_there_is_room_for_128_and_the_next_finds_none() -> None:
    desk = Desk()
    for number in range(credentials.CAPACITY):
        desk.make(b"%d" % number, rk=True)
    assert desk.info()[0x14] == 0
    assert refused(desk, user=b"one more", rk=True) is Status.CTAP2_ERR_KEY_STORE_FULL
    check(desk.make(b"7", rk=True), desk.get())
    desk.make(b"one more")


# The exclude list


@pytest.mark.parametrize("rk", [False, True])
def test_a_credential_of_the_list_excludes_the_token_after_the_wait_for_a_touch(rk: bool) -> None:
    desk = Desk()
    known = ident_of(desk.make(rk=rk))
    excluding = {5: descriptors(b"another", known)}
    assert refused(desk, more=excluding) is Status.CTAP2_ERR_CREDENTIAL_EXCLUDED
    desk.finger = absent = Finger(touches=False)
    desk.power()
    assert refused(desk, more=excluding) is Status.CTAP2_ERR_CREDENTIAL_EXCLUDED
    assert absent.asked == 1


def test_where_nobody_can_touch_the_token_nothing_is_told_of_its_credentials() -> None:
    desk = Desk()
    known = ident_of(desk.make())
    desk.finger = None
    desk.power()
    excluded = refused(desk, more={5: descriptors(known)})
    assert excluded is Status.CTAP2_ERR_OPERATION_DENIED


def test_who_cancels_is_not_told_of_an_excluded_credential() -> None:
    desk = Desk()
    known = ident_of(desk.make())
    desk.finger = Finger(touches=False, before=desk.channel.cancel)
    desk.power()
    excluded = refused(desk, more={5: descriptors(known)})
    assert excluded is Status.CTAP2_ERR_KEEPALIVE_CANCEL


def test_a_credential_of_another_relying_party_excludes_nothing() -> None:
    desk = Desk()
    known = ident_of(desk.make(rp="example.com"))
    desk.make(more={5: descriptors(known)})


def test_an_entry_of_another_type_excludes_nothing() -> None:
    desk = Desk()
    known = ident_of(desk.make())
    desk.make(more={5: [{"id": known, "type": "other"}]})


def test_a_list_is_not_longer_than_the_authenticator_says() -> None:
    entries = descriptors(*(b"%d" % number for number in range(MAX_CREDENTIALS_IN_LIST + 1)))
    assert refused(Desk(), more={5: entries}) is Status.CTAP2_ERR_LIMIT_EXCEEDED


def test_a_protected_credential_is_known_only_to_the_verified_user() -> None:
    desk = with_sensor()
    known = ident_of(desk.make(more={6: {"credProtect": 3}}))
    desk.make(more={5: descriptors(known)})
    desk.present(USER_FINGER)
    excluded = refused(desk, more={5: descriptors(known)}, uv=True)
    assert excluded is Status.CTAP2_ERR_CREDENTIAL_EXCLUDED


# User verification


def test_a_finger_verifies_the_user_and_is_a_touch() -> None:
    desk = with_sensor()
    desk.finger = ABSENT
    desk.present(USER_FINGER)
    assert desk.make(uv=True).auth_data.flags == UP | UV | AT


def test_without_an_enrolled_finger_there_is_no_option_uv() -> None:
    assert refused(Desk(), uv=True) is Status.CTAP2_ERR_INVALID_OPTION


def test_a_wrong_finger_is_denied_and_spends_a_try() -> None:
    desk = with_sensor()
    desk.present(OTHER_FINGER)
    assert refused(desk, uv=True) is Status.CTAP2_ERR_OPERATION_DENIED
    assert desk.card.authenticator.core.matcher.tries(PinRef.FIDO) == 2


def test_no_finger_in_time_spends_no_try() -> None:
    desk = with_sensor()
    assert refused(desk, uv=True) is Status.CTAP2_ERR_USER_ACTION_TIMEOUT
    assert desk.card.authenticator.core.matcher.tries(PinRef.FIDO) == 3


def test_three_wrong_fingers_block_the_sensor_also_after_a_power_cut() -> None:
    desk = with_sensor()
    desk.present(OTHER_FINGER, OTHER_FINGER, OTHER_FINGER)
    for _ in range(3):
        refused(desk, uv=True)
    desk.power()
    desk.present(USER_FINGER)
    assert refused(desk, uv=True) is Status.CTAP2_ERR_PIN_BLOCKED


def test_a_discoverable_credential_of_a_protected_token_needs_the_verified_user() -> None:
    desk = with_sensor()
    assert refused(desk, rk=True) is Status.CTAP2_ERR_OPERATION_DENIED
    desk.present(USER_FINGER)
    desk.make(rk=True, uv=True)
    assert desk.make().auth_data.flags == UP | AT


# Extensions


def test_each_extension_tells_what_was_done() -> None:
    asked = {"credBlob": b"blob", "credProtect": 2, "largeBlobKey": True, "minPinLength": True}
    made = Desk().make(more={6: asked}, rk=True)
    assert made.auth_data.extensions == {"credBlob": True, "credProtect": 2}
    assert made.auth_data.flags == UP | AT | ED
    assert made.large_blob_key is not None
    assert len(made.large_blob_key) == 32


def test_without_extensions_the_authenticator_data_has_none() -> None:
    assert Desk().make(more={6: {}}).auth_data.extensions is None


@pytest.mark.parametrize(
    ("rk", "blob"), [(False, b"blob"), (True, bytes(65))], ids=["wrapped", "too long"]
)
def test_a_blob_that_is_not_kept_is_told_of(rk: bool, blob: bytes) -> None:
    made = Desk().make(more={6: {"credBlob": blob}}, rk=rk)
    assert made.auth_data.extensions == {"credBlob": False}


@pytest.mark.parametrize(
    "asked",
    [{"credProtect": 0}, {"credProtect": 4}, {"largeBlobKey": False}],
    ids=str,
)
def test_a_value_that_an_extension_does_not_take_is_refused(asked: dict[str, Any]) -> None:
    assert refused(Desk(), more={6: asked}, rk=True) is Status.CTAP2_ERR_INVALID_OPTION


def test_a_large_blob_needs_a_discoverable_credential() -> None:
    asked = {6: {"largeBlobKey": True}}
    assert refused(Desk(), more=asked) is Status.CTAP2_ERR_INVALID_OPTION


# Enterprise attestation


def test_enterprise_attestation_is_off_until_it_is_configured() -> None:
    assert refused(Desk(), more={0x0A: 1}) is Status.CTAP1_ERR_INVALID_PARAMETER


def test_a_managed_platform_learns_the_serial_number() -> None:
    desk = enterprise()
    made = desk.make(more={0x0A: 2})
    assert made.ep_att is True
    PackedAttestation().verify(made.att_stmt, made.auth_data, HASH)
    leaf = made.att_stmt["x5c"][0]
    assert cards.SERIAL in leaf
    assert cards.SERIAL not in desk.make().att_stmt["x5c"][0]


def test_no_relying_party_is_on_the_vendors_own_list() -> None:
    made = enterprise().make(more={0x0A: 1})
    assert made.ep_att is None


def test_there_are_two_enterprise_attestations() -> None:
    assert refused(enterprise(), more={0x0A: 3}) is Status.CTAP2_ERR_INVALID_OPTION


def enterprise() -> Desk:
    """One on which enterprise attestation was configured."""
    desk = Desk()
    core = desk.card.authenticator.core
    core.settings = replace(core.settings, enterprise_attestation=True)
    core.transaction.commit()
    return desk
