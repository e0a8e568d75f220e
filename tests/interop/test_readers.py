"""Cards in real readers: a pcscd of the test, and our card behind it as any other would be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from host_tools.conformance import pki_commands as pki
from host_tools.testing.worker import Refused
from tests import cards
from tests.interop.reader_worker import RemoteReader
from tests.interop.vpcd_card import READER, VpcdCard, VpcdReader
from token_fw.card import ATR

SELECT = pki.select_application().encode().hex()
VERIFY = pki.verify(pki.USER, cards.USER_PIN).encode().hex()
ASK = pki.verify(pki.USER).encode().hex()
SELECTED, THREE_LEFT, DONE = "0005039000", "63C3", "9000"

Connect = Callable[[], RemoteReader]


@pytest.fixture
def pcscd() -> Iterator[VpcdReader]:
    with VpcdReader() as daemon:
        yield daemon


@pytest.fixture
def card(pcscd: VpcdReader) -> Iterator[VpcdCard]:
    with VpcdCard(pcscd, cards.operational().connect()) as inserted:
        yield inserted


@pytest.fixture
def connect(pcscd: VpcdReader, card: VpcdCard) -> Iterator[Connect]:
    """Programs that use the card in the reader."""
    with ExitStack() as programs:
        yield lambda: programs.enter_context(RemoteReader(READER, pcscd.environment))


def refusal(program: RemoteReader, name: str, *arguments: object) -> str:
    """How a request fails."""
    with pytest.raises(Refused) as refused:
        program.call(name, *arguments)
    return str(refused.value)


def outcome(program: RemoteReader) -> str:
    """What SELECT answers, or how it fails."""
    try:
        return str(program.call("transceive", SELECT))
    except Refused as refused:
        return str(refused)


def answers_until(program: RemoteReader, wanted: str) -> set[str]:
    """What SELECT answers before it answers `wanted`; pcscd needs time between to look around."""
    seen = set()
    while (answer := outcome(program)) != wanted:
        seen.add(answer)
        time.sleep(0.05)
    return seen


def test_a_card_in_a_reader_answers_and_is_reset(connect: Connect) -> None:
    program = connect()
    assert program.call("transceive", SELECT) == SELECTED
    assert program.call("transceive", VERIFY) == DONE
    assert program.call("transceive", ASK) == DONE
    assert program.call("reset") == ATR.hex().upper()
    assert program.call("transceive", SELECT) == SELECTED
    assert program.call("transceive", ASK) == THREE_LEFT


def test_a_transaction_keeps_other_programs_away_from_the_card(connect: Connect) -> None:
    one, other = connect(), connect()
    one.call("begin")
    one.call("transceive", SELECT)
    other.send("begin")
    assert one.call("transceive", VERIFY) == DONE
    assert one.call("transceive", ASK) == DONE
    one.call("end")
    other.answer()
    assert other.call("transceive", SELECT) == SELECTED
    other.call("end")
    # The other one selected anew: what was verified before is gone.
    assert one.call("transceive", ASK) == THREE_LEFT


def test_a_program_learns_that_another_has_reset_the_card(connect: Connect) -> None:
    one, other = connect(), connect()
    one.call("transceive", SELECT)
    epoch = one.call("begin")
    one.call("end")
    other.call("reset")
    assert one.call("begin") == epoch + 1
    assert one.call("transceive", SELECT) == SELECTED
    one.call("end")
    other.call("reset")
    assert refusal(one, "transceive", SELECT) == "TransportError"
    assert one.call("transceive", SELECT) == SELECTED


def test_a_card_that_is_pulled_is_removed(connect: Connect, card: VpcdCard) -> None:
    program = connect()
    assert program.call("transceive", SELECT) == SELECTED
    card.pull()
    assert answers_until(program, "CardRemoved") <= {"TransportError"}
    assert refusal(program, "begin") == "CardRemoved"


def test_a_program_goes_on_after_pcscd_was_restarted(connect: Connect, pcscd: VpcdReader) -> None:
    program = connect()
    assert program.call("transceive", SELECT) == SELECTED
    pcscd.stop()
    assert refusal(program, "transceive", SELECT) == "TransportError"
    pcscd.start()
    with VpcdCard(pcscd, cards.operational().connect()):
        assert answers_until(program, SELECTED) <= {"CardRemoved", "TransportError"}
        assert program.call("begin") > 1
