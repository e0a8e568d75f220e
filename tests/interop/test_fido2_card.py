"""The FIDO2 application of tokens that the daemon holds, made and touched by the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fido2.attestation.packed import PackedAttestation
from fido2.cose import CoseKey
from fido2.ctap2.base import AssertionResponse, AttestationResponse, Info

from apdu.codec import Command as Apdu
from apdu.ctap import CtapCommand
from apdu.model import APPLICATIONS
from host_tools.testing import Command, Scratch, ScratchToken
from host_tools.token_transport import TokenTransport
from tests import cards
from tests.fido_cards import HASH, RP, descriptors, ident_of
from token_fw.apps.fido2 import cbor

REQUEST: dict[int, Any] = {
    1: HASH,
    2: {"id": RP},
    3: {"id": b"user"},
    4: [{"alg": -7, "type": "public-key"}],
}
LONG = 30


class Client(cards.Client):
    """A client with the application selected, on a connection of its own to the daemon."""

    application = APPLICATIONS["fido2"]

    def ask(self, command: CtapCommand, request: dict[int, Any] | None = None) -> dict[int, Any]:
        encoded = b"" if request is None else cbor.encode(request)
        answer = self.ok(Apdu(0x80, 0x10, 0, 0, bytes((command,)) + encoded, 256))
        assert answer[0] == 0
        return dict(cbor.decode(answer[1:]))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def ask(home: Scratch, serial: str, command: CtapCommand, request: Any = None) -> dict[int, Any]:
    with home.control() as door:
        return Client(TokenTransport(door, serial)).ask(command, request)


def test_a_touch_makes_a_credential_that_outlives_the_daemon(
    home: Scratch, token: ScratchToken, command: Command, pool: ThreadPoolExecutor
) -> None:
    making = pool.submit(ask, home, token.serial, CtapCommand.MAKE_CREDENTIAL, REQUEST)
    command("touch", token.label, "--wait")
    made = AttestationResponse.from_dict(making.result(LONG))
    PackedAttestation().verify(made.att_stmt, made.auth_data, HASH)
    assert home.kill_daemon() is not None
    request = {1: RP, 2: HASH, 3: descriptors(ident_of(made)), 5: {"up": False}}
    got = ask(home, token.serial, CtapCommand.GET_ASSERTION, request)
    assert made.auth_data.credential_data is not None
    key = CoseKey.parse(made.auth_data.credential_data.public_key)
    AssertionResponse.from_dict(got).verify(HASH, key)


@pytest.mark.parametrize(
    ("attestation", "formats"), [("self", ["packed", "none"]), ("none", ["none"])]
)
def test_a_token_is_made_with_the_attestation_that_was_asked_for(
    home: Scratch, command: Command, attestation: str, formats: list[str]
) -> None:
    secrets = {"KLYUCH_PIN": "481516", "KLYUCH_SO_PIN": "23423108"}
    options = ("--attestation", attestation, "--json")
    made = json.loads(command("token", "create", "Key", *options, **secrets).stdout)
    info = Info.from_dict(ask(home, made["serial"], CtapCommand.GET_INFO))
    assert info.attestation_formats == formats


def test_an_attestation_that_there_is_not_is_refused(home: Scratch, command: Command) -> None:
    refused = command("token", "create", "Key", "--attestation", "tpm", code=2)
    assert "'tpm' is not one of" in refused.stderr
