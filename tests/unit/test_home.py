"""The home folder: where it is, who may enter it, and sockets in long paths."""

import socket
import subprocess
from pathlib import Path

import pytest

from host_tools.home import Home, HomeError, current, socket_address


def test_home_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KLYUCH_HOME", str(tmp_path / "here"))
    assert current().path == tmp_path / "here"


@pytest.mark.parametrize("named", [None, ""])
def test_home_falls_back_to_the_users_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KLYUCH_HOME", raising=False)
    if named is not None:
        monkeypatch.setenv("KLYUCH_HOME", named)
    assert current().path == tmp_path / ".local/share/klyuch"


def test_folders_are_made_for_the_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    home.make()
    home.make()
    assert [folder.stat().st_mode & 0o777 for folder in (home.path, home.tokens, home.run)] == [
        0o700,
        0o700,
        0o700,
    ]


@pytest.mark.parametrize(
    ("folder", "mode"), [("", 0o777), ("", 0o720), ("tokens", 0o750), ("run", 0o705)]
)
def test_a_home_open_to_others_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, folder: str, mode: int
) -> None:
    home = Home(tmp_path / "home")
    home.make()
    opened = home.path / folder
    opened.chmod(mode)
    with pytest.raises(HomeError) as refused:
        home.make()
    assert refused.value.hint == f"Run: chmod 700 '{opened}'"


@pytest.mark.parametrize(
    "name",
    ["daemon.log", "run/epoch", "run/epoch.new", "run/daemon.lock", "run/reader.sock"],
)
def test_a_folder_in_the_way_of_a_file_is_named_with_the_command_that_moves_it(
    tmp_path: Path, name: str
) -> None:
    home = Home(tmp_path / "home")
    home.make()
    (home.path / name).mkdir()
    (home.run / "of somebody else").mkdir()
    [problem] = home.problems()
    assert f"{home.path / name} is a folder" in str(problem)
    subprocess.run(problem.hint.partition(": ")[2], shell=True, check=True)
    home.make()


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(HomeError, match="cannot be made"):
        Home(tmp_path / "file" / "home").make()


@pytest.mark.parametrize("depth", [0, 30])
def test_a_socket_can_be_bound_and_reached_however_long_the_path(
    tmp_path: Path, depth: int
) -> None:
    folder = tmp_path.joinpath(*["folder"] * depth)
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        with socket_address(folder, "door.sock") as address:
            listener.bind(address)
        listener.listen()
        with socket_address(folder, "door.sock") as address:
            client.connect(address)
    assert (folder / "door.sock").is_socket()


def test_a_lock_file_without_a_number_names_no_daemon(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert home.daemon_pid() is None
    home.make()
    home.lock.write_text("")
    assert home.daemon_pid() is None
    home.lock.write_text("4711\n")
    assert home.daemon_pid() == 4711


def test_a_home_that_is_a_file_is_refused_by_its_path(tmp_path: Path) -> None:
    home = Home(tmp_path / "file")
    home.path.touch(0o600)
    assert [str(problem) for problem in home.problems()] == [f"{home.path} is not a folder."]
    below = Home(home.path / "home")
    (problem,) = below.problems()
    assert (str(below.path) in str(problem), "KLYUCH_HOME" in problem.hint) == (True, True)
