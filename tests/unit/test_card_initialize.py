"""INITIALIZE: everything anew, in one transaction, under the SO PIN."""

from __future__ import annotations

import pytest

from apdu import tlv
from apdu.codec import Command
from apdu.model import SW
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.pki_commands import SO, USER
from tests import cards
from tests.cards import SO_PIN

DF, EF = b"\x50\x15", b"\x44\x01"
FILES = [
    (b"\x2f\x00", pki.fcp(b"\x2f\x00"), b"directory of applications"),
    (DF, pki.df_fcp(DF, b"application"), b""),
    (DF + EF, pki.fcp(EF, 40), b"first entry"),
]


def used() -> cards.Bench:
    bench = cards.operational()
    client = cards.logged_in(bench)
    cards.make_key(client, 3)
    client.ok(pki.create(pki.df_fcp(b"\x60\x00", b"old name")))
    client.ok(pki.create(pki.fcp(b"\x60\x01", 9)))
    return bench


def test_a_blank_card_takes_its_so_pin_and_files() -> None:
    client = cards.Bench().client()
    client.ok(pki.initialize(SO_PIN, FILES))
    assert cards.lifecycle(client) == 5
    client.ok(pki.select(DF + EF))
    assert client.ok(Command(0, 0xB0, 0, 0, b"", 256)) == b"first entry".ljust(40, b"\0")
    assert cards.pin_info(client, USER)[0x83] == b"\x00"
    assert cards.pin_info(client, SO)[0x83] == b"\x03"


def test_a_blank_card_holds_its_so_pin_to_the_policy() -> None:
    bench = cards.Bench()
    before = bench.digest()
    assert bench.client().status(pki.initialize(b"123")) == SW.INCORRECT_DATA
    assert bench.digest() == before


def test_everything_of_the_old_token_is_gone() -> None:
    bench = used()
    client = bench.client()
    client.ok(pki.initialize(SO_PIN, FILES))
    assert cards.key_list(client) == {}
    assert client.status(pki.select(b"\x60\x00")) == SW.FILE_NOT_FOUND
    assert client.status(Command(0, 0xA4, 4, 0, b"old name", 256)) == SW.FILE_NOT_FOUND
    assert client.status(pki.verify(USER, cards.USER_PIN)) == SW.REFERENCE_DATA_NOT_USABLE
    assert {kind for kind, _ in bench.medium.records} == {"token", "pin", "file", "body", "df-name"}
    assert len(bench.medium.records) == 1 + 2 + 3 + 2 + 1


def test_every_other_interface_is_logged_out() -> None:
    bench = used()
    user, so, other = (bench.client() for _ in range(3))
    user.log_in()
    so.log_in(SO)
    other.ok(pki.initialize(SO_PIN))
    assert so.status(pki.verify(SO)) == 0x63CA
    assert so.status(pki.reset_by_so(b"123456")) == SW.SECURITY_STATUS_NOT_SATISFIED
    assert user.status(pki.delete_key(3)) == SW.SECURITY_STATUS_NOT_SATISFIED
    other.ok(pki.reset_by_so(b"123456"))


def test_a_wrong_so_pin_costs_a_try_and_nothing_else() -> None:
    bench = used()
    client = bench.client()
    assert client.status(pki.initialize(b"wrong", FILES)) == 0x63C9
    assert cards.tries_left(client, SO) == 9
    assert set(cards.key_list(client)) == {3}
    client.log_in()


@pytest.mark.parametrize(
    ("files", "sw"),
    [
        ([*FILES, FILES[0]], SW.FILE_EXISTS),
        ([*FILES, (b"\x50\x16", pki.df_fcp(b"\x50\x16", b"application"), b"")], 0x6A8A),
        ([FILES[2]], SW.FILE_NOT_FOUND),
        ([*FILES, (DF + EF, pki.fcp(b"\x44\x02"), b"")], SW.INCORRECT_DATA),
        ([(b"\x2f\x00\x01", pki.fcp(b"\x00\x01"), b"")], SW.INCORRECT_DATA),
        ([(DF, pki.df_fcp(DF), b"content")], SW.INCORRECT_DATA),
        ([(b"\x2f\x00", pki.fcp(b"\x2f\x00", (1 << 20) + 1), b"")], SW.INCORRECT_DATA),
    ],
)
def test_files_that_cannot_be_made_leave_the_token_as_it_was(
    files: list[tuple[bytes, bytes, bytes]], sw: int
) -> None:
    bench = used()
    client = bench.client()
    kept = cards.tries_left(client, SO)
    before = bench.digest()
    assert client.status(pki.initialize(SO_PIN, files)) == sw
    spent = kept - cards.tries_left(client, SO)
    # The SO PIN was compared before the files were made: that try stays spent.
    assert spent == (0 if sw == SW.INCORRECT_DATA else 1)
    client.log_in(SO)
    assert bench.digest() == before
    cards.logged_in(bench).ok(pki.mse(pki.SIGN, pki.ECDSA, 3))


@pytest.mark.parametrize(
    "data",
    [
        tlv.encode(0x80, SO_PIN),
        tlv.encode(0x81, b""),
        tlv.encode(0x81, b"1" * 65),
        tlv.encode(0x81, SO_PIN) * 2,
        tlv.encode(0xE3, b"") + tlv.encode(0x81, SO_PIN),
        tlv.encode(0x81, SO_PIN) + tlv.encode(0xE3, b""),
        tlv.encode(0x81, SO_PIN) + b"\x00",
    ],
)
def test_malformed_data_spends_no_try(data: bytes) -> None:
    bench = used()
    before = bench.digest()
    command = Command(0x80, 0xFA, 0x00, 0x00, data)
    assert bench.client().status(command) == SW.INCORRECT_DATA
    assert bench.digest() == before
