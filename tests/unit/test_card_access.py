"""The access rules of the catalogue hold for every command in it."""

from __future__ import annotations

import pytest

from apdu.codec import Command
from apdu.model import SW
from apdu.spec import Access, CommandSpec, DataField
from host_tools.conformance import pki_commands as pki
from tests import cards

WHO = {
    Access.USER: (pki.USER,),
    Access.SO: (pki.SO,),
    Access.USER_OR_SO: (pki.USER, pki.SO),
}
PROTECTED = [spec for spec in pki.PKI.commands if spec.access in WHO]
OPEN = [spec for spec in pki.PKI.commands if spec.access is Access.ALWAYS]


def sample(spec: CommandSpec) -> Command:
    """A command of the table; whether its data means something does not matter here."""
    data = b"" if spec.data is DataField.NONE else b"\x00"
    p1 = min(spec.p1) if spec.p1 else 0
    p2 = min(spec.p2) if spec.p2 else 0
    return Command(min(spec.cla), spec.ins, p1, p2, data, 256)


def test_keys_and_their_use_are_protected_by_the_user_pin() -> None:
    names = {spec.name for spec in PROTECTED if spec.access is Access.USER}
    assert names == {
        "GENERATE ASYMMETRIC KEY PAIR",
        "PUT DATA",
        "GENERATE SECRET KEY",
        "GET SECRET KEY",
        "DELETE KEY",
        "PSO COMPUTE DIGITAL SIGNATURE",
        "PSO COMPUTE CRYPTOGRAPHIC CHECKSUM",
        "PSO ENCIPHER",
        "PSO DECIPHER",
    }


@pytest.mark.parametrize("spec", PROTECTED, ids=lambda spec: spec.name)
@pytest.mark.parametrize("verified", [None, pki.USER, pki.SO])
def test_a_command_runs_for_those_alone_whom_the_table_names(
    spec: CommandSpec, verified: int | None
) -> None:
    bench = cards.operational()
    client = bench.client()
    if verified is not None:
        client.log_in(verified)
    before = bench.digest()
    refused = client.status(sample(spec)) == SW.SECURITY_STATUS_NOT_SATISFIED
    assert refused == (verified not in WHO[spec.access])
    assert bench.digest() == before or not refused


@pytest.mark.parametrize("spec", PROTECTED, ids=lambda spec: spec.name)
def test_a_blank_card_has_nobody_whom_a_protected_command_would_obey(spec: CommandSpec) -> None:
    status = cards.Bench().client().status(sample(spec))
    assert status == SW.SECURITY_STATUS_NOT_SATISFIED


@pytest.mark.parametrize("spec", OPEN, ids=lambda spec: spec.name)
def test_a_command_open_to_anybody_asks_for_no_pin(spec: CommandSpec) -> None:
    status = cards.operational().client().status(sample(spec))
    assert status != SW.SECURITY_STATUS_NOT_SATISFIED
