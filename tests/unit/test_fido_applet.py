"""The authenticator as a card: the framing of CTAP 2.1 11.3."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from apdu.chaining import split_command
from apdu.codec import Command, Response
from apdu.ctap import CtapCommand, Status
from apdu.model import APPLICATIONS, SW
from tests.fido_cards import Desk
from tests.piv_cards import Finger
from token_fw.apps.fido2 import Keepalive
from token_fw.card import Interface
from token_fw.touch_pad import TouchPad

LONG = 20
SELECTION = bytes((CtapCommand.SELECTION,))
SELECT = Command(0x00, 0xA4, 0x04, 0x00, APPLICATIONS["fido2"].aid, 256).encode()
MESSAGE, ANSWER = 0x10, 0x11
UPDATES, CANCEL = 0x80, 0x11


def exchange(client: Interface, command: Command) -> Response:
    return Response.parse(client.transceive(command.encode()))


def client_of(desk: Desk, *names: str) -> Interface:
    """A client that has selected the application."""
    client = desk.card.connect(*names)
    assert client.transceive(SELECT) == Response(SW.NO_ERROR, b"U2F_V2").encode()
    return client


def ask(client: Interface, request: bytes, p1: int = 0) -> Response:
    return exchange(client, Command(0x80, MESSAGE, p1, 0x00, request, 256))


def ask_again(client: Interface, p1: int = 0) -> Response:
    return exchange(client, Command(0x80, ANSWER, p1, 0x00, b"", 256))


def done(status: Status) -> Response:
    return Response(SW.NO_ERROR, bytes((status,)))


def update(keepalive: Keepalive) -> Response:
    return Response(SW.STATUS_UPDATE, bytes((keepalive,)))


@pytest.fixture
def pad() -> Iterator[TouchPad]:
    made = TouchPad(patience=LONG)
    yield made
    made.close()


def until_ended(client: Interface) -> Response:
    """What the request that runs comes to."""
    while (answer := ask_again(client)).sw == SW.STATUS_UPDATE:
        pass
    return answer


def test_a_request_is_answered_at_once_where_nothing_is_waited_for() -> None:
    client = client_of(Desk(Finger()))
    for p1 in (0, UPDATES):
        assert ask(client, SELECTION, p1) == done(Status.CTAP2_OK)


def test_the_authenticators_own_errors_are_answers() -> None:
    client = client_of(Desk())
    assert ask(client, b"\x7f") == done(Status.CTAP1_ERR_INVALID_COMMAND)


def test_a_client_is_told_that_the_user_is_waited_for_and_asks_again(pad: TouchPad) -> None:
    client = client_of(Desk(pad))
    assert ask(client, SELECTION, UPDATES) == update(Keepalive.UPNEEDED)
    assert ask_again(client) == update(Keepalive.UPNEEDED)
    assert pad.give()
    assert until_ended(client) == done(Status.CTAP2_OK)
    assert ask_again(client).sw == SW.CONDITIONS_NOT_SATISFIED


def test_a_client_cancels(pad: TouchPad) -> None:
    client = client_of(Desk(pad))
    assert ask(client, SELECTION, UPDATES).sw == SW.STATUS_UPDATE
    assert ask_again(client, CANCEL) == done(Status.CTAP2_ERR_KEEPALIVE_CANCEL)
    assert not pad.awaited()


def test_without_updates_the_answer_comes_when_the_request_has_ended(pad: TouchPad) -> None:
    client = client_of(Desk(pad))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(ask, client, SELECTION)
        assert pad.awaited(LONG)
        assert pad.give()
        assert answer.result(LONG) == done(Status.CTAP2_OK)


def test_another_command_ends_the_request(pad: TouchPad) -> None:
    client = client_of(Desk(pad))
    assert ask(client, SELECTION, UPDATES).sw == SW.STATUS_UPDATE
    assert ask(client, SELECTION, UPDATES).sw == SW.STATUS_UPDATE
    assert pad.give()
    assert until_ended(client) == done(Status.CTAP2_OK)
    assert not pad.awaited()


@pytest.mark.parametrize("ends", [Interface.reset, Interface.close])
def test_a_request_waits_for_nobody_when_its_client_is_gone(pad: TouchPad, ends: object) -> None:
    client = client_of(Desk(pad))
    assert ask(client, SELECTION, UPDATES).sw == SW.STATUS_UPDATE
    assert pad.awaited(LONG)
    assert callable(ends)
    ends(client)
    gone = threading.Event()
    while pad.awaited():
        assert not gone.wait(0.01)


def test_other_applications_work_while_the_user_is_waited_for(pad: TouchPad) -> None:
    desk = Desk(pad)
    client = client_of(desk)
    assert ask(client, SELECTION, UPDATES).sw == SW.STATUS_UPDATE
    other = desk.card.connect("piv")
    select = Command(0x00, 0xA4, 0x04, 0x00, APPLICATIONS["piv"].aid, 256)
    assert exchange(other, select).sw == SW.NO_ERROR
    assert pad.give()
    assert until_ended(client) == done(Status.CTAP2_OK)


def test_a_long_request_comes_as_a_chain_or_with_extended_lengths() -> None:
    client = client_of(Desk())
    # Too long for the command that it is.
    request = SELECTION + bytes(700)
    parts = split_command(Command(0x80, MESSAGE, 0x00, 0x00, request, 256), chunk=250)
    assert len(parts) == 3
    answers = [exchange(client, part) for part in parts]
    assert answers == [
        Response(SW.NO_ERROR),
        Response(SW.NO_ERROR),
        done(Status.CTAP1_ERR_INVALID_LENGTH),
    ]
    assert ask(client, request) == done(Status.CTAP1_ERR_INVALID_LENGTH)


def test_a_request_longer_than_the_authenticator_takes_is_refused() -> None:
    client = client_of(Desk())
    assert ask(client, SELECTION + bytes(8000)) == done(Status.CTAP2_ERR_REQUEST_TOO_LARGE)


def test_the_application_can_be_shown_alone() -> None:
    desk = Desk()
    client = client_of(desk, "fido2")
    select = Command(0x00, 0xA4, 0x04, 0x00, APPLICATIONS["piv"].aid, 256)
    assert exchange(client, select).sw == SW.FILE_NOT_FOUND
    assert ask(client, SELECTION) == done(Status.CTAP2_OK)


def test_an_empty_request_is_no_request() -> None:
    client = client_of(Desk())
    assert exchange(client, Command(0x80, MESSAGE, 0, 0, b"", 256)).sw == SW.WRONG_LENGTH


def test_a_reset_is_taken_after_the_power_came_and_not_after_a_warm_reset() -> None:
    desk = Desk(Finger())
    client = client_of(desk)
    desk.now += 60
    reset = bytes((CtapCommand.RESET,))
    assert ask(client, reset) == done(Status.CTAP2_ERR_NOT_ALLOWED)
    client.reset()
    client.transceive(SELECT)
    assert ask(client, reset) == done(Status.CTAP2_ERR_NOT_ALLOWED)
    client.power_up()
    client.transceive(SELECT)
    assert ask(client, reset) == done(Status.CTAP2_OK)


def test_a_reader_without_the_application_takes_no_power_from_it() -> None:
    desk = Desk(Finger())
    client = client_of(desk)
    desk.now += 60
    desk.card.connect("pki").power_up()
    assert ask(client, bytes((CtapCommand.RESET,))) == done(Status.CTAP2_ERR_NOT_ALLOWED)
