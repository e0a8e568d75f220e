"""The access rules of the catalogue hold for every command of the PIV application."""

from __future__ import annotations

import pytest

from apdu.codec import Command
from apdu.model import SW
from apdu.spec import Access, CommandSpec, DataField
from host_tools.conformance import piv_commands as piv
from tests import cards, piv_cards

NOBODY, PIN, KEY = frozenset[str](), frozenset({"PIN"}), frozenset({"management key"})
WHO = {Access.MANAGEMENT: KEY, Access.USER_AND_MANAGEMENT: PIN | KEY}
PROTECTED = [spec for spec in piv.SPEC.commands if spec.access in WHO]
OPEN = [spec for spec in piv.SPEC.commands if spec.access is Access.ALWAYS]
PRINTED_INFORMATION = ("5FC103", "5FC108", "5FC109", "5FC121", "5FC123")


def named(what: frozenset[str]) -> str:
    return " and ".join(sorted(what)) or "nobody"


def sample(spec: CommandSpec) -> Command:
    """A command of the table; whether its data means something does not matter here."""
    data = b"" if spec.data is DataField.NONE else b"\x00"
    p1 = min(spec.p1) if spec.p1 else 0
    p2 = min(spec.p2) if spec.p2 else 0
    return Command(min(spec.cla), spec.ins, p1, p2, data, 256)


def proven(bench: cards.Bench, what: frozenset[str]) -> piv_cards.Client:
    client = piv_cards.client(bench)
    if what & KEY:
        client.prove()
    if what & PIN:
        client.log_in()
    return client


def test_what_changes_keys_or_objects_needs_the_management_key() -> None:
    assert {spec.name for spec in PROTECTED} == {
        "PUT DATA",
        "GENERATE ASYMMETRIC KEY PAIR",
        "IMPORT ASYMMETRIC KEY",
        "MOVE KEY",
        "SET MANAGEMENT KEY",
        "SET PIN RETRIES",
    }


@pytest.mark.parametrize("spec", PROTECTED, ids=lambda spec: spec.name)
@pytest.mark.parametrize("what", [NOBODY, PIN, KEY, PIN | KEY], ids=named)
def test_a_command_runs_for_those_alone_whom_the_table_names(
    spec: CommandSpec, what: frozenset[str]
) -> None:
    bench = cards.Bench()
    client = proven(bench, what)
    before = bench.digest()
    refused = client.status(sample(spec)) == SW.SECURITY_STATUS_NOT_SATISFIED
    assert refused == (not WHO[spec.access] <= what)
    assert bench.digest() == before


@pytest.mark.parametrize("spec", OPEN, ids=lambda spec: spec.name)
def test_a_command_open_to_anybody_asks_for_nothing(spec: CommandSpec) -> None:
    assert piv_cards.client().status(sample(spec)) != SW.SECURITY_STATUS_NOT_SATISFIED


@pytest.mark.parametrize("tag", [*PRINTED_INFORMATION, "5FC102", "5FC105", "5FC107", "5FFF00"])
@pytest.mark.parametrize("what", [NOBODY, PIN, KEY], ids=named)
def test_an_object_is_read_by_those_alone_whom_its_rule_names(
    tag: str, what: frozenset[str]
) -> None:
    bench = cards.Bench()
    ident = bytes.fromhex(tag)
    piv_cards.managed(bench).ok(piv.put_data(ident, b"content"))
    status = proven(bench, what).status(piv.get_data(ident))
    refused = tag in PRINTED_INFORMATION and not what & PIN
    assert status == (SW.SECURITY_STATUS_NOT_SATISFIED if refused else SW.NO_ERROR)


def test_what_is_behind_the_pin_is_not_told_to_be_there_either() -> None:
    assert piv_cards.client().status(piv.get_data(piv.PRINTED)) == SW.SECURITY_STATUS_NOT_SATISFIED


@pytest.mark.parametrize(
    ("slot", "policy", "uses"),
    [
        (piv.AUTHENTICATION, None, [False, True, True, True]),
        (piv.SIGNATURE, None, [False, True, False, True]),
        (piv.KEY_MANAGEMENT, None, [False, True, True, True]),
        (piv.CARD_AUTHENTICATION, None, [True, True, True, True]),
        (piv.RETIRED, None, [False, True, True, True]),
        (piv.AUTHENTICATION, piv.NEVER, [True, True, True, True]),
        (piv.SIGNATURE, piv.ONCE, [False, True, True, True]),
        (piv.CARD_AUTHENTICATION, piv.ALWAYS, [False, True, False, True]),
    ],
)
def test_the_use_of_a_key_asks_for_what_its_policy_says(
    slot: int, policy: int | None, uses: list[bool]
) -> None:
    """Before the PIN is verified, right after, once more, and after it was verified again."""
    bench = cards.Bench()
    managed = piv_cards.managed(bench)
    managed.ok(piv.generate(slot, piv.P256, pin=policy))
    client, use = piv_cards.client(bench), piv.use(slot, piv.P256, bytes(32))
    seen = [client.status(use)]
    client.log_in()
    seen += [client.status(use), client.status(use)]
    client.log_in()
    seen.append(client.status(use))
    allowed = {True: SW.NO_ERROR, False: SW.SECURITY_STATUS_NOT_SATISFIED}
    assert seen == [allowed[use] for use in uses]


@pytest.mark.parametrize(
    "between",
    [piv.get_version(), piv.verify(), piv.get_data(piv.DISCOVERY), Command(0, 0x99, 0, 0)],
    ids=["GET VERSION", "asking for the PIN", "GET DATA", "unknown"],
)
def test_consent_ends_with_any_other_command(between: Command) -> None:
    client = piv_cards.managed()
    client.make_key(piv.SIGNATURE)
    client.log_in()
    client.status(between)
    use = piv.use(piv.SIGNATURE, piv.P256, bytes(32))
    assert client.status(use) == SW.SECURITY_STATUS_NOT_SATISFIED


@pytest.mark.parametrize(
    ("slot", "fields", "status"),
    [
        (piv.MANAGEMENT, {0x81: b""}, SW.NO_ERROR),
        (piv.SIGNATURE, {0x82: b""}, SW.INCORRECT_DATA),
        (piv.AUTHENTICATION, {0x81: bytes(32), 0x82: b""}, SW.REFERENCED_DATA_NOT_FOUND),
    ],
    ids=["with the management key", "with no step", "with another slot"],
)
def test_consent_ends_with_another_general_authenticate(
    slot: int, fields: dict[int, bytes], status: int
) -> None:
    client = piv_cards.managed()
    client.make_key(piv.SIGNATURE)
    client.log_in()
    algorithm = piv.AES_192 if slot == piv.MANAGEMENT else piv.P256
    assert client.status(piv.authenticate(algorithm, slot, fields)) == status
    use = piv.use(piv.SIGNATURE, piv.P256, bytes(32))
    assert client.status(use) == SW.SECURITY_STATUS_NOT_SATISFIED


def test_consent_does_not_outlive_a_whole_proof_of_the_management_key() -> None:
    client = piv_cards.managed()
    client.make_key(piv.SIGNATURE)
    client.log_in()
    client.prove()
    use = piv.use(piv.SIGNATURE, piv.P256, bytes(32))
    assert client.status(use) == SW.SECURITY_STATUS_NOT_SATISFIED


def test_consent_is_spent_on_a_use_that_is_refused() -> None:
    client = piv_cards.managed()
    client.make_key(piv.SIGNATURE)
    client.log_in()
    wrong_algorithm = piv.use(piv.SIGNATURE, piv.P384, bytes(32))
    assert client.status(wrong_algorithm) == SW.INCORRECT_P1P2
    use = piv.use(piv.SIGNATURE, piv.P256, bytes(32))
    assert client.status(use) == SW.SECURITY_STATUS_NOT_SATISFIED
