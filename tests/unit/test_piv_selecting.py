"""Selecting: names cut short, what SELECT answers, two applications apart, tokens made earlier."""

from __future__ import annotations

import pytest

from apdu import tlv
from apdu.codec import Command, Response
from apdu.model import APPLICATIONS, SW
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from host_tools.testing.faults import FailingStore
from tests import cards, piv_cards
from token_fw.storage.memory import Medium, MemoryStore

AID = piv.SPEC.aid
MANAGEMENT_AID = APPLICATIONS["management"].aid
PIV_KINDS = {"piv-key", "piv-object", "piv-management"}


def select(name: bytes) -> Command:
    return Command(0x00, 0xA4, 0x04, 0x00, name)


def exchange(bench: cards.Bench, name: bytes) -> Response:
    return Response.parse(bench.connect().transceive(select(name).encode()))


@pytest.mark.parametrize("length", range(5, len(AID) + 1))
def test_the_name_may_be_cut_down_to_the_rid(length: int) -> None:
    assert exchange(cards.Bench(), AID[:length]).sw == SW.NO_ERROR


@pytest.mark.parametrize(
    "name",
    [AID[:4], AID + b"\x00", AID[:-1] + b"\x01", b"\xa0\x00\x00\x03\x09", pki.PKI.aid[:-1]],
    ids=["too short", "too long", "another version", "another RID", "PKI cut short"],
)
def test_no_other_name_finds_an_application(name: bytes) -> None:
    assert exchange(cards.Bench(), name).sw == SW.FILE_NOT_FOUND


def test_select_answers_the_application_property_template() -> None:
    template = tlv.to_dict(tlv.parse(exchange(cards.Bench(), AID[:5]).data))
    inside = tlv.to_dict(tlv.parse(template[0x61]))
    authority = tlv.to_dict(tlv.parse(inside[0x79]))
    assert authority[0x4F] + inside[0x4F] == AID


def test_an_unknown_name_leaves_the_selection_alone() -> None:
    client = piv_cards.managed()
    assert client.status(select(b"no such name")) == SW.FILE_NOT_FOUND
    assert client.status(piv.verify()) == SW.NO_ERROR


def test_selecting_again_ends_what_was_proven() -> None:
    client = piv_cards.managed()
    client.ok(select(AID))
    assert client.status(piv.verify()) == 0x63C3
    assert client.status(piv.put_data(piv.CHUID, b"x")) == SW.SECURITY_STATUS_NOT_SATISFIED


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ((), [True, True, True]),
        (("pki",), [True, False, False]),
        (("piv", "management"), [False, True, True]),
    ],
)
def test_an_interface_leads_to_the_applications_that_it_was_opened_for(
    names: tuple[str, ...], found: list[bool]
) -> None:
    interface = cards.Bench().card.connect(*names)
    aids = (pki.PKI.aid, AID, MANAGEMENT_AID)
    statuses = [Response.parse(interface.transceive(select(aid).encode())).sw for aid in aids]
    assert [status == SW.NO_ERROR for status in statuses] == found
    assert set(statuses) <= {SW.NO_ERROR, SW.FILE_NOT_FOUND}


def test_an_application_that_the_card_does_not_have_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="no application openpgp"):
        cards.Bench().card.connect("openpgp")


def test_without_le_up_to_256_bytes_are_answered_at_once() -> None:
    client = piv_cards.managed()
    client.ok(piv.put_data(piv.CHUID, bytes(600)))
    ask = piv.get_data(piv.CHUID)
    without_le = Command(ask.cla, ask.ins, ask.p1, ask.p2, ask.data)
    more = Command(0x00, 0xC0, 0x00, 0x00)
    parts = [
        Response.parse(client.transport.transceive(command.encode()))
        for command in (without_le, more, more)
    ]
    assert [part.sw1 for part in parts] == [0x61, 0x61, 0x90]
    assert b"".join(part.data for part in parts) == tlv.encode(0x53, bytes(600))


def test_the_management_application_names_the_same_version() -> None:
    bench = cards.Bench()
    version = piv_cards.client(bench).ok(piv.get_version())
    assert exchange(bench, MANAGEMENT_AID).data.decode().endswith(".".join(map(str, version)))


def test_the_management_application_has_no_commands_but_its_own() -> None:
    interface = cards.Bench().connect()
    interface.transceive(select(MANAGEMENT_AID).encode())
    answers = [
        Response.parse(interface.transceive(command.encode())).sw
        for command in (piv.verify(piv_cards.PIN), Command(0x00, 0x1C, 0x00, 0x00, b"\x00"))
    ]
    assert answers == [SW.INS_NOT_SUPPORTED] * 2


def test_the_pins_of_both_applications_are_apart() -> None:
    bench = cards.operational()
    piv_client, pki_client = piv_cards.client(bench), bench.client()
    for _ in range(3):
        piv_client.status(piv.verify(piv_cards.WRONG))
    assert piv_client.status(piv.verify(piv_cards.PIN)) == SW.AUTHENTICATION_METHOD_BLOCKED
    pki_client.log_in()
    assert cards.tries_left(pki_client, pki.USER) == 3


def test_erasing_one_application_leaves_the_other_alone() -> None:
    bench = cards.operational()
    piv_cards.managed(bench).make_key(piv.AUTHENTICATION)
    pki_client, client = bench.client(), piv_cards.client(bench)
    pki_client.ok(pki.initialize(cards.SO_PIN))
    pki_client.ok(pki.reset_by_so(cards.USER_PIN))
    assert client.metadata(piv.AUTHENTICATION)[0x01] == bytes((piv.P256,))
    pki_client.log_in()
    cards.make_key(pki_client, 2)
    for command in (piv.verify(piv_cards.WRONG), piv.unblock(piv_cards.WRONG, piv_cards.NEW_PIN)):
        while client.status(command) != SW.AUTHENTICATION_METHOD_BLOCKED:
            pass
    client.ok(piv.reset())
    assert set(cards.key_list(pki_client)) == {2}


def made_earlier() -> Medium:
    """The medium of a token with a key, made before there was a PIV application."""
    bench = cards.operational()
    cards.make_key(cards.logged_in(bench), 1)
    assert not PIV_KINDS & {kind for kind, _ in bench.medium.records}
    return bench.medium


def test_a_token_made_earlier_gets_the_application_when_it_is_selected() -> None:
    bench = cards.Bench(store=MemoryStore(made_earlier()))
    assert bench.digest() == cards.digest(bench.medium)
    first = piv_cards.managed(bench)
    certificate = first.ok(piv.get_data(piv.ATTESTATION_CERTIFICATE))
    again = piv_cards.managed(bench.restarted())
    assert again.ok(piv.get_data(piv.ATTESTATION_CERTIFICATE)) == certificate
    assert set(cards.key_list(bench.client())) == {1}


def test_a_storage_that_fails_gives_no_half_application() -> None:
    store = FailingStore(made_earlier())
    bench = cards.Bench(store=store)
    interface, before = bench.connect(), bench.digest()
    store.failing = True
    answer = Response.parse(interface.transceive(select(AID).encode()))
    assert answer.sw == SW.MEMORY_FAILURE
    refused = Response.parse(interface.transceive(piv.get_version().encode()))
    assert refused.sw == SW.INS_NOT_SUPPORTED
    assert bench.digest() == before
    store.failing = False
    piv_cards.managed(bench)


def test_a_selection_that_fails_leaves_no_access_rights() -> None:
    store = FailingStore(made_earlier())
    client = cards.logged_in(cards.Bench(store=store))
    store.failing = True
    assert client.status(select(AID)) == SW.MEMORY_FAILURE
    store.failing = False
    assert client.status(pki.verify(pki.USER)) == SW.INS_NOT_SUPPORTED
    client.ok(pki.select_application())
    assert client.status(pki.verify(pki.USER)) == 0x63C3


def test_what_changes_moves_the_change_counter_by_one() -> None:
    bench = cards.operational()
    client = piv_cards.managed(bench)
    watcher = bench.client()
    for command in (
        piv.put_data(piv.CHUID, b"x"),
        piv.generate(piv.AUTHENTICATION, piv.P256),
        piv.change(piv.REF_PIN, piv_cards.PIN, piv_cards.NEW_PIN),
        piv.unblock(piv_cards.PUK, piv_cards.PIN),
        piv.set_management_key(piv.AES_192, bytes(24)),
        piv.move(piv.RETIRED, piv.AUTHENTICATION),
    ):
        before = int.from_bytes(cards.changes(watcher), "big")
        client.ok(command)
        assert int.from_bytes(cards.changes(watcher), "big") == (before + 1) % 2**32
