"""What a trace shows, and what it never shows."""

from __future__ import annotations

import itertools

import pytest

from apdu import tlv
from apdu.chaining import split_command
from apdu.codec import Command, Response
from apdu.model import APPLICATIONS
from apdu.trace import Decoder, Trace
from apdu.transport import Answer, CardRemoved, Faulty, Remove, Transport
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki

PKI = APPLICATIONS["pki"]
PIN = b"\xc3\xd4\xe5\xf6\xa7\xb8"
SECRET = b"qwerty"


class Card:
    """A card with one response for everything."""

    def __init__(self, response: Response) -> None:
        self.response = response

    def transceive(self, command: bytes) -> bytes:
        return self.response.encode()


def traced(card: Transport, *commands: Command) -> list[str]:
    """The lines of an exchange in which every command takes 0.8 ms."""
    lines: list[str] = []
    ticks = itertools.count()
    trace = Trace(card, lines.append, PKI, clock=lambda: next(ticks) * 0.0008)
    for command in commands:
        trace.transceive(command.encode())
    return lines


def shows(line: str, secret: bytes) -> bool:
    """Whether a line holds any two bytes of a secret in a row, in hexadecimal or as they are."""
    packed = line.upper().replace(" ", "")
    pairs = (secret[start : start + 2] for start in range(len(secret) - 1))
    return any(pair.hex().upper() in packed or repr(pair)[2:-1] in line for pair in pairs)


def test_a_signature_is_two_lines() -> None:
    sign = Command(0x00, 0x2A, 0x9E, 0x9A, bytes(51), 256)
    assert traced(Card(Response(0x9000, bytes(256))), sign) == [
        "PKI  → 00 2A 9E 9A  PSO COMPUTE DIGITAL SIGNATURE  51 bytes · Le 256",
        "PKI  ← 9000  256 bytes in 0.8 ms",
    ]


def test_a_signature_that_is_verified_is_shown_without_what_was_signed() -> None:
    assert traced(Card(Response(0x6300)), pki.verify_signature(SECRET, bytes(64))) == [
        (
            "PKI  → 00 2A 00 A8  PSO VERIFY DIGITAL SIGNATURE  74 bytes"
            " · digital signature input 6 bytes · digital signature 64 bytes"
        ),
        "PKI  ← 6300 the verification failed, in 0.8 ms",
    ]


def test_a_trace_follows_the_selection_of_another_application() -> None:
    template = bytes.fromhex("61114F0600001000010079074F05A000000308")
    select = Command(0x00, 0xA4, 0x04, 0x00, bytes.fromhex("A000000308"), 256)
    told = (
        "application property template {application identifier 00 00 10 00 01 00, "
        "allocation authority {application identifier A0 00 00 03 08}}"
    )
    assert traced(Card(Response(0x9000, template)), select, piv.get_version()) == [
        "PIV  → 00 A4 04 00  SELECT  5 bytes · A0 00 00 03 08 · Le 256",
        f"PIV  ← 9000  19 bytes in 0.8 ms · {told}",
        "PIV  → 00 FD 00 00  GET VERSION  Le 256",
        "PIV  ← 9000  19 bytes in 0.8 ms",
    ]


def test_a_trace_stays_with_the_application_where_another_is_refused() -> None:
    select = Command(0x00, 0xA4, 0x04, 0x00, bytes.fromhex("A000000308"))
    challenge = Command(0x00, 0x84, 0x00, 0x00, b"", 8)
    lines = traced(Card(Response(0x6A82)), select, challenge)
    assert [line[:4] for line in lines] == ["PIV ", "PIV ", "PKI ", "PKI "]


@pytest.mark.parametrize(
    "command",
    [
        piv.verify(SECRET),
        piv.change(piv.REF_PUK, SECRET, SECRET[::-1]),
        piv.unblock(SECRET, SECRET[::-1]),
        piv.set_management_key(piv.AES_192, SECRET * 4),
        piv.import_key(piv.AUTHENTICATION, piv.ED25519, {0x07: SECRET + bytes(26)}),
        piv.authenticate(piv.AES_192, piv.MANAGEMENT, {0x82: SECRET + b"0123456789"}),
        piv.put_data(piv.PRINTED, SECRET),
    ],
    ids=lambda command: command.header.hex(),
)
@pytest.mark.parametrize("selected", [True, False], ids=["PIV", "PKI"])
def test_no_secret_of_the_piv_application_is_in_a_trace(command: Command, selected: bool) -> None:
    """Not even where the trace does not know that it is selected."""
    select = [pki.select_application(piv.SPEC)] if selected else []
    (line, _) = traced(Card(Response(0x9000)), *select, command)[-2:]
    assert "masked" in line
    assert not shows(line, SECRET)


def test_what_a_key_in_a_slot_gives_is_not_in_a_trace() -> None:
    select, use = pki.select_application(piv.SPEC), piv.use(piv.KEY_MANAGEMENT, piv.P256, b"\x04")
    assert not shows(traced(Card(Response(0x9000, SECRET)), select, use)[-1], SECRET)


FIDO2 = pki.select_application(APPLICATIONS["fido2"])
REQUEST = b"\x06\xa2\x01\x02\x06\x58\x06" + PIN


def ctap(response: Response, *commands: Command) -> list[str]:
    """The lines after the FIDO application was selected."""
    selected = Faulty(Card(response), {1: Answer(0x9000)})
    return traced(selected, FIDO2, *commands)[2:]


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (REQUEST, "authenticatorClientPIN"),
        (b"\x04", "authenticatorGetInfo"),
        (b"\x01" + PIN, "authenticatorMakeCredential"),
        (b"\x41" + PIN, "unknown CTAP command"),
    ],
)
def test_of_a_ctap_request_the_command_alone_is_told(request_: bytes, told: str) -> None:
    (line, _) = ctap(Response(0x9000, b"\x00"), Command(0x80, 0x10, 0x80, 0x00, request_, 256))
    assert line == f"FIDO2  → 80 10 80 00  NFCCTAP_MSG  masked · {told} · Le 256"


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (Response(0x9000, b"\x00" + PIN), "CTAP2_OK"),
        (Response(0x9000, b"\x31"), "CTAP2_ERR_PIN_INVALID"),
        (Response(0x9000, b"\x99"), "CTAP status 99"),
        (Response(0x61FF, b"\x00" + PIN), "CTAP2_OK"),
        (Response(0x9100, b"\x02"), "waits for the user"),
        (Response(0x9100, b"\x01"), "processing"),
    ],
)
def test_of_an_answer_of_ctap_the_status_alone_is_told(response: Response, told: str) -> None:
    for command in (Command(0x80, 0x10, 0x80, 0x00, b"\x04"), Command(0x80, 0x11, 0x00, 0x00)):
        (_, line) = ctap(response, command)
        assert line.endswith(f" in 0.8 ms · {told}")
        assert not shows(line, PIN)


def test_only_where_a_ctap_request_or_an_answer_begins_it_is_told() -> None:
    first, second = split_command(Command(0x80, 0x10, 0x00, 0x00, b"\x06" + b"\x04" * 300))
    lines = ctap(Response(0x9000), first, second)
    assert lines[0].endswith("masked · authenticatorClientPIN · more follows")
    assert lines[2].endswith("NFCCTAP_MSG  masked")
    rest = ctap(Response(0x9000, b"\x31" + PIN), Command(0x00, 0xC0, 0x00, 0x00, ne=256))
    assert rest[1] == "FIDO2  ← 9000  7 bytes in 0.8 ms"
    # The same instruction of another application has nothing to do with CTAP.
    stray = Command(0x80, 0x10, 0x00, 0x00, b"\x06" + PIN)
    assert not any("authenticator" in line for line in traced(Card(Response(0x9000)), stray))


def test_a_refusal_is_told_in_words() -> None:
    verify = Command(0x00, 0x20, 0x00, 0x01, PIN)
    assert traced(Card(Response(0x63C2)), verify) == [
        "PKI  → 00 20 00 01  VERIFY  masked",
        "PKI  ← 63C2 wrong reference data or not verified, tries left: 2, in 0.8 ms",
    ]


def test_data_objects_are_named() -> None:
    data = tlv.encode(0x80, b"\x12") + tlv.encode(0x84, b"\x01\x05") + tlv.encode(0xC3, b"\x00\x20")
    line = traced(Card(Response(0x9000)), Command(0x00, 0x22, 0x41, 0xB6, data))[0]
    assert line.endswith(
        "MSE SET  11 bytes · algorithm RSA PSS · key reference 01 05 · salt length 00 20"
    )


def test_algorithms_and_kinds_of_secret_keys_are_named() -> None:
    data = tlv.encode(0x80, b"\x45") + tlv.encode(0x84, b"\x00") + tlv.encode(0xC6, bytes(12))
    data += tlv.encode(0xC8, PIN) + tlv.encode(0xC9, b"\x0c")
    line = traced(Card(Response(0x9000)), Command(0x00, 0x22, 0x41, 0xB8, data))[0]
    assert "algorithm GCM · key reference 00 · initial value 00 00" in line
    assert line.endswith("additional data 6 bytes · tag or MAC length 0C")
    key = tlv.encode(0x80, b"\xf8") + tlv.encode(0x81, b"\x00\x20") + tlv.encode(0x9D, b"\x02")
    card = Card(Response(0x9000, tlv.encode(0xE1, key)))
    line = traced(card, Command(0x00, 0xCA, 0x01, 0x03, ne=256))[1]
    assert line.endswith("key {kind AES, length 00 20, policy 02}")


def test_templates_show_their_members() -> None:
    pin = b"".join(
        tlv.encode(tag, value)
        for tag, value in ((0x80, b"\x01"), (0x81, b"\x03"), (0x86, b"default"))
    )
    data = tlv.encode(0xE0, tlv.encode(0x80, bytes(8)) + tlv.encode(0xA1, pin))
    line = traced(Card(Response(0x9000, data)), Command(0x00, 0xCA, 0x01, 0x04, ne=256))[1]
    assert "serial number 00 00 00 00 00 00 00 00" in line
    assert "PIN {reference 01, tries left 03, policy 'default'}" in line


def test_a_long_list_is_cut() -> None:
    keys = tlv.encode(0xE1, tlv.encode(0x84, b"\x00\x01")) * 100
    line = traced(Card(Response(0x9000, keys)), Command(0x00, 0xCA, 0x01, 0x03, ne=65536))[1]
    assert len(line) < 300
    assert line.endswith("…")


@pytest.mark.parametrize(
    "text",
    [b"default\x1b[31m", b"line\nline", b"\xff\xfe"],
    ids=["escape", "line-break", "not-ascii"],
)
def test_a_card_cannot_write_to_the_terminal(text: bytes) -> None:
    data = tlv.encode(0xE0, tlv.encode(0xA1, tlv.encode(0x86, text)))
    line = traced(Card(Response(0x9000, data)), Command(0x00, 0xCA, 0x01, 0x04, ne=256))[1]
    assert line.isprintable()


def test_the_parts_of_a_chain_are_marked() -> None:
    parts = split_command(Command(0x00, 0xD6, 0x00, 0x00, bytes(300)))
    lines = traced(Card(Response(0x9000)), *parts)
    assert lines[0] == "PKI  → 10 D6 00 00  UPDATE BINARY  255 bytes · more follows"
    assert lines[2] == "PKI  → 00 D6 00 00  UPDATE BINARY  45 bytes"


@pytest.mark.parametrize(
    "command",
    [
        Command(0x00, 0x20, 0x00, 0x01, PIN),
        Command(0x10, 0x20, 0x00, 0x01, PIN),
        Command(0x84, 0x20, 0x77, 0x77, PIN),
        Command(0x00, 0x24, 0x00, 0x01, PIN * 2),
        Command(0x00, 0x25, 0x00, 0x02, tlv.encode(0x80, PIN) + tlv.encode(0x81, PIN)),
        Command(0x00, 0x2C, 0x02, 0x01, PIN),
        Command(0x00, 0x2D, 0x00, 0x01, tlv.encode(0x80, PIN)),
        Command(0x80, 0xFA, 0x00, 0x00, tlv.encode(0x81, PIN)),
        Command(0x90, 0xFA, 0x00, 0x00, tlv.encode(0x81, PIN)),
        Command(0xFF, 0x21, 0x00, 0x00, tlv.encode(0x53, PIN)),
        Command(0x00, 0xDB, 0x3F, 0xFF, tlv.encode(0x7F48, tlv.encode(0x92, PIN))),
        Command(0x10, 0xDB, 0x3F, 0xFF, tlv.encode(0x7F48, tlv.encode(0x92, PIN))),
        Command(0x00, 0x07, 0x00, 0x00, PIN),
    ],
    ids=[
        "verify",
        "verify-chained",
        "verify-of-no-table",
        "change",
        "change-odd",
        "unblock-by-so",
        "unblock-odd",
        "initialize",
        "initialize-chained",
        "verify-odd-of-no-table",
        "import",
        "import-chained",
        "unknown-command",
    ],
)
def test_pins_and_private_keys_are_masked(command: Command) -> None:
    decoder = Decoder(PKI)
    raw = command.encode()
    for line in (
        decoder.command(raw),
        decoder.command(raw + b"\x00\x00"),
        decoder.command(raw[:-1]),
    ):
        assert not shows(line, PIN)


def test_a_masked_pin_does_not_show_its_length() -> None:
    short, long = (
        Decoder(PKI).command(Command(0x00, 0x20, 0x00, 0x01, pin).encode())
        for pin in (b"1234", b"123456789012")
    )
    assert short == long


@pytest.mark.parametrize(
    "command",
    [
        Command(0x00, 0x2A, 0x80, 0x86, bytes(257), 256),
        Command(0x00, 0x2A, 0x86, 0x80, bytes(16), 256),
        Command(0x00, 0x2A, 0x8E, 0x80, bytes(16), 256),
        Command(0x80, 0xCA, 0x00, 0x01, ne=256),
        Command(0x00, 0x84, 0x00, 0x00, ne=6),
        Command(0x00, 0xB0, 0x00, 0x00, ne=256),
        Command(0x00, 0xC0, 0x00, 0x00, ne=256),
        Command(0x00, 0x07, 0x00, 0x00, ne=256),
    ],
    ids=[
        "decipher",
        "encipher",
        "checksum",
        "secret-key",
        "challenge",
        "file",
        "get-response",
        "unknown",
    ],
)
def test_confidential_answers_show_their_size_only(command: Command) -> None:
    assert traced(Card(Response(0x9000, PIN)), command)[1] == "PKI  ← 9000  6 bytes in 0.8 ms"


def test_the_content_of_a_file_is_not_shown() -> None:
    write = Command(0x00, 0xD7, 0x00, 0x00, tlv.encode(0x54, b"\x10") + tlv.encode(0x53, PIN))
    read = Command(0x00, 0xB1, 0x00, 0x00, tlv.encode(0x54, b"\x10"), 256)
    lines = traced(Card(Response(0x9000, tlv.encode(0x53, PIN))), write, read)
    assert not any(shows(line, PIN) for line in lines)
    assert lines[2].endswith("READ BINARY ODD  3 bytes · offset 10 · Le 256")
    assert lines[3].endswith("· content 6 bytes")


def test_malformed_apdus_have_a_line_too() -> None:
    decoder = Decoder(PKI)
    assert decoder.command(b"") == "PKI  →   malformed command, 0 bytes"
    assert decoder.command(b"\x00\xa4\x04\x00\x10\xf2") == (
        "PKI  → 00 A4 04 00  malformed command, 6 bytes"
    )
    assert decoder.response(b"\x90", 0.0008) == "PKI  ← malformed response, 1 byte in 0.8 ms"


def test_a_failed_exchange_is_told_and_raised() -> None:
    lines: list[str] = []
    card = Faulty(Card(Response(0x9000)), {1: Answer(0x6A82), 2: Remove()})
    trace = Trace(card, lines.append, PKI)
    select = Command(0x00, 0xA4, 0x00, 0x0C, b"\x50\x15").encode()
    trace.transceive(select)
    with pytest.raises(CardRemoved):
        trace.transceive(select)
    assert "SELECT  2 bytes · 50 15" in lines[0]
    assert lines[1].startswith("PKI  ← 6A82 file or application not found")
    assert lines[3].startswith("PKI  ✗ the card was removed in ")
