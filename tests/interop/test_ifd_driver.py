"""pcscd's driver before daemons that come, go, break off and lie, without a pcscd around it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from apdu.wire.ifd import Hello, Inserted, Removed
from apdu.wire.reader import Answer, PowerDown, PowerUp, Reset, Transmit
from tests.interop import ifd_driver as ifd
from tests.interop.ifd_driver import IfdDriver
from tests.interop.reader_daemon import ATR, Link, ReaderDaemon

COMMAND = bytes.fromhex("00A4040000")
RESPONSE = b"\x90\x00"

lies = pytest.mark.parametrize(
    "lie",
    [
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        (ifd.MOST + 2).to_bytes(4, "little") + b"\x83",
        b"\1\0\0\0\x81",
        b"\x23\0\0\0\x81" + bytes(34),
        b"\2\0\0\0\x82\0",
        b"\3\0\0\0\x83\x90\0",
        b"\1\0\0\0\x01",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["empty", "endless", "long", "no ATR", "long ATR", "odd", "unasked", "driver", "other"],
)


@pytest.fixture
def daemon() -> Iterator[ReaderDaemon]:
    """A daemon that does not listen yet."""
    with ReaderDaemon() as made:
        yield made


@pytest.fixture
def opened(daemon: ReaderDaemon) -> Iterator[Callable[..., IfdDriver]]:
    """Opens readers, which are closed in the end."""
    with ExitStack() as stack:

        def make(device: str = "", number: int = 0) -> IfdDriver:
            driver = IfdDriver(device or daemon.device(), number)
            assert driver.opened == ifd.SUCCESS
            stack.callback(driver.close)
            return driver

        yield make


@pytest.fixture
def driver(opened: Callable[..., IfdDriver]) -> IfdDriver:
    return opened()


@pytest.fixture
def link(daemon: ReaderDaemon, driver: IfdDriver) -> Link:
    """The daemon's end, with a card that pcscd has seen."""
    daemon.listen()
    made = daemon.greet()
    made.say(Inserted(ATR))
    driver.wait_for(ifd.PRESENT)
    return made


def test_the_reader_is_empty_until_a_daemon_comes(daemon: ReaderDaemon, driver: IfdDriver) -> None:
    assert driver.presence() == ifd.NOT_PRESENT
    daemon.listen()
    link = daemon.accept()
    assert link.hear() == Hello(0)
    link.say(Removed())
    driver.watch(1)
    assert driver.presence() == ifd.NOT_PRESENT
    link.say(Inserted(ATR))
    driver.wait_for(ifd.PRESENT)


def test_power_reset_and_commands_reach_the_card_in_their_order(
    driver: IfdDriver, link: Link
) -> None:
    assert driver.power(ifd.POWER_UP) == (ifd.SUCCESS, ATR)
    assert driver.power(ifd.RESET) == (ifd.SUCCESS, ATR)
    assert driver.power(ifd.POWER_DOWN) == (ifd.SUCCESS, b"")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(driver.transmit, COMMAND)
        assert [link.hear() for _ in range(3)] == [PowerUp(), Reset(), PowerDown()]
        assert link.hear() == Transmit(COMMAND)
        link.say(Answer(RESPONSE))
        assert answer.result() == (ifd.SUCCESS, RESPONSE)


@pytest.mark.parametrize("size", [0, 1, 261, 65535, ifd.MOST])
def test_commands_and_responses_of_every_length_pass(
    driver: IfdDriver, link: Link, size: int
) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(driver.transmit, bytes(size))
        assert link.hear() == Transmit(bytes(size))
        link.say(Answer(b"\x5a" * max(size, 2)))
        assert answer.result() == (ifd.SUCCESS, b"\x5a" * max(size, 2))


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (b"", ifd.COMMUNICATION_ERROR),
        (b"\x90", ifd.COMMUNICATION_ERROR),
        (bytes(9), ifd.INSUFFICIENT_BUFFER),
    ],
    ids=["none", "half a status word", "too long"],
)
def test_what_is_no_answer_or_has_no_room_is_an_error_after_which_the_next_command_works(
    driver: IfdDriver, link: Link, response: bytes, code: int
) -> None:
    with ThreadPoolExecutor(1) as pool:
        for said, expected in ((response, (code, b"")), (RESPONSE, (ifd.SUCCESS, RESPONSE))):
            answer = pool.submit(driver.transmit, COMMAND, 8)
            assert link.hear() == Transmit(COMMAND)
            link.say(Answer(said))
            assert answer.result() == expected


def test_a_command_longer_than_pcscd_sends_is_refused(driver: IfdDriver, link: Link) -> None:
    assert driver.transmit(bytes(ifd.MOST + 1)) == (ifd.COMMUNICATION_ERROR, b"")


def test_without_a_card_nothing_is_powered_and_nothing_answers(driver: IfdDriver) -> None:
    assert driver.power(ifd.POWER_UP) == (ifd.POWER_ERROR, b"")
    assert driver.power(ifd.POWER_DOWN) == (ifd.SUCCESS, b"")
    assert driver.transmit(COMMAND) == (ifd.NOT_PRESENT, b"")


@pytest.mark.parametrize("moves", [(Inserted(ATR),), (Removed(), Inserted(ATR))])
def test_a_card_that_was_exchanged_is_seen_to_go_before_it_is_seen_again(
    driver: IfdDriver, link: Link, moves: tuple[Inserted | Removed, ...]
) -> None:
    link.say(*moves)
    assert driver.watch() == ifd.SUCCESS
    assert driver.presence() == ifd.NOT_PRESENT
    # Whoever had the last card must not reach the next one with what he began.
    assert driver.transmit(COMMAND) == (ifd.NOT_PRESENT, b"")
    assert driver.watch() == ifd.SUCCESS
    assert driver.presence() == ifd.PRESENT


def test_a_watch_ends_when_it_is_stopped_and_when_its_time_is_over(
    driver: IfdDriver, link: Link
) -> None:
    assert driver.watch(1) == ifd.SUCCESS
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(driver.watch)
        driver.stop()
        assert waiting.result() == ifd.SUCCESS
    assert driver.presence() == ifd.PRESENT


def test_a_daemon_that_dies_in_a_command_ends_it_and_the_next_one_is_found(
    daemon: ReaderDaemon, driver: IfdDriver, link: Link
) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(driver.transmit, COMMAND)
        assert link.hear() == Transmit(COMMAND)
        daemon.leave()
        link.close()
        assert answer.result() == (ifd.NOT_PRESENT, b"")
    driver.wait_for(ifd.NOT_PRESENT)
    daemon.listen()
    daemon.greet().say(Inserted(ATR))
    driver.wait_for(ifd.PRESENT)


@lies
def test_a_daemon_that_lies_is_hung_up_on_and_tried_again(
    daemon: ReaderDaemon, driver: IfdDriver, link: Link, lie: bytes
) -> None:
    link.say_raw(lie)
    assert link.hear() is None
    driver.wait_for(ifd.NOT_PRESENT)
    daemon.greet().say(Inserted(ATR))
    driver.wait_for(ifd.PRESENT)


@lies
def test_a_daemon_that_lies_after_a_true_word_is_not_tried_again_without_a_pause(
    daemon: ReaderDaemon, driver: IfdDriver, lie: bytes
) -> None:
    daemon.listen()
    connections, end = 0, time.monotonic() + 0.5
    while time.monotonic() < end:
        link = daemon.greet()
        link.say(Inserted(ATR))
        link.say_raw(lie)
        assert link.hear() is None
        connections += 1
    # The second one comes when the time is over.
    assert connections <= 2


def test_a_daemon_that_hangs_up_again_and_again_is_followed_more_and_more_slowly(
    daemon: ReaderDaemon, driver: IfdDriver
) -> None:
    daemon.listen()
    connections, end = 0, time.monotonic() + 1
    while time.monotonic() < end:
        link = daemon.greet()
        link.say(Inserted(ATR))
        link.close()
        connections += 1
    # After pauses of 20, 40, 80, 160, 320 and 640 ms.
    assert connections <= 7
    # One that is of use is followed at once again.
    link = daemon.greet()
    link.say(Inserted(ATR))
    driver.wait_for(ifd.PRESENT)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(driver.transmit, COMMAND)
        assert link.hear() == Transmit(COMMAND)
        link.say(Answer(RESPONSE))
        assert answer.result() == (ifd.SUCCESS, RESPONSE)
    link.close()
    daemon.greet().say(Inserted(ATR))
    driver.wait_for(ifd.PRESENT)


def test_a_socket_in_a_folder_of_others_is_not_trusted(
    daemon: ReaderDaemon, opened: Callable[..., IfdDriver]
) -> None:
    daemon.folder.chmod(0o720)
    daemon.listen()
    opened()
    # It hangs up before it says a word, whoever listens.
    assert daemon.accept().hear() is None


def test_closing_a_reader_ends_its_command(daemon: ReaderDaemon) -> None:
    driver = IfdDriver(daemon.device(), 3)
    daemon.listen()
    link = daemon.greet()
    link.say(Inserted(ATR))
    driver.wait_for(ifd.PRESENT)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(driver.transmit, COMMAND)
        assert link.hear() == Transmit(COMMAND)
        assert driver.close() == ifd.SUCCESS
        assert answer.result() == (ifd.NOT_PRESENT, b"")
    assert driver.presence() == ifd.NO_SUCH_DEVICE


def test_readers_are_found_by_long_and_quoted_names(opened: Callable[..., IfdDriver]) -> None:
    with ReaderDaemon("a folder " * 20) as daemon:
        daemon.listen()
        for number, device in enumerate((daemon.device(1), f'"{daemon.device(65535, "piv")}"')):
            opened(device, number)
        assert {daemon.accept().hear() for _ in range(2)} == {
            Hello(1, "pki"),
            Hello(65535, "piv"),
        }


@pytest.mark.parametrize(
    "device",
    [
        "",
        '"',
        "/dev/ttyS0",
        "/dev/null",
        "/dev/null:",
        "/dev/null:0x8C7B",
        "/dev/null:reader.sock:0:pki",
        "/dev/null:/run/reader.sock",
        "/dev/null:/run/reader.sock:",
        "/dev/null:/run/reader.sock:1",
        "/dev/null:/run/reader.sock:1:",
        "/dev/null:/run/reader.sock::pki",
        "/dev/null:/run/reader.sock:1:p i",
        "/dev/null:/run/reader.sock:1:abcdefghijklmnopq",
        "/dev/null:/run/reader.sock:65536:pki",
        "/dev/null:/run/reader.sock:-1:pki",
        "/dev/null:/run/reader.sock:1x:pki",
        "/dev/null:/run/:1:pki",
    ],
)
def test_other_names_are_no_readers(device: str) -> None:
    driver = IfdDriver(device)
    assert driver.opened == ifd.COMMUNICATION_ERROR
    assert driver.presence() == ifd.NO_SUCH_DEVICE


def test_the_reader_says_that_it_has_no_features(driver: IfdDriver) -> None:
    assert driver.control(0x42000D48) == ifd.SUCCESS
    assert driver.control(0x42000D49) == ifd.NOT_SUPPORTED


def test_a_reader_has_one_slot_and_16_of_them_are_there(driver: IfdDriver) -> None:
    assert driver.capability(0x0FAE) == (ifd.SUCCESS, b"\x01")
    assert driver.capability(0x0FAD) == (ifd.SUCCESS, b"\x01")
    assert driver.capability(0x0FAF) == (ifd.SUCCESS, b"\x10")
    assert driver.capability(0x0303) == (ifd.SUCCESS, b"")
    assert driver.capability(0x0FB3, room=4)[0] == ifd.INSUFFICIENT_BUFFER
    assert driver.capability(0xDEAD)[0] == ifd.TAG_ERROR
    assert (
        IfdDriver("/dev/null:/run/reader.sock:0:pki", number=16).opened == ifd.COMMUNICATION_ERROR
    )
