"""As much as the design promises fits on one card."""

from __future__ import annotations

from apdu import tlv
from apdu.codec import Command
from apdu.model import SW
from host_tools.conformance import pki_commands as pki
from tests import cards
from token_fw.apps.pki.keys import MAX_REFERENCE

DIRECTORY_FILE = b"\x44\x02"


def read_whole(client: cards.Client, fid: bytes, size: int, step: int) -> bytes:
    whole = b""
    while len(whole) < size:
        item, _ = tlv.parse_one(client.ok(pki.read(len(whole), fid, step)))
        whole += item.value
    return whole


def test_300_keys_live_side_by_side() -> None:
    bench = cards.operational()
    client = cards.logged_in(bench)
    points = {reference: cards.make_key(client, reference) for reference in range(724, 1024)}
    again = cards.logged_in(bench.restarted())
    assert set(cards.key_list(again)) == set(points)
    for reference in (724, 900, MAX_REFERENCE):
        again.ok(pki.mse(pki.SIGN, pki.ECDSA, reference))
        pki.check_ecdsa(points[reference], bytes(32), again.ok(pki.sign(bytes(32))))
    outer, _ = tlv.parse_one(again.ok(pki.get_data(4)))
    assert tlv.find(tlv.parse(outer.value), 0x87) == (724).to_bytes(2, "big")


def test_1000_files_live_side_by_side() -> None:
    bench = cards.operational()
    client = cards.logged_in(bench)
    client.ok(pki.create(pki.df_fcp(b"\x50\x15")))
    for number in range(1000):
        fid = (0x6000 + number).to_bytes(2, "big")
        client.ok(pki.create(pki.fcp(fid)))
        client.ok(pki.update(0, number.to_bytes(200, "big")))
    again = cards.logged_in(bench.restarted())
    again.ok(pki.select(b"\x50\x15"))
    for number in (0, 500, 999):
        fid = (0x6000 + number).to_bytes(2, "big")
        assert read_whole(again, fid, 200, 256) == number.to_bytes(200, "big")
    again.ok(pki.select(b""))
    again.ok(pki.delete(b"\x50\x15"))
    assert again.status(pki.select(b"\x50\x15\x60\x00")) == SW.FILE_NOT_FOUND


def test_a_directory_file_of_40_kib_is_written_in_one_command_and_read_beyond_32_kib() -> None:
    bench = cards.operational()
    client = cards.logged_in(bench)
    client.ok(pki.create(pki.fcp(DIRECTORY_FILE)))
    entries = bytes(number % 251 for number in range(40 * 1024))
    client.ok(pki.update(0, entries, len(entries)))
    assert read_whole(client, DIRECTORY_FILE, len(entries), 4096) == entries
    short = cards.Client(bench.connect(), extended=False)
    short.log_in()
    short.ok(pki.update(39_000, b"changed", len(entries), DIRECTORY_FILE))
    changed = entries[:39_000] + b"changed" + entries[39_007:]
    assert read_whole(short, DIRECTORY_FILE, len(entries), 256) == changed
    # The even instruction ends at 32 KiB.
    short.ok(pki.select(DIRECTORY_FILE))
    assert short.ok(Command(0, 0xB0, 0x7F, 0xFF, b"", 2)) == entries[0x7FFF:0x8001]


def test_the_card_refuses_more_files_than_it_has_room_for() -> None:
    bench = cards.operational()
    files = [(fid, pki.fcp(fid), b"") for fid in ((n + 1).to_bytes(2, "big") for n in range(4000))]
    client = bench.client()
    client.ok(pki.initialize(cards.SO_PIN, files))
    client.ok(pki.reset_by_so(cards.USER_PIN))
    client.log_in()
    answers = {
        client.status(pki.create(pki.fcp((0x7000 + n).to_bytes(2, "big")))) for n in range(97)
    }
    assert answers == {SW.NO_ERROR, SW.NOT_ENOUGH_MEMORY}
