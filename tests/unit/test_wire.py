"""The rules of the readers' framings that random bytes seldom meet, and their bytes as written."""

from __future__ import annotations

import pytest

from apdu.wire import ifd, vpcd
from apdu.wire.frames import WireError
from apdu.wire.reader import Answer, PowerDown, PowerUp, Reset, Transmit

SELECT = bytes.fromhex("00A4040006F276A288BCFB")


def test_the_drivers_frames_are_those_of_the_c_source() -> None:
    driver = ifd.DriverEnd()
    assert driver.send(ifd.Hello(0x0102, "piv")).hex(" ") == (
        "0c 00 00 00 01 4b 4c 59 49 01 00 02 01 70 69 76"
    )
    assert driver.send(PowerUp()).hex(" ") == "01 00 00 00 02"
    assert driver.send(PowerDown()).hex(" ") == "01 00 00 00 03"
    assert driver.send(Reset()).hex(" ") == "01 00 00 00 04"
    assert driver.send(Transmit(SELECT)) == b"\x0c\0\0\0\x05" + SELECT


def test_the_daemons_frames_are_those_of_the_c_source() -> None:
    daemon = ifd.DaemonEnd()
    assert daemon.send(ifd.Inserted(b"\x3b\x80\x01")).hex(" ") == "04 00 00 00 81 3b 80 01"
    assert daemon.send(ifd.Removed()).hex(" ") == "01 00 00 00 82"
    assert daemon.send(Answer(b"\x90\0")).hex(" ") == "03 00 00 00 83 90 00"
    assert daemon.send(Answer(b"")).hex(" ") == "01 00 00 00 83"


def test_a_driver_that_breaks_the_rules_is_refused() -> None:
    hello = ifd.DriverEnd().send(ifd.Hello(0))
    transmit = ifd.DriverEnd().send(Transmit(SELECT))
    for wrong, why in (
        (transmit, "hello comes first"),
        (hello + hello, "once"),
        (hello.replace(b"KLYI", b"KLY1"), "no driver's hello"),
        (hello.replace(b"KLYI\1", b"KLYI\2"), "version 2, this is 1"),
        (hello.replace(b"pki", b"p i"), "no name"),
        (ifd.DriverEnd().send(ifd.Hello(0, "")), "no name"),
        (ifd.DriverEnd().send(ifd.Hello(0, "p" * 17)), "no name"),
        (hello + transmit + transmit, "before the answer"),
        (hello + b"\1\0\0\0\6", "no driver sends"),
        (hello + b"\2\0\0\0\2\0", "no driver sends"),
        (hello + b"\0\0\0\0", "no driver sends"),
        (hello + (ifd.MAX_APDU + 2).to_bytes(4, "little"), "are allowed"),
    ):
        with pytest.raises(WireError, match=why):
            list(ifd.DaemonEnd().receive(wrong))


def test_the_next_command_may_follow_the_answer() -> None:
    driver, daemon = ifd.DriverEnd(), ifd.DaemonEnd()
    list(daemon.receive(driver.send(ifd.Hello(0))))
    for _ in range(3):
        assert list(daemon.receive(driver.send(Transmit(SELECT)))) == [Transmit(SELECT)]
        assert list(driver.receive(daemon.send(Answer(b"\x90\0")))) == [Answer(b"\x90\0")]


def test_a_daemon_that_breaks_the_rules_is_refused() -> None:
    for wrong, why in (
        (ifd.DaemonEnd().send(Answer(b"\x90\0")), "no command"),
        (b"\2\0\0\0\x81\x3b", "no daemon sends"),
        (b"\x23\0\0\0\x81" + bytes(34), "no daemon sends"),
        (b"\2\0\0\0\x82\0", "no daemon sends"),
        (b"\1\0\0\0\x01", "no daemon sends"),
    ):
        with pytest.raises(WireError, match=why):
            list(ifd.DriverEnd().receive(wrong))


def test_the_frames_of_vpcd_are_those_of_its_documentation() -> None:
    reader, card = vpcd.ReaderEnd(), vpcd.CardEnd()
    asked: list[vpcd.FromReader] = [PowerDown(), PowerUp(), Reset(), vpcd.GetAtr()]
    frames = [reader.send(event) for event in [*asked, Transmit(SELECT)]]
    assert [frame.hex() for frame in frames[:4]] == ["000100", "000101", "000102", "000104"]
    assert frames[4] == b"\0\x0b" + SELECT
    assert card.send(vpcd.Atr(b"\x3b\x80\x01")).hex() == "00033b8001"
    assert card.send(Answer(b"\x6d\0")).hex() == "00026d00"


def test_what_vpcd_cannot_carry_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="65535"):
        vpcd.CardEnd().send(Answer(bytes(65536)))
    with pytest.raises(ValueError, match="65535"):
        vpcd.ReaderEnd().send(Transmit(bytes(65536)))
    with pytest.raises(WireError, match="no question"):
        list(vpcd.ReaderEnd().receive(b"\0\2\x90\0"))
