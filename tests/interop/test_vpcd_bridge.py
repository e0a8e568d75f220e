"""Our end of vpcd's protocol before readers that come and go, with a real daemon behind."""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from queue import Queue

import pytest

from apdu.codec import Response
from apdu.model import SW
from apdu.wire.ifd import Inserted
from apdu.wire.reader import Answer, PowerDown, PowerUp, Reset, Transmit
from apdu.wire.vpcd import MAX_FRAME, Atr, FromCard, FromReader, GetAtr, ReaderEnd
from host_tools import control
from host_tools.bridge.address import SOCKET
from host_tools.bridge.vpcd import VpcdCard
from host_tools.conformance import pki_commands as pki
from host_tools.home import Home
from host_tools.testing import Command, Scratch, ScratchToken
from tests.interop.processes import PATIENCE
from tests.interop.reader_daemon import ReaderDaemon
from token_fw.card import ATR

SELECT = Transmit(pki.select_application().encode())
LIFECYCLE = Transmit(pki.get_data(4).encode())


class Slot:
    """A reader's slot that cards connect to, as vpcd opens one."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._listener.settimeout(PATIENCE)
        self.address = self._listener.getsockname()
        self._open: list[socket.socket] = []

    def card(self) -> CardLink:
        """The next card that is put in."""
        connection, _ = self._listener.accept()
        connection.settimeout(PATIENCE)
        self._open.append(connection)
        return CardLink(connection)

    def close(self) -> None:
        for one in (*self._open, self._listener):
            one.close()


class CardLink:
    """The reader's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._wire = ReaderEnd()
        self._told: deque[FromCard] = deque()

    def say(self, *events: FromReader, bytewise: bool = False) -> None:
        data = b"".join(map(self._wire.send, events))
        for piece in [bytes((byte,)) for byte in data] if bytewise else [data]:
            self.connection.sendall(piece)

    def told(self) -> FromCard | None:
        """What the card says next; None where it was taken out."""
        while not self._told:
            data = self.connection.recv(1 << 17)
            if not data:
                return None
            self._told.extend(self._wire.receive(data))
        return self._told.popleft()

    def ask(self, command: Transmit) -> Response:
        self.say(command)
        answer = self.told()
        assert isinstance(answer, Answer)
        return Response.parse(answer.response)


@pytest.fixture
def slot(home: Scratch, token: ScratchToken) -> Iterator[Slot]:
    """A reader's slot that the token is brought to."""
    made = Slot()
    with VpcdCard(home.home, token.slot, made.address) as card:
        thread = threading.Thread(target=card.serve)
        thread.start()
        yield made
        card.end()
        thread.join()
    made.close()


@pytest.fixture
def link(slot: Slot) -> CardLink:
    """The token, powered and its application selected."""
    made = slot.card()
    made.say(PowerUp())
    assert made.ask(SELECT).sw == SW.NO_ERROR
    return made


def test_the_card_tells_its_atr_and_forgets_at_resets(link: CardLink) -> None:
    assert link.ask(LIFECYCLE).sw == SW.NO_ERROR
    link.say(Reset(), GetAtr())
    assert link.told() == Atr(ATR)
    assert link.ask(LIFECYCLE).sw == SW.INS_NOT_SUPPORTED


def test_frames_may_come_in_any_pieces(link: CardLink) -> None:
    link.say(PowerDown(), PowerUp(), GetAtr(), SELECT, bytewise=True)
    assert link.told() == Atr(ATR)
    answer = link.told()
    assert isinstance(answer, Answer)
    assert Response.parse(answer.response).sw == SW.NO_ERROR


@pytest.mark.parametrize("size", [0, 2, 3, 300, MAX_FRAME])
def test_commands_of_any_length_get_a_status_word(link: CardLink, size: int) -> None:
    assert link.ask(Transmit(b"\xff" * size)).sw1 in {0x67, 0x6E}
    assert link.ask(LIFECYCLE).sw == SW.NO_ERROR


def test_the_longest_answer_fits_a_frame(link: CardLink) -> None:
    assert len(link.ask(Transmit(pki.challenge(65536).encode())).data) == 65533


def test_a_removed_token_is_taken_out_and_put_in_again(
    slot: Slot, link: CardLink, command: Command, token: ScratchToken
) -> None:
    command("token", "remove", token.label)
    assert link.told() is None
    command("token", "insert", token.label)
    again = slot.card()
    again.say(GetAtr())
    assert again.told() == Atr(ATR)


def test_a_reader_that_hangs_up_in_a_command_gets_the_card_back_without_its_answer(
    slot: Slot, link: CardLink
) -> None:
    card = Transmit(pki.verify(pki.USER, b"481516").encode())
    assert link.ask(card).sw == SW.NO_ERROR
    assert link.ask(Transmit(pki.mse(0, pki.RSA_4096, 0).encode())).sw == SW.NO_ERROR
    link.say(Transmit(pki.generate().encode()))
    link.connection.close()
    again = slot.card()
    # The power went with the connection, and with it the PIN.
    again.say(PowerUp(), GetAtr())
    assert again.told() == Atr(ATR)
    assert again.ask(SELECT).sw == SW.NO_ERROR
    assert again.ask(Transmit(pki.verify(pki.USER).encode())).sw == 0x63C3


def test_a_killed_daemon_takes_the_card_out_and_the_next_one_puts_it_in(
    home: Scratch, slot: Slot, link: CardLink
) -> None:
    home.kill_daemon()
    assert link.told() is None
    with home.control() as control:
        control.call("status")
    again = slot.card()
    again.say(PowerUp())
    assert again.ask(SELECT).sw == SW.NO_ERROR


def test_a_daemon_that_does_not_answer_is_told_of_once_and_tried_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control, "_GREETING", 0.05)
    told: Queue[str] = Queue()
    made = Slot()
    with ReaderDaemon() as daemon, ExitStack() as crowd:
        daemon.listen()
        home = Home(daemon.folder.parent)
        home.lock.write_text(str(os.getpid()))
        waiting = fill(crowd, home)
        with VpcdCard(home, 0, made.address, troubled=told.put) as card:
            thread = threading.Thread(target=card.serve)
            thread.start()
            assert told.get(timeout=PATIENCE) == (
                f"The daemon (process {os.getpid()}) does not answer. End it: klyuch stop --force"
            )
            for _ in range(waiting):
                daemon.accept().close()
            link = daemon.greet()
            link.say(Inserted(ATR))
            made.card().say(GetAtr())
            card.end()
            thread.join()
    assert told.empty()
    made.close()


def fill(crowd: ExitStack, home: Home) -> int:
    """Stand in the queue before the daemon's door for readers until it is full; how many do."""
    for number in count():
        try:
            connection = control.connect_socket(home, SOCKET)
        except control.DaemonSilent:
            return number
        assert connection is not None
        crowd.enter_context(connection)
    raise AssertionError
