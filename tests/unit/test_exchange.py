"""Exchanges as fields for programs: whole, masked, malformed, and resets."""

from apdu import exchange
from apdu.codec import Command, Response
from apdu.model import APPLICATIONS
from apdu.recording import Entry, Mask
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki

PIN = b"481516"


def fields(raw: bytes, answer: Response) -> dict[str, object]:
    mask = Mask(APPLICATIONS["pki"])
    entry = mask.entry(3, 0.0, 0.0012345678, raw, answer.encode())
    return exchange.fields(entry, mask.application)


def test_every_part_of_an_exchange_has_a_field() -> None:
    assert fields(bytes.fromhex("002A9E9A03AABBCC10"), Response(0x9000, b"\1\2")) == {
        "door": 3,
        "application": "pki",
        "command": "PSO COMPUTE DIGITAL SIGNATURE",
        "cla": "00",
        "ins": "2a",
        "p1": "9e",
        "p2": "9a",
        "lc": 3,
        "le": 16,
        "chained": False,
        "data": "aabbcc",
        "masked": False,
        "blanked": False,
        "sw": "9000",
        "sw_name": "NO_ERROR",
        "meaning": "done",
        "answer": "0102",
        "answer_length": 2,
        "seconds": 0.001235,
    }


def test_neither_a_pin_nor_its_length_is_told() -> None:
    told = fields(pki.verify(pki.USER, PIN).encode(), Response(0x63C2))
    assert (told["command"], told["masked"]) == ("VERIFY", True)
    assert told["data"] is told["lc"] is None
    assert (told["sw"], told["sw_name"]) == ("63c2", "WRONG_PIN")
    assert "tries" in str(told["meaning"])
    assert PIN.hex() not in str(told)


def test_of_a_secret_answer_the_length_alone_is_told() -> None:
    told = fields(pki.get_secret(1).encode(), Response(0x9000, b"\xa5" * 32))
    assert (told["answer"], told["answer_length"], told["sw"]) == (None, 32, "9000")


def test_the_application_is_the_one_that_a_command_went_to() -> None:
    mask = Mask(APPLICATIONS["pki"])
    for command, answer, name in (
        (pki.select_application(piv.SPEC), Response(0x6A82), "pki"),
        (pki.select_application(piv.SPEC), Response(0x9000), "piv"),
        (piv.get_version(), Response(0x9000, b"\5\7\1"), "piv"),
    ):
        entry = mask.entry(0, 0.0, 0.0, command.encode(), answer.encode())
        assert exchange.fields(entry, mask.application)["application"] == name


def test_a_command_that_nobody_knows_has_no_name_and_one_that_is_none_its_bytes() -> None:
    told = fields(Command(0x00, 0xFE, 1, 2, b"data").encode(), Response(0x6D00))
    assert (told["command"], told["ins"], told["data"]) == (None, "fe", None)
    told = fields(bytes.fromhex("00A4"), Response(0x6700))
    assert [told[name] for name in ("cla", "ins", "p1", "p2", "le")] == ["00", "a4", *[None] * 3]
    assert (told["sw"], told["sw_name"]) == ("6700", "WRONG_LENGTH")
    told = fields(bytes.fromhex("00200001FF3132"), Response(0x6700))
    assert (told["p2"], told["data"], told["masked"]) == ("01", None, True)


def test_an_exchange_that_failed_has_no_answer() -> None:
    mask = Mask(APPLICATIONS["pki"])
    entry = mask.entry(0, 0.0, 0.0, pki.challenge(8).encode(), b"")
    told = exchange.fields(entry, mask.application)
    assert {told[name] for name in ("sw", "sw_name", "meaning", "answer", "answer_length")} == {
        None
    }
    assert told["command"] == "GET CHALLENGE"


def test_a_reset_is_told_as_one() -> None:
    assert exchange.fields(Entry(2, 0.0), APPLICATIONS["pki"]) == {"door": 2, "reset": True}
