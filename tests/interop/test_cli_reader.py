"""``klyuch reader``: the reader file, what it says of itself, and serving in the foreground."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from host_tools.bridge import reader_file
from host_tools.bridge.address import DRIVER
from host_tools.bridge.reader_file import ReaderFile, UnusablePath
from host_tools.home import Home
from host_tools.testing import Command, Scratch, ScratchToken
from tests import cards
from tests.interop.pcsc_client import PcscClient
from tests.interop.pcscd import IfdDoor, Pcscd, VpcdDoor, readers
from tests.interop.processes import Process

RUN = [sys.executable, "-P", "-m", "host_tools.cli", "reader", "run"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where pcscd would look."""
    made = tmp_path / "reader.conf.d"
    made.mkdir()
    return made


def test_the_installed_file_gives_each_token_a_reader(
    command: Command, home: Scratch, folder: Path
) -> None:
    for label in ("Work", "Home"):
        home.create_token(label)
    told = command("reader", "install", "--dir", folder).stdout
    assert "names 2 readers: Klyuch slot 0, Klyuch slot 1." in told
    assert f"pcscd --config {folder}" in told
    written = folder / "klyuch"
    assert stat.S_IMODE(written.stat().st_mode) == 0o644
    assert [path.name for path in folder.iterdir()] == ["klyuch"]
    with Pcscd(written.read_text()) as pcscd, PcscClient(pcscd.environment) as client:
        client.call("establish")
        for slot in range(2):
            client.call("wait_for", f"Klyuch slot {slot} {slot:02X} 00", True)
        shown = json.loads(command("reader", "status", "--dir", folder, "--json").stdout)
    assert (shown["file"], shown["this_home"]) == (str(written), True)
    rows = [(row["reader"], row["token"], row["pcscd"]) for row in shown["readers"]]
    assert rows == [
        ("Klyuch slot 0", "Work", "connected"),
        ("Klyuch slot 1", "Home", "connected"),
    ]


def test_tokens_are_chosen_by_name_and_slots_by_number(
    command: Command, home: Scratch, folder: Path
) -> None:
    for label in ("Work", "Home"):
        home.create_token(label)
    for options, slots in (
        (("--token", "Home"), (1,)),
        (("--token", "Home", "--token", "Work"), (1, 0)),
        (("--token", "Home", "--token", "Work", "--token", "1", "--token", "Home"), (1, 0)),
        (("--slots", "3"), (0, 1, 2)),
    ):
        command("reader", "install", "--dir", folder, *options)
        assert reader_file.installed(folder) == ReaderFile.of(home.home, slots)


def test_what_the_readers_show_is_chosen(
    command: Command, home: Scratch, token: ScratchToken, folder: Path
) -> None:
    for shown in ("piv", "all"):
        command("reader", "install", "--dir", folder, "--app", shown)
        assert reader_file.installed(folder) == ReaderFile.of(home.home, [token.slot], shown)
        told = json.loads(command("reader", "status", "--dir", folder, "--json").stdout)
        assert told["app"] == shown
    assert "--vpcd" in command("reader", "run", "--app", "piv", code=2).stderr


def test_the_file_may_be_printed_for_root_to_write(
    command: Command, home: Scratch, token: ScratchToken, folder: Path
) -> None:
    printed = command("reader", "install", "--print", "--dir", folder).stdout
    assert ReaderFile.parse(printed) == ReaderFile.of(home.home, [token.slot])
    assert list(folder.iterdir()) == []


def test_uninstalling_removes_the_file_and_leaves_others(
    command: Command, token: ScratchToken, folder: Path
) -> None:
    (folder / "other").touch()
    command("reader", "install", "--dir", folder)
    assert f"pcscd --config {folder}" in command("reader", "uninstall", "--dir", folder).stdout
    again = json.loads(command("reader", "uninstall", "--dir", folder, "--json").stdout)
    assert again == {"removed": False, "restart": None}
    assert [path.name for path in folder.iterdir()] == ["other"]
    assert "klyuch reader install" in command("reader", "status", "--dir", folder).stdout


def test_status_works_without_a_daemon(
    command: Command, home: Scratch, token: ScratchToken, folder: Path
) -> None:
    command("reader", "install", "--dir", folder)
    home.kill_daemon()
    assert "not connected" in command("reader", "status", "--dir", folder).stdout
    assert home.kill_daemon() is None


def test_readers_of_another_home_are_not_overwritten(
    command: Command, token: ScratchToken, folder: Path
) -> None:
    theirs = ReaderFile.of(Home(Path("/srv/theirs")), [0])
    theirs.write(folder)
    refused = command("reader", "install", "--dir", folder, code=7)
    assert "/srv/theirs" in refused.output
    assert f"klyuch reader uninstall --dir {folder}" in refused.output
    assert reader_file.installed(folder) == theirs
    status = command("reader", "status", "--dir", folder).stdout
    assert "another home: /srv/theirs" in status
    assert "not known" in status
    assert "not connected" not in status


@pytest.mark.parametrize("name", ["install", "uninstall", "status"])
def test_a_file_that_is_not_ours_is_left_alone(
    command: Command, token: ScratchToken, folder: Path, name: str
) -> None:
    theirs = 'FRIENDLYNAME "Another reader"\nLIBPATH /usr/lib/another.so\n'
    (folder / "klyuch").write_text(theirs)
    refused = command("reader", name, "--dir", folder, code=7).stderr
    assert f"{folder / 'klyuch'} was not written by klyuch reader install" in refused
    assert [path.name for path in folder.iterdir()] == ["klyuch"]
    assert (folder / "klyuch").read_text() == theirs


def test_a_file_of_ours_that_was_damaged_is_replaced(
    command: Command, home: Scratch, token: ScratchToken, folder: Path
) -> None:
    command("reader", "install", "--dir", folder)
    head, *_ = (folder / "klyuch").read_text().splitlines(keepends=True)
    (folder / "klyuch").write_text(head)
    assert "names 1 reader: Klyuch slot 0." in command("reader", "install", "--dir", folder).stdout
    assert reader_file.installed(folder) == ReaderFile.of(home.home, [token.slot])


def test_the_pcscd_that_reads_the_folder_is_the_one_to_restart(tmp_path: Path) -> None:
    assert reader_file.restart(Path("/etc/reader.conf.d/")) == "systemctl restart pcscd"
    odd = tmp_path / "my readers"
    assert reader_file.restart(odd) == f"pcscd --config '{odd}'"


def test_refusals_say_what_to_do(command: Command, home: Scratch, folder: Path) -> None:
    assert "klyuch token create" in command("reader", "install", "--dir", folder, code=5).output
    for _ in range(17):
        with home.control() as control:
            control.call("token.create", blank=True)
    crowd = command("reader", "install", "--dir", folder, code=2).output
    assert "room for 16 readers" in crowd
    missing = command("reader", "install", "--slots", "1", "--dir", folder / "none", code=1).output
    assert "Install pcscd" in missing
    assert list(folder.iterdir()) == []
    both = ("--slots", "1", "--token", "Work")
    assert "either" in command("reader", "install", *both, "--dir", folder, code=2).output


def test_a_blank_token_in_a_reader_is_shown_as_such(command: Command, folder: Path) -> None:
    command("token", "create", "--blank")
    command("reader", "install", "--dir", folder)
    assert "(no label)" in command("reader", "status", "--dir", folder).stdout


@pytest.mark.parametrize("driver", ["/opt/my klyuch/driver.so", "/home/ж/driver.so", "/x+y.so"])
def test_a_driver_that_pcscd_could_not_load_is_not_written_down(driver: str) -> None:
    with pytest.raises(UnusablePath):
        ReaderFile(Path("/run/reader.sock"), (0,)).render(Path(driver))
    with pytest.raises(UnusablePath):
        ReaderFile(Path('/run/"quoted"/reader.sock'), (0,)).render(DRIVER)


def test_a_home_with_an_odd_name_reaches_pcscd(home: Scratch) -> None:
    with Scratch("мой дом (2)/" + "x" * 90) as odd:
        token = odd.create_token("Work")
        with readers(odd, IfdDoor(odd), [token.serial]) as there:
            assert cards.serial(cards.Client(there.connect())).hex() == token.serial


def test_run_without_vpcd_keeps_the_daemon(
    home: Scratch, token: ScratchToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.kill_daemon()
    monkeypatch.setenv("KLYUCH_IDLE", "0.1")
    with Process(RUN, {**os.environ, "PYTHONUNBUFFERED": "1"}) as run:
        run.wait_for("The door is open")
        with readers(home, IfdDoor(home), [token.serial]) as there:
            there.connect()


def test_run_starts_a_daemon_again_that_died_and_ends_with_one_that_is_stopped(
    command: Command, home: Scratch, token: ScratchToken
) -> None:
    with Process(RUN, {**os.environ, "PYTHONUNBUFFERED": "1"}) as run:
        run.wait_for("The door is open")
        died = home.kill_daemon()
        told = run.wait_for(r"process (\d+)\) died; process (\d+) takes its place")
        assert (int(told[1]), int(told[2])) == (died, home.home.daemon_pid())
        command("stop")
        assert run.wait() == 6
        run.wait_for("klyuch reader run")


def test_a_token_that_is_named_twice_goes_to_one_port(home: Scratch, token: ScratchToken) -> None:
    vpcd = ["--vpcd", "127.0.0.1:35000", "--token", token.label, "--token", str(token.slot)]
    with Process([*RUN, *vpcd], {**os.environ, "PYTHONUNBUFFERED": "1"}) as run:
        run.wait_for("Ctrl")
        run.signal(signal.SIGTERM)
    assert "Tokens for vpcd: Work. Ctrl+C ends." in run.log


def test_what_is_in_vpcd_comes_back_with_a_daemon_that_is_started_again(
    home: Scratch, token: ScratchToken
) -> None:
    with readers(home, VpcdDoor(home), [token.serial]) as there:
        client = there.connect()
        home.kill_daemon()
        for present in (False, True):
            client.call("wait_for", there.name(), present)
        assert cards.serial(cards.Client(there.connect())).hex() == token.serial


def test_a_daemon_that_run_starts_can_be_ended_by_a_signal(
    home: Scratch, token: ScratchToken
) -> None:
    home.kill_daemon()
    with Process(RUN, {**os.environ, "PYTHONUNBUFFERED": "1"}) as run:
        run.wait_for("The door is open")
        os.kill(home.home.daemon_pid() or 0, signal.SIGTERM)
        assert run.wait() == 6


def test_tokens_go_into_vpcd_on_this_machine_alone(command: Command, token: ScratchToken) -> None:
    for address, why in (
        ("192.0.2.1:35963", "--remote"),
        ("localhost", "HOST:PORT"),
        ("localhost:0", "HOST:PORT"),
        ("localhost:65535", "no room for 16 readers"),
        ("localhost:65536", "HOST:PORT"),
        (":35963", "HOST:PORT"),
    ):
        refused = command("reader", "run", "--vpcd", address, code=2)
        assert why in refused.output, refused.output
    assert "--vpcd" in command("reader", "run", "--token", "Work", code=2).output


@pytest.mark.parametrize("options", [(), ("--remote",)])
def test_a_host_that_is_not_there_is_named(
    command: Command, token: ScratchToken, options: tuple[str, ...]
) -> None:
    address = ("--vpcd", "nohost.invalid:35963")
    refused = command("reader", "run", *address, *options, code=2).stderr
    assert "nohost.invalid" in refused
    assert "--vpcd localhost:35963" in refused


def test_a_vpcd_that_does_not_listen_yet_is_waited_for_and_that_is_said_once(
    home: Scratch, token: ScratchToken
) -> None:
    door = VpcdDoor(home)
    door.open([token.serial])
    try:
        told = door.wait_for(r"Nobody listens at (127\.0\.0\.1:\d+); waiting for vpcd there")
        door.wait_for("Ctrl")
        assert told[1] not in door.log.replace(told[0], "")
        with Pcscd(door.reader_file([0])) as pcscd, PcscClient(pcscd.environment) as client:
            client.call("establish")
            client.call("wait_for", door.name(0), True)
            door.wait_for(f"Work is in the reader at {told[1]}.")
        assert door.log.count(told[0]) == 1
    finally:
        door.close()


def test_a_host_by_its_number_is_told_as_it_was_named(home: Scratch, token: ScratchToken) -> None:
    with Process([*RUN, "--vpcd", "[::1]:35963"], {**os.environ, "PYTHONUNBUFFERED": "1"}) as run:
        run.wait_for(r"Nobody listens at \[::1\]:35963")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_by_a_signal_and_takes_the_card_out(
    home: Scratch, token: ScratchToken, number: signal.Signals
) -> None:
    door = VpcdDoor(home)
    with readers(home, door, [token.serial]) as there:
        client = there.connect()
        assert door.end(number) == 0
        client.call("wait_for", there.name(), False)
