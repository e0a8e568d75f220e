"""The client's side of an exchange, and planned faults."""

from __future__ import annotations

import pytest

from apdu.codec import Command, Response
from apdu.model import StatusWordError
from apdu.transport import (
    Answer,
    CardClient,
    CardRemoved,
    Drop,
    Fault,
    Faulty,
    Garble,
    Remove,
    TransportError,
    Truncate,
)

SIGN = Command(0x00, 0x2A, 0x9E, 0x9A, b"digest", 256)
VERIFY = Command(0x00, 0x20, 0x00, 0x01, b"1234")


class Script:
    """A card that answers as told and remembers what it was sent."""

    def __init__(self, *responses: Response | bytes) -> None:
        self.responses = list(responses)
        self.received: list[Command] = []

    def transceive(self, command: bytes) -> bytes:
        self.received.append(Command.parse(command))
        response = self.responses.pop(0)
        return response if isinstance(response, bytes) else response.encode()


class Echo:
    """A card that answers with the data it was sent."""

    def __init__(self) -> None:
        self.count = 0

    def transceive(self, command: bytes) -> bytes:
        self.count += 1
        return Response(0x9000, Command.parse(command).data).encode()


def test_a_call_returns_the_data() -> None:
    card = Script(Response(0x9000, b"signature"))
    assert CardClient(card).call(SIGN) == b"signature"
    assert card.received == [SIGN]


def test_a_refused_call_names_command_and_reason_but_no_data() -> None:
    with pytest.raises(StatusWordError) as caught:
        CardClient(Script(Response(0x63C2))).call(VERIFY)
    assert caught.value.sw == 0x63C2
    assert caught.value.command == "VERIFY"
    assert "tries left: 2" in str(caught.value)
    assert "1234" not in repr(caught.value)


def test_a_refused_command_no_table_knows_is_named_by_its_header() -> None:
    with pytest.raises(StatusWordError, match="00 07 01 02: 6D00"):
        CardClient(Script(Response(0x6D00))).call(Command(0x00, 0x07, 0x01, 0x02))


def test_response_data_in_parts_is_joined() -> None:
    card = Script(
        Response(0x6100, b"a" * 256), Response(0x6102, b"b" * 256), Response(0x9000, b"cc")
    )
    assert CardClient(card).send(SIGN) == Response(0x9000, b"a" * 256 + b"b" * 256 + b"cc")
    assert card.received[1:] == [
        Command(0x00, 0xC0, 0x00, 0x00, ne=256),
        Command(0x00, 0xC0, 0x00, 0x00, ne=2),
    ]


@pytest.mark.parametrize(("cla", "expected"), [(0x80, 0x00), (0x02, 0x02), (0x43, 0x43)])
def test_get_response_keeps_only_the_logical_channel(cla: int, expected: int) -> None:
    card = Script(Response(0x6101), Response(0x9000, b"x"))
    CardClient(card).send(Command(cla, 0xCA, 0x01, 0x01, ne=1))
    assert card.received[1].cla == expected


def test_a_wrong_le_is_corrected_once() -> None:
    card = Script(Response(0x6C08), Response(0x9000, b"8 bytes!"))
    assert CardClient(card).call(SIGN) == b"8 bytes!"
    assert card.received[1].ne == 8
    stubborn = Script(Response(0x6C08), Response(0x6C09))
    assert CardClient(stubborn).send(SIGN).sw == 0x6C09


def test_a_wrong_le_in_get_response_is_corrected() -> None:
    card = Script(Response(0x6105), Response(0x6C03), Response(0x9000, b"abc"))
    assert CardClient(card).call(SIGN) == b"abc"
    assert [command.ne for command in card.received] == [256, 5, 3]


@pytest.mark.parametrize("announced", [Response(0x6101), Response(0x6100, bytes(65000))])
def test_response_data_without_end_is_a_transport_error(announced: Response) -> None:
    class Endless:
        def transceive(self, command: bytes) -> bytes:
            return announced.encode()

    with pytest.raises(TransportError, match="without end"):
        CardClient(Endless()).send(SIGN)


def test_long_data_goes_out_as_a_chain_or_extended() -> None:
    command = Command(0x00, 0xD6, 0x00, 0x00, bytes(600), 65536)
    short = Script(*[Response(0x9000)] * 3)
    CardClient(short, extended=False).call(command)
    assert [(part.chained, len(part.data), part.ne) for part in short.received] == [
        (True, 255, 0),
        (True, 255, 0),
        (False, 90, 256),
    ]
    extended = Script(Response(0x9000))
    CardClient(extended).call(command)
    assert extended.received == [command]
    limited = Script(Response(0x9000), Response(0x9000))
    CardClient(limited, max_data=500).call(command)
    assert [len(part.data) for part in limited.received] == [500, 100]


def test_a_chain_ends_where_the_card_refuses_it() -> None:
    card = Script(Response(0x9000), Response(0x6884))
    response = CardClient(card, extended=False).send(Command(0x00, 0xD6, 0, 0, bytes(1000)))
    assert response.sw == 0x6884
    assert len(card.received) == 2


def test_an_answer_without_a_status_word_is_a_transport_error() -> None:
    with pytest.raises(TransportError, match="not a response APDU"):
        CardClient(Script(b"\x90")).send(SIGN)


def test_faults_strike_the_planned_exchanges_only() -> None:
    plan: dict[int, Fault] = {2: Answer(0x6F00), 3: Garble(0xFF), 4: Truncate(3)}
    faulty = Faulty(Echo(), plan)
    echo = Command(0x00, 0x01, 0, 0, b"\x00\x01").encode()
    answers = [faulty.transceive(echo) for _ in range(5)]
    good = b"\x00\x01\x90\x00"
    assert answers == [good, b"\x6f\x00", b"\xff\xfe\x6f\xff", b"\x00\x01\x90", good]
    assert faulty.count == 5


@pytest.mark.parametrize(("executed", "seen"), [(True, 1), (False, 0)])
def test_a_lost_response_leaves_open_whether_the_card_acted(executed: bool, seen: int) -> None:
    echo = Echo()
    with pytest.raises(TransportError):
        Faulty(echo, {1: Drop(executed=executed)}).transceive(SIGN.encode())
    assert echo.count == seen


def test_a_removed_card_stays_away() -> None:
    echo = Echo()
    faulty = Faulty(echo, {2: Remove()})
    faulty.transceive(SIGN.encode())
    for _ in range(3):
        with pytest.raises(CardRemoved):
            faulty.transceive(SIGN.encode())
    assert echo.count == 1
