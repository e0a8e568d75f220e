"""The framings of readers: however bytes are split they tell the same; garbage is refused."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apdu.wire import ifd, vpcd
from apdu.wire.frames import WireError
from apdu.wire.reader import Answer, PowerDown, PowerUp, Reset, Transmit

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class End(Protocol[T_co]):
    def receive(self, data: bytes) -> Iterable[T_co]: ...


APDUS = st.binary(max_size=300) | st.integers(0, ifd.MAX_APDU).map(bytes)
SHORT = APDUS.filter(lambda apdu: len(apdu) <= vpcd.MAX_FRAME)
ATRS = st.binary(min_size=ifd.MIN_ATR, max_size=ifd.MAX_ATR)
NAMES = st.text(string.ascii_letters + string.digits, min_size=1, max_size=16)
SLOTS = st.integers(0, ifd.MAX_SLOT)
POWER = st.sampled_from([PowerUp(), PowerDown(), Reset()])
CUTS = st.lists(st.integers(1, 400), max_size=40)


def pieces(data: bytes, cuts: Sequence[int]) -> Iterable[bytes]:
    for size in cuts:
        yield data[:size]
        data = data[size:]
    yield data


def heard(end: End[T], data: bytes, cuts: Sequence[int]) -> list[T]:
    return [event for piece in pieces(data, cuts) for event in end.receive(piece)]


@given(SLOTS, NAMES, st.lists(POWER), APDUS, CUTS)
def test_the_daemon_hears_what_the_driver_says(
    slot: int, shown: str, power: list[PowerUp], command: bytes, cuts: list[int]
) -> None:
    said: list[ifd.FromDriver] = [ifd.Hello(slot, shown), *power, Transmit(command)]
    driver = ifd.DriverEnd()
    assert heard(ifd.DaemonEnd(), b"".join(map(driver.send, said)), cuts) == said


@given(st.lists(ATRS.map(ifd.Inserted) | st.just(ifd.Removed())), APDUS, CUTS)
def test_the_driver_hears_what_the_daemon_says(
    moves: list[ifd.FromDaemon], response: bytes, cuts: list[int]
) -> None:
    said = [*moves, Answer(response)]
    driver, daemon = ifd.DriverEnd(), ifd.DaemonEnd()
    driver.send(Transmit(b""))
    assert heard(driver, b"".join(map(daemon.send, said)), cuts) == said


@given(st.lists(POWER | st.just(vpcd.GetAtr()) | SHORT.map(Transmit)), CUTS)
def test_the_card_hears_what_vpcd_says(said: list[vpcd.FromReader], cuts: list[int]) -> None:
    controls = {b"\x00", b"\x01", b"\x02", b"\x04"}
    plain = [one for one in said if not (isinstance(one, Transmit) and one.command in controls)]
    reader = vpcd.ReaderEnd()
    assert heard(vpcd.CardEnd(), b"".join(map(reader.send, plain)), cuts) == plain


@given(st.lists(ATRS.map(vpcd.Atr) | SHORT.map(Answer)), CUTS)
def test_vpcd_hears_what_the_card_says(said: list[vpcd.FromCard], cuts: list[int]) -> None:
    reader, card = vpcd.ReaderEnd(), vpcd.CardEnd()
    for event in said:
        reader.send(vpcd.GetAtr() if isinstance(event, vpcd.Atr) else Transmit(b"\0" * 5))
    assert heard(reader, b"".join(map(card.send, said)), cuts) == said


ENDS: list[Callable[[], End[object]]] = [
    ifd.DaemonEnd,
    ifd.DriverEnd,
    vpcd.CardEnd,
    vpcd.ReaderEnd,
]
FRAMES = st.binary(max_size=40).map(lambda body: len(body).to_bytes(4, "little") + body)
HELLO = ifd.DriverEnd().send(ifd.Hello(3))
GARBAGE = st.tuples(
    st.sampled_from([b"", HELLO]), st.lists(st.binary(max_size=60) | FRAMES).map(b"".join)
)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: f"{end.__module__}.{end.__name__}")
@given(garbage=GARBAGE, cuts=CUTS)
def test_garbage_is_heard_or_refused(
    end: Callable[[], End[object]], garbage: tuple[bytes, bytes], cuts: list[int]
) -> None:
    with suppress(WireError):
        heard(end(), b"".join(garbage), cuts)
