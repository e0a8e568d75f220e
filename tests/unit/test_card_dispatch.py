"""Reset, selection, classes, chaining, long answers, and what happens when the storage fails."""

from __future__ import annotations

import logging
from functools import reduce
from operator import xor

import pytest

from apdu import tlv
from apdu.codec import Command, Response
from apdu.model import SW
from apdu.trace import Trace
from apdu.transport import CardRemoved, Transport
from host_tools.conformance import pki_commands as pki
from host_tools.testing.faults import FailingStore
from tests import cards
from token_fw.apps import Application, Handler, Parts, Told
from token_fw.apps.pki import HANDLERS, SPEC, PkiSession, information
from token_fw.card import Card
from token_fw.env import Env
from token_fw.factory import Profile, personalise
from token_fw.storage.base import StorageCorrupt
from token_fw.storage.memory import MemoryStore


def raw_status(transport: Transport, apdu: str) -> int:
    return Response.parse(transport.transceive(bytes.fromhex(apdu))).sw


def test_atr_names_the_card_and_has_a_right_check_byte() -> None:
    atr = cards.Bench().connect().reset()
    assert atr[0] == 0x3B
    assert atr[1] & 0x0F == len(atr) - 5
    assert b"Klyuch" in atr
    assert reduce(xor, atr[1:]) == 0


def test_unknown_application_is_not_found() -> None:
    interface = cards.Bench().connect()
    assert raw_status(interface, "00A4040006D2760001240100") == SW.FILE_NOT_FOUND
    assert raw_status(interface, "00A4000C023F00") == SW.FILE_NOT_FOUND


@pytest.mark.parametrize(
    ("apdu", "sw"),
    [
        ("00CA010100", SW.INS_NOT_SUPPORTED),
        ("80E40000", SW.INS_NOT_SUPPORTED),
        ("C0CA010100", SW.CLA_NOT_SUPPORTED),
        ("00C0000000", SW.CONDITIONS_NOT_SATISFIED),
    ],
)
def test_only_select_works_before_the_application_is_selected(apdu: str, sw: int) -> None:
    assert raw_status(cards.Bench().connect(), apdu) == sw


def test_reset_forgets_selection_and_verification() -> None:
    bench = cards.operational()
    interface = bench.connect()
    client = cards.Client(interface)
    client.log_in()
    interface.reset()
    assert client.status(pki.get_data(1)) == SW.INS_NOT_SUPPORTED
    client.ok(pki.select_application())
    assert client.status(pki.verify(pki.USER)) == 0x63C3


def test_selecting_the_application_again_ends_the_verification() -> None:
    client = cards.logged_in()
    client.ok(pki.select_application())
    assert client.status(pki.verify(pki.USER)) == 0x63C3


def test_an_unknown_name_leaves_the_selection_alone() -> None:
    client = cards.logged_in()
    assert client.status(Command(0, 0xA4, 0x04, 0x00, b"no such name")) == SW.FILE_NOT_FOUND
    assert client.status(pki.verify(pki.USER)) == SW.NO_ERROR


@pytest.mark.parametrize(
    ("apdu", "sw"),
    [
        ("04CA010100", SW.SECURE_MESSAGING_NOT_SUPPORTED),
        ("01CA010100", SW.LOGICAL_CHANNEL_NOT_SUPPORTED),
        ("40CA010100", SW.LOGICAL_CHANNEL_NOT_SUPPORTED),
        ("20CA010100", SW.CLA_NOT_SUPPORTED),
        ("FFCA010100", SW.CLA_NOT_SUPPORTED),
        ("8084000008", SW.INS_NOT_SUPPORTED),
        ("0099000000", SW.INS_NOT_SUPPORTED),
        ("00CA020100", SW.INCORRECT_P1P2),
        ("00CA01010155", SW.WRONG_LENGTH),
        ("00D60000", SW.WRONG_LENGTH),
        ("00CA", SW.WRONG_LENGTH),
        ("", SW.WRONG_LENGTH),
        ("00840000", SW.WRONG_LENGTH),
    ],
)
def test_a_malformed_header_is_refused_with_its_own_status_word(apdu: str, sw: int) -> None:
    client = cards.Bench().client()
    assert raw_status(client.transport, apdu) == sw


def test_only_the_commands_of_the_table_may_be_chained() -> None:
    client = cards.Bench().client()
    assert raw_status(client.transport, "1020000104") == SW.CHAINING_NOT_SUPPORTED
    assert raw_status(client.transport, "10D6000001AA") == SW.NO_ERROR


def test_a_command_that_does_not_continue_the_chain_ends_it() -> None:
    client = cards.Bench().client()
    assert raw_status(client.transport, "10D6000001AA") == SW.NO_ERROR
    assert raw_status(client.transport, "00CA010100") == SW.LAST_COMMAND_EXPECTED
    assert raw_status(client.transport, "00CA010100") == SW.NO_ERROR


def test_a_chain_longer_than_128_kib_is_refused() -> None:
    client = cards.logged_in()
    part = Command(0x10, 0xDB, 0x3F, 0xFF, bytes(65000))
    assert [client.status(part) for _ in range(3)] == [
        SW.NO_ERROR,
        SW.NO_ERROR,
        SW.WRONG_LENGTH,
    ]


def test_short_le_is_answered_with_61xx_and_get_response_brings_the_rest() -> None:
    bench = cards.operational()
    client = cards.logged_in(bench)
    for reference in range(20):
        cards.make_key(client, reference)
    whole = client.ok(pki.get_data(3))
    first = Response.parse(client.transport.transceive(bytes.fromhex("00CA010300")))
    assert (len(first.data), first.sw1) == (256, 0x61)
    assert cards.Client(bench.connect(), extended=False).ok(pki.get_data(3)) == whole


def test_a_response_waits_for_get_response_alone() -> None:
    client = cards.logged_in()
    client.transport.transceive(bytes.fromhex("00CA010401"))
    assert client.status(pki.challenge(1)) == SW.NO_ERROR
    assert raw_status(client.transport, "00C0000000") == SW.CONDITIONS_NOT_SATISFIED


def test_no_response_is_longer_than_pcscd_takes() -> None:
    client = cards.Bench().client()
    whole = Command(0x00, 0x84, 0x00, 0x00, b"", pki.ALL)
    answer = Response.parse(client.transport.transceive(whole.encode()))
    assert (len(answer.data), answer.sw) == (65533, 0x6103)
    assert len(client.ok(whole)) == pki.ALL


def test_a_closed_interface_and_a_closed_card_are_gone() -> None:
    bench = cards.operational()
    one, other = bench.connect(), bench.connect()
    one.close()
    with pytest.raises(CardRemoved):
        one.transceive(pki.select_application().encode())
    assert cards.Client(other).status(pki.get_data(1)) == SW.NO_ERROR
    bench.card.close()
    with pytest.raises(CardRemoved):
        other.transceive(b"")


def test_a_store_without_a_token_is_refused() -> None:
    with pytest.raises(StorageCorrupt):
        Card(Env(MemoryStore()))


def test_a_store_is_personalised_once() -> None:
    store = cards.Bench().store
    with pytest.raises(ValueError, match="already"):
        personalise(store, Profile(cards.SERIAL))


@pytest.mark.parametrize(
    "profile",
    [
        {"serial": b"short"},
        {"pin_policy": "none such"},
        {"user_tries": 0},
        {"so_tries": 16},
    ],
)
def test_a_profile_says_what_can_be_made(profile: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Profile(**({"serial": cards.SERIAL} | profile))  # type: ignore[arg-type]  # on purpose


def test_an_application_whose_handlers_and_table_disagree_cannot_be_built() -> None:
    def install(_: Parts, _powered: float) -> None:
        raise AssertionError

    def session(_: None, _told: Told) -> PkiSession:
        raise AssertionError

    handlers = dict(HANDLERS)
    del handlers["VERIFY"]
    handlers["NO SUCH COMMAND"] = Handler(lambda _: None, lambda _session, _command: b"")
    with pytest.raises(ValueError, match="NO SUCH COMMAND, VERIFY"):
        Application(SPEC, handlers, install, session)


def test_a_failing_storage_answers_memory_failure_and_changes_nothing() -> None:
    store = FailingStore()
    bench = cards.operational(store=store)
    client = cards.logged_in(bench)
    cards.make_key(client, 1)
    client.ok(pki.create(pki.fcp(b"\x44\x01", 4)))
    before = bench.digest()
    store.failing = True
    for command in (
        pki.create(pki.fcp(b"\x44\x02")),
        pki.update(0, b"lost", fid=b"\x44\x01"),
        pki.delete(b"\x44\x01"),
        pki.delete_key(1),
        pki.put_key(tlv.encode(0xE0, tlv.encode(0x88, bytes(31) + b"\1"))),
        pki.change(pki.USER, cards.USER_PIN, b"123456"),
        pki.initialize(cards.SO_PIN),
        pki.verify(pki.USER, cards.USER_PIN),
    ):
        if command.ins == 0xDB:
            client.ok(pki.mse(pki.GENERATE, pki.ED25519, 2))
        assert client.status(command) == SW.MEMORY_FAILURE
    store.failing = False
    assert bench.digest() == before
    assert set(cards.key_list(client)) == {1}
    assert client.ok(pki.read(0, b"\x44\x01")) == b"\x53\x04" + bytes(4)
    assert client.status(pki.select(b"\x44\x02")) == SW.FILE_NOT_FOUND
    assert cards.lifecycle(client) == 5
    client.log_in()


def test_why_the_storage_failed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    store = FailingStore()
    client = cards.operational(store=store).client()
    store.failing = True
    assert client.status(pki.verify(pki.USER, cards.USER_PIN)) == SW.MEMORY_FAILURE
    assert "the medium cannot be written" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


def test_a_try_that_cannot_be_spent_is_not_compared() -> None:
    store = FailingStore()
    client = cards.operational(store=store).client()
    store.failing = True
    for pin in (cards.USER_PIN, b"wrong one"):
        assert client.status(pki.verify(pki.USER, pin)) == SW.MEMORY_FAILURE
    assert client.status(pki.verify(pki.USER)) == 0x63C3


def test_a_fault_of_the_program_is_answered_and_logged_without_its_data(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: PkiSession) -> bytes:
        raise RuntimeError(cards.USER_PIN.decode())

    bench = cards.operational()
    client = bench.client()
    before = bench.digest()
    monkeypatch.setitem(information._OBJECTS, 1, broken)
    with caplog.at_level(logging.DEBUG):
        assert client.status(pki.get_data(1)) == SW.UNKNOWN_ERROR
    assert "RuntimeError" in caplog.text
    assert cards.USER_PIN.decode() not in caplog.text
    assert bench.digest() == before


def test_a_trace_tells_why_the_last_command_was_refused() -> None:
    interface = cards.operational().connect()
    lines: list[str] = []
    traced = Trace(interface, lines.append, SPEC, cause=lambda: str(interface.cause or ""))
    client = cards.Client(traced)
    assert client.status(pki.verify(pki.USER, b"not it")) == SW.WRONG_PIN | 2
    assert lines[-1].endswith(" · wrong PIN, tries left: 2")
    client.ok(pki.get_data(0x02))
    assert interface.cause is None
