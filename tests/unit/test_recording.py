"""What a recording keeps, and what it never keeps."""

from __future__ import annotations

import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from apdu import tlv
from apdu.codec import CHAINING, Command, Response
from apdu.model import APPLICATIONS
from apdu.recording import (
    Entry,
    Head,
    Mask,
    Recorder,
    RecordingError,
    read,
    whole,
    write,
    write_entry,
)
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from tests import cards, piv_cards

PKI = APPLICATIONS["pki"]
HEAD = Head("pki", "Work", "2026-01-02T03:04:05+00:00")
SECRET = b"\xc3\xd4\xe5\xf6\xa7\xb8"


def entry(command: Command, response: Response) -> Entry:
    return Mask(PKI).entry(0, 1.0, 0.5, command.encode(), response.encode())


def text(*entries: Entry) -> str:
    return write(HEAD) + "".join(map(write_entry, entries))


SECRETS = {
    "a PIN": (pki.verify(pki.USER, SECRET), Response(0x9000)),
    "two PINs": (pki.change(pki.USER, SECRET, SECRET), Response(0x9000)),
    "the SO PIN": (pki.initialize(SECRET), Response(0x9000)),
    "an imported key": (pki.put_value(SECRET), Response(0x9000)),
    "a secret key": (pki.get_secret(1), Response(0x9000, SECRET)),
    "a decrypted text": (pki.decipher(b"c"), Response(0x9000, SECRET)),
    "random bytes": (pki.challenge(6), Response(0x9000, SECRET)),
    "the content of a file": (pki.read(0), Response(0x9000, tlv.encode(0x53, SECRET))),
    "a part of a content": (pki.read(0), Response(0x6100, tlv.encode(0x53, SECRET)[:-1])),
    "a command nobody knows": (Command(0x00, 0xFE, 0, 0, SECRET), Response(0x9000, SECRET)),
}


@pytest.mark.parametrize("what", SECRETS)
def test_a_secret_is_not_kept(what: str) -> None:
    kept = text(entry(*SECRETS[what]))
    assert SECRET[:2].hex() not in kept
    assert SECRET[-2:].hex() not in kept


def test_a_recording_follows_select_and_keeps_no_secret_of_piv() -> None:
    entries: list[Entry] = []
    bench = cards.operational()
    client = piv_cards.Client(Recorder(bench.connect(), entries.append, Mask(PKI)))
    client.prove()
    client.log_in()
    new_key, imported, content = bytes(range(0x40, 0x60)), b"\x5a" * 32, b"printed information"
    rsa_key = piv.rsa_fields(rsa.generate_private_key(65537, 2048))
    for command in (
        piv.change(piv.REF_PIN, piv_cards.PIN, piv_cards.NEW_PIN),
        piv.change(piv.REF_PUK, piv_cards.PUK, piv_cards.NEW_PUK),
        piv.unblock(piv_cards.NEW_PUK, piv_cards.PIN),
        piv.set_management_key(piv.AES_256, new_key),
        piv.import_key(piv.AUTHENTICATION, piv.P256, {0x06: imported}),
        piv.import_key(piv.RETIRED, piv.RSA_2048, rsa_key),
        piv.put_data(piv.PRINTED, content),
        piv.verify(piv_cards.PIN),
        piv.get_data(piv.PRINTED),
    ):
        client.ok(command)
    assert client.ok(piv.get_version())
    kept = text(*entries)
    secrets = (
        *(piv_cards.PIN, piv_cards.NEW_PIN, piv_cards.PUK, piv_cards.NEW_PUK, content),
        *(piv_cards.MANAGEMENT_KEY, new_key, imported, *rsa_key.values()),
    )
    assert [secret for secret in secrets if secret[:16].hex() in kept] == []
    assert "SET MANAGEMENT KEY" in kept
    version = entries[-1]
    assert (version.masked, version.length) == (False, None)


@pytest.mark.parametrize("size", [8, 3])
def test_no_part_of_a_chain_of_contents_is_kept(size: int) -> None:
    mask = Mask(piv.SPEC)
    data = piv.put_data(piv.PRINTED, SECRET).data
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    for number, part in enumerate(parts, 1):
        chaining = CHAINING if number < len(parts) else 0
        command = Command(chaining, 0xDB, 0x3F, 0xFF, part)
        kept = mask.entry(0, 0.0, 0.0, command.encode(), Response(0x9000).encode())
        assert (kept.masked, len(kept.command)) == (True, 4)


def test_a_malformed_command_is_kept_by_its_header_alone() -> None:
    raw = bytes.fromhex("0020000105") + SECRET
    kept = Mask(PKI).entry(0, 0.0, 0.0, raw, Response(0x6700).encode())
    assert (kept.command, kept.masked) == (raw[:4], True)


def test_what_is_not_secret_is_kept_whole() -> None:
    command, response = pki.get_data(0x04), Response(0x9000, b"\xe0\x00")
    kept = entry(command, response)
    assert (kept.command, kept.response) == (command.encode(), response.encode())
    assert not kept.masked
    assert kept.length is None


def test_a_recording_is_read_as_it_was_written() -> None:
    entries = [
        entry(pki.select_application(), Response(0x9000)),
        entry(pki.verify(pki.USER, SECRET), Response(0x63C2)),
        entry(pki.challenge(8), Response(0x9000, bytes(8))),
        Entry(1, 2.5),
    ]
    assert read(text(*entries)) == (HEAD, entries)
    assert [item.name for item in entries] == ["SELECT", "VERIFY", "GET CHALLENGE", "RESET"]


def test_a_recorder_tells_how_long_each_answer_took() -> None:
    kept: list[Entry] = []
    ticks = itertools.count(10)
    card = cards.operational().connect()
    recorder = Recorder(card, kept.append, Mask(PKI), door=3, clock=lambda: next(ticks))
    recorder.transceive(pki.select_application().encode())
    recorder.was_reset()
    assert [(item.door, item.at, item.seconds) for item in kept] == [(3, 10, 1), (3, 12, 0)]


@pytest.mark.parametrize("left", [1, 40, -1])
def test_a_last_line_that_was_cut_short_is_left_out(left: int) -> None:
    first, second = (entry(pki.challenge(size), Response(0x9000, bytes(size))) for size in (8, 9))
    cut = text(first) + write_entry(second).rstrip()[:left]
    assert whole(cut) == (text(first), True)


def test_a_recording_that_lacks_but_its_last_line_end_is_whole() -> None:
    kept = text(entry(pki.challenge(8), Response(0x9000, bytes(8))))
    assert whole(kept) == (kept, False)
    assert whole(kept.rstrip()) == (kept.rstrip(), False)


BAD = {
    "empty": ("", "no recording"),
    "of something else": ('{"klyuch":"trace"}\n', "no recording"),
    "of a later version": ('{"klyuch":"recording","version":2}\n', "version 2"),
    "of an unknown application": (
        '{"klyuch":"recording","version":1,"application":"acme"}\n',
        "acme",
    ),
    "of two applications": (
        '{"klyuch":"recording","version":1,"application":["pki"]}\n',
        "unknown application",
    ),
    "a door without end": (
        write(HEAD) + '{"door":1e400,"at":0,"seconds":0,"command":"00a40000","response":"9000"}\n',
        "Line 2",
    ),
    "no command": (
        write(HEAD) + '{"door":0,"at":0,"seconds":0,"command":"","response":"9000"}\n',
        "Line 2",
    ),
    "a command cut short": (
        write(HEAD) + '{"door":0,"at":0,"seconds":0,"command":"00a4","response":"9000"}\n',
        "Line 2",
    ),
    "a masked command that asks for less than nothing": (
        write(HEAD) + '{"door":0,"at":0,"seconds":0,"command":"00200001","masked":true,'
        '"ne":-1,"response":"9000"}\n',
        "Line 2",
    ),
    "not JSON": (write(HEAD) + "}\n", "Line 2"),
    "a line that is no object": (write(HEAD) + "7\n", "Line 2"),
    "an entry without a response": (write(HEAD) + '{"door":0,"at":0}\n', "Line 2"),
    "an odd digit": (
        write(HEAD) + '{"door":0,"at":0,"seconds":0,"command":"00a","response":"9000"}\n',
        "Line 2",
    ),
    "a response without a status word": (
        write(HEAD) + '{"door":0,"at":0,"seconds":0,"command":"00a40000","response":"90"}\n',
        "Line 2",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_recording_is_refused_with_its_line(what: str) -> None:
    bad, message = BAD[what]
    with pytest.raises(RecordingError, match=message):
        read(bad)
