"""authenticatorGetInfo says what there is (CTAP 2.1 6.4)."""

from __future__ import annotations

from dataclasses import replace

from fido2.ctap2.base import Info

from apdu import tlv
from tests.fido_cards import USER_FINGER, Desk, with_sensor
from token_fw.apps.fido2 import cose
from token_fw.apps.fido2.auth_data import AAGUID
from token_fw.finger_sensor import ScriptedSensor
from token_fw.state import Attestation


def info(desk: Desk) -> Info:
    return Info.from_dict(desk.info())


def test_a_client_reads_what_there_is() -> None:
    told = info(Desk())
    assert {"FIDO_2_0", "FIDO_2_1", "U2F_V2"} <= set(told.versions)
    assert told.aaguid == AAGUID
    assert [entry["alg"] for entry in told.algorithms] == list(cose.ALGORITHMS)
    assert told.attestation_formats == ["packed", "none"]
    assert told.remaining_disc_creds == 128


def test_a_token_that_was_made_before_there_was_a_choice_has_certificates() -> None:
    desk = Desk(attestation=Attestation.NONE)
    (place,) = (key for key in desk.store.medium.records if key[0] == "token")
    members = tlv.parse(desk.store.medium.records[place])
    older = b"".join(tlv.encode(it.tag, it.value) for it in members if it.tag != 0x84)
    desk.store.medium.records[place] = older
    desk.power()
    assert info(desk).attestation_formats == ["packed", "none"]


def test_remaining_credentials_are_counted() -> None:
    desk = Desk()
    desk.make(rk=True)
    desk.make()
    assert info(desk).remaining_disc_creds == 127


def test_the_option_uv_says_whether_there_is_a_sensor_and_a_finger() -> None:
    assert "uv" not in info(Desk()).options
    assert info(Desk(sensor=ScriptedSensor())).options["uv"] is False
    told = info(with_sensor())
    assert told.options["uv"] is True
    assert told.uv_modality == 0x02


def test_u2f_is_not_offered_where_the_user_is_always_verified() -> None:
    desk = with_sensor()
    core = desk.card.authenticator.core
    core.settings = replace(core.settings, always_uv=True)
    core.transaction.commit()
    told = info(desk)
    assert "U2F_V2" not in told.versions
    assert told.options["alwaysUv"] is True
    assert told.options["makeCredUvNotRqd"] is False


def test_a_user_who_is_always_verified_is_asked_for_a_finger() -> None:
    desk = with_sensor()
    core = desk.card.authenticator.core
    core.settings = replace(core.settings, always_uv=True)
    core.transaction.commit()
    desk.present(USER_FINGER, USER_FINGER)
    made = desk.make()
    assert made.auth_data.is_user_verified()
    assert made.auth_data.credential_data is not None
    ident = made.auth_data.credential_data.credential_id
    assert desk.get(ident).auth_data.is_user_verified()
    assert not desk.get(ident, up=False).auth_data.is_user_verified()
