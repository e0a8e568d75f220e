"""A request is typed before it runs; what is wrong with one is said in the standard's order."""

from __future__ import annotations

from typing import Any

import pytest

from apdu.ctap import REQUESTS, CtapCommand, MakeCredential, Status
from tests.fido_cards import Desk
from token_fw.apps.fido2 import cbor
from token_fw.apps.fido2.requests import MAX_MSG_SIZE, build, parse

HASH = bytes(range(32))
REQUEST: dict[int, Any] = {
    1: HASH,
    2: {"id": "example.org", "name": "Example"},
    3: {"id": b"user", "displayName": "A user"},
    4: [{"alg": -7, "type": "public-key"}],
}


def status(request: bytes) -> Status:
    return Status(Desk().card.ctap(Desk().channel, request)[0])


def made(**changes: Any) -> Status:
    """What a request for a credential is answered, with some fields exchanged by number."""
    request = REQUEST | {int(name[1:]): value for name, value in changes.items()}
    return status(b"\x01" + cbor.encode(request))


def test_a_request_becomes_a_typed_one() -> None:
    command, request = parse(b"\x01" + cbor.encode(REQUEST))
    assert command is CtapCommand.MAKE_CREDENTIAL
    assert isinstance(request, MakeCredential)
    assert request.rp.id == "example.org"
    assert request.user.name is None
    assert request.pub_key_cred_params[0].alg == -7
    assert request.exclude_list is None


def test_unknown_keys_are_passed_over() -> None:
    _, request = parse(b"\x01" + cbor.encode(REQUEST | {0x7F: None}))
    assert request.client_data_hash == HASH


def test_parameters_that_are_signed_keep_their_encoding() -> None:
    parameters = {1: 6, 0x20: b"not known"}
    _, request = parse(b"\x0d" + cbor.encode({1: 3, 2: parameters}))
    assert request.sub_command_params.new_min_pin_length == 6
    assert request.sub_command_params.encoded == cbor.encode(parameters)


def test_an_unknown_command_is_refused_before_its_parameters_are_read() -> None:
    assert status(b"\x3f\xff") is Status.CTAP1_ERR_INVALID_COMMAND


def test_an_empty_request_has_the_wrong_length() -> None:
    assert status(b"") is Status.CTAP1_ERR_INVALID_LENGTH


def test_a_command_without_parameters_takes_none() -> None:
    assert status(b"\x0b\xa0") is Status.CTAP1_ERR_INVALID_LENGTH


def test_a_request_longer_than_a_message_is_too_large() -> None:
    assert status(b"\x01" + bytes(MAX_MSG_SIZE)) is Status.CTAP2_ERR_REQUEST_TOO_LARGE


def test_broken_cbor_comes_before_what_it_says() -> None:
    assert status(b"\x01" + cbor.encode({1: 7})[:-1]) is Status.CTAP2_ERR_INVALID_CBOR


def test_a_wrong_type_comes_before_a_missing_parameter() -> None:
    assert status(b"\x01" + cbor.encode({1: 7})) is Status.CTAP2_ERR_CBOR_UNEXPECTED_TYPE


@pytest.mark.parametrize("key", REQUEST)
def test_a_required_parameter_is_missed(key: int) -> None:
    request = {number: value for number, value in REQUEST.items() if number != key}
    assert status(b"\x01" + cbor.encode(request)) is Status.CTAP2_ERR_MISSING_PARAMETER


@pytest.mark.parametrize(
    "changes",
    [
        {"_1": "text"},
        {"_2": "example.org"},
        {"_2": {"id": b"example.org"}},
        {"_4": {"alg": -7}},
        {"_4": [7]},
        {"_4": [{"alg": "ES256", "type": "public-key"}]},
        {"_5": [{"id": "text", "type": "public-key"}]},
        {"_6": {"credProtect": -1}},
        {"_6": {"credProtect": True}},
        {"_7": {"rk": 1}},
        {"_7": {1: True}},
        {"_9": -1},
        {"_9": True},
    ],
    ids=str,
)
def test_every_member_has_its_type(changes: dict[str, Any]) -> None:
    assert made(**changes) is Status.CTAP2_ERR_CBOR_UNEXPECTED_TYPE


def test_a_hash_has_32_bytes() -> None:
    assert made(_1=HASH[:31]) is Status.CTAP1_ERR_INVALID_LENGTH


@pytest.mark.parametrize("command", REQUESTS)
def test_every_command_has_a_table_that_its_class_fits(command: CtapCommand) -> None:
    structure = REQUESTS[command]
    samples = {"bytes": bytes(32), "uint": 1, "text": "t", "cose": {}, "options": {}, "bool": True}
    values = {
        item.key: samples[item.type]
        for item in structure.fields
        if item.structure is None and not item.many
    }
    if command is not CtapCommand.MAKE_CREDENTIAL:
        assert isinstance(build(structure, values), structure.cls)


@pytest.mark.parametrize(
    "head",
    ["09 a2 02 02 03", "0a a2 01 02 02", "0d a2 01 03 02", "40 a2 02 02 03", "41 a2 01 02 02"],
)
@pytest.mark.parametrize("number", ["f93e00", "fa3fc00000", "fb3ff8000000000000", "f97e01"])
def test_parameters_with_an_unknown_float_keep_their_encoding(head: str, number: str) -> None:
    """What a pinUvAuthParam is made over holds members that are passed over as well."""
    parameters = bytes.fromhex("a1 18 63" + number)
    _, request = parse(bytes.fromhex(head) + parameters)
    assert request.sub_command_params.encoded == parameters
